"""What a run or a retry says at its end."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from predecode.commands.options import Messages, say

if TYPE_CHECKING:
    from predecode.api.run_result import RunResult

__all__ = ["finish"]

_MOST_LINES = 10


def finish(result: "RunResult", messages: Messages) -> None:
    """Prints the summary; ends with 1 when more is missing than allowed."""
    for one in result.quarantined[:_MOST_LINES]:
        say(f"quarantined: {one.fault}. After repair: {one.retry}")
    if len(result.quarantined) > _MOST_LINES:
        count = len(result.quarantined)
        say(f"… {count} in all, see {result.output}/.predecode/quarantine.jsonl")
    if result.annotations is not None and not messages.quiet:
        say(result.annotations)
    messages.show(result, _lines(result), result.exit_status)


def _lines(result: "RunResult") -> Iterator[str]:
    from predecode.progress_lines import figures_text

    if not result.num_new_images:
        yield f"{result.output}: nothing to do, already finished"
    yield str(result)
    if result.figures is not None:
        yield f"this call: {figures_text(result.figures)}"
