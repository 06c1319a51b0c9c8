"""The damaged set of the 2025 layout: short episodes, each with one thing planted in it.

The tables below name every case; nothing else is wrong with the set. What only rollouts show stands
in the second task, which has no annotations at all: they came task by task.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from predecode.sources.sample_annotations import write_touching_skills
from predecode.sources.sample_damage import DamageCase
from predecode.sources.sample_damage_annotations import (
    empty_range,
    ends_after_duration,
    gap,
    late_start,
    nameless_skill,
    no_memory_prefix,
    overlap,
    split_range,
    unlabelled_tail,
)
from predecode.sources.sample_damage_files import (
    add_frames,
    change_json,
    copy_metadata,
    cut_file,
    empty_table,
    float32_times,
    remove_all_files,
    remove_annotation,
    remove_last_row,
    remove_video,
    sum_of_copies,
    swap_times,
    video_path,
)
from predecode.sources.sample_layout import (
    ANNOTATION_PATH,
    DECLARED_CAMERAS,
    EpisodeSpec,
    episode_path,
)

__all__ = ["DAMAGED_EPISODES", "annotate_first_task", "damage_cases_2025"]

DAMAGED_EPISODES = (
    EpisodeSpec(10, 36, has_orchestrators=True),
    *(EpisodeSpec(index, 21 + index // 20) for index in range(20, 110, 10)),
    EpisodeSpec(110, 26, has_double_state=True),
    *(EpisodeSpec(index, 21 + index // 20) for index in range(120, 230, 10)),
    EpisodeSpec(490010, 27, is_rft=True),
    EpisodeSpec(490020, 24, is_rft=True),
    EpisodeSpec(490030, 25, is_rft=True),
    EpisodeSpec(490040, 22),
)
"""By id; 10, 490010 and 490040 stay sound."""

_PICTURES = "pictures disagree with the frames of the episode"
_SKILLS = ("move to", "pick up from", "press")


def annotate_first_task(root: Path, spec: EpisodeSpec) -> None:
    """Writes a sound annotation for an episode of the first task."""
    if spec.task_index == 0:
        write_touching_skills(root, spec, _SKILLS)


def damage_cases_2025(side_px: dict[str, int]) -> list[DamageCase]:
    """Returns everything that is planted, in the order in which it is planted.

    Args:
        side_px: camera -> side of the set's pictures.
    """
    return [*_videos(side_px), *_tables(), *_annotations(), *_rollouts()]


def _videos(side_px: dict[str, int]) -> list[DamageCase]:
    return [
        DamageCase(
            20, "head video one frame longer",
            lambda root: add_frames(root, _spec(20), ["head"], 1, side_px),
            _PICTURES, "head", ("pictures",),
        ),
        DamageCase(
            30, "left wrist video one frame shorter",
            lambda root: add_frames(root, _spec(30), ["left_wrist"], -1, side_px),
            _PICTURES, "left_wrist", ("pictures",),
        ),
        DamageCase(
            40, "no right wrist video",
            lambda root: remove_video(root, 40, "right_wrist"),
            "no such file", "right_wrist", ("missing-file",),
        ),
        DamageCase(
            50, "left wrist video broken off in the middle",
            lambda root: cut_file(video_path(root, 50, "left_wrist"), 50),
            "file cannot be opened", "left_wrist", ("unreadable-video",),
        ),
        DamageCase(
            60, "a replay with one more picture than rows in every camera",
            lambda root: add_frames(root, _spec(60), DECLARED_CAMERAS, 1, side_px),
            _PICTURES, "head", ("pictures",) * 3,
        ),
    ]  # fmt: skip


def _tables() -> list[DamageCase]:
    return [
        DamageCase(
            70, "table of 0 bytes",
            lambda root: empty_table(root, 70),
            "empty file", None, ("empty-file",),
        ),
        DamageCase(
            80, "table one row shorter",
            lambda root: remove_last_row(root, 80),
            "rows disagree with the metadata", None, ("rows",),
        ),
        DamageCase(
            90, "two rows with each other's time",
            lambda root: swap_times(root, 90, 11),
            "timestamp of row 11", None, ("timestamp",),
        ),
        DamageCase(
            100, "times of float32 where the task's other tables have float64",
            lambda root: float32_times(root, 100),
            "columns of other types than those of its task's other episodes",
        ),
        DamageCase(110, "state of float64, as some published tables have it", lambda _: None),
        DamageCase(
            120, "no file but a line in episodes.jsonl",
            lambda root: remove_all_files(root, 120),
            "no such file", None, ("missing-file",) * 6,
        ),
    ]  # fmt: skip


def _annotations() -> list[DamageCase]:
    changes: list[tuple[int, str, Callable[[dict[str, Any], int], dict[str, Any]], list[str]]] = [
        (130, "a skill without description", nameless_skill, ["skill"]),
        (140, "a skill that ends before it starts", empty_range, ["empty-range"]),
        (150, "a gap between two skills", gap, ["gap"]),
        (160, "two skills that overlap", overlap, ["overlap"]),
        (170, "a skill in two ranges", split_range, []),
        (180, "labels beyond the task's duration", ends_after_duration, ["duration"] * 2),
        (190, "labels that start late", late_start, ["start"] * 3),
        (200, "no memory prefix", no_memory_prefix, []),
        (210, "frames without label at the end", unlabelled_tail, ["tail"] * 2),
    ]
    cases = [
        DamageCase(
            index, planted, partial(_annotate, index, change),
            kinds=tuple(f"annotation-{kind}" for kind in kinds),
        )
        for index, planted, change, kinds in changes
    ]  # fmt: skip
    missing = DamageCase(
        220,
        "no annotation",
        lambda root: remove_annotation(root, 220),
        kinds=("missing-file",),
    )
    return [*cases, missing]


def _rollouts() -> list[DamageCase]:
    return [
        DamageCase(
            490020, "per-episode JSON copied from the task's first episode",
            lambda root: copy_metadata(root, 490010, 490020),
            kinds=("duplicate-metadata", "episode-metadata"),
        ),
        DamageCase(
            490030, "head video with its header in front, broken off near its end",
            lambda root: cut_file(video_path(root, 490030, "head"), 90),
            "file is cut short", "head", ("unreadable-video",),
        ),
        DamageCase(None, "total_frames summed from copies", sum_of_copies, kinds=("totals",)),
    ]  # fmt: skip


def _spec(episode_index: int) -> EpisodeSpec:
    return next(spec for spec in DAMAGED_EPISODES if spec.episode_index == episode_index)


def _annotate(
    episode_index: int, change: Callable[[dict[str, Any], int], dict[str, Any]], root: Path
) -> None:
    length = _spec(episode_index).length
    path = root / episode_path(ANNOTATION_PATH, episode_index)
    change_json(path, lambda value: change(value, length))
