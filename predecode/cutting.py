"""Shards and tables without some of their episodes: members copied as they are, nothing decoded.

A cut task makes the bytes that its job would make of the source, so that none is needed.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from predecode.errors import DataError
from predecode.lowdim_task import LowdimJob, write_table
from predecode.pipeline import ShardJob, write_shard
from predecode.receipts import LowdimReceipt, ShardReceipt, write_receipt
from train_shards.format import format_key
from train_shards.ledger import check_extents, decode_ledger
from train_shards.manifest import LowdimEntry, Settings, ShardEntry
from train_shards.storage import read_range

__all__ = ["cut_shard", "cut_table", "stored_columns"]

_SampleId = tuple[int, int]


def cut_shard(old: ShardReceipt, new: ShardJob) -> ShardReceipt:
    """Makes a shard, its ledger and receipt of those samples of an old one that it is to hold.

    Raises:
        DataError: a member of the old shard is not what its ledger says.
        OSError: the disk refuses, or the old shard is gone.

    Cost: reads and writes what is kept, one sample at a time.
    """
    kept = {piece.episode_index for piece in new.task.pieces}
    with _open_samples(Path(new.out), new.settings, old.entry, kept) as samples:
        entry = write_shard(new, samples, lambda _: None)
    faults = [fault for fault in old.faults if fault.episode_index in kept]
    receipt = ShardReceipt(plan_digest=new.plan_digest, entry=entry, faults=faults)
    write_receipt(Path(new.out), new.name, receipt)
    return receipt


def cut_table(old: LowdimReceipt, new: LowdimJob) -> LowdimReceipt:
    """Makes a table file and its receipt of those episodes of an old one that it is to hold.

    Raises:
        DataError: the old file is not a table file.
        OSError: the disk refuses, or the old file is gone.

    Cost: reads and writes the rows that are kept.
    """
    with _open_batches(Path(new.out), old.entry) as batches:
        tables = {
            episode_index: pa.Table.from_batches([batches[episode_index]]).select(
                _columns(batches[episode_index])
            )
            for episode_index in new.task.episodes
            if episode_index in batches
        }
        faults = [fault for fault in old.faults if fault.episode_index in new.task.episodes]
        return write_table(new, tables, faults)


def stored_columns(out: Path, entry: LowdimEntry, episodes: Collection[int]) -> list[str]:
    """Returns the columns that any of some episodes of a table file has, in the file's order.

    Raises:
        DataError: not a table file.
    """
    with _open_batches(out, entry) as batches:
        own = [batches[episode] for episode in episodes if episode in batches]
        known = {name for batch in own for name in _columns(batch)}
        return [name for name in (own[0].schema.names if own else []) if name in known]


class _Samples:
    """Samples of a shard that stands, of some episodes; see ``SampleContents``."""

    def __init__(
        self, descriptor: int, rows: NDArray[np.void], settings: Settings, where: str
    ) -> None:
        self._descriptor, self._settings, self._where = descriptor, settings, where
        names = rows[["episode_index", "frame_index"]].tolist()
        self._rows = dict(zip(names, rows, strict=True))

    def ids(self) -> list[_SampleId]:
        return list(self._rows)

    def members(self, sample: _SampleId, fields: Sequence[str]) -> list[tuple[str, bytes]]:
        row, known = self._rows[sample], self._settings.fields
        return [(field, self._member(sample, row, known.index(field))) for field in fields]

    def pixel_hashes(self, sample: _SampleId) -> NDArray[np.uint64]:
        hashes: NDArray[np.uint64] = self._rows[sample]["pixel_xxh3"]
        return hashes

    def _member(self, sample: _SampleId, row: NDArray[np.void], member: int) -> bytes:
        start = int(row["offset_bytes"]) + int(row["data_offset_bytes"][member])
        num_bytes = int(row["data_bytes"][member])
        data = bytes(read_range(self._descriptor, start, start + num_bytes))
        got, expected = xxhash.xxh3_64_intdigest(data), int(row["member_xxh3"][member])
        if got != expected:
            raise DataError(
                f"{self._where}, key {format_key(*sample)}, member "
                f"{self._settings.fields[member]} ({num_bytes} bytes at {start}): xxh3 {got:016x}, "
                f"the ledger says {expected:016x}. Damage is not copied: remove the shard, have "
                "'predecode run' make it again, then drop."
            )
        return data


@contextmanager
def _open_samples(
    out: Path, settings: Settings, entry: ShardEntry, episodes: Collection[int]
) -> Iterator[_Samples]:
    data = (out / entry.ledger).read_bytes()
    rows = decode_ledger(data, len(settings.fields), len(settings.cameras), where=entry.ledger)
    check_extents(rows, entry.num_bytes, where=entry.ledger)
    rows = rows[np.isin(rows["episode_index"], sorted(episodes))]
    if not entry.num_samples:  # all were at fault: there is no tar
        yield _Samples(-1, rows, settings, entry.path)
        return
    descriptor = os.open(out / entry.path, os.O_RDONLY)
    try:
        yield _Samples(descriptor, rows, settings, entry.path)
    finally:
        os.close(descriptor)


@contextmanager
def _open_batches(out: Path, entry: LowdimEntry) -> Iterator[dict[int, Any]]:
    """``episode_index`` -> its rows, mapped."""
    if not entry.episodes:
        yield {}
        return
    try:
        with pa.memory_map(str(out / entry.path)) as file:
            reader = pa.ipc.open_file(file)
            yield {episode: reader.get_batch(n) for n, episode in enumerate(entry.episodes)}
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{entry.path}: not an Arrow table file: {error}") from error


def _columns(batch: Any) -> list[str]:
    """Columns that an episode has: one that it lacks is null throughout."""
    return [
        name
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        if column.null_count < len(column) or len(column) == 0
    ]
