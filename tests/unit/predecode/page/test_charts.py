"""Charts of counts: which bars there are, and where they stand."""

import pytest

from predecode.page.charts import Chart, difference_chart, value_chart


def bars_of(chart: Chart) -> list[tuple[int, int, int]]:
    """What the bars stand for: values ``[start, stop)`` and how many."""
    return [(bar.start, bar.stop, bar.num) for bar in chart.bars]


def lies_in_the_plot(chart: Chart) -> bool:
    return all(
        chart.left <= bar.x
        and bar.x + bar.width <= chart.right + 0.1
        and chart.top - 0.1 <= bar.y
        and bar.height > 0
        and bar.width > 0
        and abs(bar.y + bar.height - chart.bottom) < 0.1
        for bar in chart.bars
    )


def test_an_equal_camera_has_one_bar_that_is_not_as_wide_as_the_plot() -> None:
    chart = difference_chart([150528] + 255 * [0])
    assert bars_of(chart) == [(0, 1, 150528)]
    assert chart.bars[0].width < (chart.right - chart.left) / 8
    assert [tick.label for tick in chart.x_ticks] == ["0", "1", "2", "3", "4", "5", "6", "7", "8"]
    assert [tick.label for tick in chart.y_ticks] == ["1", "100", "10k", "1M"]
    assert lies_in_the_plot(chart)


def test_a_difference_of_255_is_the_last_of_256_bars() -> None:
    chart = difference_chart([10] * 256)
    assert bars_of(chart) == [(level, level + 1, 10) for level in range(256)]
    assert [tick.label for tick in chart.x_ticks] == ["0", "50", "100", "150", "200", "250"]
    assert lies_in_the_plot(chart)


def test_empty_levels_have_no_bar_and_the_axis_ends_at_the_last_difference() -> None:
    chart = difference_chart([900, 0, 30] + 9 * [0] + [1] + 243 * [0])
    assert bars_of(chart) == [(0, 1, 900), (2, 3, 30), (12, 13, 1)]
    assert [tick.label for tick in chart.x_ticks] == ["0", "2", "4", "6", "8", "10", "12"]
    # The label of 12 stands in the middle of its bar.
    bar = chart.bars[-1]
    assert chart.x_ticks[-1].at == pytest.approx(bar.x + bar.width / 2, abs=0.2)


def test_a_decade_is_as_high_as_the_next() -> None:
    one, ten, hundred, thousand = (bar.height for bar in difference_chart([1, 10, 100, 1000]).bars)
    assert one > 5
    assert ten - one == pytest.approx(hundred - ten, abs=0.2)
    assert thousand - hundred == pytest.approx(hundred - ten, abs=0.2)
    chart = difference_chart([1, 10, 100, 1000])
    assert [(tick.label, tick.at) for tick in chart.y_ticks] == [
        (label, bar.y)
        for label, bar in zip(["1", "10", "100", "1k"], chart.bars, strict=True)
    ]  # fmt: skip


def test_no_count_at_all_is_no_bar() -> None:
    assert bars_of(difference_chart(256 * [0])) == []
    assert bars_of(value_chart({})) == []


def test_long_gaps_are_put_into_bins_of_equal_width() -> None:
    chart = value_chart({250: 1200, 249: 30, 120: 1, 4: 2, 5: 3})
    assert bars_of(chart) == [
        (0, 5, 2),
        (5, 10, 3),
        (120, 125, 1),
        (245, 250, 30),
        (250, 255, 1200),
    ]
    assert [tick.label for tick in chart.x_ticks] == ["0", "50", "100", "150", "200", "250"]
    assert lies_in_the_plot(chart)


def test_short_gaps_have_a_bar_each() -> None:
    assert bars_of(value_chart({8: 40, 3: 1})) == [(3, 4, 1), (8, 9, 40)]
