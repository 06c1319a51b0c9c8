"""Orders of an epoch: position -> sample, pure functions of (seed, epoch, position).

An order has O(1) memory and answers for any position in O(1), so that resuming costs nothing and
ranks need not agree on anything but the position. ``docs/order.md`` is the normative text. Imports
neither torch nor files. Orders with weights stand in ``weighted_order.py``.
"""

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from train_shards.errors import UserError
from train_shards.permutation import Permutation, check_num_samples, check_positions

__all__ = [
    "ORDER_VERSION",
    "BlockOrder",
    "GlobalOrder",
    "LaneOrder",
    "MappedOrder",
    "Order",
    "SequentialOrder",
]

ORDER_VERSION = 1
"""Raised when the same (seed, epoch, position) names another sample: a break of kind ORDER."""


class Order(Protocol):
    """What a sampler wants of an order; all orders here are immutable."""

    @property
    def num_samples(self) -> int:
        """Number of positions in an epoch."""

    @property
    def name(self) -> str:
        """Kind and parameters, without seed and epoch: a state of another name is refused."""

    def sample(self, position: int) -> int:
        """Returns the sample at ``position``; outside ``[0, num_samples)`` is an IndexError."""

    def samples(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns ``sample`` of each position, shape ``(n,)``."""

    def keyed(self, seed: int, epoch: int) -> Self:
        """Returns the order of another seed and epoch."""


class SequentialOrder:
    """Every sample once, in ascending order; seed and epoch change nothing."""

    name = "none"

    def __init__(self, num_samples: int) -> None:
        """Raises UserError for a number of samples that no order can have."""
        self.num_samples = check_num_samples(num_samples)

    def sample(self, position: int) -> int:
        """Returns ``position``.

        >>> SequentialOrder(5).sample(3)
        3
        """
        if not 0 <= position < self.num_samples:
            raise IndexError(f"position {position}: expected 0 to {self.num_samples - 1}")
        return position

    def samples(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns the positions themselves."""
        return check_positions(positions, self.num_samples)

    def keyed(self, seed: int, epoch: int) -> Self:  # noqa: ARG002
        """Returns this order: there is nothing to shuffle."""
        return self


class GlobalOrder:
    """Every sample once, permuted over the whole data set."""

    name = "global"

    def __init__(self, num_samples: int, *, seed: int = 0, epoch: int = 0) -> None:
        """Raises UserError for a number of samples that no order can have."""
        self.num_samples = num_samples
        self._permutation = Permutation(num_samples, seed=seed, epoch=epoch, stream="global")

    def sample(self, position: int) -> int:
        """Returns the image of ``position`` under the epoch's permutation.

        >>> sorted(GlobalOrder(5, seed=1).sample(position) for position in range(5))
        [0, 1, 2, 3, 4]
        """
        return self._permutation.permute(position)

    def position(self, sample: int) -> int:
        """Returns the position of ``sample`` in the epoch.

        >>> order = GlobalOrder(5, seed=1)
        >>> [order.position(order.sample(position)) for position in range(5)]
        [0, 1, 2, 3, 4]
        """
        return self._permutation.invert(sample)

    def samples(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns ``sample`` of each position."""
        return self._permutation.permute_many(positions)

    def keyed(self, seed: int, epoch: int) -> Self:
        """Returns the order of another seed and epoch."""
        return type(self)(self.num_samples, seed=seed, epoch=epoch)


class BlockOrder:
    """Every sample once, permuted so that reads stay within a few blocks at a time.

    ``block_size`` consecutive samples make a block (the last may be shorter). The blocks are put
    one after the other in a permuted order; that sequence is cut into windows of ``window_blocks *
    block_size`` positions, and the positions of each window are permuted among themselves. So a
    window reads from at most ``window_blocks + 1`` blocks, and each block is read in at most two
    neighbouring windows.

    A block is consecutive in the numbers that the order gives. Where another order is on disk,
    such as an index's storage order, wrap this one in ``MappedOrder``.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        block_size: int = 1024,
        window_blocks: int = 16,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        """Derives the permutations.

        Args:
            num_samples: size of the data set.
            block_size: samples in a block.
            window_blocks: blocks whose samples are mixed; as many as fit a disk's cache.
            seed: of the run.
            epoch: 0-based.

        Raises:
            UserError: a size below 1, or too many samples.
        """
        for what, value in (("block_size", block_size), ("window_blocks", window_blocks)):
            if value < 1:
                raise UserError(f"{what} {value}: expected 1 or more.")
        self.num_samples = check_num_samples(num_samples)
        self.block_size, self.window_blocks = block_size, window_blocks
        self.name = f"block:{block_size}x{window_blocks}"
        num_blocks = -(-num_samples // block_size)
        self._blocks = Permutation(num_blocks, seed=seed, epoch=epoch, stream="block")
        # Behind the last block, which may be short, the sequence runs ahead of whole blocks.
        last_size = num_samples - (num_blocks - 1) * block_size
        self._short_stop = self._blocks.invert(num_blocks - 1) * block_size + last_size
        self._shortage = block_size - last_size
        # A window larger than the data set is one window of the data set's size.
        self._window_size = min(block_size * window_blocks, num_samples)
        self._last_window, last_window_size = divmod(num_samples, self._window_size)
        self._window, self._short_window = (
            Permutation(size, seed=seed, epoch=epoch, stream="window")
            for size in (self._window_size, last_window_size or 1)
        )

    def sample(self, position: int) -> int:
        """Returns the sample at ``position``.

        >>> order = BlockOrder(7, block_size=2, window_blocks=2, seed=1)
        >>> sorted(order.sample(position) for position in range(7))
        [0, 1, 2, 3, 4, 5, 6]
        """
        if not 0 <= position < self.num_samples:
            raise IndexError(f"position {position}: expected 0 to {self.num_samples - 1}")
        window, place = divmod(position, self._window_size)
        permutation = self._short_window if window == self._last_window else self._window
        place = window * self._window_size + permutation.permute(place, window)
        if place >= self._short_stop:
            place += self._shortage
        visit, offset = divmod(place, self.block_size)
        return self._blocks.permute(visit) * self.block_size + offset

    def samples(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns ``sample`` of each position."""
        windows, places = np.divmod(check_positions(positions, self.num_samples), self._window_size)
        for is_last, permutation in ((False, self._window), (True, self._short_window)):
            mask = (windows == self._last_window) == is_last
            places[mask] = permutation.permute_many(places[mask], windows[mask])
        places += windows * self._window_size
        places[places >= self._short_stop] += self._shortage
        visits, offsets = np.divmod(places, self.block_size)
        return self._blocks.permute_many(visits) * self.block_size + offsets

    def keyed(self, seed: int, epoch: int) -> Self:
        """Returns the order of another seed and epoch."""
        return type(self)(
            self.num_samples,
            block_size=self.block_size,
            window_blocks=self.window_blocks,
            seed=seed,
            epoch=epoch,
        )


class LaneOrder:
    """Another order cut into parts, the lanes, that are read side by side.

    Position p takes the next number of lane ``p mod lanes``. So a batch mixes all lanes, and where
    the number of ranks divides ``lanes`` (and the samples consumed before), each rank, having every
    R-th position, stays in its own lanes: what it reads, no other rank reads.
    """

    def __init__(self, order: Order, lanes: int) -> None:
        """Wraps ``order``.

        Raises:
            UserError: fewer than one lane.
        """
        if lanes < 1:
            raise UserError(f"lanes {lanes}: expected 1 or more.")
        self.num_samples, self.lanes = order.num_samples, lanes
        self.name = f"{order.name}:lanes{lanes}"
        self._order = order
        # The first lanes are one longer where the division leaves a rest.
        self._lane_size, self._num_longer = divmod(order.num_samples, lanes)

    def sample(self, position: int) -> int:
        """Returns the sample at ``position``.

        >>> order = LaneOrder(SequentialOrder(7), 3)
        >>> [order.sample(position) for position in range(7)]
        [0, 3, 5, 1, 4, 6, 2]
        """
        if not 0 <= position < self.num_samples:
            raise IndexError(f"position {position}: expected 0 to {self.num_samples - 1}")
        turn, lane = divmod(position, self.lanes)
        return self._order.sample(lane * self._lane_size + min(lane, self._num_longer) + turn)

    def samples(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns ``sample`` of each position."""
        turns, lanes = np.divmod(check_positions(positions, self.num_samples), self.lanes)
        starts = lanes * self._lane_size + np.minimum(lanes, self._num_longer)
        return self._order.samples(starts + turns)

    def keyed(self, seed: int, epoch: int) -> Self:
        """Returns the order of another seed and epoch, in as many lanes."""
        return type(self)(self._order.keyed(seed, epoch), self.lanes)


class MappedOrder:
    """Another order whose numbers are looked up in a table: a selection, or the storage order."""

    def __init__(self, order: Order, table: NDArray[np.integer]) -> None:
        """Wraps ``order``.

        Args:
            order: gives positions in the table.
            table: ``(n,)`` integers, a sample each; may be memory-mapped.

        Raises:
            UserError: the table has another length than an epoch, or holds no integers.
        """
        if table.ndim != 1 or table.dtype.kind not in "iu" or len(table) != order.num_samples:
            raise UserError(
                f"table {table.dtype} of shape {table.shape}: expected ({order.num_samples},) "
                f"integers, one for each number of order {order.name}."
            )
        self.num_samples, self.name = order.num_samples, f"{order.name}:mapped"
        self._order, self._table = order, table

    def sample(self, position: int) -> int:
        """Returns the entry that the order names at ``position``.

        >>> MappedOrder(SequentialOrder(3), np.array([30, 10, 20])).sample(2)
        20
        """
        return int(self._table[self._order.sample(position)])

    def samples(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns ``sample`` of each position."""
        return self._table[self._order.samples(positions)].astype(np.int64)

    def keyed(self, seed: int, epoch: int) -> Self:
        """Returns the order of another seed and epoch, with the same table."""
        return type(self)(self._order.keyed(seed, epoch), self._table)
