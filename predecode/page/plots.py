"""Lines over frames, as coordinates of an SVG. Pure; draws nothing itself."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from predecode.page.charts import Tick

__all__ = ["Line", "Plot", "line_plot"]

_WIDTH_PX, _HEIGHT_PX = 420, 180
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 46, 412, 8, 140
MOST_LINES = 8
"""As many colours as can be told apart."""
_BINS = 120
_X_TICKS, _Y_TICKS = 6, 5
_FLAT, _SMALLEST = 1e-9, 1e-30
"""What moves less, as a share or at all, is drawn as a level line."""


class Line(NamedTuple):
    """One number of a vector over the frames."""

    number: int
    """Its place in the vector."""
    points: str
    """Of an SVG polyline."""


class Plot(NamedTuple):
    """What the page draws."""

    lines: list[Line]
    num_numbers: int
    """Of the vector; the lines are those that move most."""
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    width: int = _WIDTH_PX
    height: int = _HEIGHT_PX
    left: int = _LEFT_PX
    right: int = _RIGHT_PX
    top: int = _TOP_PX
    bottom: int = _BOTTOM_PX


def line_plot(values: NDArray[np.floating]) -> Plot:
    """Returns the plot of ``(T, n)`` numbers over ``T`` frames.

    At most 8 lines, those that move most, of at most 240 points: the least and the greatest of each
    120th of the frames, so that no peak is lost. What is not finite is left out.
    """
    finite = np.where(np.isfinite(values), values.astype(np.float64), np.nan)
    moving = np.flatnonzero(~np.isnan(finite).all(axis=0)) if len(finite) else np.zeros(0, int)
    finite = finite[:, moving]
    if not len(moving):
        return Plot([], values.shape[1], [], [])
    lows, highs = np.nanmin(finite, axis=0), np.nanmax(finite, axis=0)
    chosen = np.sort(np.argsort(lows - highs, kind="stable")[:MOST_LINES])
    y_ticks = _ticks(float(lows[chosen].min()), float(highs[chosen].max()), _Y_TICKS)
    x_ticks = _ticks(0, max(len(values) - 1, 1), _X_TICKS)
    x_span, y_span = (0, max(len(values) - 1, 1)), (y_ticks[0], y_ticks[-1])

    def x(frame: float) -> float:
        return round(_LEFT_PX + _share(frame, *x_span) * (_RIGHT_PX - _LEFT_PX), 1)

    def y(value: float) -> float:
        return round(_BOTTOM_PX - _share(value, *y_span) * (_BOTTOM_PX - _TOP_PX), 1)

    lines = [
        Line(
            int(moving[column]),
            " ".join(
                f"{x(frame)},{y(finite[frame, column])}" for frame in _kept(finite[:, column])
            ),
        )
        for column in chosen
    ]
    return Plot(
        lines,
        values.shape[1],
        [Tick(f"{tick:,.0f}", x(tick)) for tick in x_ticks if tick <= x_span[1]],
        [Tick(f"{tick:.4g}", y(tick)) for tick in y_ticks],
    )


def _kept(column: NDArray[np.float64]) -> list[int]:
    """Frames of the least and the greatest value of each bin, in order."""
    frames: set[int] = set()
    for bin_frames in np.array_split(np.arange(len(column)), min(_BINS, len(column))):
        own = bin_frames[~np.isnan(column[bin_frames])]
        if len(own):
            frames |= {int(own[column[own].argmin()]), int(own[column[own].argmax()])}
    return sorted(frames)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten that cover a range; at least two.

    >>> _ticks(-0.31, 1.2, 5), _ticks(3, 3, 3)
    ([-0.5, 0.0, 0.5, 1.0, 1.5], [2.0, 3.0, 4.0])
    """
    if high - low <= max(abs(low), abs(high)) * _FLAT + _SMALLEST:
        low, high = low - 1, high + 1
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(s * power for s in (1, 2, 5, 10, 20) if (high - low) / (s * power) <= most - 1)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, last + 1)]


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low)
