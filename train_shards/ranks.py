"""The processes of one training run: who they are, what they agree on, and how fast they are."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from train_shards.errors import UserError
from train_shards.sampling import world

__all__ = ["Interval", "Ranks", "StopRequest", "joined_ranks"]

_TIMEOUT = timedelta(minutes=120)
"""How long ranks wait for one another: one may make statistics of a whole data set meanwhile.
Source: the default of openpi's BEHAVIOR-1K fork."""


class Ranks:
    """This process among those of the run; also where it is the only one."""

    def __init__(self, rank: int, world_size: int, device: torch.device) -> None:
        """Takes what ``joined_ranks`` found out."""
        self.rank, self.world_size, self.device = rank, world_size, device

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes what the run has once."""
        return self.rank == 0

    def wait(self) -> None:
        """Returns when every rank has come here."""
        if self.world_size > 1:
            dist.barrier()

    def any(self, value: bool) -> bool:  # noqa: FBT001
        """Returns whether ``value`` is true in any rank; the same answer in each."""
        flag = torch.tensor(int(value), device=self.device)
        if self.world_size > 1:
            dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())

    def mean(self, value: Tensor) -> float:
        """Returns the mean of a scalar over all ranks; the same answer in each."""
        total = value.detach().clone()
        if self.world_size > 1:
            dist.all_reduce(total)
        return total.item() / self.world_size

    def wrap(self, model: nn.Module) -> nn.Module:
        """Returns a module whose gradients are the mean over all ranks."""
        if self.world_size == 1:
            return model
        return DistributedDataParallel(model, broadcast_buffers=False)


@contextmanager
def joined_ranks(device: str | None) -> Iterator[Ranks]:
    """Joins the group that torchrun describes in the environment, and leaves it at the end.

    Args:
        device: ``cpu`` or ``cuda``; None for cuda where there is one. A rank takes the device
            numbered LOCAL_RANK.

    Raises:
        UserError: a device that is not here, or half of torchrun's variables.
    """
    rank, world_size = world()
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"device={device}: expected cpu, or cuda where torch finds a device.")
    own = torch.device(kind)
    if kind == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # as torchrun does: figures do not depend on how it was started
    if kind == "cuda":
        own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(own)
    if world_size == 1:
        yield Ranks(rank, world_size, own)
        return
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield Ranks(rank, world_size, own)
    finally:
        dist.destroy_process_group()


class StopRequest:
    """SIGTERM, remembered until the step is done: training ends there and saves."""

    def __init__(self) -> None:
        """Takes SIGTERM over."""
        self.is_made = False
        signal.signal(signal.SIGTERM, self._make)

    def _make(self, *_: object) -> None:
        self.is_made = True


class Interval:
    """Loss and times since the last report."""

    def __init__(self) -> None:
        """Starts the clock."""
        self._start_s, self._wait_s, self._num_steps = time.perf_counter(), 0.0, 0
        self._loss = torch.zeros(())

    def add(self, loss: torch.Tensor, wait_s: float) -> None:
        """Counts a step."""
        self._loss = self._loss.to(loss.device) + loss.detach()
        self._wait_s += wait_s
        self._num_steps += 1

    def values(self, ranks: Ranks, global_batch_size: int) -> dict[str, float]:
        """Returns what is reported.

        ``loss``: mean over the interval's steps and all ranks; ``samples_per_s``: of all ranks
        together, start of workers included; ``data_wait``: seconds a step that this rank waited
        for its batch, mean of the interval.
        """
        loss = ranks.mean(self._loss / self._num_steps)
        elapsed_s = time.perf_counter() - self._start_s
        return {
            "loss": loss,
            "samples_per_s": self._num_steps * global_batch_size / elapsed_s,
            "data_wait": self._wait_s / self._num_steps,
        }
