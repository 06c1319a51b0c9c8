"""What each level of a verification has to do: one job a shard, a table, a handful of samples."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from predecode.errors import MediaError
from predecode.lowdim_task import LowdimJob
from predecode.manifest import Finished
from predecode.output import jobs_of
from predecode.pipeline import ShardJob
from predecode.planning import PlannedEpisode
from predecode.sources.pictures import picture_table
from predecode.verification.backends import BackendsJob
from predecode.verification.draw import draw_samples
from predecode.verification.pictures import VerifyJob
from predecode.verification.samples import SamplesJob
from predecode.verification.tables import TableJob
from predecode.video.backends import STORING_BACKEND
from train_shards.manifest import Manifest

__all__ = ["Asked", "Jobs", "make_jobs"]

NUM_ITEMS = 64
"""Samples that are compared as whole items unless all are; half of them ends of episodes."""
NUM_EPISODES = 64
"""Episodes whose tables are compared with the source's unless all are."""
_ITEMS_A_JOB = 16

Samples = dict[str, list[tuple[int, int]]]


class Asked(NamedTuple):
    """What the operator wants looked at."""

    is_all: bool = False
    """Every stored image, item and row; else a draw."""
    num_random: int = 1000
    """Samples drawn evenly, besides ends of episodes and surroundings of keyframes."""
    seed: int = 0
    backends: tuple[str, ...] = ("pyav",)
    """The first decodes what stored images are compared with; all are compared with each other."""
    pythons: dict[str, str] = {}  # noqa: RUF012 - never changed
    """As ``load_backend`` takes them."""
    min_psnr_db: float = 25.0


class Jobs(NamedTuple):
    """Jobs by level."""

    shards: list[VerifyJob]
    tables: list[TableJob]
    samples: list[SamplesJob]
    backends: list[BackendsJob]
    """None unless there are several decoders."""


def make_jobs(
    out: Path | str,
    root: Path,
    manifest: Manifest,
    finished: Sequence[Finished],
    asked: Asked,
    failed: Callable[[str, object], None],
) -> Jobs:
    """Returns the jobs.

    Args:
        out: the output.
        root: the source to decode again.
        manifest: of the output.
        finished: its generations, whose plans say the same root.
        asked: how much.
        failed: takes the path of a video whose keyframes cannot be told, and why.

    Cost: reads the frame tables of at most 200 videos.
    """
    live = _live_episodes(finished)
    chosen = None if asked.is_all else _draw(root, manifest, live, asked, failed)
    shards = list(_shard_jobs(out, finished, manifest, chosen, asked))
    samples = _samples(live, shards, chosen, asked.seed)
    decoder_of = _decoders(finished, asked)
    return Jobs(
        shards=shards,
        tables=list(_table_jobs(out, finished, manifest, asked)),
        samples=[
            SamplesJob(
                name=f"verify items of {split} {number} by {backend}",
                out=str(out),
                root=str(root),
                settings=manifest.settings,
                fps=manifest.fps,
                split=split,
                samples=own,
                backend=backend,
                pythons=asked.pythons,
                min_psnr_db=asked.min_psnr_db,
            )
            for number, (split, part) in enumerate(samples)
            for backend, own in _by_decoder(decoder_of, part)
        ],
        backends=[_backends_job(job, asked) for job in shards if len(asked.backends) > 1],
    )


def _live_episodes(finished: Sequence[Finished]) -> list[PlannedEpisode]:
    """Episodes that readers are served, of all generations."""
    live = []
    for item in finished:
        masked = item.masked
        live += [p for p in item.plan.episodes if p.episode.episode_index not in masked]
    return live


def _draw(
    root: Path,
    manifest: Manifest,
    live: Sequence[PlannedEpisode],
    asked: Asked,
    failed: Callable[[str, object], None],
) -> Samples:
    def keyframes_of(planned: PlannedEpisode, camera: str) -> list[int]:
        span = planned.episode.videos[camera]
        try:
            ranks = picture_table(root, planned.episode, camera).keyframe_ranks
        except (MediaError, OSError) as error:
            failed(span.path, error)
            return []
        frames = ranks - span.start
        return frames[(frames >= 0) & (frames < planned.num_frames)].tolist()  # type: ignore[no-any-return]

    settings = manifest.settings
    return draw_samples(
        live,
        settings.camera_names,
        settings.stride,
        keyframes_of,
        num_random=asked.num_random,
        seed=asked.seed,
    )


def _shard_jobs(
    out: Path | str,
    finished: Sequence[Finished],
    manifest: Manifest,
    chosen: Samples | None,
    asked: Asked,
) -> Iterator[VerifyJob]:
    entries = {shard.name: shard for g in manifest.generations for shard in g.shards}
    by_episode: dict[int, list[tuple[int, str]]] = {}
    for reason, samples in (chosen or {}).items():
        for episode_index, frame in samples:
            by_episode.setdefault(episode_index, []).append((frame, reason))
    for item in finished:
        absent = {
            Path(receipt.entry.path).stem: [fault.episode_index for fault in receipt.faults]
            for receipt in item.shards
        }
        for job in jobs_of(out, item.plan):
            if not isinstance(job, ShardJob) or job.name not in entries:
                continue
            own: Samples | None = None if chosen is None else {reason: [] for reason in chosen}
            for piece in job.task.pieces if own is not None else ():
                for frame, reason in by_episode.get(piece.episode_index, ()):
                    if own is not None and piece.start <= frame < piece.stop:
                        own[reason].append((piece.episode_index, frame))
            yield VerifyJob(
                shard=job,
                entry=entries[job.name],
                absent=absent[job.name],
                masked=sorted(item.masked),
                samples=own,
                backend=_decoder(asked, job.backend),
                pythons=asked.pythons,
                min_psnr_db=asked.min_psnr_db,
            )


def _decoder(asked: Asked, storing_backend: str) -> str:
    """What decodes again: where no other decoder is asked for, the one that made the pictures."""
    return storing_backend if asked.backends[0] == STORING_BACKEND else asked.backends[0]


def _decoders(finished: Sequence[Finished], asked: Asked) -> dict[int, str]:
    """``episode_index`` -> what decodes it again."""
    return {
        planned.episode.episode_index: _decoder(asked, item.plan.storing_backend)
        for item in finished
        for planned in item.plan.episodes
    }


def _by_decoder(
    decoder_of: Mapping[int, str], samples: Sequence[tuple[int, int]]
) -> list[tuple[str, list[tuple[int, int]]]]:
    """Decoder -> those of the samples that are to be decoded by it."""
    parts: dict[str, list[tuple[int, int]]] = {}
    for sample in samples:
        parts.setdefault(decoder_of[sample[0]], []).append(sample)
    return list(parts.items())


def _backends_job(job: VerifyJob, asked: Asked) -> BackendsJob:
    """The frames that a shard's job decodes again, by all decoders."""
    settings, frames = job.shard.settings, dict[int, list[int]]()
    cameras = [camera for camera in settings.camera_names if settings.is_rgb(camera)]
    for samples in job.chosen(job.expected_samples()).values():
        for episode_index, frame in samples:
            frames.setdefault(episode_index, []).append(frame)
    return BackendsJob(
        name=f"compare decoders on {job.shard.name}",
        root=job.shard.root,
        episodes=[
            (planned, dict.fromkeys(cameras, sorted(own)))
            for planned in job.shard.episodes
            if (own := frames.get(planned.episode.episode_index))
        ],
        backends=list(asked.backends),
        pythons=asked.pythons,
    )


def _table_jobs(
    out: Path | str, finished: Sequence[Finished], manifest: Manifest, asked: Asked
) -> Iterator[TableJob]:
    entries = {Path(t.path).stem: t for g in manifest.generations for t in g.lowdim}
    stored = sorted({e for entry in entries.values() for e in entry.episodes})
    if not asked.is_all:
        stored = random.Random(asked.seed).sample(stored, min(NUM_EPISODES, len(stored)))
    for item in finished:
        for job in jobs_of(out, item.plan):
            if isinstance(job, LowdimJob) and job.name in entries:
                entry = entries[job.name]
                compared = sorted(set(stored) & set(entry.episodes) - item.masked)
                yield TableJob(lowdim=job, entry=entry, compared=compared)


def _samples(
    live: Sequence[PlannedEpisode], shards: Sequence[VerifyJob], chosen: Samples | None, seed: int
) -> list[tuple[str, list[tuple[int, int]]]]:
    """Split and samples of each job: a shard's live ones, or a part of a draw."""
    if chosen is None:
        served = [(job, job.chosen(job.expected_samples())["all"]) for job in shards]
        return [(job.shard.task.split, samples) for job, samples in served if samples]
    split_of = {planned.episode.episode_index: planned.split for planned in live}
    draw = random.Random(seed)
    ends = draw.sample(chosen["ends"], min(NUM_ITEMS // 2, len(chosen["ends"])))
    others = sorted({*chosen["random"], *chosen["keyframes"]})
    others = draw.sample(others, min(NUM_ITEMS - len(ends), len(others)))
    by_split: dict[str, list[tuple[int, int]]] = {}
    for sample in sorted([*ends, *others]):
        by_split.setdefault(split_of[sample[0]], []).append(sample)
    return [
        (split, drawn[start : start + _ITEMS_A_JOB])
        for split, drawn in sorted(by_split.items())
        for start in range(0, len(drawn), _ITEMS_A_JOB)
    ]
