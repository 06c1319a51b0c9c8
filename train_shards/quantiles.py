"""Mean, deviation and exact quantiles of any number of float32 rows, in bounded memory. Pure.

Quantiles by radix selection: the bits of a float32, put in order, are a 32-bit number. A first pass
counts the upper 16 bits of every value, which says in which of 65,536 bins a rank lies; a second
counts the lower 16 bits of the values in that bin, which names it. No approximation, no range to be
known before, and the order of the rows does not matter.
"""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train_shards.errors import DataError

__all__ = ["Block", "Summary", "summarize"]

_BINS = 1 << 16


class Block(NamedTuple):
    """Some rows, and how often each of them counts."""

    values: NDArray[np.float32]
    """``(n, d)``, finite."""
    weights: NDArray[np.int64]
    """``(n,)``, 0 or more."""


class Summary(NamedTuple):
    """Of each of d columns, over all rows as often as they count."""

    num_rows: int
    """Sum of the weights."""
    mean: NDArray[np.float64]
    """``(d,)``"""
    std: NDArray[np.float64]
    """``(d,)``: root of the mean square distance from the mean."""
    quantiles: NDArray[np.float64]
    """``(fractions, d)``, interpolated linearly between neighbouring ranks, as ``np.quantile``."""


def summarize(read: Callable[[], Iterable[Block]], fractions: Sequence[Fraction]) -> Summary:
    """Returns the summary of the rows that ``read()`` gives.

    Args:
        read: called twice, and must give the same rows both times.
        fractions: in [0, 1].

    Raises:
        DataError: no row at all.

    Cost: two passes; memory 1 MiB a column, and as much again for each two fractions.

    >>> rows = Block(np.arange(5, dtype=np.float32)[:, None], np.ones(5, np.int64))
    >>> summarize(lambda: [rows], [Fraction(1, 2), Fraction(9, 10)]).quantiles.tolist()
    [[2.0], [3.6]]
    """
    upper_counts, num_rows, mean, sum_squares = _first_pass(read())
    num_columns = len(upper_counts)
    places = [fraction * (num_rows - 1) for fraction in fractions]
    ranks = sorted({rank for p in places for rank in (int(p), min(int(p) + 1, num_rows - 1))})
    ends = upper_counts.cumsum(axis=1)  # (d, bins): how many values lie up to the bin's end
    uppers = np.array([np.searchsorted(row, ranks, side="right") for row in ends])  # (d, ranks)
    lower_counts = _second_pass(read(), uppers)
    of_rank = np.empty((len(ranks), num_columns))
    for column in range(num_columns):
        for number, rank in enumerate(ranks):
            upper = int(uppers[column, number])
            before = ends[column, upper] - upper_counts[column, upper]
            lower_ends = lower_counts[column, upper].cumsum()
            lower = int(np.searchsorted(lower_ends, rank - before, side="right"))
            of_rank[number, column] = _value(upper << 16 | lower)
    quantiles = np.empty((len(fractions), num_columns))
    for number, place in enumerate(places):
        low = of_rank[ranks.index(int(place))]
        high = of_rank[ranks.index(min(int(place) + 1, num_rows - 1))]
        quantiles[number] = low + (high - low) * float(place - int(place))
    return Summary(num_rows, mean, np.sqrt(sum_squares / num_rows), quantiles)


def _first_pass(blocks: Iterable[Block]) -> tuple[NDArray[np.int64], int, Any, Any]:
    """``(d, bins)`` counts of upper halves, rows, mean, and sum of squared distances from it."""
    counts: NDArray[np.int64] | None = None
    num_rows, mean, sum_squares = 0, np.zeros(1), np.zeros(1)
    for values, weights in blocks:
        added = int(weights.sum())
        if not added:
            continue
        if counts is None:
            counts = np.zeros((values.shape[1], _BINS), np.int64)
        for column, upper in enumerate((_codes(values) >> 16).T):
            counts[column] += _count(upper, weights)
        exact = values.astype(np.float64)
        own_mean = weights @ exact / added
        distance = own_mean - mean
        # Moments of two parts put together (Chan, Golub and LeVeque): no large squares to subtract.
        sum_squares = (
            sum_squares
            + weights @ (exact - own_mean) ** 2
            + distance**2 * (num_rows * added / (num_rows + added))
        )
        num_rows += added
        mean = mean + distance * (added / num_rows)
    if counts is None:
        raise DataError("statistics: no row to take them from.")
    return counts, num_rows, mean, sum_squares


def _second_pass(
    blocks: Iterable[Block], uppers: NDArray[np.int64]
) -> dict[tuple[int, int], NDArray[np.int64]]:
    """``(column, upper half)`` -> counts of the lower halves; ``uppers`` is ``(d, ranks)``."""
    wanted = {(column, int(upper)) for column, row in enumerate(uppers) for upper in row}
    counts = {key: np.zeros(_BINS, np.int64) for key in sorted(wanted)}
    for values, weights in blocks:
        codes = _codes(values)
        for column, upper in counts:
            inside = codes[:, column] >> 16 == upper
            if inside.any():
                lowers = codes[inside, column] & (_BINS - 1)
                counts[column, upper] += _count(lowers, weights[inside])
    return counts


def _count(halves: NDArray[np.uint32], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    # bincount adds weights up as float64, which is exact below 2^53.
    return np.bincount(halves, weights, _BINS).astype(np.int64)


def _codes(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Numbers in the order of the values: negative ones have all bits turned, others the sign."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31))


def _value(code: int) -> float:
    bits = code ^ (1 << 31) if code >> 31 else code ^ 0xFFFFFFFF
    return float(np.uint32(bits).view(np.float32))
