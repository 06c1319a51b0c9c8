"""Orders that draw with weights: by group (alias table), or by sample (cumulative sums).

Each position is drawn on its own, with replacement and without rejection, as a pure function of
(seed, epoch, position). So an epoch does not cover every sample exactly once: weights give expected
counts. ``docs/order.md`` is the normative text.
"""

import copy
from collections.abc import Sequence
from fractions import Fraction
from math import isfinite
from typing import Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from train_shards.errors import UserError
from train_shards.permutation import CounterHash, check_num_samples, check_positions

__all__ = ["GroupOrder", "WeightedOrder", "alias_table", "cumulative_weights", "integer_weights"]

_FLOAT_TOTAL = 1 << 53
_MAX_TOTAL = 1 << 62


def integer_weights(weights: Sequence[int | float]) -> list[int]:
    """Returns integers in proportion to ``weights``: themselves, if all are integers.

    Otherwise each is its share of the sum times 2^53, rounded (half to even), at least 1 unless
    the weight is 0.

    Raises:
        UserError: a weight is negative or not finite, all are 0, or integers sum to 2^62 or more.

    >>> integer_weights([3, 0, 1])
    [3, 0, 1]
    """
    for position, weight in enumerate(weights):
        if not (isfinite(weight) and weight >= 0):
            raise UserError(f"weights[{position}] is {weight}: expected a number of 0 or more.")
    exact = [Fraction(int(w)) if w == int(w) else Fraction(float(w)) for w in weights]
    total = sum(exact, Fraction(0))
    if total == 0:
        raise UserError(f"weights of {len(exact)} groups: all are 0; at least one must not be.")
    if all(weight.denominator == 1 for weight in exact):
        if total >= _MAX_TOTAL:
            raise UserError(f"weights sum to {total}: expected less than {_MAX_TOTAL}.")
        return [int(weight) for weight in exact]
    return [max(1, round(w / total * _FLOAT_TOTAL)) if w else 0 for w in exact]


def alias_table(weights: Sequence[int]) -> tuple[list[int], list[int]]:
    """Returns ``(thresholds, aliases)``: draw column ``i``, then ``u`` in ``[0, sum(weights))``.

    The outcome is ``i`` where ``u < thresholds[i]``, else ``aliases[i]``. Exact in integers: the
    chances of an outcome over all columns add up to ``weight * len(weights)``. Ties and pairing
    follow ascending order, so that the table is one function of the weights.
    Source: Walker 1977 as arranged by Vose, IEEE Trans. Software Eng. 17(9), 1991.

    >>> alias_table([3, 1])
    ([4, 2], [0, 0])
    """
    total, count = sum(weights), len(weights)
    thresholds = [weight * count for weight in weights]
    aliases = list(range(count))
    small = [i for i in range(count) if thresholds[i] < total][::-1]
    large = [i for i in range(count) if thresholds[i] >= total][::-1]
    while small:
        poor, rich = small.pop(), large[-1]
        aliases[poor] = rich
        thresholds[rich] -= total - thresholds[poor]
        if thresholds[rich] < total:
            small.append(large.pop())
    return thresholds, aliases


class GroupOrder:
    """Draws a group by its weight, then a sample of the group evenly.

    Groups are tasks, skills or whatever else; they may overlap, and need not cover the data set.
    A group of weight 0 is never drawn.
    """

    def __init__(
        self,
        weights: Sequence[int | float],
        runs: Sequence[Sequence[tuple[int, int]] | NDArray[np.integer]],
        *,
        num_draws: int,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        """Makes the table. Cost: memory in proportion to groups and runs, not to samples.

        Args:
            weights: of each group as a whole, whatever its size.
            runs: of each group: its samples as ``[start, stop)``, ``(number of runs, 2)``.
            num_draws: positions in an epoch.
            seed: of the run.
            epoch: 0-based.

        Raises:
            UserError: weights as in ``integer_weights``; a group with weight and without samples;
                a run that ends before it starts; unequal numbers of weights and groups.
        """
        if len(weights) != len(runs):
            raise UserError(f"{len(weights)} weights for {len(runs)} groups: expected one each.")
        self.num_samples = check_num_samples(num_draws)
        whole = integer_weights(weights)
        self._total = sum(whole)
        thresholds, aliases = alias_table(whole)
        self._thresholds, self._aliases = np.array(thresholds), np.array(aliases)
        tables = [np.asarray(group, np.int64).reshape(-1, 2) for group in runs]
        for group, (weight, table) in enumerate(zip(whole, tables, strict=True)):
            if table.size and (table.min() < 0 or (table[:, 0] > table[:, 1]).any()):
                raise UserError(
                    f"group {group}: runs must be [start, stop) with 0 <= start <= stop."
                )
            if weight and not (table[:, 1] - table[:, 0]).sum():
                raise UserError(f"group {group}: weight {weights[group]} but no samples.")
        # Members of all groups, numbered through: run r holds _bases[r] to _bases[r + 1].
        every = np.concatenate(tables)
        self._starts = every[:, 0]
        self._bases = np.concatenate([[0], np.cumsum(every[:, 1] - every[:, 0])]).astype(np.int64)
        run_stops = np.cumsum([len(table) for table in tables])
        self._firsts = self._bases[np.concatenate([[0], run_stops])]
        digest = xxhash.xxh3_64(repr(whole).encode() + run_stops.astype("<i8").tobytes())
        digest.update(every.astype("<i8").tobytes())
        self.name = f"groups:{digest.hexdigest()}"
        self._key(seed, epoch)

    def _key(self, seed: int, epoch: int) -> None:
        self._columns, self._coins, self._members = (
            CounterHash(seed=seed, epoch=epoch, stream=stream)
            for stream in ("column", "coin", "member")
        )

    def sample(self, position: int) -> int:
        """Returns the sample drawn at ``position``.

        >>> GroupOrder([1, 0], [[(7, 8)], [(0, 7)]], num_draws=100).sample(99)
        7
        """
        return int(self.samples(np.array([position]))[0])

    def samples(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns the sample drawn at each position."""
        positions = check_positions(positions, self.num_samples)
        columns = self._columns.below_many(positions, len(self._aliases))
        is_own = self._coins.below_many(positions, self._total) < self._thresholds[columns]
        groups = np.where(is_own, columns, self._aliases[columns])
        firsts = self._firsts[groups]
        members = firsts + self._members.below_many(positions, self._firsts[groups + 1] - firsts)
        # The last run that begins at or before the member; empty runs come before it.
        run = np.searchsorted(self._bases, members, side="right") - 1
        drawn: NDArray[np.int64] = self._starts[run] + (members - self._bases[run])
        return drawn

    def keyed(self, seed: int, epoch: int) -> Self:
        """Returns the order of another seed and epoch; the tables are shared."""
        other = copy.copy(self)
        other._key(seed, epoch)
        return other


def cumulative_weights(weights: NDArray[np.number]) -> NDArray[np.uint64] | NDArray[np.float64]:
    """Returns the running sums of ``weights`` as ``WeightedOrder`` wants them.

    uint64 for integers (exact), else float64. ``np.save`` the result and ``np.load`` it with
    ``mmap_mode="r"``, and every process shares one copy.

    Raises:
        UserError: no weights, one is negative or not finite, or the sum is 0 or 2^62 or more.

    >>> cumulative_weights(np.array([2, 0, 1])).tolist()
    [2, 2, 3]
    """
    good = np.isfinite(weights) & (weights >= 0)
    if not good.all():
        bad = int(np.argmin(good))
        raise UserError(f"weights[{bad}] is {weights[bad]}: expected a number of 0 or more.")
    # The sum first in floating point: uint64 would wrap around in silence.
    if not 0 < float(weights.sum(dtype=np.float64)) < _MAX_TOTAL:
        raise UserError(
            f"{len(weights)} weights sum to {weights.sum(dtype=np.float64)}: expected more than 0 "
            f"and less than {_MAX_TOTAL}."
        )
    if weights.dtype.kind in "iu":
        return np.cumsum(weights, dtype=np.uint64)
    return np.cumsum(weights, dtype=np.float64)


class WeightedOrder:
    """Draws samples by a weight each, from running sums that may be memory-mapped.

    Exact with integers; with floats to about 2^-53 of the sum.
    """

    def __init__(
        self,
        cumulative: NDArray[np.uint64] | NDArray[np.float64],
        *,
        num_draws: int | None = None,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        """Takes the sums as they are; only the last is read here.

        Args:
            cumulative: ``(n,)`` from ``cumulative_weights``: never falling, its last the total.
            num_draws: positions in an epoch; None for the number of samples.
            seed: of the run.
            epoch: 0-based.

        Raises:
            UserError: another type or shape, or a total that is not in ``(0, 2^62)``.
        """
        if cumulative.ndim != 1 or cumulative.dtype not in (np.uint64, np.float64):
            raise UserError(
                f"cumulative {cumulative.dtype} of shape {cumulative.shape}: expected (n,) uint64 "
                "or float64. Make it with cumulative_weights."
            )
        num_weights = check_num_samples(len(cumulative))
        self._total = cumulative[-1].item()
        if not 0 < self._total < _MAX_TOTAL:
            raise UserError(f"weights sum to {self._total}: expected (0, {_MAX_TOTAL}).")
        self.num_samples = check_num_samples(num_weights if num_draws is None else num_draws)
        self.name = f"weights:{num_weights}:{self._total}"
        self._cumulative = cumulative
        self._hash = CounterHash(seed=seed, epoch=epoch, stream="weight")

    def sample(self, position: int) -> int:
        """Returns the sample drawn at ``position``. Cost: a binary search in the sums.

        >>> WeightedOrder(cumulative_weights(np.array([0, 5, 0]))).sample(2)
        1
        """
        return int(self.samples(np.array([position]))[0])

    def samples(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns the sample drawn at each position."""
        positions = check_positions(positions, self.num_samples)
        levels: NDArray[np.uint64] | NDArray[np.float64]
        if isinstance(self._total, int):
            levels = self._hash.below_many(positions, self._total).view(np.uint64)
        else:
            # In [0, 1 - 2^-53] times the total: below the total also after rounding, since the
            # difference is half a unit in its last place or more.
            levels = (self._hash.bits_many(positions) >> np.uint64(11)) * 2.0**-53 * self._total
        # The first sum above the level: its sample's weight is not 0.
        return np.searchsorted(self._cumulative, levels, side="right").astype(np.int64)

    def keyed(self, seed: int, epoch: int) -> Self:
        """Returns the order of another seed and epoch; the sums are shared."""
        other = copy.copy(self)
        other._hash = CounterHash(seed=seed, epoch=epoch, stream="weight")
        return other
