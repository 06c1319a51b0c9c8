"""A sequential data set: the samples of ``ShardDataset`` in storage order, read ahead.

For spinning disks and object stores. The order is a pure function like the others, so coverage,
resume and elasticity are those of ``ResumableSampler``; there is no buffer with a hidden state.
"""

import logging
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Self

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from train_shards.dataset import ShardDataset
from train_shards.errors import DataError, StorageError, UserError
from train_shards.reader import Place
from train_shards.sampling import ResumableSampler
from train_shards.storage_order import StorageOrder

__all__ = ["ShardStream"]

_LOG = logging.getLogger(__name__)
_AHEAD = 2048
"""Samples of a rank whose blocks are fetched before the first of them is served."""


class ShardStream(IterableDataset[dict[str, Any]]):
    """Items of a ``ShardDataset`` for torch's DataLoader, in an order that reads sequentially.

    The loader's ``batch_size`` must be the stream's: worker w of W makes the batches w, w + W, …
    of the rank, so that the loader hands out the same batches whatever W is.

    ``sampler`` keeps the place, and the trainer tells it as with ``ShardDataset``:
    ``stream.sampler.advance``, ``set_epoch``, ``state_dict``, ``load_state_dict``. Workers take it
    over when an iteration of the loader begins; persistent ones would miss a change and are
    refused at their second epoch.
    """

    def __init__(
        self,
        dataset: ShardDataset,
        *,
        batch_size: int,
        rank: int | None = None,
        world_size: int | None = None,
        seed: int = 0,
        tail: Literal["drop", "pad"] = "drop",
        block_size: int | None = None,
        lanes: int = 8,
    ) -> None:
        """Begins epoch 0.

        Args:
            dataset: the items; over a URL made with ``whole_shards=True``.
            batch_size: the loader's.
            rank: as for ``ResumableSampler``.
            world_size: as for ``ResumableSampler``.
            seed: of the run.
            tail: as for ``ResumableSampler``.
            block_size: samples that are read in line; None for as many as a full shard has.
            lanes: blocks that are mixed. Where it is a multiple of ``world_size``, ranks read
                different shards; otherwise several read the same.

        Raises:
            UserError: as ``ResumableSampler`` and ``StorageOrder``.
        """
        super().__init__()
        self._dataset = dataset
        self._order = StorageOrder(dataset, block_size=block_size, lanes=lanes)
        self.sampler = ResumableSampler(
            len(dataset),
            rank=rank,
            world_size=world_size,
            seed=seed,
            batch_size=batch_size,
            tail=tail,
            shuffle=self._order,
            digest=dataset.digest,
        )
        self._is_worker_used = False

    def __len__(self) -> int:
        """Number of items that this rank still gets of the epoch."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Returns the rest of the epoch, or a loader worker's batches of it.

        For the second time in a worker what it returns raises UserError: such workers persist.
        """
        worker = get_worker_info()
        if worker is None:
            return _StreamIterator(self._dataset, self._order, self.sampler, (0, 1))
        if self._is_worker_used:
            return _Refusal()
        self._is_worker_used = True
        share = worker.id, worker.num_workers
        return _StreamIterator(self._dataset, self._order, self.sampler, share)


class _Refusal:
    """Raises when an item is asked for: an error before that would end a worker without a word."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Any]:
        raise UserError(
            "ShardStream: persistent_workers=True: these workers do not learn of the next epoch. "
            "Use persistent_workers=False, or ShardDataset with a ResumableSampler."
        )


class _StreamIterator:
    """A worker's batches of the rest of an epoch, item by item.

    Its state, for torchdata's StatefulDataLoader, is where it began and how many items it gave.
    """

    def __init__(
        self,
        dataset: ShardDataset,
        order: StorageOrder,
        sampler: ResumableSampler,
        share: tuple[int, int],
    ) -> None:
        self._dataset, self._sampler = dataset, sampler
        self._unkeyed, (self._worker, self._num_workers) = order, share
        self._pool = ThreadPoolExecutor(dataset.open_reader().num_prefetches)
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
        self._start(sampler.epoch, sampler.consumed, 0)

    def _start(self, epoch: int, consumed: int, num_given: int) -> None:
        self._epoch, self._begin, self._num_given = epoch, consumed, num_given
        self._order = self._unkeyed.keyed(self._sampler.seed, epoch)
        self._num_turns = self._sampler.num_left(consumed) // self._sampler.batch_size
        self._items: list[dict[str, Any]] = []
        self._fetched_turn = self._worker + self._num_workers * (num_given // self.batch_size)
        self._fetched_blocks: set[int] = set()

    @property
    def batch_size(self) -> int:
        return self._sampler.batch_size

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Any]:
        """Returns the next item of the worker's batches."""
        batch, place = divmod(self._num_given, self.batch_size)
        turn = self._worker + batch * self._num_workers
        if turn >= self._num_turns:
            raise StopIteration
        if place == 0 or not self._items:
            self._fetch_ahead(turn)
            self._items = self._dataset.__getitems__(
                self._order.samples(self._positions(turn)).tolist()
            )
        self._num_given += 1
        return self._items[place]

    def state_dict(self) -> dict[str, Any]:
        return {
            **self._sampler.state_dict(),
            "epoch": self._epoch,
            "consumed": self._begin,
            "num_given": self._num_given,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self._sampler.load_state_dict(state_dict)
        self._start(self._sampler.epoch, self._sampler.consumed, state_dict["num_given"])

    def _positions(self, turn: int) -> Any:
        """The epoch's positions of the rank's batch number ``turn``."""
        first = turn * self.batch_size
        return self._sampler.positions(self._begin, np.arange(first, first + self.batch_size))

    def _fetch_ahead(self, turn: int) -> None:
        """Has the blocks of the batches up to a distance from ``turn`` fetched, each once."""
        stop = min(turn + 1 + -(-_AHEAD // self.batch_size), self._num_turns)
        while self._fetched_turn < stop:
            for block in self._order.blocks(self._positions(self._fetched_turn)):
                if block not in self._fetched_blocks:
                    self._fetched_blocks.add(block)
                    self._pool.submit(self._fetch, *self._order.ends_of(block))
            self._fetched_turn += self._num_workers

    def _fetch(self, first: Place, last: Place) -> None:
        try:
            self._dataset.open_reader().prefetch(first, last)
        except (DataError, StorageError) as error:
            # Reading meets the same fault, and there it is raised or skipped as was asked for.
            _LOG.warning("read-ahead: %s", error)
