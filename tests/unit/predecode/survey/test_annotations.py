"""Annotations by hand, each fault alone; gaps and overlaps against sets of frames."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.sources.episode import Episode
from predecode.survey.annotations import check_annotation, coverage

EPISODE = Episode(
    episode_index=490010,
    task_index=49,
    task="Make a pizza.",
    task_name="make_pizza",
    num_frames=100,
    fps=(30, 1),
    videos={},
    table=None,
)
TASK_NAMES = ["make_pizza", "turning_on_radio"]
WHERE = "annotations/x.json"


def skill(*frame_duration: Any, text: Any = "move to") -> dict[str, Any]:
    return {"frame_duration": list(frame_duration), "skill_description": [text]}


def annotation(**changes: Any) -> dict[str, Any]:
    sound = {
        "task_name": "make pizza",
        "meta_data": {"task_duration": 100, "valid_duration": [0, 100]},
        "skill_annotation": [skill(0, 40), skill(40, 100)],
        "primitive_annotation": [
            {"frame_duration": [0, 100], "primitive_description": ["pick up from"]}
        ],
    }
    return {key: value for key, value in (sound | changes).items() if value is not ...}


def lines(value: object) -> list[str]:
    found = check_annotation(value, WHERE, EPISODE, TASK_NAMES)
    assert {(f.where, f.key, f.level) for f in found} <= {(WHERE, "ep00490010", "source")}
    return [str(finding).removeprefix(f"{WHERE}, key ep00490010: ") for finding in found]


def of_skills(*entries: Any) -> list[str]:
    return lines(annotation(skill_annotation=list(entries)))


def test_a_sound_annotation_has_no_finding() -> None:
    assert lines(annotation()) == []
    assert lines(annotation(primitive_annotation=[])) == []
    assert lines(annotation(primitive_annotation=...)) == []
    split = skill([0, 20], [60, 100])
    assert of_skills(split, skill(20, 60)) == []


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([], "[]"),
        (None, "None"),
        ({"skill_annotation": 5}, "{'skill_annotation': 5}"),
        ({"primitive_annotation": None}, "{'primitive_annotation': None}"),
    ],
    ids=str,
)
def test_another_shape_is_a_fault(value: object, got: str) -> None:
    assert lines(value) == [
        (
            "annotation-unreadable: expected an object with lists skill_annotation and "
            f"primitive_annotation, got {got}"
        )
    ]


@pytest.mark.parametrize(
    ("duration", "got"),
    [
        (None, "None"),
        ([], "[]"),
        ("0-40", "'0-40'"),
        ([0], "[0]"),
        ([0, 40.5], "[0, 40.5]"),
        ([0, 40, 50], "[0, 40, 50]"),
        ([[0, 40], [50]], "[[0, 40], [50]]"),
        ([True, 40], "[True, 40]"),
    ],
    ids=str,
)
def test_a_duration_that_is_no_range_is_a_fault(duration: Any, got: str) -> None:
    entry = {"frame_duration": duration, "skill_description": ["press"]}
    assert of_skills(skill(0, 100), entry)[0] == (
        f"annotation-range: expected frame_duration a pair or a list of pairs, got skill 1: {got}"
    )


def test_an_entry_that_is_no_object_is_a_fault() -> None:
    assert of_skills(skill(0, 100), [0, 40]) == [
        "annotation-range: expected frame_duration a pair or a list of pairs, got skill 1: [0, 40]"
    ]


def test_another_task_s_name_is_a_fault_an_unknown_one_a_remark() -> None:
    assert lines(annotation(task_name="Turning on  radio")) == [
        "annotation-task: expected task 'make_pizza', got 'Turning on  radio'"
    ]
    assert lines(annotation(task_name="make a pizza")) == [
        "remark: annotation-task: expected task 'make_pizza', got 'make a pizza'"
    ]
    assert lines(annotation(task_name="Make_Pizza")) == []


REMARKS = [
    ([skill(0, 100), skill(50, 50), skill(92, 50)],
     ("annotation-empty-range: expected ranges that end after they start, "
     "got skill 1: [50, 50], skill 2: [92, 50]")),
    ([skill(0, 50), skill([50, 70], [70, 101])],
     "annotation-beyond-end: expected ranges within 100 frames, got skill 1: [70, 101]"),
    ([skill(-1, 100)],
     "annotation-beyond-end: expected ranges within 100 frames, got skill 0: [-1, 100]"),
    ([skill(0, 100), skill(0, 0, text=None)],
     "annotation-skill: expected a skill_description, got skill 1: [None]"),
    ([skill(0, 100), skill(0, 0, text=" ")],
     "annotation-skill: expected a skill_description, got skill 1: [' ']"),
    ([skill(0, 40), skill(50, 60), skill(65, 100)],
     "annotation-gap: expected skills without gaps, got 2 gaps of 15 frames"),
    ([skill(0, 40), skill(39, 100)],
     "annotation-overlap: expected one skill a frame, got 1 overlap of 1 frame"),
    ([skill(14, 100)],
     "annotation-start: expected skills from frame 0, got 14 frames before the first skill"),
    ([skill(0, 99)],
     "annotation-tail: expected skills to frame 100, got 1 frame after the last skill"),
    ([], "annotation-empty: expected skills, got none"),
]  # fmt: skip


@pytest.mark.parametrize(("skills", "line"), REMARKS, ids=[line[:24] for _, line in REMARKS])
def test_what_the_reader_copes_with_is_a_remark(skills: list[Any], line: str) -> None:
    assert f"remark: {line}" in of_skills(*skills)


def test_primitives_are_looked_at_too() -> None:
    primitive = {"frame_duration": [0, 60], "primitive_description": [None]}
    assert lines(annotation(primitive_annotation=[primitive, {"frame_duration": 7}])) == [
        "annotation-range: expected frame_duration a pair or a list of pairs, got primitive 1: 7",
        "remark: annotation-skill: expected a primitive_description, got primitive 0: [None]",
        (
            "remark: annotation-tail: expected primitives to frame 100, "
            "got 40 frames after the last primitive"
        ),
    ]


def test_the_valid_duration() -> None:
    def of(valid: Any) -> list[str]:
        return lines(annotation(meta_data={"valid_duration": valid}, primitive_annotation=[]))

    assert of([14, 100]) == [
        "remark: annotation-start: expected valid_duration from frame 0, got from frame 14"
    ]
    assert of([0, 90]) == [
        (
            "remark: annotation-duration: expected skills within valid_duration [0, 90], "
            "got one ends at 100"
        )
    ]
    for valid in (None, 5, [0], [[0, 100]], ["0", "100"]):
        assert of(valid) == [
            f"remark: annotation-duration: expected valid_duration [start, end], got {valid!r}"
        ]
    assert lines(annotation(meta_data=None))[0].endswith("[start, end], got None")


def test_many_of_a_kind_stand_in_one_line() -> None:
    entries = [skill(0, 100)] + [skill(n, 1) for n in range(1, 7)]
    assert of_skills(*entries) == [
        (
            "remark: annotation-empty-range: expected ranges that end after they start, "
            "got skill 1: [1, 1], skill 2: [2, 1], skill 3: [3, 1], 3 more"
        )
    ]


ranges = st.tuples(st.integers(-5, 60), st.integers(1, 30)).map(lambda r: (r[0], r[0] + r[1]))


def runs(frames: set[int]) -> int:
    return sum(frame - 1 not in frames for frame in frames)


@given(st.lists(ranges, min_size=1, max_size=8))
def test_gaps_and_overlaps_are_those_of_the_sets_of_frames(pairs: list[tuple[int, int]]) -> None:
    sets = [set(range(start, stop)) for start, stop in pairs]
    labelled = set.union(*sets)
    several = {frame for frame in labelled if sum(frame in one for one in sets) > 1}
    gaps = set(range(min(labelled), max(labelled))) - labelled
    assert coverage(pairs) == (runs(gaps), len(gaps), runs(several), len(several))


def test_no_range_at_all_covers_nothing() -> None:
    assert coverage([]) == (0, 0, 0, 0)
