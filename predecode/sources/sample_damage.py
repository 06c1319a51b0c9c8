"""What damage is: one planted case, and what a run and a survey must say of it. Pure.

The cases of each edition stand in ``sample_damage_2025`` and ``sample_damage_2026``. Source of what
is planted: faults that readers of the published sets and of rollouts have met.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DamageCase", "damage_lines"]


@dataclass(frozen=True)
class DamageCase:
    """One thing planted in a sound data set."""

    episode_index: int | None
    """The episode that it costs or marks; None for the whole set."""
    planted: str
    """What is planted, in words."""
    damage: Callable[[Path], None]
    """Plants it under a root."""
    problem: str = ""
    """The clause under which ``predecode run`` must quarantine the episode; ``""``: it must not."""
    camera: str | None = None
    """Of the quarantine."""
    kinds: tuple[str, ...] = ()
    """Kinds of all findings that ``verify --source`` must have of it, sorted."""


def damage_lines(cases: Sequence[DamageCase]) -> list[str]:
    """Returns what is planted and what must be said of it, one line a case."""
    lines = []
    for case in cases:
        where = "the set" if case.episode_index is None else f"ep{case.episode_index:08d}"
        camera = f"camera {case.camera}, " if case.camera else ""
        must = f"quarantined ({camera}{case.problem})" if case.problem else "stored"
        found = [f"{n} {kind}" if n > 1 else kind for kind, n in Counter(case.kinds).items()]
        seen = f"; verify --source: {', '.join(found)}" if found else ""
        lines.append(f"planted in {where}: {case.planted} -> {must}{seen}")
    return lines
