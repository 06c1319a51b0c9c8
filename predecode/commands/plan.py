"""predecode plan: what a run would take, before it is paid for."""

import os
from typing import Annotated

import typer

from predecode.commands.options import checked_output, show
from predecode.commands.run_options import RunOptions, with_options_of
from predecode.errors import EXIT_INCOMPLETE

__all__ = ["plan"]


@with_options_of(RunOptions, "options")
def plan(
    options: RunOptions,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Not opened: what is told is of a new output."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Bytes that there are, such as 2TB or 1.5TiB.")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="For the wall time. Default: this machine's.")
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, help="About how many frames to decode and encode.")
    ] = 200,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the prediction as JSON instead of lines.")
    ] = False,
) -> None:
    """Tell what a run with these options would take: bytes, core-hours, shards; writes nothing.

    Reads headers, metadata and a small sample. Exit status: 1 where --budget is exceeded.

    Example: predecode plan --src b1k --budget 2TB
    """
    from predecode.config import parse_bytes
    from predecode.predicting import predict
    from predecode.prediction_lines import prediction_lines
    from predecode.progress import JobProgress

    if out is not None:
        checked_output(out, options.staging)
    budget_bytes = None if budget is None else parse_bytes("--budget", budget)
    for_run = options.run
    source, settings, selected = options.asked()
    with JobProgress() as display:
        found = predict(
            source,
            settings,
            selected,
            options.start_cluster(display.note),
            options.work(),
            display,
            num_frames=frames,
            cores=cores or len(os.sched_getaffinity(0)),
            budget_bytes=budget_bytes,
            for_run=for_run,
        )
    show(found, prediction_lines(found), as_json=as_json)
    if found.fits is False:
        raise typer.Exit(EXIT_INCOMPLETE)
