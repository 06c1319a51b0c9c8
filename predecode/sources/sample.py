"""Makes a small data set that is laid out, encoded and described as BEHAVIOR-1K (2025) is.

The pictures say which they are (``predecode.sources.barcode``), so that a converter can be checked
frame by frame. What is in it stands in ``sample_layout``; this file is the order of making it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from predecode.display import SILENT, Display
from predecode.sources.sample_annotations import write_annotations
from predecode.sources.sample_build import (
    SampleSummary,
    built_at,
    count_processes,
    encode_videos,
    total_bytes,
)
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
from predecode.sources.sample_video import VideoJob
from train_shards.errors import UserError

__all__ = [
    "EPISODES",
    "MODALITIES",
    "EpisodeSpec",
    "SampleSummary",
    "build_sample",
    "make_sample",
]


def make_sample(
    root: Path,
    *,
    full_size: bool = False,
    episode_indices: Sequence[int] | None = None,
    modalities: Sequence[str] = MODALITIES,
    num_processes: int | None = None,
    display: Display = SILENT,
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
        display: is told of the videos that are encoded.

    Raises:
        UserError: ``root`` exists and is not an empty folder, an episode or a modality is not in
            the sample, a selection is empty, or ``num_processes`` is below 1.

    Cost: on two cores about 30 s and 13 MB for the default, 3 minutes and 22 MB at full size.
    """
    specs = _choose_episodes(episode_indices)
    _check_modalities(modalities)
    num_processes = count_processes(num_processes)
    with built_at(root) as built:
        side_px = FULL_SIZE_PX if full_size else SMALL_SIZE_PX
        build_sample(built, specs, modalities, side_px, num_processes, display=display)
        num_bytes = total_bytes(built)
    return SampleSummary(root, len(specs), sum(spec.length for spec in specs), num_bytes)


def build_sample(
    root: Path,
    specs: Sequence[EpisodeSpec],
    modalities: Sequence[str],
    side_px: dict[str, int],
    num_processes: int,
    annotate: Callable[[Path, EpisodeSpec], None] = write_annotations,
    display: Display = SILENT,
) -> None:
    """Writes a data set of the 2025 layout: tables, metadata made of them, then videos.

    Args:
        root: an empty folder.
        specs: its episodes, sorted by id.
        modalities: which of ``MODALITIES`` get video files.
        side_px: camera -> height and width of its pictures.
        num_processes: encoders at work at once.
        annotate: writes an episode's annotation and what else says something about its frames.
        display: is told of the videos that are encoded.
    """
    episodes = [make_rows(spec) for spec in specs]
    for rows in episodes:
        path = root / episode_path(DATA_PATH, rows.spec.episode_index)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(rows, path)
        annotate(root, rows.spec)
    jobs = _video_jobs(root, specs, modalities, side_px)
    write_metadata(root, episodes, side_px, num_videos=len(jobs))
    encode_videos(jobs, num_processes, display)


def _video_jobs(
    root: Path, specs: Sequence[EpisodeSpec], modalities: Sequence[str], side_px: dict[str, int]
) -> list[VideoJob]:
    """One job per file."""
    return [
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
