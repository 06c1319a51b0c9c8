"""What counts as growth in a soak: a leak does, noise and a warm-up do not."""

import mmap
import os
import random
from pathlib import Path

import pytest

from benchmarks.soak import growth, looked_at


def rows(values: list[float], name: str = "driver_memory_mb") -> list[dict[str, float]]:
    return [{"time_s": 10.0 * number, name: value} for number, value in enumerate(values)]


def noisy(num: int, slope: float, noise: float) -> list[float]:
    draw = random.Random(0)
    return [200 + slope * number + draw.gauss(0, noise) for number in range(num)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (noisy(90, 0.0, 5.0), False),
        (noisy(90, 0.5, 5.0), True),  # 31 MB over 63 jobs
        (noisy(90, 0.02, 0.1), False),  # 1.3 MB: below what counts
        ([100.0 + 10 * n for n in range(20)] + [300.0] * 70, False),  # full after a warm-up
        ([300.0 - n for n in range(90)], False),
        ([200.0 + n for n in range(90)], True),
        ([200.0] * 70 + [220.0] * 20, False),  # one step
        ([200.0 + 5 * (n // 15) for n in range(90)], True),  # a step each 150 s
    ],
)
def test_a_leak_counts_and_noise_does_not(values: list[float], expected: bool) -> None:
    assert growth(rows(values), "driver_memory_mb")["grows"] is expected


def test_a_file_that_stays_open_now_and_then_counts() -> None:
    files = [20.0 + number // 10 for number in range(90)]
    assert growth(rows(files, "task_files"), "task_files")["grows"] is True
    assert growth(rows([20.0, 21.0] * 45, "task_files"), "task_files")["grows"] is False


def test_too_few_jobs_prove_nothing() -> None:
    with pytest.raises(SystemExit, match="too few"):
        growth(rows([1.0, 1.0]), "driver_memory_mb")


def test_a_process_is_seen_with_its_memory_and_its_open_files(tmp_path: Path) -> None:
    memory_mb, num_files = looked_at(os.getpid())
    kept = mmap.mmap(-1, 50_000_000)  # no memory that the process has already
    kept.write(os.urandom(1) * 50_000_000)
    with (tmp_path / "a").open("wb"), (tmp_path / "b").open("wb"):
        now_mb, now_files = looked_at(os.getpid())
    assert 45 < now_mb - memory_mb < 60
    assert now_files == num_files + 2
    assert len(kept) == 50_000_000
