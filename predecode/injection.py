"""Faults on purpose, for tests: ``$PREDECODE_FAULT`` ends, stops or grows a process at one place.

``<kind>:<condition>,<condition>…``, with a kind of ``KINDS`` and conditions ``name=value``. The
fault happens at the first place that agrees with every condition, ``slow`` at each; the places
stand in docs/reliability.md. ``kill`` knows one condition alone, ``step=N``: SIGKILL just before
the N-th change to the file system after ``arm``.
"""

import ctypes
import functools
import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

from predecode.errors import UserError

__all__ = [
    "KINDS",
    "VARIABLE",
    "Fault",
    "arm",
    "check_variable",
    "is_change",
    "parse_fault",
    "reach",
]

VARIABLE = "PREDECODE_FAULT"
KINDS = ("segv", "abort", "hang", "grow", "slow", "kill")
_GROW_BYTES = 32 << 20
_GROW_PAUSE_S = 0.01
"""Slow enough for a watcher to see it before the machine is short of memory."""
_SLOW_S = 0.1
_CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"})
"""Audit events; with ``open`` for writing they are what a task does to the file system. Source:
Python's audit events table, where ``os.replace`` and ``Path.replace`` tell of ``os.rename``."""


class Fault(NamedTuple):
    """A parsed ``$PREDECODE_FAULT``."""

    kind: str
    conditions: dict[str, str]
    """What the place must agree with."""
    once: Path | None
    """A file that is made when the fault happens, and without which alone it happens."""
    reached: int
    """Happens at the N-th place that agrees, counted in one process."""


def parse_fault(text: str) -> Fault:
    """Returns the fault that ``text`` names.

    Raises:
        UserError: another form, or an unknown kind.

    >>> parse_fault("segv:episode=490010,frame=100").conditions
    {'episode': '490010', 'frame': '100'}
    """
    kind, _, rest = text.partition(":")
    conditions = dict(word.partition("=")[::2] for word in rest.split(",") if word)
    numbers = [conditions.get("reached", "1"), conditions.get("step", "1")]
    is_complete = all(conditions.values()) and ((kind == "kill") is ("step" in conditions))
    if kind not in KINDS or not is_complete or not all(n.isdigit() for n in numbers):
        raise UserError(
            f"${VARIABLE}={text}: expected <kind>:<name>=<value>,… with a kind of "
            f"{', '.join(KINDS)}. It is for tests; unset it."
        )
    once = conditions.pop("once", None)
    reached = int(conditions.pop("reached", "1"))
    return Fault(kind, conditions, None if once is None else Path(once), reached)


def reach(**place: object) -> None:
    """Does what ``$PREDECODE_FAULT`` asks for at this place; nothing where it is unset.

    Cost: one call, below a microsecond, when unset.
    """
    fault = _fault()
    if fault is None or any(
        str(place.get(name)) != value for name, value in fault.conditions.items()
    ):
        return
    if fault.kind == "slow":
        time.sleep(_SLOW_S)
        return
    _count.append(1)
    if len(_count) != fault.reached or fault.kind == "kill":
        return
    if fault.once is not None:
        if fault.once.exists():
            return
        fault.once.touch()
    _happen(fault.kind)


def check_variable() -> None:
    """Passes when ``$PREDECODE_FAULT`` is unset or can be understood.

    Raises:
        UserError: as ``parse_fault``.
    """
    _fault()


def arm() -> None:
    """Counts changes to the file system from now on, where a ``kill`` is asked for."""
    fault = _fault()
    if fault is None or fault.kind != "kill":
        return
    left = int(fault.conditions["step"])

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if is_change(event, arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def is_change(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether an audit event tells of a change to the file system."""
    if event != "open":
        return event in _CHANGES
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


_count: list[int] = []


@functools.cache
def _fault() -> Fault | None:
    text = os.environ.get(VARIABLE)
    return parse_fault(text) if text else None


def _happen(kind: str) -> NoReturn:
    if kind == "segv":
        # Not a signal sent by hand: a wrong address, read by native code.
        ctypes.string_at(0)
    if kind == "abort":
        ctypes.CDLL(None).abort()
    grown = []
    while True:
        if kind == "grow":
            grown.append(bytearray(os.urandom(1) * _GROW_BYTES))
        time.sleep(_GROW_PAUSE_S)
