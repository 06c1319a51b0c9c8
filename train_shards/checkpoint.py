"""A run's folder and its checkpoints: whole or not there, found again by their step."""

import re
import shutil
from pathlib import Path
from typing import Any

import torch

from train_shards.errors import DataError, UserError
from train_shards.ranks import Ranks
from train_shards.storage import atomic_file, write_atomic

__all__ = ["load_newest_checkpoint", "open_run_folder", "save_checkpoint"]

_VERSION = 1
_NAME = re.compile(r"checkpoint-(\d{8,})\.pt")
_MARKER = "run.txt"
"""Written first: tells a run's folder from any other, which ``overwrite`` must not delete."""


def open_run_folder(folder: Path, ranks: Ranks, *, resume: bool, overwrite: bool) -> None:
    """Makes the folder of a new run, or checks that of one to resume; in all ranks alike.

    Raises:
        UserError: the run exists and neither ``resume`` nor ``overwrite`` was given; there is none
            to resume; or the folder to overwrite holds something else.
    """
    exists, is_run = folder.exists(), (folder / _MARKER).exists()
    if resume and not is_run:
        raise UserError(f"{folder}: no run to resume here. Check exp_name and checkpoint_dir.")
    if exists and not (resume or overwrite):
        raise UserError(
            f"{folder}: exists already. Give resume=true to go on, overwrite=true to delete it "
            "and begin anew, or another exp_name."
        )
    if exists and overwrite and not is_run:
        raise UserError(
            f"{folder}: no {_MARKER}, so not a run of this trainer; overwrite=true does not "
            "delete it. Choose another exp_name."
        )
    ranks.wait()  # all have looked before one changes anything
    if ranks.is_first:
        if overwrite and exists:
            shutil.rmtree(folder)
        if not resume:
            write_atomic(folder / _MARKER, b"A run of train_shards.train.\n", folder)
    ranks.wait()


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Writes a checkpoint: temporary name, fsync, rename.

    Args:
        folder: of the run.
        step: steps done.
        state: tensors and plain values, in dicts and lists.
    """
    path = folder / f"checkpoint-{step:08d}.pt"
    with atomic_file(path, folder / "tmp") as file:
        torch.save({"version": _VERSION, "step": step, **state}, file)
    return path


def load_newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Returns the state of the highest step, on the cpu, with ``step``; None if there is none.

    Raises:
        DataError: the file is damaged or of another version.
    """
    found = [
        (int(match[1]), path)
        for path in folder.glob("checkpoint-*.pt")
        if (match := _NAME.fullmatch(path.name))
    ]
    if not found:
        return None
    step, path = max(found)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read: {error}. Delete it to go on from the one before."
        ) from error
    if not isinstance(state, dict) or (state.get("version"), state.get("step")) != (_VERSION, step):
        raise DataError(f"{path}: expected step {step} of a run, format version {_VERSION}.")
    return state
