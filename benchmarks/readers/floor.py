"""The floor: pread at known places, the same decoding, and nothing else."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.readers.common import Samples, Variant, decode_jpeg

__all__ = ["variants"]


class Floor:
    """Items of pictures and ids; the places are known and the shards open before the clock."""

    def __init__(self, samples: Samples) -> None:
        """Opens every shard."""
        shards = sorted({row["shard"] for row in samples.rows})
        descriptors = {shard: os.open(shard, os.O_RDONLY) for shard in shards}
        self._rows = [
            (
                descriptors[row["shard"]],
                row["episode_index"],
                row["frame_index"],
                [(camera, *row["members"][camera]) for camera in samples.cameras],
            )
            for row in samples.rows
        ]
        self._is_raw = samples.codec == "raw"
        self._shape = samples.shape

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Returns the pictures and the ids of a sample."""
        descriptor, episode_index, frame_index, members = self._rows[position]
        item: dict[str, Any] = {"episode_index": episode_index, "frame_index": frame_index}
        for camera, offset_bytes, num_bytes in members:
            if self._is_raw:
                picture = np.empty(self._shape, np.uint8)
                os.preadv(descriptor, [picture.data], offset_bytes + num_bytes - picture.nbytes)
                item[camera] = picture
            else:
                item[camera] = decode_jpeg(os.pread(descriptor, num_bytes, offset_bytes))
        return item


class FloorInThreads(Floor):
    """The same for a batch, in threads that each take an equal part of it."""

    def __init__(self, samples: Samples, num_threads: int) -> None:
        """Opens every shard; threads start in the process that reads."""
        super().__init__(samples)
        self._num_threads = num_threads
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        """Returns the items of a batch."""
        pool = self._pools.get(os.getpid())
        if pool is None:
            pool = self._pools[os.getpid()] = ThreadPoolExecutor(self._num_threads)
        parts = [positions[start :: self._num_threads] for start in range(self._num_threads)]
        items: list[Any] = [None] * len(positions)
        done = pool.map(lambda part: [self[position] for position in part], parts)
        for start, part in enumerate(done):
            items[start :: self._num_threads] = part
        return items


def variants(samples: Samples) -> dict[str, Variant]:
    """Returns the floor for one thread and for two."""
    returns = "3 pictures, uint8 HWC; 2 ids"
    return {
        "floor": Variant("", returns, Floor(samples)),
        "floor, 2 threads": Variant("", returns, FloorInThreads(samples, 2), num_threads=2),
    }
