"""LeRobot itself is the contract of ``--src lerobot``: for the same index, our item is its item.

It writes a set of videos and a set of pictures, in its own environment, reads every index of both,
plain and in windows, and leaves what it read in files. Ours come from its files through the job.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from predecode.online import OnlineDataset
from predecode.sources.registry import open_source
from tests.support.jobs import command_here, run_here, survey_here, verify_here
from tests.support.lerobot_environment import LEROBOT, ask
from train_shards.dataset import ShardDataset
from train_shards.manifest import load_manifest

pytestmark = pytest.mark.slow

FRONT, WRIST = "observation.images.Front.cam", "observation.image"
NAMES = {FRONT: "f-uront-dcam", WRIST: "image-o"}
LENGTHS = (97, 2, 43, 79)
"""The last one has files of its own, as recording was resumed; the others share theirs."""
FPS = {"video": 13, "image": 50}
OPEN, CLOSE = "open the drawer, gently", "close it"
NUM_ROWS = sum(LENGTHS)

WRITE = """
from PIL import Image

def features(kind):
    numbers = {
        "observation.state": ("float32", 3), "action": ("float64", 2), "counts": ("int64", 4),
        "flags": ("bool", 2), "next.done": ("bool", 1), "next.reward": ("float64", 1),
        "small": ("int32", 1), "clock": ("float32", 1), "note": ("string", 1),
    }
    found = {key: {"dtype": t, "shape": (n,), "names": None} for key, (t, n) in numbers.items()}
    found["wrench"] = {"dtype": "float32", "shape": (2, 3), "names": None}
    for key, shape in asked["pictures"].items():
        axes = ["height", "width", "channels"]
        found[key] = {"dtype": kind, "shape": tuple(shape), "names": axes}
    return found

def picture(shape, episode, frame):
    found = np.random.default_rng(episode).integers(0, 60, shape, dtype=np.uint8)
    found[:, frame * 3 % shape[1]] = 255 - frame
    found[4 * episode : 4 * episode + 4] = (20, 200, 90)
    return found

def row(episode, frame, length):
    return {
        "observation.state": np.array([episode, frame, frame / 7], np.float32),
        "action": np.array([episode + frame / 3, -frame]),
        "counts": np.array([episode, frame, 2**40 + frame, -1]),
        "flags": np.array([frame % 2 == 0, frame % 3 == 0]),
        "next.done": np.array([frame + 1 == length]), "next.reward": np.array([frame / 3]),
        "small": np.array([-frame], np.int32), "clock": np.array([frame / 9], np.float32),
        "note": f"{episode}: {frame}",
        "wrench": np.arange(6, dtype=np.float32).reshape(2, 3) + frame,
        "task": asked["tasks"][int(episode == 2 or (episode == 3 and frame >= 30))],
        **{key: picture(shape, episode, frame) for key, shape in asked["pictures"].items()},
    }

def write(kind, fps):
    where = {"repo_id": "tests/" + kind, "root": home / kind}
    written = LeRobotDataset.create(**where, fps=fps, features=features(kind),
                                    use_videos=kind == "video")
    for episode, length in enumerate(asked["lengths"]):
        if episode + 1 == len(asked["lengths"]):
            written.finalize()
            written = LeRobotDataset(**where)
        for frame in range(length):
            written.add_frame(row(episode, frame, length))
        save_episode(written)
    written.finalize()
    return where

for kind, fps in asked["fps"].items():
    where = write(kind, fps)
    for setting, deltas in asked["deltas"].items():
        deltas = {key: [frame / fps for frame in frames] for key, frames in deltas.items()}
        dataset = LeRobotDataset(**where, delta_timestamps=deltas or None)
        items = [dataset[position] for position in range(len(dataset))]
        found = {}
        for key in items[0]:
            values = [item[key] for item in items]
            is_text = isinstance(values[0], str)
            found[key] = np.array(values) if is_text else torch.stack(values).numpy()
        np.savez(home / f"{kind}-{setting}.npz", **found)
"""

DELTAS: dict[str, dict[str, list[int]]] = {
    "plain": {},
    "windows": {
        "observation.state": [-2, -1, 0], "action": list(range(8)), "counts": [0, 1],
        "flags": [-1, 0], "next.done": [0, 40], "wrench": [-1, 1], FRONT: [-1, 0],
    },
}  # fmt: skip
CASES = [(kind, setting) for kind in FPS for setting in DELTAS]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeRobot's sets ``video`` and ``image``, and what it read from them."""
    LEROBOT.make()
    folder = tmp_path_factory.mktemp("lerobot_v3")
    pictures = {FRONT: (48, 80, 3), WRIST: (36, 64, 3)}
    asked = {"pictures": pictures, "tasks": [OPEN, CLOSE], "lengths": LENGTHS, "fps": FPS}
    ask(folder, WRITE, {**asked, "deltas": DELTAS})
    return folder


@pytest.fixture(scope="module")
def shards(home: Path) -> dict[str, Path]:
    """The outputs of both, without loss: of videos by the command line, of pictures in process."""
    out = {kind: home / f"{kind}-shards" for kind in FPS}
    done = command_here(
        "run", "--src", "lerobot", "--root", home / "video", "--out", out["video"],
        "--size", "native", "--codec", "png", "--num-cpus", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run_here(home / "image", out["image"], src="lerobot", size="native", codec="png")
    return out


def options_of(kind: str, setting: str) -> dict[str, Any]:
    deltas = DELTAS[setting].items()
    return {
        "delta_timestamps": {key: [f / FPS[kind] for f in frames] for key, frames in deltas},
        "image_layout": "CHW", "image_dtype": "float32",
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "setting"), CASES)
def test_items_are_lerobot_s_at_every_index(
    home: Path, shards: dict[str, Path], kind: str, setting: str
) -> None:
    with np.load(home / f"{kind}-{setting}.npz") as file:
        theirs: dict[str, NDArray[Any]] = dict(file)
    dataset = ShardDataset(shards[kind], **options_of(kind, setting))
    items = [dataset[position] for position in range(len(dataset))]
    assert len(items) == len(theirs["index"]) == NUM_ROWS > 200
    assert {*items[0]} == {*theirs, "sample_index"}
    assert len(theirs) == 18 + len(DELTAS[setting])
    for key, expected in theirs.items():
        found = np.stack([item[key] for item in items])
        # LeRobot makes every number a float32, an int64 or a bool; scalars keep their type here.
        kinds = {"next.reward": np.float64, "small": np.int32}
        assert found.dtype == kinds.get(key, expected.dtype), key
        assert found.shape == expected.shape, key
        assert found.astype(expected.dtype).tobytes() == expected.tobytes(), key


def test_what_lerobot_reads_is_what_was_written(home: Path) -> None:
    """The comparison is of something: rows, tasks and pictures by hand, by nobody's reader."""
    with np.load(home / "image-windows.npz") as file:
        theirs = dict(file)
    row = LENGTHS[0] + 2 + 5  # frame 5 of episode 2
    assert theirs["observation.state"][row, :, 1].tolist() == [3, 4, 5]
    assert theirs["action_is_pad"][LENGTHS[0]].tolist() == [False] * 2 + [True] * 6
    last = sum(LENGTHS[:3])
    tasks = theirs["task"][[96, row, last + 29, last + 30]]
    assert tasks.tolist() == [OPEN, CLOSE, OPEN, CLOSE]
    head = np.round(theirs[FRONT][row] * 255)  # (2, 3, 48, 80)
    assert head[:, :, 10, 3].tolist() == [[20, 200, 90]] * 2
    assert (head[1, :, 0, 15] == 250).all()
    assert (head[0, :, 0, 12] == 251).all()


def test_names_tasks_and_metadata_of_an_output(home: Path, shards: dict[str, Path]) -> None:
    manifest = load_manifest(shards["video"])
    assert manifest.settings.cameras == {name: key for key, name in NAMES.items()}
    assert (manifest.fps, sorted(manifest.tasks.values())) == ((13, 1), sorted([OPEN, CLOSE]))
    fields = {*manifest.settings.fields}
    assert fields == {"f-uront-dcam.png", "image-o.png", "json"}
    copied = {p.relative_to(shards["video"]).as_posix() for p in shards["video"].rglob("meta/*")}
    assert {"meta/info.json", "meta/tasks.parquet", "meta/stats.json"} <= copied
    source = open_source("lerobot", home / "video")
    (episode,) = [e for e in source.episodes if e.episode_index == 3]
    assert episode.videos["image-o"].path.endswith("file-001.mp4")
    texts = ShardDataset(shards["video"], delta_timestamps={"note": [-1 / 13, 0]})
    assert [texts[row]["note"] for row in (0, 5)] == [["0: 0", "0: 0"], ["0: 4", "0: 5"]]
    chosen = ShardDataset(shards["video"], tasks=[CLOSE])
    assert {int(episode.episode_index) for episode in chosen.spans()} == {2}


def test_on_line_items_are_those_of_the_shards(home: Path, shards: dict[str, Path]) -> None:
    for kind in FPS:
        options = options_of(kind, "windows")
        stored = ShardDataset(shards[kind], **options)
        online = OnlineDataset(home / kind, src="lerobot", size="native", **options)
        assert len(stored) == len(online) == NUM_ROWS
        for position in (0, 96, 97, 99, 141, 142, NUM_ROWS - 1):
            left, right = stored[position], online[position]
            assert {*left} == {*right}
            for key, value in left.items():
                assert np.array_equal(value, right[key]), key


def test_outputs_and_sources_are_proven(home: Path, shards: dict[str, Path]) -> None:
    done = command_here("verify", shards["video"], "--num-cpus", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    report = verify_here(home / "image", shards["image"])
    assert (report.status, report.findings) == ("proven", [])
    assert report.frames is not None
    assert report.frames.num_samples == NUM_ROWS
    for kind in FPS:
        survey = survey_here(home / kind, "lerobot")
        assert (survey.status, survey.findings) == ("proven", [])
        assert survey.source is not None
        assert (survey.source.num_episodes, survey.source.num_frames) == (4, NUM_ROWS)
