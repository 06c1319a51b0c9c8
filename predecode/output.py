"""What an output holds on disk: its plans, their tasks, and the receipts of these."""

from collections.abc import Sequence
from pathlib import Path

from predecode.dropped import Numbers, load_dropped
from predecode.errors import InfraError, UserError
from predecode.lowdim_task import LowdimJob
from predecode.manifest import Finished
from predecode.pipeline import ShardJob
from predecode.planning import Plan, PlannedEpisode
from predecode.receipts import LowdimReceipt, ShardReceipt, SizeOf, read_receipt
from predecode.stored_plan import decode_plan
from train_shards.format import SPLITS, plan_path

__all__ = [
    "Job",
    "Receipt",
    "finished_generations",
    "free_numbers",
    "jobs_of",
    "load_all_plans",
    "load_plans",
    "receipt_of",
    "source_root",
]

Job = ShardJob | LowdimJob
Receipt = ShardReceipt | LowdimReceipt


def load_plans(out: Path, *, are_to_count: bool = False) -> list[Plan]:
    """Returns the plans of an output in the order of positions, none that is replaced by another.

    Those that are only to be counted are read five times as fast; see ``decode_plan``.

    Raises:
        DataError: a plan that is not one.
    """
    newest = {plan.place: plan for plan in load_all_plans(out, are_to_count=are_to_count)}
    return [plan for _, plan in sorted(newest.items())]


def load_all_plans(out: Path, *, are_to_count: bool = False) -> list[Plan]:
    """Returns every plan that stands in an output, oldest first; see ``load_plans``.

    Raises:
        DataError: a plan that is not one.
    """
    paths = sorted((out / plan_path(0)).parent.glob("plan-*.json"))
    plans = [
        decode_plan(path.read_bytes(), where=str(path), is_to_count=are_to_count) for path in paths
    ]
    return sorted(plans, key=lambda plan: plan.generation)


def free_numbers(plans: Sequence[Plan], used: Numbers) -> Numbers:
    """Returns the first numbers that neither a plan has nor anything that is gone had."""
    shards = dict.fromkeys(SPLITS, 0) | used.shards
    for shard in (shard for plan in plans for shard in plan.shards):
        shards[shard.split] = max(shards[shard.split], shard.shard_index + 1)
    tables = [table.table_index + 1 for plan in plans for table in plan.tables]
    return Numbers(
        generation=max([used.generation, *(plan.generation + 1 for plan in plans)]),
        shards=shards,
        table=max([used.table, *tables]),
    )


def source_root(out: Path | str, plans: Sequence[Plan], root: Path | None) -> Path:
    """Returns the folder of an output's source: ``root``, else that of its newest plan.

    Raises:
        UserError: it is not there.
    """
    found = root or (Path(plans[-1].root) if plans else None)
    if found is None or not found.is_dir():
        raise UserError(
            f"{out}: its source {found} is not there; say where it is with --root "
            "('verify --fast' needs none)."
        )
    return found


def finished_generations(
    out: Path, plans: list[Plan], *, check_files: bool = True, size_of: SizeOf | None = None
) -> list[Finished]:
    """Returns all plans with their receipts and what of them is dropped.

    ``check_files`` and ``size_of`` are as in ``read_receipt``.

    Raises:
        InfraError: a task has none, or its file is gone.
    """
    dropped = load_dropped(out).ids
    finished = []
    for plan in plans:
        shards: list[ShardReceipt] = []
        tables: list[LowdimReceipt] = []
        for job in jobs_of(out, plan):
            receipt = receipt_of(out, job, check_files=check_files, size_of=size_of)
            if receipt is None:
                raise InfraError(
                    f"{out}: task {job.name} has no valid receipt; no manifest published. "
                    "The same 'predecode run' command again goes on from here."
                )
            if isinstance(receipt, ShardReceipt):
                shards.append(receipt)
            else:
                tables.append(receipt)
        own = {episode.episode_index for episode in plan.all_episodes}
        finished.append(Finished(plan, shards, tables, frozenset(own & dropped)))
    return finished


def jobs_of(out: Path | str, plan: Plan) -> list[Job]:
    """Returns every task of a plan, tables first, with what a node needs to do it."""
    planned = {p.episode.episode_index: p for p in plan.episodes}
    root, settings = plan.root, plan.settings
    tables = [
        LowdimJob(
            out=str(out),
            root=root,
            settings=settings,
            plan_digest=table.made_for or plan.digest,
            task=table,
            episodes=[planned[e] for e in table.episodes],
        )
        for table in plan.tables
    ]
    shards = [
        ShardJob(
            out=str(out),
            root=root,
            settings=settings,
            plan_digest=shard.made_for or plan.digest,
            probe=plan.probe,
            backend=plan.storing_backend,
            task=shard,
            episodes=_in_order(planned, [piece.episode_index for piece in shard.pieces]),
        )
        for shard in plan.shards
    ]
    return [*tables, *shards]


def _in_order(planned: dict[int, PlannedEpisode], ids: list[int]) -> list[PlannedEpisode]:
    return [planned[episode_index] for episode_index in dict.fromkeys(ids)]


def receipt_of(
    out: Path, job: Job, *, check_files: bool = True, size_of: SizeOf | None = None
) -> Receipt | None:
    """Returns a task's receipt, or None when it is to be run; see ``read_receipt``."""
    kind = ShardReceipt if isinstance(job, ShardJob) else LowdimReceipt
    return read_receipt(
        out, job.name, job.plan_digest, kind, check_files=check_files, size_of=size_of
    )
