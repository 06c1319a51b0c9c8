"""What a call that stores episodes ends with."""

from pathlib import Path

import msgspec

from predecode.display import format_bytes
from predecode.errors import EXIT_DONE, EXIT_INCOMPLETE, EpisodeFault
from predecode.job import Outcome
from predecode.manifest import retry_command
from predecode.progress_lines import ProgressLine
from predecode.sources.episode import Source
from predecode.survey.copied import annotations_line
from train_shards.manifest import Totals

__all__ = ["Quarantined", "RunResult", "run_result"]


class Quarantined(msgspec.Struct, frozen=True):
    """An episode that is not stored."""

    fault: EpisodeFault
    retry: str
    """The command that tries it again, after its repair."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``run`` or ``retry`` has made."""

    output: str
    complete: bool
    """Whether nothing that was asked for is missing."""
    within_limit: bool
    """Whether at most ``max_failures`` episodes are missing; else the command's status is 1."""
    num_new_images: int
    """Stored by this call; 0 where there was nothing to do."""
    totals: Totals
    """Of the output, over all calls."""
    quarantined: list[Quarantined]
    """Ascending by episode."""
    annotations: str | None
    """Faults of the annotations that this call has copied, in one line; None without any."""
    figures: ProgressLine | None
    """How fast this call was; None where it decoded nothing."""

    def __str__(self) -> str:
        """What stands in the output, as one line."""
        totals = self.totals
        return (
            f"{self.output}: {totals.num_episodes} episodes, {totals.num_samples:,} samples, "
            f"{totals.num_images:,} images in {totals.num_shards} shards, "
            f"{format_bytes(totals.num_shard_bytes)} + {format_bytes(totals.num_lowdim_bytes)} "
            f"tables; {'complete' if self.complete else 'INCOMPLETE'}"
        )

    @property
    def exit_status(self) -> int:
        """Of the command."""
        return EXIT_DONE if self.within_limit else EXIT_INCOMPLETE


def run_result(
    out: str,
    folder: Path,
    source: Source,
    outcome: Outcome,
    max_failures: int,
    made: ProgressLine | None,
) -> RunResult:
    """Returns the result of a job.

    Args:
        out: the output as the operator calls it.
        folder: holds the copies of the source's annotations.
        source: what it was made of.
        outcome: of the job.
        max_failures: how many missing episodes are allowed.
        made: the last figures of this call.
    """
    return RunResult(
        output=out,
        complete=outcome.manifest.complete,
        within_limit=len(outcome.faults) <= max_failures,
        num_new_images=outcome.num_new_images,
        totals=outcome.manifest.totals,
        quarantined=[
            Quarantined(fault, retry_command(out, fault)) for fault in outcome.faults.values()
        ],
        annotations=annotations_line(folder, source, outcome.new_episodes) or None,
        figures=made if made is not None and made.is_last else None,
    )
