"""The benchmarks run, and every variant delivers the samples that it is asked for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.feed_data_sets import Variant
from benchmarks.trainer_feed import Feed
from predecode.sources.barcode import CAMERAS, paint
from predecode.sources.sample import make_sample
from train_shards.items import IMAGE_KEY
from train_shards.norm_stats_file import NormStats

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OURS = {"ours, item", "ours, batch", "ours, batch, no columns", "ours, batch, 2 threads"}
FLOORS = {"floor", "floor, 2 threads"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An episode in small pictures: at full size its encoding takes longer than all readers."""
    root = tmp_path_factory.mktemp("small") / "b1k"
    make_sample(root, episode_indices=[10], modalities=("rgb",))
    return root


@pytest.mark.parametrize("codec", ["jpeg", "raw"])
def test_every_variant_delivers_every_sample(small: Path, tmp_path: Path, codec: str) -> None:
    out = tmp_path / "read.json"
    (tmp_path / "work").mkdir()
    (tmp_path / "work/source").symlink_to(small)  # what is there is not made again
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.read", "--peers", "none", "--rounds", "1",
            "--episodes", "10", "--codec", codec, "--work", tmp_path / "work", "--out", out,
        ],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert set(result) == {
        "command", "date", "machine", "codec", "rounds", "variants", "not_installed", "rows",
    }  # fmt: skip
    assert set(result["variants"]) == OURS | FLOORS
    found = {(row["variant"], row["order"], row["num_workers"]) for row in result["rows"]}
    orders = {(order, num) for order in ("in order", "random") for num in (0, 2)}
    assert found == {(name, *one) for name in OURS | FLOORS for one in orders}
    assert len(result["rows"]) == 24
    assert {row["num_samples"] for row in result["rows"]} == {120}
    assert len({row["ids_sha256"] for row in result["rows"]}) == 1
    for row in result["rows"]:
        assert row["samples_per_s"]["min"] > 0
        assert row["cpu_ms"]["min"] > 0
        if row["variant"] in FLOORS:
            assert row["samples_per_s"]["ratio_to_floor"] == 1
        assert row["variant"] in done.stderr


def test_every_variant_feeds_the_trainer_right_frames(tmp_path: Path) -> None:
    out = tmp_path / "feed.json"
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.trainer_feed", "--small", "--rounds", "1",
            "--work", tmp_path / "work", "--out", out,
        ],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert set(result) == {
        "command", "date", "machine", "versions", "omp_wait_policy", "left_out", "rounds", "rows",
    }  # fmt: skip
    assert result["omp_wait_policy"] == "passive"
    streaming = {"upstream-like streaming", "upstream-like streaming, 1 thread"}
    at_random = {"upstream-like random access", "on line, random"}
    others = {"shards, jpeg", "shards, raw", "in memory", "on line, in order"}
    found = {(row["variant"], row["num_workers"], row["loader"]) for row in result["rows"]}
    assert found == {
        *((name, num, "DataLoader") for name in streaming | at_random | others for num in (0, 2)),
        *((name, 2, "launcher") for name in others - {"on line, in order"}),
    }
    assert len(result["rows"]) == 19
    for row in result["rows"]:
        assert row["samples_per_s"]["min"] > 0
        assert row["pictures_checked"] >= 3  # else the run ends with 1
        assert row["variant"] in done.stderr
    bases = {"streaming": "upstream-like streaming", "in_memory": "in memory"}
    for base, name in bases.items():
        own = [row[f"ratio_to_{base}"] for row in result["rows"] if row["variant"] == name]
        assert own == [{"median": 1, "min": 1, "max": 1}] * (3 if name == "in memory" else 2)


class Painted:
    """Items whose pictures name the frame after a shift, under the episode and frame given."""

    def __init__(self, pictures_ahead: int, ids_ahead: int) -> None:
        self._pictures_ahead, self._ids_ahead = pictures_ahead, ids_ahead

    def __getitem__(self, position: int) -> dict[str, Any]:
        item: dict[str, Any] = {
            "observation.state": np.zeros(256, np.float32),
            "action": np.zeros((32, 23), np.float32),
            "task": "wait",
            "episode_index": np.int64(7),
            "index": np.int64(position + self._ids_ahead),
        }
        for camera in CAMERAS:
            picture = np.zeros((224, 224, 3), np.uint8)
            paint(picture, 7, position + self._pictures_ahead, camera)
            item[IMAGE_KEY + camera] = picture
        return item


@pytest.mark.parametrize(
    ("pictures_ahead", "ids_ahead", "said"),
    [(1, 0, r"painted: Identity\(.*\) came as head of \(7, "), (1, 1, "not the frames asked for")],
)
def test_a_reader_of_other_frames_ends_the_benchmark(
    pictures_ahead: int, ids_ahead: int, said: str
) -> None:
    zeros = np.zeros(23)
    stats = dict.fromkeys(("state", "actions"), NormStats(zeros, zeros, zeros, zeros + 1))

    def feed(*ahead: int) -> Feed:
        variant = Variant(Painted(*ahead), "random", 20, 10, "")
        return Feed({"painted": variant}, [(7, frame) for frame in range(20)], stats, 0)

    assert feed(0, 0).check("painted") == 2 * len(CAMERAS)
    with pytest.raises(SystemExit, match=said):
        feed(pictures_ahead, ids_ahead).check("painted")
