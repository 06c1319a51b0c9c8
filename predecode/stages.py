"""Where a task's time goes: seconds of each stage, of the wall clock and of the processor.

Counted for the whole process, as ``injection`` is armed for one: a task has a process of its own,
and what it calls need not hand a clock around. Stages never overlap. They are:

* ``read``: files opened, packets and rows taken from them;
* ``decode``: packets to pictures, also those that nobody wanted;
* ``convert``: a picture's pixels from the video's format to that of ``pixel_format``;
* ``resize``: what is stored of them (``images/stored.py``);
* ``encode``: that hashed and compressed;
* ``write``: tars, tables, ledgers and receipts written, hashed and synced.

A library that does several at once has them in one: torchcodec reads, decodes and converts in
``decode``. What is left of a task's time is checks, rows of JSON, and waiting in the spool.
"""

import time
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar, get_args

import msgspec

__all__ = ["STAGES", "Spent", "Stage", "measured", "stage", "timed"]

Stage = Literal["read", "decode", "convert", "resize", "encode", "write"]
STAGES: tuple[Stage, ...] = get_args(Stage)

T = TypeVar("T")

_spent_ns: dict[Stage, int] = dict.fromkeys(STAGES, 0)
_END = object()


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What one task took."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of the processor, in all threads of the process."""
    stages_s: dict[str, float] = {}
    """Wall-clock time of each of ``STAGES``; empty where nothing was measured."""


class stage:  # noqa: N801 - read as a statement: "with stage(...)"
    """Counts the wall-clock time of a ``with`` block for a stage. Cost: below 1 us."""

    __slots__ = ("_name", "_start_ns")

    def __init__(self, name: Stage) -> None:
        """Starts nothing yet."""
        self._name: Stage = name

    def __enter__(self) -> None:
        self._start_ns = time.perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        _spent_ns[self._name] += time.perf_counter_ns() - self._start_ns


def timed(name: Stage, items: Iterator[T]) -> Iterator[T]:
    """Yields ``items``; what it takes to get each counts for a stage."""
    while True:
        with stage(name):
            item = next(items, _END)
        if item is _END:
            return
        yield item  # type: ignore[misc]


def measured(work: Callable[[], T]) -> tuple[T, Spent]:
    """Returns what ``work`` returns, and what it took."""
    before_ns = dict(_spent_ns)
    start_s, cpu_start_s = time.perf_counter(), time.process_time()
    result = work()
    return result, Spent(
        wall_s=time.perf_counter() - start_s,
        cpu_s=time.process_time() - cpu_start_s,
        stages_s={name: (_spent_ns[name] - before_ns[name]) / 1e9 for name in STAGES},
    )
