"""Work grows with the plan and not with its square: calls are counted, as clocks differ.

``benchmarks.scale`` takes the time of a whole data set's plan.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytest

from predecode.estimate import choose_looks
from predecode.manifest import build_manifest, faults_of
from predecode.output import finished_generations, jobs_of, load_plans, receipt_of
from tests.support.synthetic_plan import synthetic_episodes, synthetic_plan, write_as_if_done
from train_shards.manifest import encode_json

T = TypeVar("T")
FEW, MANY = 100, 400


def calls_of(step: Callable[[], T]) -> tuple[int, T]:
    """How many calls, of Python's functions and of C's, a step makes, and what it returns."""
    count = 0

    def watch(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        result = step()
    finally:
        sys.setprofile(before)
    return count, result


def assert_linear(calls: dict[int, int]) -> None:
    """Four times the plan makes at most four times the calls; sorting may add its logarithm."""
    assert calls[FEW] > 1000
    assert calls[MANY] < 1.1 * MANY / FEW * calls[FEW]


def test_a_count_of_calls_sees_a_search_in_every_step() -> None:
    def search(size: int) -> None:
        known = [object() for _ in range(size)]
        for one in known:
            next(other for other in known if other is one)

    with pytest.raises(AssertionError):
        assert_linear({size: calls_of(lambda size=size: search(size))[0] for size in (FEW, MANY)})  # type: ignore[misc]


def test_planning_is_linear() -> None:
    calls = {}
    for size in (FEW, MANY):
        episodes = synthetic_episodes(size, 10)
        calls[size], plan = calls_of(lambda: synthetic_plan(episodes))  # noqa: B023
        assert sum(len(shard.pieces) for shard in plan.shards) == size * 10
        assert len(plan.shards) == size / 10
    assert_linear(calls)


def test_resuming_is_linear_and_reads_each_receipt_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    read_bytes = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    calls = {}
    for size in (FEW, MANY):
        out = tmp_path / str(size)
        write_as_if_done(out, synthetic_plan(synthetic_episodes(size, 10)))
        read.clear()
        calls[size], num_tasks = calls_of(lambda: _resume(out))  # noqa: B023
        assert num_tasks > size / 10
        assert len(read) == len(set(read)) == 1 + num_tasks  # the plan, each receipt
    assert_linear(calls)


def _resume(out: Path) -> int:
    (plan,) = load_plans(out)
    jobs = jobs_of(out, plan)
    assert [job for job in jobs if receipt_of(out, job) is None] == []
    return len(jobs)


def test_the_manifest_and_an_estimate_of_a_plan_are_linear(tmp_path: Path) -> None:
    manifests, looks = {}, {}
    for size in (FEW, MANY):
        out = tmp_path / str(size)
        plan = synthetic_plan(synthetic_episodes(size, 10))
        write_as_if_done(out, plan)
        finished = finished_generations(out, [plan])

        def publish() -> None:
            assert faults_of(finished) == {}  # noqa: B023
            encode_json(build_manifest(finished, [{}]))  # noqa: B023

        manifests[size], _ = calls_of(publish)
        pieces = [piece for shard in plan.shards for piece in shard.pieces]
        looks[size], chosen = calls_of(lambda: choose_looks(pieces, plan.settings))  # noqa: B023
        assert len(chosen) == 8
    assert_linear(manifests)
    assert_linear(looks)
