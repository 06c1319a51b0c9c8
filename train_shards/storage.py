"""Files: atomic publication on the writing half, reading by place on the other.

Owns the protocol "temporary name, fsync, rename, fsync of the folder", and what a reader wants of
a storage; the remote one stands in ``remote_storage.py``.
"""

import hashlib
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np

from train_shards.errors import DataError

__all__ = [
    "ByteRange",
    "LocalStorage",
    "OpenFiles",
    "Storage",
    "StoredFile",
    "atomic_file",
    "fsync_folder",
    "read_range",
    "sha256_of_file",
    "write_atomic",
]

_READ_BYTES = 1 << 20
_OPEN_SHARDS = 128


@contextmanager
def atomic_file(path: Path, temporary_folder: Path) -> Iterator[BinaryIO]:
    """Yields a binary file that stands at ``path`` only when the block ends without an error.

    The temporary file lies in ``temporary_folder`` (same file system), so that a reader that lists
    the final folder never meets it. A crash leaves at most a temporary file, never a part of one
    under the final name.

    Raises:
        OSError: disk full, read-only, vanished; nothing stands at ``path`` then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary_folder.mkdir(parents=True, exist_ok=True)
    # Host and process make the name unique among tasks on other nodes of a shared disk.
    temporary = temporary_folder / f"{path.name}.{os.uname().nodename}.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def write_atomic(path: Path, data: bytes, temporary_folder: Path) -> None:
    """Writes ``data`` to ``path``, all or nothing."""
    with atomic_file(path, temporary_folder) as file:
        file.write(data)


def fsync_folder(folder: Path) -> None:
    """Makes renames inside ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of_file(path: Path) -> str:
    """Returns the SHA-256 of a file as hex. Cost: reads the file once."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


class StoredFile(NamedTuple):
    """A file of an output, as its manifest describes it."""

    path: str
    """Relative to the output."""
    num_bytes: int
    digest: str
    """Names the content: the cache's name for it."""
    check: Callable[[Path], None]
    """Raises DataError if a file is not this one; reads it once."""


class ByteRange(NamedTuple):
    """Bytes ``[start, stop)`` of a shard."""

    shard: StoredFile
    start: int
    stop: int


class Storage(Protocol):
    """Where an output lies. Fork and threads: one object a process, one thread at a time.

    ``prefetch`` alone may run in other threads, ``num_prefetches`` of them.
    """

    gap_bytes: int
    """Unwanted bytes that are read along rather than split a read: cheaper than another one."""
    most_bytes: int
    """Longest range that is best read at once."""
    num_ranges: int
    """How many ranges are best asked for at once."""
    num_prefetches: int
    """How many of them at a time make best use of it."""

    def read_file(self, path: str) -> bytes:
        """Returns the whole of a small file; FileNotFoundError if it is not there."""

    def local_file(self, file: StoredFile) -> Path:
        """Returns a local path of a file that is read often: an index or a table."""

    def read_ranges(
        self, ranges: Sequence[ByteRange], take: Callable[[int, memoryview], None]
    ) -> None:
        """Reads each range and hands it over.

        Args:
            ranges: sorted.
            take: given the number of a range and its bytes, writable where nobody else has them;
                raises DataError if they are too few or wrong. Once it has taken a range it is not
                given it again.

        Raises:
            DataError: a shard is gone, or what ``take`` raised.
        """

    def prefetch(self, span: ByteRange) -> None:
        """Has the bytes at hand when they are asked for a little later; may wait for them."""

    def close(self) -> None:
        """Closes every file."""


class LocalStorage:
    """An output in a folder; keeps a bounded number of shards open."""

    gap_bytes = 1 << 16
    # What is read is used at once: its memory is then still in the processor's cache, and is used
    # again for the next (64 samples of 70 kB read before the first was decoded: 38 us, now 13).
    most_bytes, num_ranges = 1 << 18, 1
    num_prefetches = 1  # two would have a disk's head go to and fro

    def __init__(self, root: Path) -> None:
        """Opens nothing yet."""
        self._root = root
        self._shards = OpenFiles(_OPEN_SHARDS)

    def read_file(self, path: str) -> bytes:
        """See ``Storage``."""
        return (self._root / path).read_bytes()

    def local_file(self, file: StoredFile) -> Path:
        """Returns where the file is."""
        return self._root / file.path

    def read_ranges(
        self, ranges: Sequence[ByteRange], take: Callable[[int, memoryview], None]
    ) -> None:
        """See ``Storage``. Cost: one read each, and no copy."""
        for number, (shard, start, stop) in enumerate(ranges):
            descriptor = self._shards.descriptor(shard.path, partial(self._open, shard.path))
            take(number, read_range(descriptor, start, stop))

    def prefetch(self, span: ByteRange) -> None:
        """Has the kernel read ahead: one sequential read of the disk."""
        try:
            descriptor = os.open(self._root / span.shard.path, os.O_RDONLY)
        except FileNotFoundError:
            return  # reading it will say so
        try:
            os.posix_fadvise(descriptor, span.start, span.stop - span.start, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Closes every shard."""
        self._shards.close()

    def _open(self, path: str) -> int:
        try:
            return os.open(self._root / path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise DataError(f"{self._root / path}: a shard of the manifest is gone.") from error


class OpenFiles:
    """Descriptors that stay open, a bounded number; the one used longest ago is closed first."""

    def __init__(self, most: int) -> None:
        """Opens nothing yet."""
        self._most = most
        self._open: OrderedDict[str, int] = OrderedDict()
        # Also when the object is dropped.
        weakref.finalize(self, _close_all, self._open)

    def descriptor(self, name: str, open_file: Callable[[], int]) -> int:
        """Returns the descriptor of ``name``, from ``open_file`` where it is not open."""
        descriptor = self._open.get(name)
        if descriptor is None:
            if len(self._open) >= self._most:  # before the new one is opened, and wants room
                os.close(self._open.popitem(last=False)[1])
            self._open[name] = descriptor = open_file()
        else:
            self._open.move_to_end(name)
        return descriptor

    def close(self) -> None:
        """Closes every file."""
        _close_all(self._open)


def read_range(descriptor: int, start: int, stop: int) -> memoryview:
    """Returns the bytes ``[start, stop)`` of an open file, fewer where it ends before."""
    buffer = np.empty(stop - start, np.uint8).data  # not filled with zeros first
    return buffer[: os.preadv(descriptor, [buffer], start)]


def _close_all(descriptors: "OrderedDict[str, int]") -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
    descriptors.clear()
