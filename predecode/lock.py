"""One writer on one output: a lock file that names its holder."""

import contextlib
import json
import os
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Self

from predecode.links import refuse_links_outside
from train_shards.errors import UserError

__all__ = ["LOCK_PATH", "OutputLock", "command_line", "held_elsewhere", "is_stale", "myself"]

LOCK_PATH = ".predecode/lock"


class OutputLock:
    """Holds an output for the time of a ``with`` block.

    A lock whose process is dead on this host is taken over; one of another host cannot be judged
    from here and is reported with what to do.
    """

    def __init__(self, out: Path) -> None:
        """Takes nothing yet."""
        self._path = out / LOCK_PATH

    def __enter__(self) -> Self:
        """Takes the lock.

        Raises:
            UserError: another process holds it; the message names host, process and start. Or
                a folder of the output is a link that leads out of it.
        """
        refuse_links_outside(self._path.parent.parent)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        mine = myself()
        new = self._path.with_name(f"lock.new.{platform.node()}.{os.getpid()}")
        while True:
            new.write_bytes(mine)
            try:
                # A link appears with its content: whoever is killed here leaves no empty lock.
                os.link(new, self._path)
            except FileExistsError:
                self._take_over_or_refuse()
            except FileNotFoundError:
                continue  # the new holder has cleared it away
            else:
                self._clear(mine)
                return self
            finally:
                new.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        """Gives the lock back."""
        self._path.unlink(missing_ok=True)

    def _clear(self, mine: bytes) -> None:
        """Removes what killed processes left beside the lock, but no lock of ours set aside."""
        for path in self._path.parent.glob("lock.*"):
            with contextlib.suppress(FileNotFoundError):
                if path.read_bytes() != mine:
                    path.unlink()

    def _take_over_or_refuse(self) -> None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return  # given back just now
        if not is_stale(data, self._path):
            raise held_elsewhere(data, self._path.parent.parent, self._path)
        self._remove(data)

    def _remove(self, stale: bytes) -> None:
        """Removes the lock that was judged, and no other that has taken its place since."""
        aside = self._path.with_name(f"lock.{platform.node()}.{os.getpid()}")
        try:
            self._path.rename(aside)
            is_stale = aside.read_bytes() == stale
        except FileNotFoundError:
            return  # another process was faster
        if not is_stale:
            aside.rename(self._path)
            return
        aside.unlink(missing_ok=True)


def myself() -> bytes:
    """Returns what a lock says of this process."""
    return json.dumps(
        {
            "host": platform.node(),
            "pid": os.getpid(),
            "process_start": _started(os.getpid()),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": command_line(),
        }
    ).encode()


def command_line() -> str:
    """Returns the command of this process: of ``predecode``, or of the program that calls it."""
    program = Path(sys.argv[0])
    is_ours = program.name == "predecode" or program.parts[-2:] == ("predecode", "__main__.py")
    return shlex.join(["predecode", *sys.argv[1:]] if is_ours else sys.argv)


def is_stale(lock: bytes, where: object) -> bool:
    """Whether a lock is of a process of this host that is dead.

    Raises:
        UserError: the lock names no holder.
    """
    try:
        holder = json.loads(lock)
        host, pid = str(holder["host"]), int(holder["pid"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # Cut short by a full disk or a lost machine.
        raise UserError(
            f"{where}: a lock without a holder, probably of a process that was killed. "
            "If no other run writes here, remove this file."
        ) from None
    return host == platform.node() and _started(pid) != holder.get("process_start")


def held_elsewhere(lock: bytes, out: object, where: object) -> UserError:
    """Returns what is said to whoever finds an output locked."""
    holder = json.loads(lock)
    return UserError(
        f"{out}: another run writes here: host {holder['host']}, process {holder['pid']}, "
        f"since {holder.get('since')}. Wait for it, or, if it is dead, remove {where}."
    )


def _started(pid: int) -> str | None:
    """Start time of a process in clock ticks after boot, which a reused number does not share.

    None of a process that has ended, also where its parent has not yet asked how.
    Source: fields 3 and 22 of /proc/<pid>/stat; the name before them may hold spaces but ends with
    ``)``.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]
