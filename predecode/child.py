"""One disposable process: started, watched and, where it hangs or grows, ended. Knows no job.

The process gets its input on standard input and answers on standard output, a line a message: a
number of finished images (0: still at work), or at last a JSON object. What it says on standard
error is kept for the case that it dies.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from predecode.errors import UserError

__all__ = ["Died", "Limits", "die_with_parent", "run_child"]

_POLL_S = 0.05
_DUMP_S = 2.0
"""A process that is to end gets this long to write where it stands."""
_STDERR_LINES = 20
_STDERR_COLUMNS = 200
_PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Limits(NamedTuple):
    """What a process may use before it counts as dead."""

    hang_s: float = 300.0
    """Seconds without a sign of progress."""
    memory_bytes: int = 4_096_000_000
    """Resident memory. A task holds 512 MB of encoded pictures at most, then its decoder."""


class Died(NamedTuple):
    """A process that ended without an answer."""

    reason: str
    """Name of the signal that ended it, ``hang``, ``memory`` or ``exit status N``."""
    num_done: int
    """Images that it had finished."""
    stderr: list[str]
    """Its last lines, addresses left out: they differ from process to process."""


def run_child(
    module: str, given: bytes, limits: Limits, report: Callable[[int], None]
) -> bytes | Died:
    """Runs ``python -m module`` with ``given`` as its input; returns its last line, or its death.

    Args:
        module: to run; it calls ``die_with_parent`` first.
        given: its standard input.
        limits: after which it is ended.
        report: gets the numbers of images as they come.
    """
    # The child finds what this process finds: a Ray worker's path is not all in its environment.
    path = os.pathsep.join(part for part in sys.path if part)
    with (
        tempfile.TemporaryFile() as errors,
        tempfile.TemporaryFile() as asked,
    ):
        asked.write(given)
        asked.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", module, str(os.getpid())],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            watch = _Watch(process, limits, report)
            while process.poll() is None and watch.is_open:
                time.sleep(_POLL_S)
                watch.look()
            watch.read()
            if watch.answer is not None:
                return watch.answer
            reason = watch.ended_for or _reason(process.returncode)
            return Died(reason, watch.num_done, _last_lines(errors))
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def die_with_parent(parent: int) -> None:
    """Has the kernel end this process when ``parent`` ends, however that comes to pass.

    Also leaves Ctrl-C to the parent: a process that ends by it would count as dead.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getppid() != parent:
        raise UserError(f"process {parent}, which started this one, is gone.")


class _Watch:
    """What a running process has said, and whether it still makes progress."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", limits: Limits, report: Callable[[int], None]
    ) -> None:
        self._process, self._limits, self._report = process, limits, report
        if process.stdout is None:
            raise ValueError("a process without a pipe")
        self._descriptor = process.stdout.fileno()
        os.set_blocking(self._descriptor, False)
        self._rest = b""
        self._progress_s = time.monotonic()
        self.num_done = 0
        self.answer: bytes | None = None
        self.ended_for: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is something to wait for."""
        return self.answer is None and self.ended_for is None

    def look(self) -> None:
        """Reads what was said; ends the process where it is beyond a limit."""
        if self.read():
            self._progress_s = time.monotonic()
        elif time.monotonic() - self._progress_s > self._limits.hang_s:
            self._end("hang")
        if _resident_bytes(self._process.pid) > self._limits.memory_bytes:
            self._end("memory")

    def read(self) -> bool:
        """Takes all messages that are there; returns whether there was any."""
        data, num_new = self._rest, 0
        while True:
            try:
                block = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                break
            if not block:
                break
            data += block
        *lines, rest = data.split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self.answer = line
            else:
                num_new += int(line)
        self._rest, self.num_done = rest, self.num_done + num_new
        if num_new:
            self._report(num_new)
        return bool(lines)

    def _end(self, reason: str) -> None:
        """Ends the process; on SIGABRT it writes first where each of its threads stands."""
        self.ended_for = reason
        self._process.send_signal(signal.SIGABRT)
        try:
            self._process.wait(timeout=_DUMP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _resident_bytes(process_id: int) -> int:
    """Resident memory, 0 of a process that is gone. Source: second field of /proc/<pid>/statm."""
    try:
        return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _reason(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _last_lines(errors: BinaryIO) -> list[str]:
    errors.seek(0)
    text = re.sub(r"0x[0-9a-f]+", "0x…", errors.read().decode(errors="replace"))
    lines = [line[:_STDERR_COLUMNS] for line in text.splitlines() if line.strip()]
    return lines[-_STDERR_LINES:]
