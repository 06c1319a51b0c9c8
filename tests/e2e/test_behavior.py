"""The drop-in against the source's own files: rows by pyarrow, windows by hand, texts literally."""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from predecode.sources.barcode import Identity, read
from tests.support.texts import NAMES, TEMPLATES, write_json
from train_shards.behavior import BehaviorLeRobotDataset, MultiBehaviorLeRobotDataset
from train_shards.sampling import ResumableSampler

pytestmark = pytest.mark.slow

CAMERAS = ("head", "left_wrist", "right_wrist")
LENGTHS = {10: 120, 20: 250, 40: 751, 490010: 501, 490040: 90}
FRAMES = [(episode, frame) for episode, length in LENGTHS.items() for frame in range(length)]
HORIZON = 32
TRAINER: dict[str, Any] = {
    "tolerance_s": 1e-4, "tasks": None, "modalities": ["rgb"], "local_only": True,
    "check_files": False, "check_timestamp_sync": False,
    "delta_timestamps": {"action": [t / 30 for t in range(HORIZON)]}, "episodes": None,
    "chunk_streaming_using_keyframe": True, "shuffle": True, "fine_grained_level": 0,
    "return_seg_instance": False, "train_rgb_type": "regular",
}  # fmt: skip
"""What the trainer passes, keywords only."""


def source_rows(root: Path, episode: int) -> dict[str, list[Any]]:
    path = root / f"data/task-{episode // 10000:04d}/episode_{episode:08d}.parquet"
    rows: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    return rows


@pytest.fixture
def dataset(
    b1k_root: Path, jpeg_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> BehaviorLeRobotDataset:
    monkeypatch.setenv("PREDECODE_SHARDS", str(jpeg_shards))
    return BehaviorLeRobotDataset(
        repo_id="behavior-1k/2025-challenge-demos", root=b1k_root, **TRAINER
    )


def test_items_are_the_rows_of_the_source_to_the_bit(
    dataset: BehaviorLeRobotDataset, b1k_root: Path
) -> None:
    assert len(dataset) == len(FRAMES) == 1712
    assert dataset.episodes == list(LENGTHS)
    for episode, length in LENGTHS.items():
        rows = source_rows(b1k_root, episode)
        actions = np.array(rows["action"], np.float32)
        first = FRAMES.index((episode, 0))
        for frame in (0, 1, length // 2, length - HORIZON, length - HORIZON + 1, length - 1):
            item = dataset[first + frame]
            for name in ("observation.state", "observation.cam_rel_poses"):
                if name not in rows:
                    assert (episode, name) == (490040, "observation.cam_rel_poses")
                    assert name not in item
                    continue
                expected = np.array(rows[name][frame], np.float32)
                assert item[name].dtype == torch.float32
                assert item[name].numpy().tobytes() == expected.tobytes()
            rest = actions[frame : frame + HORIZON]
            padding = HORIZON - len(rest)
            window = np.concatenate([rest, np.repeat(actions[-1:], padding, axis=0)])
            assert item["action"].shape == (HORIZON, 23)
            assert item["action"].numpy().tobytes() == window.tobytes()
            assert item["action_is_pad"].tolist() == [False] * len(rest) + [True] * padding
            ids = {name: item[name].item() for name in ("index", "episode_index", "task_index")}
            assert ids == {name: rows[name][frame] for name in ids}
            assert item["timestamp"].item() == rows["timestamp"][frame] == frame / 30
            assert item["timestamp"].dtype == torch.float64
            assert not {"frame_index", "sample_index", "observation.task_info"} & set(item)
            for camera in CAMERAS:
                image = item[f"observation.images.rgb.{camera}"]
                assert (image.shape, image.dtype) == ((3, 224, 224), torch.uint8)
                shown = read(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
                assert shown == Identity(episode, frame, camera)


def test_texts_of_the_sample_stand_literally(b1k_root: Path, jpeg_shards: Path) -> None:
    def task_at(frame: int, **options: Any) -> tuple[str, str]:
        item = BehaviorLeRobotDataset("id", b1k_root, shards=jpeg_shards, **options)[frame]
        return item["task"], item["subtask_text"]

    radio = "Turn on the radio receiver that's on the table in the living room."
    assert task_at(69) == (f"{radio} First find it, then act.", "pick up from")
    # Skills of episode 10 end at 40, 70 and 100; frame 39 is the last of the first.
    assert task_at(39, fine_grained_level=2) == (
        "The next step is to move to the radio.",
        "move to",
    )
    assert task_at(39, fine_grained_level=2, compat="upstream") == (
        "The next step is to pick up from the radio.", "pick up from",
    )  # fmt: skip
    assert task_at(69, compat="upstream")[1] == "move to"
    assert task_at(120 + 5) == (radio, radio)
    assert task_at(19, fine_grained_level=3)[0] == "move to the radio, part 1 of 2"
    assert task_at(20, fine_grained_level=3)[0] == "move to the radio, part 2 of 2"


def test_subtasks_from_the_annotations_of_the_sample(
    b1k_root: Path, jpeg_shards: Path, tmp_path: Path
) -> None:
    write_json(tmp_path / "templates.json", TEMPLATES)
    write_json(tmp_path / "names.json", NAMES)
    options: dict[str, Any] = {
        "subtask_source": "annotations_skill",
        "subtask_template_path": tmp_path / "templates.json",
        "subtask_object_name_mapping_path": tmp_path / "names.json",
    }

    def subtask_at(episode: int, frame: int, **more: Any) -> str:
        dataset = BehaviorLeRobotDataset("id", b1k_root, shards=jpeg_shards, **options, **more)
        return str(dataset[FRAMES.index((episode, frame))]["subtask_text"])

    radio = "Turn on the radio receiver that's on the table in the living room."
    move = "move to the coffee table koagbh"
    pick = "pick up the radio from the coffee table koagbh"
    assert subtask_at(10, 39) == move
    assert subtask_at(10, 40) == pick
    assert subtask_at(10, 40, compat="upstream") == move
    assert subtask_at(10, 110) == "press"  # unlabelled: the last skill of level 1
    assert subtask_at(20, 65) == radio  # in a gap, without orchestrators
    assert subtask_at(20, 135) == pick  # of two that overlap the earlier
    assert subtask_at(40, 400) == pick  # of a split skill
    assert subtask_at(40, 400, compat="upstream") == "pick up the radio from the radio"
    assert subtask_at(40, 330) == radio  # a skill without a description
    assert subtask_at(490040, 5).startswith("Take the chef's pizza dough")  # no annotation


class Skills(BehaviorLeRobotDataset):
    """Written as the trainer's skill data set is used: segments of subtasks/, by root and fps."""

    def __getitem__(self, index: Any) -> dict[str, Any]:
        item = super().__getitem__(index)
        task, episode = (item[name].item() for name in ("task_index", "episode_index"))
        path = self.root / f"subtasks/task-{task:04d}/episode_{episode:08d}.json"
        frame = round(item["timestamp"].item() * self.fps)
        item["task"] = f"{path.is_file()} {episode} {frame}"
        return item


def loaded_decoders(_: int) -> None:
    """Runs in each worker: what trains must not have loaded a decoder."""
    banned = {"av", "torchcodec", "torchvision", "ray", "lerobot", "omnigibson"} & set(sys.modules)
    if banned and multiprocessing.parent_process() is not None:
        raise RuntimeError(f"loaded in a worker: {sorted(banned)}")


def test_spawned_workers_serve_batches_of_the_default_collate(
    dataset: BehaviorLeRobotDataset,
) -> None:
    # Episode 490040 has no camera poses; the default collate wants the same keys in a batch.
    sampler = ResumableSampler(
        1622, rank=0, world_size=1, seed=5, batch_size=64, digest=dataset.digest
    )
    loader = DataLoader(
        dataset, batch_size=64, sampler=sampler, num_workers=2, drop_last=True,
        multiprocessing_context="spawn", worker_init_fn=loaded_decoders,
    )  # fmt: skip
    expected = list(sampler)
    assert len(expected) == 25 * 64
    got: list[tuple[int, int]] = []
    for batch in loader:
        assert batch["observation.images.rgb.head"].shape == (64, 3, 224, 224)
        assert batch["action"].shape == (64, HORIZON, 23)
        assert batch["timestamp"].dtype == torch.float64
        got += zip(batch["episode_index"].tolist(), batch["index"].tolist(), strict=True)
        image = batch["observation.images.rgb.left_wrist"][7].permute(1, 2, 0).numpy()
        assert read(np.ascontiguousarray(image)) == Identity(*got[-64 + 7], "left_wrist")
    assert got == [FRAMES[position] for position in expected]


def test_a_skill_subclass_finds_its_files_beside_the_shards(
    jpeg_shards: Path, tmp_path: Path
) -> None:
    dataset = Skills("id", tmp_path / "no source here", shards=jpeg_shards)
    assert dataset[FRAMES.index((490010, 77))]["task"] == "True 490010 77"
    assert dataset.__getitems__([0])[0]["task"] == "False 10 0"


def test_items_decoded_on_line_are_those_of_the_shards(
    dataset: BehaviorLeRobotDataset, b1k_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREDECODE_DATA", "online")
    monkeypatch.setenv("PREDECODE_ROOT", str(b1k_root))
    online = BehaviorLeRobotDataset("id", "no such root", **TRAINER)
    assert (len(online), online.root, online.episodes) == (1712, b1k_root, list(LENGTHS))
    for position in (0, 39, 119, 120, 1711):
        here, there = dataset[position], online[position]
        assert set(here) == set(there)
        for name, value in here.items():
            if name.startswith("observation.images."):
                image = np.ascontiguousarray(there[name].permute(1, 2, 0).numpy())
                assert read(image) == Identity(*FRAMES[position], name.rpartition(".")[2])
            elif isinstance(value, str):
                assert value == there[name]
            else:
                assert value.dtype == there[name].dtype
                assert torch.equal(value, there[name])
    weights: dict[str, Any] = {"resample_group_by": "skill_type"}
    weights["resample_weights"] = {"navigation": 3}
    weighted = BehaviorLeRobotDataset("id", **weights)
    monkeypatch.setenv("PREDECODE_DATA", "shards")
    assert weighted.weight_groups() == BehaviorLeRobotDataset("id", **weights).weight_groups()


def test_the_mixture_of_two_outputs(dataset: BehaviorLeRobotDataset, jpeg_shards: Path) -> None:
    pizza = BehaviorLeRobotDataset("other", shards=jpeg_shards, tasks=["make_pizza"])
    mixture = MultiBehaviorLeRobotDataset([dataset, pizza], sample_weights=[0.5, 0.5])
    assert len(mixture) == 1712
    order = mixture.sampling_order
    assert order is not None
    drawn: NDArray[np.int64] = order.samples(np.arange(40))
    episodes = {int(mixture[int(index)]["episode_index"]) for index in drawn}
    assert episodes & {490010, 490040}
    assert episodes & {10, 20, 40}
