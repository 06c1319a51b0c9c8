"""The order for disks and object stores that want sequential reads: blocks as they lie in shards.

Numbers the selected samples in the order in which they lie, cuts that into blocks, visits the
blocks in a permuted order, several lanes of them side by side, and shuffles within them. A pure
function of (seed, epoch, position) and the output, like every order.
"""

from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from typing import Self

import numpy as np
from numpy.typing import NDArray

from train_shards.dataset import ShardDataset
from train_shards.errors import UserError
from train_shards.index import Index
from train_shards.order import BlockOrder, LaneOrder
from train_shards.reader import Place
from train_shards.selection import Runs

__all__ = ["StorageOrder"]

_PIECE = 1 << 14
"""Entries of a storage order that are read at once."""


class StorageOrder:
    """Every sample of a data set once, read block by block; an ``Order``, see ``order.py``."""

    def __init__(
        self,
        dataset: ShardDataset,
        *,
        block_size: int | None = None,
        lanes: int = 8,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        """Numbers the samples.

        Args:
            dataset: says which samples.
            block_size: samples in a block; None for as many as a full shard has.
            lanes: blocks that are read side by side.
            seed: of the run.
            epoch: 0-based.

        Raises:
            UserError: a size below 1, or only one run's samples are stored.

        Cost: where samples are masked or not selected, one pass over the index's storage order.
        """
        if dataset.run_scope is not None:
            raise UserError(
                f"{dataset.out}: holds the samples of one run, {dataset.run_scope}: read them in "
                "the global order of ResumableSampler, not as they lie."
            )
        self._dataset = dataset
        self.num_samples = len(dataset)
        size = block_size
        if size is None:
            size = dataset.open_reader().settings.shard_size
        self.block_size, self._most_blocks = size, 4 * lanes + 16
        self._order = LaneOrder(
            BlockOrder(self.num_samples, block_size=size, window_blocks=1, seed=seed, epoch=epoch),
            lanes,
        )
        self.name = f"storage:{self._order.name}"
        self._parts = [_Part(*part) for part in dataset.open_reader().stored_runs()]
        self._before = list(accumulate((len(part) for part in self._parts), initial=0))
        self._blocks: OrderedDict[int, NDArray[np.int64]] = OrderedDict()

    def sample(self, position: int) -> int:
        """Returns the data set's position of the sample at ``position``."""
        return int(self.samples(np.array([position]))[0])

    def samples(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns ``sample`` of each position."""
        numbers = self._order.samples(positions)
        blocks, places = np.divmod(numbers, self.block_size)
        samples = np.empty(len(numbers), np.int64)
        for block in np.unique(blocks).tolist():
            mask = blocks == block
            samples[mask] = self._block(block)[places[mask]]
        return samples

    def blocks(self, positions: NDArray[np.integer]) -> list[int]:
        """Returns the blocks that the samples at ``positions`` lie in, each once, as they come."""
        return list(dict.fromkeys((self._order.samples(positions) // self.block_size).tolist()))

    def ends_of(self, block: int) -> tuple[Place, Place]:
        """Returns the first and the last sample of a block as they lie."""
        reader = self._dataset.open_reader()
        samples = self._block(block)
        return reader.locate(int(samples[0])), reader.locate(int(samples[-1]))

    def keyed(self, seed: int, epoch: int) -> Self:
        """Returns the order of another seed and epoch."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _order=self._order.keyed(seed, epoch))
        return other

    def _block(self, block: int) -> NDArray[np.int64]:
        """Positions in the data set of a block's samples, as they lie."""
        samples = self._blocks.get(block)
        if samples is None:
            start = block * self.block_size
            samples = self._samples_at(start, min(start + self.block_size, self.num_samples))
            self._blocks[block] = samples
            if len(self._blocks) > self._most_blocks:
                self._blocks.popitem(last=False)
        return samples

    def _samples_at(self, start: int, stop: int) -> NDArray[np.int64]:
        """Positions in the data set of the samples number ``[start, stop)`` as they lie."""
        found = []
        indexes = [index for index, _ in self._dataset.open_reader().stored_runs()]
        for part, before, index in zip(self._parts, self._before, indexes, strict=False):
            first, last = max(start - before, 0), min(stop - before, len(part))
            if first < last:
                found.append(before + part.positions(index, first, last))
        return np.concatenate(found)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_blocks": OrderedDict()}


class _Part:
    """One index's selected samples in the order in which they lie; holds no file."""

    def __init__(self, index: Index, runs: Runs) -> None:
        self._starts = np.array(runs.starts, np.int64)
        self._before = np.array(runs.before, np.int64)
        # Selected samples before each piece of the storage order; None where all are selected.
        self._selected_before: list[int] | None = None
        if len(self) < index.num_stored:
            counts = (len(self._kept(index, start)) for start in range(0, index.num_stored, _PIECE))
            self._selected_before = list(accumulate(counts, initial=0))

    def __len__(self) -> int:
        return int(self._before[-1])

    def positions(self, index: Index, start: int, stop: int) -> NDArray[np.int64]:
        """Of the selected samples number ``[start, stop)`` as they lie, among all of the part."""
        if self._selected_before is None:
            return self._ranks(index.storage_rows(start, stop).astype(np.int64))
        first = bisect_right(self._selected_before, start) - 1
        last = bisect_right(self._selected_before, stop - 1)
        kept = [self._kept(index, piece * _PIECE) for piece in range(first, last)]
        offset = start - self._selected_before[first]
        return self._ranks(np.concatenate(kept)[offset : offset + stop - start])

    def _kept(self, index: Index, start: int) -> NDArray[np.int64]:
        """Selected rows of the piece of the storage order that begins at ``start``."""
        rows = index.storage_rows(start, start + _PIECE).astype(np.int64)
        if not len(self._starts):
            return rows[:0]
        runs = np.searchsorted(self._starts, rows, side="right") - 1
        return rows[(runs >= 0) & (rows - self._starts[runs] < np.diff(self._before)[runs])]

    def _ranks(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of selected rows."""
        runs = np.searchsorted(self._starts, rows, side="right") - 1
        ranks: NDArray[np.int64] = self._before[runs] + rows - self._starts[runs]
        return ranks
