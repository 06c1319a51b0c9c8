"""What the options of ``run`` and ``plan`` ask for."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from predecode.api.run_options import StoreOptions
from predecode.api.work import isolated, optional_path, starter
from predecode.cluster import Cluster
from predecode.config import make_settings
from predecode.for_run import AskedRun, parse_run
from predecode.selection import select_episodes
from predecode.sources.episode import Episode, Source
from predecode.sources.registry import open_source
from predecode.tasks import Work
from train_shards.manifest import Settings

__all__ = ["Asked", "asked_for"]


class Asked(NamedTuple):
    """What is to be stored, and how."""

    source: Source
    settings: Settings
    selected: list[Episode]
    run: AskedRun | None
    """The training run whose samples alone are stored; None for all samples."""
    start_cluster: Callable[[], AbstractContextManager[Cluster]]
    """Where tasks run; as ``starter``."""
    work: Work
    """How each task runs; as ``isolated``."""


def asked_for(options: StoreOptions, note: Callable[[str], None]) -> Asked:
    """Opens the source, and says what of it is asked for, and how.

    Args:
        options: of the call.
        note: is told what is worth knowing of the cluster.

    Raises:
        UserError: options that cannot be followed.
    """
    run = None if options.for_run is None else parse_run(options.for_run)
    source = open_source(options.src, optional_path(options.root))
    settings = make_settings(
        source,
        cameras=options.cameras,
        modalities=options.modalities,
        size=options.size,
        codec=options.codec,
        quality=options.quality,
        stride=options.stride,
        layout=options.layout,
        shard_size=options.shard_size,
        val_episodes=options.val_episodes,
        embed_lowdim=options.embed_lowdim,
        task_info=options.task_info,
        seed=options.seed,
        name=options.name,
        annotated_only=options.annotated_only,
    )
    return Asked(
        source=source,
        settings=settings,
        selected=select_episodes(
            source.episodes, options.tasks, options.episodes, source.task_names
        ),
        run=run,
        start_cluster=starter(
            options.address, options.num_cpus, options.node_wait_s, note, options.memory_limit_mb
        ),
        work=isolated(options.hang_limit_s, options.memory_limit_mb),
    )
