"""Several data sets as one: each access draws a member by its weight."""

import logging
import operator
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Literal, Protocol, SupportsIndex

import numpy as np
import xxhash

from train_shards.behavior_items import choice
from train_shards.errors import UserError
from train_shards.permutation import CounterHash
from train_shards.run_scope import RunScope
from train_shards.skill_weights import WeightGroup
from train_shards.weighted_order import GroupOrder, integer_weights

__all__ = ["MultiBehaviorLeRobotDataset"]

_LOG = logging.getLogger(__name__)


class _Member(Protocol):
    @property
    def digest(self) -> str: ...
    @property
    def run_scope(self) -> RunScope | None: ...

    def weight_groups(self) -> list[WeightGroup]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]: ...


class MultiBehaviorLeRobotDataset:
    """A mixture of data sets, as long as the longest.

    Index i below the length draws a member from (seed, i) and gives its item ``i % len(member)``:
    the same for every epoch, so a share of each member is never seen. Indices from the length on
    name the members' samples one after the other; ``sampling_order`` draws such ones anew in every
    epoch, and reaches all of them.
    """

    def __init__(
        self,
        datasets: Sequence[_Member],
        sample_weights: Sequence[float] | None = None,
        *,
        seed: int = 42,
        compat: Literal["right", "upstream"] | None = None,
    ) -> None:
        """Takes the members.

        Args:
            datasets: at least one.
            sample_weights: the chance of each; None for the same.
            seed: of the draws.
            compat: ``upstream`` draws from numpy's global generator; None for
                ``PREDECODE_COMPAT``, else ``right``.

        Raises:
            UserError: no members, not a weight for each, a weight that is not allowed, or a member
                that holds a single run's samples.
        """
        weights = [1.0] * len(datasets) if sample_weights is None else list(sample_weights)
        if not datasets or len(weights) != len(datasets):
            raise UserError(
                f"{len(datasets)} data sets and {len(weights)} weights: expected one each."
            )
        if scoped := [member.run_scope for member in datasets if member.run_scope is not None]:
            raise UserError(
                f"mixture: a member holds the samples of one run over it alone, {scoped[0]}; drawn "
                "by weight, the run would see others. Mix whole outputs."
            )
        thresholds = list(accumulate(integer_weights(weights)))
        self.datasets = list(datasets)
        self.sample_weights = [weight / sum(weights) for weight in weights]
        self._thresholds = thresholds
        self._draw = CounterHash(seed=seed, epoch=0, stream="mixture")
        self._seed = seed
        self._compat = choice(compat, "PREDECODE_COMPAT", ("right", "upstream")) == "upstream"
        self._firsts = list(accumulate((len(member) for member in datasets), initial=0))
        self._length = max(len(member) for member in datasets)
        digests = [member.digest for member in datasets]
        if len(set(digests)) < len(digests):
            _LOG.warning(
                "mixture: members %s: some serve the same samples. PREDECODE_SHARDS names one "
                "output for all of them; unset it and let each root be an output.", digests,
            )  # fmt: skip

    def __len__(self) -> int:
        """Length of the longest member."""
        return self._length

    run_scope: RunScope | None = None
    """No member holds a single run's samples."""

    @property
    def digest(self) -> str:
        """Names the members' samples and weights, for ``ResumableSampler`` to refuse others."""
        parts = [member.digest for member in self.datasets], self._thresholds, self._seed
        return xxhash.xxh3_128_hexdigest(repr(parts).encode())

    @property
    def sampling_order(self) -> GroupOrder | None:
        """Draws a member by its weight, then a sample by the member's own weights.

        None with ``compat="upstream"``: there numpy's generator draws.

        Raises:
            UserError: every sample of a member has weight 0.

        Cost: as the members' ``weight_groups``.
        """
        if self._compat:
            return None
        weights, runs = [], []
        for member, share, first in zip(
            self.datasets, self.sample_weights, self._firsts, strict=False
        ):
            groups = [group for group in member.weight_groups() if group.weight > 0]
            total = sum(group.weight * group.num_samples for group in groups)
            if not total:
                raise UserError("mixture: every frame of a member has weight 0.")
            offset = len(self) + first
            for group in groups:
                weights.append(share * group.weight * group.num_samples / total)
                runs.append([(start + offset, stop + offset) for start, stop in group.runs])
        return GroupOrder(weights, runs, num_draws=len(self))

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        """Returns an item of the member that the index draws, or that it names.

        Raises:
            IndexError: beyond the members' samples.
            As the members.
        """
        place = operator.index(index)
        if place >= len(self):
            return self._named(place - len(self))
        if place < -len(self):
            raise IndexError(f"sample {place}: expected {-len(self)} or more")
        place %= len(self)
        if self._compat:
            drawn = np.random.choice(len(self.datasets), p=self.sample_weights)  # noqa: NPY002
            member = self.datasets[int(drawn)]
        else:
            level = self._draw.below(place, self._thresholds[-1])
            member = self.datasets[bisect_right(self._thresholds, level)]
        return member[place % len(member)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Goes through the drawn items once."""
        return (self[index] for index in range(len(self)))

    def _named(self, place: int) -> dict[str, Any]:
        if place >= self._firsts[-1]:
            raise IndexError(
                f"sample {place + len(self)}: expected less than {len(self) + self._firsts[-1]}"
            )
        number = bisect_right(self._firsts, place) - 1
        return self.datasets[number][place - self._firsts[number]]
