"""Bar charts with logarithmic counts, as coordinates of an SVG. Pure; draws nothing itself."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Bar", "Chart", "Tick", "difference_chart", "log_chart", "value_chart"]

_WIDTH_PX, _HEIGHT_PX = 380, 200
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 50, 366, 10, 158
"""Edges of the plot; the axes' words stand outside of them."""

_FEWEST_BINS = 9
"""A single bar as wide as the plot would not look like one."""
_MOST_BINS = 64
_MOST_TICKS, _MOST_LONG_TICKS = 9, 6
_LONG = 10_000
"""From here on labels are of six letters and more."""
_BELOW_ONE_DECADES = 0.3
"""The axis begins at a half, so that a count of one is seen."""


class Bar(NamedTuple):
    """How often values ``[start, stop)`` occurred, and where that is drawn, in px."""

    start: int
    stop: int
    num: int
    x: float
    y: float
    width: float
    height: float


class Tick(NamedTuple):
    """A label of an axis and its place along it, in px."""

    label: str
    at: float


class Chart(NamedTuple):
    """What the page draws; only bars that are not empty."""

    bars: list[Bar]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    width: int = _WIDTH_PX
    height: int = _HEIGHT_PX
    left: int = _LEFT_PX
    right: int = _RIGHT_PX
    top: int = _TOP_PX
    bottom: int = _BOTTOM_PX


def difference_chart(histogram: Sequence[int]) -> Chart:
    """Returns the chart of a histogram of differences, as far as there are any."""
    last = max((level for level, count in enumerate(histogram) if count), default=0)
    return log_chart(histogram[: last + 1], 1)


def value_chart(values: Mapping[int, int]) -> Chart:
    """Returns the chart of values -> how often, in at most 64 bins of equal width."""
    width = _nice_step(max(values, default=0) + 1, _MOST_BINS)
    counts = [0] * (max(values, default=0) // width + 1)
    for value, count in values.items():
        counts[value // width] += count
    return log_chart(counts, width)


def log_chart(counts: Sequence[int], bin_width: int) -> Chart:
    """Returns the chart of counts; bin ``i`` holds the values from ``i * bin_width`` on."""
    num_bins = max(len(counts), _FEWEST_BINS)
    bar_px = (_RIGHT_PX - _LEFT_PX) / num_bins
    gap_px = min(2, int(bar_px / 4))
    num_decades = max(1, math.ceil(math.log10(max([1, *counts]))))
    decade_px = (_BOTTOM_PX - _TOP_PX) / (num_decades + _BELOW_ONE_DECADES)

    def height(count: int) -> float:
        return round((math.log10(count) + _BELOW_ONE_DECADES) * decade_px, 1)

    bars = [
        Bar(
            start=number * bin_width,
            stop=(number + 1) * bin_width,
            num=count,
            x=round(_LEFT_PX + number * bar_px + gap_px / 2, 1),
            y=round(_BOTTOM_PX - height(count), 1),
            width=round(bar_px - gap_px, 1),
            height=height(count),
        )
        for number, count in enumerate(counts)
        if count
    ]
    span = num_bins * bin_width
    x_step = _nice_step(span, _MOST_TICKS if span < _LONG else _MOST_LONG_TICKS)
    x_ticks = [
        Tick(f"{value:,}", round(_LEFT_PX + (value // bin_width + 0.5) * bar_px, 1))
        for value in range(0, span, x_step)
    ]
    y_ticks = [
        Tick(_power_of_ten(power), round(_BOTTOM_PX - height(10**power), 1))
        for power in range(0, num_decades + 1, math.ceil((num_decades + 1) / 6))
    ]
    return Chart(bars, x_ticks, y_ticks)


def _nice_step(span: int, most: int) -> int:
    """Returns the least of 1, 2, 5, 10, 20, … of which at most ``most`` cover the span.

    >>> [_nice_step(span, 9) for span in (1, 9, 10, 18, 256)]
    [1, 1, 2, 2, 50]
    """
    power = 1
    while True:
        for factor in (1, 2, 5):
            if math.ceil(span / (factor * power)) <= most:
                return factor * power
        power *= 10


def _power_of_ten(power: int) -> str:
    """Returns ``10**power`` in few letters.

    >>> [_power_of_ten(power) for power in (0, 2, 3, 5, 6, 10)]
    ['1', '100', '1k', '100k', '1M', '10G']
    """
    thousands, rest = divmod(power, 3)
    return f"{10**rest}{'kMGTPE'[thousands - 1] if thousands else ''}"
