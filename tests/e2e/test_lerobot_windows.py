"""LeRobot itself is the contract of ``delta_timestamps``: same data, same items, bit by bit.

It lives in an environment of its own, where it writes a data set with pictures in its tables,
reads it, and leaves its items in a file. Our output has the rows of its table, as predecode
converts them, and the same pictures without loss.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from predecode.sources.episode import Episode, TableSpan
from predecode.sources.tables import read_rows
from tests.support.lerobot_environment import LEROBOT, ask
from tests.support.stored import (
    TASKS,
    StoredEpisode,
    painted,
    settings_of,
    write_generation,
    write_manifest,
)
from train_shards.dataset import ShardDataset
from train_shards.errors import UserError
from train_shards.windows import frame_offsets

pytestmark = pytest.mark.slow

WRITE_AND_READ = """
where = {"repo_id": "tests/windows", "root": home / "source"}
rows = np.load(home / "rows.npz")
features = {
    key: {
        "dtype": "image" if key == asked["camera"] else str(values.dtype),
        "shape": values.shape[1:],
        "names": ["height", "width", "channels"] if key == asked["camera"] else None,
    }
    for key, values in rows.items()
}
written = LeRobotDataset.create(**where, fps=30, features=features, use_videos=False)
row = 0
for length in asked["lengths"]:
    for _ in range(length):
        written.add_frame({key: v[row] for key, v in rows.items()} | {"task": asked["task"]})
        row += 1
    save_episode(written)
written.finalize()

found = {}
for name, options in asked["settings"].items():
    if options.pop("transform", False):
        options["image_transforms"] = lambda image: image[:1]
    dataset = LeRobotDataset(**where, **options)
    items = [dataset[position] for position in range(len(dataset))]
    for key in items[0]:
        is_text = isinstance(items[0][key], str)
        values = [item[key] for item in items]
        found[f"{name}/{key}"] = np.array(values) if is_text else torch.stack(values).numpy()
np.savez(home / "found.npz", **found)
"""

JUDGE = """
found = []
for delta_s, fps in asked["deltas"]:
    try:
        fits = utils.check_delta_timestamps({"action": [delta_s]}, fps, 1e-4, False)
        frames = utils.get_delta_indices({"action": [delta_s]}, fps)["action"][0]
    except (ValueError, OverflowError):
        fits = False
    found.append(frames if fits else None)
print(json.dumps(found))
"""

LENGTHS = (5, 1, 9)
FRAMES = [(episode, frame) for episode, length in enumerate(LENGTHS) for frame in range(length)]
HEAD = "observation.images.rgb.head"
CLOCK = "time_s"
"""A scalar of float64: LeRobot makes it float32, we serve scalars as they are stored."""
SPECIAL = (math.nan, -0.0, math.inf, -math.inf, 1e-45, 1 / 3, 2.0**24, -1e-38, 3.4e38)
"""As float32: both zeros, what is not finite, and numbers too small for full precision."""


def frames(*offsets: int) -> list[float]:
    return [offset / 30 for offset in offsets]


SETTINGS: dict[str, dict[str, Any]] = {
    "none": {"delta_timestamps": None},
    "no key": {"delta_timestamps": {}},
    "openpi": {"delta_timestamps": {"action": frames(*range(32))}},
    "one": {"delta_timestamps": {"action": [0.0], "next.reward": [0], "next.done": [0.0]}},
    "history": {"delta_timestamps": {"observation.state": frames(*range(-12, 1))}},
    "mixed": {"delta_timestamps": {
        "action": frames(*range(-3, 14)), "observation.state": [-0.1, 0.0, 0.1],
        "next.reward": frames(1, 2), "next.done": frames(-1, 0, 1), "timestamp": frames(-2, 2),
        "observation.velocity": frames(0, 1), CLOCK: frames(-1, 0),
    }},
    "twice": {"delta_timestamps": {"action": frames(3, 0, 3, -1, -1, 8, 0)}},
    "far": {"delta_timestamps": {"action": [-1, 1, -1e6, 1e6, -1e30, 1e30]}},
    "rough": {"delta_timestamps": {"action": [0.0333, -0.0333, 0.06674, 0.16659, 1e-4, -9e-5]}},
    "ids": {"delta_timestamps": {
        "frame_index": frames(-2, 0, 9), "episode_index": frames(-20, 0, 20),
        "index": frames(-20, 0, 20), "task_index": [0],
    }},
    "pictures": {"delta_timestamps": {HEAD: frames(-3, -1, 0, 0, 2), "action": frames(0, 1)}},
    "transformed": {"delta_timestamps": {HEAD: frames(-1, 0)}, "transform": True},
    "picture transformed": {"delta_timestamps": None, "transform": True},
    "selected": {"delta_timestamps": {"action": frames(*range(-9, 9)), HEAD: frames(-1)},
                 "episodes": [0, 2]},
    "last": {"delta_timestamps": {"action": frames(*range(-9, 9))}, "episodes": [2]},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def lerobot() -> None:
    LEROBOT.make()


def rows() -> dict[str, Any]:
    """What is stored: every frame of ``FRAMES`` names itself in every column."""
    special = [SPECIAL[row % len(SPECIAL)] for row in range(len(FRAMES))]
    return {
        "observation.state": np.array(
            [[e, f, s] for (e, f), s in zip(FRAMES, special, strict=True)], np.float32
        ),
        "action": np.array([[e + f / 7, -f] for e, f in FRAMES], np.float32),
        "next.reward": np.array([[10 * e + f / 10] for e, f in FRAMES], np.float32),
        "next.done": np.array([[f + 1 == LENGTHS[e]] for e, f in FRAMES]),
        "observation.velocity": np.array([[e / 3, math.pi * f] for e, f in FRAMES]),
        CLOCK: np.array([[1e3 / 3 + 100 * e + f / 30] for e, f in FRAMES]),
        HEAD: np.array([painted(e, f, "head") for e, f in FRAMES]),
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeRobot's data set and what it read from it, with every setting."""
    folder = tmp_path_factory.mktemp("lerobot")
    np.savez(folder / "rows.npz", **rows())
    asked = {"camera": HEAD, "task": TASKS[0], "lengths": LENGTHS, "settings": SETTINGS}
    ask(folder, WRITE_AND_READ, asked)
    return folder


@pytest.fixture(scope="module")
def theirs(home: Path) -> dict[str, NDArray[Any]]:
    """``<setting>/<key>`` -> that key of every item, stacked."""
    with np.load(home / "found.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def out(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same three episodes as shards."""
    folder = tmp_path_factory.mktemp("windows")
    (path,) = (home / "source/data").rglob("*.parquet")
    columns = [name for name in pq.read_schema(path).names if name != HEAD]
    tables, start = [], 0
    for episode_index, length in enumerate(LENGTHS):
        span = TableSpan(path=path.name, start=start)
        episode = Episode(
            episode_index=episode_index, task_index=0, task=TASKS[0], num_frames=length,
            fps=(30, 1), videos={}, table=span,
        )  # fmt: skip
        tables.append(read_rows(path.parent, episode, length, columns, task_info=False))
        start += length
    settings = settings_of(cameras={"head": HEAD})
    episodes = [StoredEpisode(index, length) for index, length in enumerate(LENGTHS)]
    generation = write_generation(folder, settings, episodes, [FRAMES], tables=tables)
    write_manifest(folder, settings, [generation])
    return folder


@pytest.mark.parametrize("name", SETTINGS)
def test_items_are_lerobot_s_bit_by_bit(
    out: Path, theirs: dict[str, NDArray[Any]], name: str
) -> None:
    options = dict(SETTINGS[name])
    if options.pop("transform", False):
        options["image_transforms"] = lambda image: image[:1]
    dataset = ShardDataset(out, **options, image_layout="CHW", image_dtype="float32")
    items = [dataset[position] for position in range(len(dataset))]
    expected = {
        key.partition("/")[2]: values
        for key, values in theirs.items()
        if key.startswith(f"{name}/")
    }
    num_windows = len(options["delta_timestamps"] or {})
    assert len(expected) == 13 + num_windows
    assert (
        len(items)
        == len(expected["action"])
        == sum(LENGTHS[index] for index in options.get("episodes", range(3)))
    )
    assert {*items[0]} == {*expected, "sample_index"}
    for key, values in expected.items():
        found = np.stack([item[key] for item in items])
        if key == CLOCK:
            assert found.dtype == np.float64
            found = found.astype(np.float32)
        assert (found.shape, found.dtype) == (values.shape, values.dtype), key
        assert found.tobytes() == values.tobytes(), key


def test_lerobot_s_items_are_what_was_stored(theirs: dict[str, NDArray[Any]]) -> None:
    """The comparison is of something: values and masks by hand, not by anyone's reader."""
    stored = rows()
    assert theirs["none/observation.state"].tobytes() == stored["observation.state"].tobytes()
    second_to_last = len(FRAMES) - 2
    action, is_pad = theirs["openpi/action"], theirs["openpi/action_is_pad"]
    assert action.shape == (15, 32, 2)
    assert np.array_equal(action[second_to_last], stored["action"][[13, *[14] * 31]])
    assert is_pad[second_to_last].tolist() == [False] * 2 + [True] * 30
    assert is_pad[5].tolist() == [False] + [True] * 31  # the episode of one frame
    assert np.array_equal(action[5], stored["action"][[5] * 32])
    head = theirs["pictures/" + HEAD]
    assert np.array_equal(np.round(head[8, 0, :, 0, 0] * 255), painted(2, 0, "head")[0, 0])
    assert theirs[f"pictures/{HEAD}_is_pad"][8].tolist() == [True, False, False, False, False]


def near(delta_s: float, num_ulps: int) -> list[float]:
    """A number and its neighbours among the floats, on both sides."""
    around = [delta_s]
    for direction in (-math.inf, math.inf):
        neighbour = delta_s
        for _ in range(num_ulps):
            neighbour = math.nextafter(neighbour, direction)
            around.append(neighbour)
    return around


def ours(delta_s: float, fps: float) -> int | None:
    numerator, denominator = (30000, 1001) if fps == 30000 / 1001 else (int(fps), 1)
    try:
        return int(frame_offsets({"action": [delta_s]}, (numerator, denominator))["action"][0])
    except UserError:
        return None


def test_the_same_deltas_are_refused_and_become_the_same_frames(
    tmp_path: Path,
) -> None:
    rates: Sequence[float] = (1, 7, 30, 50, 30000 / 1001, 5000, 20000)
    borders = [
        (delta_s, fps)
        for fps in rates
        for frame in (*range(-40, 41), 1000, -99999)
        for tolerance_s in (0.0, -1e-4, 1e-4)
        for delta_s in near(frame / fps + tolerance_s, 3)
    ]
    halves = [((frame + 0.5) / fps, fps) for fps in rates for frame in range(-9, 9)]
    others = [(delta_s, 30.0) for delta_s in (0, 1, math.nan, math.inf, -math.inf, 0.01, 1e9)]
    deltas = borders + halves + others
    found = json.loads(ask(tmp_path, JUDGE, {"deltas": deltas}))
    assert len(found) == len(deltas) > 12_000
    assert 2000 < found.count(None) < 10_000
    differences = [
        (delta_s, fps, frame, ours(delta_s, fps))
        for (delta_s, fps), frame in zip(deltas, found, strict=True)
        if ours(delta_s, fps) != frame
    ]
    assert not differences, f"{len(differences)}: {differences[:5]}"
