"""The sampler for torch's DataLoader: rank split, epochs, and a resume that is exact.

What is sampled where is told by an order (``order.py``, ``weighted_order.py``, re-exported here).
This file owns which of its positions a rank takes, and the state. torch is not imported: a sampler
is any iterable with a length, and rank and world size are asked of torch.distributed only if the
process has it already.
"""

import operator
import os
import sys
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from train_shards.ahead import FirstOfBatch
from train_shards.errors import DataError, UserError
from train_shards.order import (
    ORDER_VERSION,
    BlockOrder,
    GlobalOrder,
    LaneOrder,
    MappedOrder,
    Order,
    SequentialOrder,
)
from train_shards.weighted_order import GroupOrder, WeightedOrder, cumulative_weights

__all__ = [
    "ORDER_VERSION",
    "BlockOrder",
    "GlobalOrder",
    "GroupOrder",
    "LaneOrder",
    "MappedOrder",
    "Order",
    "ResumableSampler",
    "SequentialOrder",
    "WeightedOrder",
    "cumulative_weights",
    "world",
]

_SHUFFLES = {"global": GlobalOrder, "block": BlockOrder, "none": SequentialOrder}
_LOOKAHEAD = 256
"""Positions that an iterator computes together, at least; always whole batches."""


def world() -> tuple[int, int]:
    """Returns ``(rank, world_size)`` of this process.

    From torch.distributed if it is initialised, else from the environment's RANK and WORLD_SIZE,
    which torchrun sets, else ``(0, 1)``.

    Raises:
        UserError: only one of RANK and WORLD_SIZE is set, or one is not a number.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank()), int(distributed.get_world_size())
    words = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if words == (None, None):
        return 0, 1
    try:
        rank, world_size = (int(word or "") for word in words)
    except ValueError:
        raise UserError(
            f"environment RANK={words[0]!r}, WORLD_SIZE={words[1]!r}: expected two numbers, or "
            "neither. Set both, or give rank= and world_size=."
        ) from None
    return rank, world_size


class ResumableSampler:
    """Gives a rank its samples of an epoch, from ``consumed`` on, for torch's DataLoader.

    Ranks take turns: after ``consumed`` samples, rank r of R takes the positions ``consumed + r``,
    ``consumed + r + R``, … of the epoch's order. A global step of R ranks with ``batch_size`` each
    therefore trains on the next ``R * batch_size`` positions, however many ranks there are, and
    ``consumed`` alone says what is left. Every rank gets equally many.

    ``consumed`` counts samples trained on by all ranks together, and only the trainer knows it: a
    loader with workers fetches ahead. The trainer calls ``advance(R * batch_size)`` after a step or
    assigns ``consumed``. Iterating changes no state; iterating again gives the same again.

    ``docs/order.md`` has the recipes, also for torchdata's StatefulDataLoader.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        seed: int = 0,
        batch_size: int = 1,
        tail: Literal["drop", "pad"] = "drop",
        shuffle: Literal["global", "block", "none"] | Order = "global",
        digest: str = "",
    ) -> None:
        """Begins epoch 0.

        Args:
            num_samples: positions in an epoch: the length of the data set, or the draws.
            rank: this process; None, together with ``world_size``, to ask ``world()``.
            world_size: number of processes.
            seed: of the run; replaces that of an order given.
            batch_size: the loader's, of one rank; the tail rule needs it.
            tail: ``drop`` leaves out what does not fill a batch on every rank; ``pad`` fills the
                last one with samples from the epoch's beginning.
            shuffle: kind of order, or an order of ``num_samples`` positions.
            digest: names what is sampled from, such as the generation's index; a state of another
                digest is refused.

        Raises:
            UserError: an impossible rank, size or word; ``drop`` would leave out everything.
        """
        if (rank is None) != (world_size is None):
            raise UserError(f"rank {rank}, world_size {world_size}: expected both or neither.")
        self.rank, self.world_size = world() if rank is None or world_size is None else (
            operator.index(rank), operator.index(world_size)
        )  # fmt: skip
        if not 0 <= self.rank < self.world_size:
            raise UserError(f"rank {self.rank}: expected 0 to {self.world_size - 1} (world_size).")
        if batch_size < 1:
            raise UserError(f"batch_size {batch_size}: expected 1 or more.")
        if tail not in ("drop", "pad"):
            raise UserError(f"tail {tail!r}: expected 'drop' or 'pad'.")
        if isinstance(shuffle, str) and shuffle not in _SHUFFLES:
            raise UserError(f"shuffle {shuffle!r}: expected one of {list(_SHUFFLES)}, or an order.")
        self._order: Order = (
            _SHUFFLES[shuffle](num_samples) if isinstance(shuffle, str) else shuffle
        )
        if self._order.num_samples != num_samples:
            raise UserError(
                f"num_samples {num_samples}: the order {self._order.name} has "
                f"{self._order.num_samples} positions."
            )
        self.num_samples, self.batch_size, self.tail = operator.index(num_samples), batch_size, tail
        self.seed, self.digest = operator.index(seed), digest
        if tail == "drop" and num_samples < self.global_batch_size:
            raise UserError(
                f"num_samples {num_samples}: fewer than a batch of {batch_size} on each of "
                f"{self.world_size} ranks, so tail='drop' leaves out all. Use tail='pad'."
            )
        self._epoch = self._consumed = 0

    @property
    def global_batch_size(self) -> int:
        """Samples in a step of all ranks."""
        return self.world_size * self.batch_size

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration belongs to, 0-based."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Goes to the beginning of ``epoch``; if that is the epoch already, stays where it is.

        So a trainer may call it before every epoch, also before the rest of a resumed one.

        Raises:
            UserError: a negative epoch.
        """
        if epoch < 0:
            raise UserError(f"epoch {epoch}: expected 0 or more.")
        if epoch != self._epoch:
            self._epoch, self._consumed = operator.index(epoch), 0

    @property
    def consumed(self) -> int:
        """Samples of this epoch that all ranks together have trained on, at most ``num_samples``.

        Assigning more than the epoch has, padding included, is a UserError.
        """
        return self._consumed

    @consumed.setter
    def consumed(self, num_global_samples: int) -> None:
        most = self.num_samples + (self.global_batch_size - 1 if self.tail == "pad" else 0)
        if not 0 <= num_global_samples <= most:
            raise UserError(
                f"epoch {self._epoch}: consumed {num_global_samples}, the epoch has {most} at most "
                f"({self.num_samples} samples, tail={self.tail!r}). Call set_epoch for the next."
            )
        self._consumed = min(operator.index(num_global_samples), self.num_samples)

    def advance(self, num_global_samples: int) -> None:
        """Says that all ranks together have trained on so many more samples.

        Raises:
            UserError: more than the epoch has.
        """
        self.consumed = self._consumed + num_global_samples

    def __len__(self) -> int:
        """Number of samples that this rank still gets of the epoch."""
        return self.num_left(self._consumed)

    def num_left(self, consumed: int) -> int:
        """Returns how many samples this rank gets after ``consumed`` of an epoch."""
        left, size = self.num_samples - consumed, self.global_batch_size
        return (left // size if self.tail == "drop" else -(-left // size)) * self.batch_size

    def positions(self, consumed: int, turns: NDArray[np.integer]) -> NDArray[np.integer]:
        """Returns the epoch's positions that this rank takes, ``turns`` counted after ``consumed``.

        Beyond the end, where a padded tail leads, they begin again.
        """
        return (consumed + self.rank + turns * self.world_size) % self.num_samples

    def sample(self, epoch: int, position: int) -> int:
        """Returns the sample at a position of an epoch."""
        return self._order.keyed(self.seed, epoch).sample(position)

    def __iter__(self) -> "SamplerIterator":
        """Returns this rank's samples from ``consumed`` on; epoch and place are fixed here."""
        return SamplerIterator(self)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as plain values; the same on every rank."""
        return {
            "order_version": ORDER_VERSION,
            "order": self._order.name,
            "num_samples": self.num_samples,
            "digest": self.digest,
            "seed": self.seed,
            "epoch": self._epoch,
            "consumed": self._consumed,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes to where ``state_dict`` was taken, with its seed; ranks and batch may be others.

        Raises:
            UserError: another order, number of samples or digest; both values are named.
            DataError: a field is missing or cannot be.
        """
        own = self.state_dict()
        missing = sorted(set(own) - set(state_dict))
        if missing:
            raise DataError(f"sampler state: no {', '.join(missing)}; expected {sorted(own)}.")
        for field in ("order_version", "order", "num_samples", "digest"):
            if state_dict[field] != own[field]:
                raise UserError(
                    f"sampler state: {field} {state_dict[field]!r}, this run has {own[field]!r}. "
                    "The rest of the epoch would be another: resume with the data and settings of "
                    "the state, or start a new run."
                )
        numbers = [state_dict[field] for field in ("seed", "epoch", "consumed")]
        if not all(isinstance(number, int) for number in numbers):
            raise DataError(f"sampler state: seed, epoch, consumed {numbers}: expected integers.")
        seed, epoch, consumed = numbers
        if epoch < 0 or not 0 <= consumed <= self.num_samples:
            raise DataError(
                f"sampler state: epoch {epoch}, consumed {consumed}: expected an epoch of 0 or "
                f"more and 0 to {self.num_samples} consumed."
            )
        self.seed, self._epoch, self._consumed = seed, epoch, consumed


class SamplerIterator:
    """One pass over a rank's samples; what the sampler is told meanwhile does not reach it.

    Has a state of its own, for torchdata's StatefulDataLoader, which asks for it when it hands a
    batch to its workers and restores it after the sampler's.
    """

    def __init__(self, sampler: ResumableSampler) -> None:
        """Starts at the sampler's epoch and ``consumed``."""
        self._sampler = sampler
        self._start(sampler.epoch, sampler.consumed)

    def _start(self, epoch: int, consumed: int) -> None:
        sampler = self._sampler
        self._epoch, self._begin = epoch, consumed
        self._order = sampler._order.keyed(sampler.seed, epoch)
        self._num_given, self._num_samples = 0, sampler.num_left(consumed)
        self._lookahead = -(-_LOOKAHEAD // sampler.batch_size) * sampler.batch_size
        self._ahead: list[int] = []

    def __iter__(self) -> Self:
        """Returns itself."""
        return self

    def __next__(self) -> int:
        """Returns the rank's next sample; the first one of a batch knows the others."""
        if self._num_given == self._num_samples:
            raise StopIteration
        place, size = self._num_given % self._lookahead, self._sampler.batch_size
        if place == 0:
            stop = min(self._num_given + self._lookahead, self._num_samples)
            turns = np.arange(self._num_given, stop, dtype=np.int64)
            positions = self._sampler.positions(self._begin, turns)
            self._ahead = self._order.samples(positions).tolist()
        self._num_given += 1
        if size > 1 and place % size == 0:
            return FirstOfBatch(self._ahead[place : place + size])
        return self._ahead[place]

    def state_dict(self) -> dict[str, int]:
        """Returns the epoch and the samples that all ranks were given of it, in step with this."""
        given = self._begin + self._num_given * self._sampler.world_size
        return {"epoch": self._epoch, "consumed": min(given, self._order.num_samples)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from ``state_dict`` and takes the sampler along.

        A place, not a number of samples to skip: it does not matter whether the sampler was there
        already. After the end of an epoch the sampler stands at the next one's beginning, because
        a StatefulDataLoader saved there begins a new pass.

        Raises:
            DataError: a field is missing or cannot be.
        """
        sampler = self._sampler
        sampler.load_state_dict({**sampler.state_dict(), **state_dict})
        self._start(sampler.epoch, sampler.consumed)
        if not self._num_samples:
            sampler.set_epoch(sampler.epoch + 1)
