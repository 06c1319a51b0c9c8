"""Makes data sets with planted damage, which a run must keep apart from what is sound.

Built as the sound samples are, then damaged case by case in the order of the tables; RGB only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from predecode.display import SILENT, Display
from predecode.sources.sample import build_sample
from predecode.sources.sample_2026 import build_sample_2026
from predecode.sources.sample_build import SampleSummary, built_at, count_processes, total_bytes
from predecode.sources.sample_damage import DamageCase
from predecode.sources.sample_damage_2025 import (
    DAMAGED_EPISODES,
    annotate_first_task,
    damage_cases_2025,
)
from predecode.sources.sample_damage_2026 import damage_cases_2026
from predecode.sources.sample_layout import FULL_SIZE_PX, SMALL_SIZE_PX, EpisodeSpec
from predecode.sources.sample_layout_2026 import EPISODES_2026
from train_shards.errors import UserError

__all__ = ["DamagedSample", "make_damaged_sample"]

_EDITIONS = ("2025", "2026")


class DamagedSample(NamedTuple):
    """A data set and what was planted in it."""

    summary: SampleSummary
    cases: list[DamageCase]


def make_damaged_sample(
    root: Path,
    *,
    edition: str = "2025",
    full_size: bool = False,
    num_processes: int | None = None,
    display: Display = SILENT,
) -> DamagedSample:
    """Makes the damaged set of an edition at ``root``; same arguments, same bytes.

    Args:
        root: where the data set shall stand; must not exist, or be an empty folder.
        edition: ``2025`` or ``2026``.
        full_size: as for the sound samples.
        num_processes: encoders at work at once; None for one per core that this process may use.
        display: is told of the videos that are encoded.

    Raises:
        UserError: no such edition, ``root`` exists and is not an empty folder, or
            ``num_processes`` is below 1.

    Cost: about 15 s on two cores for either edition at the small size.
    """
    if edition not in _EDITIONS:
        raise UserError(f"--damaged with --edition {edition}: expected {' or '.join(_EDITIONS)}.")
    num_processes = count_processes(num_processes)
    side_px = FULL_SIZE_PX if full_size else SMALL_SIZE_PX
    specs: Sequence[EpisodeSpec]
    with built_at(root) as built:
        if edition == "2025":
            specs, cases = DAMAGED_EPISODES, damage_cases_2025(side_px)
            build_sample(
                built, specs, ["rgb"], side_px, num_processes, annotate_first_task, display
            )
        else:
            specs, cases = EPISODES_2026, damage_cases_2026()
            build_sample_2026(built, side_px, num_processes, ("rgb",), display)
        for case in cases:
            case.damage(built)
        num_bytes = total_bytes(built)
    num_frames = sum(spec.length for spec in specs)
    return DamagedSample(SampleSummary(root, len(specs), num_frames, num_bytes), cases)
