"""``predecode.plan``: what a run would take, before it is paid for."""

import os

from predecode.api.asked import asked_for
from predecode.api.option import as_call
from predecode.api.run_options import PlanOptions
from predecode.api.settings_file import check_target, write_settings
from predecode.api.work import checked_output
from predecode.config import parse_bytes
from predecode.display import Display
from predecode.predicting import predict
from predecode.prediction import Prediction

__all__ = ["plan", "plan_with"]


def plan_with(options: PlanOptions, display: Display) -> Prediction:
    """Tells what a run with these options would take: bytes, core-hours, shards.

    Reads headers, metadata and a small sample; writes nothing but the settings file of ``save``.

    Raises:
        UserError: options that cannot be followed, or no episode that could be stored.
        InfraError: a disk, a node or the cluster failed.
    """
    if options.out is not None:
        checked_output(options.out, options.staging)
    if options.save is not None:
        check_target(options.save)
    budget_bytes = None if options.budget is None else parse_bytes("--budget", options.budget)
    asked = asked_for(options, display.note)
    found = predict(
        asked.source,
        asked.settings,
        asked.selected,
        asked.start_cluster,
        asked.work,
        display,
        num_frames=options.frames,
        cores=options.cores or len(os.sched_getaffinity(0)),
        budget_bytes=budget_bytes,
        for_run=asked.run,
    )
    if options.save is not None:
        write_settings(options.save, options)
    return found


plan = as_call(PlanOptions, plan_with)
