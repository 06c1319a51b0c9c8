"""``python -m predecode.task_process``: one job in a process of its own; see ``isolation``.

Reads a ``Request`` on standard input and answers as ``child`` says.
"""

import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

import msgspec
import pyarrow as pa

from predecode.child import die_with_parent
from predecode.errors import EpisodeFault, InfraError, UserError
from predecode.injection import arm
from predecode.lowdim_task import LowdimJob
from predecode.piece_costs import MeasureJob, MeasureReceipt
from predecode.pipeline import ShardJob
from predecode.receipts import LowdimReceipt, ShardReceipt
from predecode.sizing import SizeJob, SizeReceipt
from predecode.stages import Spent
from predecode.tasks import AnyJob, AnyReceipt, CheckJob, CheckReceipt, run_task, try_task

__all__ = ["Answer", "Request", "decode_receipt", "leave_out_pandas", "main"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is to do."""

    job: ShardJob | LowdimJob | CheckJob | SizeJob | MeasureJob
    is_trial: bool
    """Whether only to find out if it can be done; stores nothing then."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How it went."""

    receipt: msgspec.Raw = msgspec.Raw(b"null")
    """Of the job's kind; null of a trial or with an error."""
    spent: Spent = Spent()
    """Of a job that was done."""
    faults: list[EpisodeFault] = []
    """What a trial found."""
    infra_error: str | None = None
    user_error: str | None = None


def decode_receipt(job: AnyJob, receipt: msgspec.Raw) -> AnyReceipt:
    """Returns the receipt in an answer, of the kind that the job makes."""
    if isinstance(job, ShardJob):
        return msgspec.json.decode(receipt, type=ShardReceipt)
    if isinstance(job, LowdimJob):
        return msgspec.json.decode(receipt, type=LowdimReceipt)
    if isinstance(job, SizeJob):
        return msgspec.json.decode(receipt, type=SizeReceipt)
    if isinstance(job, MeasureJob):
        return msgspec.json.decode(receipt, type=MeasureReceipt)
    return msgspec.json.decode(receipt, type=CheckReceipt)


class _Hidden(MetaPathFinder):
    """Hides pandas while it stands in ``sys.meta_path``."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Tells whoever asks for pandas at once that it is not there."""
        if fullname == "pandas":
            raise ModuleNotFoundError("hidden", name=fullname)


def leave_out_pandas() -> None:
    """Has pyarrow find no pandas, for which it looks once, at its first array.

    No task needs it, and where it is installed each would pay half a second and 60 MB.
    """
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)


def main() -> None:
    """Does what standard input says; any bug ends the process with Python's own traceback."""
    die_with_parent(int(sys.argv[1]))
    leave_out_pandas()
    arm()
    request = msgspec.json.decode(Path("/dev/stdin").read_bytes(), type=Request)
    # What libraries print belongs to standard error: standard output is for messages.
    messages = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def report(num_images: int) -> None:
        os.write(messages, b"%d\n" % num_images)

    try:
        if request.is_trial and not isinstance(request.job, SizeJob | MeasureJob):
            answer = Answer(faults=try_task(request.job, report))
        else:
            receipt, spent = run_task(request.job, report)
            answer = Answer(receipt=msgspec.Raw(msgspec.json.encode(receipt)), spent=spent)
    except InfraError as error:
        answer = Answer(infra_error=str(error))
    except UserError as error:
        answer = Answer(user_error=str(error))
    with os.fdopen(messages, "wb") as file:
        file.write(msgspec.json.encode(answer) + b"\n")


if __name__ == "__main__":
    main()
