"""Samples by position: locate in the index, pread from the tar, and tell what was read."""

import os
import weakref
from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from train_shards.errors import DataError, UserError
from train_shards.format import SPLITS, format_key
from train_shards.index import Index, row_of_position
from train_shards.lowdim import LowdimTables
from train_shards.manifest import Manifest, load_manifest

__all__ = ["Place", "ShardReader"]

_OPEN_SHARDS = 128


class Place(NamedTuple):
    """Where a sample is and what it is."""

    generation: int
    """Position in the manifest's list of generations that hold this split."""
    shard: int
    offset_bytes: int
    members: tuple[tuple[int, int], ...]
    """For each field ``(start, num_bytes)`` of its content, counted from ``offset_bytes``."""
    episode_index: int
    frame_index: int
    task_index: int
    lowdim_table: int
    lowdim_batch: int

    @property
    def key(self) -> str:
        """The sample's key."""
        return format_key(self.episode_index, self.frame_index)


class ShardReader:
    """One split of an output; holds open files of this process only."""

    def __init__(self, out: Path, split: str, *, check_index: bool) -> None:
        """Opens manifest and indexes; no tar.

        Args:
            out: the output folder.
            split: ``train`` or ``val``.
            check_index: check each block of the index on first touch.

        Raises:
            UserError: no output here, or it has no such split.
            DataError: manifest or index damaged or of a higher version.
        """
        self.out = out
        self.manifest: Manifest = load_manifest(out)
        self.fields = self.manifest.settings.fields
        held = [g for g in self.manifest.generations if split in g.indexes]
        if split not in SPLITS or not held:
            known = sorted({s for g in self.manifest.generations for s in g.indexes})
            raise UserError(f"{out}: no split {split!r}; it has {', '.join(known) or 'none'}.")
        self._shards = [[(out / shard.path, shard.name) for shard in g.shards] for g in held]
        self._indexes = []
        for generation in held:
            entry = generation.indexes[split]
            index = Index(out / entry.path, len(self.fields), check_blocks=check_index)
            self._indexes.append(index)
            if index.header_xxh3 != entry.header_xxh3:
                raise DataError(
                    f"{index.path}: digest {index.header_xxh3}, the manifest says "
                    f"{entry.header_xxh3}. Finish or repeat the run that wrote it."
                )
        self._runs = [index.live_runs() for index in self._indexes]
        self._before = list(accumulate((before[-1] for _, before in self._runs), initial=0))
        self._tables = [
            LowdimTables([out / table.path for table in generation.lowdim]) for generation in held
        ]
        self._open: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._close = weakref.finalize(self, _close_all, self._open)

    def __len__(self) -> int:
        """Number of live samples."""
        return self._before[-1]

    def locate(self, position: int) -> Place:
        """Returns where the ``position``-th live sample is. Cost: one small pread.

        Raises:
            IndexError: not in ``[0, len)``.
            DataError: a damaged index block.
        """
        if not 0 <= position < len(self):
            raise IndexError(f"sample {position}: expected 0 to {len(self) - 1}")
        generation = bisect_right(self._before, position) - 1
        index = self._indexes[generation]
        row = row_of_position(position - self._before[generation], *self._runs[generation])
        location = index.location(row)
        if not (
            location.shard < len(self._shards[generation])
            and location.episode < len(index.episodes)
        ):
            raise DataError(
                f"{index.path}: row {row} names shard {location.shard} and episode "
                f"{location.episode}, which do not exist: the index is damaged."
            )
        episode = index.episodes[location.episode]
        return Place(
            generation,
            location.shard,
            location.offset_bytes,
            location.members,
            int(episode["episode_index"]),
            location.frame_index,
            int(episode["task_index"]),
            int(episode["lowdim_table"]),
            int(episode["lowdim_batch"]),
        )

    def read(self, place: Place, fields: tuple[str, ...]) -> list[bytes]:
        """Returns the content of some members of a sample, with one read.

        Raises:
            DataError: the shard is gone or shorter than the index says.
        """
        wanted = [place.members[self.fields.index(field)] for field in fields]
        first = min(start for start, _ in wanted)
        stop = max(start + num_bytes for start, num_bytes in wanted)
        data = os.pread(self._descriptor(place), stop - first, place.offset_bytes + first)
        if len(data) != stop - first:
            raise DataError(
                f"{self.where(place)}: {stop - first} bytes expected at "
                f"{place.offset_bytes + first}, got {len(data)}: the shard is cut."
            )
        return [data[start - first : start - first + size] for start, size in wanted]

    def row(self, place: Place) -> dict[str, object]:
        """Returns the low-dimensional values of a sample's frame."""
        tables = self._tables[place.generation]
        try:
            return tables.row(place.lowdim_table, place.lowdim_batch, place.frame_index)
        except (DataError, IndexError) as error:
            # An IndexError must not leave __getitem__: it would end a loop as if all were read.
            raise DataError(f"{self.where(place)}: low-dimensional row: {error}") from error

    def where(self, place: Place) -> str:
        """Returns shard and key, for messages."""
        return f"{self._shards[place.generation][place.shard][1]}.tar, key {place.key}"

    def close(self) -> None:
        """Closes every file."""
        for index in self._indexes:
            index.close()
        self._close()

    def _descriptor(self, place: Place) -> int:
        key = (place.generation, place.shard)
        descriptor = self._open.get(key)
        if descriptor is None:
            path = self._shards[place.generation][place.shard][0]
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError as error:
                raise DataError(f"{path}: a shard of the manifest is gone.") from error
            self._open[key] = descriptor
            if len(self._open) > _OPEN_SHARDS:
                os.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(key)
        return descriptor


def _close_all(descriptors: "OrderedDict[tuple[int, int], int]") -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
    descriptors.clear()
