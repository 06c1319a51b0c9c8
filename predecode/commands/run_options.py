"""What to decode and how: the options of ``run`` and ``plan``, and what their words mean."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from predecode.commands.options import (
    AddressOption,
    HangLimitOption,
    MaxFailuresOption,
    MemoryLimitOption,
    NodeWaitOption,
    NumCpusOption,
    RootOption,
    SrcOption,
    StagingOption,
    WandbOption,
    isolated,
    starter,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from predecode.cluster import Cluster
    from predecode.for_run import AskedRun
    from predecode.sources.episode import Episode, Source
    from predecode.tasks import Work
    from train_shards.manifest import Settings

__all__ = ["Asked", "RunOptions", "with_options_of"]

R = TypeVar("R")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of ``run`` but ``--out``, in the order of its help."""

    src: SrcOption
    root: RootOption = None
    tasks: Annotated[
        str | None, typer.Option(help="Task names, indices or ranges: 0,3-7,can_meat.")
    ] = None
    episodes: Annotated[
        str | None,
        typer.Option(help="Positions in each task's sorted episodes (0,3-7), or 8-digit ids."),
    ] = None
    cameras: Annotated[
        str | None, typer.Option(help="Cameras, such as head,left_wrist. Default: all.")
    ] = None
    modalities: Annotated[
        str, typer.Option(help="What to store of each camera: rgb, depth, seg_instance_id.")
    ] = "rgb"
    stride: Annotated[int, typer.Option(help="Store every N-th frame of an episode.")] = 1
    annotated_only: Annotated[
        bool,
        typer.Option(
            "--annotated-only",
            help="Leave out the frames before an episode's first label and after its last, and "
            "episodes without labels.",
        ),
    ] = False
    size: Annotated[
        str,
        typer.Option(
            help="224 or WxH by the trainer's own resize and pad (depth and segmentation: the "
            "nearest pixels), or native."
        ),
    ] = "224"
    codec: Annotated[str, typer.Option(help="jpeg, png, webp or raw.")] = "jpeg"
    quality: Annotated[
        int | None,
        typer.Option(help="1 to 100. Default: 95 for jpeg; webp is lossless unless given."),
    ] = None
    shard_size: Annotated[int, typer.Option(help="Most samples in a shard.")] = 8192
    layout: Annotated[
        str, typer.Option(help="mixed: episodes shuffled into each shard; episode: in order.")
    ] = "mixed"
    val_episodes: Annotated[
        str,
        typer.Option(help="Held out into data/val: positions or ids as in --episodes, or a share."),
    ] = ""
    embed_lowdim: Annotated[
        bool, typer.Option("--embed-lowdim", help="State and action also in the tars.")
    ] = False
    task_info: Annotated[
        bool, typer.Option("--task-info", help="Keep the column observation.task_info.")
    ] = False
    for_run: Annotated[
        tuple[str, str, str] | None,
        typer.Option(
            metavar="steps=N global-batch=N seed=N",
            help="Store only what this training run sees, in the global order. global-batch is the "
            "batch of all ranks together. A longer run adds what is missing.",
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="Of the shuffled layout and a share held out.")] = 0
    name: Annotated[
        str | None, typer.Option(help="First part of shard names. Default: the source's name.")
    ] = None
    address: AddressOption = None
    num_cpus: NumCpusOption = None
    max_failures: MaxFailuresOption = 0
    hang_limit_s: HangLimitOption = 300
    memory_limit_mb: MemoryLimitOption = 4096
    node_wait_s: NodeWaitOption = 60
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove what an earlier run left in --out.")
    ] = False
    staging: StagingOption = None
    wandb: WandbOption = False

    def asked(self) -> "Asked":
        """Opens the source, and says what of it is asked for, and how.

        Raises:
            UserError: words that cannot be followed.
        """
        from predecode.config import make_settings
        from predecode.selection import select_episodes
        from predecode.sources.registry import open_source

        source = open_source(self.src, self.root)
        settings = make_settings(
            source,
            cameras=self.cameras,
            modalities=self.modalities,
            size=self.size,
            codec=self.codec,
            quality=self.quality,
            stride=self.stride,
            layout=self.layout,
            shard_size=self.shard_size,
            val_episodes=self.val_episodes,
            embed_lowdim=self.embed_lowdim,
            task_info=self.task_info,
            seed=self.seed,
            name=self.name,
            annotated_only=self.annotated_only,
        )
        selected = select_episodes(source.episodes, self.tasks, self.episodes, source.task_names)
        return Asked(source, settings, selected)

    @property
    def run(self) -> "AskedRun | None":
        """The training run that is asked for; None for all samples.

        Raises:
            UserError: words of another form.
        """
        from predecode.for_run import parse_run

        return None if self.for_run is None else parse_run(self.for_run)

    def start_cluster(
        self, note: Callable[[str], None]
    ) -> "Callable[[], AbstractContextManager[Cluster]]":
        """Where tasks run; as ``starter``."""
        return starter(self.address, self.num_cpus, self.node_wait_s, note, self.memory_limit_mb)

    def work(self) -> "Work":
        """How each task runs; as ``isolated``."""
        return isolated(self.hang_limit_s, self.memory_limit_mb)


class Asked(NamedTuple):
    """What the words ask for."""

    source: "Source"
    settings: "Settings"
    selected: "list[Episode]"


def with_options_of(
    options: type[Any], name: str
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Has a command take a dataclass's fields as options, in the place of its parameter ``name``.

    Typer reads a command's options from its signature.
    """
    own = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
            annotation=field.type,
        )
        for field in dataclasses.fields(options)
    ]

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(command)
        def call(**words: Any) -> R:
            given = {parameter.name: words.pop(parameter.name) for parameter in own}
            return command(**words, **{name: options(**given)})

        signature = inspect.signature(command)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            is_place = parameter.name == name
            parameters += own if is_place else [parameter.replace(kind=parameter.KEYWORD_ONLY)]
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return call

    return decorate
