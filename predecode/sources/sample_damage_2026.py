"""Damage to the sample of the 2026 edition, whose episodes share files.

Episodes 4 and 6 are stored, all others are at fault; the table below names every case. That some
episodes have no annotation, and that others start late or end early, is the sample's own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from predecode.sources.sample_damage import DamageCase
from predecode.sources.sample_damage_annotations import gap
from predecode.sources.sample_damage_files import change_json, change_table
from predecode.sources.sample_layout import ANNOTATION_PATH, FPS, episode_path
from predecode.sources.sample_layout_2026 import (
    DATA_KEY,
    DATA_PATH_2026,
    EPISODES_2026,
    EPISODES_PATH,
    RGB_KEYS,
    VIDEO_PATH_2026,
    shared_files,
)
from predecode.sources.sample_video import cut_video

__all__ = ["damage_cases_2026"]

_OVERLAPS = "overlaps with another episode of the file"


def damage_cases_2026() -> list[DamageCase]:
    """Returns everything that is planted, in the order in which it is planted."""
    return [
        DamageCase(
            0, "a time of the head video that is no frame's",
            lambda root: _shift(root, 0, 0.5),
            "a time in the metadata is no frame's", "head", ("metadata",),
        ),
        DamageCase(
            1, "the next episode's head pictures begin four frames before its end; no annotation",
            lambda root: _shift(root, 2, -4),
            _OVERLAPS, "head", ("metadata", "missing-file"),
        ),
        DamageCase(
            2, "its head pictures begin in the episode before it; no annotation",
            lambda _: None,  # see the one before
            _OVERLAPS, "head", ("episode-id", "metadata", "missing-file"),
        ),
        DamageCase(
            3, "its rows stand before those of the other episode of the file; no annotation",
            _turn_rows_round,
            "rows of this episode_index stand elsewhere", None,
            ("episode-id", "index", "missing-file", "timestamp"),
        ),
        DamageCase(
            4, "a gap between two skills, which start late and end early",
            _damage_annotation,
            kinds=("annotation-gap", "annotation-start", "annotation-start", "annotation-tail"),
        ),
        DamageCase(
            5, "left wrist video of two episodes cut in the middle of this one; no annotation",
            _cut_shared_video,
            "pictures disagree with the frames of the episode", "left_wrist",
            ("missing-file", "pictures"),
        ),
        DamageCase(
            6, "the metadata name the annotation of another raw id, a shorter one of another task",
            _name_other_annotation,
            kinds=("annotation-id", "annotation-tail", "annotation-tail", "annotation-task"),
        ),
    ]  # fmt: skip


def _shift(root: Path, episode_index: int, num_frames: float) -> None:
    """Moves the head camera's pictures of an episode, as the metadata say."""
    prefix, change_s = f"videos/{RGB_KEYS['head']}/", num_frames / FPS

    def shifted(row: dict[str, Any]) -> dict[str, Any]:
        names = (f"{prefix}from_timestamp", f"{prefix}to_timestamp")
        return row | {name: row[name] + change_s for name in names}

    _change_row(root, episode_index, shifted)


def _turn_rows_round(root: Path) -> None:
    """Puts the rows of episode 3 before those of episode 2 in the file of the two."""
    file = next(file for file in shared_files(DATA_KEY) if EPISODES_2026[3] in file.specs)
    path = DATA_PATH_2026.format(chunk_index=file.chunk_index, file_index=file.file_index)

    def turned(table: pa.Table) -> pa.Table:
        parts = [table.filter(pc.equal(table["episode_index"], index)) for index in (3, 2)]
        return pa.concat_tables(parts)

    change_table(root / path, turned)


def _cut_shared_video(root: Path) -> None:
    """Cuts the left wrist's file of episodes 4 and 5 in the middle of the second."""
    key = RGB_KEYS["left_wrist"]
    file = next(file for file in shared_files(key) if EPISODES_2026[5] in file.specs)
    path = VIDEO_PATH_2026.format(
        video_key=key, chunk_index=file.chunk_index, file_index=file.file_index
    )
    cut_video(root / path, EPISODES_2026[4].length + EPISODES_2026[5].length // 2)


def _damage_annotation(root: Path) -> None:
    spec = EPISODES_2026[4]
    path = root / episode_path(ANNOTATION_PATH, spec.raw_episode_id)
    change_json(path, lambda value: gap(value, spec.length))


def _name_other_annotation(root: Path) -> None:
    path = episode_path(ANNOTATION_PATH, EPISODES_2026[0].raw_episode_id)
    _change_row(root, 6, lambda row: row | {"annotation_path": path})


def _change_row(
    root: Path, episode_index: int, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Changes an episode's row of the metadata."""
    task_index = EPISODES_2026[episode_index].task_index
    path = root / EPISODES_PATH.format(chunk_index=task_index, file_index=0)
    table = pq.read_table(path)
    rows = [
        change(row) if row["episode_index"] == episode_index else row for row in table.to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
