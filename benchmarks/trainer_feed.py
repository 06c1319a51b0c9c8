"""How fast the trainer is fed: whole batches, ready for a step, from shards and from videos.

    python -m benchmarks.trainer_feed --out feed.json

Every variant is a map-style data set behind the same transforms, collate and DataLoader, which are
openpi-comet's, restated (``trainer_side``). In each round each variant makes one pass, so that the
noise of the machine hits all alike. Workers are spawned once and serve all variants. A first pass,
not measured, opens the files and reads the bar codes of every tenth sample's pictures.

As under the launcher, positions tell their batch, and torch's threads sleep where they wait; with
``OMP_WAIT_POLICY=active`` in the environment they spin, as without the launcher. The loader is the
trainer's own; once more what it makes of the launcher's, which has the next batch brought.
"""

import argparse
import datetime
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.utils.data

from benchmarks.about import as_launched
from benchmarks.feed_data_sets import Variant, make_data, variants
from benchmarks.read import machine, publish
from benchmarks.trainer_side import Transformed, collated, observation
from predecode.sources.barcode import Identity, read
from train_shards.ahead import FirstOfBatch
from train_shards.feeding import BroughtAhead
from train_shards.norm_stats import corpus_stats
from train_shards.norm_stats_file import NormStats
from train_shards.order import GlobalOrder

FEEDS = ((0, "DataLoader"), (2, "DataLoader"), (2, "launcher"))
"""Number of workers, and the loader; the launcher's is the DataLoader where it has none."""
FAST = ("shards, jpeg", "shards, raw", "in memory")
"""What the launcher's loader is measured with."""
BASES = {
    "streaming": "upstream-like streaming",
    "random_access": "upstream-like random access",
    "in_memory": "in memory",
}
"""What the others are divided by: name in the result -> variant."""
CAMERAS = {
    "base_0_rgb": "head", "left_wrist_0_rgb": "left_wrist", "right_wrist_0_rgb": "right_wrist",
}  # fmt: skip
CHECK_EVERY = 10
LIBRARIES = ("av", "datasets", "numpy", "pillow", "simplejpeg", "torch")


class AllVariants(torch.utils.data.Dataset[dict[str, Any]]):
    """The samples of all variants, by name and position."""

    def __init__(self, by_name: dict[str, Transformed]) -> None:
        """Takes the data sets behind the transforms."""
        self._by_name = by_name

    def __getitem__(self, place: tuple[str, int]) -> dict[str, Any]:
        """Returns a sample."""
        name, position = place
        return self._by_name[name][position]


class Feed:
    """The trainer's loader over all variants, one of which it reads in a pass."""

    def __init__(
        self,
        by_name: dict[str, Variant],
        frames: list[tuple[int, int]],
        stats: dict[str, NormStats],
        num_workers: int,
        loader: str = "DataLoader",
    ) -> None:
        """Makes the loader; its workers start with the first pass and stay.

        Args:
            by_name: what it reads.
            frames: ``(episode_index, frame_index)`` by position, of every variant.
            stats: of state and actions.
            num_workers: spawned; 0 reads in this process.
            loader: ``DataLoader``, or ``launcher`` for its way of fetching.
        """
        self.variants, self.num_workers, self.loader = by_name, num_workers, loader
        self._pool = ThreadPoolExecutor(1) if loader == "launcher" else None
        self._frames = frames
        self._batches: list[list[tuple[str, int]]] = []
        self._loader = torch.utils.data.DataLoader(
            AllVariants({n: Transformed(v.dataset, stats) for n, v in by_name.items()}),
            batch_sampler=self._batches,
            collate_fn=collated,
            num_workers=num_workers,
            multiprocessing_context="spawn" if num_workers else None,
            persistent_workers=num_workers > 0,
        )

    def measure(self, name: str, number: int) -> float:
        """Makes a pass; returns samples/s from asking for the first batch to having the last.

        Raises:
            SystemExit: other frames came than were asked for.
        """
        wanted = self._choose(name, number)
        start_s = time.perf_counter()
        ids = [ids_of(batch) for batch in self._deliver()]
        took_s = time.perf_counter() - start_s
        self._check_ids(name, list(chain.from_iterable(ids)), wanted)
        return len(wanted) / took_s

    def check(self, name: str) -> int:
        """Makes a pass that also reads bar codes; returns the number of pictures read.

        Raises:
            SystemExit: a picture is not of the frame that it came with, or as ``measure``.
        """
        wanted = self._choose(name, number=0)
        ids: list[tuple[int, int]] = []
        num_read = 0
        for batch in self._deliver():
            own = ids_of(batch)
            ids += own
            for image, camera in CAMERAS.items():
                for place in range(0, len(own), CHECK_EVERY):
                    shown, expected = read(pixels(batch["image"][image][place])), own[place]
                    if shown != Identity(*expected, camera):
                        raise SystemExit(f"{name}: {shown} came as {camera} of {expected}.")
                    num_read += 1
        self._check_ids(name, ids, wanted)
        return num_read

    def _choose(self, name: str, number: int) -> list[int]:
        """Sets what the next pass reads; returns its positions."""
        variant = self.variants[name]
        chosen = positions(variant, len(self._frames), self.num_workers, number)
        size = variant.batch_size
        batches = [chosen[start : start + size] for start in range(0, len(chosen), size)]
        self._batches[:] = [
            [(name, position) for position in [FirstOfBatch(batch), *batch[1:]]]
            for batch in batches
        ]
        return chosen

    def _deliver(self) -> Iterator[dict[str, Any]]:
        batches = iter(self._loader)
        for batch in batches if self._pool is None else BroughtAhead(batches, self._pool):
            yield observation(batch)

    def _check_ids(self, name: str, ids: list[tuple[int, int]], wanted: list[int]) -> None:
        if self.variants[name].order == "own":
            is_right = len(set(ids)) == len(ids) == len(wanted)
        else:
            is_right = ids == [self._frames[position] for position in wanted]
        if not is_right:
            raise SystemExit(f"{name}, {self.num_workers} workers: not the frames asked for.")


def positions(variant: Variant, num_frames: int, num_workers: int, number: int) -> list[int]:
    """Returns the positions of a pass; in order, each worker's batches follow one another."""
    num_processes = max(num_workers, 1)
    num_samples = variant.samples_per_process * num_processes
    if variant.order == "random":
        num_epochs = -(-num_samples // num_frames)
        epochs = [
            GlobalOrder(num_frames, seed=number, epoch=epoch).samples(np.arange(num_frames))
            for epoch in range(num_epochs)
        ]
        drawn: list[int] = np.concatenate(epochs)[:num_samples].tolist()
        return drawn
    size = variant.batch_size
    starts = [process * num_frames // num_processes for process in range(num_processes)]
    return [
        (start + batch + offset) % num_frames
        for batch in range(0, variant.samples_per_process, size)
        for start in starts
        for offset in range(size)
    ]


def ids_of(batch: dict[str, Any]) -> list[tuple[int, int]]:
    """Returns ``(episode_index, frame_index)`` of each sample."""
    return list(zip(batch["episode_index"].tolist(), batch["index"].tolist(), strict=True))


def pixels(image: torch.Tensor) -> Any:
    """Returns ``(h, w, 3)`` uint8 of what the trainer gets."""
    levels = ((image + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())


def measured(feed: Feed, num_rounds: int) -> list[dict[str, Any]]:
    """Returns one row a variant."""
    num_read = {name: feed.check(name) for name in feed.variants}
    speeds: dict[str, list[float]] = {name: [] for name in feed.variants}
    for number in range(num_rounds):
        for name, own in speeds.items():
            own.append(feed.measure(name, number + 1))
            what = f"{feed.num_workers} workers, {feed.loader}, {name}"
            print(f"{what}: {own[-1]:.1f} samples/s", file=sys.stderr)
    rows = []
    for name, variant in feed.variants.items():
        own = speeds[name]
        ratios = {
            base: [one / other for one, other in zip(own, speeds[of], strict=True)]
            for base, of in BASES.items()
            if of in speeds
        }
        rows.append({
            "variant": name,
            "about": variant.about,
            "order": variant.order,
            "num_workers": feed.num_workers,
            "loader": feed.loader,
            "batch_size": variant.batch_size,
            "samples_per_pass": variant.samples_per_process * max(feed.num_workers, 1),
            "pictures_checked": num_read[name],
            "samples_per_s": {**spread(own), "rounds": [round(one, 3) for one in own]},
            **{f"ratio_to_{base}": spread(all_) for base, all_ in ratios.items()},
        })  # fmt: skip
    return rows


def spread(values: list[float]) -> dict[str, float]:
    """Returns median and extremes."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 3) for name, value in found.items()}


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as text."""
    lines = [
        f"{'variant':34}{'workers':>8}{'loader':>12}{'samples/s':>11}{'min':>9}{'max':>9}"
        + "".join(f"{'/ ' + base:>16}" for base in BASES)
    ]
    for row in rows:
        speed = row["samples_per_s"]
        lines.append(
            f"{row['variant']:34}{row['num_workers']:>8}{row['loader']:>12}"
            f"{speed['median']:>11.1f}{speed['min']:>9.1f}{speed['max']:>9.1f}"
            + "".join(
                f"{row[name]['median']:>16.2f}"
                for name in (f"ratio_to_{base}" for base in BASES)
                if name in row
            )
        )
    return "\n".join(lines)


def main() -> None:
    """Makes the data, measures, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.trainer_feed")
    parser.add_argument("--work", type=Path, help="folder for data, kept (default: temporary)")
    parser.add_argument("--out", type=Path, help="JSON file (default: standard output)")
    parser.add_argument("--rounds", type=int, default=3, help="passes of each variant")
    parser.add_argument(
        "--small", action="store_true", help="small pictures and short passes, for a test"
    )
    chosen = parser.parse_args()
    as_launched("trainer_feed")
    with ExitStack() as stack:
        work = chosen.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = make_data(work.absolute(), full_size=not chosen.small)
        frames = [
            (episode.episode_index, frame)
            for episode in data.episodes
            for frame in range(episode.num_frames or 0)
        ]
        stats, _ = corpus_stats(data.shards["raw"])
        rows = []
        for num_workers, loader in FEEDS:
            by_name = variants(data, is_short=chosen.small)
            if loader == "launcher":
                by_name = {name: by_name[name] for name in FAST}
            rows += measured(Feed(by_name, frames, stats, num_workers, loader), chosen.rounds)
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.trainer_feed", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {library: version(library) for library in LIBRARIES},
        "omp_wait_policy": os.environ["OMP_WAIT_POLICY"],
        "left_out": "the tokenizer, the same for all: prompts stay text",
        "rounds": chosen.rounds,
        "rows": rows,
    }
    publish(result, chosen.out, table(rows))


if __name__ == "__main__":
    main()
