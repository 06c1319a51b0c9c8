"""``predecode.retry``: quarantined episodes once more."""

from predecode.api.option import as_call
from predecode.api.retry_options import RetryOptions
from predecode.api.run_result import RunResult, run_result
from predecode.api.work import checked_output, isolated, optional_path, parse_ids, starter
from predecode.config import one_of
from predecode.display import Display
from predecode.job import retry_job
from predecode.output import load_plans, source_root
from predecode.remote_place import place_of, readable
from predecode.run_log import RunLog
from predecode.sources.registry import open_source
from predecode.tracking import Tracker
from train_shards.manifest import load_manifest

__all__ = ["retry", "retry_with"]

_BACKENDS = ("pyav", "torchcodec")
"""Decoders of this Python whose pixels tests prove."""


def retry_with(options: RetryOptions, display: Display) -> RunResult:
    """Tries quarantined episodes again after a repair; what succeeds is added as new shards.

    Raises:
        UserError: no output, nothing quarantined, or options that cannot be followed.
        InfraError: as ``run``.
    """
    one_of("--backend", options.backend, _BACKENDS)
    settings = load_manifest(str(options.out)).settings
    out, staging = checked_output(options.out, options.staging), optional_path(options.staging)
    root = optional_path(options.root)
    with readable(out) as standing:
        source = open_source(settings.source, source_root(out, load_plans(standing.folder), root))
    wanted = None if options.episodes is None else parse_ids(options.episodes)
    with (
        place_of(out, staging) as place,
        Tracker(display, place.folder, out, is_in_wandb=options.wandb) as tracker,
        RunLog(tracker, place.folder, settings) as told,
    ):
        outcome = retry_job(
            place,
            source,
            wanted,
            starter(
                options.address,
                options.num_cpus,
                options.node_wait_s,
                told.note,
                options.memory_limit_mb,
            ),
            told,
            work=isolated(options.hang_limit_s, options.memory_limit_mb),
            backend=options.backend,
        )
        made = run_result(out, place.folder, source, outcome, options.max_failures, tracker.last)
        told.result(made, made.exit_status)
    return made


retry = as_call(RetryOptions, retry_with)
