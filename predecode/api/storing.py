"""How a call that stores episodes is tracked, logged and summed up."""

from collections.abc import Callable

from predecode.api.retry_options import RetryOptions
from predecode.api.run_options import RunOptions
from predecode.api.run_result import RunResult, run_result
from predecode.api.work import optional_path
from predecode.display import Display
from predecode.job import Outcome
from predecode.places import Place
from predecode.remote_place import place_of
from predecode.run_log import RunLog
from predecode.sources.episode import Source
from predecode.tracking import Tracker
from train_shards.manifest import Settings

__all__ = ["stored"]


def stored(
    options: RunOptions | RetryOptions,
    out: str,
    source: Source,
    settings: Settings,
    display: Display,
    job: Callable[[Place, Display], Outcome],
) -> RunResult:
    """Does a job and returns its result.

    Args:
        options: of the call.
        out: the output as the operator calls it.
        source: what it is made of.
        settings: of the output.
        display: what the operator sees.
        job: given the output and what to tell of the work.
    """
    with (
        place_of(out, optional_path(options.staging)) as place,
        Tracker(display, place.folder, out, is_in_wandb=options.wandb) as tracker,
        RunLog(tracker, place.folder, settings) as told,
    ):
        outcome = job(place, told)
        made = run_result(out, place.folder, source, outcome, options.max_failures, tracker.last)
        told.result(made, made.exit_status)
    return made
