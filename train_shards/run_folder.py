"""Where a training run keeps its checkpoints, and the step at which it goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from train_shards.errors import UserError

__all__ = ["RunFolder", "planned_steps"]

_BASES = ("checkpoints", "outputs/checkpoints")
"""Default ``checkpoint_base_dir``. Source: TrainConfig of openpi 15a9616; of openpi-comet."""


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, as far as it is known, and whether the run is asked to resume from it."""

    path: Path | None
    """None where neither the trainer's configuration nor the words of the script tell."""
    resume: bool

    @classmethod
    def of(cls, words: Sequence[str], *, config: Any = None, run_dir: str | None = None) -> Self:
        """Returns the folder of a run.

        Args:
            words: of the script: its configuration's name, ``--exp_name``, ``--resume``,
                ``--checkpoint_base_dir``.
            config: the trainer's own configuration; its ``checkpoint_dir`` and ``resume`` count
                before ``words``.
            run_dir: the folder, where the caller knows it better.

        Raises:
            UserError: the words fit several folders that hold something.
        """
        folder = run_dir or getattr(config, "checkpoint_dir", None)
        flags = [word for word in words if word in ("--resume", "--no-resume")]
        resume = getattr(config, "resume", flags[-1:] == ["--resume"])
        return cls(_from_words(words) if folder is None else Path(folder), bool(resume))

    def latest_step(self) -> int | None:
        """Returns the largest number that names a checkpoint's folder; None if there is none.

        Both PyTorch trainers write ``tmp_STEP`` and rename it, so that a folder whose name is
        digits only is complete, and they resume from the largest; ``STEP`` is the number of steps
        trained. Source: ``save_checkpoint`` and ``get_latest_checkpoint_step`` of their
        ``scripts/train_pytorch.py``.

        Raises:
            UserError: a checkpoint of openpi's JAX trainer, whose names count otherwise.
        """
        if self.path is None or not self.path.is_dir():
            return None
        steps = [
            int(entry.name)
            for entry in self.path.iterdir()
            if entry.name.isascii() and entry.name.isdigit() and entry.is_dir()
        ]
        if steps and (self.path / str(max(steps)) / "train_state").exists():
            raise UserError(
                f"{self.path}: checkpoint {max(steps)} is one of the JAX trainer (train_state), "
                "whose names are not numbers of trained steps; no exact resume from it."
            )
        return max(steps, default=None)

    def start_step(self, resume_step: int | None) -> int:
        """Returns how many steps the run has been trained for: 0 for a new run.

        Args:
            resume_step: as given by the user.

        Raises:
            UserError: the run is asked to resume and no checkpoint says where, or one says
                otherwise than ``resume_step``.
        """
        if not self.resume:
            return resume_step or 0
        latest = self.latest_step()
        if latest is None and resume_step is None:
            raise UserError(
                f"--resume: no checkpoint in {self.path or 'an unknown folder'}; expected a folder "
                "named after its step. Give run_dir= or resume_step=."
            )
        if latest is not None and resume_step not in (None, latest):
            raise UserError(
                f"resume_step={resume_step}: the trainer resumes from {self.path}/{latest}. "
                f"Leave resume_step= out, or move the later checkpoints away."
            )
        return resume_step or 0 if latest is None else latest


def planned_steps(words: Sequence[str], config: Any = None) -> int | None:
    """Returns how many steps a run is to have in all; None where nothing says so.

    Args:
        words: of the script: openpi's ``--num_train_steps``, LeRobot's ``--steps``.
        config: the trainer's own configuration; its ``num_train_steps`` counts before ``words``.
    """
    given = getattr(config, "num_train_steps", None)
    steps = str(given or _value(words, "num_train_steps") or _value(words, "steps"))
    return int(steps) if steps.isdecimal() else None


def _from_words(words: Sequence[str]) -> Path | None:
    """``BASE/CONFIG/EXP`` (openpi) or ``BASE/EXP`` (openpi-comet)."""
    experiment = _value(words, "exp_name")
    if experiment is None:
        return None
    base = _value(words, "checkpoint_base_dir")
    names = [experiment]
    if words and not words[0].startswith("-"):
        names.insert(0, f"{words[0]}/{experiment}")
    found = [Path(folder, name) for folder in ([base] if base else _BASES) for name in names]
    existing = [path for path in found if path.is_dir() and any(path.iterdir())]
    if len(existing) > 1:
        raise UserError(
            f"--exp_name {experiment}: expected one folder, got {', '.join(map(str, existing))}. "
            "Give run_dir=."
        )
    return (existing or found)[0]


def _value(words: Sequence[str], name: str) -> str | None:
    """The value of ``--name VALUE`` or ``--name=VALUE``; ``-`` and ``_`` are the same."""
    found = None
    for place, word in enumerate(words):
        key, has_value, value = word.partition("=")
        if key.startswith("--") and key[2:].replace("-", "_") == name:
            found = value if has_value else next(iter(words[place + 1 :]), None)
    return found
