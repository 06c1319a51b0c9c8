"""Seconds to plan, and to resume, what a whole data set makes: 500,000 pieces in 5,000 shards.

    python -m benchmarks.scale --num-episodes 10000 --pieces-per-episode 50

The plan is made of nothing: no video, and files of zeros under the names that receipts tell. Prints
one JSON object. ``plan_s``: pieces cut, dealt and digested. ``resume_s``: the plan read, every
receipt and file looked at, what is to be done decided. ``receipts_s``: the same once more, for the
manifest; ``manifest_s``: the manifest made of them. ``…_cpu_s``: of the processor alone, for a
machine that has other work.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.about import about
from predecode.manifest import build_manifest
from predecode.output import finished_generations, jobs_of, load_plans, receipt_of
from predecode.planning import Plan
from tests.support.synthetic_plan import synthetic_episodes, synthetic_plan, write_as_if_done
from train_shards.manifest import encode_json

T = TypeVar("T")


def main() -> None:
    """Measures what the words on the command line ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--num-episodes", type=int, default=10_000)
    parser.add_argument("--pieces-per-episode", type=int, default=50)
    words = parser.parse_args()
    print(
        json.dumps(about("scale") | measure(words.num_episodes, words.pieces_per_episode), indent=1)
    )


def measure(num_episodes: int, pieces_per_episode: int) -> dict[str, Any]:
    """Seconds of each step, and the size of the plan."""
    episodes = synthetic_episodes(num_episodes, pieces_per_episode)
    times: dict[str, float] = {}
    plan = timed("plan", times, lambda: synthetic_plan(episodes))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        write_as_if_done(out, plan)
        left = timed("resume", times, lambda: to_do(out))
        finished = timed("receipts", times, lambda: finished_generations(out, load_plans(out)))
        timed("manifest", times, lambda: encode_json(build_manifest(finished, [{}])))
    return {
        "num_pieces": sum(len(shard.pieces) for shard in plan.shards),
        "num_shards": len(plan.shards),
        "num_tables": len(plan.tables),
        "num_left": len(left),
        **times,
        "most_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
    }


def to_do(out: Path) -> list[str]:
    """Names of the tasks without a receipt, as ``predecode run`` finds them."""
    plans: list[Plan] = load_plans(out)
    return [
        job.name for plan in plans for job in jobs_of(out, plan) if receipt_of(out, job) is None
    ]


def timed(name: str, times: dict[str, float], step: Callable[[], T]) -> T:
    """Returns what a step returns; notes its seconds, and those of the processor."""
    start, cpu_start = time.perf_counter(), time.process_time()
    result = step()
    times[f"{name}_s"] = round(time.perf_counter() - start, 2)
    times[f"{name}_cpu_s"] = round(time.process_time() - cpu_start, 2)
    return result


if __name__ == "__main__":
    main()
