"""The 2026 edition through the whole chain: files that several episodes share."""

import functools
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import predecode.open_episodes
import predecode.pipeline
import predecode.sources.tables
import predecode.video.packets
from predecode.online import OnlineDataset
from predecode.sources.barcode import Identity, read
from predecode.sources.registry import open_source
from predecode.video.packets import FrameTable
from predecode.video.pyav import PyavDecoder
from tests.support.jobs import command, retry_here, run_here, verify_here
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.manifest import load_manifest
from train_shards.norm_stats import corpus_stats

pytestmark = pytest.mark.slow

CAMERAS = ("head", "left_wrist", "right_wrist")
HEAD = "observation.rgb.zed_link_camera_0"
LEFT = "observation.rgb.left_realsense_link_camera_0"
RIGHT = "observation.rgb.right_realsense_link_camera_0"
LENGTHS = {0: 61, 1: 100, 2: 43, 3: 77, 4: 531, 5: 50, 6: 85}
SENTENCES = {
    0: "Turn on the radio receiver that's on the table in the living room.",
    49: "Take the chef's pizza dough out of the refrigerator, put the tomato sauce and the grated "
    "cheese on it, and bake it in the oven.",
    50: "Put the apple and the pear into the freezer, and close its door.",
}
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def identities(item: dict[str, Any]) -> set[Identity]:
    return {read(item[IMAGE_KEY + camera]) for camera in CAMERAS}


# --- the right frames and rows --------------------------------------------------------------------


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
    done = command("run", "--src", "b1k", "--root", root_2026, "--out", tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "7 episodes, 139 samples, 417 images" in done.stdout
    done = command("verify", tmp_path, "--all", "--num-cpus", "2")
    assert (done.returncode, "proven" in done.stdout) == (0, True), done.stdout + done.stderr


# --- cost: a file is opened once ------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    """Counts of what is read and opened, by the file's path in the source."""
    counts: dict[str, Counter[str]] = {
        kind: Counter() for kind in ("tables", "decoders", "columns", "ids")
    }

    def name(path: Path) -> str:
        return "/".join(path.parts[-3:])

    def counted(real: Callable[..., Any], kind: str) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(path: Path, *arguments: Any, **named: Any) -> Any:
            is_ids = kind == "columns" and arguments[0] == ("episode_index",)
            counts["ids" if is_ids else kind][name(path)] += 1
            return real(path, *arguments, **named)

        return call

    class CountedDecoder(PyavDecoder):
        def __init__(self, path: Path, table: FrameTable | None = None) -> None:
            counts["decoders"][name(path)] += 1
            super().__init__(path, table)

    packets, tables = predecode.video.packets, predecode.sources.tables
    monkeypatch.setattr(packets, "read_frame_table", counted(packets.read_frame_table, "tables"))
    monkeypatch.setattr(tables, "_read_columns", counted(tables._read_columns, "columns"))
    monkeypatch.setattr(predecode.pipeline, "PyavDecoder", CountedDecoder)
    monkeypatch.setattr("predecode.video.backends.PyavDecoder", CountedDecoder)
    for cache in (packets._kept_table, tables._kept_columns, tables._kept_ids):
        cache.cache_clear()
    return counts


VIDEOS_OF_TASK_0 = {
    f"{HEAD}/chunk-000/file-000.mp4": 1,
    f"{HEAD}/chunk-000/file-001.mp4": 1,
    f"{HEAD}/chunk-000/file-002.mp4": 1,
    f"{LEFT}/chunk-000/file-000.mp4": 1,
    f"{LEFT}/chunk-000/file-001.mp4": 1,
    f"{RIGHT}/chunk-000/file-000.mp4": 1,
}
TABLES_OF_TASK_0 = {
    "data/chunk-000/file-000.parquet": 1,
    "data/chunk-000/file-001.parquet": 1,
}


def test_a_shared_file_is_opened_once_in_a_task(
    root_2026: Path, tmp_path: Path, opened: dict[str, Counter[str]]
) -> None:
    """Four episodes in one task, whose six videos and two tables they share."""
    run_here(root_2026, tmp_path, tasks="0", size="64", stride=20)
    assert opened["decoders"] == VIDEOS_OF_TASK_0
    assert opened["tables"] == VIDEOS_OF_TASK_0, "source check and task together"
    assert opened["ids"] == TABLES_OF_TASK_0
    twice = dict.fromkeys(TABLES_OF_TASK_0, 2)  # times for the shard, all for the table
    assert opened["columns"] == twice


def test_a_shared_file_is_opened_once_on_line(
    root_2026: Path, opened: dict[str, Counter[str]]
) -> None:
    dataset = OnlineDataset(root_2026, size="64", stride=20, tasks=[0], only={0, 1, 2, 3})
    assert opened["tables"] == VIDEOS_OF_TASK_0
    items = [dataset[position] for position in range(len(dataset))]
    assert len(items) == 4 + 5 + 3 + 4
    for item in items:
        identity = int(item["episode_index"]), int(item["frame_index"])
        assert identities(item) == {Identity(*identity, camera) for camera in CAMERAS}
    assert opened["tables"] == opened["decoders"] == VIDEOS_OF_TASK_0
    assert opened["columns"] == TABLES_OF_TASK_0


def test_a_file_that_changed_is_read_again(own_root_2026: Path, tmp_path: Path) -> None:
    before = run_here(own_root_2026, tmp_path / "a", episodes="00000003", size="64", stride=20)
    video = own_root_2026 / f"videos/{HEAD}/chunk-000/file-002.mp4"
    video.write_bytes((own_root_2026 / f"videos/{HEAD}/chunk-000/file-000.mp4").read_bytes())
    after = run_here(own_root_2026, tmp_path / "b", episodes="00000003", size="64", stride=20)
    assert not before.faults
    assert after.faults[3].problem == "pictures disagree with the frames of the episode"


# --- beyond 1,024 s -------------------------------------------------------------------------------


def test_frames_beyond_1024_s_are_the_right_ones(own_root_2026: Path, tmp_path: Path) -> None:
    """Where the step of float32 seconds exceeds LeRobot's tolerance; a file of 20 minutes.

    Episode 0 is made of 600 copies of its file, one after the other and not encoded again, in
    every camera; episode 1 follows, as the file holds it.
    """
    num_copies, length = 600, 61
    filler = num_copies * length
    for key in (HEAD, LEFT, RIGHT):
        folder = own_root_2026 / f"videos/{key}/chunk-000"
        parts = {}
        for camera_file, first, count, name in (
            (folder / "file-000.mp4", 0, length, "filler"),
            (folder / ("file-001.mp4" if key == HEAD else "file-000.mp4"),
             0 if key == HEAD else length, 100, "wanted"),
        ):  # fmt: skip
            parts[name] = tmp_path / f"{key}-{name}.hevc"
            cut_stream(camera_file, first, count, parts[name])
        stream = tmp_path / f"{key}.hevc"
        stream.write_bytes(parts["filler"].read_bytes() * num_copies + parts["wanted"].read_bytes())
        target = folder / "file-000.mp4"
        words = ["ffmpeg", "-v", "error", "-y", "-r", "30", "-i", stream, "-c", "copy", target]
        subprocess.run(list(map(str, words)), check=True)
    set_rows(own_root_2026, filler)
    run_here(own_root_2026, tmp_path / "out", episodes="00000001", codec="raw", size="64")
    stored = ShardDataset(tmp_path / "out")
    online = OnlineDataset(own_root_2026, only={1}, size="64")
    assert len(stored) == len(online) == 100
    for frame in (99, 0, 1, 7, 8, 50, 51, 98):
        expected = {Identity(1, frame, camera) for camera in CAMERAS}
        assert identities(stored[frame]) == identities(online[frame]) == expected
    start = open_source("b1k", own_root_2026).episodes[1].videos["head"].start
    assert start / 30 == 1220


def cut_stream(path: Path, first: int, count: int, target: Path) -> None:
    """Writes the packets of pictures ``[first, first + count)`` as a bare stream, not encoded."""
    select = f"between(n\\,{first}\\,{first + count - 1})"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", str(path), "-c", "copy",
         "-bsf:v", f"hevc_mp4toannexb,noise=drop=not({select})", "-f", "hevc", str(target)],
        check=True,
    )  # fmt: skip


def set_rows(root: Path, length: int) -> None:
    """Makes episode 0 ``length`` frames long, alone with episode 1 in every file."""
    rows = pq.read_table(root / EPISODES).to_pylist()[:2]
    rows[0] |= {"length": length, "dataset_to_index": length}
    rows[1] |= {"dataset_from_index": length, "dataset_to_index": length + 100}
    for key in (HEAD, LEFT, RIGHT):
        rows[0][f"videos/{key}/to_timestamp"] = length / 30
        rows[1] |= {
            f"videos/{key}/file_index": 0,
            f"videos/{key}/from_timestamp": length / 30,
            f"videos/{key}/to_timestamp": (length + 100) / 30,
        }
    pq.write_table(pa.Table.from_pylist(rows), root / EPISODES)
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    filler = table.slice(0, 1).take(pa.array(np.zeros(length, np.int64)))
    pq.write_table(
        pa.concat_tables([filler, table.slice(61)]), root / "data/chunk-000/file-000.parquet"
    )


# --- faults ---------------------------------------------------------------------------------------


def change_row(root: Path, episode: int, **changes: Any) -> None:
    """Changes columns of an episode's metadata; ``__`` stands for ``/<head>/``."""
    path = next(
        p
        for p in root.glob("meta/episodes/*/*.parquet")
        if episode in pq.read_table(p)["episode_index"].to_pylist()
    )
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        if row["episode_index"] == episode:
            row |= {name.replace("__", f"/{HEAD}/"): value for name, value in changes.items()}
    pq.write_table(pa.Table.from_pylist(rows), path)


def shift(root: Path, episode: int, frames: int) -> None:
    """Moves the head camera's pictures of an episode, as its metadata say."""
    length, start = LENGTHS[episode], {1: 0, 2: 100, 5: 0}[episode] + frames
    times = {"videos__from_timestamp": start / 30, "videos__to_timestamp": (start + length) / 30}
    change_row(root, episode, **times)


def drop_row(root: Path, row: int, *, renumber: bool) -> None:
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    kept = table.take(pa.array(np.delete(np.arange(len(table)), row)))
    if renumber:  # another episode's row in its place
        kept = pa.concat_tables([kept, table.slice(len(table) - 1)])
    pq.write_table(kept, path)


def longer_last_file(root: Path) -> None:
    """The head camera's file of episodes 1 and 2 gets the pictures of episode 3 as well."""
    folder = root / f"videos/{HEAD}/chunk-000"
    listing = root / "list.txt"
    listing.write_text("".join(f"file '{folder}/file-00{n}.mp4'\n" for n in (1, 2)))
    words = ["ffmpeg", "-v", "error", "-f", "concat", "-safe", "0", "-i", str(listing)]
    subprocess.run([*words, "-c", "copy", str(folder / "longer.mp4")], check=True)
    (folder / "longer.mp4").rename(folder / "file-001.mp4")


def early_start(root: Path) -> None:
    longer_last_file(root)
    shift(root, 1, 1)
    shift(root, 2, 8)


def late_pictures(root: Path) -> None:
    """From episode 2 on, the pictures of the head camera's file come one frame later."""
    path = root / f"videos/{HEAD}/chunk-000/file-001.mp4"
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-c", "copy"]
    later = "setts=ts=if(gte(N\\,100)\\,TS+512\\,TS)"
    subprocess.run([*words, "-bsf:v", later, str(path.with_name("late.mp4"))], check=True)
    path.with_name("late.mp4").rename(path)


def cut_file(root: Path) -> None:
    path = root / f"videos/{HEAD}/chunk-000/file-001.mp4"
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-c", "copy", "-frames:v", "120"]
    subprocess.run([*words, str(path.with_name("cut.mp4"))], check=True)
    path.with_name("cut.mp4").rename(path)


FAULTS: dict[str, tuple[Callable[[Path], None], dict[int, str]]] = {
    "start between keyframes": (
        early_start,
        {
            1: "picture 1 of the file, the episode's first, is not a keyframe; expected a keyframe "
            "there, got one at picture 0 before it",
            2: "pictures disagree with the frames of the episode; expected 43 pictures, got 112",
        },
    ),
    "pictures at other times": (
        late_pictures,
        {
            2: "the episode's first, is not at its time; "
            "expected 3.333333 s after the file's first, got 3.366667 s"
        },
    ),
    "start inside another episode": (
        lambda root: shift(root, 2, -4),
        {1: "overlaps with another episode", 2: "overlaps with another episode"},
    ),
    "time of no frame": (
        lambda root: change_row(root, 2, videos__from_timestamp=3.35),
        {2: "a time in the metadata is no frame's"},
    ),
    "rows missing": (
        lambda root: drop_row(root, 70, renumber=False),
        {1: "rows disagree with the metadata; expected 100 rows, got 99"},
    ),
    "a row of another episode": (
        lambda root: drop_row(root, 5, renumber=True),
        {0: "expected 61 in [0, 61), got 60 in [0, 60)", 1: "got 101 in [60, 161)"},
    ),
    "more pictures than episodes": (
        longer_last_file,
        {2: "pictures disagree with the frames of the episode; expected 43 pictures, got 120"},
    ),
    "fewer pictures": (
        cut_file,
        {2: "pictures disagree with the frames of the episode; expected 43 pictures, got 20"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_quarantined_with_its_reason(
    own_root_2026: Path, tmp_path: Path, name: str
) -> None:
    damage, expected = FAULTS[name]
    damage(own_root_2026)
    outcome = run_here(own_root_2026, tmp_path / "out", tasks="0", size="64", stride=20)
    assert list(outcome.faults) == list(expected)
    for episode, text in expected.items():
        assert text in str(outcome.faults[episode])
    lines = (tmp_path / "out/.predecode/quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line)["episode_index"] for line in lines] == list(expected)
    dataset = ShardDataset(tmp_path / "out")
    assert {span.episode_index for span in dataset.spans()} == {0, 1, 2, 3} - set(expected)
    for position in range(len(dataset)):
        item = dataset[position]
        identity = int(item["episode_index"]), int(item["frame_index"])
        assert identities(item) == {Identity(*identity, camera) for camera in CAMERAS}


def test_repaired_metadata_let_an_episode_in(own_root_2026: Path, tmp_path: Path) -> None:
    shift(own_root_2026, 2, -4)
    first = run_here(own_root_2026, tmp_path / "out", tasks="0", size="64", stride=20)
    assert list(first.faults) == [1, 2]
    shift(own_root_2026, 2, 0)
    again = retry_here(own_root_2026, tmp_path / "out")
    assert (again.faults, again.manifest.complete) == ({}, True)
    assert verify_here(own_root_2026, tmp_path / "out").status == "proven"
