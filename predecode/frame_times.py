"""When pictures are shown, against the frame rate that a data set names. Pure: integers only."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest_step", "time_deviation"]

_RATE_ROUNDING = Fraction(1, 100_000)
"""Of a rate, between two or three decimals and what they stand for: 23.976 and 24000/1001."""


def nearest_step(fps: tuple[int, int], time_base: Fraction, ticks: NDArray[np.int64]) -> Fraction:
    """Returns ticks a frame by the rate that the metadata mean.

    Metadata in decimals may round a rate of n * 1000 / 1001: 29.97 stands for 30000/1001 as well as
    for itself, and the last of the pictures tells which. Rounding loses a frame in a million, so no
    picture is taken for another.

    Args:
        fps: the rate as the metadata have it.
        time_base: seconds a tick.
        ticks: ``(n,)`` pts, ascending, at least one.

    >>> nearest_step((2997, 100), Fraction(1, 30000), np.arange(300) * 1001)
    Fraction(1001, 1)
    >>> nearest_step((2997, 100), Fraction(1, 2997), np.arange(300) * 100)
    Fraction(100, 1)
    """
    rate = Fraction(*fps)
    exact = Fraction(1000 * round(rate * 1001 / 1000), 1001)
    rates = [rate, exact] if abs(exact - rate) < _RATE_ROUNDING * rate else [rate]
    steps = [1 / (meant * time_base) for meant in rates]
    last, elapsed = len(ticks) - 1, int(ticks[-1] - ticks[0])
    return min(steps, key=lambda step: abs(last * step - elapsed))


def time_deviation(ticks: NDArray[np.int64], step: Fraction) -> NDArray[np.int64]:
    """Returns how far each picture stands from its frame's time, counted from the first picture.

    Args:
        ticks: ``(n,)`` pts, ascending, at least one.
        step: ticks a frame.

    Returns:
        ``(n,)`` in units of ``1 / step.denominator`` tick, positive for late; exact for any file
        below 2^63 of them.

    >>> time_deviation(np.array([7, 17, 29]), Fraction(21, 2)).tolist()
    [0, -1, 2]
    """
    times: NDArray[np.int64] = (ticks - ticks[0]) * step.denominator
    return times - np.arange(len(ticks), dtype=np.int64) * step.numerator
