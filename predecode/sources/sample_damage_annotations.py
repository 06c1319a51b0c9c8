"""Damage to annotations as ``write_touching_skills`` writes them for three skills.

Each function takes the JSON of such a file and the episode's length, and returns it damaged. The
ranges of the primitives stay, unless said otherwise.
"""

from collections.abc import Iterator
from typing import Any

__all__ = [
    "empty_range",
    "ends_after_duration",
    "gap",
    "late_start",
    "nameless_skill",
    "no_memory_prefix",
    "overlap",
    "split_range",
    "unlabelled_tail",
]

_Json = dict[str, Any]


def nameless_skill(value: _Json, _length: int) -> _Json:
    """The second skill has no description and no number."""
    value["skill_annotation"][1] |= {"skill_description": [None], "skill_id": [None]}
    return value


def empty_range(value: _Json, _length: int) -> _Json:
    """The first skill takes the second one's frames, which ends before it starts."""
    (start, _), (_, stop), _ = _skill_ranges(value)
    _set_ranges(value, {0: [start, stop], 1: [stop + 4, stop]})
    return value


def gap(value: _Json, _length: int) -> _Json:
    """The second skill starts three frames late."""
    start, stop = _skill_ranges(value)[1]
    _set_ranges(value, {1: [start + 3, stop]})
    return value


def overlap(value: _Json, _length: int) -> _Json:
    """The second skill ends three frames after the third has begun."""
    start, stop = _skill_ranges(value)[1]
    _set_ranges(value, {1: [start, stop + 3]})
    return value


def split_range(value: _Json, _length: int) -> _Json:
    """The second skill is interrupted for two frames by one more, which stands last."""
    start, stop = _skill_ranges(value)[1]
    skills = value["skill_annotation"]
    skills.append(skills[0] | {"skill_idx": 3, "frame_duration": [start + 2, start + 4]})
    skills[1]["object_id"] = skills[1]["object_id"] * 2
    _set_ranges(value, {1: [[start, start + 2], [start + 4, stop]]})
    return value


def ends_after_duration(value: _Json, length: int) -> _Json:
    """The task lasts four frames less than its skills."""
    value["meta_data"] = {"task_duration": length - 4, "valid_duration": [0, length - 4]}
    return value


def late_start(value: _Json, length: int) -> _Json:
    """The first three frames are not valid, and carry no label."""
    value["meta_data"] |= {"valid_duration": [3, length]}
    for entry in _first_and_last(value):
        if entry["frame_duration"][0] == 0:
            entry["frame_duration"] = [3, entry["frame_duration"][1]]
    return value


def no_memory_prefix(value: _Json, _length: int) -> _Json:
    """No entry has the field."""
    for entry in [*value["skill_annotation"], *value["primitive_annotation"]]:
        del entry["memory_prefix"]
    return value


def unlabelled_tail(value: _Json, length: int) -> _Json:
    """Labels and task end four frames early."""
    stop = length - 4
    value["meta_data"] = {"task_duration": stop, "valid_duration": [0, stop]}
    for entry in _first_and_last(value):
        if entry["frame_duration"][1] == length:
            entry["frame_duration"] = [entry["frame_duration"][0], stop]
    return value


def _skill_ranges(value: _Json) -> list[list[int]]:
    return [entry["frame_duration"] for entry in value["skill_annotation"]]


def _set_ranges(value: _Json, ranges: dict[int, Any]) -> None:
    for position, frames in ranges.items():
        value["skill_annotation"][position]["frame_duration"] = frames


def _first_and_last(value: _Json) -> Iterator[_Json]:
    """First and last entry of skills and of primitives."""
    for name in ("skill_annotation", "primitive_annotation"):
        yield from (value[name][0], value[name][-1])
