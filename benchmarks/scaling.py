"""How well tasks share a machine: Ray's beside bare processes, and what Ray itself takes.

    python -m benchmarks.scaling

Four shards of 6,000 full-size frames of three cameras are made by one bare process, by two, and as
``predecode run`` makes them on two CPUs: a Ray task each, which works in a process of its own. Wall
time from the first task to the end of the last; starting interpreters and Ray is not counted, but
``ray_start_s`` told. ``ray_task_ms``: of a thousand tasks that do nothing. ``overhead``: planning,
resuming, receipts, manifest (``benchmarks.scale``) and Ray of 5,000 such shards, by the time that
two cores take for them. Prints one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import scale
from benchmarks.about import about
from benchmarks.plan import make_large
from predecode.child import Limits
from predecode.cluster import RayCluster
from predecode.isolation import run_isolated
from predecode.output import jobs_of, load_plans
from predecode.pipeline import ShardJob, run_shard_task
from tests.support.jobs import run_here

_NUM_EPISODES = 2
_NUM_SHARDS = 4
_NUM_EMPTY = 1000
_ALL_SHARDS = 5000


def main() -> None:
    """Measures and prints; with ``--bare``, is one of the bare processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--frames-per-shard", type=int, default=6000)
    words = parser.parse_args()
    if words.bare:
        _be_bare(msgspec.json.decode(words.bare.read_bytes(), type=list[ShardJob]))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), words.frames_per_shard)
    print(json.dumps(about("scaling") | found, indent=1))


def measure(work: Path, frames_per_shard: int) -> dict[str, Any]:
    """Returns seconds of each way, and what they are of each other."""
    out = work / "shards"
    make_large(work / "b1k", work / "one", num_episodes=_NUM_EPISODES, full_size=True)
    run_here(work / "b1k", out, shard_size=frames_per_shard)
    jobs = [j for plan in load_plans(out) for j in jobs_of(out, plan) if isinstance(j, ShardJob)]
    jobs = jobs[:_NUM_SHARDS]
    one_s = bare_s(work, [jobs])
    two_s = bare_s(work, [jobs[::2], jobs[1::2]])
    start_s = time.monotonic()
    with RayCluster(None, 2) as cluster:
        ray_start_s = time.monotonic() - start_s
        list(cluster.run(_nothing, range(2), lambda *_: None))  # its workers have started
        start_s = time.monotonic()
        work_on = partial(run_isolated, limits=Limits())
        list(cluster.run(work_on, jobs, lambda *_: None))
        ray_s = time.monotonic() - start_s
        start_s = time.monotonic()
        list(cluster.run(_nothing, range(_NUM_EMPTY), lambda *_: None))
        task_s = (time.monotonic() - start_s) / _NUM_EMPTY
    steps = scale.measure(10_000, 50)
    around_s = sum(steps[f"{name}_s"] for name in ("plan", "resume", "receipts", "manifest"))
    return {
        "frames_per_shard": frames_per_shard,
        "one_process_s": round(one_s, 1),
        "two_processes_s": round(two_s, 1),
        "two_ray_cpus_s": round(ray_s, 1),
        "two_to_one": round(one_s / two_s, 3),
        "ray_to_two": round(two_s / ray_s, 3),
        "ray_start_s": round(ray_start_s, 2),
        "ray_task_ms": round(1000 * task_s, 2),
        "overhead": round((around_s + _ALL_SHARDS * task_s) / (_ALL_SHARDS * two_s / len(jobs)), 5),
    }


def bare_s(work: Path, shares: Sequence[Sequence[ShardJob]]) -> float:
    """Seconds until a process for each share of the jobs has done it; they start together."""
    processes = []
    for number, share in enumerate(shares):
        path = work / f"jobs{number}.json"
        path.write_bytes(msgspec.json.encode(share))
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.scaling", "--bare", str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    for process in processes:
        _line_of(process)  # it has imported everything
    start_s = time.monotonic()
    for process in processes:
        if process.stdin is not None:
            process.stdin.write("go\n")
            process.stdin.close()
    for process in processes:
        if process.wait():
            raise SystemExit(f"a bare process ended with {process.returncode}")
    return time.monotonic() - start_s


def _line_of(process: "subprocess.Popen[str]") -> str:
    return process.stdout.readline() if process.stdout else ""


def _be_bare(jobs: Sequence[ShardJob]) -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    for job in jobs:
        run_shard_task(job, lambda _: None)


def _nothing(payload: int, report: Any) -> int:
    report(0)
    return payload


if __name__ == "__main__":
    main()
