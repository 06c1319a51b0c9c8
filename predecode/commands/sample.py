"""predecode sample: a small data set to try things on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from predecode.api.sample_options import SampleOptions
from predecode.commands.options import Messages
from predecode.commands.words import with_options

if TYPE_CHECKING:
    from predecode.api.sample import SampleResult

__all__ = ["sample"]


@with_options
def sample(options: SampleOptions, messages: Messages) -> None:
    """Make a small data set in the layout of BEHAVIOR-1K to try things on.

    Examples:
        predecode sample
        predecode sample --edition 2026 --out data/b1k_2026
    """
    from predecode.api.sample import sample_with

    with messages.display() as display:
        made = sample_with(options, display)
    messages.show(made, _lines(made))


def _lines(made: "SampleResult") -> Iterator[str]:
    """What was made, and what to do with it."""
    yield from made.planted
    yield (
        f"{made.root}: {made.num_episodes} episodes, {made.num_frames:,} frames, "
        f"{made.num_bytes / 1e6:.1f} MB. Next: predecode run --src b1k --root {made.root} "
        "--out shards/"
    )
