"""Weights of skills -> an order that draws frames by them, without rejecting any. Pure.

Source of the arguments: openpi-comet's reader, which accepts a frame with the probability of its
weight and else decodes the next. Here a frame of weight 0 is never asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

from train_shards.errors import UserError
from train_shards.weighted_order import GroupOrder

__all__ = [
    "GROUPS",
    "SkillWeights",
    "WeightGroup",
    "group_order",
    "skill_weights",
    "weight_arguments",
    "weight_groups",
]

GROUPS = ("task_skill", "skill_type", "skill_description")
"""What a frame's weight may depend on: its level-1 text, or a field of its annotated skill."""
_ALL = "all"


class SkillWeights(NamedTuple):
    """A weight for each skill."""

    by: str
    """One of ``GROUPS``: what names a frame's skill."""
    weights: dict[str, float]
    default: float
    """Of a skill that is not named."""

    def of(self, skill: str) -> float:
        """Returns the weight of a frame of ``skill``."""
        return self.weights.get(skill, self.default)


class WeightGroup(NamedTuple):
    """All samples of one weight."""

    weight: float
    runs: list[tuple[int, int]]
    """Their positions, ``[start, stop)``."""

    @property
    def num_samples(self) -> int:
        """Number of samples."""
        return sum(stop - start for start, stop in self.runs)


def skill_weights(
    skill_list: Sequence[str],
    group_by: str | None,
    weights: Mapping[str, float] | None,
    default: float,
    *,
    compat: bool = False,
) -> SkillWeights | None:
    """Returns the weights that the constructor's arguments mean; None where all are equal.

    Args:
        skill_list: ``name:weight``, and ``all`` for a weight of 1 for the others rather than 0.
        group_by: one of ``GROUPS``, or None for ``task_skill`` with ``skill_list``.
        weights: of each skill, in place of ``skill_list``.
        default: of skills that are not in ``weights``.
        compat: weights above 1 count as 1 in a ``skill_list``, and those in ``weights`` are divided
            by the largest first; the chances of acceptance that upstream makes of them.

    Raises:
        UserError: an entry, a group or a weight that is not allowed.
    """
    if group_by is not None and group_by not in GROUPS:
        raise UserError(f"resample_group_by {group_by!r}: expected None or one of {list(GROUPS)}.")
    largest = 1.0
    if group_by is None or "skill_list" in weight_arguments(group_by, weights):
        found = SkillWeights("task_skill", _listed(skill_list), float(_ALL in skill_list))
    else:
        named = {str(skill): float(weight) for skill, weight in (weights or {}).items()}
        found = SkillWeights(group_by, named, float(default))
        if weights is not None:
            largest = max(1.0, found.default, *named.values())
    for skill, weight in {**found.weights, "(default)": found.default}.items():
        if not (isfinite(weight) and weight >= 0):
            raise UserError(f"weight of skill {skill!r} is {weight}: expected 0 or more.")
    if compat:
        found = SkillWeights(
            found.by,
            {skill: min(1.0, weight / largest) for skill, weight in found.weights.items()},
            min(1.0, found.default / largest),
        )
    if not any((found.default, *found.weights.values())):
        raise UserError(
            f"skill_list {list(skill_list)}, resample_weights {weights}: every weight is 0, which "
            "leaves no frame. Give a skill a weight, or put 'all' into skill_list."
        )
    is_equal = all(weight == found.default for weight in found.weights.values())
    return None if is_equal else found


def weight_arguments(group_by: str | None, weights: Mapping[str, float] | None) -> set[str]:
    """Returns the names of the arguments that weights are made of, among those that may be."""
    if group_by is None or (group_by == "task_skill" and weights is None):
        return {"skill_list"}
    return {"resample_weights", "resample_default_weight"}


def _listed(skill_list: Sequence[str]) -> dict[str, float]:
    """The first entry of a skill counts, as upstream has it."""
    listed: dict[str, float] = {}
    for entry in skill_list:
        if entry != _ALL:
            skill, colon, weight = entry.partition(":")
            try:
                listed.setdefault(skill, float(weight))
            except ValueError:
                expected = "a number after the colon" if colon else "'name:weight' or 'all'"
                raise UserError(f"skill_list: entry {entry!r}: expected {expected}.") from None
    return listed


def weight_groups(runs: Iterable[tuple[int, int, float]]) -> list[WeightGroup]:
    """Returns runs of positions ``(start, stop, weight)`` by their weight, lightest first.

    >>> weight_groups([(0, 5, 1.0), (5, 7, 0.0), (7, 9, 1.0)])[1]
    WeightGroup(weight=1.0, runs=[(0, 5), (7, 9)])
    """
    groups: dict[float, list[tuple[int, int]]] = {}
    for start, stop, weight in runs:
        groups.setdefault(weight, []).append((start, stop))
    return [WeightGroup(weight, groups[weight]) for weight in sorted(groups)]


def group_order(groups: Sequence[WeightGroup], num_draws: int) -> GroupOrder | None:
    """Returns the order that draws each sample in proportion to its weight; None if all are equal.

    Raises:
        UserError: no sample has a weight.
    """
    drawn = [group for group in groups if group.weight > 0]
    if not drawn:
        raise UserError(
            "skill weights: every frame of the selection has weight 0. Check the names of skills "
            "in skill_list or resample_weights against those of the annotations."
        )
    if len(drawn) == len(groups) == 1:
        return None
    return GroupOrder(
        [group.weight * group.num_samples for group in drawn],
        [group.runs for group in drawn],
        num_draws=num_draws,
    )
