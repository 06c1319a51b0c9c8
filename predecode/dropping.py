"""Episodes taken out of an output: masked first, and on request removed from every file.

Each step leaves an output that is read and that the same command finishes: what is dropped is
written first, new files come under new names, a plan takes another one's place only when all of its
files stand, and what nothing names any more goes last.
"""

import difflib
import itertools
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from predecode.cutting import cut_shard, cut_table, stored_columns
from predecode.display import Display
from predecode.dropped import Dropped, Numbers, load_dropped, write_dropped
from predecode.errors import UserError, disk_errors_of
from predecode.lock import OutputLock
from predecode.lowdim_task import LowdimJob
from predecode.manifest import Finished, is_published, publish, remove_unnamed
from predecode.metadata_copies import prune_metadata
from predecode.output import (
    finished_generations,
    free_numbers,
    jobs_of,
    load_all_plans,
    load_plans,
    receipt_of,
)
from predecode.pipeline import ShardJob
from predecode.planning import LowdimTask, Plan, ShardTask
from predecode.receipts import TEMPORARY_FOLDER
from predecode.replanning import Replanned, replan
from train_shards.format import (
    ledger_path,
    lowdim_path,
    plan_path,
    receipt_path,
    shard_path,
)
from train_shards.manifest import DroppedEpisode, Manifest, encode_json, load_manifest
from train_shards.storage import write_atomic

__all__ = ["DropOutcome", "drop_episodes"]

_MOST_IDS = 10


class DropOutcome(NamedTuple):
    """What a drop ended with."""

    manifest: Manifest
    num_new: int
    """Episodes that were not dropped before."""
    num_cut: int
    """Shards and tables that were made anew without dropped episodes."""
    removed: list[str]
    """Files that are gone, relative to the output; metadata are not among them."""


def drop_episodes(
    out: Path, wanted: Collection[int], display: Display, *, rewrite: bool
) -> DropOutcome:
    """Takes episodes out of an output; with ``rewrite``, all that were ever dropped from its files.

    Args:
        out: a published output.
        wanted: ``episode_index`` of those to drop; those dropped before do no harm.
        display: is told of progress.
        rewrite: also remove what masked episodes have in files.

    Raises:
        UserError: not a finished output, no such episode, nothing dropped, nothing would be left,
            or ``rewrite`` of an output that holds one run's samples.
        DataError: plans, receipts or shards are damaged.
        InfraError: the disk refuses; what is done stays, the same call goes on.
    """
    load_manifest(out)  # before there is a lock: a folder of something else is left alone
    with disk_errors_of(str(out)), OutputLock(out):
        shutil.rmtree(out / TEMPORARY_FOLDER, ignore_errors=True)
        old, plans, before = load_manifest(out), load_plans(out), load_dropped(out)
        if rewrite and (scope := plans[-1].run_scope):
            raise UserError(
                f"{out}: holds the samples of one run, {scope}, whose order its first plan keeps: "
                "no --rewrite. Without it episodes are masked, and the next samples in the order "
                "stand in; to be rid of their bytes, store the run of the others anew."
            )
        _refuse_unfinished(out, plans)
        dropped = _with(out, before, plans, wanted)
        finished = [
            item._replace(dropped=frozenset(_ids(item.plan) & dropped.ids))
            for item in finished_generations(out, plans)
        ]
        _refuse_nothing_left(out, finished)
        if dropped != before:
            write_dropped(out, dropped)
        if not is_published(old, plans, dropped):
            old = publish(out, finished, old, dropped.episodes)
        cut, removed = 0, list[str]()
        if rewrite:
            cut = _rewrite(out, finished, dropped, display)
            old, removed = _settle(out, old)
        remove_unnamed(out, old)
        shutil.rmtree(out / TEMPORARY_FOLDER, ignore_errors=True)
    return DropOutcome(old, len(dropped.ids - before.ids), cut, removed)


def _refuse_unfinished(out: Path, plans: Sequence[Plan]) -> None:
    missing = [
        job.name for plan in plans for job in jobs_of(out, plan) if receipt_of(out, job) is None
    ]
    if missing:
        raise UserError(
            f"{out}: {len(missing)} tasks have not run yet or lost their file, the first "
            f"{missing[0]}. Finish the run by the same 'predecode run' command, then drop."
        )


def _with(out: Path, before: Dropped, plans: Sequence[Plan], wanted: Collection[int]) -> Dropped:
    """What is dropped, the wanted ones among it."""
    task_of = {e.episode_index: e.task_index for plan in plans for e in plan.all_episodes}
    known = {*task_of, *before.ids}
    strangers = sorted(set(wanted) - known)
    if strangers:
        names = [f"{episode:08d}" for episode in sorted(known)]
        near = difflib.get_close_matches(f"{strangers[0]:08d}", names, n=1)
        hint = f"the nearest is {near[0]}" if near else "expected some of its episodes"
        shown = ", ".join(names[:_MOST_IDS]) + (", …" if len(names) > _MOST_IDS else "")
        raise UserError(
            f"--episodes {','.join(f'{s:08d}' for s in strangers[:_MOST_IDS])}: not in {out}; "
            f"{hint}, it has {len(names)}: {shown}."
        )
    new = [DroppedEpisode(e, task_of[e]) for e in set(wanted) - before.ids]
    if not new and not before.episodes:
        raise UserError(f"{out}: nothing is dropped yet; say what with --episodes.")
    return msgspec.structs.replace(before, episodes=sorted([*before.episodes, *new]))


def _refuse_nothing_left(out: Path, finished: Sequence[Finished]) -> None:
    live = [p for f in finished for p in f.plan.episodes if p.episode.episode_index not in f.masked]
    if not live:
        raise UserError(
            f"{out}: no episode with samples would be left. Delete the folder instead, or keep one."
        )


def _rewrite(out: Path, finished: Sequence[Finished], dropped: Dropped, display: Display) -> int:
    """Makes the files of the plans without dropped episodes, then these; returns how many files.

    Files are made under new names by the digest of their plan, which follows from what stands: an
    interrupted call is gone on with.
    """
    free = free_numbers(load_all_plans(out), dropped.used)
    replaced: list[tuple[Finished, Replanned]] = []
    for item in finished:
        if item.dropped:
            made = _replanned(out, item, free)
            replaced.append((item, made))
            if made.plan is not None:
                free = free_numbers([made.plan], free)
    num_files = sum(len(made.shards) + len(made.tables) for _, made in replaced)
    display.phase("cutting", "files", num_files)
    for item, made in replaced:
        _cut(out, item, made, display)
    for _, made in replaced:
        if made.plan is not None:
            data = encode_json(made.plan)
            write_atomic(out / plan_path(made.plan.generation), data, out / TEMPORARY_FOLDER)
    return num_files


def _replanned(out: Path, item: Finished, free: Numbers) -> Replanned:
    entries = {
        table.table_index: receipt.entry
        for table, receipt in zip(item.plan.tables, item.tables, strict=True)
    }

    def columns_of(table: LowdimTask, episodes: list[int]) -> list[str]:
        return stored_columns(out, entries[table.table_index], episodes)

    return replan(item.plan, item.dropped, free, columns_of)


def _cut(out: Path, item: Finished, made: Replanned, display: Display) -> None:
    """Makes the files of a new plan that do not stand yet."""
    if made.plan is None:
        return
    jobs = jobs_of(out, made.plan)
    table_jobs = {job.task.table_index: job for job in jobs if isinstance(job, LowdimJob)}
    shard_jobs = {_number(job.task): job for job in jobs if isinstance(job, ShardJob)}
    tables = {task.table_index: r for task, r in zip(item.plan.tables, item.tables, strict=True)}
    shards = {_number(task): r for task, r in zip(item.plan.shards, item.shards, strict=True)}
    for old_table, table in made.tables:
        table_job = table_jobs[table.table_index]
        if receipt_of(out, table_job) is None:
            cut_table(tables[old_table.table_index], table_job)
        display.advance(1, 0)
        display.detail(f"{table_job.name}: made anew")
    for old_shard, shard in made.shards:
        shard_job = shard_jobs[_number(shard)]
        if receipt_of(out, shard_job) is None:
            cut_shard(shards[_number(old_shard)], shard_job)
        display.advance(1, 0)
        display.detail(f"{shard_job.name}: made anew")


def _number(task: ShardTask) -> tuple[str, int]:
    return task.split, task.shard_index


def _settle(out: Path, old: Manifest) -> tuple[Manifest, list[str]]:
    """Publishes the plans that are left and removes all that belongs to none of them.

    Returns the manifest and the files that are gone.
    """
    dropped = load_dropped(out)
    every = load_all_plans(out)
    plans = [plan for plan in load_plans(out) if not _ids(plan) <= dropped.ids]
    digests = {plan.digest for plan in plans}
    gone = [plan for plan in every if plan.digest not in digests]
    if gone:
        used = free_numbers(every, dropped.used)
        dropped = msgspec.structs.replace(dropped, used=used)
        write_dropped(out, dropped)
    for plan in gone:
        (out / plan_path(plan.generation)).unlink()
    removed = [plan_path(plan.generation) for plan in gone]
    if not is_published(old, plans, dropped):
        old = publish(out, finished_generations(out, plans), old, dropped.episodes)
    removed += _remove_files(out, plans, old)
    prune_metadata(out, dropped.ids - set().union(*map(_ids, plans)))
    return old, removed


def _remove_files(out: Path, plans: Sequence[Plan], manifest: Manifest) -> list[str]:
    """Removes every file of a task that no plan has; returns their paths."""
    name = manifest.settings.name
    needed: set[str] = set()
    for job in itertools.chain.from_iterable(jobs_of(out, plan) for plan in plans):
        needed.add(receipt_path(job.name))
        if isinstance(job, ShardJob):
            path = shard_path(name, job.task.split, job.task.shard_index)
            needed |= {path, f"{path}.idx", ledger_path(job.name)}
        else:
            needed.add(lowdim_path(name, job.task.table_index))
    patterns = [f"data/*/{name}-*.tar", f"data/*/{name}-*.tar.idx", f"lowdim/{name}-*.arrow"]
    patterns += [ledger_path("*"), receipt_path("*")]
    found = {p.relative_to(out).as_posix() for pattern in patterns for p in out.glob(pattern)}
    removed = sorted(found - needed)
    for path in removed:
        (out / path).unlink(missing_ok=True)
    return removed


def _ids(plan: Plan) -> set[int]:
    return {episode.episode_index for episode in plan.all_episodes}
