"""Where an output stands, and what the job does there; here a folder, ``remote_place`` a URL."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from predecode.errors import disk_errors_of
from predecode.lock import OutputLock
from predecode.output import Job as OutputJob
from predecode.output import Receipt as OutputReceipt
from predecode.standing_output import refuse_strangers, wipe
from predecode.tasks import Work
from train_shards.format import plan_path

__all__ = ["LocalPlace", "Place", "at"]


class Place(Protocol):
    """An output as the job sees it. Its plans, receipts and manifest lie in a folder anyway."""

    @property
    def name(self) -> str:
        """What the operator calls it: a path or a URL."""

    @property
    def folder(self) -> Path:
        """Holds plans, receipts and manifest while it is held; what is new is written there."""

    def held(self) -> AbstractContextManager[None]:
        """Holds the output alone for the time of a ``with`` block.

        Raises:
            UserError: another process does.
            InfraError: of the block, what disk or store refuses.
        """

    def refuse_strangers(self) -> None:
        """Passes when a plan stands there, or nothing but what a run leaves first.

        Raises:
            UserError: something else does.
        """

    def wipe(self) -> None:
        """Removes an earlier output."""

    def size_of(self, path: str) -> int | None:
        """Returns the bytes of a file of the output; None where it is not there."""

    def read(self, path: str) -> bytes:
        """Returns a small file of the output."""

    def names(self) -> Iterable[str]:
        """Returns the path of every file of the output that may be a shard."""

    def local(self, path: str) -> AbstractContextManager[Path]:
        """Has a file of the output on this node for the time of a ``with`` block.

        Where it is not there nothing stands at the path that is given.
        """

    def work(self, work: Work) -> Work:
        """Returns what does a job and leaves what it made in the output, from any node."""

    def take(self, job: OutputJob, receipt: OutputReceipt) -> None:
        """Has the receipt of a finished task in ``folder``."""

    def push(self) -> None:
        """Has what is new in ``folder`` stand in the output, the manifest last."""


class LocalPlace:
    """A folder that every node sees; see ``Place``."""

    def __init__(self, out: Path) -> None:
        """Makes nothing yet."""
        self.name, self.folder = str(out), out

    @contextmanager
    def held(self) -> Iterator[None]:
        """See ``Place``."""
        with disk_errors_of(self.name), OutputLock(self.folder):
            yield

    def refuse_strangers(self) -> None:
        """See ``Place``."""
        if not any((self.folder / plan_path(0)).parent.glob("plan-*.json")):
            refuse_strangers(self.folder)

    def wipe(self) -> None:
        """See ``Place``."""
        wipe(self.folder)

    def size_of(self, path: str) -> int | None:
        """See ``Place``."""
        file = self.folder / path
        return file.stat().st_size if file.is_file() else None

    def read(self, path: str) -> bytes:
        """See ``Place``."""
        return (self.folder / path).read_bytes()

    def names(self) -> Iterable[str]:
        """See ``Place``."""
        files = (path for path in (self.folder / "data").rglob("*") if path.is_file())
        return (path.relative_to(self.folder).as_posix() for path in files)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """Gives where it is; see ``Place``."""
        yield self.folder / path

    def work(self, work: Work) -> Work:
        """Returns ``work``: a task writes into the folder."""
        return work

    def take(self, job: OutputJob, receipt: OutputReceipt) -> None:
        """Does nothing: the task has written it."""

    def push(self) -> None:
        """Does nothing: it stands there."""


def at(out: Path | Place) -> Place:
    """Returns the place of an output, which a path names as well."""
    return LocalPlace(out) if isinstance(out, Path) else out
