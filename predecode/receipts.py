"""What one task made: written after its files, read on resume and for the manifest."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from predecode.errors import EpisodeFault
from train_shards.errors import DataError
from train_shards.format import check_relative_path, receipt_path
from train_shards.manifest import LowdimEntry, ShardEntry, encode_json
from train_shards.storage import write_atomic

__all__ = [
    "TEMPORARY_FOLDER",
    "LowdimReceipt",
    "ShardReceipt",
    "SizeOf",
    "read_receipt",
    "write_receipt",
]

TEMPORARY_FOLDER = ".predecode/tmp"

SizeOf = Callable[[str], int | None]
"""Path relative to the output -> bytes of the file that stands there; None where none does."""


class ShardReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """One shard as made; all fields are functions of the plan and the faults."""

    plan_digest: str
    entry: ShardEntry
    """What the manifest will say of it; no samples: all episodes were at fault, there is no tar."""
    faults: list[EpisodeFault]


class LowdimReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """One table file as made."""

    plan_digest: str
    entry: LowdimEntry
    """What the manifest will say of it; no episodes: all were at fault, there is no file."""
    faults: list[EpisodeFault]


Receipt = TypeVar("Receipt", bound="ShardReceipt | LowdimReceipt")


def write_receipt(out: Path, task_name: str, receipt: ShardReceipt | LowdimReceipt) -> None:
    """Writes a receipt, whole or not at all."""
    write_atomic(out / receipt_path(task_name), encode_json(receipt), out / TEMPORARY_FOLDER)


def read_receipt(
    out: Path,
    task_name: str,
    plan_digest: str,
    kind: type[Receipt],
    *,
    check_files: bool = True,
    size_of: SizeOf | None = None,
) -> Receipt | None:
    """Returns a task's receipt if it is of this plan and its file stands with its size.

    None means that the task is to be run (again): a receipt that cannot be trusted, or whose files
    would lie outside the output, is no receipt.
    Without ``check_files`` the file is not looked at. ``size_of`` tells of the output's files where
    they do not lie in ``out``.
    """
    try:
        receipt = msgspec.json.decode((out / receipt_path(task_name)).read_bytes(), type=kind)
        if receipt.plan_digest != plan_digest:
            return None
        entry = receipt.entry
        paths = [entry.path, *([entry.ledger] if isinstance(entry, ShardEntry) else [])]
        for path in paths:
            check_relative_path(path, what="path")
        if not check_files:
            return receipt
        size_of = size_of or partial(_size_here, out)
        if entry.num_bytes and size_of(entry.path) != entry.num_bytes:
            return None
        if isinstance(entry, ShardEntry) and size_of(entry.ledger) is None:
            return None
    except (
        FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, DataError
    ):  # fmt: skip
        return None
    return receipt


def _size_here(out: Path, path: str) -> int | None:
    file = out / path
    return file.stat().st_size if file.is_file() else None
