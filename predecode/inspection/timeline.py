"""Annotated skills over the frames of an episode, as coordinates of an SVG. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from train_shards.prompts import Segment

__all__ = ["Bar", "Timeline", "timeline"]

_WIDTH, _LANE, _GAP = 1000.0, 16, 2
_MOST_BARS = 80
_MOST_COLOURS = 8


class Bar(NamedTuple):
    """One skill's frames, and where that is drawn."""

    segment: Segment
    colour: int
    """The same for the same words, of ``0`` to 7."""
    x: float
    y: int
    width: float


class Timeline(NamedTuple):
    """What the page draws."""

    bars: list[Bar]
    legend: list[tuple[str, int, list[str]]]
    """Words, colour and ranges of each skill, in order of first appearance."""
    num_unshown: int
    height: int
    width: int = int(_WIDTH)


def timeline(skills: Sequence[Segment], num_frames: int) -> Timeline:
    """Returns the bars of skills; those that overlap stand below each other.

    Frames beyond the episode are not drawn, and stand in the words.
    """
    bars: list[Bar] = []
    lanes: list[int] = []
    colours: dict[str, int] = {}
    ranges: dict[str, list[str]] = {}
    for segment in skills[:_MOST_BARS]:
        lane = next((n for n, stop in enumerate(lanes) if stop <= segment.start), len(lanes))
        lanes[lane : lane + 1] = [segment.stop]
        colour = colours.setdefault(segment.text, len(colours) % _MOST_COLOURS)
        ranges.setdefault(segment.text, []).append(f"{segment.start} to {segment.stop}")
        start, stop = (
            min(max(frame, 0), num_frames) * _WIDTH / num_frames
            for frame in (segment.start, segment.stop)
        )
        bars.append(
            Bar(segment, colour, round(start, 1), lane * (_LANE + _GAP), round(stop - start, 1))
        )
    return Timeline(
        bars,
        [(text, colour, ranges[text]) for text, colour in colours.items()],
        max(len(skills) - _MOST_BARS, 0),
        max(len(lanes), 1) * (_LANE + _GAP),
    )
