"""What the samples of both editions share: made whole or not at all, by several encoders."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from predecode.display import Display
from predecode.sources.sample_video import VideoJob, encode_video
from train_shards.errors import UserError

__all__ = ["SampleSummary", "built_at", "count_processes", "encode_videos", "total_bytes"]


@dataclass(frozen=True)
class SampleSummary:
    """What was made."""

    root: Path
    num_episodes: int
    num_frames: int
    """Time steps, not pictures."""
    num_bytes: int
    """Sum of all files' sizes."""


@contextmanager
def built_at(root: Path) -> Iterator[Path]:
    """Hands out a folder to build in; at the end it is renamed to ``root``.

    Its parent is a temporary folder beside ``root``, gone at the end: what must not be part of the
    data set is made there.

    Raises:
        UserError: ``root`` exists and is not an empty folder.
    """
    _check_root(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.") as temporary:
        built = Path(temporary) / root.name
        built.mkdir()
        yield built
        built.rename(root)


def total_bytes(folder: Path) -> int:
    """Returns the sum of all files' sizes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def encode_videos(jobs: Sequence[VideoJob], num_processes: int, display: Display) -> None:
    """Encodes files, the long ones first, so that the processes end at about the same time."""
    jobs = sorted(jobs, key=lambda job: -job.spec.length * job.side_px**2)
    for job in jobs:
        job.path.parent.mkdir(parents=True, exist_ok=True)
    display.phase("encoding", "videos", len(jobs))
    if num_processes == 1 or len(jobs) <= 1:
        for job in jobs:
            encode_video(job)
            _tell(job, display)
        return
    # Spawned, not forked: libav and its threads do not survive a fork.
    with ProcessPoolExecutor(min(num_processes, len(jobs)), get_context("spawn")) as pool:
        for job, _ in zip(jobs, pool.map(encode_video, jobs), strict=True):
            _tell(job, display)


def _tell(job: VideoJob, display: Display) -> None:
    display.advance(1, 0)
    display.detail(
        f"{job.modality} of {job.camera}, episode {job.spec.episode_index:08d}: "
        f"{job.spec.length} frames"
    )


def count_processes(num_processes: int | None) -> int:
    """Returns the number asked for; None takes one for each core that this process may use.

    Raises:
        UserError: below 1.
    """
    if num_processes is None:
        return len(os.sched_getaffinity(0))
    if num_processes < 1:
        raise UserError(f"sample: num_processes {num_processes}: expected 1 or more.")
    return num_processes


def _check_root(root: Path) -> None:
    if root.is_dir():
        entries = sorted(entry.name for entry in root.iterdir())
        if entries:
            raise UserError(
                f"{root}: the folder is not empty ({len(entries)} entries, first {entries[0]!r}). "
                "Name a new folder for the sample, or remove this one."
            )
    elif root.exists() or root.is_symlink():
        raise UserError(f"{root}: exists and is not a folder. Name a new folder for the sample.")
