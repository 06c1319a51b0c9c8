"""One table task: the low-dimensional rows of whole episodes -> an Arrow file -> receipt."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pyarrow as pa

from predecode.errors import EpisodeError, EpisodeFault, disk_errors_of, episode_error
from predecode.injection import reach
from predecode.planning import LowdimTask, PlannedEpisode
from predecode.receipts import TEMPORARY_FOLDER, LowdimReceipt, write_receipt
from predecode.source_check import check_unchanged
from predecode.sources.tables import read_rows
from predecode.stages import stage
from train_shards.format import lowdim_path
from train_shards.lowdim import write_lowdim
from train_shards.manifest import LowdimEntry, Settings
from train_shards.storage import atomic_file, sha256_of_file

__all__ = ["LowdimJob", "read_table", "run_lowdim_task", "write_table"]


class LowdimJob(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All that a node needs to make one table file."""

    out: str
    root: str
    settings: Settings
    plan_digest: str
    task: LowdimTask
    episodes: list[PlannedEpisode]
    quarantined: list[EpisodeFault] = []
    """Episodes that are left alone: they end the process that works on them."""

    @property
    def name(self) -> str:
        """The table's base name, also the receipt's."""
        return Path(lowdim_path(self.settings.name, self.task.table_index)).stem


def run_lowdim_task(job: LowdimJob, report: Callable[[int], None]) -> LowdimReceipt:
    """Makes one table file and its receipt; reports no images.

    Raises:
        InfraError: the source changed, or a disk refuses.
    """
    tables: dict[int, pa.Table] = {}
    faults: list[EpisodeFault] = []
    with disk_errors_of(job.out):
        schema = pa.schema([])
        given = {fault.episode_index: fault for fault in job.quarantined}
        for planned in job.episodes:
            if planned.episode.episode_index in given:
                faults.append(given[planned.episode.episode_index])
                continue
            try:
                with stage("read"):
                    table = read_table(job, planned)
                schema = _joined(schema, table, planned)
                tables[planned.episode.episode_index] = table
            except EpisodeError as error:
                faults.append(error.fault)
        with stage("write"):
            receipt = write_table(job, tables, faults)
    report(0)
    return receipt


def write_table(
    job: LowdimJob, tables: Mapping[int, pa.Table], faults: list[EpisodeFault]
) -> LowdimReceipt:
    """Writes a table file and its receipt, which it returns.

    Args:
        job: what the file is to hold.
        tables: ``episode_index`` -> its rows, in the job's order.
        faults: of the episodes that are not among them.

    Raises:
        OSError: the disk refuses.
    """
    out = Path(job.out)
    path = lowdim_path(job.settings.name, job.task.table_index)
    if tables:
        with atomic_file(out / path, out / TEMPORARY_FOLDER) as file:
            write_lowdim(file, tables.values(), job.task.columns or None)
    receipt = LowdimReceipt(
        plan_digest=job.plan_digest,
        entry=LowdimEntry(
            path=path,
            num_bytes=(out / path).stat().st_size if tables else 0,
            sha256=sha256_of_file(out / path) if tables else "",
            episodes=list(tables),
        ),
        faults=faults,
    )
    write_receipt(out, job.name, receipt)
    return receipt


def read_table(job: LowdimJob, planned: PlannedEpisode) -> pa.Table:
    """Returns an episode's rows as they are to be stored.

    Raises:
        EpisodeError: the source's table does not hold what the plan says.
        InfraError: it is no longer the file that was planned.
    """
    root = Path(job.root)
    reach(stage="table", episode=planned.episode.episode_index)
    if planned.episode.table is not None:
        check_unchanged(root, planned.inputs[0])
    return read_rows(
        root, planned.episode, planned.num_frames, None, task_info=job.settings.task_info
    )


def _joined(schema: pa.Schema, table: pa.Table, planned: PlannedEpisode) -> pa.Schema:
    """The schema with this episode's columns; an episode whose types clash is at fault."""
    try:
        return pa.unify_schemas([schema, table.schema])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        episode = planned.episode
        clashing = [
            field.name
            for field in table.schema
            if field.name in schema.names and field.type != schema.field(field.name).type
        ]
        raise episode_error(
            episode.episode_index,
            episode.table.path if episode.table else "",
            "columns of other types than those of its task's other episodes",
            ", ".join(f"{name} {schema.field(name).type}" for name in clashing),
            ", ".join(f"{name} {table.schema.field(name).type}" for name in clashing),
        ) from error
