"""An output behind a URL: made in folders of the nodes, which is uploaded and then removed.

A task makes its files in a staging folder as it would in a folder output, and uploads them, the
receipt last. The driver holds plans, receipts and manifest in such a folder, brought anew each
time: what an earlier run has left on a node is never used.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import xxhash

from predecode.errors import InfraError, UserError, disk_errors_of
from predecode.lock import LOCK_PATH, myself
from predecode.lowdim_task import LowdimJob
from predecode.manifest import WIDS_KIND
from predecode.output import Job as OutputJob
from predecode.output import Receipt as OutputReceipt
from predecode.output import receipt_of
from predecode.pipeline import ShardJob
from predecode.places import LocalPlace, Place
from predecode.receipts import TEMPORARY_FOLDER, write_receipt
from predecode.remote_lock import RemoteLock
from predecode.tasks import AnyJob, Done, Work
from train_shards.errors import StorageError
from train_shards.format import MANIFEST_PATH, receipt_path
from train_shards.node_cache import Cache
from train_shards.remote_folder import RemoteFolder
from train_shards.remote_storage import is_url

__all__ = ["RemotePlace", "brought", "place_of", "readable", "storage_errors_as_infra"]

_STATE = ".predecode/"
_LEFT = (".predecode/ledger/", ".predecode/index/", LOCK_PATH)
"""Large, and needed one by one at most."""


@contextmanager
def place_of(out: str, staging: Path | None) -> Iterator[Place]:
    """Yields where ``out`` names; what it has on this node goes with the block.

    Raises:
        UserError: nothing can be written there.
    """
    if not is_url(out):
        if staging is not None:
            raise UserError(f"--staging {staging}: --out {out} is a folder. Leave it out.")
        yield LocalPlace(Path(out).resolve())
        return
    place = RemotePlace(out, staging or _staging())
    try:
        yield place
    finally:
        place.close()


@contextmanager
def storage_errors_as_infra() -> Iterator[None]:
    """Turns what a store refuses inside the block into an ``InfraError``."""
    try:
        yield
    except StorageError as error:
        raise InfraError(
            f"{error} Nothing half done stands there; the same command goes on."
        ) from error


@contextmanager
def readable(out: str) -> Iterator[Place]:
    """Yields an output that nobody writes here; of a URL ``folder`` goes with the block.

    Raises:
        UserError: it cannot be reached.
        InfraError: its store does not answer as it should.
    """
    if not is_url(out):
        yield LocalPlace(Path(out).resolve())
        return
    with tempfile.TemporaryDirectory() as folder:
        place = RemotePlace(out, Path(folder))
        with storage_errors_as_infra():
            place.bring()
        yield place


@contextmanager
def brought(out: str, paths: Sequence[str]) -> Iterator[Path]:
    """Yields a folder with these files of an output, as far as they are there.

    Of a URL it lies in the node's cache and goes with the block.

    Raises:
        InfraError: the store does not answer as it should.
    """
    if not is_url(out):
        yield Path(out)
        return
    staging = _staging()
    staging.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=staging, prefix="verify-") as folder:
        with storage_errors_as_infra():
            files = RemoteFolder(out)
            for path in paths:
                with suppress(FileNotFoundError):
                    files.fetch(path, Path(folder, path))
        yield Path(folder)


class RemotePlace:
    """A URL of an object store; see ``Place``."""

    def __init__(self, url: str, staging: Path) -> None:
        """Asks nothing of the network yet.

        Args:
            url: of the output.
            staging: a folder that every node has, or makes, for what is not uploaded yet.

        Raises:
            UserError: nothing can be written there.
        """
        self._files = RemoteFolder(url)
        self.name = self._files.url
        # Whose a folder is shows in its name: what dead processes have left can be told.
        token = xxhash.xxh3_64_hexdigest(myself())
        self._staging = staging / xxhash.xxh3_64_hexdigest(self.name.encode()) / token
        self.folder = self._staging / "output"
        self._sizes: dict[str, int] | None = None
        self._there: dict[str, str] = {}
        """Digests of files in ``folder`` that stand in the output."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """See ``Place``."""
        with disk_errors_of(self.name), storage_errors_as_infra():
            self._files.check()
            with RemoteLock(self._files):
                self._files.abort_uploads()
                _remove_others(self._staging)
                self.bring()
                yield

    def bring(self) -> None:
        """Has plans, receipts, manifest and lists of the output in ``folder``.

        Raises:
            UserError: the store cannot be reached.
            StorageError: it does not answer as it should.
        """
        self._sizes = self._files.check()
        wanted = [p for p in self._sizes if p.startswith(_STATE) and not p.startswith(_LEFT)]
        self.folder.mkdir(parents=True, exist_ok=True)
        for path, data in self._files.read_all(wanted).items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            self._there[path] = _digest(target)

    def refuse_strangers(self) -> None:
        """See ``Place``."""
        with storage_errors_as_infra():
            names = self._files.check()
        stray = sorted({name.split("/")[0] for name in names} - {".predecode"})
        if stray and not any(name.startswith(".predecode/plan-") for name in names):
            raise UserError(
                f"--out {self.name}: not empty and not an output of predecode "
                f"({', '.join(stray[:3])}). Choose another prefix."
            )

    def wipe(self) -> None:
        """See ``standing_output.wipe``."""
        names = self._files.sizes()
        if MANIFEST_PATH in names:
            self._files.remove([MANIFEST_PATH])
        state = [n for n in names if n.startswith(_STATE) and not n.startswith(LOCK_PATH)]
        if not state:
            return
        tops = [name for name in names if "/" not in name and name.endswith(".json")]
        wids = [n for n, data in self._files.read_all(tops).items() if WIDS_KIND.encode() in data]
        made = [n for n in names if n.startswith(("data/", "lowdim/", "meta/")) or n == "README.md"]
        # Plans last: as long as one is there, what is left can be told from strangers.
        self._files.remove([*wids, *made])
        self._files.remove([n for n in state if n != MANIFEST_PATH])
        shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        self._sizes, self._there = None, {}

    def size_of(self, path: str) -> int | None:
        """See ``Place``. Cost: a listing after each change, none otherwise."""
        return self._listing().get(path)

    def read(self, path: str) -> bytes:
        """See ``Place``."""
        return self._files.read(path)

    def names(self) -> Iterable[str]:
        """See ``Place``."""
        return self._listing()

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """See ``Place``."""
        with brought(self.name, [path]) as folder:
            yield folder / path

    def work(self, work: Work) -> Work:
        """See ``Place``."""
        return partial(_work_there, work=work, url=self.name, staging=self._staging)

    def take(self, job: OutputJob, receipt: OutputReceipt) -> None:
        """See ``Place``."""
        write_receipt(self.folder, job.name, receipt)
        path = receipt_path(job.name)
        self._there[path] = _digest(self.folder / path)
        self._sizes = None

    def push(self) -> None:
        """See ``Place``."""
        digests = {path: _digest(file) for path, file in _files_of(self.folder).items()}
        new = {p: self.folder / p for p, d in digests.items() if self._there.get(p) != d}
        manifest = new.pop(MANIFEST_PATH, None)
        self._files.put(new)
        if manifest is not None:
            self._files.put({MANIFEST_PATH: manifest})
        self._there = digests
        self._sizes = None

    def _listing(self) -> dict[str, int]:
        if self._sizes is None:
            self._sizes = self._files.sizes()
        return self._sizes

    def close(self) -> None:
        """Removes what this process has on this node."""
        shutil.rmtree(self._staging, ignore_errors=True)
        with suppress(OSError):  # another run's, or never made
            self._staging.parent.rmdir()


def _work_there(
    job: AnyJob, report: Callable[[int], None], *, work: Work, url: str, staging: Path
) -> Done:
    """Does a job in a folder of this node, uploads what it made, the receipt last.

    Raises:
        InfraError: as ``work``, or the store does not answer as it should; what was made stays on
            the node, so that another attempt there only uploads.
    """
    if not isinstance(job, ShardJob | LowdimJob):
        return work(job, report)
    _remove_others(staging)
    folder = staging / "tasks" / job.name
    receipt = receipt_of(folder, job)
    if receipt is not None:
        done = Done(receipt)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        done = work(msgspec.structs.replace(job, out=str(folder)), report)
    made = _files_of(folder)
    last = {receipt_path(job.name): made.pop(receipt_path(job.name))}
    with storage_errors_as_infra():
        files = RemoteFolder(url)
        files.put(made)
        files.put(last)
    shutil.rmtree(folder, ignore_errors=True)
    return done


def _staging() -> Path:
    return Cache().folder.expanduser() / "staging"


def _files_of(folder: Path) -> dict[str, Path]:
    """Path relative to the folder -> each file of it that is no temporary one."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {path: p for path, p in found.items() if not path.startswith(f"{TEMPORARY_FOLDER}/")}


def _digest(file: Path) -> str:
    digest = xxhash.xxh3_128()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _remove_others(staging: Path) -> None:
    """Removes what other runs have left on this node: whoever holds the output is alone."""
    for path in staging.parent.iterdir() if staging.parent.is_dir() else ():
        if path != staging:
            shutil.rmtree(path, ignore_errors=True)
