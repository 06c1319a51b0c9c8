"""The files below a URL on an object store: listed, brought, put, removed.

An object appears whole or not at all: one request, or a multipart upload that is completed. What
is tried again, and how often, is ``remote_storage.tried``'s; the door of fsspec is there.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from train_shards.errors import StorageError, UserError
from train_shards.remote_storage import connect, tried

__all__ = ["RemoteFolder"]

_T = TypeVar("_T")
_PROTOCOLS = ("s3://", "s3a://")
"""Stores whose objects appear whole and that can put one only where none is."""
_PART_BYTES = 16 << 20
_PARTS_AT_A_TIME = 4
"""With ``_PART_BYTES`` what one upload holds in memory."""
_UPLOADS_AT_A_TIME = 8
_FILES_AT_A_TIME = 64
"""Of one request, or of small files that are asked for at the same time."""
_NO_KEYS = ("NoCredentialsError", "PartialCredentialsError")
"""Source: botocore.exceptions."""


class RemoteFolder:
    """Everything below one URL; paths are relative to it."""

    def __init__(self, url: str) -> None:
        """Asks nothing of the network yet.

        Raises:
            UserError: no such protocol, a package for it is missing, or nothing can be written
                there in the way that an output needs.
        """
        self.url = url.rstrip("/")
        if not self.url.startswith(_PROTOCOLS):
            raise UserError(
                f"--out {url}: expected a folder or a URL that begins with "
                f"{' or '.join(_PROTOCOLS)}. Other storages can be read, not written."
            )
        self._process = -1
        self._connected: tuple[Any, str] = self._connect()

    def check(self) -> dict[str, int]:
        """Returns ``sizes()`` once it is sure that the store can be reached at all.

        Raises:
            UserError: no such bucket, no keys, or keys that may not list it.
            StorageError: the store does not answer as it should.
        """
        try:
            return self.sizes()
        except FileNotFoundError as error:
            raise UserError(f"--out {self.url}: {error}. Make the bucket, or name another.") from (
                error
            )
        except StorageError as error:
            cause = error.__cause__
            if isinstance(cause, PermissionError) or type(cause).__name__ in _NO_KEYS:
                raise UserError(
                    f"--out {self.url}: {cause}. Give keys that may list, read and write there, "
                    "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
                ) from error
            raise

    def sizes(self) -> dict[str, int]:
        """Returns the bytes of every file; nothing where none is.

        Raises:
            FileNotFoundError: no such bucket.
            StorageError: the store does not answer as it should.

        Cost: one request a thousand files.
        """

        def once() -> dict[str, int]:
            filesystem, root = self._here()
            filesystem.invalidate_cache()
            found = filesystem.find(root, detail=True)
            return {
                name.removeprefix(f"{root}/"): int(info["size"])
                for name, info in found.items()
                if name.startswith(f"{root}/") and not name.endswith("/")
            }

        return tried(self.url, once)

    def read(self, path: str) -> bytes:
        """Returns the whole of a small file.

        Raises:
            FileNotFoundError: it is not there.
            StorageError: the store does not answer as it should.
        """
        return tried(self._named(path), lambda: bytes(self._here()[0].cat_file(self._at(path))))

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Returns small files, many at the same time; errors as ``read``."""
        found: dict[str, bytes] = {}
        for some in _batches(paths):
            at = {self._at(path): path for path in some}
            data = tried(self.url, lambda at=at: self._here()[0].cat(list(at)))  # type: ignore[misc]
            found |= {path: bytes(data[name]) for name, path in at.items()}
        return found

    def fetch(self, path: str, target: Path) -> None:
        """Writes a file of any size to ``target``; errors as ``read``."""
        target.parent.mkdir(parents=True, exist_ok=True)
        tried(self._named(path), lambda: self._here()[0].get_file(self._at(path), str(target)))

    def put(self, files: Mapping[str, Path]) -> None:
        """Uploads files by their paths here, many at the same time, and looks at their sizes after.

        Raises:
            StorageError: the store does not answer as it should, or has another size than was
                sent. Of each file nothing or all is there then.
        """
        with ThreadPoolExecutor(_UPLOADS_AT_A_TIME) as pool:
            begun = [pool.submit(self._put, path, files[path]) for path in sorted(files)]
            for upload in begun:
                upload.result()

    def create(self, path: str, data: bytes) -> bool:
        """Puts a small file where none is; returns whether this did.

        Raises:
            StorageError: the store does not answer as it should.
        """

        def once() -> bool:
            try:
                self._here()[0].pipe_file(self._at(path), data, mode="create")
            except FileExistsError:
                return False
            return True

        return tried(self._named(path), once)

    def remove(self, paths: Sequence[str]) -> None:
        """Removes files, in no order; passes where one is gone already.

        Raises:
            StorageError: the store does not answer as it should, or has kept one.
        """
        for some in _batches(paths):
            tried(self._named(some[0]), lambda some=some: self._remove_once(some))  # type: ignore[misc]

    def abort_uploads(self) -> None:
        """Ends uploads that killed processes have begun here: their parts cost room unseen.

        Only for whoever writes here alone.
        """

        def once() -> None:
            filesystem, root = self._here()
            bucket, _, prefix = root.partition("/")
            where = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
            begun = filesystem.call_s3("list_multipart_uploads", **where).get("Uploads", ())
            for upload in begun:
                filesystem.call_s3(
                    "abort_multipart_upload",
                    Bucket=bucket,
                    Key=upload["Key"],
                    UploadId=upload["UploadId"],
                )

        tried(self.url, once)

    def _remove_once(self, paths: Sequence[str]) -> None:
        filesystem, root = self._here()
        bucket, _, prefix = root.partition("/")
        keys = [{"Key": f"{prefix}/{path}" if prefix else path} for path in paths]
        answer = filesystem.call_s3(
            "delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True}
        )
        for kept in answer.get("Errors", ()):
            raise OSError(f"{kept['Key']}: not removed: {kept.get('Message')}")

    def _put(self, path: str, source: Path) -> None:
        def once() -> None:
            filesystem, _ = self._here()
            filesystem.put_file(
                str(source),
                self._at(path),
                chunksize=_PART_BYTES,
                max_concurrency=_PARTS_AT_A_TIME,
            )
            got, sent = filesystem.info(self._at(path))["size"], source.stat().st_size
            if got != sent:
                raise OSError(f"{got} bytes arrived, {sent} were sent")

        tried(self._named(path), once)

    def _here(self) -> tuple[Any, str]:
        """Fsspec's object and the root's name; new ones after a fork."""
        if self._process != os.getpid():
            self._connected = self._connect()
        return self._connected

    def _connect(self) -> tuple[Any, str]:
        self._process = os.getpid()
        return connect(self.url)

    def _at(self, path: str) -> str:
        return f"{self._connected[1]}/{path}"

    def _named(self, path: str) -> str:
        return f"{self.url}/{path}"


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    left = iter(items)
    while batch := list(islice(left, _FILES_AT_A_TIME)):
        yield batch
