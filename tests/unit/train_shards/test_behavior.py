"""The drop-in over tiny outputs: items, arguments, order, pickling, subclasses, on-line items."""

import logging
import os
import pickle
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, SupportsIndex

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.support.stored import painted
from tests.support.texts import output_with_texts
from train_shards import behavior_items
from train_shards.b1k_state import LAYOUT_2025
from train_shards.behavior import BehaviorLeRobotDataset
from train_shards.dataset import ShardDataset
from train_shards.errors import UserError
from train_shards.sampling import ResumableSampler
from train_shards.selection import Span

HEAD = "observation.images.rgb.head"
LEFT = "observation.images.rgb.left_wrist"
FRAMES = [(e, f) for e, n in ((10, 12), (20, 6), (70010, 4)) for f in range(n)]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return output_with_texts(tmp_path_factory.mktemp("behavior") / "out")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PREDECODE_")]:
        monkeypatch.delenv(name)
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    behavior_items._report.cache_clear()


def opened(out: Path, **options: Any) -> BehaviorLeRobotDataset:
    return BehaviorLeRobotDataset("behavior-1k/tiny", shards=out, **options)


def ids(item: dict[str, Any]) -> tuple[int, int]:
    return item["episode_index"].item(), item["index"].item()


def test_an_item_holds_upstreams_keys_as_tensors(out: Path) -> None:
    item = opened(out)[13]
    assert set(item) == {
        HEAD, LEFT, "observation.state", "timestamp", "index", "episode_index", "task_index",
        "task", "subtask_text",
    }  # fmt: skip
    assert (ids(item), item["task_index"].item(), item["timestamp"].item()) == ((20, 1), 0, 1 / 30)
    for name in ("index", "episode_index", "task_index"):
        assert (item[name].shape, item[name].dtype) == ((), torch.int64)
    assert item["timestamp"].dtype == torch.float64
    assert (item["observation.state"].dtype, item["observation.state"].tolist()) == (
        torch.float32, [20.0, 1.0, 0.5],
    )  # fmt: skip
    assert (item[HEAD].shape, item[HEAD].dtype) == ((3, 16, 24), torch.uint8)
    assert item["task"] == item["subtask_text"] == "Open the drawer at once."


def test_the_index_is_honoured_and_names_its_frame(out: Path) -> None:
    dataset = opened(out)
    assert len(dataset) == 22
    for position in (21, 0, 3, 12, -1):
        item = dataset[position]
        assert ids(item) == FRAMES[position]
        for name, camera in ((HEAD, "head"), (LEFT, "left_wrist")):
            picture = painted(*FRAMES[position], camera)
            assert np.array_equal(item[name].permute(1, 2, 0).numpy(), picture)
    with pytest.raises(IndexError, match="sample 22: expected 0 to 21"):
        dataset[22]


def test_items_are_fresh_and_writable(out: Path) -> None:
    dataset = opened(out, delta_timestamps={"observation.state": [0.0, 1 / 30]})
    for name in (HEAD, "observation.state"):
        dataset[3][name].add_(1)
        assert torch.equal(dataset[3][name], opened(out)[3][name]) or name != HEAD
    assert dataset[3]["observation.state"].tolist() == [[10, 3, 0.5], [10, 4, 0.5]]


def test_windows_are_marked_where_they_leave_the_episode(out: Path) -> None:
    deltas = {"observation.state": [t / 30 for t in range(-1, 3)], HEAD: [-1 / 30, 0.0]}
    item = opened(out, delta_timestamps=deltas)[11]
    assert item["observation.state"][:, 1].tolist() == [10, 11, 11, 11]
    assert item["observation.state_is_pad"].tolist() == [False, False, True, True]
    assert item["observation.state_is_pad"].dtype == torch.bool
    assert item[HEAD].shape == (2, 3, 16, 24)
    assert item[f"{HEAD}_is_pad"].tolist() == [False, False]
    assert np.array_equal(item[HEAD][0].permute(1, 2, 0).numpy(), painted(10, 10, "head"))


def test_random_access_mode_gives_float_images(out: Path) -> None:
    image = opened(out, chunk_streaming_using_keyframe=False)[5][HEAD]
    assert image.dtype == torch.float32
    assert torch.equal((255 * image).to(torch.uint8), opened(out)[5][HEAD])


def test_transforms_see_a_tensor_as_upstream_hands_it_over(out: Path) -> None:
    seen = []

    def transform(image: torch.Tensor) -> torch.Tensor:
        seen.append((image.shape, image.dtype))
        return image.float()

    item = opened(out, image_transforms=transform, cameras=["head"])[0]
    assert seen == [((3, 16, 24), torch.uint8)]
    assert item[HEAD].dtype == torch.float32
    assert LEFT not in item


def test_tasks_by_name_or_index_and_episodes_by_position(out: Path) -> None:
    assert opened(out, tasks=["close_drawer"]).episodes == [70010]
    assert opened(out, tasks=[0]).episodes == [10, 20]
    # Task 7 has a single episode: position 1 is passed over there.
    assert opened(out, episodes=[1]).episodes == [20]
    assert opened(out, episodes=[0, 5]).episodes == [10, 70010]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"modalities": ["rgb", "depth"]},
            "no depth in the shards, which hold rgb; store it with predecode run ",
        ),
        ({"return_seg_instance": True}, "no segmentation among .*; store it with predecode run"),
        ({"episodes": [-1]}, "expected positions of 0 or more"),
        ({"fine_grained_level": 4}, "fine_grained_level 4: expected 0 to 3"),
        ({"fine_grained_level": (0, 1)}, r"fine_grained_level \(0, 1\)"),
        ({"compat": "fork"}, "fork: expected one of right, upstream"),
        ({"order": "random"}, "random: expected one of sampler, stream"),
        ({"tasks": ["dance"]}, "no task 'dance'"),
        ({"cameras": ["third_eye"]}, "third_eye"),
        ({"skill_list": ["press"]}, "expected 'name:weight'"),
        ({"delta_timestamps": {"action": [0.0]}}, "no column 'action'"),
    ],
)
def test_what_cannot_be_had_is_refused(out: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(out, **options)


def test_an_unknown_argument_is_an_error(out: Path) -> None:
    with pytest.raises(TypeError, match="video_bakend"):
        opened(out, video_bakend="pyav")


def test_arguments_without_effect_are_told_once(
    out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        opened(out, local_only=True, check_files=False, tolerance_s=1e-4, shuffle=False, seed=1)
    told = [r.getMessage() for r in caplog.records if "without effect" in r.getMessage()]
    arguments = "local_only=True, check_files=False, shuffle=False, seed=1"
    assert told == [f"without effect on items from shards: {arguments}"]


def test_weights_that_others_overrule_are_told(out: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    opened(out, skill_list=["press:1"], resample_group_by="task_skill", resample_weights={"a": 2})
    assert "without effect on items from shards: skill_list=['press:1']" in caplog.text
    opened(out, resample_weights={"a": 2}, resample_default_weight=0.5)
    assert "resample_weights={'a': 2}, resample_default_weight=0.5" in caplog.text


def test_the_output_is_named_in_three_ways(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(BehaviorLeRobotDataset("id", out)) == 22
    monkeypatch.setenv("PREDECODE_SHARDS", str(out))
    assert len(BehaviorLeRobotDataset("id", tmp_path)) == 22
    assert len(BehaviorLeRobotDataset("id")) == 22
    monkeypatch.setenv("PREDECODE_SHARDS", str(tmp_path / "nothing"))
    assert len(BehaviorLeRobotDataset("id", shards=out)) == 22
    with pytest.raises(UserError, match=r"nothing: no \.predecode/manifest\.json"):
        BehaviorLeRobotDataset("id")
    monkeypatch.delenv("PREDECODE_SHARDS")
    with pytest.raises(UserError, match="shards= and PREDECODE_SHARDS are not set, and root"):
        BehaviorLeRobotDataset("id", tmp_path)


def test_the_environment_speaks_for_a_trainer_that_passes_nothing_of_ours(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened(out, fine_grained_level=1)[3]["task"] == "move to"
    monkeypatch.setenv("PREDECODE_COMPAT", "upstream")
    assert opened(out, fine_grained_level=1)[3]["task"] == "open drawer"
    assert opened(out, fine_grained_level=1, compat="right")[3]["task"] == "move to"
    monkeypatch.setenv("PREDECODE_ORDER", "backwards")
    with pytest.raises(UserError, match="PREDECODE_ORDER=backwards"):
        opened(out)


def test_the_trainers_default_level_is_a_tuple(out: Path) -> None:
    assert opened(out, fine_grained_level=(0,))[3]["task"] == "Open the drawer. First find it."
    item = opened(out, fine_grained_level=(0,), compat="upstream")[3]
    assert item["task"] == "Open the drawer."
    assert "subtask_text" not in item


def test_weights_make_an_order_that_serves_no_frame_of_weight_0(out: Path) -> None:
    # Level 1: "move to" in frames 0 to 3 of episode 10, "open drawer" in 4 to 11, else sentences.
    dataset = opened(out, skill_list=["move to:3", "open drawer:1"])
    groups = [(group.weight, group.runs) for group in dataset.weight_groups()]
    assert groups == [(0.0, [(12, 18), (18, 22)]), (1.0, [(4, 12)]), (3.0, [(0, 4)])]
    order = dataset.sampling_order
    assert order is dataset.sampling_order
    sampler = ResumableSampler(
        len(dataset), rank=0, world_size=1, seed=3, shuffle=order or "global",
        digest=dataset.digest,
    )  # fmt: skip
    drawn = [position for epoch in range(50) for position in _epoch(sampler, epoch)]
    assert set(drawn) == set(range(12))
    # 12 of 20 for the four frames of weight 3; four standard deviations are about 65 of 1100.
    assert abs(sum(position < 4 for position in drawn) - 660) < 65


def _epoch(sampler: ResumableSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_without_weights_there_is_no_order_of_its_own(out: Path) -> None:
    assert opened(out).sampling_order is None
    assert [g.runs for g in opened(out).weight_groups()] == [[(0, 22)]]


def test_weights_of_skills_that_no_frame_has_are_refused(out: Path) -> None:
    with pytest.raises(UserError, match="every frame of the selection has weight 0"):
        _ = opened(out, skill_list=["dance:1"]).sampling_order


def test_annotations_are_read_for_weights_only(out: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(out, tmp_path / "own"))
    for path in (own / "meta/annotations").rglob("*.json"):
        path.write_text("{")
    dataset = opened(own, subtask_source="orchestrator")
    assert dataset[0]["subtask_text"] == "move to"
    weighted = opened(own, resample_group_by="skill_type", resample_weights={"navigation": 2})
    assert len(weighted) == 22


def test_stream_gives_consecutive_frames_whatever_the_index(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [10, 20, 70010]
    np.random.default_rng(42).shuffle(blocks)
    first = int(np.random.default_rng(42).integers(0, 3))
    expected = [frame for e in blocks[first:] + blocks[:first] for frame in FRAMES if frame[0] == e]
    dataset = opened(out, order="stream")
    assert [ids(dataset[-1]) for _ in range(22)] == expected
    assert [ids(item) for item in dataset.__getitems__([7] * 22)] == expected
    assert dataset.sampling_order is None
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    other = opened(out, order="stream", shuffle=False)
    assert {ids(other[0])[0] for _ in range(6)} == {20}


def test_stream_takes_weighted_frames_only(out: Path) -> None:
    dataset = opened(out, order="stream", skill_list=["open drawer:1"])
    assert [ids(dataset[0])[1] for _ in range(16)] == [*range(4, 12)] * 2


class SkillLike(BehaviorLeRobotDataset):
    """What the trainer's skill data set does: the parent's item, another prompt."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.phrases: dict[int, str] = {}

    def __getitem__(self, index: Any) -> dict[str, Any]:
        item = super().__getitem__(index)
        frame = round(item["timestamp"].item() * self.fps)
        path = self.root / "subtasks" / f"task-{item['task_index'].item():04d}" / "phrase.txt"
        item["task"] = f"{path.read_text()} {item['episode_index'].item()}:{frame}"
        return item


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_subclass_keeps_its_own_items_in_a_loader(
    out: Path, tmp_path: Path, num_workers: int
) -> None:
    own = Path(shutil.copytree(out, tmp_path / "own"))
    (own / "meta/subtasks/task-0000").mkdir(parents=True)
    (own / "meta/subtasks/task-0000/phrase.txt").write_text("grasp")
    dataset = SkillLike("id", tmp_path / "elsewhere", shards=own, tasks=[0])
    assert dataset.root == own / "meta"
    loader = DataLoader(
        dataset, batch_size=6, num_workers=num_workers,
        multiprocessing_context="spawn" if num_workers else None,
    )  # fmt: skip
    tasks = [task for batch in loader for task in batch["task"]]
    assert tasks == [f"grasp {e}:{f}" for e, f in FRAMES[:18]]


def test_the_root_is_the_one_given_where_the_output_has_no_subtasks(
    out: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    dataset = BehaviorLeRobotDataset("id", tmp_path, shards=out)
    assert (dataset.root, dataset.repo_id, dataset.fps) == (tmp_path, "id", 30)
    assert f"meta/subtasks: not there; .root, where subclasses look for it, is {tmp_path}" in (
        caplog.text
    )
    assert opened(out).root == out / "meta"


def test_pickles_small_after_use_and_serves_the_same(out: Path) -> None:
    dataset = opened(out, skill_list=["all", "move to:3"], fine_grained_level=2)
    fresh = pickle.dumps(dataset)
    expected = [dataset[i] for i in range(22)]
    assert dataset.sampling_order is not None
    assert dataset.episodes == [10, 20, 70010]
    data = pickle.dumps(dataset)
    assert len(data) == len(fresh) < 3000
    copied = pickle.loads(data)
    assert all(ids(copied[i]) == ids(expected[i]) for i in range(22))
    assert [copied[i]["task"] for i in range(22)] == [item["task"] for item in expected]
    assert copied.sampling_order.name == dataset.sampling_order.name


class StandIn:
    """On-line items as another class makes them: here those of an output beside the data set."""

    def __init__(self, root: Path, *, backend: str = "pyav", **options: Any) -> None:
        self.given = (root, backend, options)
        stored = {name: value for name, value in options.items() if name != "modalities"}
        self.items = ShardDataset(root.parent / "out", **stored)
        self.digest, self.fps, self.state_layout = "on line", (30, 1), LAYOUT_2025
        self.run_scope = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: SupportsIndex) -> dict[str, Any]:
        return self.items[position]

    def __getitems__(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        return self.items.__getitems__(positions)

    def spans(self) -> list[Span]:
        return self.items.spans()


def test_online_items_come_from_the_class_that_is_named(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(out, tmp_path / "out")
    root = tmp_path / "source"
    shutil.copytree(out / "meta/orchestrators", root / "orchestrators")
    (root / "meta").mkdir()
    for name in ("tasks.jsonl", "episodes.jsonl"):
        shutil.copy(out / "meta" / name, root / "meta" / name)
    module = ModuleType("predecode.online")
    module.OnlineDataset = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "predecode.online", module)
    monkeypatch.setenv("PREDECODE_DATA", "online")
    with pytest.raises(UserError, match="neither PREDECODE_ROOT nor root names a data set"):
        BehaviorLeRobotDataset("id")
    dataset = BehaviorLeRobotDataset("id", root, tasks=["open_drawer"], fine_grained_level=1)
    assert [dataset[i]["task"] for i in (0, 4, 12)] == [
        "move to", "open drawer", "Open the drawer at once.",
    ]  # fmt: skip
    assert (dataset.digest, dataset.root, dataset.episodes) == ("on line", root, [10, 20])
    monkeypatch.setenv("PREDECODE_ROOT", str(root))
    monkeypatch.setenv("PREDECODE_BACKEND", "torchcodec")
    items = BehaviorLeRobotDataset("id", tmp_path / "nowhere")._items
    assert isinstance(items, StandIn)
    assert items.given[:2] == (root, "torchcodec")
    assert set(items.given[2]) == {
        "tasks", "episodes", "cameras", "delta_timestamps", "image_dtype", "modalities",
        "seg_instance",
    }  # fmt: skip
    assert (items.given[2]["modalities"], items.given[2]["cameras"]) == (["rgb"], None)
    with pytest.raises(UserError, match=r"modalities \['dept'\]: expected some of rgb, depth"):
        BehaviorLeRobotDataset("id", modalities=["dept"])


def test_words_of_the_environment_are_checked(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDECODE_DATA", "live")
    with pytest.raises(UserError, match="PREDECODE_DATA=live: expected one of shards, online"):
        opened(out)
    monkeypatch.setenv("PREDECODE_DATA", "online")
    monkeypatch.setitem(sys.modules, "predecode.online", None)
    with pytest.raises(UserError, match="PREDECODE_DATA=online: .*predecode.online"):
        BehaviorLeRobotDataset("id", out)


def test_a_url_has_no_root_for_subclasses_unless_one_is_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remote = behavior_items.OpenedItems(StandIn, "s3://bucket/out", "meta/")  # type: ignore[arg-type]
    assert behavior_items.root_of_texts(tmp_path, remote) == tmp_path
    assert not caplog.records
    behavior_items.root_of_texts(None, remote)
    assert "s3://bucket/out: no subclass finds subtasks/ behind a URL" in caplog.text
