"""What a run would take, from headers and a few pieces decoded; nothing is written.

The same check, plan, draw and encoders as of the run itself. Of a large data set a part of the
headers is read.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from predecode.choices import other_encodings, strides
from predecode.cluster import Cluster
from predecode.core_time import Load
from predecode.display import Display
from predecode.errors import EpisodeFault, UserError
from predecode.estimate import draw_pieces
from predecode.for_run import AskedRun
from predecode.free_space import Unwritten, amount_of, amount_of_other
from predecode.header_sample import choose_checked, supposed
from predecode.job import StartCluster, check_episodes
from predecode.output import jobs_of
from predecode.piece_costs import MeasureJob, MeasureReceipt
from predecode.planning import Plan, make_plan
from predecode.prediction import Measured, Planned, Prediction, make_prediction
from predecode.probe import environment, probe_hash
from predecode.selection import held_out
from predecode.source_check import CheckedEpisode
from predecode.sources.episode import Episode, Source, with_images
from predecode.tasks import Work
from predecode.to_plan import RunSeen, ToPlan, new_episodes, run_part
from train_shards.manifest import Settings

__all__ = ["predict"]

_BATCH = 4
"""Pieces that one process looks at: enough of them for every core, and to hide its start."""


def predict(
    source: Source,
    settings: Settings,
    selected: Sequence[Episode],
    start_cluster: StartCluster,
    work: Work,
    display: Display,
    *,
    num_frames: int,
    cores: int,
    budget_bytes: int | None,
    for_run: AskedRun | None = None,
) -> Prediction:
    """Returns what a run that makes a new output of the selected episodes would take.

    Args:
        source: the data set.
        settings: of the output.
        selected: its episodes.
        start_cluster: where tasks run.
        work: what does a task.
        display: is told of what is done.
        num_frames: about how many frames to encode.
        for_run: store what this training run sees; None for everything.
        cores: for the wall time.
        budget_bytes: that the output is compared with, if any.

    Raises:
        UserError: no episode passes the source check, or none of the sample can be decoded.
        InfraError: as ``run_job``.

    Cost: reads headers of ``MOST_CHECKED`` episodes, decodes one piece for each five frames.
    """
    new = new_episodes(source, settings, selected, display, is_first=True)._replace(run=for_run)
    asked = choose_checked(new.episodes)
    with start_cluster() as cluster:
        checked, failed = check_episodes(source, settings, asked, cluster, work, display)
        if not checked:
            raise UserError(
                f"--src {source.kind} at {source.root}: no episode passes the source check; first: "
                f"{failed[0][1]}. See 'predecode verify --source'."
            )
        ids = {episode.episode_index for episode in asked}
        rest = [
            with_images(e, settings.cameras) for e in new.episodes if e.episode_index not in ids
        ]
        everything = [*checked, *supposed(rest, settings.camera_names, checked)]
        plans = {
            stride: _plan(source, settings, stride, everything, failed, new)
            for stride in strides(settings)
        }
        asked_plan, seen = plans[settings.stride]
        if seen is not None:
            display.note(seen.note)
        measured = _measure(asked_plan, checked, num_frames, cluster, work, display)
    planned = _in_numbers(source, plans, settings.stride)
    return make_prediction(settings, planned, measured, checked, failed, cores, budget_bytes)


def _plan(
    source: Source,
    settings: Settings,
    stride: int,
    episodes: Sequence[CheckedEpisode],
    failed: Sequence[tuple[Episode, EpisodeFault]],
    new: ToPlan,
) -> tuple[Plan, RunSeen | None]:
    """The plan that a run would make of the episodes for an empty folder; a run's part of it."""
    own = msgspec.structs.replace(settings, stride=stride)
    val = held_out(source.episodes, settings.val_episodes, settings.seed)
    seen = run_part(new, episodes, val, own)
    plan = make_plan(
        generation=0,
        settings=own,
        root=str(source.root.resolve()),
        probe=probe_hash(settings),
        environment=environment(),
        checked=episodes,
        failed=failed,
        held_out=val,
        first_shards={"train": 0, "val": 0},
        first_table=0,
        labelled=new.labelled,
        run=seen and seen.part,
    )
    return plan, seen


def _in_numbers(
    source: Source, plans: dict[int, tuple[Plan, RunSeen | None]], stride: int
) -> dict[int, Planned]:
    """What would be written and done for each stride; ``stride`` is the one asked for."""
    asked, _ = plans[stride]
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)
        jobs = jobs_of(empty, asked)
        amount = amount_of(Unwritten(empty, source, [asked], jobs, set(), asked))
    return {
        other: Planned(plan, amount_of_other(amount, plan), Load.of(plan, seen and seen.decoding))
        for other, (plan, seen) in plans.items()
    }


def _measure(
    plan: Plan,
    checked: Sequence[CheckedEpisode],
    num_frames: int,
    cluster: Cluster,
    work: Work,
    display: Display,
) -> Measured:
    """Decodes pieces of the checked episodes, and encodes frames of them in every way."""
    known = {c.episode.episode_index for c in checked}
    episodes = {p.episode.episode_index: p for p in plan.episodes}
    pieces = [p for shard in plan.shards for p in shard.pieces if p.episode_index in known]
    tasks = {number: planned.episode.task_index for number, planned in episodes.items()}
    looks = draw_pieces(pieces, tasks, plan.settings, num_frames)
    choices = other_encodings(plan.settings)
    batches = [looks[start : start + _BATCH] for start in range(0, len(looks), _BATCH)]
    jobs = [
        MeasureJob(
            root=plan.root,
            settings=plan.settings,
            looks=batch,
            episodes=[
                episodes[e] for e in dict.fromkeys(look.piece.episode_index for look in batch)
            ],
            choices=choices,
        )
        for batch in batches
    ]
    display.phase("decoding a sample", "frames", sum(len(look.frames) for look in looks))
    receipts: list[MeasureReceipt] = []
    for job, (receipt, _) in cluster.run(work, jobs, lambda _: None):
        display.advance(sum(len(look.frames) for look in job.looks), 0)
        if isinstance(receipt, MeasureReceipt):
            receipts.append(receipt)
            display.detail(f"{job.name}: {len(receipt.pieces)} pieces decoded")
            for fault in receipt.faults:
                display.note(f"left out of the sample: {fault}")
            if not (receipt.pieces or receipt.faults):
                display.note(f"left out of the sample: {job.name}: its process ended or hung")
    if not any(receipt.pieces for receipt in receipts):
        raise UserError(
            f"{plan.root}: no piece of the sample can be decoded, so that nothing can be told. See "
            "'predecode verify --source'."
        )
    return Measured(receipts, choices)
