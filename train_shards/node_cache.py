"""The node-local cache: whole files of a remote output, by content, shared by all processes.

Names are digests of the content, so that outputs and generations share and never disagree. A file
is downloaded by one process while the others wait; it stands under its name only when it is whole
and checked. Locks are ``flock`` locks, which end with their process: what a killed download left
is recognised by having no holder.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import xxhash

from train_shards.errors import UserError

__all__ = ["Cache", "NoRoomError", "NodeCache"]

_LOG = logging.getLogger(__name__)
_NUM_LOCKS = 1024
"""Lock files for downloads; two files that share one wait for each other, nothing worse."""
_GIB = 1 << 30


class Cache(NamedTuple):
    """Where a node keeps copies of remote files, and how many bytes of them."""

    folder: Path = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "predecode"
    """On a local disk; ``~`` is expanded. Source of the default: XDG Base Directory."""
    max_bytes: int = 100 * _GIB


class NoRoomError(Exception):
    """A file does not fit beside the files that are in use. ``args`` is ``(message,)``."""


class NodeCache:
    """Least recently used files go first; those that a process holds stay."""

    def __init__(self, cache: Cache) -> None:
        """Makes nothing yet."""
        self.folder, self.max_bytes = cache.folder.expanduser(), cache.max_bytes
        self._files, self._unfinished = self.folder / "files", self.folder / "unfinished"
        self._locks = self.folder / "locks"

    def hold(self, name: str, num_bytes: int, fill: Callable[[Path], None]) -> int:
        """Returns an open descriptor of the file ``name``; while it is open the file stays.

        Args:
            name: a digest of the content; a file name.
            num_bytes: of the file.
            fill: downloads to a path and checks what came; called at most once a node, however
                many processes ask at the same time.

        Raises:
            NoRoomError: it does not fit beside the files in use.
            UserError: the cache's folder cannot be made.
            OSError: a full or broken local disk.
            Whatever ``fill`` raises; nothing is stored then.
        """
        path = self._files / name
        while True:
            descriptor = _open_and_hold(path)
            if descriptor is not None:
                return descriptor
            self._make_folders()
            lock = f"{xxhash.xxh3_64_intdigest(name.encode()) % _NUM_LOCKS:04d}"
            with _locked(self._locks / lock):
                if not path.exists():  # somebody was faster
                    self._download(path, num_bytes, fill)

    def path(self, name: str) -> Path:
        """Returns where ``name`` lies; sure to exist only while it is held."""
        return self._files / name

    def _make_folders(self) -> None:
        try:
            for folder in (self._files, self._unfinished, self._locks):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.folder}: the node's cache cannot be made: {error}. Give another folder: "
                "cache=Cache(folder, max_bytes)."
            ) from error

    def _download(self, path: Path, num_bytes: int, fill: Callable[[Path], None]) -> None:
        # The size stands in the name: it counts from now on, before the bytes are there.
        unfinished = self._unfinished / f"{path.name}.{os.getpid()}.{num_bytes}"
        with _locked(self._locks / "room"):
            self._make_room(num_bytes)
            descriptor = os.open(unfinished, os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            fill(unfinished)
            os.fsync(descriptor)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
            os.close(descriptor)

    def _make_room(self, num_bytes: int) -> None:
        """Removes what was used longest ago until ``num_bytes`` fit."""
        used = 0
        for unfinished in self._unfinished.iterdir():
            if not _remove_unless_held(unfinished):
                used += int(unfinished.name.rpartition(".")[2])
        files = sorted((_mtime_ns_and_size(path), path) for path in self._files.iterdir())
        used += sum(size for (_, size), _ in files)
        for (_, size), path in files:
            if used + num_bytes <= self.max_bytes:
                return
            if _remove_unless_held(path):
                used -= size
                _LOG.info("cache %s: %s removed, %d bytes", self.folder, path.name, size)
        if used + num_bytes > self.max_bytes:
            raise NoRoomError(
                f"{self.folder}: {num_bytes} bytes do not fit beside {used} in use; the cache's "
                f"bound is {self.max_bytes}. Give it more: cache=Cache(folder, max_bytes)."
            )


def _open_and_hold(path: Path) -> int | None:
    """A descriptor with a shared lock on a file that is still there; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):  # the latter: making the folder will say so
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if os.fstat(descriptor).st_nlink == 0:  # removed between the two calls
        os.close(descriptor)
        return None
    os.utime(descriptor)  # used now
    return descriptor


def _remove_unless_held(path: Path) -> bool:
    """Whether a file is gone: nobody held it, and now it is removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _mtime_ns_and_size(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
