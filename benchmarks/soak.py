"""Memory and open files over many jobs, and over one job of many tasks: does anything grow?

    python -m benchmarks.soak --minutes 15            small jobs, one after another
    python -m benchmarks.soak --minutes 15 --one-job  one job, as many tasks as the time holds

One driver has one embedded Ray. Every 15 s resident memory and open files of the driver, the
most of any of Ray's worker processes and the most of any task's own process since the last look are
noted. Prints one JSON object with each series; ends with 1 when one of them grows.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.about import about
from predecode.child import Limits
from predecode.cluster import RayCluster
from predecode.config import make_settings
from predecode.display import SILENT
from predecode.isolation import run_isolated
from predecode.job import run_job
from predecode.sources.episode import Source
from predecode.sources.registry import open_source
from predecode.sources.sample import make_sample

__all__ = ["growth", "main"]

Soaked = tuple[dict[str, int], list[dict[str, float]]]
"""How much ran, and what was seen of it, a row every 15 s."""

_EPISODES = (10, 490040)
"""Of the sample data set; 210 frames."""
_WARM_UP = 0.3
"""Share of the series that is left out at its beginning: pools fill, libraries are loaded."""
_ERRORS = 4.0
"""Standard errors by which a slope must exceed nothing to count."""
_LEAST = {"memory_mb": 4.0, "files": 1.0}
"""Growth over the whole of a series below which it does not count."""
_POLL_S = 0.1
_ROW_S = 15.0
"""Longer than a task, whose most is at its end."""
_LONG = 20
"""Of 250 frames: one of its videos fills a shard of 256."""
_TRIAL = 60
"""Videos of the job that tells how many the time holds."""
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
    parser.add_argument("--one-job", action="store_true", help="one job of many tasks")
    words = parser.parse_args()
    soak = one_job if words.one_job else small_jobs
    with (
        tempfile.TemporaryDirectory() as folder,
        RayCluster(None, words.num_cpus) as cluster,
    ):
        counts, rows = soak(Path(folder), words.minutes * 60, cluster)
    growths = {name: growth(rows, name) for name in rows[0] if name != "time_s"}
    result = {
        **about("soak"),
        **counts,
        "growth": growths,
        "grows": [name for name, found in growths.items() if found["grows"]],
        "rows": rows,
    }
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["grows"] else 0)


def small_jobs(folder: Path, duration_s: float, cluster: RayCluster) -> Soaked:
    """Runs jobs of 210 frames, each into a folder of its own, until the time is over."""
    make_sample(folder / "b1k", episode_indices=_EPISODES, modalities=("rgb",))
    started, num_jobs = time.monotonic(), 0
    with _Watch() as watch:
        while time.monotonic() - started < duration_s:
            _run(cluster, folder / f"out{num_jobs}", open_source("b1k", folder / "b1k"))
            num_jobs += 1
    return {"num_jobs": num_jobs}, watch.rows


def one_job(folder: Path, duration_s: float, cluster: RayCluster) -> Soaked:
    """Runs one job of about this length: a shard and a table of each of many short videos.

    How many the time holds is told by a small job before it.
    """
    (folder / "first").mkdir()
    video = folder / "first/0.mp4"
    make_sample(folder / "b1k", episode_indices=(_LONG,), modalities=("rgb",))
    shutil.copy(min((folder / "b1k").rglob("*.mp4")), video)
    trial = _copies(folder / "first", video, _TRIAL)
    _run(cluster, folder / "out_first", trial)  # Ray's workers have started
    started = time.monotonic()
    _run(cluster, folder / "out_second", trial)
    num_videos = int(_TRIAL * duration_s / (time.monotonic() - started))
    source = _copies(folder / "videos", video, num_videos)
    with _Watch() as watch:
        _run(cluster, folder / "out", source)
    return {"num_jobs": 1, "num_shards": num_videos}, watch.rows


def _copies(folder: Path, video: Path, num: int) -> Source:
    folder.mkdir(exist_ok=True)
    for number in range(num):
        if (path := folder / f"{number}.mp4") != video:
            path.hardlink_to(video)
    return open_source("videos", folder)


def _run(cluster: RayCluster, out: Path, source: Source) -> None:
    run_job(
        out, source, make_settings(source, size="64", shard_size=256), source.episodes,
        lambda: nullcontext(cluster), SILENT, overwrite=False,
        work=partial(run_isolated, limits=Limits()),
    )  # fmt: skip


def growth(rows: Sequence[dict[str, float]], name: str) -> dict[str, Any]:
    """Growth of a series over its length by a straight line, its error, and whether it counts.

    It counts where it is more than ``_ERRORS`` standard errors, and more than ``_LEAST``. The line
    has the median slope of all pairs (Theil and Sen), so that a single step, as when a pool grows,
    is none; steps that come again and again are.
    """
    rows = rows[int(len(rows) * _WARM_UP) :]
    times, values = [row["time_s"] for row in rows], [row[name] for row in rows]
    if len(rows) < 3:
        raise SystemExit(f"{len(rows)} looks after the warm-up: too few. Give more --minutes.")
    slope = statistics.median(
        (v - u) / (t - s)
        for (s, u), (t, v) in combinations(zip(times, values, strict=True), 2)
        if t > s
    )
    intercept = statistics.median(v - slope * t for t, v in zip(times, values, strict=True))
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


class _Watch:
    """Looks at the processes while jobs run."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        started = time.monotonic()
        tasks, noted_s = (0.0, 0), 0.0
        while not self._is_over.wait(_POLL_S):
            found = [(command, seen) for _, command, seen in descendants()]
            tasks = _most(tasks, *(seen for command, seen in found if _TASK in command))
            time_s = time.monotonic() - started
            if time_s - noted_s < _ROW_S:
                continue
            driver = looked_at(os.getpid())
            workers = [seen for command, seen in found if command.startswith(_WORKER)]
            of = {"driver": driver, "worker": _most((0.0, 0), *workers), "task": tasks}
            self.rows.append(
                {"time_s": round(time_s, 1), "num_workers": len(workers)}
                | {f"{name}_memory_mb": seen[0] for name, seen in of.items()}
                | {f"{name}_files": seen[1] for name, seen in of.items()}
            )
            tasks, noted_s = (0.0, 0), time_s


def _most(*seen: tuple[float, int]) -> tuple[float, int]:
    return max(memory for memory, _ in seen), max(files for _, files in seen)


if __name__ == "__main__":
    main()
