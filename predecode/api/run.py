"""``predecode.run``: a data set into shards."""

from predecode.api.asked import asked_for
from predecode.api.option import as_call
from predecode.api.run_options import RunOptions
from predecode.api.run_result import RunResult
from predecode.api.storing import stored
from predecode.api.work import checked_output
from predecode.display import Display
from predecode.job import Outcome, run_job
from predecode.places import Place

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

    def job(place: Place, told: Display) -> Outcome:
        for why in dict.fromkeys(asked.source.left_out.values()):
            told.note(f"left out: {why}")
        return run_job(
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

    return stored(options, out, asked.source, asked.settings, display, job)


run = as_call(RunOptions, run_with)
