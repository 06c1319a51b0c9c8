"""How mixed batches are: by layout, by order of reading, and as upstream streams video.

    python -m benchmarks.diversity                # 10,000 episodes of 12,032 frames, 50 tasks
    python -m benchmarks.diversity shards/        # an output, by its own plan

Index arithmetic alone: plans say in which order samples lie, and orders which are read. Prints a
table on standard error and one JSON object. Of batches that lie evenly over an epoch: ``episodes``
and ``tasks``, distinct in a batch, on average; ``same_episode``, the share of a batch's pairs that
are of one episode; ``distance_frames``, mean distance of these pairs, null where there are none.
The readers:

* ``upstream, streaming``: ``upstream_like.StreamingReader``, a batch of one worker's runs;
* ``in line``: tars dealt to workers, each read from begin to end, a batch of one worker's samples;
* ``ShardStream``: our blocks of a shard, 8 side by side (``docs/order.md``);
* ``ShardDataset``: our global shuffle.
"""

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.upstream_like import RUN_FRAMES, StreamingReader
from predecode.output import load_plans
from predecode.pipeline import frames_of
from predecode.planning import Plan, PlannedEpisode, make_plan, sample_order
from predecode.sources.episode import Episode
from tests.support.stored import settings_of
from tests.support.synthetic_plan import synthetic_episodes
from train_shards.order import BlockOrder, GlobalOrder, LaneOrder, Order

__all__ = ["Stored", "diversity"]

_NUM_EPISODES, _PIECES_PER_EPISODE = 10_000, 47
"""The size of BEHAVIOR-1K 2025, in pieces of 256 frames."""

Samples: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Places in an order -> ``(n, 3)``: episode, frame and task of each sample."""
Batch: TypeAlias = Callable[[int], NDArray[np.int64]]
"""Number of a batch -> the same of each of its samples."""


class Stored:
    """The samples of a plan's split ``train`` as they lie in its shards."""

    def __init__(self, plan: Plan) -> None:
        """Makes nothing yet."""
        self._settings = plan.settings
        self._planned = {p.episode.episode_index: p for p in plan.episodes}
        self._task_of = {p.episode.episode_index: p.episode.task_index for p in plan.episodes}
        self._shards = [shard for shard in plan.shards if shard.split == "train"]
        self.starts = np.cumsum([0, *(shard.num_samples for shard in self._shards)])
        self._shard = lru_cache(maxsize=64)(self._made)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def samples(self, numbers: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns ``(n, 3)``: episode, frame and task of the samples number ``numbers``."""
        found = np.empty((len(numbers), 3), np.int64)
        shards = np.searchsorted(self.starts, numbers, side="right") - 1
        for shard in np.unique(shards).tolist():
            mask = shards == shard
            found[mask] = self._shard(shard)[numbers[mask] - self.starts[shard]]
        return found

    def _made(self, shard: int) -> NDArray[np.int64]:
        ids = [
            (piece.episode_index, frame)
            for piece in self._shards[shard].pieces
            for frame in frames_of([piece], self._planned[piece.episode_index], self._settings)
        ]
        rows = [
            (episode, frame, self._task_of[episode])
            for episode, frame in sample_order(ids, self._settings)
        ]
        return np.array(rows, np.int64)


def main() -> None:
    """Measures what the words on the command line ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", nargs="*", type=Path)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--num-workers", type=int, default=8)
    parser.add_argument("--num-batches", type=int, default=20, help="looked at of each reader")
    parser.add_argument("--lanes", type=int, default=8)
    words = parser.parse_args()
    plans = [_only_plan(out) for out in words.out] or _synthetic()
    rows = [
        {"reader": reader, "layout": layout, **diversity(batch, num, words.num_batches)}
        for reader, layout, batch, num in _readers(
            plans, words.batch_size, words.num_workers, words.lanes
        )
    ]
    for line in _table(rows):
        print(line, file=sys.stderr)
    about = {
        "command": shlex.join(["python", "-m", "benchmarks.diversity", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "batch_size": words.batch_size,
        "num_workers": words.num_workers,
    }
    print(json.dumps(about | {"rows": rows}, indent=1))


def diversity(batch: Batch, num_in_epoch: int, num_batches: int) -> dict[str, Any]:
    """Returns how mixed ``num_batches`` are, evenly taken from the ``num_in_epoch`` of an epoch."""
    chosen = np.unique(np.linspace(0, num_in_epoch - 1, num_batches).astype(np.int64))
    episodes, tasks, num_pairs = 0, 0, 0
    distances: list[NDArray[np.int64]] = []
    for number in chosen.tolist():
        episode, frame, task = batch(number).T
        episodes += len(np.unique(episode))
        tasks += len(np.unique(task))
        first, second = np.triu_indices(len(episode), 1)
        is_same = episode[first] == episode[second]
        distances.append(np.abs(frame[first] - frame[second])[is_same])
        num_pairs += len(first)
    same = np.concatenate(distances)
    return {
        "num_batches": len(chosen),
        "episodes": episodes / len(chosen),
        "tasks": tasks / len(chosen),
        "same_episode": len(same) / num_pairs,
        "distance_frames": float(same.mean()) if len(same) else None,
    }


def _only_plan(out: Path) -> Plan:
    plans = load_plans(out)
    if len(plans) != 1:
        raise SystemExit(f"{out}: {len(plans)} generations, expected 1.")
    return plans[0]


def _synthetic() -> list[Plan]:
    """A plan of each layout, in shards of the default size."""
    checked = synthetic_episodes(_NUM_EPISODES, _PIECES_PER_EPISODE)
    cameras = {name: name for name in checked[0].episode.videos}
    return [
        make_plan(
            generation=0, settings=settings_of(cameras=cameras, layout=layout, shard_size=8192),
            root="/nowhere", probe="", environment={}, checked=checked, failed=[], held_out=set(),
            first_shards={"train": 0, "val": 0}, first_table=0,
        )
        for layout in ("episode", "mixed")
    ]  # fmt: skip


def _readers(
    plans: Sequence[Plan], batch_size: int, num_workers: int, lanes: int
) -> Iterator[tuple[str, str, Batch, int]]:
    """Reader, layout, its batches, and how many an epoch has."""
    runs = upstream_batches(plans[0].episodes, batch_size, num_workers)
    yield "upstream, streaming", "video", *runs
    for plan in plans:
        stored, layout = Stored(plan), plan.settings.layout
        yield "in line", layout, *in_line(stored, batch_size, num_workers)
        size = plan.settings.shard_size
        blocks = BlockOrder(len(stored), block_size=size, window_blocks=1, seed=0)
        by_lane = _by_order(stored.samples, LaneOrder(blocks, lanes), batch_size)
        yield f"ShardStream, {lanes} lanes", layout, *by_lane
    samples, num_samples = in_source_order(plans[0])
    shuffled = _by_order(samples, GlobalOrder(num_samples, seed=0), batch_size)
    yield "ShardDataset, global shuffle", "any", *shuffled


def _by_order(samples: Samples, order: Order, batch_size: int) -> tuple[Batch, int]:
    def batch(number: int) -> NDArray[np.int64]:
        start = number * batch_size
        return samples(order.samples(np.arange(start, start + batch_size)))

    return batch, order.num_samples // batch_size


def in_source_order(plan: Plan) -> tuple[Samples, int]:
    """Returns what gives samples by their positions in the data set, and how many there are."""
    stride = plan.settings.stride
    own = sorted(p.episode.episode_index for p in plan.episodes if p.split == "train")
    by_id = {p.episode.episode_index: p for p in plan.episodes}
    starts = np.cumsum([0, *(len(by_id[number].selected_frames(stride)) for number in own)])
    ids = np.array([(number, by_id[number].episode.task_index) for number in own])
    first = np.array([by_id[number].selected_frames(stride).start for number in own])

    def samples(positions: NDArray[np.integer]) -> NDArray[np.int64]:
        place = np.searchsorted(starts, positions, side="right") - 1
        frame = first[place] + (positions - starts[place]) * stride
        return np.stack([ids[place, 0], frame, ids[place, 1]], axis=1)

    return samples, int(starts[-1])


def in_line(stored: Stored, batch_size: int, num_workers: int) -> tuple[Batch, int]:
    """Worker w of W reads tars w, w + W, …; batch b is the next one of worker b mod W.

    Counted are the batches that every worker has as many of.
    """
    sizes = np.diff(stored.starts)
    workers = min(num_workers, len(sizes))
    tars = [np.arange(worker, len(sizes), workers) for worker in range(workers)]
    ends = [np.cumsum(sizes[own]) for own in tars]

    def batch(number: int) -> NDArray[np.int64]:
        turn, worker = divmod(number, workers)
        places = np.arange(turn * batch_size, (turn + 1) * batch_size)
        tar = np.searchsorted(ends[worker], places, side="right")
        before = np.concatenate([[0], ends[worker]])[tar]
        return stored.samples(stored.starts[tars[worker][tar]] + places - before)

    return batch, workers * (min(int(end[-1]) for end in ends) // batch_size)


def upstream_batches(
    planned: Sequence[PlannedEpisode], batch_size: int, num_workers: int
) -> tuple[Batch, int]:
    """Batch b is the next one of worker b mod W, of its runs of consecutive frames."""
    episodes: list[Episode] = [
        msgspec.structs.replace(p.episode, num_frames=p.num_frames) for p in planned
    ]
    reader = StreamingReader(Path(), episodes, action_horizon=1, num_threads=0)
    workers = min(num_workers, len(reader.runs()))
    runs = [np.array(reader.runs_of(worker, workers)) for worker in range(workers)]

    def batch(number: int) -> NDArray[np.int64]:
        turn, worker = divmod(number, workers)
        places = np.arange(turn * batch_size, (turn + 1) * batch_size)
        run, frame = np.divmod(places, RUN_FRAMES)
        place, start = runs[worker][run % len(runs[worker])].T
        ids = [(episodes[p].episode_index, episodes[p].task_index) for p in place.tolist()]
        episode, task = np.array(ids).T
        return np.stack([episode, start + frame, task], axis=1)

    return batch, workers * (min(len(own) for own in runs) * RUN_FRAMES // batch_size)


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| reader | layout | episodes | tasks | pairs of one episode | their distance in frames |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        distance = row["distance_frames"]
        yield (
            f"| {row['reader']} | {row['layout']} | {row['episodes']:.1f} | {row['tasks']:.1f} | "
            f"{row['same_episode']:.1%} | {'-' if distance is None else f'{distance:,.0f}'} |"
        )


if __name__ == "__main__":
    main()
