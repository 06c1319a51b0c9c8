"""The map-style data set: position -> item, without a video decoder in the process."""

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, SupportsIndex

import numpy as np

from train_shards.codec import decode_image
from train_shards.errors import DataError, UserError
from train_shards.format import image_field
from train_shards.manifest import load_manifest
from train_shards.reader import ShardReader

__all__ = ["IMAGE_KEY", "ShardDataset"]

IMAGE_KEY = "observation.images.rgb."
"""Prefix of an image's key in an item; source: BEHAVIOR-1K's own reader."""


class ShardDataset:
    """Items of one split of an output, by position.

    An item is a dict of
        ``observation.images.rgb.<camera>``: uint8, ``(h, w, 3)`` or ``(3, h, w)`` RGB;
        every low-dimensional column of the source under its own name: numpy scalars and fresh
        ``(n,)`` arrays (``observation.state``, ``action``, ``timestamp``, ``index``, …);
        ``sample_index``, ``episode_index``, ``frame_index``, ``task_index``: int64 scalars;
        ``task``: the instruction, a str.

    Positions are in source order: by generation, episode, frame. Files are opened when a process
    first reads; a pickled data set carries none of them. Fits torch's DataLoader as it is.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        split: str = "train",
        cameras: Sequence[str] | None = None,
        image_layout: Literal["HWC", "CHW"] = "HWC",
        check_index: bool = False,
    ) -> None:
        """Opens an output.

        Args:
            out: the folder that ``predecode run`` wrote.
            split: ``train`` or ``val``.
            cameras: those to decode; None for all.
            image_layout: order of the axes of images.
            check_index: check each block of the index when it is first touched.

        Raises:
            UserError: no output here, no such split, camera or layout.
            DataError: manifest or index damaged, or of a higher format version.
        """
        self.out = Path(out)
        settings = load_manifest(self.out).settings
        self.cameras = tuple(cameras) if cameras is not None else settings.camera_names
        strangers = sorted(set(self.cameras) - set(settings.camera_names))
        if strangers or not self.cameras:
            raise UserError(
                f"cameras {list(self.cameras)}: expected some of {list(settings.camera_names)}."
            )
        if image_layout not in ("HWC", "CHW"):
            raise UserError(f"image_layout {image_layout!r}: expected 'HWC' or 'CHW'.")
        self.split = split
        self.image_layout = image_layout
        self._check_index = check_index
        self._codec, self._size = settings.codec, settings.picture_size
        self._fields = tuple(image_field(camera, settings.codec) for camera in self.cameras)
        self._reader: ShardReader | None = None
        self._num_samples = len(self._open_reader())

    def __len__(self) -> int:
        """Number of samples that can be read."""
        return self._num_samples

    def __getitem__(self, position: SupportsIndex) -> dict[str, Any]:
        """Returns the item at ``position``; negative positions count from the end.

        Raises:
            IndexError: no such position.
            DataError: a damaged shard, index or table; the message names shard and key.
        """
        index = operator.index(position)
        if index < 0:
            index += len(self)
        reader = self._open_reader()
        place = reader.locate(index)
        item: dict[str, Any] = reader.row(place)
        for camera, field, data in zip(
            self.cameras, self._fields, reader.read(place, self._fields), strict=True
        ):
            try:
                picture = decode_image(data, self._codec, self._size)
            except DataError as error:
                raise DataError(f"{reader.where(place)}, member {field}: {error}") from error
            if self.image_layout == "CHW":
                picture = np.ascontiguousarray(picture.transpose(2, 0, 1))
            item[IMAGE_KEY + camera] = picture
        item["sample_index"] = np.int64(index)
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

    def close(self) -> None:
        """Closes every file; reading opens them again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _open_reader(self) -> ShardReader:
        if self._reader is None:
            self._reader = ShardReader(self.out, self.split, check_index=self._check_index)
        return self._reader

    def __getstate__(self) -> dict[str, Any]:
        """Leaves open files behind."""
        return {**self.__dict__, "_reader": None}
