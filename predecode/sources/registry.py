"""Names of sources and where their data lie when nobody says."""

import os
from collections.abc import Callable
from pathlib import Path

from predecode.sources.b1k import open_b1k
from predecode.sources.episode import Source
from predecode.sources.lerobot import LerobotSource
from predecode.sources.videos import VideosSource
from train_shards.errors import UserError

__all__ = ["DEFAULT_ROOT", "SOURCES", "find_root", "open_source"]

SOURCES: dict[str, Callable[[Path], Source]] = {
    "b1k": open_b1k,
    "lerobot": LerobotSource,
    "videos": VideosSource,
}
DEFAULT_ROOT = Path("data/b1k")
_ROOT_VARIABLE = "B1K_ROOT"


def find_root(kind: str, root: Path | None) -> Path:
    """Returns the folder of the data: ``--root``, else ``$B1K_ROOT``, else ``data/b1k``.

    Raises:
        UserError: the first of these that is given does not exist, or none is given or exists.
    """
    if root is not None:
        if not root.is_dir():
            raise UserError(f"--root {root}: no such folder. Name the folder that holds the data.")
        return root
    if kind != "b1k":
        raise UserError(f"--src {kind}: needs --root, the folder of the data.")
    variable = os.environ.get(_ROOT_VARIABLE)
    candidate = Path(variable) if variable else DEFAULT_ROOT
    if candidate.is_dir():
        return candidate
    state = f"{variable}: no such folder" if variable else "not set"
    raise UserError(
        f"--src b1k: no data found. Looked at --root (not given), ${_ROOT_VARIABLE} ({state}) and "
        f"{DEFAULT_ROOT} ({'not looked at' if variable else 'no such folder'}). "
        f"For a small sample: predecode sample --out {DEFAULT_ROOT}"
    )


def open_source(kind: str, root: Path | None) -> Source:
    """Returns the data set ``kind`` under ``root``. Cost: reads its metadata, no episode.

    Raises:
        UserError: unknown kind, no data, or metadata that are not of this kind.
    """
    if kind not in SOURCES:
        raise UserError(f"--src {kind}: expected one of {', '.join(SOURCES)}.")
    return SOURCES[kind](find_root(kind, root))
