"""Outputs of every format version so far are read for ever."""

import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from predecode.output import finished_generations, load_plans
from predecode.sources.barcode import Identity, read
from predecode.verification.structure import check_output
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.errors import UserError
from train_shards.manifest import load_manifest
from train_shards.order import GlobalOrder

GOLDEN = sorted((Path(__file__).parents[2] / "golden").glob("v1.*"))
OF_RUN = Path(__file__).parents[2] / "golden/v2.0"
CAMERAS = ("head", "left_wrist", "right_wrist")


class Made(NamedTuple):
    """What a golden output was made to hold."""

    episode: int
    frames: tuple[int, int, int]
    task: tuple[int, str]
    state_layout: str
    members: int
    """Of a sample: pictures, json, state and action."""
    action_hex: str
    """The first three numbers of the second sample's action."""


ROLLOUT = 490040, (0, 30, 60), (49, "Take the chef's pizza dough out of the refri")
MADE = {
    "v1.0": Made(*ROLLOUT, "", 6, "903209bfb5f20fc0e292ca3f"),
    "v1.1": Made(*ROLLOUT, "b1k-2025-256", 6, "903209bfb5f20fc0e292ca3f"),
    "v1.2": Made(
        10, (0, 40, 80), (0, "Turn on the radio"), "b1k-2025-256", 12, "4b6463be8d02d0bff66ee0be"
    ),
}

each = pytest.mark.parametrize("out", GOLDEN, ids=lambda path: path.name)


def test_there_is_one_for_each_version() -> None:
    assert [path.name for path in GOLDEN] == sorted(MADE)


@each
def test_it_is_read(out: Path) -> None:
    made, dataset = MADE[out.name], ShardDataset(out, check_index=True)
    assert len(dataset) == 3
    for position, frame in enumerate(made.frames):
        item = dataset[position]
        ids = item["episode_index"], item["frame_index"], item["index"]
        assert ids == (made.episode, frame, frame)
        assert item["timestamp"] == frame / 30
        assert item["task_index"] == made.task[0]
        assert item["task"].startswith(made.task[1])
        assert item["observation.state"].shape == (256,)
        assert item["action"].shape == (23,)
        for camera in CAMERAS:
            assert read(item[IMAGE_KEY + camera]) == Identity(made.episode, frame, camera)


def test_depth_and_segmentation_of_1_2_are_read() -> None:
    item = ShardDataset(GOLDEN[2], cameras=["head_depth", "head_seg"])[1]
    depth = item["observation.images.depth.head"]
    ids = item["observation.images.seg_instance_id.head"]
    assert (depth.shape, depth.dtype, ids.shape, ids.dtype) == (
        (64, 64), np.float32, (64, 64), np.int64,
    )  # fmt: skip
    # Cells of the barcode: 1 m and 5 m away, instances 0 and 1.
    for picture in (np.where(depth > 3, 208, 48), np.where(ids[:16] == 1, 208, 48)):
        cells = np.full((64, 64, 3), 48, np.uint8)
        cells[:16] = picture[:16, :, None]
        assert read(cells) == Identity(10, 40, "head")


@each
def test_what_it_is_made_of_fits_together_as_on_its_first_day(out: Path) -> None:
    """Digests of the plan, the manifest that follows from it, the index that the ledgers give."""
    finished = finished_generations(out, load_plans(out), check_files=False)
    assert list(check_output(out, load_manifest(out), finished)) == []


@each
def test_the_state_is_known_to_be_2025s_whether_recorded_or_not(out: Path) -> None:
    settings = load_manifest(out).settings
    assert settings.state_layout == MADE[out.name].state_layout
    assert settings.known_state_layout == "b1k-2025-256"
    state = ShardDataset(out, state="as_2025")[1]["observation.state"]
    assert np.array_equal(state, ShardDataset(out)[1]["observation.state"])


@each
def test_values_are_the_literal_ones(out: Path) -> None:
    item = ShardDataset(out)[1]
    assert item["action"][:3].tobytes().hex() == MADE[out.name].action_hex
    with tarfile.open(out / "data/train/b1k-train-000000.tar") as tar:
        names = tar.getnames()
    assert len(names) == 3 * MADE[out.name].members
    assert np.isfinite(item["observation.state"]).all()


def test_one_runs_samples_of_2_0_are_read() -> None:
    assert list(check_output(OF_RUN, load_manifest(OF_RUN), finished_generations(
        OF_RUN, load_plans(OF_RUN), check_files=False
    ))) == []  # fmt: skip
    (index,) = OF_RUN.glob(".predecode/index/*.idx")
    assert index.read_bytes()[:10] == b"PREDIDX1\x02\x00"
    dataset = ShardDataset(OF_RUN, check_index=True)
    assert str(dataset.run_scope) == "steps=2 global-batch=1 seed=1"
    assert len(dataset) == 3
    order = [GlobalOrder(3, seed=1).sample(position) for position in range(3)]
    assert order == [1, 0, 2]
    for sample in order[:2]:
        item = dataset[sample]
        assert item["sample_index"] == sample
        assert read(item[IMAGE_KEY + "head"]) == Identity(10, 40 * sample, "head")
        assert item["timestamp"] == 40 * sample / 30
    with pytest.raises(UserError, match="sample 2 is not stored"):
        dataset[order[2]]
