"""Where tasks run and how, by the options that several calls take."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from predecode.api.option import AnyPath
from predecode.child import Limits
from predecode.cluster import Cluster, RayCluster
from predecode.config import check_folder
from predecode.errors import UserError
from predecode.injection import check_variable
from predecode.isolation import run_isolated
from predecode.tasks import Work
from train_shards.remote_storage import is_url

__all__ = ["checked_output", "isolated", "optional_path", "parse_ids", "starter"]

_MB = 1_000_000


def starter(
    address: str | None,
    num_cpus: int | None,
    node_wait_s: float,
    note: Callable[[str], None],
    task_memory_mb: int = 0,
) -> Callable[[], AbstractContextManager[Cluster]]:
    """Ray is started only when there is something to do."""
    return partial(
        RayCluster,
        address,
        num_cpus,
        task_memory_bytes=task_memory_mb * _MB,
        node_wait_s=node_wait_s,
        note=note,
    )


def isolated(hang_limit_s: float, memory_limit_mb: int) -> Work:
    """Each task in a process of its own, under these limits."""
    check_variable()
    return partial(run_isolated, limits=Limits(hang_limit_s, memory_limit_mb * _MB))


def parse_ids(given: str) -> set[int]:
    """Returns the numbers of ``--episodes``.

    Raises:
        UserError: not ids with commas between them.
    """
    try:
        return {int(token) for token in given.split(",")}
    except ValueError:
        raise UserError(f"--episodes {given}: expected ids, such as 00490010,00490020.") from None


def optional_path(path: AnyPath | None) -> Path | None:
    """Returns a path where one is given."""
    return None if path is None else Path(path)


def checked_output(out: AnyPath, staging: AnyPath | None) -> str:
    """A path or URL as messages show it, when no file stands in the way of the folders.

    Raises:
        UserError: one does.
    """
    if staging is not None:
        check_folder("--staging", Path(staging))
    if isinstance(out, str) and is_url(out):
        return out.rstrip("/")
    check_folder("--out", Path(out))
    return str(Path(out))
