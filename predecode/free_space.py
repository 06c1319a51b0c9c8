"""Whether what is still to be written has room where it is to stand; looked at before any task.

A quota is not seen: what counts is what the file system says is free.
"""

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from predecode.cluster import Cluster
from predecode.display import Display, format_bytes
from predecode.errors import UserError
from predecode.estimate import Amount, Estimate, choose_looks, estimate, most_bytes
from predecode.lowdim_task import LowdimJob
from predecode.output import Job
from predecode.pipeline import ShardJob
from predecode.planning import Plan
from predecode.sizing import EpisodeSize, SampleSize, SizeJob, SizeReceipt
from predecode.sources.episode import Source
from predecode.sources.instances import id_list_path
from predecode.tasks import Work
from train_shards.format import SPLITS
from train_shards.index import index_bytes
from train_shards.ledger import encode_ledger, ledger_dtype
from train_shards.manifest import Settings, encode_json

__all__ = ["Unwritten", "amount_of", "amount_of_other", "check_free_space", "measure"]

_BATCH = 6
"""Pieces that one process looks at: what dies in it costs no more of the sample."""


class Unwritten(NamedTuple):
    """What a run is about to do."""

    out: Path
    source: Source
    plans: Sequence[Plan]
    """All of the output."""
    jobs: Sequence[Job]
    """Those without a receipt."""
    published: Collection[str]
    """Digests of the plans whose indexes stand."""
    new_plan: Plan | None
    """The one of ``plans`` that is not on disk yet."""


def check_free_space(todo: Unwritten, cluster: Cluster, work: Work, display: Display) -> None:
    """Passes unless what is to be written surely exceeds what is free; says so if it may.

    Raises:
        UserError: it does.

    Cost: none but arithmetic where even uncompressed pictures would fit; else decodes a few
        keyframes and reads the tables of their episodes.
    """
    if not todo.jobs:
        return
    free_bytes = shutil.disk_usage(todo.out).free
    amount = amount_of(todo)
    most = most_bytes(amount, todo.plans[-1].settings)
    if most is not None and most <= free_bytes:
        return
    found = measure(todo, amount, cluster, work)
    if found is None:
        display.note(
            f"free space not compared with the plan: no picture or table of the sample could be "
            f"read; {format_bytes(free_bytes)} free in {todo.out}"
        )
    elif found.num_bytes - found.error_bytes > free_bytes:
        raise UserError(_refusal(todo, found, free_bytes))
    elif found.num_bytes + found.error_bytes > free_bytes:
        display.note(f"free space may not be enough: {_need(found, free_bytes)}")


def amount_of(todo: Unwritten) -> Amount:
    """Returns what is to be written in numbers; reads no picture.

    Cost: looks at the size of each metadata file that is not copied yet.
    """
    shards = [job for job in todo.jobs if isinstance(job, ShardJob)]
    tables = [job for job in todo.jobs if isinstance(job, LowdimJob)]
    planned = [episode for job in tables for episode in job.episodes]
    settings = todo.plans[-1].settings
    num_samples = sum(job.task.num_samples for job in shards)
    parquet = {
        p.inputs[0].path: p.inputs[0].num_bytes for p in planned if p.episode.table is not None
    }
    return Amount(
        num_samples=num_samples,
        num_shards=len(shards),
        num_rows=sum(p.num_frames for p in planned),
        num_tables=len(tables),
        num_episodes=sum(id_list_path(p.episode) is not None for p in planned),
        parquet_bytes=sum(parquet.values()),
        ledger_bytes=_ledger_bytes(settings, num_samples, len(shards)),
        index_bytes=sum(
            _index_bytes(plan) for plan in todo.plans if plan.digest not in todo.published
        ),
        metadata_bytes=_metadata_bytes(todo),
        plan_bytes=0 if todo.new_plan is None else len(encode_json(todo.new_plan)),
    )


def amount_of_other(amount: Amount, plan: Plan) -> Amount:
    """Returns an amount for another plan of the same episodes, which has another stride.

    The plan's own bytes are taken for the same.
    """
    num_samples = sum(shard.num_samples for shard in plan.shards)
    return amount._replace(
        num_samples=num_samples,
        num_shards=len(plan.shards),
        ledger_bytes=_ledger_bytes(plan.settings, num_samples, len(plan.shards)),
        index_bytes=_index_bytes(plan),
    )


def measure(todo: Unwritten, amount: Amount, cluster: Cluster, work: Work) -> Estimate | None:
    """Returns what an amount takes, from a sample of it; None where nothing could be read.

    Cost: see ``check_free_space``.
    """
    samples: list[SampleSize] = []
    episodes: list[EpisodeSize] = []
    for _, (receipt, _) in cluster.run(work, _size_jobs(todo), lambda _: None):
        if isinstance(receipt, SizeReceipt):
            samples += receipt.samples
            episodes += receipt.episodes
    if (amount.num_samples and not samples) or (amount.num_rows and not episodes):
        return None
    settings = todo.plans[-1].settings
    is_sized = settings.codec == "raw" and settings.size != "native" and not settings.modalities
    return estimate(amount, samples, episodes, is_sized=is_sized)


def _size_jobs(todo: Unwritten) -> list[SizeJob]:
    """The look at the pieces that are left; where only tables are, at pieces of their episodes."""
    shards = [job for job in todo.jobs if isinstance(job, ShardJob)]
    pieces = [piece for job in shards for piece in job.task.pieces]
    planned = {p.episode.episode_index: p for job in todo.jobs for p in job.episodes}
    newest, settings = todo.plans[-1], todo.plans[-1].settings
    if not pieces:
        every = (piece for plan in todo.plans for shard in plan.shards for piece in shard.pieces)
        pieces = [piece for piece in every if piece.episode_index in planned]
    looks = choose_looks(pieces, settings)
    batches = [looks[start : start + _BATCH] for start in range(0, len(looks), _BATCH)]
    return [
        SizeJob(
            root=newest.root,
            settings=settings,
            looks=batch,
            episodes=[
                planned[e] for e in dict.fromkeys(look.piece.episode_index for look in batch)
            ],
            backend=newest.storing_backend,
        )
        for batch in batches
    ]


def _ledger_bytes(settings: Settings, num_samples: int, num_shards: int) -> int:
    row = ledger_dtype(len(settings.fields), len(settings.cameras))
    return num_samples * row.itemsize + num_shards * len(encode_ledger(np.zeros(0, row)))


def _index_bytes(plan: Plan) -> int:
    """Of a plan's indexes, one for each split that has an episode."""
    stride, num_members = plan.settings.stride, len(plan.settings.fields)
    total = 0
    for split in SPLITS:
        mine = [len(p.stored_frames(stride)) for p in plan.episodes if p.split == split]
        is_run = bool(plan.run_scope) and split == "train"
        total += index_bytes(len(mine), sum(mine), num_members, is_run=is_run) if mine else 0
    return total


def _metadata_bytes(todo: Unwritten) -> int:
    """Of the source's metadata files that have no copy yet."""
    meta, root = todo.out / "meta", todo.source.root
    episodes = [p.episode for plan in todo.plans for p in plan.episodes]
    return sum(
        (root / path).stat().st_size
        for path in todo.source.metadata_files(episodes)
        if not (meta / path.removeprefix("meta/")).is_file()
    )


def _need(found: Estimate, free_bytes: int) -> str:
    """What is missing, of which parts, and what is free where."""
    parts = sorted(found.parts, key=lambda part: -part.num_bytes)[:3]
    listed = ", ".join(f"{part.name} {format_bytes(part.num_bytes)}" for part in parts)
    return (
        f"about {format_bytes(found.num_bytes)}, at least "
        f"{format_bytes(found.num_bytes - found.error_bytes)}, are still to be written "
        f"({listed}, …), {format_bytes(free_bytes)} are free"
    )


def _refusal(todo: Unwritten, found: Estimate, free_bytes: int) -> str:
    settings = todo.plans[-1].settings
    if todo.new_plan is None:
        way_out = "Make room, then the same command goes on."
    elif len(todo.plans) > 1:
        way_out = "Make room, or ask for fewer new episodes. What stands is as it was."
    else:
        quality = "a lower --quality, " if settings.quality is not None else ""
        way_out = (
            f"Make room, or use another --out, a larger --stride, a smaller --size, {quality}"
            "or fewer --tasks. Nothing was written."
        )
    return f"--out {todo.out}: not enough room: {_need(found, free_bytes)}. {way_out}"
