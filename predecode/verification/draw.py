"""Which samples to decode again: the ends of episodes, frames around keyframes, and some at random.

These are where decoders go wrong: a seek that lands behind its target, leading pictures of an open
GOP, the last pictures that a decoder holds back. Pure but for the keyframes' positions.
"""

import itertools
import random
from bisect import bisect, bisect_left
from collections.abc import Callable, Sequence

from predecode.planning import PlannedEpisode

__all__ = ["MOST_GOPS", "KeyframesOf", "around", "draw_samples"]

MOST_GOPS = 200
"""Keyframes whose surroundings are looked at."""
BEFORE, AFTER = 3, 2
"""Stored frames before a keyframe and from it on. An mp4 seek to one of the two frames before a
keyframe of x265 lands on the keyframe: source, the data set's own reader starts 5 earlier."""

Samples = dict[str, list[tuple[int, int]]]
KeyframesOf = Callable[[PlannedEpisode, str], Sequence[int]]
"""Frames of an episode at which a camera's video has a keyframe, ascending."""


def draw_samples(
    episodes: Sequence[PlannedEpisode],
    cameras: Sequence[str],
    stride: int,
    keyframes_of: KeyframesOf,
    *,
    num_random: int,
    seed: int,
) -> Samples:
    """Returns reason -> samples ``(episode_index, frame_index)``, none of them twice.

    Args:
        episodes: those that are stored.
        cameras: stored ones.
        stride: every how manieth frame is stored.
        keyframes_of: asked for at most ``MOST_GOPS`` pairs of episode and camera.
        num_random: samples drawn evenly from all.
        seed: of the draws: the same seed looks at the same samples.
    """
    draw = random.Random(seed)
    # A run that was extended has frames of one episode in several generations.
    ids = [planned.episode.episode_index for planned in episodes]
    frames = [planned.stored_frames(stride) for planned in episodes]
    ends = [
        (episode_index, frame)
        for episode_index, stored in zip(ids, frames, strict=True)
        for frame in sorted({stored[0], stored[-1]} if len(stored) else ())
    ]
    pairs = list(itertools.product(range(len(episodes)), cameras))
    chosen = sorted(draw.sample(range(len(pairs)), min(MOST_GOPS, len(pairs))))
    gops = [
        (number, keyframe)
        for number, camera in (pairs[place] for place in chosen)
        for keyframe in keyframes_of(episodes[number], camera)
        if keyframe > 0
    ]
    gops = sorted(set(gops))
    borders = [
        (ids[number], frame)
        for number, keyframe in sorted(draw.sample(gops, min(MOST_GOPS, len(gops))))
        for frame in around(keyframe, frames[number])
    ]
    return _distinct({
        "ends": ends,
        "keyframes": borders,
        "random": _evenly(ids, frames, draw, num_random),
    })  # fmt: skip


def around(keyframe: int, stored: Sequence[int]) -> list[int]:
    """Returns those of an episode's stored frames that are nearest to a keyframe, ascending.

    >>> around(250, range(300)), around(250, range(0, 300, 6)), around(1, range(2))
    ([247, 248, 249, 250, 251], [234, 240, 246, 252, 258], [0, 1])
    >>> around(250, range(249, 300)), around(250, range(251)), around(250, range(400, 500))
    ([249, 250, 251], [247, 248, 249, 250], [])
    """
    # Position of the first stored frame from the keyframe on, of a range also beyond its ends.
    first = (
        -((stored.start - keyframe) // stored.step)
        if isinstance(stored, range)
        else bisect_left(stored, keyframe)
    )
    return list(stored[max(first - BEFORE, 0) : max(first + AFTER, 0)])


def _evenly(
    ids: list[int], frames: list[Sequence[int]], draw: random.Random, num_random: int
) -> list[tuple[int, int]]:
    """Samples drawn from all without listing them: there may be 10^8."""
    stops = list(itertools.accumulate(len(stored) for stored in frames))
    total = stops[-1] if stops else 0
    found = []
    for position in sorted(draw.sample(range(total), min(num_random, total))):
        number = bisect(stops, position)
        start = stops[number] - len(frames[number])
        found.append((ids[number], frames[number][position - start]))
    return found


def _distinct(samples: Samples) -> Samples:
    """Each sample under the first reason that names it."""
    seen: set[tuple[int, int]] = set()
    kept: Samples = {}
    for reason, chosen in samples.items():
        kept[reason] = sorted(set(chosen) - seen)
        seen.update(chosen)
    return kept
