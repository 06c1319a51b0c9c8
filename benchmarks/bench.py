"""Runs the benchmarks, prints their tables, and compares their figures with the stored ones.

    python -m benchmarks.bench                 # all; about half an hour
    python -m benchmarks.bench convert sparse  # some
    python -m benchmarks.bench --store         # and keep the figures in benchmarks/results.json

Figures are ratios within a run where there is something to divide by. A figure's noise is half of
the distance between its extremes in the rounds of its run, at least 3 %, and 10 % where there is
one round. A change larger than the noise of both is marked with ``!``; exit status 1 if a figure is
worse by that.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.read import machine

__all__ = ["Figure", "changes", "figure_of"]

RESULTS = Path(__file__).parent / "results.json"
_LEAST_NOISE, _ONE_ROUND = 0.03, 0.10

Rounds = dict[str, list[float]]
"""Figure -> its value in each round."""


class Figure(NamedTuple):
    """One figure of a benchmark."""

    value: float
    noise: float
    """Relative to the value."""
    is_better_low: bool = False


class Benchmark(NamedTuple):
    """A script, and what of its result is compared."""

    figures: Callable[[Any], Rounds]
    has_out: bool = False
    """Whether the result goes to ``--out`` rather than standard output."""


def _convert(result: Any) -> Rounds:
    return dict(result["ratios"])


def _sparse(result: Any) -> Rounds:
    return {f"gain, {row['wanted']}": row["gains"] for row in result["rows"]}


def _read(result: Any) -> Rounds:
    return {
        f"{row['variant']}, {row['order']}, {row['num_workers']} workers": row["cpu_ms"][
            "ratios_to_floor"
        ]
        for row in result["rows"]
        if not row["variant"].startswith("floor")
    }


def _feed(result: Any) -> Rounds:
    return {
        f"{row['variant']} / {base.removeprefix('ratio_to_')}, {row['num_workers']} workers"
        f"{', launcher' if row['loader'] == 'launcher' else ''}": list(row[base].values())
        for row in result["rows"]
        if row["variant"].startswith("shards")
        for base in row
        if base.startswith("ratio_to_")
    }


def _data_wait(result: Any) -> Rounds:
    return {
        f"{row['loader']}, wait_s": [wait_ms / 1000 for wait_ms in row["parts_mean_wait_ms"]]
        for row in result["rows"]
    }


def _slow(result: Any) -> Rounds:
    return {f"{row['storage']}, {row['reader']}": [row["share"]] for row in result["rows"]}


def _scale(result: Any) -> Rounds:
    return {name: [result[name]] for name in ("plan_cpu_s", "resume_cpu_s", "receipts_cpu_s")}


def _scaling(result: Any) -> Rounds:
    return {name: [result[name]] for name in ("two_to_one", "ray_to_two")}


def _startup(result: Any) -> Rounds:
    return {
        f"{row['kind']}, {row['num_workers']} workers, first_batch_s": [row["first_batch_s"]]
        for row in result["rows"]
    }


BENCHMARKS = {
    "convert": Benchmark(_convert),
    "scaling": Benchmark(_scaling),
    "sparse": Benchmark(_sparse),
    "read": Benchmark(_read, has_out=True),
    "trainer_feed": Benchmark(_feed, has_out=True),
    "data_wait": Benchmark(_data_wait),
    "slow": Benchmark(_slow),
    "startup": Benchmark(_startup),
    "scale": Benchmark(_scale),
}


def main() -> None:
    """Runs what is asked for; exits with 1 if a figure became worse."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--store", action="store_true", help=f"write {RESULTS.name}")
    words = parser.parse_args()
    if strangers := sorted(set(words.names) - set(BENCHMARKS)):
        parser.error(f"{strangers[0]}: expected some of {', '.join(BENCHMARKS)}")
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    worse: list[str] = []
    for name in words.names or BENCHMARKS:
        print(f"\n## {name}", flush=True)
        figures = {
            figure: figure_of(rounds, is_better_low=figure.endswith("_s"))
            for figure, rounds in BENCHMARKS[name].figures(_run(name)).items()
        }
        before = {k: Figure(**v) for k, v in stored.get(name, {}).get("figures", {}).items()}
        for line, is_worse in changes(figures, before):
            print(line)
            worse += [f"{name}: {line}"] if is_worse else []
        stored[name] = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": machine(),
            "figures": {figure: value._asdict() for figure, value in figures.items()},
        }
        if words.store:  # after each: together they take an hour
            RESULTS.write_text(json.dumps(stored, indent=1) + "\n")
    sys.exit(1 if worse else 0)


def figure_of(rounds: Sequence[float], *, is_better_low: bool = False) -> Figure:
    """Returns the median and the noise of a figure."""
    value = statistics.median(rounds)
    noise = (max(rounds) - min(rounds)) / 2 / value if len(rounds) > 1 and value else _ONE_ROUND
    return Figure(round(value, 4), round(max(noise, _LEAST_NOISE), 4), is_better_low)


def changes(now: dict[str, Figure], before: dict[str, Figure]) -> list[tuple[str, bool]]:
    """Returns a line for each figure, and whether it became worse beyond noise."""
    lines = []
    for name, figure in now.items():
        text = f"  {name:58}{figure.value:10.3f} ±{figure.noise:4.0%}"
        is_worse = False
        if (old := before.get(name)) is not None and old.value:
            change = figure.value / old.value - 1
            is_beyond = abs(change) > figure.noise + old.noise
            is_worse = is_beyond and (change > 0) == figure.is_better_low
            text += f"   was {old.value:8.3f} {change:+5.0%}{' !' if is_beyond else ''}"
        lines.append((text, is_worse))
    return lines


def _run(name: str) -> Any:
    """Returns a benchmark's result; its table goes to standard error.

    Raises:
        SystemExit: it failed.
    """
    one = BENCHMARKS[name]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        words = [sys.executable, "-m", f"benchmarks.{name}"]
        with out.open("wb") as file:
            done = subprocess.run(
                [*words, "--out", str(out)] if one.has_out else words,
                stdout=None if one.has_out else file,
                check=False,
            )
        if done.returncode:
            raise SystemExit(f"{name}: exit status {done.returncode}")
        return json.loads(out.read_text())


if __name__ == "__main__":
    main()
