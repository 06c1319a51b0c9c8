"""``--for-run``: from the words for a training run to the frames of each episode that it sees.

Pure. The universe is what the data set's whole output would serve in ``train``: the selected frames
of the episodes that passed the first source check, in the order of an index. A run that is extended
keeps its universe, so that its order stays.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import xxhash

from predecode.errors import UserError
from predecode.manifest import Finished
from predecode.planning import Plan, RunPart
from predecode.selection import selected_frames
from train_shards.run_scope import RunScope, run_samples

__all__ = [
    "AskedRun",
    "Decoding",
    "Universe",
    "decoding_of",
    "extended",
    "first_part",
    "missing_part",
    "parse_run",
    "run_note",
    "scope_frames",
    "universe_of",
]

_EXAMPLE = "steps=50000 global-batch=64 seed=42"


class AskedRun(NamedTuple):
    """A training run, as asked for."""

    steps: int
    global_batch: int
    """Samples in a step of all ranks together."""
    seed: int

    def __str__(self) -> str:
        """As ``--for-run`` takes it."""
        return f"steps={self.steps} global-batch={self.global_batch} seed={self.seed}"


class Universe(NamedTuple):
    """Everything that a run may see."""

    ranges: dict[int, tuple[int, int]]
    """``episode_index``, ascending -> the frames ``[start, stop)`` that are asked for."""
    stride: int

    def frames(self, episode_index: int) -> range:
        """Returns an episode's selected frames."""
        return selected_frames(*self.ranges[episode_index], self.stride)

    @property
    def num_samples(self) -> int:
        """Selected frames of all episodes."""
        return sum(len(self.frames(episode)) for episode in self.ranges)

    @property
    def digest(self) -> str:
        """xxh3-128 of each episode's id, first selected frame and number of them."""
        text = "".join(f"{e}:{(f := self.frames(e)).start}:{len(f)};" for e in self.ranges)
        return xxhash.xxh3_128_hexdigest(f"{self.stride};{text}".encode())


class Decoding(NamedTuple):
    """What a run's frames cost, counted in one camera."""

    stored_frames: int
    decoded_frames: int
    """From the keyframe of each GOP that holds one of them to the last that is wanted of it."""
    touched_gops: int
    gops: int
    """Of all episodes of the universe."""


def parse_run(words: Sequence[str]) -> AskedRun:
    """Returns the run that the words of ``--for-run`` name.

    Raises:
        UserError: not each of the three words once, with a whole number.

    >>> parse_run(["steps=50000", "global-batch=64", "seed=42"])
    AskedRun(steps=50000, global_batch=64, seed=42)
    """
    found = {name: value for name, _, value in (word.partition("=") for word in words)}
    if sorted(found) != ["global-batch", "seed", "steps"]:
        hint = (
            " global-batch counts all ranks together: the batch of a GPU times their number."
            if "global-batch" not in found
            else ""
        )
        raise UserError(f"--for-run {' '.join(words)}: expected {_EXAMPLE}.{hint}")
    for name, value in found.items():
        if not re.fullmatch(r"\d{1,18}", value) or (name != "seed" and int(value) == 0):
            least = 0 if name == "seed" else 1
            raise UserError(f"--for-run {name}={value}: expected a whole number from {least} on.")
    return AskedRun(int(found["steps"]), int(found["global-batch"]), int(found["seed"]))


def universe_of(plan: Plan) -> Universe:
    """Returns the universe of an output's first plan, whose episodes are all of it."""
    asked = {p.episode.episode_index: p.asked for p in plan.episodes if p.split == "train"}
    return Universe(asked, plan.settings.stride)


def scope_frames(universe: Universe, asked: AskedRun | RunScope) -> dict[int, list[int]]:
    """Returns ``episode_index`` of each episode of a universe -> the frames that a run sees of it.

    Raises:
        UserError: a step takes more samples than the universe has.

    Cost: that of ``run_samples``.
    """
    counts = [len(universe.frames(episode)) for episode in universe.ranges]
    samples = run_samples(universe.num_samples, asked.steps, asked.global_batch, asked.seed)
    stops = np.cumsum(counts)
    places = np.searchsorted(samples, stops)  # of each episode's end among the run's samples
    frames = {}
    for episode, own, stop, count in zip(
        universe.ranges, np.split(samples, places), stops.tolist(), counts, strict=False
    ):
        selected = universe.frames(episode)
        frames[episode] = (selected.start + (own - (stop - count)) * selected.step).tolist()
    return frames


def first_part(universe: Universe, asked: AskedRun | RunScope) -> RunPart:
    """Returns what the first generation stores: all that the run sees.

    Raises:
        UserError: as ``scope_frames``.
    """
    frames = scope_frames(universe, asked)
    return RunPart(_scope(universe, asked, frames), frames)


def extended(scope: RunScope, asked: AskedRun, *, where: str) -> bool:
    """Returns whether a run goes on beyond what is stored of it.

    Args:
        scope: what is stored.
        asked: what is asked for now.
        where: the output, for messages.

    Raises:
        UserError: another seed; or neither run holds the other, as with another batch; both values
            are named.
    """
    if asked.seed == scope.seed and asked.global_batch <= scope.num_samples:
        other = msgspec.structs.replace(
            scope, steps=asked.steps, global_batch=asked.global_batch, num_stored=scope.num_samples
        )
        if scope.is_whole or scope.covers(other):
            return False
        if other.covers(scope):
            return True
    raise UserError(
        f"--out {where}: stored for the run {scope}, asked for {asked}: a run may only grow, with "
        "its seed. Use another --out, or --overwrite to start anew."
    )


def missing_part(
    finished: Sequence[Finished],
    asked: AskedRun | RunScope,
    *,
    without: Collection[int] = (),
    only: Collection[int] | None = None,
) -> RunPart:
    """Returns what a further generation stores: what the run sees and no live episode has.

    Args:
        finished: all generations so far.
        asked: the run.
        without: episodes that are left alone: at fault, or dropped.
        only: episodes that count; None for all.

    Cost: that of ``scope_frames``.
    """
    universe = universe_of(finished[0].plan)
    wanted = scope_frames(universe, asked)
    stored: dict[int, set[int]] = {}
    tabled: set[int] = set()
    for item in finished:
        masked = item.masked
        tabled |= {e for table in item.tables for e in table.entry.episodes} - masked
        for planned in item.plan.episodes:
            number = planned.episode.episode_index
            if planned.split == "train" and number not in masked:
                own = planned.stored_frames(universe.stride)
                stored.setdefault(number, set()).update(own)
    missing = {
        number: sorted(set(frames) - stored.get(number, set()))
        for number, frames in wanted.items()
        if number not in without and (only is None or number in only)
    }
    # An episode that was lost comes again for its rows, even where the run sees no frame of it.
    frames = {n: own for n, own in missing.items() if own or n not in tabled}
    return RunPart(_scope(universe, asked, wanted), frames, tabled)


def decoding_of(
    keyframes: Mapping[int, Sequence[int]], frames: Mapping[int, Sequence[int]]
) -> Decoding:
    """Returns what has to be decoded for some frames.

    Args:
        keyframes: ``episode_index`` -> frames at which a camera has a keyframe, ascending.
        frames: ``episode_index`` -> frames that are wanted, ascending; others count as none.

    >>> decoding_of({0: [0, 250, 500], 1: [0]}, {0: [3, 9, 500], 1: []})
    Decoding(stored_frames=3, decoded_frames=11, touched_gops=2, gops=4)
    """
    stored = decoded = touched = gops = 0
    for episode, starts in keyframes.items():
        own = frames.get(episode, ())
        gops += len(starts)
        stored += len(own)
        place = 0
        while place < len(own):
            gop = max(bisect_left(starts, own[place] + 1) - 1, 0)
            stop = starts[gop + 1] if gop + 1 < len(starts) else own[-1] + 1
            place = bisect_left(own, stop)
            decoded += own[place - 1] - starts[gop] + 1
            touched += 1
    return Decoding(stored, decoded, touched, gops)


def run_note(scope: RunScope, decoding: Decoding, num_frames: int) -> str:
    """Returns the line that says what storing one run saves, and what it does not.

    Args:
        scope: of the run.
        decoding: of the frames that are stored now.
        num_frames: of all episodes, selected or not.
    """
    share = scope.num_stored / scope.num_samples
    saved = (
        "the run sees the whole data set, nothing is saved: is global-batch that of all ranks, and "
        "are these the steps?"
        if scope.is_whole
        else f"{1 - share:.1%} of the images are not stored"
    )
    return (
        f"--for-run {scope}: {scope.num_stored:,} of {scope.num_samples:,} samples, {saved}. Now "
        f"{decoding.stored_frames:,} frames to store, at most {decoding.decoded_frames:,} of "
        f"{num_frames:,} to decode a camera, in {decoding.touched_gops:,} of {decoding.gops:,} GOPs"
    )


def _scope(
    universe: Universe, asked: AskedRun | RunScope, frames: Mapping[int, Sequence[int]]
) -> RunScope:
    return RunScope(
        steps=asked.steps,
        global_batch=asked.global_batch,
        seed=asked.seed,
        num_samples=universe.num_samples,
        universe=universe.digest,
        num_stored=sum(map(len, frames.values())),
    )
