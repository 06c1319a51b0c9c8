"""How fast samples are read back: ours, the floor, and other libraries, on the same samples.

    python -m benchmarks.read --out read.json

Each reader is a process of its own, in its own environment, and reads when it is its turn: in each
round every variant makes one pass over all samples, so that the noise of the machine hits all
alike. Files are in the page cache: what is compared is the work of the CPU, not of a disk.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.environments import ENVIRONMENTS
from predecode.sources.sample import EPISODES, make_sample
from tests.support.environments import outside_variables
from tests.support.jobs import run_here
from train_shards.format import image_field
from train_shards.ledger import decode_ledger
from train_shards.manifest import load_manifest

ROOT = Path(__file__).parents[1]
PEERS = ("webdataset", "wids", "streaming", "litdata")
NUM_WORKERS = (0, 2)
SPEEDS = ("samples_per_s", "cpu_ms")
"""What a pass measures; ``cpu_ms`` is the processor time of a sample."""


class Reader:
    """A process that reads on request; see ``benchmarks.read_child``."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        """Waits until the process says which variants it has."""
        self.name = name
        self._process = process
        self.variants: dict[str, dict[str, Any]] = self._answer()

    def read(self, **request: Any) -> dict[str, Any]:
        """Has one pass made and returns what was measured."""
        if self._process.stdin is None:
            raise ValueError(f"{self.name}: its standard input is not a pipe")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        done: dict[str, Any] = self._answer()
        return done

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit(f"{self.name}: the reader ended with {self._process.wait()}.")
        return json.loads(line)


@contextmanager
def started(name: str, samples: Path) -> Iterator[Reader]:
    """Starts a reader in its environment."""
    environment = ENVIRONMENTS.get(name)
    python = environment.folder / "bin/python" if environment else Path(sys.executable)
    with subprocess.Popen(
        [str(python), "-m", "benchmarks.read_child", name, str(samples)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**outside_variables(), "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        yield Reader(name, process)  # it ends when its standard input does


def make_samples(work: Path, codec: str, episodes: list[int]) -> Path:
    """Makes data set and shards unless they are there; returns the list of the samples.

    The layout is ``episode``, so that positions in order are also bytes in order.
    """
    source, out = work / "source", work / codec / "shards"
    if not source.exists():
        make_sample(source, full_size=True, episode_indices=episodes, modalities=("rgb",))
    run_here(source, out, codec=codec, layout="episode")
    manifest = load_manifest(out)
    fields, cameras = manifest.settings.fields, manifest.settings.camera_names
    members = {camera: fields.index(image_field(camera, codec)) for camera in cameras}
    members["json"] = fields.index("json")
    rows = []
    for shard in (shard for generation in manifest.generations for shard in generation.shards):
        ledger = decode_ledger(
            (out / shard.ledger).read_bytes(), len(fields), len(cameras), where=shard.ledger
        )
        rows += [
            {
                "episode_index": int(row["episode_index"]),
                "frame_index": int(row["frame_index"]),
                "shard": str(out / shard.path),
                "members": {
                    name: [
                        int(row["offset_bytes"]) + int(row["data_offset_bytes"][member]),
                        int(row["data_bytes"][member]),
                    ]
                    for name, member in members.items()
                },
            }
            for row in ledger
        ]
    size = manifest.settings.picture_size
    samples = {"out": str(out), "codec": codec, "shape": [*(size or ()), 3], "cameras": cameras}
    path = work / codec / "samples.json"
    path.write_text(json.dumps({**samples, "rows": rows}))
    return path


def measure(readers: list[Reader], num_rounds: int) -> list[dict[str, Any]]:
    """Returns one row a variant, order and number of workers.

    Raises:
        SystemExit: a variant did not deliver the samples and pixels that the others did.
    """
    variants = [(reader, name) for reader in readers for name in reader.variants]
    expected: dict[str, Any] = {}
    passes: dict[tuple[str, bool, int], list[dict[str, Any]]] = {}

    def run(reader: Reader, name: str, **request: Any) -> dict[str, Any]:
        done = reader.read(variant=name, **request)
        for what, got in done.items():
            if what in SPEEDS or (what == "crc32_sum" and not request["check_pixels"]):
                continue
            if expected.setdefault(what, got) != got:
                raise SystemExit(f"{name}, {request}: {what} {got}, the others {expected[what]}.")
        return done

    for reader, name in variants:  # first touch: caches, connections, and the proof of the pixels
        run(reader, name, seed=None, num_workers=0, check_pixels=True)
    for number in range(num_rounds):
        for is_random in (False, True):
            for num_workers in NUM_WORKERS:
                for reader, name in variants:
                    if is_random and not reader.variants[name]["random_access"]:
                        continue
                    done = run(
                        reader, name, seed=number if is_random else None,
                        num_workers=num_workers, check_pixels=False,
                    )  # fmt: skip
                    passes.setdefault((name, is_random, num_workers), []).append(done)
    about = {name: reader.variants[name] for reader, name in variants}
    checks = {name: expected[name] for name in ("num_samples", "ids_sha256")}
    return [{**row(key, passes, about[key[0]]), **checks} for key in passes]


def row(
    key: tuple[str, bool, int],
    passes: dict[tuple[str, bool, int], list[dict[str, Any]]],
    about: dict[str, Any],
) -> dict[str, Any]:
    """One row of the result; a variant in two threads is compared with the floor in two.

    Ratios are above 1 where a variant is faster than the floor, or takes less processor time.
    """
    name, is_random, num_workers = key
    num_threads = about["num_threads"]
    floor = "floor" if num_threads == 1 else f"floor, {num_threads} threads"
    speeds: dict[str, Any] = {}
    for what in SPEEDS:
        own = [done[what] for done in passes[key]]
        others = [done[what] for done in passes[floor, is_random, num_workers]]
        power = 1 if what == "samples_per_s" else -1
        ratios = [round((a / b) ** power, 3) for a, b in zip(own, others, strict=True)]
        speeds[what] = {
            "median": round(statistics.median(own), 3),
            "min": round(min(own), 3),
            "max": round(max(own), 3),
            "ratio_to_floor": round(statistics.median(ratios), 3),
            "ratios_to_floor": ratios,
        }
    return {
        "variant": name,
        "order": "random" if is_random else "in order",
        "num_workers": num_workers,
        "num_threads": num_threads,
        "floor": floor,
        **speeds,
    }


def installed(peers: list[str]) -> tuple[list[str], dict[str, str]]:
    """Makes the peers' environments; returns those that are there, and why others are not."""
    ready, failed = [], {}
    for peer in peers:
        try:
            if peer in ENVIRONMENTS:
                ENVIRONMENTS[peer].make()
            ready.append(peer)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            failed[peer] = str(error)
    return ready, failed


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = {line.partition(": ")[2] for line in lines if line.startswith("model name")}
    return {
        "cpu": ", ".join(sorted(models)) or platform.processor(),
        "num_cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def publish(result: dict[str, Any], out: Path | None, shown: str) -> None:
    """Writes the figures as JSON to ``out``, else to standard output, and a table beside it."""
    text = json.dumps(result, indent=1) + "\n"
    if out:
        out.write_text(text)
    else:
        print(text, end="")
    print(shown, file=sys.stderr)


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as text."""
    heads = f"{'samples/s':>11}{'min':>8}{'max':>8}{'ratio':>8}{'cpu ms':>8}{'ratio':>8}"
    lines = [f"{'variant':24}{'order':>9}{'workers':>9}{heads}"]
    for one in sorted(rows, key=lambda one: (one["order"], one["num_workers"])):
        rate, cpu = one["samples_per_s"], one["cpu_ms"]
        lines.append(
            f"{one['variant']:24}{one['order']:>9}{one['num_workers']:>9}"
            f"{rate['median']:>11.0f}{rate['min']:>8.0f}{rate['max']:>8.0f}"
            f"{rate['ratio_to_floor']:>8.3f}{cpu['median']:>8.3f}{cpu['ratio_to_floor']:>8.3f}"
        )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.read")
    parser.add_argument("--work", type=Path, help="folder for data, kept (default: temporary)")
    parser.add_argument("--out", type=Path, help="JSON file (default: standard output)")
    parser.add_argument("--codec", choices=("jpeg", "raw"), default="jpeg", help="raw: no peers")
    parser.add_argument("--rounds", type=int, default=5, help="passes of each variant")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated, or none")
    parser.add_argument(
        # A rollout lacks columns, so that torch cannot collate it with others.
        "--episodes", default=",".join(str(e.episode_index) for e in EPISODES if not e.is_rft),
        help="of the sample data set",
    )  # fmt: skip
    chosen = parser.parse_args()
    chosen.peers = (
        [] if chosen.peers == "none" or chosen.codec == "raw" else chosen.peers.split(",")
    )
    if strangers := sorted(set(chosen.peers) - set(PEERS)):
        parser.error(f"--peers {strangers[0]}: expected some of {', '.join(PEERS)}, or none")
    return chosen


def main() -> None:
    """Makes the data, measures, and writes the result."""
    chosen = arguments()
    with ExitStack() as stack:
        work = chosen.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        episodes = [int(episode) for episode in chosen.episodes.split(",")]
        samples = make_samples(work.absolute(), chosen.codec, episodes)
        peers, failed = installed(chosen.peers)
        readers = [
            stack.enter_context(started(name, samples)) for name in ("floor", "ours", *peers)
        ]
        rows = measure(readers, chosen.rounds)
        variants = {name: about for reader in readers for name, about in reader.variants.items()}
    result = {
        "command": ["python", "-m", "benchmarks.read", *sys.argv[1:]],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "codec": chosen.codec,
        "rounds": chosen.rounds,
        "variants": variants,
        "not_installed": failed,
        "rows": rows,
    }
    publish(result, chosen.out, table(rows))


if __name__ == "__main__":
    main()
