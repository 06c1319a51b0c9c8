"""Segmentation of the 2025 edition through the whole chain: the right frame, the exact ids."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from predecode.online import OnlineDataset
from predecode.sources.barcode import Identity
from tests.support.jobs import fingerprint, run_here
from tests.support.modalities import CAMERAS, LENGTHS_2025, decoded, identity_of, resized
from train_shards.behavior import BehaviorLeRobotDataset
from train_shards.dataset import ShardDataset
from train_shards.errors import DataError, UserError

pytestmark = pytest.mark.slow

KEY = "observation.images.seg_instance_id."
OBJECTS = "observation.images.seg_instance."
IMAGES = [f"{camera}_seg" for camera in CAMERAS]
SENSORS = {
    "head": "robot_r1::robot_r1:zed_link:Camera:0",
    "left_wrist": "robot_r1::robot_r1:left_realsense_link:Camera:0",
    "right_wrist": "robot_r1::robot_r1:right_realsense_link:Camera:0",
}


def episode_json(root: Path, episode: int) -> dict[str, Any]:
    path = root / f"meta/episodes/task-0000/episode_{episode:08d}.json"
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def brute_force(rgb: NDArray[np.uint8], ids: list[int]) -> NDArray[np.int64]:
    """b1k-format.md 4.4: the nearest of all palette colours, first of equals, in integers."""
    k = round(len(ids) ** (1 / 3))
    k += k**3 < len(ids)
    first, others = np.linspace(16, 235, k), np.linspace(16, 240, k)
    colours = np.array(
        [(int(y), int(u), int(v)) for y in first for u in others for v in others][: len(ids)]
    )
    pixels = rgb.reshape(-1, 1, 3).astype(np.int64)
    nearest: NDArray[np.int64] = ((pixels - colours) ** 2).sum(axis=2).argmin(axis=1)
    return np.array(ids, np.int64)[nearest].reshape(rgb.shape[:2])


@pytest.mark.parametrize("size", ["native", "224"])
def test_every_picture_is_of_its_own_frame(
    modal_root: Path, modal_shards: Path, tmp_path: Path, size: str
) -> None:
    """In the barcode id 0 is dark and id 1 is light."""
    out = modal_shards
    if size != "native":
        out = tmp_path / "shards"
        run_here(modal_root, out, modalities="seg_instance_id", size=size)
    dataset = ShardDataset(out, cameras=IMAGES)
    found = [
        {identity_of(item[KEY + camera] == 1) for camera in CAMERAS}
        for item in map(dataset.__getitem__, range(len(dataset)))
    ]
    assert found == [
        {Identity(episode, frame, camera) for camera in CAMERAS}
        for episode, length in LENGTHS_2025.items()
        for frame in range(length)
    ]


@pytest.mark.parametrize("camera", CAMERAS)
def test_ids_are_those_of_a_matrix_of_distances(
    modal_root: Path, modal_shards: Path, tmp_path: Path, camera: str
) -> None:
    run_here(
        modal_root, tmp_path / "small", modalities="seg_instance_id", cameras=camera,
        episodes="00000020", size="100x60", stride=25,
    )  # fmt: skip
    native = ShardDataset(modal_shards, cameras=[f"{camera}_seg"])
    small = ShardDataset(tmp_path / "small")
    ids = episode_json(modal_root, 20)[f"{SENSORS[camera]}::unique_ins_ids"]
    path = f"videos/task-0000/observation.images.seg_instance_id.{camera}/episode_00000020.mp4"
    num_compared = 0
    for frame, rgb in enumerate(decoded(modal_root / path, "rgb24")):
        if frame % 25 == 0:
            expected = brute_force(rgb, ids)
            got = native[120 + frame][KEY + camera]
            assert got.dtype == np.int64
            assert np.array_equal(got, expected)
            # 60 rows: a square of 60 in the middle of 100 columns, zeros beside it.
            padded = np.zeros((60, 100), np.int64)
            padded[:, 20:80] = resized(expected, (60, 60))
            assert np.array_equal(small[frame // 25][KEY + camera], padded)
            assert len(np.unique(got)) > 3
            num_compared += 1
    assert num_compared == 10
    assert max(ids) > 255
    assert ids != sorted(ids)


def test_on_line_items_equal_stored_ones(modal_root: Path, modal_shards: Path) -> None:
    options: dict[str, Any] = {
        "cameras": ["head_seg", "right_wrist_seg"],
        "delta_timestamps": {f"{KEY}head": [-0.1, 0.0]},
        "seg_instance": True,
    }
    online = OnlineDataset(modal_root, size="native", modalities=["seg_instance_id"], **options)
    shards = ShardDataset(modal_shards, **options)
    assert len(online) == len(shards) == 370
    for position in (0, 40, 69, 119, 120, 369):
        stored, fresh = shards[position], online[position]
        assert stored.keys() == fresh.keys()
        assert stored[f"{OBJECTS}head"].shape == (2, 240, 240)
        for name, value in stored.items():
            assert np.array_equal(value, fresh[name]), name


def expected_objects(root: Path, ids: NDArray[np.int64], episode: int, frame: int) -> Any:
    """The fork's rule, from the source's own files."""
    annotation = json.loads(
        (root / f"annotations/task-0000/episode_{episode:08d}.json").read_text()
    )
    names = json.loads(episode_json(root, episode)["ins_id_mapping"])
    numbers = np.zeros_like(ids)
    current = [
        skill
        for skill in annotation["skill_annotation"]
        if skill["frame_duration"][0] <= frame < skill["frame_duration"][1]
    ]
    for number, wanted in enumerate(current[0]["object_id"][0] if current else [], start=1):
        for text, path in names.items():
            if path.count("/") > 2 and path.split("/")[3] == wanted:
                numbers[ids == int(text)] = number
    return numbers


def test_objects_of_the_current_skill(modal_root: Path, modal_shards: Path) -> None:
    """Of episode 10 the last 20 frames have no skill, of episode 20 frames 60 to 74."""
    dataset = ShardDataset(modal_shards, cameras=["head_seg"], seg_instance=True)
    has_objects = []
    for position in (0, 39, 40, 99, 100, 119, 120, 179, 180, 194, 195, 369):
        item = dataset[position]
        episode, frame = int(item["episode_index"]), int(item["frame_index"])
        numbers = item[f"{OBJECTS}head"]
        assert numbers.dtype == np.int64
        expected = expected_objects(modal_root, item[f"{KEY}head"], episode, frame)
        assert np.array_equal(numbers, expected), (episode, frame)
        has_objects.append(bool(numbers.any()))
    assert has_objects == [True] * 4 + [False] * 2 + [True] * 2 + [False] * 2 + [True] * 2


def test_names_stand_in_the_output_alone(modal_root: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "b1k", tmp_path / "out"
    shutil.copytree(modal_root, root)
    options: dict[str, Any] = {"modalities": "seg_instance_id", "cameras": "head", "stride": 60}
    run_here(root, out, **options)
    names = sorted(p.relative_to(out).as_posix() for p in out.glob("meta/instances/*/*"))
    assert names == [f"meta/instances/task-0000/episode_{e:08d}.json" for e in (10, 20)]
    slim = json.loads((out / names[0]).read_text())
    source = episode_json(root, 10)
    assert slim["ids"] == {"head": source[f"{SENSORS['head']}::unique_ins_ids"]}
    assert set(slim["names"]) == set(json.loads(source["ins_id_mapping"])) - {"0", "1"}
    assert "radio_89" in slim["names"].values()
    assert (out / names[0]).stat().st_size < 3000
    before = fingerprint(out)
    assert run_here(root, out, **options).num_new_images == 0
    assert fingerprint(out) == before
    run_here(root, tmp_path / "again", **options)
    assert fingerprint(tmp_path / "again") == before
    shutil.rmtree(root)
    assert ShardDataset(out, seg_instance=True)[0][f"{OBJECTS}head"].any()
    (out / names[0]).unlink()
    with pytest.raises(DataError, match="meta/instances/task-0000/episode_00000010.json: not th"):
        ShardDataset(out, seg_instance=True)[0]


def test_without_segmentation_there_are_neither_names_nor_objects(jpeg_shards: Path) -> None:
    assert not (jpeg_shards / "meta/instances").exists()
    with pytest.raises(UserError, match=r"seg_instance: no segmentation among \['head', "):
        ShardDataset(jpeg_shards, seg_instance=True)


@pytest.mark.parametrize("key", ["ins_id_mapping", f"{SENSORS['head']}::unique_ins_ids"])
def test_an_episode_whose_ids_nobody_can_name_is_quarantined(
    modal_root: Path, tmp_path: Path, key: str
) -> None:
    root = tmp_path / "b1k"
    shutil.copytree(modal_root, root)
    content = episode_json(root, 10)
    del content[key]
    path = "meta/episodes/task-0000/episode_00000010.json"
    (root / path).write_text(json.dumps(content))
    made = run_here(root, tmp_path / "out", modalities="seg_instance_id", stride=60)
    assert {e: fault.path for e, fault in made.faults.items()} == {10: path}
    assert key in made.faults[10].problem


def test_the_drop_in_serves_what_the_shards_hold(modal_root: Path, modal_shards: Path) -> None:
    dataset = BehaviorLeRobotDataset(
        "behavior-1k/2025-challenge-demos",
        modal_shards,
        modalities=["rgb", "depth", "seg_instance_id"],
        cameras=["head"],
        return_seg_instance=True,
    )
    item = dataset[45]
    assert {
        name: (str(value.dtype), tuple(value.shape))
        for name, value in item.items()
        if "images" in name
    } == {
        "observation.images.rgb.head": ("torch.uint8", (3, 240, 240)),
        "observation.images.depth.head": ("torch.float32", (240, 240)),
        "observation.images.seg_instance_id.head": ("torch.int64", (240, 240)),
        "observation.images.seg_instance.head": ("torch.int64", (240, 240)),
    }
    ids = item[f"{KEY}head"].numpy()
    expected = expected_objects(modal_root, ids, 10, 45)
    assert expected.any()
    assert np.array_equal(item[f"{OBJECTS}head"].numpy(), expected)


def test_the_drop_in_refuses_what_the_shards_lack(jpeg_shards: Path) -> None:
    asked: list[dict[str, Any]] = [{"modalities": ["rgb", "depth"]}, {"return_seg_instance": True}]
    for options in asked:
        with pytest.raises(UserError, match="store it with predecode run --modalities"):
            BehaviorLeRobotDataset("behavior-1k/2025", jpeg_shards, **options)
