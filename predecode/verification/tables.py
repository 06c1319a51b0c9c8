"""One table file of low-dimensional columns: its bytes, and its rows against the source's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from predecode.errors import EpisodeError
from predecode.lowdim_task import LowdimJob, read_table
from predecode.verification.report import Finding, capped
from train_shards.format import format_key
from train_shards.lowdim import column_views
from train_shards.manifest import LowdimEntry
from train_shards.storage import sha256_of_file

__all__ = ["TableJob", "TableVerdict", "verify_table"]


class TableJob(msgspec.Struct, frozen=True, kw_only=True):
    """One table file to verify."""

    lowdim: LowdimJob
    entry: LowdimEntry
    compared: list[int]
    """Episodes whose rows are compared with the source's."""

    @property
    def name(self) -> str:
        """For messages."""
        return f"verify {self.lowdim.name}"


class TableVerdict(msgspec.Struct, kw_only=True):
    """What was found in one table file."""

    findings: list[Finding]
    num_episodes: int = 0
    """Compared."""
    num_rows: int = 0


def verify_table(job: TableJob, report: Callable[[int], None]) -> TableVerdict:
    """Checks one table file; damage becomes findings. Reports one step.

    Raises:
        InfraError: the source cannot be reached or changed, so nothing can be said of it.
    """
    path = Path(job.lowdim.out) / job.entry.path
    verdict = TableVerdict(findings=[])
    if not path.is_file():
        verdict.findings.append(_finding(job, "", f"{job.entry.num_bytes} bytes", "no file"))
    else:
        digest = sha256_of_file(path)
        if digest != job.entry.sha256:
            verdict.findings.append(_finding(job, "", f"SHA-256 {job.entry.sha256}", digest))
        try:
            with pa.memory_map(str(path)) as file:
                _compare_rows(job, pa.ipc.open_file(file), verdict)
        except (pa.ArrowException, ValueError) as error:
            verdict.findings.append(_finding(job, "", "an Arrow table file", error))
    report(1)
    verdict.findings = capped(verdict.findings)
    return verdict


def _compare_rows(job: TableJob, file: Any, verdict: TableVerdict) -> None:
    planned_of = {p.episode.episode_index: p for p in job.lowdim.episodes}
    for number, episode_index in enumerate(job.entry.episodes):
        if episode_index not in job.compared:
            continue
        stored = column_views(file.get_batch(number))
        try:
            table = read_table(job.lowdim, planned_of[episode_index])
        except EpisodeError as error:
            key = format_key(episode_index, 0)
            verdict.findings.append(_finding(job, key, "the rows that the plan names", error))
            continue
        (batch,) = table.combine_chunks().to_batches()
        fresh = column_views(batch)
        verdict.num_episodes += 1
        verdict.num_rows += len(table)
        for name in sorted({*stored, *fresh}):
            frame = _first_difference(stored.get(name), fresh.get(name))
            if frame is not None:
                key = format_key(episode_index, frame)
                values = [_shown(columns.get(name), frame) for columns in (fresh, stored)]
                verdict.findings.append(_finding(job, key, f"{name} {values[0]}", values[1]))


def _first_difference(stored: Any, fresh: Any) -> int | None:
    """The first row that is not equal to the bit; 0 where the columns cannot be compared."""
    if not isinstance(stored, np.ndarray) or not isinstance(fresh, np.ndarray):
        return None if stored is not None and fresh is not None and stored.equals(fresh) else 0
    if (stored.dtype, stored.shape) != (fresh.dtype, fresh.shape):
        return 0
    if stored.tobytes() == fresh.tobytes():
        return None
    rows = zip(stored, fresh, strict=True)
    return next(i for i, (left, right) in enumerate(rows) if left.tobytes() != right.tobytes())


def _shown(column: Any, frame: int) -> str:
    return "no such column" if column is None else np.array2string(np.asarray(column[frame]))


def _finding(job: TableJob, key: str, expected: str, got: object) -> Finding:
    kind = "rows" if key else "table"
    return Finding(
        level="samples" if key else "structure",
        kind=kind,
        where=job.entry.path,
        key=key,
        expected=expected,
        got=str(got),
    )
