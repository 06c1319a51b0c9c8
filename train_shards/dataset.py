"""The map-style data set: position -> item, without a video decoder in the process."""

import logging
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from train_shards.codec import decode_image
from train_shards.errors import DataError, UserError
from train_shards.format import image_field
from train_shards.manifest import Manifest, load_manifest
from train_shards.node_cache import Cache
from train_shards.reader import Place, ShardReader
from train_shards.selection import Selection, Span, task_indices
from train_shards.windows import frame_offsets, window

__all__ = ["IMAGE_KEY", "ShardDataset"]

IMAGE_KEY = "observation.images.rgb."
"""Prefix of an image's key in an item; source: BEHAVIOR-1K's own reader."""

_LOG = logging.getLogger(__name__)
_MOST_SKIPS = 100
"""Damaged samples that one process passes over before it stops all the same."""


class ShardDataset:
    """Items of one split of an output, by position.

    An item is a dict of
        ``observation.images.rgb.<camera>``: ``(h, w, 3)`` or ``(3, h, w)`` RGB, uint8 or float32
        in [0, 1];
        every low-dimensional column of the source under its own name: numpy scalars and fresh
        ``(n,)`` arrays (``observation.state``, ``action``, ``timestamp``, ``index``, …);
        ``sample_index`` (position among all samples of the split, whatever is selected),
        ``episode_index``, ``frame_index``, ``task_index``: int64 scalars;
        ``task``: the instruction, a str.
    A key of ``delta_timestamps`` is a window ``(H, …)`` instead; ``<key>_is_pad``, ``(H,)`` bool,
    says which of it lies outside the episode.

    Positions are in source order: by generation, episode, frame. Files are opened when a process
    first reads; a pickled data set carries none of them. Fits torch's DataLoader, whose workers
    take whole batches through ``__getitems__``; safe under fork and spawn.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        split: str = "train",
        tasks: Sequence[int | str] | None = None,
        episodes: Sequence[int] | None = None,
        frames: tuple[int, int] | None = None,
        cameras: Sequence[str] | None = None,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        image_layout: Literal["HWC", "CHW"] = "HWC",
        image_dtype: Literal["uint8", "float32"] = "uint8",
        image_transforms: Callable[[NDArray[Any]], Any] | None = None,
        num_threads: int = 2,
        check_index: bool = False,
        check_members: bool = False,
        cache: Cache | None = None,
        whole_shards: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        """Opens an output.

        Args:
            out: the folder that ``predecode run`` wrote, or a URL of it.
            split: ``train`` or ``val``.
            tasks: indices or short names; None for all.
            episodes: positions within each task's episodes, sorted by id, as upstream counts them
                (missing episodes count); None for all.
            frames: ``[start, stop)`` of each episode; None for all.
            cameras: those to decode; None for all.
            delta_timestamps: key -> seconds from the item's frame, as in LeRobot: the values of
                these frames are stacked; beyond the episode its first or last frame repeats.
            image_layout: order of the axes of images.
            image_dtype: ``float32`` divides by 255.
            image_transforms: applied to each picture, before windows are stacked.
            num_threads: threads that decode the pictures of a batch.
            check_index: check each block of the index when it is first touched.
            check_members: check the hash of each picture that is read.
            cache: where the node keeps files of a URL, and how many bytes; None for
                ``~/.cache/predecode`` and 100 GiB. Indexes and tables must fit.
            whole_shards: for a URL, download shards whole into the cache, for orders that stay in
                a shard for long; otherwise each batch reads just its pictures, many ranges at once.
            on_error: ``skip`` serves the next sample for a damaged one, logs it, and raises after
                100 of them in one process.

        Raises:
            UserError: no output here, no such split, task, camera or column, nothing selected, or a
                value that is not allowed.
            DataError: manifest or index damaged, or of a higher format version.
            StorageError: a remote storage does not answer as it should.
        """
        self.out = out
        manifest = load_manifest(out)
        settings = manifest.settings
        self.split = split
        self.cameras = tuple(cameras) if cameras is not None else settings.camera_names
        strangers = sorted(set(self.cameras) - set(settings.camera_names))
        if strangers or not self.cameras:
            raise UserError(
                f"cameras {list(self.cameras)}: expected some of {list(settings.camera_names)}."
            )
        _check_choice("image_layout", image_layout, ("HWC", "CHW"))
        _check_choice("image_dtype", image_dtype, ("uint8", "float32"))
        _check_choice("on_error", on_error, ("raise", "skip"))
        self._selection = Selection(
            task_indices(manifest, tasks),
            None if episodes is None else frozenset(episodes),
            frames,
        )
        self._image_layout, self._image_dtype = image_layout, image_dtype
        self._image_transforms = image_transforms
        self._num_threads = num_threads
        self._reading: dict[str, Any] = {
            "check_index": check_index, "check_members": check_members, "cache": cache,
            "whole_shards": whole_shards,
        }  # fmt: skip
        self._on_error, self._num_skipped = on_error, 0
        self._codec, self._size = settings.codec, settings.picture_size
        self._fields = tuple(image_field(camera, settings.codec) for camera in self.cameras)
        self._fps = manifest.fps
        self._offsets = frame_offsets(delta_timestamps or {}, manifest.fps)
        self._check_image_windows(settings.stride)
        self._reader: ShardReader | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._pool_process = -1
        self._num_samples = len(self._open_reader(manifest))
        if not self._num_samples:
            raise UserError(f"{self.out}: tasks, episodes and frames select no sample.")
        self._check_columns()

    def __len__(self) -> int:
        """Number of samples that can be read."""
        return self._num_samples

    @property
    def digest(self) -> str:
        """Names the samples and their order, for ``ResumableSampler`` to refuse others."""
        return self._open_reader().digest()

    @property
    def fps(self) -> tuple[int, int] | None:
        """Numerator and denominator of the frames' rate; None where every video has its own."""
        return self._fps

    def spans(self) -> list[Span]:
        """Returns where each episode's samples stand. Cost: in proportion to the episodes."""
        return self._open_reader().spans()

    def __getitem__(self, position: SupportsIndex) -> dict[str, Any]:
        """Returns the item at ``position``; negative positions count from the end.

        Raises:
            IndexError: no such position.
            DataError: a damaged shard, index or table; the message names shard and key.
            StorageError: a remote storage does not answer as it should; never skipped.
        """
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[SupportsIndex]) -> list[dict[str, Any]]:
        """Returns the items at ``positions``: one batch.

        Reads are sorted by place and joined where samples lie close to each other; pictures are
        decoded by ``num_threads`` threads.

        Raises:
            As ``__getitem__``.
        """
        wanted = [self._checked(position) for position in positions]
        try:
            return self._items(wanted)
        except DataError:
            if self._on_error == "raise":
                raise
        return [self._item_or_next(position) for position in wanted]

    def close(self) -> None:
        """Closes every file; reading opens them again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _checked(self, position: SupportsIndex) -> int:
        index = operator.index(position)
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index}: expected 0 to {len(self) - 1}")
        return index % len(self)

    def _items(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        reader = self._open_reader()
        places = [reader.locate(position) for position in positions]
        items = [self._rows(reader, place) for place in places]
        images = self._images(reader, places)
        return [item | own for item, own in zip(items, images, strict=True)]

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
                position = (position + 1) % len(self)

    def _rows(self, reader: ShardReader, place: Place) -> dict[str, Any]:
        """Everything of an item but its images."""
        item = reader.row(place)
        for key, offsets in self._offsets.items():
            if not key.startswith(IMAGE_KEY):
                frames, is_pad = window(place.frame_index, offsets, place.num_frames)
                item[key] = reader.rows(place, key, frames)
                item[f"{key}_is_pad"] = is_pad
        item["sample_index"] = np.int64(reader.sample_index(place))
        item["episode_index"] = np.int64(place.episode_index)
        item["frame_index"] = np.int64(place.frame_index)
        item["task_index"] = np.int64(place.task_index)
        try:
            item["task"] = reader.manifest.tasks[place.task_index]
        except KeyError as error:
            raise DataError(
                f"{reader.where(place)}: task {place.task_index} is not in the manifest"
            ) from error
        return item

    def _images(self, reader: ShardReader, places: list[Place]) -> list[dict[str, Any]]:
        """The images of a batch, by key of the item."""
        wanted = [
            (number, camera, reader.neighbour(place, frame))
            for number, place in enumerate(places)
            for camera in self.cameras
            for frame in self._image_frames(place, camera)
        ]
        sources = list({(place.generation, place.row): place for _, _, place in wanted}.values())
        contents = reader.read(sources, self._fields)
        data = {
            (place.generation, place.row, camera): content
            for place, members in zip(sources, contents, strict=True)
            for camera, content in zip(self.cameras, members, strict=True)
        }
        pictures = self._decode_all(
            [(reader, p, camera, data[p.generation, p.row, camera]) for _, camera, p in wanted]
        )
        stacks: list[dict[str, list[Any]]] = [{} for _ in places]
        for (number, camera, _), picture in zip(wanted, pictures, strict=True):
            stacks[number].setdefault(IMAGE_KEY + camera, []).append(picture)
        return [self._finished(place, s) for place, s in zip(places, stacks, strict=True)]

    def _image_frames(self, place: Place, camera: str) -> list[int]:
        offsets = self._offsets.get(IMAGE_KEY + camera)
        if offsets is None:
            return [place.frame_index]
        frames: list[int] = window(place.frame_index, offsets, place.num_frames)[0].tolist()
        return frames

    def _finished(self, place: Place, stacks: dict[str, list[Any]]) -> dict[str, Any]:
        """One item's images: windows stacked, then transformed, as LeRobot does."""
        images: dict[str, Any] = {}
        for key, pictures in stacks.items():
            image: Any = pictures[0]
            if key in self._offsets:
                image = np.stack(pictures)
                images[f"{key}_is_pad"] = window(
                    place.frame_index, self._offsets[key], place.num_frames
                )[1]
            images[key] = image if self._image_transforms is None else self._image_transforms(image)
        return images

    def _decode_all(self, jobs: list["_PictureJob"]) -> list[NDArray[Any]]:
        """Decodes pictures, in threads where there are several; libjpeg works outside the GIL."""
        if self._num_threads < 2 or len(jobs) < 2 * self._num_threads:
            return [self._decode(job) for job in jobs]
        if self._pool is None or self._pool_process != os.getpid():  # threads do not survive a fork
            self._pool = ThreadPoolExecutor(self._num_threads)
            self._pool_process = os.getpid()
        # One part a thread: handing single pictures over and back would cost as much as decoding.
        parts = [jobs[start :: self._num_threads] for start in range(self._num_threads)]
        pictures: list[Any] = [None] * len(jobs)
        done = self._pool.map(lambda part: [self._decode(job) for job in part], parts)
        for start, part in enumerate(done):
            pictures[start :: self._num_threads] = part
        return pictures

    def _decode(self, job: "_PictureJob") -> NDArray[Any]:
        reader, place, camera, data = job
        try:
            picture: NDArray[Any] = decode_image(data, self._codec, self._size)
        except DataError as error:
            field = image_field(camera, self._codec)
            raise DataError(f"{reader.where(place)}, member {field}: {error}") from error
        if self._image_layout == "CHW":
            picture = np.ascontiguousarray(picture.transpose(2, 0, 1))
        if self._image_dtype == "float32":
            picture = picture.astype(np.float32) / np.float32(255)
        return picture

    def _check_image_windows(self, stride: int) -> None:
        """Images exist at every ``stride``-th frame only, low-dimensional rows at all."""
        for camera in self.cameras:
            offsets = self._offsets.get(IMAGE_KEY + camera)
            if (
                offsets is not None
                and stride > 1
                and ((offsets % stride).any() or (offsets > 0).any())
            ):
                raise UserError(
                    f"delta_timestamps[{IMAGE_KEY + camera!r}]: every {stride}th frame is stored; "
                    f"expected multiples of {stride} frames, none in the future, got "
                    f"{offsets[:10].tolist()}."
                )

    def _check_columns(self) -> None:
        """Refuses windows of what no item has."""
        known = set(self._open_reader().row(self._open_reader().locate(0)))
        known |= {IMAGE_KEY + camera for camera in self.cameras}
        strangers = sorted(set(self._offsets) - known)
        if strangers:
            raise UserError(
                f"delta_timestamps: no column {strangers[0]!r}; known: {sorted(known)}."
            )

    def _open_reader(self, manifest: Manifest | None = None) -> ShardReader:
        if self._reader is None:
            self._reader = ShardReader(
                self.out, self.split, self._selection, manifest=manifest, **self._reading
            )
        return self._reader

    def __getstate__(self) -> dict[str, Any]:
        """Leaves open files and threads behind."""
        return {**self.__dict__, "_reader": None, "_pool": None}


_PictureJob = tuple[ShardReader, Place, str, bytes]


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{name} {value!r}: expected one of {', '.join(map(repr, allowed))}.")
