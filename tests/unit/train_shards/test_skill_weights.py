"""Weights of skills: what the arguments mean, and what is drawn."""

from collections import Counter

import numpy as np
import pytest

from train_shards.errors import UserError
from train_shards.skill_weights import group_order, skill_weights, weight_groups


@pytest.mark.parametrize(
    ("skill_list", "expected"),
    [
        (["all", "press:0.5"], {"press": 0.5, "lift": 1.0}),
        (["press:0.5", "move to:2"], {"press": 0.5, "move to": 2.0, "lift": 0.0}),
        (["press:0.5", "press:3"], {"press": 0.5}),  # the first counts
    ],
)
def test_a_skill_list_weighs(skill_list: list[str], expected: dict[str, float]) -> None:
    weights = skill_weights(skill_list, None, None, 1.0)
    assert weights is not None
    assert weights.by == "task_skill"
    assert {skill: weights.of(skill) for skill in expected} == expected


def test_resample_weights_take_the_place_of_the_list() -> None:
    weights = skill_weights(["press:0"], "skill_type", {"navigation": 3}, 0.5)
    assert weights is not None
    assert (weights.by, weights.of("navigation"), weights.of("")) == ("skill_type", 3.0, 0.5)


def test_upstream_clips_a_list_and_divides_resample_weights() -> None:
    listed = skill_weights(["all", "press:4", "lift:0.5"], None, None, 1.0, compat=True)
    assert listed is not None
    assert [listed.of(skill) for skill in ("press", "lift", "other")] == [1.0, 0.5, 1.0]
    divided = skill_weights(["all"], "task_skill", {"press": 4, "lift": 1}, 2.0, compat=True)
    assert divided is not None
    assert [divided.of(skill) for skill in ("press", "lift", "other")] == [1.0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("skill_list", "group_by", "default"),
    [(["all"], None, 1.0), (["all", "press:1"], None, 1.0), (["all"], "skill_type", 0.3),
     (["all"], "task_skill", 0.3)],
)  # fmt: skip
def test_equal_weights_are_no_weights(
    skill_list: list[str], group_by: str | None, default: float
) -> None:
    assert skill_weights(skill_list, group_by, None, default) is None


@pytest.mark.parametrize(
    ("skill_list", "group_by", "weights", "message"),
    [
        (["press"], None, None, "entry 'press': expected 'name:weight' or 'all'"),
        (["press:much"], None, None, "entry 'press:much': expected a number after the colon"),
        (["press:-1"], None, None, "weight of skill 'press' is -1.0"),
        (["press:nan"], None, None, "weight of skill 'press' is nan"),
        ([], None, None, "every weight is 0"),
        (["all"], "skill", None, "resample_group_by 'skill'"),
        (["all"], "skill_type", {"a": float("inf")}, "weight of skill 'a' is inf"),
    ],
)
def test_what_makes_no_sense_is_refused(
    skill_list: list[str], group_by: str | None, weights: dict[str, float] | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        skill_weights(skill_list, group_by, weights, 1.0)


def test_the_order_draws_in_proportion_and_never_what_weighs_nothing() -> None:
    groups = weight_groups([(0, 10, 3.0), (10, 20, 0.0), (20, 30, 1.0), (30, 40, 3.0)])
    order = group_order(groups, 40_000)
    assert order is not None
    drawn = order.keyed(5, 0).samples(np.arange(40_000))
    counts = Counter(int(sample) // 10 for sample in drawn)
    assert sorted(counts) == [0, 2, 3]
    # 3 : 1 : 3 of 40,000; four standard deviations are about 400.
    assert abs(counts[2] - 40_000 / 7) < 400
    assert abs(counts[0] - counts[3]) < 600
    assert set(drawn.tolist()) == {*range(10), *range(20, 40)}


def test_samples_that_all_weigh_the_same_need_no_order() -> None:
    assert group_order(weight_groups([(0, 5, 2.0), (5, 9, 2.0)]), 9) is None


def test_an_order_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="every frame of the selection has weight 0"):
        group_order(weight_groups([(0, 5, 0.0)]), 5)
