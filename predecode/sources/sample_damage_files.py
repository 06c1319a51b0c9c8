"""Damage to tables, videos and metadata of an episode of the 2025 layout."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from predecode.sources.sample_layout import (
    ANNOTATION_PATH,
    DATA_PATH,
    DECLARED_CAMERAS,
    METAINFO_PATH,
    VIDEO_PATH,
    EpisodeSpec,
    episode_path,
    video_key,
)
from predecode.sources.sample_metadata import write_json
from predecode.sources.sample_video import VideoJob, encode_video

__all__ = [
    "add_frames",
    "change_json",
    "change_table",
    "copy_metadata",
    "cut_file",
    "empty_table",
    "float32_times",
    "remove_all_files",
    "remove_annotation",
    "remove_last_row",
    "remove_video",
    "sum_of_copies",
    "swap_times",
    "table_path",
    "video_path",
]


def video_path(root: Path, episode_index: int, camera: str) -> Path:
    """Returns where a camera's RGB video of an episode lies."""
    return root / episode_path(VIDEO_PATH, episode_index, video_key("rgb", camera))


def table_path(root: Path, episode_index: int) -> Path:
    """Returns where an episode's table lies."""
    return root / episode_path(DATA_PATH, episode_index)


def add_frames(
    root: Path, spec: EpisodeSpec, cameras: Sequence[str], num_frames: int, side_px: dict[str, int]
) -> None:
    """Makes videos longer than the episode, by true pictures, or with a negative number shorter.

    Args:
        root: of the data set.
        spec: the episode.
        cameras: whose videos.
        num_frames: by how many.
        side_px: camera -> side of its pictures.
    """
    other = replace(spec, length=spec.length + num_frames)
    for camera in cameras:
        path = video_path(root, spec.episode_index, camera)
        encode_video(VideoJob(path, other, "rgb", camera, side_px[camera]))


def remove_video(root: Path, episode_index: int, camera: str) -> None:
    """Removes a video."""
    video_path(root, episode_index, camera).unlink()


def cut_file(path: Path, kept_percent: int) -> None:
    """Leaves the first part of a file's bytes, as a download that broke off does."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * kept_percent // 100])


def empty_table(root: Path, episode_index: int) -> None:
    """Leaves a table of 0 bytes."""
    table_path(root, episode_index).write_bytes(b"")


def remove_last_row(root: Path, episode_index: int) -> None:
    """Makes a table one row shorter than the episode."""
    change_table(table_path(root, episode_index), lambda table: table.slice(0, len(table) - 1))


def swap_times(root: Path, episode_index: int, row: int) -> None:
    """Gives a row the time of the next, and the next row its own."""

    def swapped(table: pa.Table) -> pa.Table:
        times = table["timestamp"].to_pylist()
        times[row], times[row + 1] = times[row + 1], times[row]
        return _with_times(table, pa.array(times, pa.float64()))

    change_table(table_path(root, episode_index), swapped)


def float32_times(root: Path, episode_index: int) -> None:
    """Makes the times of one table float32, where the other tables have float64."""
    change_table(
        table_path(root, episode_index),
        lambda table: _with_times(table, table["timestamp"].cast(pa.float32())),
    )


def remove_all_files(root: Path, episode_index: int) -> None:
    """Leaves of an episode its line in ``episodes.jsonl`` only."""
    for camera in DECLARED_CAMERAS:
        remove_video(root, episode_index, camera)
    for template in (DATA_PATH, METAINFO_PATH, ANNOTATION_PATH):
        (root / episode_path(template, episode_index)).unlink()


def remove_annotation(root: Path, episode_index: int) -> None:
    """Removes the annotation."""
    (root / episode_path(ANNOTATION_PATH, episode_index)).unlink()


def copy_metadata(root: Path, source_index: int, episode_index: int) -> None:
    """Puts another episode's JSON in the place of an episode's own: wrong length, ids and names."""
    source = root / episode_path(METAINFO_PATH, source_index)
    shutil.copyfile(source, root / episode_path(METAINFO_PATH, episode_index))


def sum_of_copies(root: Path) -> None:
    """Makes ``total_frames`` the sum of what the episodes' JSON say, copied or not."""
    paths = sorted((root / "meta/episodes").glob("*/*.json"))
    total = sum(json.loads(path.read_text())["num_samples"] for path in paths)
    change_json(root / "meta/info.json", lambda info: info | {"total_frames": total}, indent=4)


def change_json(
    path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], indent: int | None = None
) -> None:
    """Writes a JSON object anew, changed."""
    write_json(path, change(json.loads(path.read_text(encoding="utf-8"))), indent=indent)


def change_table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Writes a parquet file anew, changed; in one row group."""
    table = change(pq.read_table(path))
    pq.write_table(table, path, row_group_size=max(len(table), 1))


def _with_times(table: pa.Table, times: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index("timestamp"), "timestamp", times)
