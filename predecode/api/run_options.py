"""What to decode and how: the options of ``run`` and ``plan``."""

from dataclasses import dataclass
from typing import Annotated

from predecode.api.option import (
    OUTPUT,
    AddressOption,
    AnyPath,
    HangLimitOption,
    MaxFailuresOption,
    MemoryLimitOption,
    NodeWaitOption,
    NumCpusOption,
    Option,
    RootOption,
    SrcOption,
    StagingOption,
    WandbOption,
)

__all__ = ["PlanOptions", "RunOptions", "StoreOptions"]

_SELECTION = "Selection"
_STORED = "What is stored"
_PREDICTION = "Prediction"


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """What ``run`` and ``plan`` have in common."""

    src: SrcOption
    root: RootOption = None
    tasks: Annotated[
        str | None, Option("Task names, indices or ranges: 0,3-7,can_meat.", _SELECTION)
    ] = None
    episodes: Annotated[
        str | None,
        Option("Positions in each task's sorted episodes (0,3-7), or 8-digit ids.", _SELECTION),
    ] = None
    cameras: Annotated[
        str | None, Option("Cameras, such as head,left_wrist. Default: all.", _SELECTION)
    ] = None
    modalities: Annotated[
        str, Option("What to store of each camera: rgb, depth, seg_instance_id.", _SELECTION)
    ] = "rgb"
    stride: Annotated[int, Option("Store every N-th frame of an episode.", _SELECTION)] = 1
    annotated_only: Annotated[
        bool,
        Option(
            "Leave out the frames before an episode's first label and after its last, and episodes "
            "without labels.",
            _SELECTION,
        ),
    ] = False
    for_run: Annotated[
        tuple[str, str, str] | None,
        Option(
            "Store only what this training run sees, in the global order. global-batch is the "
            "batch of all ranks together. A longer run adds what is missing.",
            _SELECTION,
            metavar="steps=N global-batch=N seed=N",
        ),
    ] = None
    size: Annotated[
        str,
        Option(
            "224 or WxH by the trainer's own resize and pad (depth and segmentation: the nearest "
            "pixels), or native.",
            _STORED,
        ),
    ] = "224"
    codec: Annotated[str, Option("jpeg, png, webp or raw.", _STORED)] = "jpeg"
    quality: Annotated[
        int | None,
        Option("1 to 100. Default: 95 for jpeg; webp is lossless unless given.", _STORED),
    ] = None
    shard_size: Annotated[int, Option("Most samples in a shard.", _STORED)] = 8192
    layout: Annotated[
        str, Option("mixed: episodes shuffled into each shard; episode: in order.", _STORED)
    ] = "mixed"
    val_episodes: Annotated[
        str,
        Option("Held out into data/val: positions or ids as in --episodes, or a share.", _STORED),
    ] = ""
    embed_lowdim: Annotated[bool, Option("State and action also in the tars.", _STORED)] = False
    task_info: Annotated[bool, Option("Keep the column observation.task_info.", _STORED)] = False
    seed: Annotated[int, Option("Of the shuffled layout and a share held out.", _STORED)] = 0
    name: Annotated[
        str | None, Option("First part of shard names. Default: the source's name.", _STORED)
    ] = None
    overwrite: Annotated[bool, Option("Remove what an earlier run left in --out.", OUTPUT)] = False
    max_failures: MaxFailuresOption = 0
    wandb: WandbOption = False
    address: AddressOption = None
    num_cpus: NumCpusOption = None
    hang_limit_s: HangLimitOption = 300
    memory_limit_mb: MemoryLimitOption = 4096
    node_wait_s: NodeWaitOption = 60
    staging: StagingOption = None


@dataclass(frozen=True, kw_only=True)
class RunOptions(StoreOptions):
    """The options of ``run``."""

    out: Annotated[
        AnyPath,
        Option("Folder for the shards, or a URL: s3://bucket/prefix.", OUTPUT, is_local=False),
    ]


@dataclass(frozen=True, kw_only=True)
class PlanOptions(StoreOptions):
    """The options of ``plan``."""

    out: Annotated[
        AnyPath | None,
        Option("Not opened: what is told is of a new output.", OUTPUT, is_local=False),
    ] = None
    budget: Annotated[
        str | None, Option("Bytes that there are, such as 2TB or 1.5TiB.", _PREDICTION)
    ] = None
    cores: Annotated[
        int | None, Option("For the wall time. Default: this machine's.", _PREDICTION, least=1)
    ] = None
    frames: Annotated[
        int, Option("About how many frames to decode and encode.", _PREDICTION, least=1)
    ] = 200
    save: Annotated[
        AnyPath | None,
        Option("A file for these options: predecode run --config FILE is then this run.", OUTPUT),
    ] = None
