"""Files: atomic publication on the writing half, checked reading on the other.

Owns the protocol "temporary name, fsync, rename, fsync of the folder".
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_file", "fsync_folder", "sha256_of_file", "write_atomic"]

_READ_BYTES = 1 << 20


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
