"""What every map-style data set of items shares: options, positions, windows, finished images.

Where rows and pictures come from is known only to the data set: ``ShardDataset`` reads stored ones,
``predecode.online`` decodes them now.
"""

import logging
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from train_shards.b1k_state import (
    LAYOUT_2025,
    LAYOUT_2026,
    STATE_KEY,
    StateChoice,
    check_state_choice,
    state_as_2025,
)
from train_shards.errors import DataError, UserError
from train_shards.images import StoredImage, shown
from train_shards.instances import SkillInstances
from train_shards.lowdim import row_value
from train_shards.manifest import Settings
from train_shards.run_scope import RunScope
from train_shards.windows import frame_offsets, window

__all__ = ["IMAGE_KEY", "Frame", "ItemDataset", "ItemOptions", "checked_position"]

IMAGE_KEY = "observation.images.rgb."
"""Prefix of an RGB image's key in an item; source: BEHAVIOR-1K's own reader."""

_LOG = logging.getLogger(__name__)
_MOST_SKIPS = 100
"""Damaged samples that one process passes over before it stops all the same."""


class Frame(Protocol):
    """What an item is made of: a frame, its episode's length, and where that has images."""

    @property
    def episode_index(self) -> int: ...  # noqa: D102
    @property
    def frame_index(self) -> int: ...  # noqa: D102
    @property
    def task_index(self) -> int: ...  # noqa: D102
    @property
    def num_frames(self) -> int: ...  # noqa: D102
    @property
    def stored(self) -> tuple[int, int]: ...  # noqa: D102


class ItemOptions(NamedTuple):
    """How items look; the data sets' constructors say what each means."""

    cameras: Sequence[str] | None
    columns: Sequence[str] | None
    delta_timestamps: Mapping[str, Sequence[float]] | None
    image_layout: Literal["HWC", "CHW"]
    image_dtype: Literal["uint8", "float32"]
    image_transforms: Callable[[NDArray[Any]], Any] | None
    on_error: Literal["raise", "skip"]
    state: StateChoice
    seg_instance: bool = False


class ItemDataset(ABC):
    """Items by position; a subclass says how many there are and makes a batch of them."""

    run_scope: RunScope | None = None
    """The training run whose samples alone have items; None where all have."""

    def __init__(
        self,
        options: ItemOptions,
        settings: Settings,
        fps: tuple[int, int] | None,
    ) -> None:
        """Checks options against what the data have.

        Args:
            options: how items shall look.
            settings: of the output, or of the one that would hold these items.
            fps: numerator and denominator of the frames' rate; None without a common one.

        Raises:
            UserError: no such camera or value, a state that cannot be served so, or a window that
                no whole frames fill.
        """
        cameras = settings.camera_names
        self.settings = settings
        self.cameras = tuple(options.cameras) if options.cameras is not None else cameras
        strangers = sorted(set(self.cameras) - set(cameras))
        if strangers or not self.cameras:
            raise UserError(f"cameras {list(self.cameras)}: expected some of {list(cameras)}.")
        _check_choice("image_layout", options.image_layout, ("HWC", "CHW"))
        _check_choice("image_dtype", options.image_dtype, ("uint8", "float32"))
        _check_choice("on_error", options.on_error, ("raise", "skip"))
        self.image_keys = {image: settings.item_key(image) for image in self.cameras}
        """Image -> its key in an item."""
        state_layout = settings.known_state_layout
        if options.seg_instance and not any(map(self._is_segmentation, self.cameras)):
            raise UserError(
                f"seg_instance: no segmentation among {list(self.cameras)}; store it with "
                "predecode run --modalities seg_instance_id."
            )
        self._instances = self._skill_instances() if options.seg_instance else None
        check_state_choice(options.state, state_layout, where=type(self).__name__)
        self.state_layout = state_layout
        """Of ``observation.state`` as stored: a layout of ``b1k_state``, or ``""``."""
        self._widens_state = options.state == "as_2025" and state_layout == LAYOUT_2026
        self.fps = fps
        self._image_layout, self._image_dtype = options.image_layout, options.image_dtype
        self._image_transforms = options.image_transforms
        self._on_error, self._num_skipped = options.on_error, 0
        self._columns = None if options.columns is None else tuple(options.columns)
        self._offsets = frame_offsets(options.delta_timestamps or {}, fps)
        self._check_image_windows(settings.stride)

    @property
    def served_state_layout(self) -> str:
        """Of ``observation.state`` as items have it."""
        return LAYOUT_2025 if self._widens_state else self.state_layout

    @property
    def windows(self) -> dict[str, list[int]]:
        """Key -> frames of its window, counted from the item's."""
        return {key: offsets.tolist() for key, offsets in self._offsets.items()}

    @abstractmethod
    def _skill_instances(self) -> SkillInstances:
        """Returns what tells the objects of skills in a segmentation."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples that can be read."""

    @abstractmethod
    def _items(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Returns the items at positions in ``[0, len)``.

        Raises:
            DataError: the data of one of them are damaged.
        """

    def __getitem__(self, position: SupportsIndex) -> dict[str, Any]:
        """Returns the item at ``position``; negative positions count from the end.

        Raises:
            IndexError: no such position.
            DataError: damaged data; the message says where.
        """
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[SupportsIndex]) -> list[dict[str, Any]]:
        """Returns the items at ``positions``: one batch, which is cheaper than one by one.

        Raises:
            As ``__getitem__``.
        """
        wanted = [checked_position(position, len(self)) for position in positions]
        try:
            return self._items(wanted)
        except DataError:
            if self._on_error == "raise":
                raise
        return [self._item_or_next(position) for position in wanted]

    def _item_or_next(self, position: int) -> dict[str, Any]:
        """The item at a position or, where that is damaged, the next one that is not."""
        while True:
            try:
                return self._items([position])[0]
            except DataError as error:
                self._num_skipped += 1
                _LOG.warning(
                    "sample %d skipped (%d so far): %s", position, self._num_skipped, error
                )
                if self._num_skipped >= _MOST_SKIPS:
                    raise
                position = self._next_position(position)

    def _next_position(self, position: int) -> int:
        """The position whose item stands in for that of ``position``."""
        return (position + 1) % len(self)

    def _values(
        self, frame: Frame, columns: Mapping[str, Any], sample_index: int
    ) -> dict[str, Any]:
        """Everything of an item but its images and its ``task``.

        Args:
            frame: the item's frame.
            columns: its episode's, whole: ``(T,)`` or ``(T, ...)``.
            sample_index: position among all samples.

        Raises:
            DataError: no such column, or no such row.
        """
        frame_index = frame.frame_index
        item = {
            name: row_value(self._column(frame, columns, name), frame_index)
            for name in (columns if self._columns is None else self._columns)
            if name not in self._offsets
        }
        item["sample_index"] = np.int64(sample_index)
        item["episode_index"] = np.int64(frame.episode_index)
        item["frame_index"] = np.int64(frame_index)
        item["task_index"] = np.int64(self._task_index(frame, columns))
        for name, offsets in self._offsets.items():
            if name not in self.image_keys.values():
                frames, is_pad = window(frame_index, offsets, frame.num_frames)
                column = self._column(frame, columns, name)
                is_array = isinstance(column, np.ndarray)
                item[name] = column[frames] if is_array else [row_value(column, f) for f in frames]
                item[f"{name}_is_pad"] = is_pad
        if self._widens_state and STATE_KEY in item:
            item[STATE_KEY] = state_as_2025(item[STATE_KEY])
        return item

    def _task_index(self, frame: Frame, columns: Mapping[str, Any]) -> int:
        """The task of a frame, whose text an item shows."""
        if self.settings.has_row_tasks:
            return int(self._column(frame, columns, "task_index")[frame.frame_index])
        return frame.task_index

    def _column(self, frame: Frame, columns: Mapping[str, Any], name: str) -> Any:
        """A column of a frame's episode, with a row for each of its frames."""
        column = columns.get(name)
        if column is None:
            raise DataError(
                f"episode {frame.episode_index:08d}: no column {name!r}; it has "
                f"{', '.join(sorted(columns))}."
            )
        if len(column) < frame.num_frames:
            raise DataError(
                f"episode {frame.episode_index:08d}: column {name!r} has {len(column)} rows, "
                f"expected {frame.num_frames}."
            )
        return column

    def _image_frames(self, frame: Frame, camera: str) -> list[int]:
        """Frames whose pictures an item shows."""
        offsets = self._offsets.get(self.image_keys[camera])
        if offsets is None:
            return [frame.frame_index]
        start, stop = frame.stored
        frames: list[int] = window(frame.frame_index, offsets, stop, start)[0].tolist()
        return frames

    def _arranged(self, image: StoredImage, camera: str) -> NDArray[Any]:
        """A stored image as items show it; pictures in the layout and dtype asked for."""
        arranged = shown(image, self.settings, camera)
        if not self.settings.is_rgb(camera):
            return arranged
        if self._image_layout == "CHW":
            arranged = np.ascontiguousarray(arranged.transpose(2, 0, 1))
        if self._image_dtype == "float32":
            arranged = arranged.astype(np.float32) / np.float32(255)
        return arranged

    def _finished(self, frame: Frame, stacks: dict[str, list[Any]]) -> dict[str, Any]:
        """One item's images, by camera: windows stacked, then transformed, as LeRobot does."""
        images: dict[str, Any] = {}
        start, stop = frame.stored
        for camera, pictures in stacks.items():
            key, image = self.image_keys[camera], pictures[0]
            if key in self._offsets:
                image = np.stack(pictures)
                images[f"{key}_is_pad"] = window(
                    frame.frame_index, self._offsets[key], stop, start
                )[1]
            if self._image_transforms is not None and self.settings.is_rgb(camera):
                image = self._image_transforms(image)
            images[key] = image
            if self._instances is not None and self._is_segmentation(camera):
                numbers = [
                    self._instances.remapped(ids, frame.episode_index, number)
                    for ids, number in zip(pictures, self._image_frames(frame, camera), strict=True)
                ]
                own = key.replace("seg_instance_id", "seg_instance")
                images[own] = np.stack(numbers) if key in self._offsets else numbers[0]
        return images

    def _is_segmentation(self, camera: str) -> bool:
        return self.settings.modality_of(camera) == "seg_instance_id"

    def _check_image_windows(self, stride: int) -> None:
        """Images exist at every ``stride``-th frame only, low-dimensional rows at all."""
        for camera in self.cameras:
            offsets = self._offsets.get(self.image_keys[camera])
            if (
                offsets is not None
                and stride > 1
                and ((offsets % stride).any() or (offsets > 0).any())
            ):
                raise UserError(
                    f"delta_timestamps[{self.image_keys[camera]!r}]: every {stride}th frame is "
                    f"stored; expected multiples of {stride} frames, none in the future, got "
                    f"{offsets[:10].tolist()}."
                )

    def _check_columns(self, columns: Collection[str]) -> None:
        """Refuses windows of what no item has, and columns that the first one lacks."""
        known = {*columns, *self.image_keys.values()}
        strangers = sorted(set(self._offsets) - known)
        if strangers:
            raise UserError(
                f"delta_timestamps: no column {strangers[0]!r}; known: {sorted(known)}."
            )
        strangers = sorted(set(self._columns or ()) - set(columns))
        if strangers:
            raise UserError(f"columns: no {strangers[0]!r}; known: {sorted(columns)}.")


def checked_position(position: SupportsIndex, num_samples: int) -> int:
    """Returns a position in ``[0, num_samples)``; negative ones count from the end.

    Raises:
        IndexError: no such position.

    >>> checked_position(-1, 5)
    4
    """
    index = operator.index(position)
    if not -num_samples <= index < num_samples:
        raise IndexError(f"sample {index}: expected 0 to {num_samples - 1}")
    return index % num_samples


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{name} {value!r}: expected one of {', '.join(map(repr, allowed))}.")
