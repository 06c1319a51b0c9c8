"""What the operator sees while a job runs: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from predecode.display import Ended, format_bytes
from predecode.errors import EpisodeFault

__all__ = ["JobProgress"]

_LINE_INTERVAL_S = 10.0


class JobProgress:
    """Bar with steps per second, bytes and time left; a line every 10 s when not a terminal."""

    def __init__(self, *, is_verbose: bool = False) -> None:
        """Decides by standard error whether there is a terminal.

        Args:
            is_verbose: whether details are shown.
        """
        self._is_verbose = is_verbose
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what, self._total, self._parts, self._num_bytes = "", 0, 0, 0
        self._unit, self._parts_per_step = "", 1
        self._started_s = self._printed_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def note(self, text: str) -> None:
        """Shows one line, above the bar."""
        self._console.print(text, markup=False)

    def detail(self, text: str) -> None:
        """Shows one line where details are asked for."""
        if self._is_verbose:
            self.note(text)

    def quarantined(self, fault: EpisodeFault) -> None:
        """Shows why an episode is not stored."""
        self.note(f"quarantined: {fault}")

    def phase(self, what: str, unit: str, total: int, *, parts_per_step: int = 1) -> None:
        """Starts a phase; ends the one before."""
        self._stop()
        self._what, self._total, self._parts, self._num_bytes = what, total, 0, 0
        self._unit, self._parts_per_step = unit, parts_per_step
        self._started_s = self._printed_s = time.monotonic()
        if sys.stderr.isatty() and not self._console.is_dumb_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task(what, total=total, rate="")

    def advance(self, parts: int, num_bytes: int) -> None:
        """Adds to the phase and shows it when it is time."""
        self._parts += parts
        self._num_bytes += num_bytes
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done(), rate=self._rate())
        elif time.monotonic() - self._printed_s >= _LINE_INTERVAL_S:
            self._line()

    def ended(self, task: Ended) -> None:
        """Adds its bytes to the phase."""
        self.advance(0, task.num_bytes)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
        if self._total:
            self._line()
        self._total = 0

    def _line(self) -> None:
        self._printed_s = time.monotonic()
        done = self._done()
        left = ""
        if 0 < done < self._total:
            elapsed_s = self._printed_s - self._started_s
            left = f", {elapsed_s / done * (self._total - done):.0f} s left"
        self.note(f"{self._what}: {done:,} of {self._total:,} {self._unit}, {self._rate()}{left}")

    def _done(self) -> int:
        """Finished steps; a retried task tells its parts twice, but no phase runs past its end."""
        return min(self._parts // self._parts_per_step, self._total)

    def _rate(self) -> str:
        elapsed_s = max(time.monotonic() - self._started_s, 1e-9)
        written = f", {format_bytes(self._num_bytes)}" if self._num_bytes else ""
        return f"{self._done() / elapsed_s:,.1f} {self._unit}/s{written}"
