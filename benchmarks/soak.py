"""Memory and open files over many jobs: does the driver, a Ray worker or a task's process grow?

    python -m benchmarks.soak --minutes 15

One driver with one embedded Ray runs a small job after another, each into a folder of its own.
After each job it notes resident memory and open files of itself and of Ray's worker processes; the
largest of each among the tasks' own processes is noted while they run. Prints one JSON object with
each series; ends with 1 when one of them grows.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from predecode.child import Limits
from predecode.cluster import RayCluster
from predecode.config import make_settings
from predecode.display import Silent
from predecode.isolation import run_isolated
from predecode.job import run_job
from predecode.sources.registry import open_source
from predecode.sources.sample import make_sample
from predecode.video.probe import library_versions

__all__ = ["growth", "main"]

_EPISODES = (10, 490040)
"""Of the sample data set; 210 frames."""
_WARM_UP = 0.3
"""Share of the series that is left out at its beginning: pools fill, libraries are loaded."""
_ERRORS = 4.0
"""Standard errors by which a slope must exceed nothing to count."""
_LEAST = {"memory_mb": 4.0, "files": 1.0}
"""Growth over the whole of a series below which it does not count."""
_POLL_S = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TASK = "predecode.task_process"
_WORKER = "ray::"


def main() -> None:
    """Soaks for the time on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--num-cpus", type=int, default=2)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(soak(Path(folder), words.minutes * 60, words.num_cpus))
    growths = {name: growth(rows, name) for name in rows[0] if name != "time_s"}
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.soak", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), **library_versions()},
        "num_jobs": len(rows),
        "growth": growths,
        "grows": [name for name, found in growths.items() if found["grows"]],
        "rows": rows,
    }
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["grows"] else 0)


def soak(folder: Path, duration_s: float, num_cpus: int) -> Iterator[dict[str, float]]:
    """Runs jobs until the time is over, at least three; yields what was seen after each."""
    make_sample(folder / "b1k", episode_indices=_EPISODES, modalities=("rgb",))
    source = open_source("b1k", folder / "b1k")
    settings = make_settings(source, size="64", shard_size=256)
    started = time.monotonic()
    num_jobs = 0
    with RayCluster(None, num_cpus) as cluster:
        while num_jobs < 3 or time.monotonic() - started < duration_s:
            with _Tasks() as tasks:
                run_job(
                    folder / f"out{num_jobs}", source, settings, source.episodes,
                    lambda: nullcontext(cluster), Silent(), overwrite=False,
                    work=partial(run_isolated, limits=Limits()),
                )  # fmt: skip
            num_jobs += 1
            workers = [seen for _, name, seen in descendants() if name.startswith(_WORKER)]
            yield {
                "time_s": round(time.monotonic() - started, 1),
                "driver_memory_mb": looked_at(os.getpid())[0],
                "driver_files": looked_at(os.getpid())[1],
                "worker_memory_mb": max((seen[0] for seen in workers), default=0.0),
                "worker_files": max((seen[1] for seen in workers), default=0),
                "num_workers": len(workers),
                "task_memory_mb": tasks.memory_mb,
                "task_files": tasks.files,
            }


def growth(rows: Sequence[dict[str, float]], name: str) -> dict[str, Any]:
    """Growth of a series over its length by a straight line, its error, and whether it counts.

    It counts where it is more than ``_ERRORS`` standard errors, and more than ``_LEAST``.
    """
    rows = rows[int(len(rows) * _WARM_UP) :]
    times, values = [row["time_s"] for row in rows], [row[name] for row in rows]
    if len(rows) < 3:
        raise SystemExit(f"{len(rows)} jobs after the warm-up: too few. Give more --minutes.")
    slope, intercept = statistics.linear_regression(times, values)
    left = sum((v - intercept - slope * t) ** 2 for t, v in zip(times, values, strict=True))
    mean = statistics.fmean(times)
    spread = sum((t - mean) ** 2 for t in times)
    length_s = times[-1] - times[0]
    grown = slope * length_s
    error = (left / (len(rows) - 2) / spread) ** 0.5 * length_s
    least = next((least for unit, least in _LEAST.items() if name.endswith(unit)), 1.0)
    return {
        "first": values[0],
        "last": values[-1],
        "largest": max(values),
        "grown": round(grown, 2),
        "error": round(error, 2),
        "grows": grown > max(_ERRORS * error, least),
    }


def descendants() -> Iterator[tuple[int, str, tuple[float, int]]]:
    """Yields number, command line, memory and open files of each process below this one."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # gone meanwhile
    mine = {os.getpid()}
    while new := {child for child, parent in parents.items() if parent in mine} - mine:
        mine |= new
    for process in sorted(mine - {os.getpid()}):
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            yield process, command, looked_at(process)
        except OSError:
            continue


def looked_at(process: int) -> tuple[float, int]:
    """Resident memory in MB and the number of open files of a process.

    Source: second field of /proc/<pid>/statm; entries of /proc/<pid>/fd.
    """
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    num_files = sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    return round(pages * _PAGE_BYTES / 1e6, 1), num_files


class _Tasks:
    """Watches the tasks' processes while a job runs: the most memory and files of any."""

    def __init__(self) -> None:
        self.memory_mb, self.files = 0.0, 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Tasks":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(_POLL_S):
            for _, command, (memory_mb, num_files) in descendants():
                if _TASK in command:
                    self.memory_mb = max(self.memory_mb, memory_mb)
                    self.files = max(self.files, num_files)


if __name__ == "__main__":
    main()
