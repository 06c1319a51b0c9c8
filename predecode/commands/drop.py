"""predecode drop: episodes out of an output."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from predecode.commands.options import parse_ids
from predecode.errors import UserError

if TYPE_CHECKING:
    from predecode.dropping import DropOutcome

__all__ = ["drop"]


def drop(
    out: Annotated[str, typer.Argument(help="An output of predecode run: a folder.")],
    episodes: Annotated[
        str | None, typer.Option(help="Ids of episodes to take out: 00490010,00490020.")
    ] = None,
    rewrite: Annotated[
        bool,
        typer.Option(
            "--rewrite",
            help="Also remove what dropped episodes have in files: their shards and tables are "
            "made anew without them, by copying.",
        ),
    ] = False,
) -> None:
    """Take episodes out of an output; the source is not needed, and is left alone.

    Without --rewrite they are masked: readers of this package leave them out at once, foreign
    readers of the tars do not.

    Example: predecode drop shards/ --episodes 00490010 --rewrite
    """
    from predecode.dropping import drop_episodes
    from predecode.progress import JobProgress
    from train_shards.remote_storage import is_url

    if episodes is None and not rewrite:
        raise UserError("drop: expected --episodes, or --rewrite for those dropped before.")
    if is_url(out):
        raise UserError(
            f"{out}: a drop works on a folder. Bring the output to one and drop there, then upload "
            "it to a new prefix."
        )
    wanted = set[int]() if episodes is None else parse_ids(episodes)
    folder = Path(out).resolve()
    with JobProgress() as display:
        outcome = drop_episodes(folder, wanted, display, rewrite=rewrite)
    for line in _drop_lines(Path(out), outcome, is_rewritten=rewrite):
        print(line)


def _drop_lines(out: Path, outcome: "DropOutcome", *, is_rewritten: bool) -> Iterator[str]:
    """What a drop did, and what is left."""
    manifest, totals = outcome.manifest, outcome.manifest.totals
    yield (
        f"{out}: {outcome.num_new} episodes dropped now, {len(manifest.dropped)} in all; left are "
        f"{totals.num_episodes} episodes, {totals.num_samples:,} samples in {totals.num_shards} "
        f"shards; {'complete' if manifest.complete else 'INCOMPLETE'}"
    )
    if is_rewritten:
        yield (
            f"{outcome.num_cut} shards and tables made anew, {len(outcome.removed)} files removed; "
            "of dropped episodes nothing is left but their numbers"
        )
    else:
        yield (
            "dropped episodes are masked; their bytes still stand in shards and tables until "
            f"predecode drop {out} --rewrite"
        )
