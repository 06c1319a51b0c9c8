"""Moments and quantiles against numpy on the same rows, all at once."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from train_shards.errors import DataError
from train_shards.quantiles import Block, summarize

FRACTIONS = [Fraction(0), Fraction(1, 100), Fraction(1, 2), Fraction(99, 100), Fraction(1)]
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)


def blocks(values: NDArray[np.float32], weights: NDArray[np.int64], num: int) -> list[Block]:
    parts = zip(np.array_split(values, num), np.array_split(weights, num), strict=True)
    return [Block(v, w) for v, w in parts]


@settings(max_examples=60, deadline=None)
@given(
    values=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=FLOATS
    ),
    num_blocks=st.integers(1, 4),
    data=st.data(),
)
def test_rows_that_count_more_than_once_are_rows_that_stand_more_than_once(
    values: NDArray[np.float32], num_blocks: int, data: st.DataObject
) -> None:
    weights = data.draw(hnp.arrays(np.int64, len(values), elements=st.integers(0, 5)))
    weights[0] += 1
    summary = summarize(lambda: blocks(values, weights, num_blocks), FRACTIONS)
    repeated = np.repeat(values, weights, axis=0).astype(np.float64)
    assert summary.num_rows == len(repeated)
    scale = np.abs(repeated).max() + 1e-30
    expected = np.quantile(repeated, [float(f) for f in FRACTIONS], axis=0)
    np.testing.assert_allclose(summary.quantiles, expected, rtol=1e-12, atol=1e-13 * scale)
    np.testing.assert_allclose(summary.mean, repeated.mean(axis=0), rtol=1e-9, atol=1e-12 * scale)
    np.testing.assert_allclose(summary.std, repeated.std(axis=0), rtol=1e-7, atol=1e-9 * scale)


def test_denormals_signs_and_zeros_keep_their_order() -> None:
    column = np.array([-1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3e38, -3e38, 2.0], np.float32)
    rows = Block(column[:, None], np.ones(9, np.int64))
    eighths = [Fraction(k, 8) for k in range(9)]
    got = summarize(lambda: [rows], eighths).quantiles[:, 0]
    tiny = float(np.float32(1e-45))
    big = float(np.float32(3e38))
    assert got.tolist() == [-big, -1.0, -tiny, 0.0, 0.0, tiny, 1.0, 2.0, big]


def test_a_value_far_from_zero_keeps_its_deviation() -> None:
    rows = np.float32(1e6) + np.tile(np.array([[0.0], [1.0]], np.float32), (5000, 1))
    summary = summarize(lambda: blocks(rows, np.ones(10000, np.int64), 7), [Fraction(1, 2)])
    assert summary.mean[0] == pytest.approx(1e6 + 0.5, rel=1e-12)
    assert summary.std[0] == pytest.approx(0.5, rel=1e-9)


def test_a_rank_beyond_32_bits_is_counted_rightly() -> None:
    """Five billion rows, of which the last hundredth differ."""
    values = np.array([[1.0], [2.0]], np.float32)
    weights = np.array([4_950_000_000, 50_000_000], np.int64)
    summary = summarize(lambda: [Block(values, weights)], [Fraction(98, 100), Fraction(995, 1000)])
    assert summary.num_rows == 5_000_000_000
    assert summary.quantiles[:, 0].tolist() == [1.0, 2.0]
    assert summary.mean[0] == pytest.approx(1.01, rel=1e-12)


@pytest.mark.parametrize("weights", [[], [0, 0]])
def test_no_row_is_an_error(weights: list[int]) -> None:
    def read() -> Iterator[Block]:
        yield Block(np.zeros((len(weights), 2), np.float32), np.array(weights, np.int64))

    with pytest.raises(DataError, match="no row"):
        summarize(read, FRACTIONS)
