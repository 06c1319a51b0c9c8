"""predecode drop: episodes out of an output."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from predecode.api.drop_options import DropOptions
from predecode.commands.options import Messages
from predecode.commands.words import with_options

if TYPE_CHECKING:
    from predecode.api.drop import DropResult

__all__ = ["drop"]


@with_options
def drop(options: DropOptions, messages: Messages) -> None:
    """Take episodes out of an output; the source is not needed, and is left alone.

    Without --rewrite they are masked: readers of this package leave them out at once, foreign
    readers of the tars do not.

    Examples:
        predecode drop shards/ --episodes 00490010
        predecode drop shards/ --rewrite
    """
    from predecode.api.drop import drop_with

    with messages.display() as display:
        result = drop_with(options, display)
    messages.show(result, _lines(result))


def _lines(result: "DropResult") -> Iterator[str]:
    """What a drop did, and what is left."""
    yield str(result)
    if result.is_rewritten:
        yield (
            f"{result.num_made_anew} shards and tables made anew, {len(result.removed)} files "
            "removed; of dropped episodes nothing is left but their numbers"
        )
    else:
        yield (
            "dropped episodes are masked; their bytes still stand in shards and tables until "
            f"predecode drop {result.output} --rewrite"
        )
