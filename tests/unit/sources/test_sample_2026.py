"""The sample of the 2026 edition against the published layout, by ffprobe, ffmpeg and pyarrow."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predecode.sources import barcode
from predecode.sources.barcode import Identity
from predecode.sources.sample_2026 import make_sample_2026
from tests.support.jobs import command
from train_shards.errors import UserError

pytestmark = pytest.mark.slow

LENGTHS = {0: 61, 1: 100, 2: 43, 3: 77, 4: 531, 5: 50, 6: 85}
HEAD = "observation.rgb.zed_link_camera_0"
LEFT = "observation.rgb.left_realsense_link_camera_0"
RIGHT = "observation.rgb.right_realsense_link_camera_0"
FILES = {
    f"{HEAD}/chunk-000/file-000": [0],
    f"{HEAD}/chunk-000/file-001": [1, 2],
    f"{HEAD}/chunk-000/file-002": [3],
    f"{HEAD}/chunk-049/file-000": [4],
    f"{HEAD}/chunk-049/file-001": [5],
    f"{HEAD}/chunk-050/file-000": [6],
    f"{LEFT}/chunk-000/file-000": [0, 1, 2],
    f"{LEFT}/chunk-000/file-001": [3],
    f"{LEFT}/chunk-049/file-000": [4, 5],
    f"{LEFT}/chunk-050/file-000": [6],
    f"{RIGHT}/chunk-000/file-000": [0, 1, 2, 3],
    f"{RIGHT}/chunk-049/file-000": [4, 5],
    f"{RIGHT}/chunk-050/file-000": [6],
}
DEPTH_HEAD, DEPTH_LEFT, DEPTH_RIGHT = (
    key.replace("rgb", "depth_linear") for key in (HEAD, LEFT, RIGHT)
)
DEPTH_FILES = {
    f"{DEPTH_HEAD}/chunk-000/file-000": [0],
    f"{DEPTH_HEAD}/chunk-000/file-001": [1],
    f"{DEPTH_HEAD}/chunk-000/file-002": [2, 3],
    f"{DEPTH_HEAD}/chunk-049/file-000": [4],
    f"{DEPTH_HEAD}/chunk-049/file-001": [5],
    f"{DEPTH_HEAD}/chunk-050/file-000": [6],
    f"{DEPTH_LEFT}/chunk-000/file-000": [0, 1],
    f"{DEPTH_LEFT}/chunk-000/file-001": [2, 3],
    f"{DEPTH_LEFT}/chunk-049/file-000": [4],
    f"{DEPTH_LEFT}/chunk-049/file-001": [5],
    f"{DEPTH_LEFT}/chunk-050/file-000": [6],
    f"{DEPTH_RIGHT}/chunk-000/file-000": [0],
    f"{DEPTH_RIGHT}/chunk-000/file-001": [1, 2, 3],
    f"{DEPTH_RIGHT}/chunk-049/file-000": [4, 5],
    f"{DEPTH_RIGHT}/chunk-050/file-000": [6],
}
TABLES = {
    "chunk-000/file-000": [0, 1],
    "chunk-000/file-001": [2, 3],
    "chunk-049/file-000": [4, 5],
    "chunk-050/file-000": [6],
}


def files(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def ffprobe(path: Path, entries: str) -> list[list[str]]:
    words = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", entries]
    text = subprocess.run(
        [*words, "-of", "csv=p=0", str(path)], check=True, capture_output=True, text=True
    ).stdout
    return [line.rstrip(",").split(",") for line in text.splitlines()]


def column(table: pa.Table, name: str) -> np.ndarray:
    array = table[name].combine_chunks()
    if pa.types.is_fixed_size_list(array.type):
        return np.asarray(array.flatten()).reshape(len(array), -1)
    return np.asarray(array)


def test_same_arguments_give_the_same_bytes(root_2026: Path, tmp_path: Path) -> None:
    made = make_sample_2026(tmp_path / "again", modalities=("rgb",), num_processes=1)
    assert files(made.root) == files(root_2026)
    assert (made.num_episodes, made.num_frames) == (7, 947)
    assert made.num_bytes == sum(p.stat().st_size for p in root_2026.rglob("*") if p.is_file())
    assert list(tmp_path.iterdir()) == [made.root]


def test_files_are_the_published_ones(root_2026: Path) -> None:
    expected = {f"videos/{name}.mp4" for name in FILES} | {f"data/{n}.parquet" for n in TABLES}
    expected |= {f"meta/episodes/chunk-{task:03d}/file-000.parquet" for task in (0, 49, 50)}
    expected |= {f"meta/{n}" for n in ("info.json", "stats.json", "tasks.jsonl", "tasks.parquet")}
    raw = {0: 50, 49: 490030, 50: 500010}
    expected |= {f"annotations/task-{t:04d}/episode_{r:08d}.json" for t, r in raw.items()}
    assert set(files(root_2026)) == expected


@pytest.mark.parametrize("name", FILES)
def test_keyframes_stand_every_eight_from_each_episodes_start(root_2026: Path, name: str) -> None:
    packets = ffprobe(root_2026 / f"videos/{name}.mp4", "packet=pts,dts,flags")
    starts = np.cumsum([0, *(LENGTHS[e] for e in FILES[name])]).tolist()
    assert len(packets) == starts[-1]
    assert [int(p[0]) for p in packets] == list(range(0, 512 * starts[-1], 512))
    assert all(packet[0] == packet[1] for packet in packets), "B frames"
    expected = [
        frame
        for start, episode in zip(starts, FILES[name], strict=False)
        for frame in range(start, start + LENGTHS[episode], 8)
    ]
    assert [n for n, packet in enumerate(packets) if "K" in packet[2]] == expected


def test_recipe(root_2026: Path) -> None:
    entries = "stream=codec_name,profile,width,height,pix_fmt,color_range,r_frame_rate,time_base"
    side = {HEAD: "240", LEFT: "160", RIGHT: "160"}
    for name in FILES:
        (found,) = ffprobe(root_2026 / f"videos/{name}.mp4", entries)
        px = side[name.split("/", maxsplit=1)[0]]
        assert found == ["hevc", "Main", px, px, "yuv420p", "tv", "30/1", "1/15360"]


def test_pictures_of_a_shared_file_tell_their_own_episode(root_2026: Path) -> None:
    """Decoded by the ffmpeg command line, across the borders of episodes."""
    path = root_2026 / f"videos/{RIGHT}/chunk-000/file-000.mp4"
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    raw = subprocess.run(
        [*words, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], check=True, capture_output=True
    ).stdout
    pictures = np.frombuffer(raw, np.uint8).reshape(-1, 160, 160, 3)
    expected = [Identity(e, f, "right_wrist") for e in (0, 1, 2, 3) for f in range(LENGTHS[e])]
    assert [barcode.read(picture) for picture in pictures] == expected


def test_depth_files_are_cut_and_encoded_in_their_own_way(depth_root_2026: Path) -> None:
    found = {path for path in files(depth_root_2026) if path.startswith("videos/")}
    assert found == {f"videos/{name}.mp4" for name in DEPTH_FILES}
    entries = "stream=codec_name,profile,width,height,pix_fmt,r_frame_rate,time_base"
    for name, episodes in DEPTH_FILES.items():
        path = depth_root_2026 / f"videos/{name}.mp4"
        px = "240" if DEPTH_HEAD in name else "160"
        assert ffprobe(path, entries) == [["hevc", "Rext", px, px, "gray12le", "30/1", "1/15360"]]
        packets = ffprobe(path, "packet=pts,dts,flags")
        starts = np.cumsum([0, *(LENGTHS[e] for e in episodes)]).tolist()
        assert [int(p[0]) for p in packets] == list(range(0, 512 * starts[-1], 512))
        assert all(packet[0] == packet[1] for packet in packets), "B frames"
        assert [n for n, packet in enumerate(packets) if "K" in packet[2]] == [
            frame
            for start, episode in zip(starts, episodes, strict=False)
            for frame in range(start, start + LENGTHS[episode], 8)
        ]


def test_depth_pictures_tell_their_own_episode(depth_root_2026: Path) -> None:
    """Decoded by the ffmpeg command line: cells at 1 m and 5 m, told apart at 3 m."""
    path = depth_root_2026 / f"videos/{DEPTH_RIGHT}/chunk-000/file-001.mp4"
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    raw = subprocess.run(
        [*words, "-f", "rawvideo", "-pix_fmt", "gray12le", "-"], check=True, capture_output=True
    ).stdout
    codes = np.frombuffer(raw, "<u2").reshape(-1, 160, 160)
    # 3.51 * (13.5 / 3.51) ** (code / 4095) = 3 + 3.5
    is_far = codes > 1873
    pictures = np.where(is_far[..., None], 208, 48).astype(np.uint8).repeat(3, axis=3)
    expected = [Identity(e, f, "right_wrist") for e in (1, 2, 3) for f in range(LENGTHS[e])]
    assert [barcode.read(picture) for picture in pictures] == expected


def test_tables(root_2026: Path) -> None:
    vector = {"action": 23, "observation.state": 61}
    poses = {key.replace("rgb", "robot2cam_pose"): 7 for key in (LEFT, RIGHT, HEAD)}
    first = 0
    for name, episodes in TABLES.items():
        file = pq.ParquetFile(root_2026 / f"data/{name}.parquet")
        assert file.num_row_groups == 1
        table = file.read()
        types = {field.name: field.type for field in table.schema}
        assert list(types) == [
            "action", "next.reward", "next.terminated", "next.truncated", "observation.state",
            *poses, "timestamp", "frame_index", "episode_index", "index", "task_index",
        ]  # fmt: skip
        for key, width in (vector | poses).items():
            assert types[key] == pa.list_(pa.float32(), width)
        assert types["timestamp"] == types["next.reward"] == pa.float32()
        assert types["next.terminated"] == types["next.truncated"] == pa.bool_()
        frames = np.concatenate([np.arange(LENGTHS[e]) for e in episodes])
        ids = np.repeat(episodes, [LENGTHS[e] for e in episodes])
        assert np.array_equal(column(table, "frame_index"), frames)
        assert np.array_equal(column(table, "episode_index"), ids)
        assert np.array_equal(column(table, "index"), first + np.arange(len(frames)))
        assert np.array_equal(column(table, "timestamp"), (frames / 30).astype(np.float32))
        assert set(column(table, "task_index")) == {int(name[6:9])}
        first += len(frames)
    assert first == 947


def test_episodes_say_where_they_stand(root_2026: Path) -> None:
    paths = sorted(root_2026.glob("meta/episodes/*/*.parquet"))
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    assert [row["episode_index"] for row in rows] == list(range(7))
    assert [row["length"] for row in rows] == list(LENGTHS.values())
    assert [row["raw_episode_id"] for row in rows] == [50, 60, 80, 110, 490030, 490050, 500010]
    assert [row["tasks"] for row in rows] == [
        *[["turning_on_radio"]] * 4, *[["make_pizza"]] * 2, ["freeze_fruit"],
    ]  # fmt: skip
    for name, episodes in FILES.items():
        key, chunk, file = name.split("/")
        start = 0
        for episode in episodes:
            row = {n.rsplit("/", 1)[-1]: v for n, v in rows[episode].items() if key in n}
            assert (row["chunk_index"], row["file_index"]) == (int(chunk[6:]), int(file[5:]))
            assert row["from_timestamp"] == pytest.approx(start / 30)
            start += LENGTHS[episode]
            assert row["to_timestamp"] == pytest.approx(start / 30)
    starts = np.cumsum([0, *LENGTHS.values()]).tolist()
    assert [row["dataset_from_index"] for row in rows] == starts[:-1]
    assert [row["dataset_to_index"] for row in rows] == starts[1:]
    for number in (0, 4, 6):
        text = (root_2026 / rows[number]["annotation_path"]).read_text()
        assert json.loads(text)["meta_data"]["task_duration"] <= LENGTHS[number]


def test_tasks_have_a_short_name_in_one_file_and_a_sentence_in_the_other(root_2026: Path) -> None:
    frame = pq.read_table(root_2026 / "meta/tasks.parquet").to_pandas()
    assert [frame.iloc[n].name for n in range(3)] == [
        "turning_on_radio", "make_pizza", "freeze_fruit",
    ]  # fmt: skip
    lines = (root_2026 / "meta/tasks.jsonl").read_text().splitlines()
    tasks: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [task["task_index"] for task in tasks] == frame["task_index"].tolist() == [0, 49, 50]
    assert tasks[2]["task"] == "Put the apple and the pear into the freezer, and close its door."


def test_info_declares_what_is_there_and_depth(root_2026: Path) -> None:
    info = json.loads((root_2026 / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"]) == ("v3.0", 30, 947)
    videos = {name: f["info"] for name, f in info["features"].items() if "info" in f}
    is_depth = {
        name: found.get("is_depth_map", found.get("video.is_depth_map"))
        for name, found in videos.items()
    }
    assert is_depth == {
        **dict.fromkeys((LEFT, RIGHT, HEAD), False),
        **dict.fromkeys((DEPTH_LEFT, DEPTH_RIGHT, DEPTH_HEAD), True),
    }
    assert "is_depth_map" in videos[DEPTH_HEAD]
    assert "is_depth_map" not in videos[DEPTH_LEFT]
    scale = ("depth_min", "depth_max", "shift", "use_log", "output_unit", "pix_fmt", "crf", "g")
    for key in (DEPTH_LEFT, DEPTH_RIGHT, DEPTH_HEAD):
        assert [videos[key][f"video.{name}"] for name in scale] == [
            0.01, 10.0, 3.5, True, "m", "gray12le", 0, 8,
        ]  # fmt: skip
    declared = set(info["features"]) - set(is_depth)
    assert declared == set(pq.read_schema(root_2026 / "data/chunk-050/file-000.parquet").names)


def test_another_edition_and_a_full_folder_are_refused(tmp_path: Path) -> None:
    done = command("sample", "--out", tmp_path / "x", "--edition", "2027")
    assert (done.returncode, "expected one of 2025, 2026" in done.stderr) == (2, True)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not empty"):
        make_sample_2026(tmp_path)
    with pytest.raises(UserError, match=r"modalities \['seg_instance_id'\]: expected some of rgb"):
        make_sample_2026(tmp_path / "x", modalities=("seg_instance_id",))
