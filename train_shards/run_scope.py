"""Which samples of a data set one training run sees; an output ``--for-run`` holds these alone.

Pure. A run takes the first positions of the global order, epoch after epoch, in batches of all
ranks together; what fills no batch at the end of an epoch is left out, as ``ResumableSampler``
leaves it out. Samples are named by ``sample_index``: their position in the data set's whole output.
"""

from collections.abc import Iterator
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from train_shards.bounds import Count, Hex, Int64, Positive
from train_shards.errors import UserError
from train_shards.order import ORDER_VERSION, GlobalOrder

__all__ = ["RunScope", "Sampler", "check_run", "epoch_parts", "run_samples"]

_BLOCK = 1 << 20
"""Positions that are permuted together."""
_MOST_EPOCHS = 1000
"""An epoch leaves out half of the samples at most, so that after 100 none is left that was never
seen: a stored run of more is none, and would be searched for ever."""


class RunScope(msgspec.Struct, frozen=True, kw_only=True):
    """The run whose samples an output holds, and the universe that they are drawn from."""

    steps: Positive
    global_batch: Positive
    """Samples in a step of all ranks together."""
    seed: Int64
    num_samples: Positive
    """Of the universe: what the data set's whole output serves in ``train``."""
    universe: Hex
    """xxh3-128 of the universe's episodes, their first selected frames and how many they have."""
    num_stored: Count
    """Different samples that the run sees."""
    order_version: Positive = ORDER_VERSION

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that no run has; msgspec says where they stand."""
        if max(self.global_batch, self.num_stored) > self.num_samples:
            raise ValueError(
                f"a run of {self.num_stored} of {self.num_samples} samples, {self.global_batch} in "
                "a step"
            )
        epochs = self.steps // (self.num_samples // self.global_batch)
        if epochs > _MOST_EPOCHS and not self.is_whole:
            raise ValueError(f"a run of {epochs} epochs that does not see every sample")

    def __str__(self) -> str:
        """As ``--for-run`` takes it."""
        return f"steps={self.steps} global-batch={self.global_batch} seed={self.seed}"

    @property
    def is_whole(self) -> bool:
        """Whether the run sees every sample, so that any other run is served as well."""
        return self.num_stored == self.num_samples

    def taken(self, epoch: int) -> int:
        """Returns how many of an epoch's first positions the run takes.

        >>> scope = RunScope(steps=7, global_batch=4, seed=1, num_samples=10, universe="",
        ...     num_stored=10)
        >>> [scope.taken(epoch) for epoch in range(5)]
        [8, 8, 8, 4, 0]
        """
        steps_of_epoch = self.num_samples // self.global_batch
        steps = min(max(self.steps - epoch * steps_of_epoch, 0), steps_of_epoch)
        return steps * self.global_batch

    def covers(self, other: "RunScope") -> bool:
        """Returns whether this run takes every position of an epoch that another one takes.

        Args:
            other: of the same universe and seed.
        """
        # A run takes as much of each epoch as of the first, but for its last one.
        ends = [run.steps // (run.num_samples // run.global_batch) for run in (self, other)]
        epochs = {0, *ends, *(max(end - 1, 0) for end in ends)}
        return all(self.taken(epoch) >= other.taken(epoch) for epoch in epochs)

    def stand_ins(self, sample: int) -> Iterator[int]:
        """Yields the samples at the next positions, from where the run first meets ``sample`` on.

        After the last position that the run takes of that epoch come its first ones. Nothing where
        the run never meets it.
        """
        for epoch, num_taken in epoch_parts(self.num_samples, self.steps, self.global_batch):
            order = GlobalOrder(self.num_samples, seed=self.seed, epoch=epoch)
            position = order.position(sample)
            if position < num_taken:
                turns = range(position + 1, position + num_taken)
                yield from (order.sample(turn % num_taken) for turn in turns)
                return


class Sampler(Protocol):
    """What is asked of a run's sampler; ``ResumableSampler`` has it."""

    num_samples: int
    seed: int
    tail: Literal["drop", "pad"]

    @property
    def global_batch_size(self) -> int: ...  # noqa: D102
    @property
    def epoch(self) -> int: ...  # noqa: D102
    @property
    def consumed(self) -> int: ...  # noqa: D102
    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102


def epoch_parts(
    num_samples: int,
    steps: int,
    global_batch: int,
    tail: Literal["drop", "pad"] = "drop",
    *,
    epoch: int = 0,
    consumed: int = 0,
) -> Iterator[tuple[int, int]]:
    """Yields ``(epoch, n)`` of each epoch that a run touches: it has taken the first n positions.

    Args:
        num_samples: positions in an epoch.
        steps: of the run, from ``consumed`` of ``epoch`` on.
        global_batch: samples in a step.
        tail: ``pad`` takes what fills no batch as well.
        epoch: in which the run begins.
        consumed: positions of it that were taken before.

    >>> list(epoch_parts(10, 5, 4)), list(epoch_parts(10, 5, 4, "pad"))
    ([(0, 8), (1, 8), (2, 4)], [(0, 10), (1, 8)])
    """
    while steps > 0:
        left = num_samples - consumed
        most = left // global_batch if tail == "drop" else -(-left // global_batch)
        now = min(steps, most)
        if now:
            yield epoch, min(consumed + now * global_batch, num_samples)
        elif consumed == 0:
            return  # no batch fits into an epoch
        steps, epoch, consumed = steps - now, epoch + 1, 0


def run_samples(num_samples: int, steps: int, global_batch: int, seed: int) -> NDArray[np.int64]:
    """Returns the different samples that a run sees, ascending.

    Raises:
        UserError: no batch fits into an epoch.

    Cost: a byte a sample of the universe, and 0.3 s a million positions.

    >>> run_samples(10, 1, 4, seed=1).tolist() == sorted(
    ...     GlobalOrder(10, seed=1).sample(position) for position in range(4))
    True
    """
    if global_batch > num_samples:
        raise UserError(
            f"--for-run global-batch={global_batch}: the data set has {num_samples} samples; "
            "expected no more in a step of all ranks together."
        )
    is_seen = np.zeros(num_samples, bool)
    for epoch, num_taken in epoch_parts(num_samples, steps, global_batch):
        order = GlobalOrder(num_samples, seed=seed, epoch=epoch)
        for start in range(0, num_taken, _BLOCK):
            is_seen[order.samples(np.arange(start, min(start + _BLOCK, num_taken)))] = True
        if is_seen.all():
            break
    return np.flatnonzero(is_seen)


def check_run(scope: RunScope | None, sampler: Sampler, steps: int | None, *, where: str) -> None:
    """Passes when every sample of a run is stored.

    Args:
        scope: of the output; None where it holds all samples.
        sampler: of the run, where the run begins.
        steps: that it will take; None where that is not known.
        where: the output, for messages.

    Raises:
        UserError: another order or seed, or more of an epoch than was stored; both are named.
    """
    if scope is None or scope.is_whole:
        return
    order = sampler.state_dict()["order"]
    own = ("order", "global"), ("order version", scope.order_version), ("seed", scope.seed)
    asked = order, ORDER_VERSION, sampler.seed
    for (what, stored), got in zip(own, asked, strict=True):
        if got != stored:
            raise UserError(
                f"{where}: holds the samples of one run, {scope}: {what} {stored!r}, this run has "
                f"{got!r}. Train as it was stored, or store this run in another output."
            )
    parts = epoch_parts(
        scope.num_samples, 1 if steps is None else steps, sampler.global_batch_size, sampler.tail,
        epoch=sampler.epoch, consumed=sampler.consumed,
    )  # fmt: skip
    for epoch, needed in parts:
        if needed > scope.taken(epoch):
            raise UserError(
                f"{where}: holds the samples of one run, {scope}: the first {scope.taken(epoch)} "
                f"of epoch {epoch}. This run takes {needed}: "
                f"{'a step' if steps is None else f'{steps} steps'} of "
                f"{sampler.global_batch_size} from {sampler.consumed} of epoch {sampler.epoch} on, "
                f"tail={sampler.tail!r}. The same 'predecode run' command with a longer --for-run "
                "stores what is missing."
            )
