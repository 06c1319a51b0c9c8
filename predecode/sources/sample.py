"""Makes a small data set that is laid out, encoded and described as BEHAVIOR-1K (2025) is.

The pictures say which they are (``predecode.sources.barcode``), so that a converter can be checked
frame by frame. What is in it stands in ``sample_layout``; this file is the order of making it.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from predecode.sources.sample_annotations import write_annotations
from predecode.sources.sample_layout import (
    DATA_PATH,
    DECLARED_CAMERAS,
    EPISODES,
    FULL_SIZE_PX,
    MODALITIES,
    SMALL_SIZE_PX,
    VIDEO_PATH,
    EpisodeSpec,
    episode_path,
    video_key,
)
from predecode.sources.sample_metadata import write_metadata
from predecode.sources.sample_tables import make_rows, write_parquet
from predecode.sources.sample_video import VideoJob, encode_video
from train_shards.errors import UserError

__all__ = ["EPISODES", "MODALITIES", "EpisodeSpec", "SampleSummary", "make_sample"]


@dataclass(frozen=True)
class SampleSummary:
    """What was made."""

    root: Path
    num_episodes: int
    num_frames: int
    """Time steps, not pictures."""
    num_bytes: int
    """Sum of all files' sizes."""


def make_sample(
    root: Path,
    *,
    full_size: bool = False,
    episode_indices: Sequence[int] | None = None,
    modalities: Sequence[str] = MODALITIES,
    num_processes: int | None = None,
) -> SampleSummary:
    """Makes the sample data set at ``root``; same arguments, same bytes.

    It is built in a temporary folder beside ``root`` and renamed at the end, so that nothing half
    made ever stands at ``root``. The bytes depend on the installed builds of av (x265, x264), numpy
    and pyarrow, never on ``num_processes`` or the machine's cores.

    Args:
        root: where the data set shall stand; must not exist, or be an empty folder.
        full_size: pictures of 720 (head) and 480 pixels (wrists) as published, rather than of 240
            and 160.
        episode_indices: which of ``EPISODES``; None for all.
        modalities: which of ``rgb``, ``depth`` and ``seg_instance_id`` get video files; the
            metadata declare all three in any case, as the published ones do for rollouts.
        num_processes: encoders at work at once; None for one per core that this process may use.

    Raises:
        UserError: ``root`` exists and is not an empty folder, an episode or a modality is not in
            the sample, a selection is empty, or ``num_processes`` is below 1.

    Cost: on two cores about 30 s and 13 MB for the default, 3 minutes and 22 MB at full size.
    """
    specs = _choose_episodes(episode_indices)
    _check_modalities(modalities)
    num_processes = _count_processes(num_processes)
    _check_root(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.") as temporary:
        built = Path(temporary) / root.name
        side_px = FULL_SIZE_PX if full_size else SMALL_SIZE_PX
        _build(built, specs, modalities, side_px, num_processes)
        num_bytes = sum(path.stat().st_size for path in built.rglob("*") if path.is_file())
        built.rename(root)
    return SampleSummary(root, len(specs), sum(spec.length for spec in specs), num_bytes)


def _build(
    root: Path,
    specs: Sequence[EpisodeSpec],
    modalities: Sequence[str],
    side_px: dict[str, int],
    num_processes: int,
) -> None:
    """Tables first, metadata made of them, then videos."""
    episodes = [make_rows(spec) for spec in specs]
    for rows in episodes:
        path = root / episode_path(DATA_PATH, rows.spec.episode_index)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(rows, path)
        write_annotations(root, rows.spec)
    jobs = _video_jobs(root, specs, modalities, side_px)
    write_metadata(root, episodes, side_px, num_videos=len(jobs))
    _encode_videos(jobs, num_processes)


def _video_jobs(
    root: Path, specs: Sequence[EpisodeSpec], modalities: Sequence[str], side_px: dict[str, int]
) -> list[VideoJob]:
    """One job per file, the long ones first, so that the processes end at about the same time."""
    jobs = [
        VideoJob(
            path=root / episode_path(VIDEO_PATH, spec.episode_index, video_key(modality, camera)),
            spec=spec,
            modality=modality,
            camera=camera,
            side_px=side_px[camera],
        )
        for spec in specs
        for modality in modalities
        for camera in DECLARED_CAMERAS
        if modality == "rgb" or not spec.is_rft
    ]
    return sorted(jobs, key=lambda job: -job.spec.length * job.side_px**2)


def _encode_videos(jobs: Sequence[VideoJob], num_processes: int) -> None:
    for job in jobs:
        job.path.parent.mkdir(parents=True, exist_ok=True)
    if num_processes == 1 or len(jobs) <= 1:
        for job in jobs:
            encode_video(job)
        return
    # Spawned, not forked: libav and its threads do not survive a fork.
    with ProcessPoolExecutor(min(num_processes, len(jobs)), get_context("spawn")) as pool:
        for _ in pool.map(encode_video, jobs):
            pass


def _choose_episodes(episode_indices: Sequence[int] | None) -> list[EpisodeSpec]:
    known = {spec.episode_index: spec for spec in EPISODES}
    wanted = sorted(known if episode_indices is None else set(episode_indices))
    unknown = [index for index in wanted if index not in known]
    if unknown or not wanted:
        raise UserError(
            f"sample: episodes {unknown[:10] or 'none'} asked for ({len(unknown)} unknown). "
            f"Choose from {', '.join(str(index) for index in known)}."
        )
    return [known[index] for index in wanted]


def _check_modalities(modalities: Sequence[str]) -> None:
    unknown = [modality for modality in modalities if modality not in MODALITIES]
    if unknown or not modalities or len(set(modalities)) != len(modalities):
        raise UserError(
            f"sample: modalities {list(modalities)}: expected each of {', '.join(MODALITIES)} at "
            "most once, and at least one."
        )


def _count_processes(num_processes: int | None) -> int:
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
