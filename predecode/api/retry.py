"""``predecode.retry``: quarantined episodes once more."""

from predecode.api.option import as_call
from predecode.api.retry_options import RetryOptions
from predecode.api.run_result import RunResult
from predecode.api.storing import stored
from predecode.api.work import checked_output, isolated, optional_path, parse_ids, starter
from predecode.config import one_of
from predecode.display import Display
from predecode.job import Outcome, retry_job
from predecode.output import load_plans, source_root
from predecode.places import Place
from predecode.remote_place import readable
from predecode.sources.registry import open_source
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
    out, root = checked_output(options.out, options.staging), optional_path(options.root)
    with readable(out) as standing:
        source = open_source(settings.source, source_root(out, load_plans(standing.folder), root))
    wanted = None if options.episodes is None else parse_ids(options.episodes)

    def job(place: Place, told: Display) -> Outcome:
        start = starter(
            options.address,
            options.num_cpus,
            options.node_wait_s,
            told.note,
            options.memory_limit_mb,
        )
        return retry_job(
            place,
            source,
            wanted,
            start,
            told,
            work=isolated(options.hang_limit_s, options.memory_limit_mb),
            backend=options.backend,
        )

    return stored(options, out, source, settings, display, job)


retry = as_call(RetryOptions, retry_with)
