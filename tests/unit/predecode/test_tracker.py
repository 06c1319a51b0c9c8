"""What a tracker hands on and when, with a clock of our own."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import predecode.tracking
from predecode.cluster import RayMetrics
from predecode.display import Ended
from predecode.progress_lines import PROGRESS_PATH
from predecode.stages import STAGES, Spent, measured, stage, timed
from predecode.tracking import Tracker
from tests.support.jobs import Silent


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(predecode.tracking, "time", clock)
    return clock


def lines(out: Path) -> list[dict[str, Any]]:
    path = out / PROGRESS_PATH
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def task(*, is_last: bool = False, failed: frozenset[int] = frozenset()) -> Ended:
    spent = Spent(wall_s=8.0, cpu_s=6.0, stages_s={"read": 1.0, "decode": 4.0})
    return Ended(spent, 2, failed, num_samples=100, num_images=300, num_bytes=9000, is_last=is_last)


def test_a_line_every_ten_seconds_and_one_at_the_end(clock: Clock, tmp_path: Path) -> None:
    shown = Silent()
    with Tracker(shown, tmp_path, "out", is_in_wandb=False) as tracker:
        tracker.phase("checking the source", "episodes", 40)
        clock.now_s += 11
        tracker.advance(30, 0)
        tracker.ended(Ended(Spent(), 2, frozenset({7})))
        tracker.phase("decoding", "frames", 200, parts_per_step=3)
        for _ in range(9):
            clock.now_s += 1
            tracker.advance(30, 0)
        assert len(lines(tmp_path)) == 1
        tracker.ended(task(failed=frozenset({8})))
        clock.now_s += 1
        tracker.advance(30, 0)
        clock.now_s += 5
        tracker.advance(240, 0)
        tracker.ended(task(is_last=True))
    check, decode, last = lines(tmp_path)
    assert (check["phase"], check["done"], check["total"]) == ("checking the source", 30, 40)
    assert check["images_per_s"] == 0
    assert (decode["done"], decode["frames_per_s"], decode["images_per_s"]) == (100, 10, 30)
    assert (decode["num_samples"], decode["num_failures"], decode["elapsed_s"]) == (100, 2, 10)
    assert decode["utilisation"] == 6 / (9 * 2)
    assert (last["is_last"], last["num_samples"], last["num_bytes"]) == (True, 200, 18_000)
    assert (last["frames_per_s"], last["images_per_s"]) == (200 / 15, 600 / 15)
    assert last["stages_s"] == {"read": 2, "decode": 8}
    assert (last["task_s"], last["cpu_s"], last["slot_s"], last["utilisation"]) == (16, 12, 30, 0.4)
    assert len({line["run"] for line in (check, decode, last)}) == 1
    assert (shown.parts, len(shown.tasks)) == (30 + 9 * 30 + 30 + 240, 3)


def test_what_is_refused_at_once_leaves_nothing(clock: Clock, tmp_path: Path) -> None:
    with Tracker(Silent(), tmp_path, "out", is_in_wandb=False) as tracker:
        tracker.phase("checking the source", "episodes", 40)
        clock.now_s += 9.9
        tracker.advance(40, 0)
        tracker.ended(Ended(Spent(), 2, frozenset()))
    assert list(tmp_path.iterdir()) == []


def test_gauges_of_ray_where_this_process_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float, dict[str, str]]] = []

    class Gauge:
        def __init__(self, name: str, tag_keys: tuple[str, ...]) -> None:
            self._name = name
            assert tag_keys == ("output",)

        def set(self, value: float, tags: dict[str, str]) -> None:
            told.append((self._name, value, tags))

    is_there = [False]
    metrics: Any = ModuleType("ray.util.metrics")
    metrics.Gauge = Gauge
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: is_there[0]))
    monkeypatch.setitem(sys.modules, "ray.util", ModuleType("ray.util"))
    monkeypatch.setitem(sys.modules, "ray.util.metrics", metrics)
    gauges = RayMetrics("s3://bucket/out")
    gauges.set({"frames_per_s": 1.0})
    assert told == []
    is_there[0] = True
    gauges.set({"frames_per_s": 2.0})
    assert told == [("predecode_frames_per_s", 2.0, {"output": "s3://bucket/out"})]


def test_stages_count_what_is_inside_and_only_during_a_measurement() -> None:
    with stage("write"):
        pass

    def work() -> list[int]:
        with stage("decode"):
            sum(range(100_000))
        return list(timed("read", iter([1, 2])))

    result, spent = measured(work)
    assert result == [1, 2]
    assert list(spent.stages_s) == list(STAGES)
    assert spent.stages_s["write"] == 0
    assert 0 < spent.stages_s["read"] < spent.stages_s["decode"] < spent.wall_s
    assert spent.cpu_s > 0
