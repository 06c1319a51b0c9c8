"""How far an output is: what its plans ask for, what receipts tell of, and whether a run works.

Reads alone, and believes what it reads: ``predecode verify`` is the proof.
"""

import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from predecode.dropped import load_dropped
from predecode.errors import UserError
from predecode.lock import LOCK_PATH, is_stale
from predecode.output import load_plans
from predecode.places import Place
from predecode.planning import Plan
from predecode.progress_lines import ProgressLine, read_lines
from predecode.receipts import LowdimReceipt, ShardReceipt, read_receipt
from train_shards.format import MANIFEST_PATH, lowdim_path, shard_name
from train_shards.manifest import Manifest, load_manifest

__all__ = ["Status", "Writer", "status_of"]

State = Literal["complete", "incomplete", "running", "elsewhere", "killed", "stopped"]


class Writer(msgspec.Struct, frozen=True):
    """Who holds the output, as its lock says."""

    host: str = "?"
    pid: int = 0
    since: str = "?"
    command: str = "predecode run"


class Status(msgspec.Struct, kw_only=True):
    """How far an output is."""

    output: str
    state: State
    """``incomplete``: finished, with quarantined episodes. ``elsewhere``: the lock names another
    host's process, or none, and cannot be judged. ``stopped``: not finished, and nobody works."""
    writer: Writer | None
    num_tasks: int = 0
    num_tasks_done: int = 0
    num_tasks_in_flight: int = 0
    """At most; 0 unless a run works."""
    num_samples: int = 0
    """Planned, before any fault."""
    num_samples_done: int = 0
    """In finished shards."""
    num_bytes: int = 0
    """Of finished shards and tables."""
    num_episodes: int = 0
    """Planned or quarantined."""
    quarantined: list[int]
    """``episode_index``, ascending."""
    last: ProgressLine | None
    """What the run at work has told last; of a run that has ended, its last line."""
    last_age_s: float | None
    left_s: float | None
    """Of the phase, at this call's mean rate; None where nothing tells."""
    versions: dict[str, str]
    """Of what made it: predecode, the format, decoder and libraries of the newest plan."""


def status_of(place: Place) -> Status:
    """Returns how far an output is.

    Raises:
        UserError: no output, nor the begin of one.
        DataError: a plan or the manifest is damaged.

    Cost: reads the plans, and the receipts of those that the manifest does not name: 2 s for 5,000
    shards.
    """
    folder = place.folder
    lock, lines = _lock(place), read_lines(folder)
    plans = load_plans(folder, are_to_count=True)
    manifest = load_manifest(folder) if (folder / MANIFEST_PATH).is_file() else None
    if lock is None and not lines and not plans and manifest is None:
        raise UserError(
            f"{place.name}: no output of predecode, and no run that makes one. Expected a folder "
            "or URL that was given to 'predecode run --out'."
        )
    status = Status(
        output=place.name, state="stopped", writer=None, quarantined=[], last=None,
        last_age_s=None, left_s=None, versions=_versions(plans, manifest),
    )  # fmt: skip
    _count(status, folder, plans, manifest)
    _judge(status, lock, plans, manifest, where=f"{place.name}/{LOCK_PATH}")
    _add_progress(status, lines)
    return status


def _lock(place: Place) -> bytes | None:
    try:
        return place.read(LOCK_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _versions(plans: list[Plan], manifest: Manifest | None) -> dict[str, str]:
    if not plans:
        return {}
    newest = max(plans, key=lambda plan: plan.generation)
    versions = {"format": f"{newest.format.major}.{newest.format.minor}"}
    if manifest is not None:
        versions["written_by"] = manifest.written_by
    return versions | {"backend": newest.storing_backend} | newest.environment


def _count(status: Status, folder: Path, plans: list[Plan], manifest: Manifest | None) -> None:
    """Adds up what is planned and what is done."""
    published = {g.plan_digest: g for g in manifest.generations} if manifest else {}
    faulty = {missing.episode_index for missing in manifest.missing} if manifest else set()
    known: set[int] = set()
    for plan in plans:
        known |= {planned.episode.episode_index for planned in plan.episodes}
        known |= {fault.episode_index for fault in plan.faults}
        status.num_tasks += len(plan.shards) + len(plan.tables)
        status.num_samples += sum(shard.num_samples for shard in plan.shards)
        if plan.digest in published:
            made = published[plan.digest]
            status.num_tasks_done += len(plan.shards) + len(plan.tables)
            status.num_samples_done += sum(shard.num_samples for shard in made.shards)
            status.num_bytes += sum(shard.num_bytes for shard in made.shards)
            status.num_bytes += sum(table.num_bytes for table in made.lowdim)
            continue
        faulty |= {fault.episode_index for fault in plan.faults}
        for receipt in _receipts(folder, plan):
            status.num_tasks_done += 1
            status.num_bytes += receipt.entry.num_bytes
            if isinstance(receipt, ShardReceipt):
                status.num_samples_done += receipt.entry.num_samples
            faulty |= {fault.episode_index for fault in receipt.faults}
    gone = load_dropped(folder).ids
    status.num_episodes, status.quarantined = len(known - gone), sorted(faulty - gone)


def _receipts(folder: Path, plan: Plan) -> Iterator[ShardReceipt | LowdimReceipt]:
    """Those of a plan's tasks that there are; the files that they tell of are not looked at."""
    name = plan.settings.name
    for shard in plan.shards:
        task, digest = shard_name(name, shard.split, shard.shard_index), shard.made_for
        found = read_receipt(folder, task, digest or plan.digest, ShardReceipt, check_files=False)
        if found is not None:
            yield found
    for table in plan.tables:
        task, digest = Path(lowdim_path(name, table.table_index)).stem, table.made_for
        made = read_receipt(folder, task, digest or plan.digest, LowdimReceipt, check_files=False)
        if made is not None:
            yield made


def _judge(
    status: Status, lock: bytes | None, plans: list[Plan], manifest: Manifest | None, *, where: str
) -> None:
    """Finds out who holds the output and what that means."""
    if lock is not None:
        try:
            is_dead = is_stale(lock, where)
            status.writer = msgspec.json.decode(lock, type=Writer)
        except (UserError, msgspec.MsgspecError):  # cut short: nobody can tell whose it is
            status.state, status.writer = "elsewhere", Writer()
            return
        is_here = status.writer.host == platform.node()
        status.state = "killed" if is_dead else "running" if is_here else "elsewhere"
        return
    published = {g.plan_digest for g in manifest.generations} if manifest else set()
    if manifest is not None and {plan.digest for plan in plans} == published:
        status.state = "complete" if manifest.complete else "incomplete"


def _add_progress(status: Status, lines: list[ProgressLine]) -> None:
    """Adds what a run has told; of the run that holds the output, if one does."""
    writer = status.writer
    if writer is not None:
        lines = [line for line in lines if line.run.startswith(f"{writer.host}:{writer.pid}:")]
    if not lines:
        return
    line = status.last = lines[-1]
    status.last_age_s = max(0.0, time.time() - line.time_unix_s)
    if status.state in ("running", "elsewhere"):
        num_left = status.num_tasks - status.num_tasks_done
        status.num_tasks_in_flight = min(line.num_slots, num_left)
        if line.done:
            status.left_s = line.elapsed_s / line.done * (line.total - line.done)
