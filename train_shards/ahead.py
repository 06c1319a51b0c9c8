"""A batch that is asked for item by item, read together: its first position names the others."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex

from train_shards.errors import DataError

__all__ = ["FirstOfBatch", "ItemsAhead"]


class FirstOfBatch(int):
    """The position of a batch's first sample, which knows those of all.

    torch hands a data set behind a trainer's transforms one position after another. This is an int
    like any other to whoever does not ask, and travels to workers.

    >>> first = FirstOfBatch([7, 3, 5])
    >>> first, first + 1, first.batch
    (7, 8, (7, 3, 5))
    """

    batch: tuple[int, ...]
    """Positions in the order of the batch, the first included."""

    def __new__(cls, batch: Sequence[int]) -> "FirstOfBatch":
        """Takes the positions of a batch, at least one."""
        self = super().__new__(cls, batch[0])
        self.batch = tuple(batch)
        return self

    def __reduce__(self) -> tuple[type["FirstOfBatch"], tuple[tuple[int, ...]]]:
        """Pickles as its batch."""
        return FirstOfBatch, (self.batch,)


class ItemsAhead:
    """The rest of a batch: gives each item when its turn has come."""

    def __init__(self, positions: Sequence[int], items: Iterator[dict[str, Any]]) -> None:
        """Takes the positions and what makes their items, one after the other, when asked."""
        self._positions, self._items = deque(positions), items
        self._process = os.getpid()

    def take(self, position: SupportsIndex) -> dict[str, Any] | None:
        """Returns the item at ``position`` if it is the next one; None if not, or if it is damaged.

        After a damaged one, of which the item's own reader will tell, none is next.
        """
        # The threads that read ahead do not survive a fork.
        if not self._positions or self._positions[0] != position or self._process != os.getpid():
            return None
        self._positions.popleft()
        try:
            return next(self._items)
        except BaseException as error:
            self._positions.clear()
            if isinstance(error, DataError):
                return None
            raise
