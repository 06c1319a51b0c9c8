"""Figures of a run while it works: kept, and handed on as JSON lines, to wandb and as Ray metrics.

What is handed on is the same everywhere: a ``ProgressLine``.
"""

import os
import platform
import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from predecode.cluster import RayMetrics
from predecode.display import Display, Ended
from predecode.errors import EpisodeFault
from predecode.progress_lines import INTERVAL_S, ProgressLine, append_line, utilisation
from train_shards.wandb_run import start_wandb

__all__ = ["Tracker"]


class Tracker:
    """A display that shows all on another one; a line every 10 s, and one when all is stored.

    Nothing is written before 10 s have gone by or all is stored, so that a run that is refused at
    once leaves nothing.
    """

    def __init__(self, shown: Display, folder: Path, output: str, *, is_in_wandb: bool) -> None:
        """Writes nothing yet.

        Args:
            shown: what the operator sees.
            folder: of the output, as the job sees it; its lock is held whenever this is told
                something.
            output: what the operator calls it.
            is_in_wandb: whether there is to be a run in wandb, of each call that has something
                to do.
        """
        self._shown, self._folder, self._output = shown, folder, output
        self._is_in_wandb = is_in_wandb
        self._wandb: Any = None
        self._metrics = RayMetrics(output)
        self._run = f"{platform.node()}:{os.getpid()}:{time.time():.0f}"
        self._failed: set[int] = set()
        self.last: ProgressLine | None = None
        """The last line that this call has handed on."""
        self._ended_s = time.monotonic()
        self._begin("", "", 0, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        if self._wandb is not None:
            self._wandb.finish(exit_code=int(kind is not None))

    def note(self, text: str) -> None:
        """Shows one line."""
        self._shown.note(text)

    def detail(self, text: str) -> None:
        """Shows one line to whoever asks for more."""
        self._shown.detail(text)

    def quarantined(self, fault: EpisodeFault) -> None:
        """Shows why an episode is not stored."""
        self._shown.quarantined(fault)

    def phase(self, what: str, unit: str, total: int, *, parts_per_step: int = 1) -> None:
        """Starts a phase.

        Raises:
            UserError: wandb cannot be had.
        """
        if self._is_in_wandb and self._wandb is None:
            self._wandb = start_wandb("--wandb", "leave --wandb out", name=self._output)
        self._shown.phase(what, unit, total, parts_per_step=parts_per_step)
        self._begin(what, unit, total, parts_per_step)

    def advance(self, parts: int, num_bytes: int) -> None:
        """Adds finished parts to the phase; hands on a line when it is time."""
        self._shown.advance(parts, num_bytes)
        self._parts += parts
        if time.monotonic() - self._told_s >= INTERVAL_S:
            self._tell()

    def ended(self, task: Ended) -> None:
        """Adds a finished task; hands on the last line after the last one."""
        self._shown.ended(task)
        now_s = time.monotonic()
        self._failed |= task.failed
        self._slots = task.num_slots
        for name, value in (
            ("num_tasks", 1), ("num_samples", task.num_samples), ("num_images", task.num_images),
            ("num_bytes", task.num_bytes), ("task_s", task.spent.wall_s),
            ("cpu_s", task.spent.cpu_s), ("slot_s", (now_s - self._ended_s) * task.num_slots),
        ):  # fmt: skip
            self._sums[name] += value
        for name, spent_s in task.spent.stages_s.items():
            self._stages_s[name] += spent_s
        self._ended_s = now_s
        if task.is_last:
            self._tell(is_last=True)

    def _begin(self, what: str, unit: str, total: int, parts_per_step: int) -> None:
        self._what, self._unit, self._total = what, unit, total
        self._parts_per_step = parts_per_step
        self._parts = self._told_parts = self._slots = 0
        self._started_s = time.monotonic()
        self._told_s = self._ended_s = self._started_s
        self._sums: defaultdict[str, Any] = defaultdict(int)
        self._stages_s: defaultdict[str, float] = defaultdict(float)

    def _tell(self, *, is_last: bool = False) -> None:
        now_s = time.monotonic()
        elapsed_s = max(now_s - self._started_s, 1e-9)
        if is_last:
            images_per_s = self._sums["num_images"] / elapsed_s
        elif self._unit == "frames":
            images_per_s = (self._parts - self._told_parts) / max(now_s - self._told_s, 1e-9)
        else:
            images_per_s = 0.0
        done = max(self._parts // self._parts_per_step, self._sums["num_samples"])
        self.last = ProgressLine(
            run=self._run,
            time_unix_s=time.time(),
            phase=self._what,
            unit=self._unit,
            done=min(done, self._total),
            total=self._total,
            elapsed_s=elapsed_s,
            is_last=is_last,
            frames_per_s=images_per_s / self._parts_per_step,
            images_per_s=images_per_s,
            num_failures=len(self._failed),
            num_slots=self._slots,
            utilisation=utilisation(self._sums["cpu_s"], self._sums["slot_s"]),
            stages_s=dict(self._stages_s),
            **self._sums,
        )
        self._told_s, self._told_parts = now_s, self._parts
        append_line(self._folder, self.last)
        numbers = self.last.numbers()
        self._metrics.set(numbers)
        if self._wandb is not None:
            self._wandb.log(numbers)
