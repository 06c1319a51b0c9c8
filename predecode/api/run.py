"""``predecode.run``: a data set into shards."""

from predecode.api.asked import asked_for
from predecode.api.option import as_call
from predecode.api.run_options import RunOptions
from predecode.api.run_result import RunResult, run_result
from predecode.api.work import checked_output, optional_path
from predecode.display import Display
from predecode.job import run_job
from predecode.remote_place import place_of
from predecode.run_log import RunLog
from predecode.tracking import Tracker

__all__ = ["run", "run_with"]


def run_with(options: RunOptions, display: Display) -> RunResult:
    """Decodes a data set into shards; the same call again finishes an interrupted run.

    Raises:
        UserError: options that cannot be followed, an output of other settings, or a locked one;
            nothing was done.
        InfraError: a disk, a node, the cluster or the source failed; the same call goes on.
    """
    out = checked_output(options.out, options.staging)
    asked = asked_for(options, display.note)
    with (
        place_of(out, optional_path(options.staging)) as place,
        Tracker(display, place.folder, out, is_in_wandb=options.wandb) as tracker,
        RunLog(tracker, place.folder, asked.settings) as told,
    ):
        for why in dict.fromkeys(asked.source.left_out.values()):
            told.note(f"left out: {why}")
        outcome = run_job(
            place,
            asked.source,
            asked.settings,
            asked.selected,
            asked.start_cluster,
            told,
            overwrite=options.overwrite,
            work=asked.work,
            for_run=asked.run,
        )
        made = run_result(
            out, place.folder, asked.source, outcome, options.max_failures, tracker.last
        )
        told.result(made, made.exit_status)
    return made


run = as_call(RunOptions, run_with)
