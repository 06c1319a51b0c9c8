"""What counts as a change of a benchmark's figure."""

import pytest

from benchmarks.bench import Figure, changes, figure_of


def test_noise_is_that_of_the_rounds_but_never_nothing() -> None:
    assert figure_of([1.0, 2.0, 1.2]) == Figure(1.2, 0.4167)
    assert figure_of([2.0, 2.0, 2.0]) == Figure(2.0, 0.03)
    assert figure_of([5.0]) == Figure(5.0, 0.10)
    assert figure_of([5.0], is_better_low=True).is_better_low


@pytest.mark.parametrize(
    ("before", "now", "marked", "worse"),
    [
        (Figure(1.0, 0.05), Figure(0.91, 0.05), False, False),
        (Figure(1.0, 0.05), Figure(0.89, 0.05), True, True),
        (Figure(1.0, 0.05), Figure(1.2, 0.05), True, False),
        (Figure(1.0, 0.05, True), Figure(1.2, 0.05, True), True, True),
        (Figure(1.0, 0.05, True), Figure(0.8, 0.05, True), True, False),
        (Figure(0.0, 0.05), Figure(0.8, 0.05), False, False),
    ],
)
def test_only_what_is_beyond_the_noise_of_both_is_a_change(
    before: Figure, now: Figure, marked: bool, worse: bool
) -> None:
    ((line, is_worse),) = changes({"speed": now}, {"speed": before})
    assert (line.endswith("!"), is_worse) == (marked, worse)


def test_a_new_figure_is_no_change() -> None:
    assert changes({"speed": Figure(3.0, 0.1)}, {})[0][1] is False
