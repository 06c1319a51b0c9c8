import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predecode.sources import barcode
from predecode.sources.barcode import Identity
from predecode.sources.sample import EPISODES, EpisodeSpec, SampleSummary, make_sample
from predecode.sources.sample_annotations import write_annotations
from predecode.sources.sample_pictures import instance_ids
from predecode.sources.sample_tables import make_rows, write_parquet
from predecode.sources.sample_video import VideoJob, encode_video
from train_shards.errors import UserError

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None and os.environ.get("REQUIRE_FFMPEG") != "1",
    reason="ffmpeg is not on PATH",
)

SPECS = {spec.episode_index: spec for spec in EPISODES}


@pytest.fixture(scope="module")
def rgb(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    """A scene cut, two plain wrists, a rollout."""
    root = tmp_path_factory.mktemp("rgb") / "sample"
    return make_sample(root, episode_indices=[490040, 40], modalities=["rgb"], num_processes=2)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    """All nine videos of the shortest episode that has them."""
    root = tmp_path_factory.mktemp("complete") / "sample"
    return make_sample(root, episode_indices=[10], num_processes=2)


def video(summary: SampleSummary, episode_index: int, key: str) -> Path:
    folder = summary.root / f"videos/task-{episode_index // 10000:04d}/observation.images.{key}"
    return folder / f"episode_{episode_index:08d}.mp4"


def ffprobe(path: Path, entries: str) -> list[list[str]]:
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", entries]
    command += ["-of", "csv=p=0", str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.rstrip(",").split(",") for line in lines]


def decode(path: Path, pix_fmt: str, side_px: int) -> npt.NDArray[Any]:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    if pix_fmt == "gray16le":
        return np.frombuffer(raw, "<u2").reshape(-1, side_px, side_px)
    return np.frombuffer(raw, np.uint8).reshape(-1, side_px, side_px, 3)


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def info(summary: SampleSummary) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((summary.root / "meta/info.json").read_text())
    return loaded


def annotation(tmp_path: Path, episode_index: int) -> dict[str, Any]:
    write_annotations(tmp_path, SPECS[episode_index])
    path = f"annotations/task-{episode_index // 10000:04d}/episode_{episode_index:08d}.json"
    loaded: dict[str, Any] = json.loads((tmp_path / path).read_text())
    return loaded


# --- videos ---------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize(
    ("episode_index", "key", "num_frames", "keyframes"),
    [
        (40, "rgb.head", 751, [0, 120, 370, 620]),
        (40, "rgb.left_wrist", 751, [0, 250, 500, 750]),
        (40, "rgb.right_wrist", 751, [0, 250, 500, 750]),
        (490040, "rgb.head", 90, [0]),
    ],
)
def test_keyframes_and_b_frames(
    rgb: SampleSummary, episode_index: int, key: str, num_frames: int, keyframes: list[int]
) -> None:
    packets = ffprobe(video(rgb, episode_index, key), "packet=pts,dts,flags")
    assert len(packets) == num_frames
    pts = [int(packet[0]) for packet in packets]
    assert sorted(pts) == list(range(0, 512 * num_frames, 512))
    assert [int(packet[0]) // 512 for packet in packets if "K" in packet[2]] == keyframes
    reordered = sum(packet[0] != packet[1] for packet in packets)
    assert reordered > num_frames // 3
    assert packets[0][:2] == ["0", "-1024"]


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize(
    ("key", "pix_fmt", "side_px"),
    [
        ("rgb.head", "yuv420p", 240),
        ("rgb.left_wrist", "yuv420p", 160),
        ("depth.head", "yuv420p10le", 240),
        ("depth.right_wrist", "yuv420p10le", 160),
        ("seg_instance_id.head", "yuv420p", 240),
    ],
)
def test_stream_is_encoded_as_published(
    complete: SampleSummary, key: str, pix_fmt: str, side_px: int
) -> None:
    fields = "codec_name,width,height,pix_fmt,color_range,color_space,r_frame_rate,time_base"
    stream = ffprobe(video(complete, 10, key), f"stream={fields}")
    assert stream == [
        ["hevc", str(side_px), str(side_px), pix_fmt, "tv", "unknown", "30/1", "1/15360"]
    ]
    frames = ffprobe(video(complete, 10, key), "frame=pict_type")
    kinds = [row[0] for row in frames if row[0]]  # an empty row stands for the encoder's own note
    assert len(kinds) == 120
    assert kinds.count("I") == 1
    assert kinds.count("B") > 40


@pytest.mark.slow
@needs_ffmpeg
def test_rollout_is_x264_and_rgb_only(rgb: SampleSummary) -> None:
    path = video(rgb, 490040, "rgb.left_wrist")
    assert ffprobe(path, "stream=codec_name,pix_fmt") == [["h264", "yuv420p"]]
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # faststart
    folders = sorted(path.name for path in (rgb.root / "videos/task-0049").iterdir())
    assert folders == [
        "observation.images.rgb.head",
        "observation.images.rgb.left_wrist",
        "observation.images.rgb.right_wrist",
    ]


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize(
    ("episode_index", "camera", "side_px", "num_frames"),
    [(40, "head", 240, 751), (40, "left_wrist", 160, 751), (490040, "right_wrist", 160, 90)],
)
def test_ffmpeg_decodes_each_frame_to_its_own_barcode(
    rgb: SampleSummary, episode_index: int, camera: str, side_px: int, num_frames: int
) -> None:
    pictures = decode(video(rgb, episode_index, f"rgb.{camera}"), "rgb24", side_px)
    assert len(pictures) == num_frames
    got = [barcode.read(picture) for picture in pictures]
    assert got == [Identity(episode_index, index, camera) for index in range(num_frames)]


@pytest.mark.slow
@needs_ffmpeg
def test_depth_and_segmentation_carry_the_barcode(complete: SampleSummary) -> None:
    codes = decode(video(complete, 10, "depth.left_wrist"), "gray16le", 160)
    segmented = decode(video(complete, 10, "seg_instance_id.left_wrist"), "rgb24", 160)
    assert len(codes) == len(segmented) == 120
    assert int(codes.max()) < 16384
    far_code = 6000  # between 1 m (3050) and 5 m (10768)
    light_red = 70  # between palette entries (16, 16, 16) and (125, 16, 128)
    for index in range(120):
        far = np.where(codes[index] > far_code, 255, 0).astype(np.uint8)
        light = np.where(segmented[index, :, :, 0] > light_red, 255, 0).astype(np.uint8)
        assert barcode.read(np.repeat(far[:, :, None], 3, 2)) == Identity(10, index, "left_wrist")
        assert barcode.read(np.repeat(light[:, :, None], 3, 2)) == Identity(10, index, "left_wrist")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("episode_index", "modality", "repeats"),
    [(490040, "rgb", 10), (10, "rgb", 3), (10, "depth", 3), (10, "seg_instance_id", 3)],
)
def test_same_pictures_give_same_bytes_in_one_process(
    tmp_path: Path, episode_index: int, modality: str, repeats: int
) -> None:
    # Memory in another state for each call: x264 without cpu-independent fails here with AVX-512.
    digests = set()
    for repeat in range(repeats):
        path = tmp_path / f"{repeat}.mp4"
        ballast = np.full(100_000 * (repeat + 1), repeat, np.uint8)
        encode_video(VideoJob(path, SPECS[episode_index], modality, "left_wrist", 160))
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        del ballast
    assert len(digests) == 1


# --- the folder as a whole ------------------------------------------------------------------------


@pytest.mark.slow
def test_same_call_gives_same_bytes_with_any_number_of_processes(
    complete: SampleSummary, tmp_path: Path
) -> None:
    again = make_sample(tmp_path / "again", episode_indices=[10], num_processes=1)
    expected, got = files(complete.root), files(again.root)
    assert len(expected) == 9 + 1 + 4 + 1 + 1 + 10  # videos, table, meta, attributes, labels
    assert got == expected
    assert again.num_bytes == complete.num_bytes


@pytest.mark.slow
def test_summary_and_layout(complete: SampleSummary) -> None:
    assert (complete.num_episodes, complete.num_frames) == (1, 120)
    paths = [path for path in complete.root.rglob("*") if path.is_file()]
    assert complete.num_bytes == sum(len(path.read_bytes()) for path in paths)
    without_labels = {name for name in files(complete.root) if not name.startswith("orchestr")}
    assert without_labels == {
        "annotations/task-0000/episode_00000010.json",
        "data/task-0000/episode_00000010.parquet",
        "meta/episodes.jsonl",
        "meta/episodes/task-0000/episode_00000010.json",
        "meta/episodes_stats.jsonl",
        "meta/info.json",
        "meta/tasks.jsonl",
        *(
            f"videos/task-0000/observation.images.{m}.{c}/episode_00000010.mp4"
            for m in ("rgb", "depth", "seg_instance_id")
            for c in ("head", "left_wrist", "right_wrist")
        ),
    }
    assert [path.name for path in complete.root.parent.iterdir()] == ["sample"]


def test_folder_that_is_not_empty_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"sample: the folder is not empty \(1 entries.*notes.txt"):
        make_sample(tmp_path / "sample")
    assert files(tmp_path).keys() == {"sample/notes.txt"}


def test_file_at_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sample").write_text("mine")
    with pytest.raises(UserError, match="exists and is not a folder"):
        make_sample(tmp_path / "sample")


@pytest.mark.slow
def test_empty_folder_is_used(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "sample"
    root.mkdir(parents=True)
    summary = make_sample(root, episode_indices=[490040], modalities=["rgb"], num_processes=1)
    assert (summary.root, summary.num_frames) == (root, 90)
    assert not (root / "annotations").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episode_indices": [10, 30]}, r"episodes \[30\] asked for .* Choose from 10, 20, 40"),
        ({"episode_indices": []}, "episodes none asked for"),
        ({"modalities": ["rgb", "seg"]}, r"\['rgb', 'seg'\]: expected each of rgb, depth"),
        ({"modalities": []}, "at least one"),
        ({"modalities": ["rgb", "rgb"]}, "at most once"),
        ({"num_processes": 0}, "num_processes 0: expected 1 or more"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_sample(tmp_path / "sample", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_nothing_is_left_when_making_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_job: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("predecode.sources.sample_build.encode_video", fail)
    with pytest.raises(OSError, match="No space left"):
        make_sample(tmp_path / "sample", episode_indices=[490040], num_processes=1)
    assert list(tmp_path.iterdir()) == []


# --- metadata -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_info_has_the_published_omissions_and_faults(rgb: SampleSummary) -> None:
    value = info(rgb)
    features = value.pop("features")
    assert value == {
        "codebase_version": "v2.1",
        "robot_type": "R1Pro",
        "total_episodes": 2,
        "total_frames": 841,
        "total_tasks": 2,
        "total_videos": 6,
        "chunks_size": 10000,
        "fps": 30,
        "splits": {"train": "0:2"},
        "data_path": "data/task-{episode_chunk:04d}/episode_{episode_index:08d}.parquet",
        "video_path": (
            "videos/task-{episode_chunk:04d}/{video_key}/episode_{episode_index:08d}.mp4"
        ),
        "metainfo_path": (
            "meta/episodes/task-{episode_chunk:04d}/episode_{episode_index:08d}.json"
        ),
        "annotation_path": (
            "annotations/task-{episode_chunk:04d}/episode_{episode_index:08d}.json"
        ),
    }
    assert len(features) == 16
    assert "task_index" not in features
    assert "frame_index" not in features
    assert features["observation.task_info"] == {"dtype": "float32", "shape": [None], "names": None}
    assert features["observation.images.depth.head"] == {
        "dtype": "video",
        "shape": [240, 240, 3],
        "names": ["height", "width", "depth"],
        "info": {
            "video.fps": 30.0,
            "video.height": 240,
            "video.width": 240,
            "video.channels": 3,
            "video.codec": "libx265",
            "video.pix_fmt": "yuv420p16le",
            "video.is_depth_map": True,
            "has_audio": False,
        },
    }
    left = features["observation.images.rgb.left_wrist"]
    assert left["shape"] == [160, 160, 3]
    assert left["info"]["video.pix_fmt"] == "yuv420p"


@pytest.mark.slow
def test_tables_of_episodes_and_tasks(rgb: SampleSummary) -> None:
    def rows(name: str) -> list[dict[str, Any]]:
        lines = (rgb.root / "meta" / name).read_text().splitlines()
        return [json.loads(line) for line in lines]

    tasks = rows("tasks.jsonl")
    assert [(task["task_index"], task["task_name"]) for task in tasks] == [
        (0, "turning_on_radio"),
        (49, "make_pizza"),
    ]
    radio = "Turn on the radio receiver that's on the table in the living room."
    assert tasks[0]["task"] == radio
    assert "chef's" in tasks[1]["task"]
    assert "refrigirator" in tasks[1]["task"]
    episodes = rows("episodes.jsonl")
    assert [(row["episode_index"], row["length"]) for row in episodes] == [(40, 751), (490040, 90)]
    assert episodes[0]["tasks"] == [radio]
    for name in ("distance_traveled", "left_eef_displacement", "right_eef_displacement"):
        assert 0 < episodes[0][name] == round(episodes[0][name], 4)
    stats = rows("episodes_stats.jsonl")
    assert [row["episode_index"] for row in stats] == [40, 490040]
    assert list(stats[0]["stats"]) == ["action", "observation.state", "observation.cam_rel_poses"]
    assert list(stats[1]["stats"]) == ["action", "observation.state"]
    state = stats[0]["stats"]["observation.state"]
    assert list(state) == ["min", "max", "mean", "std", "q01", "q99", "count"]
    assert state["count"] == [751]
    bounds = np.array([state[name] for name in ("min", "q01", "q99", "max")])
    assert bounds.shape == (4, 256)
    assert (np.diff(bounds, axis=0) >= 0).all()


@pytest.mark.slow
def test_episode_attributes(rgb: SampleSummary) -> None:
    path = rgb.root / "meta/episodes/task-0000/episode_00000040.json"
    text = path.read_text()
    assert text.startswith('{\n    "num_samples": 751')
    value = json.loads(text)
    assert len(value["task_obs_keys"]) == 21
    mapping = json.loads(value["ins_id_mapping"])
    ids = value["robot_r1::robot_r1:zed_link:Camera:0::unique_ins_ids"]
    assert len(ids) == 23
    assert {0, 1} < set(ids)
    assert max(ids) > 255
    assert ids != sorted(ids)
    assert {str(number) for number in ids} <= set(mapping)
    names = [path.split("/")[3] for key, path in mapping.items() if int(key) > 1]
    assert "radio_89" in names
    for side in ("left", "right"):
        assert f"robot_r1::robot_r1:{side}_realsense_link:Camera:0::unique_ins_ids" in value


# --- tables ---------------------------------------------------------------------------------------

SHARED = ["index", "episode_index", "task_index", "timestamp", "observation.state"]


@pytest.mark.parametrize(
    ("episode_index", "columns", "state_type", "task_info_width"),
    [
        (10, [*SHARED, "observation.cam_rel_poses", "action"], "float", 21),
        (490020, [*SHARED, "observation.cam_rel_poses", "action"], "double", 35),
        (490040, [*SHARED, "action"], "float", 0),
    ],
)
def test_parquet_columns_and_types(
    tmp_path: Path,
    episode_index: int,
    columns: list[str],
    state_type: str,
    task_info_width: int,
) -> None:
    spec = SPECS[episode_index]
    write_parquet(make_rows(spec), tmp_path / "rows.parquet")
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.column_names == [*columns, "observation.task_info"]
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert [types[name] for name in SHARED[:4]] == ["int64", "int64", "int64", "double"]
    assert types["observation.state"] == f"list<element: {state_type}>"
    assert types["action"] == "list<element: float>"
    assert types["observation.task_info"] == "list<element: float>"
    assert table["index"].to_pylist() == list(range(spec.length))
    assert set(table["task_index"].to_pylist()) == {episode_index // 10000}
    assert table["timestamp"].to_pylist()[:4] == [0.0, 1 / 30, 2 / 30, 0.1]
    widths = {name: set(map(len, table[name].to_pylist())) for name in columns[4:]}
    expected = {
        "observation.state": {256},
        "observation.cam_rel_poses": {21},
        "action": {23},
    }
    assert widths == {name: expected[name] for name in columns[4:]}
    assert set(map(len, table["observation.task_info"].to_pylist())) == {task_info_width}
    assert isinstance(table["action"].type, pa.ListType)


@pytest.mark.parametrize("spec", EPISODES, ids=lambda spec: str(spec.episode_index))
def test_state_and_action_are_plausible(spec: EpisodeSpec) -> None:
    rows = make_rows(spec)
    state = rows.state.astype(np.float64)
    assert state.shape == (spec.length, 256)
    assert np.isfinite(state).all()
    # joint positions with their sines and cosines; left arm likewise; quaternions of length 1
    assert np.allclose(np.sin(state[:, 0:28]), state[:, 28:56], atol=1e-6)
    assert np.allclose(np.cos(state[:, 0:28]), state[:, 56:84], atol=1e-6)
    assert np.allclose(np.sin(state[:, 158:165]), state[:, 165:172], atol=1e-6)
    assert np.allclose(np.linalg.norm(state[:, 189:193], axis=1), 1, atol=1e-6)
    assert np.allclose(np.linalg.norm(state[:, 228:232], axis=1), 1, atol=1e-6)
    assert np.allclose(np.cos(state[:, 244:247]), state[:, 250:253], atol=1e-6)
    assert rows.action.shape == (spec.length, 23)
    assert rows.action.dtype == np.float32
    denormals = rows.action[:30, 0:3].view(np.uint32) & 0x7FFFFFFF
    assert (denormals == 1).all()  # the smallest float32 above zero, of either sign
    assert set(np.unique(rows.action[:, [14, 22]])) == {-1.0, 1.0}


# --- annotations ----------------------------------------------------------------------------------


def skill_frames(value: dict[str, Any]) -> list[Any]:
    return [skill["frame_duration"] for skill in value["skill_annotation"]]


def test_contiguous_annotation_with_an_unlabelled_tail(tmp_path: Path) -> None:
    value = annotation(tmp_path, 10)
    assert value["task_name"] == "turning on radio"
    assert value["meta_data"] == {"task_duration": 100, "valid_duration": [0, 100]}
    assert skill_frames(value) == [[0, 40], [40, 70], [70, 100]]
    assert value["skill_annotation"][1] == {
        "skill_idx": 1,
        "skill_id": [2],
        "skill_description": ["pick up from"],
        "object_id": [["radio_89", "coffee_table_koagbh_0"]],
        "manipulating_object_id": ["radio_89"],
        "memory_prefix": [],
        "spatial_prefix": [],
        "frame_duration": [40, 70],
        "mp_ef": [],
        "skill_type": ["uncoordinated"],
    }
    assert value["primitive_annotation"][0]["skill_idxes"] == [0, 1]


def test_planted_faults(tmp_path: Path) -> None:
    gap = annotation(tmp_path, 20)
    assert skill_frames(gap) == [[0, 60], [75, 140], [130, 200], [200, 250]]
    assert gap["primitive_annotation"] == []
    split = annotation(tmp_path, 40)
    assert skill_frames(split)[1] == [[240, 300], [360, 420]]
    assert len(split["skill_annotation"][1]["object_id"]) == 2
    assert split["skill_annotation"][2]["skill_description"] == [None]
    negative = annotation(tmp_path, 490010)
    assert skill_frames(negative)[1] == [192, 150]
    assert skill_frames(negative)[-1][1] == 490 > negative["meta_data"]["task_duration"] == 450
    late = annotation(tmp_path, 490020)
    assert late["meta_data"]["valid_duration"] == [14, 963]


def test_optional_folders_and_the_episode_without_annotation(tmp_path: Path) -> None:
    for spec in EPISODES:
        write_annotations(tmp_path, spec)
    names = sorted(files(tmp_path))
    assert [name for name in names if name.startswith("annotations")] == [
        "annotations/task-0000/episode_00000010.json",
        "annotations/task-0000/episode_00000020.json",
        "annotations/task-0000/episode_00000040.json",
        "annotations/task-0049/episode_00490010.json",
        "annotations/task-0049/episode_00490020.json",
    ]
    folder = "orchestrators/task-0000/episode_00000010"
    assert [name for name in names if name.startswith("orchestrators")] == [
        *(f"{folder}/event_{i}_{j}_annotated.json" for i in range(3) for j in range(2)),
        *(f"{folder}/subtask_{i}_annotated.json" for i in range(3)),
        f"{folder}/task_annotated.json",
    ]
    subtasks = [name for name in names if name.startswith("subtasks")]
    assert subtasks == ["subtasks/task-0049/episode_00490010.json"]
    value = json.loads((tmp_path / subtasks[0]).read_text())
    assert value["skill"]["merged_segments"][0] == {
        "start_frame": 0,
        "end_frame": 150,
        "phrase": "move to the pizza dough",
    }
    assert len(value["skill"]["merged_segments"]) == 3


@pytest.mark.parametrize(("camera", "count"), [("head", 23), ("left_wrist", 11)])
def test_instance_ids_are_distinct(camera: str, count: int) -> None:
    ids = instance_ids(SPECS[10], camera)
    assert len(ids) == len(set(ids)) == count
    assert round(count ** (1 / 3)) ** 3 != count
