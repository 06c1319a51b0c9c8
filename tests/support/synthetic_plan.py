"""A plan of any size without its data, and receipts as if all of it had been made."""

from pathlib import Path

from predecode.lowdim_task import LowdimJob
from predecode.output import Job, jobs_of
from predecode.planning import Plan, make_plan
from predecode.receipts import TEMPORARY_FOLDER, LowdimReceipt, ShardReceipt, write_receipt
from predecode.source_check import CheckedEpisode, InputFile
from predecode.sources.episode import Episode, TableSpan, VideoSpan
from tests.support.stored import settings_of
from train_shards.format import ledger_path, lowdim_path, plan_path, shard_path
from train_shards.manifest import LowdimEntry, ShardEntry, encode_json
from train_shards.storage import write_atomic

__all__ = ["PIECES_PER_SHARD", "synthetic_episodes", "synthetic_plan", "write_as_if_done"]

PIECES_PER_SHARD = 100
_GOP = 256
_STRIDE = 4
_CAMERAS = {"head": "h", "left_wrist": "l", "right_wrist": "r"}


def synthetic_episodes(num_episodes: int, pieces_per_episode: int) -> list[CheckedEpisode]:
    """Checked episodes of three cameras, each cut into so many pieces."""
    num_frames = _GOP * pieces_per_episode
    episodes = []
    for number in range(num_episodes):
        episode_index, task = number * 10, number // 200
        paths = [f"videos/task-{task:04d}/{name}/{episode_index:08d}.mp4" for name in _CAMERAS]
        table = f"data/task-{task:04d}/{episode_index:08d}.parquet"
        episodes.append(
            CheckedEpisode(
                episode=Episode(
                    episode_index=episode_index,
                    task_index=task,
                    task=f"task {task}",
                    num_frames=num_frames,
                    fps=(30, 1),
                    videos={
                        name: VideoSpan(key=key, path=path)
                        for (name, key), path in zip(_CAMERAS.items(), paths, strict=True)
                    },
                    table=TableSpan(path=table),
                ),
                num_frames=num_frames,
                keyframes=list(range(0, num_frames, _GOP)),
                inputs=[
                    InputFile(path=path, num_bytes=1000, digest="ab" * 16)
                    for path in (table, *paths)
                ],
            )
        )
    return episodes


def synthetic_plan(episodes: list[CheckedEpisode]) -> Plan:
    """The plan of some episodes, in shards of ``PIECES_PER_SHARD``."""
    settings = settings_of(
        cameras=_CAMERAS,
        stride=_STRIDE,
        layout="mixed",
        shard_size=PIECES_PER_SHARD * _GOP // _STRIDE,
    )
    return make_plan(
        generation=0,
        settings=settings,
        root="/nowhere",
        probe="",
        environment={},
        checked=episodes,
        failed=[],
        held_out=set(),
        first_shards={"train": 0, "val": 0},
        first_table=0,
    )


def write_as_if_done(out: Path, plan: Plan) -> None:
    """Writes the plan, and of each task its receipt and empty files of the size that it tells."""
    write_atomic(out / plan_path(plan.generation), encode_json(plan), out / TEMPORARY_FOLDER)
    for job in jobs_of(out, plan):
        _write_files(out, job)


def _write_files(out: Path, job: Job) -> None:
    num_bytes, receipt = 10_240, _receipt_of(job, 10_240)
    paths = [receipt.entry.path]
    if isinstance(receipt, ShardReceipt):
        paths.append(receipt.entry.ledger)
    for path in paths:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        with (out / path).open("wb") as file:
            file.truncate(num_bytes)
    write_receipt(out, job.name, receipt)


def _receipt_of(job: Job, num_bytes: int) -> ShardReceipt | LowdimReceipt:
    if isinstance(job, LowdimJob):
        return LowdimReceipt(
            plan_digest=job.plan_digest,
            entry=LowdimEntry(
                path=lowdim_path(job.settings.name, job.task.table_index),
                num_bytes=num_bytes,
                sha256="ab" * 32,
                episodes=job.task.episodes,
            ),
            faults=[],
        )
    return ShardReceipt(
        plan_digest=job.plan_digest,
        entry=ShardEntry(
            path=shard_path(job.settings.name, job.task.split, job.task.shard_index),
            split=job.task.split,
            num_samples=job.task.num_samples,
            num_bytes=num_bytes,
            sha256="ab" * 32,
            md5="ab" * 16,
            ledger=ledger_path(job.name),
            ledger_sha256="ab" * 32,
        ),
        faults=[],
    )
