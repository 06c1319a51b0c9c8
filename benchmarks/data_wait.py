"""How long a trainer's step waits for its batch of 64, with and without the launcher.

    python -m benchmarks.data_wait

The loader is the trainer's: spawned workers, batches of arrays (``trainer_side``). A step takes
what is given, makes its observation of it as the trainer does, and sleeps for the rest of
``--step-ms``, as a process does that waits for its GPU. The wait is counted at the loader's
``next``, without the first steps of a pass, which begins with empty workers. torch's threads sleep
where they wait, as under the launcher. Prints a table on standard error and one JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch.utils.data

from benchmarks.about import about, as_launched
from benchmarks.feed_data_sets import CODECS, Data, make_data, variants
from benchmarks.trainer_side import Transformed, collated, observation
from train_shards.feeding import Feeding
from train_shards.norm_stats import corpus_stats
from train_shards.norm_stats_file import NormStats

__all__ = ["measure"]

_BATCH, _NUM_FIRST, _NUM_PARTS = 64, 5, 4


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.data_wait")
    parser.add_argument("--work", type=Path, help="folder for data, kept (default: temporary)")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--step-ms", type=float, default=500)
    parser.add_argument("--num-workers", type=int, default=2)
    words = parser.parse_args()
    as_launched("data_wait")
    with ExitStack() as stack:
        work = words.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = make_data(work.absolute(), full_size=True)
        stats, _ = corpus_stats(data.shards["raw"])
        rows = [
            measure(
                data, codec, stats, num_workers=words.num_workers, num_steps=words.steps,
                step_s=words.step_ms / 1000, is_launched=is_launched,
            )
            for codec in CODECS
            for is_launched in (False, True)
        ]  # fmt: skip
    for row in rows:
        print(
            f"{row['loader']:28}{row['mean_wait_ms']:8.1f} ms mean{row['most_wait_ms']:8.1f} most"
            f"{row['share']:8.2%} of a step; observation {row['observation_ms']:.0f} ms",
            file=sys.stderr,
        )
    print(json.dumps({**about("data_wait"), "step_ms": words.step_ms, "rows": rows}))


def measure(
    data: Data,
    codec: str,
    stats: dict[str, NormStats],
    *,
    num_workers: int,
    num_steps: int,
    step_s: float,
    is_launched: bool,
) -> dict[str, Any]:
    """Returns the waits of one loader."""
    dataset = Transformed(variants(data, is_short=False)[f"shards, {codec}"].dataset, stats)

    class Loader(torch.utils.data.DataLoader[Any]):
        """The launcher changes this one; torch's stays as it is."""

    if is_launched:
        feeding = Feeding(data="shards", source=str(data.shards[codec]))
        feeding.patch(SimpleNamespace(DataLoader=Loader))  # type: ignore[arg-type]
    with redirect_stdout(sys.stderr):  # the launcher's line
        loader = Loader(
            dataset, _BATCH, shuffle=True, num_workers=num_workers, collate_fn=collated,
            multiprocessing_context="spawn", persistent_workers=True, drop_last=True,
        )  # fmt: skip
    waits_ms: list[float] = []
    observations_ms: list[float] = []
    while len(waits_ms) < num_steps:
        for step, (waited_s, made_s) in enumerate(_steps(loader, step_s)):
            if step >= _NUM_FIRST:  # a pass of the small data set is short, and begins empty
                waits_ms.append(1000 * waited_s)
                observations_ms.append(1000 * made_s)
    return {
        "loader": f"{codec}, {'launcher' if is_launched else 'DataLoader alone'}",
        "mean_wait_ms": round(statistics.mean(waits_ms), 2),
        "most_wait_ms": round(max(waits_ms), 2),
        "share": round(statistics.mean(waits_ms) / 1000 / step_s, 5),
        "observation_ms": round(statistics.median(observations_ms), 1),
        "parts_mean_wait_ms": [
            round(statistics.mean(waits_ms[part::_NUM_PARTS]), 2) for part in range(_NUM_PARTS)
        ],
    }


def _steps(loader: Any, step_s: float) -> Iterator[tuple[float, float]]:
    """Yields for each step of a pass the seconds of its wait and of making its observation."""
    batches = iter(loader)
    for _ in range(len(loader)):
        start_s = time.perf_counter()
        batch = next(batches)
        got_s = time.perf_counter()
        observation(batch)
        made_s = time.perf_counter()
        yield got_s - start_s, made_s - got_s
        time.sleep(max(start_s + step_s - time.perf_counter(), 0))


if __name__ == "__main__":
    main()
