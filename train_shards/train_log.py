"""What a training run says: a log of each rank, stacks on request, samples, curves.

A rank's log takes warnings, uncaught errors of any thread, and the stacks of all threads on SIGUSR1
and on a crash in native code.
"""

import faulthandler
import json
import logging
import signal
import sys
import threading
import traceback
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from train_shards.wandb_run import start_wandb

__all__ = [
    "Curves",
    "SampleLog",
    "cut_sample_logs",
    "let_go",
    "log_path",
    "start_log",
    "start_worker_log",
]

_LOG = logging.getLogger(__name__)
_FORMAT = "%(asctime)s %(levelname)s pid %(process)d %(message)s"
_WORKER_GRACE_S = 60
"""How long a DataLoader worker outlives SIGTERM."""

_stacks: list[IO[str]] = []
"""Files that faulthandler writes to: they must not be closed."""


def log_path(folder: Path, rank: int) -> Path:
    """Returns where a rank's log lies."""
    return folder / f"train.rank{rank}.log"


def start_log(path: Path) -> None:
    """Sends this process's log, errors and stacks to ``path``, after what stands there."""
    _log_to(path)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )


def start_worker_log(path: Path, worker: int) -> None:  # noqa: ARG001
    """The same in a DataLoader's worker, which reports its errors through the loader.

    A scheduler sends SIGTERM to all processes of a job. A worker then goes on until its rank has
    finished the step and saved; it ends with it, or after a minute.
    """
    _log_to(path)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_WORKER_GRACE_S))


def _log_to(path: Path) -> None:
    logging.basicConfig(filename=path, format=_FORMAT, level=logging.INFO, force=True)
    logging.captureWarnings(capture=True)
    file = path.open("a")
    _stacks.append(file)
    faulthandler.enable(file)
    faulthandler.register(signal.SIGUSR1, file)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    _LOG.critical("uncaught error", exc_info=(kind, error, where))
    sys.__excepthook__(kind, error, where)
    let_go(error)


def let_go(error: BaseException) -> None:
    """Frees what the frames of an error hold: the loader, whose workers end with it.

    Interpreter exit would ask them with SIGTERM, and wait until they heed it.
    """
    traceback.clear_frames(error.__traceback__)


class SampleLog:
    """Which samples a rank was trained on, a JSON line a step: ``samples.rank<N>.jsonl``."""

    def __init__(self, folder: Path, rank: int) -> None:
        """Opens the file, after what stands there."""
        self._file = (folder / f"samples.rank{rank}.jsonl").open("a", buffering=1)

    def write(self, step: int, sample_indices: list[int]) -> None:
        """Adds a step."""
        self._file.write(json.dumps({"step": step, "sample_index": sample_indices}) + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def cut_sample_logs(folder: Path, step: int) -> None:
    """Drops what all ranks logged after ``step``: a resumed run trains on these samples again."""
    for path in folder.glob("samples.rank*.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        path.write_text("".join(line for line in whole if json.loads(line)["step"] <= step))


class Curves:
    """The run in wandb, or nothing: one object that the first rank talks to."""

    def __init__(self, folder: Path, config: Mapping[str, Any], *, is_enabled: bool) -> None:
        """Starts or goes on with the run that ``folder`` remembers.

        Args:
            folder: of the run; wandb's own files go there.
            config: shown with the run; has ``exp_name``.
            is_enabled: False does nothing at all.

        Raises:
            UserError: as ``start_wandb``.
        """
        self._run = None
        if not is_enabled:
            return
        path = folder / "wandb_id.txt"
        if not path.exists():
            path.write_text(uuid.uuid4().hex[:8])
        self._run = start_wandb(
            "wandb_enabled=true",
            "give wandb_enabled=false",
            name=config["exp_name"],
            id=path.read_text(),
            resume="allow",
            dir=str(folder),
            config=dict(config),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each curve."""
        if self._run is not None:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the run; what is not sent yet is sent."""
        if self._run is not None:
            self._run.finish()
