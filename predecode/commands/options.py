"""Options that several commands take, and what their words mean."""

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from predecode.errors import UserError

if TYPE_CHECKING:
    from predecode.cluster import Cluster
    from predecode.tasks import Work

__all__ = [
    "AddressOption",
    "BackendPythonOption",
    "HangLimitOption",
    "MaxFailuresOption",
    "MemoryLimitOption",
    "NodeWaitOption",
    "NumCpusOption",
    "OutputOption",
    "RootOption",
    "SrcOption",
    "StagingOption",
    "WandbOption",
    "checked_output",
    "isolated",
    "parse_ids",
    "say",
    "show",
    "starter",
]

_MB = 1_000_000

SrcOption = Annotated[str, typer.Option(help="Kind of source: b1k, lerobot, videos.")]
OutputOption = Annotated[
    str, typer.Option("--out", "-o", help="Folder for the shards, or a URL: s3://bucket/prefix.")
]
StagingOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder on each node for what is not uploaded yet, where the output is a URL. "
        "Default: staging in the node's cache."
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the source's data. Default: $B1K_ROOT, else data/b1k."),
]
AddressOption = Annotated[
    str | None, typer.Option(help="An existing Ray cluster. Default: an embedded local Ray.")
]
NumCpusOption = Annotated[
    int | None, typer.Option(min=1, help="Tasks at a time. Default: one a CPU.")
]
HangLimitOption = Annotated[
    float, typer.Option(min=1, help="Seconds without progress after which a task counts as dead.")
]
MemoryLimitOption = Annotated[
    int,
    typer.Option(
        min=256,
        help="MB of memory that a task asks a node for, and beyond which its process is ended.",
    ),
]
NodeWaitOption = Annotated[
    float,
    typer.Option(
        "--node-wait-s", min=0, help="Seconds to wait where no node of the cluster can take a task."
    ),
]
BackendPythonOption = Annotated[
    list[str] | None,
    typer.Option(help="Where a decoder lives: video_reader=/usr/bin/python3."),
]
MaxFailuresOption = Annotated[
    int, typer.Option(min=0, help="Exit with 0 while at most this many episodes are missing.")
]

WandbOption = Annotated[
    bool,
    typer.Option(
        "--wandb",
        help="Figures also as a run in wandb, by WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE; "
        "offline without a key.",
    ),
]


def starter(
    address: str | None,
    num_cpus: int | None,
    node_wait_s: float,
    note: Callable[[str], None],
    task_memory_mb: int = 0,
) -> "Callable[[], AbstractContextManager[Cluster]]":
    """Ray is started only when there is something to do."""

    def start() -> "AbstractContextManager[Cluster]":
        from predecode.cluster import RayCluster

        return RayCluster(
            address,
            num_cpus,
            task_memory_bytes=task_memory_mb * _MB,
            node_wait_s=node_wait_s,
            note=note,
        )

    return start


def isolated(hang_limit_s: float, memory_limit_mb: int) -> "Work":
    """Each task in a process of its own, under these limits."""
    from predecode.child import Limits
    from predecode.injection import check_variable
    from predecode.isolation import run_isolated

    check_variable()
    return partial(run_isolated, limits=Limits(hang_limit_s, memory_limit_mb * _MB))


def parse_ids(text: str) -> set[int]:
    """Returns the numbers of ``--episodes``.

    Raises:
        UserError: not ids with commas between them.
    """
    try:
        return {int(token) for token in text.split(",")}
    except ValueError:
        raise UserError(f"--episodes {text}: expected ids, such as 00490010,00490020.") from None


def checked_output(out: str, staging: Path | None) -> str:
    """A path or URL as messages show it, when no file stands in the way of the folders."""
    from predecode.config import check_folder
    from train_shards.remote_storage import is_url

    if staging is not None:
        check_folder("--staging", staging)
    if is_url(out):
        return out.rstrip("/")
    check_folder("--out", Path(out))
    return str(Path(out))


def show(found: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Prints what was found: as JSON, or its lines, which are made only then."""
    from train_shards.manifest import encode_json

    if as_json:
        print(encode_json(found).decode(), end="")
    else:
        for line in lines:
            print(line)


def say(text: str) -> None:
    """Prints to standard error."""
    print(text, file=sys.stderr)
