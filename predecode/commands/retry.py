"""predecode retry: quarantined episodes once more."""

from typing import Annotated

import typer

from predecode.commands.options import (
    AddressOption,
    HangLimitOption,
    MaxFailuresOption,
    MemoryLimitOption,
    NodeWaitOption,
    NumCpusOption,
    RootOption,
    StagingOption,
    WandbOption,
    checked_output,
    isolated,
    parse_ids,
    starter,
)
from predecode.commands.summary import finish
from predecode.errors import UserError

__all__ = ["retry"]


def retry(
    out: Annotated[str, typer.Argument(help="An output with quarantined episodes.")],
    episodes: Annotated[
        str | None, typer.Option(help="Ids of quarantined episodes. Default: all.")
    ] = None,
    root: RootOption = None,
    backend: Annotated[
        str, typer.Option(help="Decoder of the new shards, which record it: pyav or torchcodec.")
    ] = "pyav",
    address: AddressOption = None,
    num_cpus: NumCpusOption = None,
    max_failures: MaxFailuresOption = 0,
    hang_limit_s: HangLimitOption = 300,
    memory_limit_mb: MemoryLimitOption = 4096,
    node_wait_s: NodeWaitOption = 60,
    staging: StagingOption = None,
    wandb: WandbOption = False,
) -> None:
    """Try quarantined episodes again after a repair; what succeeds is added as new shards."""
    from predecode.job import retry_job
    from predecode.output import load_plans, source_root
    from predecode.progress import JobProgress
    from predecode.remote_place import place_of, readable
    from predecode.sources.registry import open_source
    from predecode.tracking import Tracker
    from train_shards.manifest import load_manifest

    if backend not in ("pyav", "torchcodec"):  # one in this Python, with pixels proven by tests
        raise UserError(f"--backend {backend}: expected pyav or torchcodec.")
    settings = load_manifest(out).settings
    out = checked_output(out, staging)
    with readable(out) as standing:
        source = open_source(settings.source, source_root(out, load_plans(standing.folder), root))
    wanted = None if episodes is None else parse_ids(episodes)
    with place_of(out, staging) as place:
        with (
            JobProgress() as shown,
            Tracker(shown, place.folder, out, is_in_wandb=wandb) as display,
        ):
            outcome = retry_job(
                place,
                source,
                wanted,
                starter(address, num_cpus, node_wait_s, display.note, memory_limit_mb),
                display,
                work=isolated(hang_limit_s, memory_limit_mb),
                backend=backend,
            )
        finish(out, place.folder, source, outcome, max_failures, display.last)
