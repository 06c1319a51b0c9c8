"""``predecode.drop``: episodes out of an output."""

from pathlib import Path

import msgspec

from predecode.api.drop_options import DropOptions
from predecode.api.option import as_call
from predecode.api.work import parse_ids
from predecode.display import Display
from predecode.dropping import drop_episodes
from predecode.errors import EXIT_DONE, UserError
from predecode.run_log import RunLog
from train_shards.manifest import Totals, load_manifest
from train_shards.remote_storage import is_url

__all__ = ["DropResult", "drop", "drop_with"]


class DropResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``drop`` has done."""

    output: str
    complete: bool
    """Whether nothing else that was asked for is missing."""
    num_new: int
    """Episodes dropped by this call."""
    num_dropped: int
    """Episodes dropped by all calls."""
    num_made_anew: int
    """Shards and tables."""
    removed: list[str]
    """Files, relative to the output."""
    is_rewritten: bool
    """Whether nothing of dropped episodes is left but their numbers; else they are masked."""
    totals: Totals
    """Of what is left."""

    def __str__(self) -> str:
        """What was done, as one line."""
        return (
            f"{self.output}: {self.num_new} episodes dropped now, {self.num_dropped} in all; left "
            f"are {self.totals.num_episodes} episodes, {self.totals.num_samples:,} samples in "
            f"{self.totals.num_shards} shards; {'complete' if self.complete else 'INCOMPLETE'}"
        )


def drop_with(options: DropOptions, display: Display) -> DropResult:
    """Takes episodes out of an output; the source is not needed, and is left alone.

    Raises:
        UserError: no output or no such episode, or nothing would be left.
        DataError: plans, receipts or shards are damaged.
        InfraError: the disk refuses; the same call goes on.
    """
    out = str(options.out)
    if options.episodes is None and not options.rewrite:
        raise UserError("drop: expected --episodes, or --rewrite for those dropped before.")
    if is_url(out):
        raise UserError(
            f"{out}: a drop works on a folder. Bring the output to one and drop there, then upload "
            "it to a new prefix."
        )
    wanted = set[int]() if options.episodes is None else parse_ids(options.episodes)
    folder = Path(out).resolve()
    with RunLog(display, folder, load_manifest(folder).settings) as told:
        outcome = drop_episodes(folder, wanted, told, rewrite=options.rewrite)
        made = DropResult(
            output=str(Path(out)),
            complete=outcome.manifest.complete,
            num_new=outcome.num_new,
            num_dropped=len(outcome.manifest.dropped),
            num_made_anew=outcome.num_cut,
            removed=outcome.removed,
            is_rewritten=options.rewrite,
            totals=outcome.manifest.totals,
        )
        told.result(made, EXIT_DONE)
    return made


drop = as_call(DropOptions, drop_with)
