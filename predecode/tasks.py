"""What a node is given to do: the jobs of every kind, done whole or tried on one episode alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from predecode.encoded_samples import EncodedSamples
from predecode.errors import EpisodeError, EpisodeFault, disk_errors_of
from predecode.injection import reach
from predecode.lowdim_task import LowdimJob, read_table, run_lowdim_task
from predecode.measuring import run_measure_task
from predecode.piece_costs import MeasureJob, MeasureReceipt
from predecode.pipeline import ShardJob, encode_samples, run_shard_task
from predecode.receipts import LowdimReceipt, ShardReceipt
from predecode.sizing import SizeJob, SizeReceipt, run_size_task
from predecode.source_check import CheckedEpisode, check_episode
from predecode.sources.episode import Episode
from predecode.stages import Spent, measured

__all__ = [
    "CHECK_BATCH",
    "AnyJob",
    "AnyReceipt",
    "CheckJob",
    "CheckReceipt",
    "Done",
    "Job",
    "Receipt",
    "Work",
    "alone",
    "episodes_of",
    "run_task",
    "try_task",
    "without",
]

CHECK_BATCH = 16
"""Episodes a source-check task opens: enough to hide a task's overhead."""

Report = Callable[[int], None]


class CheckJob(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Episodes for one source-check task."""

    root: str
    episodes: list[Episode]
    cameras: tuple[str, ...]
    quarantined: list[EpisodeFault] = []
    """Episodes that are left alone: they end the process that works on them."""

    @property
    def name(self) -> str:
        """For messages."""
        return f"source check from episode {self.episodes[0].episode_index:08d}"


class CheckReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a source check found; each of its episodes stands in one of the lists."""

    checked: list[CheckedEpisode]
    faults: list[EpisodeFault]


Job = ShardJob | LowdimJob | CheckJob
Receipt = ShardReceipt | LowdimReceipt | CheckReceipt
AnyJob = Job | SizeJob | MeasureJob
AnyReceipt = Receipt | SizeReceipt | MeasureReceipt


class Done(NamedTuple):
    """A job that was done."""

    receipt: AnyReceipt
    """A function of the job."""
    spent: Spent = Spent()
    """What it took this time."""


Work = Callable[[AnyJob, Report], Done]
"""What does a job: here, or in a process of its own."""


def run_task(job: AnyJob, report: Report) -> Done:
    """Does a job of any kind; ``report`` gets numbers of new images, of episodes in a check."""
    return Done(*measured(lambda: _receipt(job, report)))


def _receipt(job: AnyJob, report: Report) -> AnyReceipt:
    if isinstance(job, ShardJob):
        return run_shard_task(job, report)
    if isinstance(job, LowdimJob):
        return run_lowdim_task(job, report)
    if isinstance(job, SizeJob):
        return run_size_task(job, report)
    if isinstance(job, MeasureJob):
        return run_measure_task(job, report)
    return _check(job, report)


def try_task(job: Job, report: Report) -> list[EpisodeFault]:
    """Does all of a job that native code of others has a part in; returns faults, stores nothing.

    Raises:
        InfraError: as ``run_task``.
    """
    if isinstance(job, ShardJob):
        with EncodedSamples(job.settings.camera_names) as samples:
            return encode_samples(job, samples, report)
    if isinstance(job, CheckJob):
        return _check(job, report).faults
    faults: list[EpisodeFault] = []
    for planned in job.episodes:
        try:
            read_table(job, planned)
        except EpisodeError as error:
            faults.append(error.fault)
    return faults


def episodes_of(job: Job) -> list[Episode]:
    """Returns the episodes that a job works on, in its order."""
    return [e if isinstance(e, Episode) else e.episode for e in job.episodes]


def alone(job: Job, episode_index: int) -> Job:
    """Returns the part of a job that works on one of its episodes."""
    if isinstance(job, CheckJob):
        own = [e for e in job.episodes if e.episode_index == episode_index]
        return msgspec.structs.replace(job, episodes=own)
    planned = [p for p in job.episodes if p.episode.episode_index == episode_index]
    if isinstance(job, LowdimJob):
        table = msgspec.structs.replace(job.task, episodes=[episode_index])
        return msgspec.structs.replace(job, episodes=planned, task=table)
    pieces = [piece for piece in job.task.pieces if piece.episode_index == episode_index]
    shard = msgspec.structs.replace(job.task, pieces=pieces)
    return msgspec.structs.replace(job, episodes=planned, task=shard)


def without(job: Job, quarantined: Sequence[EpisodeFault]) -> Job:
    """Returns a job that leaves episodes alone, and records why in its receipt."""
    return msgspec.structs.replace(job, quarantined=list(quarantined))


def _check(job: CheckJob, report: Report) -> CheckReceipt:
    given = {fault.episode_index: fault for fault in job.quarantined}
    checked: list[CheckedEpisode] = []
    faults: list[EpisodeFault] = []
    with disk_errors_of(job.root):
        for episode in job.episodes:
            if episode.episode_index in given:
                faults.append(given[episode.episode_index])
                continue
            reach(stage="check", episode=episode.episode_index)
            try:
                checked.append(check_episode(Path(job.root), episode, job.cameras))
            except EpisodeError as error:
                faults.append(error.fault)
            report(1)
    return CheckReceipt(checked=checked, faults=faults)
