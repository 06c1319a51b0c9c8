"""predecode run: a data set into shards."""

from predecode.commands.options import OutputOption, checked_output
from predecode.commands.run_options import RunOptions, with_options_of
from predecode.commands.summary import finish

__all__ = ["run"]


@with_options_of(RunOptions, "options")
def run(out: OutputOption, options: RunOptions) -> None:
    """Decode a data set into shards; the same command again finishes an interrupted run.

    Example: predecode run --src b1k --out shards/
    """
    from predecode.job import run_job
    from predecode.progress import JobProgress
    from predecode.remote_place import place_of
    from predecode.tracking import Tracker

    out = checked_output(out, options.staging)
    for_run = options.run
    source, settings, selected = options.asked()
    with place_of(out, options.staging) as place:
        with (
            JobProgress() as shown,
            Tracker(shown, place.folder, out, is_in_wandb=options.wandb) as display,
        ):
            for why in dict.fromkeys(source.left_out.values()):
                display.note(f"left out: {why}")
            outcome = run_job(
                place,
                source,
                settings,
                selected,
                options.start_cluster(display.note),
                display,
                overwrite=options.overwrite,
                work=options.work(),
                for_run=for_run,
            )
        finish(out, place.folder, source, outcome, options.max_failures, display.last)
