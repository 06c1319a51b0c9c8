"""Labelled ranges by hand and against sets of frames; which files say them, and which say none."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.errors import InfraError
from predecode.labels import labelled_frames, labelled_range, unlabelled_note
from predecode.sources.episode import AnnotatedSource, Episode, Source, annotated_source
from predecode.sources.videos import VideosSource
from train_shards.depth import DepthScale
from train_shards.errors import UserError


def skills(*durations: Any, **others: Any) -> dict[str, Any]:
    entries = [{"frame_duration": d, "skill_description": ["move to"]} for d in durations]
    return {"skill_annotation": entries} | others


PRIMITIVES = [{"frame_duration": [5, 60]}, {"frame_duration": [60, 90]}]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (skills([0, 40], [40, 100]), (0, 100)),
        (skills([14, 40], [40, 80]), (14, 80)),  # unlabelled head and tail
        (skills([40, 80], [14, 40]), (14, 80)),  # in any order
        (skills([10, 30], [60, 70]), (10, 70)),  # the gap stays
        (skills([10, 50], [20, 40]), (10, 50)),  # one within the other
        (skills([[24, 30], [36, 42]]), (24, 42)),  # a split skill
        (skills([[24, 30]], [50, 60]), (24, 60)),
        (skills([92, 50], [20, 30]), (20, 30)),  # a negative length
        (skills([5, 5], [20, 30]), (20, 30)),  # no length
        (skills([20, 30], [95, 140]), (20, 100)),  # beyond the episode
        (skills([20, 30], [100, 140]), (20, 30)),  # wholly beyond it
        (skills([-7, 30]), (0, 30)),
        (skills([-7, 0], [20, 30]), (20, 30)),
        (skills(None, [20, 30]), (20, 30)),
        (skills("20-30", 7, [1], [1, 2, 3], {"a": 1}, [20, 30]), (20, 30)),
        (skills([10.0, 20.0], ["1", "9"], [True, 40], [20, 30]), (20, 30)),
        (skills([[50, 60], None, [70]]), (50, 60)),
        ({"skill_annotation": [None, 3, {"frame_duration": [20, 30]}]}, (20, 30)),
        # A skill that nobody described is a skill.
        ({"skill_annotation": [{"frame_duration": [9, 12], "skill_description": [None]}]}, (9, 12)),
        # valid_duration labels nothing and limits nothing.
        (skills([14, 80], meta_data={"valid_duration": [30, 50]}), (14, 80)),
        (skills(meta_data={"task_duration": 100, "valid_duration": [0, 100]}), None),
        # Primitives count where no skill has a frame.
        (skills([20, 30], primitive_annotation=PRIMITIVES), (20, 30)),
        (skills(primitive_annotation=PRIMITIVES), (5, 90)),
        (skills([50, 50], [120, 140], primitive_annotation=PRIMITIVES), (5, 90)),
        ({"primitive_annotation": PRIMITIVES}, (5, 90)),
        ({"skill_annotation": None, "primitive_annotation": None}, None),
        ({"skill_annotation": {"frame_duration": [1, 2]}}, None),
        (skills([50, 50], [70, 60], [100, 101]), None),
        ({}, None),
        ([], None),
        (None, None),
    ],
    ids=str,
)
def test_the_range_of_an_episode_of_100_frames(
    annotation: object, expected: tuple[int, int] | None
) -> None:
    assert labelled_range(annotation, 100) == expected


RANGES = st.lists(st.tuples(st.integers(-20, 150), st.integers(-20, 150)), max_size=6)


@given(RANGES, RANGES, st.integers(1, 120))
def test_the_range_holds_the_first_and_last_frame_that_a_segment_names(
    by_skills: list[tuple[int, int]], by_primitives: list[tuple[int, int]], num_frames: int
) -> None:
    annotation = skills(
        *map(list, by_skills),
        primitive_annotation=[{"frame_duration": list(pair)} for pair in by_primitives],
    )
    named = [
        {f for start, stop in pairs for f in range(start, stop) if 0 <= f < num_frames}
        for pairs in (by_skills, by_primitives)
    ]
    frames = named[0] or named[1]
    expected = (min(frames), max(frames) + 1) if frames else None
    assert labelled_range(annotation, num_frames) == expected


class Demos:
    """Episodes 10, 20, … of 100 frames, whose annotations lie in ``notes/``; 99 has no place."""

    kind = "demos"
    state_layout = ""
    task_names: dict[str, int] = {}  # noqa: RUF012 - never changed
    cameras: dict[str, str] = {}  # noqa: RUF012 - never changed
    modalities: dict[str, dict[str, str]] = {}  # noqa: RUF012 - never changed
    left_out: dict[str, str] = {}  # noqa: RUF012 - never changed
    depth: DepthScale | None = None
    episodes: list[Episode] = []  # noqa: RUF012 - never changed

    def __init__(self, root: Path) -> None:
        self.root = root

    def metadata_files(self, episodes: object) -> list[str]:  # noqa: ARG002
        return []

    def annotation_path(self, episode_index: int) -> str | None:
        return None if episode_index == 99 else f"notes/{episode_index}.json"


def episode(episode_index: int, num_frames: int | None = 100) -> Episode:
    return Episode(
        episode_index=episode_index, task_index=0, task="", num_frames=num_frames, fps=None,
        videos={}, table=None,
    )  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> AnnotatedSource:
    (tmp_path / "notes").mkdir()
    files = {
        10: json.dumps(skills([0, 100])),
        20: json.dumps(skills([14, 80])),
        30: json.dumps(skills([12, 19])),
        40: json.dumps(skills()),
        50: '{"skill_annotation": [',
        60: "",
        70: "null",
        80: "[" * 100_000,
    }
    for episode_index, text in files.items():
        (tmp_path / f"notes/{episode_index}.json").write_text(text)
    (tmp_path / "notes/75.json").write_bytes(b'{"skill_annotation": "\xff"}')
    return Demos(tmp_path)


EPISODES = [*map(episode, (10, 20, 30, 40, 50, 60, 70, 75, 80, 90, 99))]


def test_only_what_an_annotation_labels_on_the_strides_grid(source: AnnotatedSource) -> None:
    assert labelled_frames(source, EPISODES, 1) == {10: (0, 100), 20: (14, 80), 30: (12, 19)}
    assert labelled_frames(source, EPISODES, 10) == {10: (0, 100), 20: (14, 80)}
    assert labelled_frames(source, EPISODES[1:3], 6) == {20: (14, 80), 30: (12, 19)}
    assert labelled_frames(source, [], 1) == {}
    assert labelled_frames(source, [episode(10, None)], 1) == {}


def test_what_cannot_be_reached_is_not_taken_for_unlabelled(source: AnnotatedSource) -> None:
    path = source.root / "notes/20.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        labelled_frames(source, EPISODES, 1)
    with pytest.raises(InfraError, match="the source's folder is gone"):
        labelled_frames(Demos(source.root / "gone"), EPISODES, 1)


def test_the_line_counts_the_unlabelled_and_names_ten() -> None:
    assert unlabelled_note(EPISODES[:2], {10: (0, 1), 20: (0, 1)}) is None
    assert unlabelled_note(EPISODES[:2], {10: (0, 1)}) == (
        "--annotated-only: 1 episode has no labelled frame and is not selected: 00000020"
    )
    many = [episode(10 * n) for n in range(12)]
    ids = ", ".join(f"{10 * n:08d}" for n in range(10))
    assert unlabelled_note(many, {}) == (
        f"--annotated-only: 12 episodes have no labelled frame and are not selected: {ids}, …"
    )


def test_a_source_without_annotations_is_told(tmp_path: Path, source: AnnotatedSource) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not read")
    videos: Source = VideosSource(tmp_path)
    with pytest.raises(UserError, match="--annotated-only: --src videos has no annotations"):
        annotated_source(videos)
    assert annotated_source(source) is source
