"""The orders that ``benchmarks.diversity`` works with are those of tars and readers."""

import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.diversity import Stored, diversity, in_line, in_source_order, upstream_batches
from predecode.output import load_plans
from predecode.planning import Plan
from tests.support.jobs import run_here
from train_shards.dataset import ShardDataset
from train_shards.order import BlockOrder, LaneOrder
from train_shards.storage_order import StorageOrder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["mixed", "episode"])
def out(
    request: pytest.FixtureRequest, b1k_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """591 samples of two episodes in three shards."""
    out = tmp_path_factory.mktemp(request.param) / "shards"
    run_here(b1k_root, out, tasks="49", size="32", cameras="head", shard_size=256,
             layout=request.param)  # fmt: skip
    return out


@pytest.fixture
def plan(out: Path) -> Plan:
    (plan,) = load_plans(out)
    return plan


def test_samples_lie_as_the_tars_list_them(out: Path, plan: Plan) -> None:
    listed = []
    for path in sorted((out / "data/train").glob("*.tar")):
        with tarfile.open(path) as tar:
            keys = dict.fromkeys(name.split(".")[0] for name in tar.getnames())
        listed += [(int(key[2:10]), int(key[12:18])) for key in keys]
    stored = Stored(plan)
    assert len(stored) == len(listed) == 591
    assert len(stored.starts) > 2
    ids = stored.samples(np.arange(len(stored)))[:, :2]
    assert [tuple(one) for one in ids.tolist()] == listed


def test_orders_are_those_of_the_readers(out: Path, plan: Plan) -> None:
    dataset = ShardDataset(out)
    reader, stored = dataset.open_reader(), Stored(plan)
    theirs = StorageOrder(dataset, block_size=100, lanes=2, seed=5)
    ours = LaneOrder(BlockOrder(len(stored), block_size=100, window_blocks=1, seed=5), 2)
    positions = np.arange(len(dataset))
    samples, num_samples = in_source_order(plan)
    assert num_samples == len(dataset) == len(stored)
    for found, wanted in (
        (stored.samples(ours.samples(positions)), theirs.samples(positions)),
        (samples(positions), positions),
    ):
        places = [reader.locate(int(position)) for position in wanted]
        assert found.tolist() == [[p.episode_index, p.frame_index, p.task_index] for p in places]
    dataset.close()


def test_each_worker_reads_its_tars_in_line() -> None:
    def samples(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        return numbers

    stored: Any = SimpleNamespace(starts=np.array([0, 5, 8, 14]), samples=samples)
    batch, num = in_line(stored, 3, 2)  # tars 0 and 2, of 11 samples; tar 1, of 3
    assert num == 2
    assert batch(0).tolist() == [0, 1, 2]
    assert batch(1).tolist() == [5, 6, 7]
    assert batch(2).tolist() == [3, 4, 8]


def test_upstream_reads_consecutive_frames_of_one_run(plan: Plan) -> None:
    long = [
        msgspec.structs.replace(planned, num_frames=1000) for planned in plan.episodes[:1]
    ]  # runs at 250, 500 and 750
    batch, num = upstream_batches(long, 50, 2)
    assert num == 2 * 250 // 50
    for number in range(num):
        episode, frame, _ = batch(number).T
        assert set(episode) == {long[0].episode.episode_index}
        assert (np.diff(frame) == 1).all()
        assert frame[0] % 50 == 0
        assert 250 <= frame[0] < 1000


def test_figures_of_a_batch() -> None:
    batch = np.array([[1, 0, 0], [1, 10, 0], [2, 5, 1], [2, 5, 1]])
    assert diversity(lambda _: batch, 1, 5) == {
        "num_batches": 1, "episodes": 2, "tasks": 2, "same_episode": 2 / 6, "distance_frames": 5,
    }  # fmt: skip
    assert diversity(lambda _: batch[1:3], 9, 2)["distance_frames"] is None
