"""The options of ``retry``."""

from dataclasses import dataclass, field
from typing import Annotated

from predecode.api.option import (
    OUTPUT,
    SOURCE,
    AddressOption,
    AnyPath,
    HangLimitOption,
    MaxFailuresOption,
    MemoryLimitOption,
    NodeWaitOption,
    NumCpusOption,
    Option,
    RootOption,
    StagingOption,
    WandbOption,
)

__all__ = ["RetryOptions"]


@dataclass(frozen=True, kw_only=True)
class RetryOptions:
    """The options of ``retry``."""

    out: Annotated[
        AnyPath, Option("An output with quarantined episodes.", OUTPUT, is_local=False)
    ] = field(kw_only=False)
    episodes: Annotated[
        str | None, Option("Ids of quarantined episodes. Default: all.", SOURCE)
    ] = None
    root: RootOption = None
    backend: Annotated[
        str,
        Option("Decoder of the new shards, which record it: pyav or torchcodec.", SOURCE),
    ] = "pyav"
    max_failures: MaxFailuresOption = 0
    wandb: WandbOption = False
    address: AddressOption = None
    num_cpus: NumCpusOption = None
    hang_limit_s: HangLimitOption = 300
    memory_limit_mb: MemoryLimitOption = 4096
    node_wait_s: NodeWaitOption = 60
    staging: StagingOption = None
