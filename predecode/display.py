"""What the job tells while it works, to whoever shows it."""

from typing import NamedTuple, Protocol

from predecode.errors import EpisodeFault
from predecode.stages import Spent

__all__ = [
    "CHECKING",
    "SILENT",
    "Display",
    "Ended",
    "Silent",
    "ended_text",
    "format_bytes",
    "one_line",
]

CHECKING = "checking the source"
"""The phase before anything is written: what is found there may refuse the call."""
_STEP_FACTOR = 1000


def format_bytes(num_bytes: float) -> str:
    """Returns a number of bytes for people, in decimal units.

    >>> format_bytes(4_800_000_000_000)
    '4.8 TB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < _STEP_FACTOR:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= _STEP_FACTOR
    return f"{num_bytes:.1f} TB"


def one_line(text: str) -> str:
    r"""Returns a text with ``?`` for what would begin a line or speak to a terminal.

    Data sets name things as they like.

    >>> one_line("a\nb\x1b")
    'a?b?'
    """
    return "".join(c if c.isprintable() else "?" for c in text)


class Ended(NamedTuple):
    """A task that has ended, in figures."""

    spent: Spent
    num_slots: int
    """Tasks that can work at a time now."""
    failed: frozenset[int]
    """``episode_index`` of its episodes at fault."""
    num_samples: int = 0
    num_images: int = 0
    num_bytes: int = 0
    """Stored by it."""
    is_last: bool = False
    """Whether nothing is left to be stored."""


class Display(Protocol):
    """What the job tells while it works."""

    def note(self, text: str) -> None:
        """Shows one line."""
        ...

    def detail(self, text: str) -> None:
        """Shows one line to whoever asks for more."""
        ...

    def quarantined(self, fault: EpisodeFault) -> None:
        """Shows why an episode is not stored."""
        ...

    def phase(self, what: str, unit: str, total: int, *, parts_per_step: int = 1) -> None:
        """Starts a phase of ``total`` steps, called ``unit``, each told in so many parts."""
        ...

    def advance(self, parts: int, num_bytes: int) -> None:
        """Adds finished parts and bytes written to the phase."""
        ...

    def ended(self, task: Ended) -> None:
        """Adds a finished task to the phase, whose parts were told before."""
        ...


def ended_text(name: str, task: Ended) -> str:
    """Returns a task's end as one line.

    >>> ended_text("b1k-train-000003", Ended(Spent(wall_s=2.5, cpu_s=2), 2, frozenset({7}), 90))
    'b1k-train-000003: 90 samples, 0 B, 2.5 s, 2.0 s of CPU; at fault: 00000007'
    """
    stages_s = {name: f"{spent_s:.1f}" for name, spent_s in task.spent.stages_s.items()}
    stages = ", ".join(f"{name} {text}" for name, text in stages_s.items() if text != "0.0")
    failed = ", ".join(f"{episode:08d}" for episode in sorted(task.failed))
    return (
        f"{name}: {task.num_samples:,} samples, {format_bytes(task.num_bytes)}, "
        f"{task.spent.wall_s:.1f} s, {task.spent.cpu_s:.1f} s of CPU"
        f"{f' ({stages})' if stages else ''}{f'; at fault: {failed}' if failed else ''}"
    )


class Silent:
    """A display that shows nothing."""

    def note(self, text: str) -> None:
        """See ``Display``."""

    def detail(self, text: str) -> None:
        """See ``Display``."""

    def quarantined(self, fault: EpisodeFault) -> None:
        """See ``Display``."""

    def phase(self, what: str, unit: str, total: int, *, parts_per_step: int = 1) -> None:
        """See ``Display``."""

    def advance(self, parts: int, num_bytes: int) -> None:
        """See ``Display``."""

    def ended(self, task: Ended) -> None:
        """See ``Display``."""


SILENT: Display = Silent()
