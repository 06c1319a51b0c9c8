"""What a run or a retry says at its end."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from predecode.commands.options import say
from predecode.errors import EXIT_INCOMPLETE

if TYPE_CHECKING:
    from predecode.job import Outcome
    from predecode.progress_lines import ProgressLine
    from predecode.sources.episode import Source

__all__ = ["finish"]

_MOST_LINES = 10


def finish(
    out: str,
    folder: Path,
    source: "Source",
    outcome: "Outcome",
    max_failures: int,
    made: "ProgressLine | None",
) -> None:
    """Prints the summary; ends with 1 when more is missing than allowed.

    ``folder`` holds the copies of this call's annotations; ``made`` are this call's figures.
    """
    from predecode.manifest import retry_command
    from predecode.progress import format_bytes
    from predecode.progress_lines import figures_text
    from predecode.survey.copied import annotations_line

    manifest, totals = outcome.manifest, outcome.manifest.totals
    if not outcome.num_new_images:
        print(f"{out}: nothing to do, already finished")
    print(
        f"{out}: {totals.num_episodes} episodes, {totals.num_samples:,} samples, "
        f"{totals.num_images:,} images in {totals.num_shards} shards, "
        f"{format_bytes(totals.num_shard_bytes)} + {format_bytes(totals.num_lowdim_bytes)} tables; "
        f"{'complete' if manifest.complete else 'INCOMPLETE'}"
    )
    if made is not None and made.is_last:
        print(f"this call: {figures_text(made)}")
    faults = list(outcome.faults.values())
    for fault in faults[:_MOST_LINES]:
        say(f"quarantined: {fault}. After repair: {retry_command(out, fault)}")
    if len(faults) > _MOST_LINES:
        say(f"… {len(faults)} in all, see {out}/.predecode/quarantine.jsonl")
    if line := annotations_line(folder, source, outcome.new_episodes):
        say(line)
    if len(faults) > max_failures:
        raise typer.Exit(EXIT_INCOMPLETE)
