"""Lookup of texts by frame: the right rules beside upstream's."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.texts import annotation
from train_shards.phrases import first_text
from train_shards.prompts import (
    Segment,
    annotated_segments,
    constant_runs,
    in_order,
    joined_segments,
    level_text,
    segment_text,
    skill_segments,
    upstream_level_text,
    upstream_segment_text,
)

LEVELS = [
    [Segment(0, 100, "task")],
    [Segment(0, 4, "reach"), Segment(4, 8, "grasp"), Segment(9, 12, "lift")],
]


def test_every_frame_of_a_level_has_the_text_of_its_segment() -> None:
    texts = [level_text(LEVELS, 1, frame) for frame in range(14)]
    # Frame 8 lies between two segments, 12 and 13 after the last.
    assert texts == ["reach"] * 4 + ["grasp"] * 4 + ["lift"] * 6


def test_upstream_gives_the_last_frame_of_a_segment_the_next_ones_text() -> None:
    texts = [upstream_level_text(LEVELS, 1, frame, looked_up_at=1) for frame in range(14)]
    assert texts == ["reach"] * 3 + ["grasp"] * 4 + ["lift"] * 7


def test_upstream_looks_up_every_level_at_the_prompts() -> None:
    assert upstream_level_text(LEVELS, 1, 6, looked_up_at=0) == "reach"
    assert upstream_level_text([LEVELS[1], LEVELS[0]], 1, 6, looked_up_at=0) is None
    assert upstream_level_text([[], LEVELS[1]], 1, 6, looked_up_at=0) == "reach"


def test_a_level_without_segments_has_no_text() -> None:
    assert level_text([[]], 0, 3) is None
    assert upstream_level_text([[]], 0, 3, looked_up_at=0) is None


def test_a_frame_on_the_border_belongs_to_the_segment_that_starts_there() -> None:
    segments = [Segment(0, 4, "reach"), Segment(4, 7, "grasp")]
    assert [segment_text(segments, f) for f in (3, 4, 6, 7)] == ["reach", "grasp", "grasp", None]
    assert [upstream_segment_text(segments, f) for f in (4, 7, 8)] == ["reach", "grasp", None]


def test_of_segments_that_overlap_the_first_counts_and_a_short_one_hides_nothing() -> None:
    overlapping = [Segment(0, 10, "long"), Segment(2, 5, "short")]
    assert [segment_text(overlapping, f) for f in (3, 7)] == ["long", "long"]
    # Upstream bisects ends that are out of order: at frame 11 it tries none, at 7 none of the two.
    assert upstream_segment_text([Segment(0, 10, "a"), Segment(20, 8, "b")], 9) is None


def test_annotated_segments_stand_in_order_without_those_that_have_no_frame() -> None:
    entries: Any = annotation(
        [
            ("press", None, [[30, 40], [50, 60]]),
            ("move to", None, [0, 10]),
            ("lift", None, [20, 12]),
            (None, None, [10, 20]),
            ("odd", None, "no frames"),
        ]
    )["skill_annotation"]

    def text_of(entry: Any) -> str:
        return first_text(entry["skill_description"])

    assert annotated_segments([*entries, "stray", None], text_of) == [
        (0, 10, "move to"), (30, 40, "press"), (50, 60, "press"),
    ]  # fmt: skip
    assert (20, 12, "lift") in annotated_segments(entries, text_of, keep_empty=True)
    assert annotated_segments(None, text_of) == []


def test_neighbours_that_say_the_same_are_one() -> None:
    segments = [Segment(0, 4, "a"), Segment(4, 8, "a"), Segment(9, 10, "a"), Segment(10, 12, "b")]
    assert joined_segments(segments) == [(0, 8, "a"), (9, 10, "a"), (10, 12, "b")]
    assert joined_segments(segments, gap=1) == [(0, 10, "a"), (10, 12, "b")]


def test_a_skills_type_is_a_word_and_upstreams_the_text_of_a_list() -> None:
    value = annotation([("move to", None, [0, 4]), (None, None, [4, 8])])
    assert skill_segments(value, "skill_type", compat=False) == [
        (0, 4, "navigation"), (4, 8, "uncoordinated"),
    ]  # fmt: skip
    assert skill_segments(value, "skill_type", compat=True)[0].text == "['navigation']"
    assert skill_segments(value, "skill_description", compat=False) == [(0, 4, "move to")]
    assert skill_segments(value, "skill_description", compat=True)[1] == (4, 8, "")


segments_of = st.lists(
    st.builds(Segment, st.integers(0, 30), st.integers(0, 30), st.sampled_from("abc")), max_size=5
)


@given(segments_of, st.booleans())
def test_runs_say_of_every_frame_what_the_lookup_says(
    segments: list[Segment], is_upstream: bool
) -> None:
    ordered = sorted(segments) if is_upstream else in_order(segments)

    def text_at(frame: int) -> str:
        inside: Sequence[Segment] = ordered
        lookup = upstream_segment_text if is_upstream else segment_text
        level = (
            upstream_level_text([inside], 0, frame, looked_up_at=0)
            if is_upstream
            else level_text([inside], 0, frame)
        )
        return f"{lookup(inside, frame)} {level}"

    runs = constant_runs(text_at, segments, 25)
    said = [run.text for run in runs for _ in range(run.start, run.stop)]
    assert said == [text_at(frame) for frame in range(25)]
    assert all(a.text != b.text for a, b in pairwise(runs))
