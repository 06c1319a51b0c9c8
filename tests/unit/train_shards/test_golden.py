"""Outputs of every format version so far are read for ever."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from predecode.output import finished_generations, load_plans
from predecode.sources.barcode import Identity, read
from predecode.verification.structure import check_output
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.manifest import load_manifest

ACTION_HEX = "903209bfb5f20fc0e292ca3f"
GOLDEN = sorted((Path(__file__).parents[2] / "golden").glob("v*"))


def test_there_is_one_for_each_version() -> None:
    assert [path.name for path in GOLDEN] == ["v1.0", "v1.1"]


@pytest.mark.parametrize("out", GOLDEN, ids=lambda path: path.name)
def test_it_is_read(out: Path) -> None:
    dataset = ShardDataset(out, check_index=True)
    assert len(dataset) == 3
    for position, frame in enumerate((0, 30, 60)):
        item = dataset[position]
        assert (item["episode_index"], item["frame_index"], item["index"]) == (490040, frame, frame)
        assert item["timestamp"] == frame / 30
        assert item["task_index"] == 49
        assert item["task"].startswith("Take the chef's pizza dough out of the refri")
        assert item["observation.state"].shape == (256,)
        assert item["action"].shape == (23,)
        for camera in ("head", "left_wrist", "right_wrist"):
            assert read(item[IMAGE_KEY + camera]) == Identity(490040, frame, camera)


@pytest.mark.parametrize("out", GOLDEN, ids=lambda path: path.name)
def test_what_it_is_made_of_fits_together_as_on_its_first_day(out: Path) -> None:
    """Digests of the plan, the manifest that follows from it, the index that the ledgers give."""
    finished = finished_generations(out, load_plans(out), check_files=False)
    assert list(check_output(out, load_manifest(out), finished)) == []


@pytest.mark.parametrize("out", GOLDEN, ids=lambda path: path.name)
def test_the_state_is_known_to_be_2025s_whether_recorded_or_not(out: Path) -> None:
    settings = load_manifest(out).settings
    recorded = {"v1.0": "", "v1.1": "b1k-2025-256"}
    assert settings.state_layout == recorded[out.name]
    assert settings.known_state_layout == "b1k-2025-256"
    state = ShardDataset(out, state="as_2025")[1]["observation.state"]
    assert np.array_equal(state, ShardDataset(out)[1]["observation.state"])


@pytest.mark.parametrize("out", GOLDEN, ids=lambda path: path.name)
def test_values_are_the_literal_ones(out: Path) -> None:
    item = ShardDataset(out)[1]
    assert item["action"][:3].tobytes().hex() == ACTION_HEX
    with tarfile.open(out / "data/train/b1k-train-000000.tar") as tar:
        names = tar.getnames()
    assert len(names) == 3 * 6
    assert np.isfinite(item["observation.state"]).all()
