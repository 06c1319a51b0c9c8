"""predecode run: a data set into shards."""

from typing import Annotated

import typer

from predecode.commands.options import (
    AddressOption,
    HangLimitOption,
    MaxFailuresOption,
    MemoryLimitOption,
    NodeWaitOption,
    NumCpusOption,
    OutputOption,
    RootOption,
    SrcOption,
    StagingOption,
    checked_output,
    isolated,
    starter,
)
from predecode.commands.summary import finish

__all__ = ["run"]


def run(
    out: OutputOption,
    src: SrcOption,
    root: RootOption = None,
    tasks: Annotated[
        str | None, typer.Option(help="Task names, indices or ranges: 0,3-7,can_meat.")
    ] = None,
    episodes: Annotated[
        str | None,
        typer.Option(help="Positions in each task's sorted episodes (0,3-7), or 8-digit ids."),
    ] = None,
    cameras: Annotated[
        str | None, typer.Option(help="Cameras, such as head,left_wrist. Default: all.")
    ] = None,
    modalities: Annotated[
        str, typer.Option(help="What to store of each camera: rgb, depth, seg_instance_id.")
    ] = "rgb",
    stride: Annotated[int, typer.Option(help="Store every N-th frame of an episode.")] = 1,
    annotated_only: Annotated[
        bool,
        typer.Option(
            "--annotated-only",
            help="Leave out the frames before an episode's first label and after its last, and "
            "episodes without labels.",
        ),
    ] = False,
    size: Annotated[
        str,
        typer.Option(
            help="224 or WxH by the trainer's own resize and pad (depth and segmentation: the "
            "nearest pixels), or native."
        ),
    ] = "224",
    codec: Annotated[str, typer.Option(help="jpeg, png, webp or raw.")] = "jpeg",
    quality: Annotated[
        int | None,
        typer.Option(help="1 to 100. Default: 95 for jpeg; webp is lossless unless given."),
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Most samples in a shard.")] = 8192,
    layout: Annotated[
        str, typer.Option(help="mixed: episodes shuffled into each shard; episode: in order.")
    ] = "mixed",
    val_episodes: Annotated[
        str,
        typer.Option(help="Held out into data/val: positions or ids as in --episodes, or a share."),
    ] = "",
    embed_lowdim: Annotated[
        bool, typer.Option("--embed-lowdim", help="State and action also in the tars.")
    ] = False,
    task_info: Annotated[
        bool, typer.Option("--task-info", help="Keep the column observation.task_info.")
    ] = False,
    for_run: Annotated[
        tuple[str, str, str] | None,
        typer.Option(
            metavar="steps=N global-batch=N seed=N",
            help="Store only what this training run sees, in the global order. global-batch is the "
            "batch of all ranks together. A longer run adds what is missing.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the shuffled layout and a share held out.")] = 0,
    name: Annotated[
        str | None, typer.Option(help="First part of shard names. Default: the source's name.")
    ] = None,
    address: AddressOption = None,
    num_cpus: NumCpusOption = None,
    max_failures: MaxFailuresOption = 0,
    hang_limit_s: HangLimitOption = 300,
    memory_limit_mb: MemoryLimitOption = 4096,
    node_wait_s: NodeWaitOption = 60,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove what an earlier run left in --out.")
    ] = False,
    staging: StagingOption = None,
) -> None:
    """Decode a data set into shards; the same command again finishes an interrupted run.

    Example: predecode run --src b1k --out shards/
    """
    from predecode.config import make_settings
    from predecode.for_run import parse_run
    from predecode.job import run_job
    from predecode.progress import JobProgress
    from predecode.remote_place import place_of
    from predecode.selection import select_episodes
    from predecode.sources.registry import open_source

    asked_run = None if for_run is None else parse_run(for_run)
    out = checked_output(out, staging)
    source = open_source(src, root)
    settings = make_settings(
        source,
        cameras=cameras,
        modalities=modalities,
        size=size,
        codec=codec,
        quality=quality,
        stride=stride,
        layout=layout,
        shard_size=shard_size,
        val_episodes=val_episodes,
        embed_lowdim=embed_lowdim,
        task_info=task_info,
        seed=seed,
        name=name,
        annotated_only=annotated_only,
    )
    selected = select_episodes(source.episodes, tasks, episodes, source.task_names)
    with place_of(out, staging) as place:
        with JobProgress() as display:
            for why in dict.fromkeys(source.left_out.values()):
                display.note(f"left out: {why}")
            outcome = run_job(
                place,
                source,
                settings,
                selected,
                starter(address, num_cpus, node_wait_s, display.note, memory_limit_mb),
                display,
                overwrite=overwrite,
                work=isolated(hang_limit_s, memory_limit_mb),
                for_run=asked_run,
            )
        finish(out, place.folder, source, outcome, max_failures)
