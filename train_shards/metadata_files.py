"""Metadata files of an output or a data set: read, decoded, listed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from train_shards.errors import DataError, UserError
from train_shards.remote_storage import is_url, open_storage
from train_shards.storage import Storage

__all__ = ["MetadataFiles"]

_T = TypeVar("_T")


class MetadataFiles:
    """Reads small files below a root; pickles without what is open."""

    def __init__(self, root: str | Path) -> None:
        """Takes a folder or a URL; opens nothing."""
        self.root = root
        self._storage: Storage | None = None
        self._process_id = -1

    def read(self, path: str) -> bytes | None:
        """Returns a file's bytes; None where it is not there.

        Raises:
            StorageError: a remote storage does not answer as it should.
        """
        if self._storage is None or self._process_id != os.getpid():  # one storage a process
            self._storage, self._process_id = open_storage(self.root), os.getpid()
        try:
            return self._storage.read_file(path)
        except FileNotFoundError:
            return None

    def decoded(self, path: str, kind: type[_T]) -> _T:
        """Returns a JSON file's content.

        Raises:
            DataError: it is not there, or not such a value.
        """
        data = self.read(path)
        if data is None:
            raise DataError(f"{self.root}/{path}: not there")
        return self._decoded(path, data, kind)

    def rows(self, path: str, kind: type[_T]) -> list[_T] | None:
        """Returns the rows of a file of JSON lines; None where it is not there.

        Raises:
            DataError: a line is not such a value.
        """
        data = self.read(path)
        if data is None:
            return None
        return [self._decoded(path, line, kind) for line in data.splitlines() if line.strip()]

    def names(self, folder: str, pattern: str) -> list[str]:
        """Returns the names of a folder's files that match, sorted.

        Raises:
            UserError: a URL, which cannot be listed.
        """
        if is_url(self.root):
            raise UserError(
                f"{self.root}/{folder}: events of orchestrators are found by listing their folder, "
                "which a URL does not allow. Copy the output to a folder, or use another "
                "fine_grained_level."
            )
        return sorted(path.name for path in (Path(self.root) / folder).glob(pattern))

    def paths(self, folder: str, pattern: str) -> list[str]:
        """Returns the files of a local root below a folder that match, relative to it, sorted."""
        root = Path(self.root)
        return sorted(p.relative_to(root).as_posix() for p in (root / folder).glob(pattern))

    def table(self, path: str, columns: Sequence[str]) -> list[dict[str, Any]] | None:
        """Returns columns of a parquet file's rows; None where it is not there.

        Raises:
            DataError: it is no such file, or has no such columns.
        """
        data = self.read(path)
        if data is None:
            return None
        try:
            with pq.ParquetFile(pa.BufferReader(data)) as file:
                missing = sorted(set(columns) - set(file.schema_arrow.names))
                if not missing:
                    rows: list[dict[str, Any]] = file.read(list(columns)).to_pylist()
                    return rows
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.root}/{path}: not a parquet file: {error}") from error
        raise DataError(f"{self.root}/{path}: no column {missing[0]!r}")

    def may_have(self, folder: str) -> bool:
        """Whether a folder is there; always true of a URL, whose files alone can tell."""
        return is_url(self.root) or (Path(self.root) / folder).is_dir()

    def _decoded(self, path: str, data: bytes, kind: type[_T]) -> _T:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{self.root}/{path}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        """Leaves open files behind."""
        return {**self.__dict__, "_storage": None, "_process_id": -1}
