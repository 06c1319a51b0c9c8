"""What every reader is measured on: the same samples, the same decoding, the same loader.

Runs in every reader's environment: imports numpy, simplejpeg and torch, nothing of this project.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch.utils.data
from numpy.typing import NDArray

__all__ = ["BATCH_SIZE", "PerItem", "Samples", "Variant", "decode_jpeg", "decoded"]

BATCH_SIZE = 32
"""Items that are held at once, in every variant: memory that is used again is faster."""


@dataclass(frozen=True)
class Samples:
    """The samples of a run, in the order of the shards; written by ``benchmarks.read``."""

    out: str
    """The output's folder."""
    codec: str
    shape: tuple[int, int, int]
    """Of each picture: ``(h, w, 3)``."""
    cameras: tuple[str, ...]
    rows: list[dict[str, Any]]
    """``episode_index``, ``frame_index``, ``shard`` (path) and ``members``: field of the picture,
    or ``json``, to ``[offset_bytes, num_bytes]`` in the shard."""

    @classmethod
    def load(cls, path: Path) -> "Samples":
        """Reads the list from a JSON file."""
        said = json.loads(path.read_text())
        return cls(
            said["out"], said["codec"], tuple(said["shape"]), tuple(said["cameras"]), said["rows"]
        )

    def contents(self) -> Iterator[dict[str, bytes]]:
        """Yields the encoded members of each sample, for conversion."""
        for row in self.rows:
            with Path(row["shard"]).open("rb") as shard:
                content = {}
                for name, (offset_bytes, num_bytes) in row["members"].items():
                    shard.seek(offset_bytes)
                    content[name] = shard.read(num_bytes)
            yield content


@dataclass(frozen=True)
class Variant:
    """One way to read the samples."""

    library: str
    """Distribution whose version is reported; empty for none."""
    returns: str
    """What an item holds."""
    by_position: Any = None
    """Map-style data set; None where the library has no random access."""
    stream: Any = None
    """Iterable data set; None where order is read by position."""
    num_threads: int = 1
    """Threads that decode, in each process."""

    def batches(self, order: Sequence[int], num_workers: int, *, in_order: bool) -> Iterator[Any]:
        """Yields lists of items in this process, collated batches with workers.

        Args:
            order: positions, unless a stream is read.
            num_workers: of the DataLoader; 0 reads in this process without one.
            in_order: whether a stream will do.
        """
        if in_order and self.stream is not None:
            if num_workers:
                yield from torch.utils.data.DataLoader(
                    self.stream, BATCH_SIZE, num_workers=num_workers
                )
            else:
                yield from _batched(self.stream)
        elif num_workers:
            yield from torch.utils.data.DataLoader(
                self.by_position, BATCH_SIZE, sampler=order, num_workers=num_workers
            )
        else:
            for start in range(0, len(order), BATCH_SIZE):
                part = order[start : start + BATCH_SIZE]
                if hasattr(self.by_position, "__getitems__"):
                    yield self.by_position.__getitems__(part)
                else:
                    yield [self.by_position[position] for position in part]


class PerItem(torch.utils.data.Dataset[Any]):
    """A data set's items one by one, whatever else it can do."""

    def __init__(self, dataset: Any) -> None:
        """Takes anything with ``[position]``."""
        self._dataset = dataset

    def __getitem__(self, position: int) -> Any:
        """Returns the item."""
        return self._dataset[position]


def decode_jpeg(data: Any) -> NDArray[np.uint8]:
    """Returns the picture ``(h, w, 3)``, with the settings that train_shards decodes with."""
    picture: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data, colorspace="RGB", fastdct=False, fastupsample=False
    )
    return picture


def decoded(pictures: dict[str, Any], low: Any) -> dict[str, Any]:
    """Returns an item: decoded pictures by camera, and the fields of the sample's json.

    Both arrive as bytes or as a view of them.
    """
    item: dict[str, Any] = json.loads(bytes(low))
    for camera, data in pictures.items():
        item[camera] = decode_jpeg(data)
    return item


def _batched(items: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:  # never asked again after its end: LitData would begin anew
        batch.append(item)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch
