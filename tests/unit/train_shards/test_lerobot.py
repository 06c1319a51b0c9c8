"""LeRobot's classes, read from shards under the source's own names."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.stored import TASKS, painted, tiny_output
from train_shards.errors import UserError
from train_shards.lerobot import LeRobotDataset, LeRobotDatasetMetadata

REPO = "physical-intelligence/libero"


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREDECODE_SHARDS", str(tmp_path / "shards"))
    monkeypatch.delenv("PREDECODE_DATA", raising=False)
    tiny_output(tmp_path / "shards")
    return tmp_path / "shards"


def test_pictures_stand_under_the_keys_of_the_source() -> None:
    dataset = LeRobotDataset(REPO, delta_timestamps={"observation.state": [0, 1 / 30]})
    assert len(dataset) == 7
    item = dataset[4]
    assert sorted(item) == sorted(
        ["rgb.head", "rgb.left", "observation.state", "observation.state_is_pad", "timestamp",
         "sample_index", "episode_index", "frame_index", "task_index", "task"]
    )  # fmt: skip
    assert np.array_equal(item["rgb.left"], painted(70010, 1, "left_wrist"))
    assert item["observation.state"].shape[0] == 2
    assert item["task"] == TASKS[7]
    assert [int(item["frame_index"]) for item in dataset.__getitems__([0, 6])] == [0, 3]


def test_a_window_of_pictures_is_asked_for_by_the_sources_key() -> None:
    dataset = LeRobotDataset(REPO, delta_timestamps={"rgb.head": [-1 / 30, 0]})
    item = dataset[0]
    assert item["rgb.head"].shape == (2, 16, 24, 3)
    assert item["rgb.head_is_pad"].tolist() == [True, False]
    with pytest.raises(UserError, match="delta_timestamps: no column 'actions'"):
        LeRobotDataset(REPO, delta_timestamps={"actions": [0]})


def test_it_pickles_and_names_what_it_holds() -> None:
    dataset = LeRobotDataset(REPO, tolerance_s=1e-4, video_backend="pyav", episodes=None)
    copy: Any = pickle.loads(pickle.dumps(dataset))
    assert copy[3]["episode_index"] == dataset[3]["episode_index"]
    assert len(dataset.digest) == 32
    assert dataset.sampling_order is None


def test_the_metadata_tells_rate_and_tasks(out: Path) -> None:
    meta = LeRobotDatasetMetadata(REPO)
    assert (meta.fps, type(meta.fps), meta.tasks) == (30, int, TASKS)
    assert (meta.camera_keys, meta.root) == (["rgb.head", "rgb.left"], out)


@pytest.mark.parametrize("option", [{"episodes": [1]}, {"image_transforms": print}])
def test_what_shards_cannot_follow_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"LeRobotDataset\({next(iter(option))}=…\): cannot be"):
        LeRobotDataset(REPO, **option)


def test_on_line_decoding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDECODE_DATA", "online")
    with pytest.raises(UserError, match=r"data=online: served from shards only\. .*data=upstream"):
        LeRobotDatasetMetadata(REPO)


def test_no_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREDECODE_SHARDS")
    with pytest.raises(UserError, match="environment: no PREDECODE_SHARDS"):
        LeRobotDatasetMetadata(REPO)
