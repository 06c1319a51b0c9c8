"""Makes a small data set that is laid out, encoded and described as BEHAVIOR-1K (2026) is.

Several episodes share a table or a video, cut otherwise for each camera and modality. Its pictures
say which they are, as those of ``predecode.sources.sample`` do.
"""

from collections.abc import Sequence
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
from predecode.sources.sample_layout import FULL_SIZE_PX, SMALL_SIZE_PX
from predecode.sources.sample_layout_2026 import (
    DATA_KEY,
    DATA_PATH_2026,
    EPISODES_2026,
    MODALITIES_2026,
    VIDEO_PATH_2026,
    shared_files,
)
from predecode.sources.sample_metadata_2026 import write_metadata_2026
from predecode.sources.sample_tables_2026 import write_shared_parquet
from predecode.sources.sample_video import VideoJob, join_videos
from train_shards.errors import UserError

__all__ = ["build_sample_2026", "make_sample_2026"]


def make_sample_2026(
    root: Path,
    *,
    full_size: bool = False,
    modalities: Sequence[str] = tuple(MODALITIES_2026),
    num_processes: int | None = None,
    display: Display = SILENT,
) -> SampleSummary:
    """Makes the sample at ``root``; same arguments, same bytes, as ``make_sample`` says.

    Args:
        root: where the data set shall stand; must not exist, or be an empty folder.
        full_size: pictures of 720 (head) and 480 pixels (wrists) as published, rather than of 240
            and 160.
        modalities: which of ``rgb`` and ``depth`` get video files; the metadata declare both.
        num_processes: encoders at work at once; None for one per core that this process may use.
        display: is told of the videos that are encoded.

    Raises:
        UserError: ``root`` exists and is not an empty folder, a modality is none of the edition's,
            or ``num_processes`` is below 1.
    """
    if unknown := sorted(set(modalities) - set(MODALITIES_2026)):
        raise UserError(f"sample: modalities {unknown}: expected some of rgb, depth.")
    num_processes = count_processes(num_processes)
    with built_at(root) as built:
        side_px = FULL_SIZE_PX if full_size else SMALL_SIZE_PX
        build_sample_2026(built, side_px, num_processes, modalities, display)
        num_bytes = total_bytes(built)
    num_frames = sum(spec.length for spec in EPISODES_2026)
    return SampleSummary(root, len(EPISODES_2026), num_frames, num_bytes)


def build_sample_2026(
    built: Path,
    side_px: dict[str, int],
    num_processes: int,
    modalities: Sequence[str] = ("rgb",),
    display: Display = SILENT,
) -> None:
    """Writes the whole data set into an empty folder; its parent is scratch space."""
    for file in shared_files(DATA_KEY):
        path = DATA_PATH_2026.format(chunk_index=file.chunk_index, file_index=file.file_index)
        write_shared_parquet(built / path, file.specs)
    for spec in EPISODES_2026:
        write_annotations(built, spec)
    write_metadata_2026(built, side_px)
    _make_videos(built, modalities, side_px, num_processes, display)


def _make_videos(
    built: Path,
    modalities: Sequence[str],
    side_px: dict[str, int],
    num_processes: int,
    display: Display,
) -> None:
    """Each episode encoded by itself, then joined into the files that it shares."""
    keys = {
        key: (modality, camera)
        for modality in modalities
        for camera, key in MODALITIES_2026[modality].items()
    }
    parts = {
        (key, spec.episode_index): VideoJob(
            path=built.parent / "parts" / key / f"{spec.episode_index}.mp4",
            spec=spec,
            modality=modality,
            camera=camera,
            side_px=side_px[camera],
            edition="2026",
        )
        for key, (modality, camera) in keys.items()
        for spec in EPISODES_2026
    }
    encode_videos(list(parts.values()), num_processes, display)
    for key in keys:
        for file in shared_files(key):
            path = built / VIDEO_PATH_2026.format(
                video_key=key, chunk_index=file.chunk_index, file_index=file.file_index
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            join_videos([parts[key, spec.episode_index].path for spec in file.specs], path)
