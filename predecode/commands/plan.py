"""predecode plan: what a run would take, before it is paid for."""

from predecode.api.run_options import PlanOptions
from predecode.commands.options import ConfigOption, Messages
from predecode.commands.words import with_options
from predecode.errors import EXIT_DONE, EXIT_INCOMPLETE

__all__ = ["plan"]


@with_options
def plan(options: PlanOptions, messages: Messages, _config: ConfigOption = None) -> None:
    """Tell what a run with these options would take: bytes, core-hours, shards; writes no output.

    Reads headers, metadata and a small sample. Exit status: 1 where --budget is exceeded.

    Examples:
        predecode plan --src b1k --budget 2TB
        predecode plan --src b1k --stride 3 --save run.toml
    """
    from predecode.api.plan import plan_with
    from predecode.prediction_lines import prediction_lines

    with messages.display() as display:
        found = plan_with(options, display)
    status = EXIT_INCOMPLETE if found.fits is False else EXIT_DONE
    messages.show(found, prediction_lines(found), status)
