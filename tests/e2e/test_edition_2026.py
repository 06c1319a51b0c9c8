"""The 2026 edition through the whole chain: files that several episodes share."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from predecode.online import OnlineDataset
from predecode.sources.barcode import Identity, read
from predecode.sources.registry import open_source
from tests.support.edition_2026 import CAMERAS, EPISODES, HEAD, LEFT, LENGTHS, RIGHT, SENTENCES
from tests.support.jobs import command_here, run_here
from tests.support.texts import TEMPLATES, write_json
from train_shards.behavior import BehaviorLeRobotDataset
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.manifest import load_manifest
from train_shards.norm_stats import corpus_stats

pytestmark = pytest.mark.slow


def test_every_jpeg_tells_its_own_episode_frame_and_camera(shards_2026: Path) -> None:
    dataset = ShardDataset(shards_2026)
    assert len(dataset) == sum(LENGTHS.values()) == 947
    seen = []
    for item in map(dataset.__getitem__, range(len(dataset))):
        episode, frame = int(item["episode_index"]), int(item["frame_index"])
        for camera in CAMERAS:
            assert read(item[IMAGE_KEY + camera]) == Identity(episode, frame, camera)
        task = 0 if episode < 4 else 49 if episode < 6 else 50
        assert (item["task_index"], item["task"]) == (task, SENTENCES[task])
        seen.append((episode, frame))
    assert seen == [(e, f) for e in LENGTHS for f in range(LENGTHS[e])]


def test_items_hold_the_rows_of_the_source(root_2026: Path, shards_2026: Path) -> None:
    """Against the parquet files as pyarrow reads them, whose order is that of ``index``."""
    paths = sorted(root_2026.glob("data/*/*.parquet"))
    source = pa.concat_tables([pq.read_table(path) for path in paths]).to_pylist()
    dataset = ShardDataset(shards_2026, cameras=["head"])
    assert len(source) == len(dataset) == 947
    item = {}
    for position, expected in enumerate(source):
        item = dataset[position]
        assert expected["index"] == position
        for name, value in expected.items():
            assert np.array_equal(item[name], np.asarray(value, item[name].dtype)), name
    assert item["observation.state"].shape == (61,)
    assert item["action"].shape == (23,)
    assert item[HEAD.replace("rgb", "robot2cam_pose")].shape == (7,)
    assert item["timestamp"].dtype == np.float32
    assert item["next.terminated"].dtype == np.bool_


def test_the_manifest_keeps_the_sources_keys(shards_2026: Path) -> None:
    manifest = load_manifest(shards_2026)
    assert manifest.settings.cameras == {"head": HEAD, "left_wrist": LEFT, "right_wrist": RIGHT}
    assert (manifest.fps, manifest.tasks) == ((30, 1), SENTENCES)
    names = {"turning_on_radio": 0, "make_pizza": 49, "freeze_fruit": 50}
    assert manifest.task_names == names
    copied = {p.relative_to(shards_2026).as_posix() for p in shards_2026.glob("meta/**/*.json")}
    assert copied == {
        "meta/info.json", "meta/stats.json",
        "meta/annotations/task-0000/episode_00000050.json",
        "meta/annotations/task-0049/episode_00490030.json",
        "meta/annotations/task-0050/episode_00500010.json",
    }  # fmt: skip
    assert (shards_2026 / EPISODES).is_file()


def test_on_line_items_equal_stored_ones(root_2026: Path, tmp_path: Path) -> None:
    """Windows that reach over the ends of episodes, which go on in the same file."""
    run_here(root_2026, tmp_path, tasks="0", codec="png", size="64", stride=5)
    deltas = {
        "action": [t / 30 for t in range(-3, 4)],
        IMAGE_KEY + "right_wrist": [-10 / 30, 0.0],
    }
    shards = ShardDataset(tmp_path, delta_timestamps=deltas)
    online = OnlineDataset(root_2026, size="64", stride=5, tasks=[0], delta_timestamps=deltas)
    assert len(shards) == len(online) == 13 + 20 + 9 + 16
    for position in range(len(shards)):
        stored, fresh = shards[position], online[position]
        assert stored.keys() == fresh.keys()
        for key, value in stored.items():
            assert np.array_equal(value, fresh[key]), key
    first_of_1 = shards[13]
    assert first_of_1["action_is_pad"].tolist() == [True] * 3 + [False] * 4
    windows = [read(picture) for picture in first_of_1[IMAGE_KEY + "right_wrist"]]
    assert windows == [Identity(1, 0, "right_wrist")] * 2


def test_native_pixels_are_those_of_the_ffmpeg_command_line(
    root_2026: Path, tmp_path: Path
) -> None:
    """Episode 2 begins at picture 161 of its file, no multiple of the GOP."""
    episodes = "00000002"
    run_here(root_2026, tmp_path, episodes=episodes, codec="png", size="native", stride=6)
    path = root_2026 / f"videos/{LEFT}/chunk-000/file-000.mp4"
    select = "select=between(n\\,161\\,203)*not(mod(n-161\\,6))"
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", select, "-fps_mode", "passthrough"]
    raw = subprocess.run(
        [*words, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True
    ).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(-1, 160, 160, 3)
    dataset = ShardDataset(tmp_path)
    assert len(dataset) == len(expected) == 8
    for position, picture in enumerate(expected):
        stored = dataset[position][IMAGE_KEY + "left_wrist"]
        # The command line's conversion may be another build's, one level away at most.
        assert np.abs(stored.astype(int) - picture).max() <= 1


STATE = "observation.state"
# Source: the two editions' index tables; place in 2026 -> place in 2025.
PLACES = {
    (0, 3): (253, 256), (3, 10): (158, 165), (10, 17): (179, 186), (17, 20): (186, 189),
    (20, 24): (189, 193), (24, 26): (193, 195), (26, 28): (195, 197), (28, 35): (197, 204),
    (35, 42): (218, 225), (42, 45): (225, 228), (45, 49): (228, 232), (49, 51): (232, 234),
    (51, 53): (234, 236), (53, 57): (236, 240), (57, 61): (240, 244),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["shards", "online"])
def test_the_state_in_the_places_of_2025(root_2026: Path, shards_2026: Path, kind: str) -> None:
    deltas = {STATE: [-1 / 30, 0.0, 1 / 30]}
    first = sum(LENGTHS.values()) - LENGTHS[6]

    def open_it(**named: Any) -> ShardDataset | OnlineDataset:
        named |= {"state": "as_2025", "tasks": [50], "cameras": ["head"]}
        if kind == "shards":
            return ShardDataset(shards_2026, **named)
        return OnlineDataset(root_2026, only={6}, **named)

    for position, rows in ((0, [0, 0, 1]), (40, [39, 40, 41]), (84, [83, 84, 84])):
        table = pq.read_table(root_2026 / "data/chunk-050/file-000.parquet")
        source = np.array(table[STATE].to_pylist(), np.float32)[rows]
        expected = np.zeros((3, 256), np.float32)
        for (start, stop), (there, end) in PLACES.items():
            expected[:, there:end] = source[:, start:stop]
        window = open_it(delta_timestamps=deltas)[position][STATE]
        assert window.dtype == np.float32
        assert np.array_equal(window, expected)
        assert np.array_equal(open_it()[position][STATE], expected[1])
        assert open_it()[position]["index"] == first + position


def test_the_manifest_tells_the_layout(root_2026: Path, shards_2026: Path) -> None:
    settings = json.loads((shards_2026 / ".predecode/manifest.json").read_text())["settings"]
    assert settings["state_layout"] == "b1k-2026-61"
    assert ShardDataset(shards_2026)[0][STATE].shape == (61,)
    assert open_source("b1k", root_2026).state_layout == "b1k-2026-61"


def test_statistics_for_the_policy_are_those_of_the_rows(shards_2026: Path) -> None:
    """What extract_state_from_proprio takes, from the places of 2026."""
    stats, num_frames = corpus_stats(shards_2026)
    dataset = ShardDataset(shards_2026, cameras=["head"])
    states = np.stack([dataset[position][STATE] for position in range(947)])
    left, right = (states[:, a:b].sum(axis=1, keepdims=True) for a, b in ((24, 26), (49, 51)))
    joints = [states[:, a:b] for a, b in ((0, 3), (53, 57), (3, 10), (28, 35))]
    policy = np.concatenate([*joints, left, right], axis=1).astype(np.float64)
    assert num_frames == len(policy) == 947
    assert np.allclose(stats["state"].mean, policy.mean(axis=0), atol=1e-6)
    assert np.allclose(stats["state"].std, policy.std(axis=0), atol=1e-5)


def test_through_the_command_line(root_2026: Path, tmp_path: Path) -> None:
    words = ("--size", "64", "--stride", "7", "--num-cpus", "2", "--embed-lowdim")
    done = command_here("run", "--src", "b1k", "--root", root_2026, "--out", tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "7 episodes, 139 samples, 417 images" in done.stdout
    done = command_here("verify", tmp_path, "--all", "--num-cpus", "2")
    assert (done.returncode, "proven" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize("data", ["shards", "online"])
def test_the_drop_in_serves_it_as_2025(
    root_2026: Path, shards_2026: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: str
) -> None:
    monkeypatch.setenv("PREDECODE_DATA", data)
    write_json(tmp_path / "templates.json", TEMPLATES)
    write_json(tmp_path / "names.json", {})
    dataset = BehaviorLeRobotDataset(
        "behavior-1k/2026-challenge-demos", root_2026, shards=shards_2026, tasks=["make_pizza"],
        subtask_source="annotations_skill", subtask_template_path=tmp_path / "templates.json",
        subtask_object_name_mapping_path=tmp_path / "names.json",
        delta_timestamps={"action": [t / 30 for t in range(32)]},
    )  # fmt: skip
    assert (len(dataset), dataset.episodes) == (LENGTHS[4] + LENGTHS[5], [4, 5])
    source = pq.read_table(root_2026 / "data/chunk-049/file-000.parquet").to_pylist()
    # Skills of raw id 490030: frames 12 to 259 and 260 to 521; episode 5 has no annotation.
    move, place = "move to the oven wuinhm", "place the pizza dough in the oven wuinhm"
    said = {11: SENTENCES[49], 12: move, 259: move, 260: place, 522: SENTENCES[49]}
    for position, subtask in {**said, 531: SENTENCES[49], 580: SENTENCES[49]}.items():
        item, row = dataset[position], source[position]
        expected = np.zeros(256, np.float32)
        for (start, stop), (there, end) in PLACES.items():
            expected[there:end] = np.array(row[STATE], np.float32)[start:stop]
        assert item[STATE].numpy().tobytes() == expected.tobytes()
        assert item["action"][0].tolist() == row["action"]
        assert item["action"].shape == (32, 23)
        assert (item["task"], item["subtask_text"]) == (SENTENCES[49], subtask)
        ids = [item[name].item() for name in ("index", "episode_index", "task_index")]
        assert ids == [row["frame_index"], row["episode_index"], 49]
        assert item["timestamp"].dtype == torch.float64
        assert item["timestamp"].item() == row["timestamp"]
        picture = item[IMAGE_KEY + "head"].permute(1, 2, 0).numpy()
        assert read(np.ascontiguousarray(picture)) == Identity(ids[1], ids[0], "head")


def test_the_drop_in_weighs_it_by_skill(shards_2026: Path) -> None:
    """Episodes 0, 4 and 6 have skills; a frame without one has the default's weight."""
    dataset = BehaviorLeRobotDataset(
        "b1k", shards=shards_2026, resample_group_by="skill_description",
        resample_weights={"move to": 3.0}, resample_default_weight=1.0,
    )  # fmt: skip
    heavy = [g for g in dataset.weight_groups() if g.weight == 3.0]
    runs = [run for group in heavy for run in group.runs]
    first_of_4, first_of_6 = 61 + 100 + 43 + 77, 947 - 85
    assert runs == [(0, 20), (first_of_4 + 12, first_of_4 + 260), (first_of_6, first_of_6 + 40)]
