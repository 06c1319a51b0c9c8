"""The encoded members of one task, in any order in, in the shard's order out."""

import tempfile
from collections.abc import Sequence
from typing import Self

import numpy as np

__all__ = ["EncodedSamples"]

_MEMORY_BYTES = 512 << 20
"""Beyond this the bytes go to a temporary file of the node: 8192 raw samples are 3.7 GB."""

SampleId = tuple[int, int]


class EncodedSamples:
    """Holds members by ``(episode_index, frame_index)`` until the shard is written.

    Images come camera by camera, a shard wants sample by sample, and its order is shuffled; a
    member is written once here and read once.
    """

    def __init__(self, cameras: tuple[str, ...]) -> None:
        """Starts empty; ``cameras`` gives the order of the pixel hashes."""
        self._cameras = {camera: position for position, camera in enumerate(cameras)}
        self._spool = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115
        self._end = 0
        self._places: dict[SampleId, dict[str, tuple[int, int]]] = {}
        self._hashes: dict[SampleId, np.ndarray] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def add_member(self, sample: SampleId, field: str, data: bytes) -> None:
        """Keeps one member."""
        self._spool.seek(self._end)
        self._spool.write(data)
        self._places.setdefault(sample, {})[field] = (self._end, len(data))
        self._end += len(data)

    def add_image(
        self, sample: SampleId, camera: str, field: str, data: bytes, pixel_xxh3: int
    ) -> None:
        """Keeps one image and the hash of its pixels before encoding."""
        self.add_member(sample, field, data)
        hashes = self._hashes.setdefault(sample, np.zeros(len(self._cameras), np.uint64))
        hashes[self._cameras[camera]] = pixel_xxh3

    def drop(self, episode_index: int) -> None:
        """Forgets every sample of an episode."""
        for sample in [s for s in self._places if s[0] == episode_index]:
            del self._places[sample]
            self._hashes.pop(sample, None)

    def ids(self) -> list[SampleId]:
        """Returns the samples that are held."""
        return list(self._places)

    def members(self, sample: SampleId, fields: Sequence[str]) -> list[tuple[str, bytes]]:
        """Returns ``(field, content)`` in the order of ``fields``.

        Raises:
            KeyError: a field was never added; no sample may be short of one.
        """
        places = self._places[sample]
        members = []
        for field in fields:
            start, num_bytes = places[field]
            self._spool.seek(start)
            members.append((field, self._spool.read(num_bytes)))
        return members

    def pixel_hashes(self, sample: SampleId) -> np.ndarray:
        """Returns ``(cameras,)`` uint64, xxh3-64 of each image's pixels before encoding."""
        return self._hashes[sample]
