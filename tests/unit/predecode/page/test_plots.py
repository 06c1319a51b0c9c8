"""Lines over frames: which numbers, which points, and where they stand."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from predecode.page.plots import MOST_LINES, Line, line_plot


def points(line: Line) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.points.split())]


def test_a_ramp_goes_from_corner_to_corner() -> None:
    plot = line_plot(np.linspace(0, 10, 11)[:, None])
    (line,) = plot.lines
    assert points(line)[0] == (plot.left, plot.bottom)
    assert points(line)[-1] == (plot.right, plot.top)
    assert [tick.label for tick in plot.x_ticks] == ["0", "2", "4", "6", "8", "10"]
    assert [tick.label for tick in plot.y_ticks] == ["0", "5", "10"]


def test_the_numbers_that_move_most_are_shown_in_their_order() -> None:
    spread = np.array([1, 90, 3, 80, 70, 2, 60, 50, 40, 30, 20, 0])
    values = np.outer(np.linspace(0, 1, 50), spread)
    plot = line_plot(values)
    assert [line.number for line in plot.lines] == [1, 3, 4, 6, 7, 8, 9, 10]
    assert (len(plot.lines), plot.num_numbers) == (MOST_LINES, 12)


def test_a_single_peak_among_100_000_frames_is_kept() -> None:
    values = np.zeros((100_000, 1))
    values[61_803] = 5
    plot = line_plot(values)
    (line,) = plot.lines
    assert len(points(line)) <= 240
    assert min(y for _, y in points(line)) == plot.top + (plot.bottom - plot.top) / 6


def test_what_is_not_finite_is_left_out() -> None:
    values = np.array([[0.0, math.nan], [math.inf, math.nan], [2.0, math.nan]])
    plot = line_plot(values)
    assert [line.number for line in plot.lines] == [0]
    assert len(points(plot.lines[0])) == 2
    assert line_plot(np.full((3, 2), math.nan)).lines == []
    assert line_plot(np.zeros((0, 2))).lines == []


numbers = st.one_of(st.floats(-1e12, 1e12), st.floats(-1e-300, 1e-300), st.integers(-3, 3))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=300))
def test_every_point_lies_in_the_plot(rows: list[tuple[float, float]]) -> None:
    values: NDArray[np.float64] = np.array(rows)
    plot = line_plot(values)
    assert len(plot.lines) == 2
    assert 2 <= len(plot.y_ticks) <= 7
    for line in plot.lines:
        found = points(line)
        assert 1 <= len(found) <= 240
        assert all(plot.left <= x <= plot.right and plot.top <= y <= plot.bottom for x, y in found)
        assert [x for x, _ in found] == sorted(x for x, _ in found)
