"""Objects of the current skill in a segmentation, by metadata files written by hand."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from train_shards.errors import DataError
from train_shards.instances import Instances, SkillInstances, instances_path
from train_shards.metadata_files import MetadataFiles

NAMES = {"7": "radio_89", "300": "radio_89", "9": "coffee_table_koagbh_0", "70000": "lamp_3"}
PICTURE = np.array([[0, 1, 7, 9], [300, 70_000, 8, 7]])


def skill(frames: list[Any], object_id: Any) -> dict[str, Any]:
    return {"frame_duration": frames, "object_id": object_id, "skill_description": ["press"]}


def written(out: Path, skills: Any, names: dict[str, str] = NAMES) -> SkillInstances:
    files = {
        "meta/instances/task-0000/episode_00000010.json": {"names": names, "ids": {"head": [0, 7]}},
        "meta/annotations/task-0000/episode_00000010.json": {"skill_annotation": skills},
    }
    for path, content in files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(json.dumps(content))
    return SkillInstances(MetadataFiles(out), "meta/")


def test_each_part_of_an_object_gets_its_number(tmp_path: Path) -> None:
    skills = [
        skill([0, 10], [["radio_89", "coffee_table_koagbh_0"]]),
        skill([10, 20], [["lamp_3"], ["radio_89"]]),
    ]
    instances = written(tmp_path, skills)
    first, second = ([[0, 0, 1, 2], [1, 0, 0, 1]], [[0, 0, 0, 0], [0, 1, 0, 0]])
    for frame, expected in ((0, first), (9, first), (10, second), (19, second)):
        got = instances.remapped(PICTURE, 10, frame)
        assert got.dtype == np.int64
        assert got.tolist() == expected, frame


def test_frames_without_a_skill_or_its_objects_are_all_0(tmp_path: Path) -> None:
    skills = [
        skill([0, 5], [["no_such_object_1", "lamp_3"]]),
        skill([5, 6], []),
        skill([6, 7], None),
        skill([7, 8], [[]]),
        skill([8, 8], [["radio_89"]]),
        {"frame_duration": [9, 10]},
    ]
    instances = written(tmp_path, skills)
    assert instances.remapped(PICTURE, 10, 0).tolist() == [[0, 0, 0, 0], [0, 2, 0, 0]]
    for frame in (5, 6, 7, 8, 9, 10, 500):
        assert not instances.remapped(PICTURE, 10, frame).any(), frame


def test_of_overlapping_skills_the_earlier_counts_and_a_split_one_counts_twice(
    tmp_path: Path,
) -> None:
    skills = [
        skill([[0, 4], [8, 12]], [["radio_89"], ["radio_89"]]),
        skill([2, 10], [["lamp_3"]]),
    ]
    instances = written(tmp_path, skills)
    numbers = [instances.remapped(np.array([[7, 70_000]]), 10, f)[0].tolist() for f in range(13)]
    radio, lamp = [1, 0], [0, 1]
    assert numbers == [radio] * 4 + [lamp] * 6 + [radio] * 2 + [[0, 0]]


def test_an_object_named_twice_keeps_its_first_number(tmp_path: Path) -> None:
    instances = written(tmp_path, [skill([0, 5], [["lamp_3", "radio_89", "lamp_3", None]])])
    assert instances.remapped(PICTURE, 10, 0).tolist() == [[0, 0, 2, 0], [2, 1, 0, 2]]


def test_an_episode_without_annotation_has_no_objects(tmp_path: Path) -> None:
    instances = written(tmp_path, [])
    (tmp_path / "meta/annotations/task-0000/episode_00000010.json").unlink()
    assert not instances.remapped(PICTURE, 10, 0).any()


def test_damaged_or_missing_files_are_named(tmp_path: Path) -> None:
    assert instances_path(10) == "meta/instances/task-0000/episode_00000010.json"
    path = tmp_path / instances_path(10)
    instances = written(tmp_path, [], names={"7": "a", "x": "b"})
    with pytest.raises(DataError, match=r"episode_00000010.json: Expected `int`"):
        instances.remapped(PICTURE, 10, 0)
    path.unlink()
    with pytest.raises(DataError, match=r"meta/instances/task-0000/episode_00000010.json: not th"):
        instances.remapped(PICTURE, 10, 0)


def test_instances_may_come_from_elsewhere_and_travel(tmp_path: Path) -> None:
    written(tmp_path, [skill([0, 5], [["lamp_3"]])])
    given = SkillInstances(MetadataFiles(tmp_path), "meta/", _lamp_at_1)
    assert given.remapped(PICTURE, 10, 0).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    copied: SkillInstances = pickle.loads(pickle.dumps(given))
    assert copied.remapped(PICTURE, 10, 0).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]


def _lamp_at_1(episode_index: int) -> Instances:
    assert episode_index == 10
    return Instances(names={1: "lamp_3"}, ids={})
