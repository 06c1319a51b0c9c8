"""An output behind a URL: range reads and whole files through fsspec, with retries.

The only file that knows fsspec. Which keys, endpoints and time limits a protocol wants is told to
fsspec itself, by its configuration files or ``FSSPEC_<PROTOCOL>_<OPTION>`` variables. It takes a
tenth of a second to import, which outputs in folders need not wait for.
"""

import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from train_shards.errors import DataError, StorageError, UserError
from train_shards.node_cache import Cache, NodeCache, NoRoomError
from train_shards.storage import (
    ByteRange,
    LocalStorage,
    OpenFiles,
    Storage,
    StoredFile,
    read_range,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["RemoteStorage", "connect", "is_url", "open_storage", "tried"]

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_ATTEMPTS = 6
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 8.0
_OPEN_SHARDS = 16
"""Whole shards that a process holds open, so that the cache keeps them."""
_OPEN_FILES = 384
"""Indexes and tables that a process holds open."""
_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_LOCAL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE}


def is_url(out: str | Path) -> bool:
    """Whether an output is named by a URL.

    >>> is_url("s3://bucket/shards"), is_url("/data/shards")
    (True, False)
    """
    return "://" in str(out)


def open_storage(
    out: str | Path, cache: Cache | None = None, *, whole_shards: bool = False
) -> Storage:
    """Returns the storage of an output.

    Args:
        out: a folder, or a URL that fsspec knows.
        cache: the node's cache for a URL; None for the default one.
        whole_shards: for a URL, read shards through the cache instead of by ranges.

    Raises:
        UserError: no such protocol, or a package for it is missing.
    """
    if is_url(out):
        return RemoteStorage(str(out), cache or Cache(), whole_shards=whole_shards)
    return LocalStorage(Path(out))


class RemoteStorage:
    """An output behind a URL; see ``Storage``.

    Indexes and tables come whole, through the node's cache. Shards are read by ranges, many at the
    same time, or whole through the cache.
    """

    gap_bytes = 1 << 18
    most_bytes, num_ranges = 1 << 24, sys.maxsize
    num_prefetches = 2  # while one is checked and brought to the disk, another uses the network

    def __init__(self, url: str, cache: Cache, *, whole_shards: bool) -> None:
        """Asks nothing of the network yet.

        Raises:
            UserError: no such protocol, or a package for it is missing.
        """
        self._url = url.rstrip("/")
        self._whole_shards = whole_shards
        self._process = os.getpid()
        self._fs, self._root = connect(self._url)
        self._cache = NodeCache(cache)
        self._files = OpenFiles(_OPEN_FILES)
        self._shards = OpenFiles(_OPEN_SHARDS)

    def read_file(self, path: str) -> bytes:
        """See ``Storage``.

        Raises:
            StorageError: the storage does not answer as it should.
        """
        return self._tried(path, lambda: bytes(self._filesystem().cat_file(self._at(path))))

    def local_file(self, file: StoredFile) -> Path:
        """Returns the file's path in the node's cache; it is held there.

        Raises:
            UserError: the cache is too small for it, or cannot be made.
            StorageError: the storage does not answer as it should.
            DataError: what comes is not the file that the manifest names.
        """
        try:
            self._files.descriptor(file.digest, partial(self._hold, file))
        except NoRoomError as error:
            raise UserError(
                f"{self._url}/{file.path}: indexes and low-dimensional tables are kept on the "
                f"node. {error.args[0]}"
            ) from error
        return self._cache.path(file.digest)

    def read_ranges(
        self, ranges: Sequence[ByteRange], take: Callable[[int, memoryview], None]
    ) -> None:
        """See ``Storage``. What fails or is wrong is asked for again, the rest is not.

        Raises:
            StorageError: the storage does not answer as it should.
        """
        left = dict(enumerate(ranges))
        if self._whole_shards:
            for number, wanted in enumerate(ranges):
                if self._took_from_cache(number, wanted, take):
                    del left[number]
        if left:
            first = next(iter(left.values()))
            try:
                self._tried(first.shard.path, lambda: self._read_left(left, take))
            except FileNotFoundError as error:
                raise self._gone(error.args[0]) from error

    def prefetch(self, span: ByteRange) -> None:
        """Downloads the whole shard where shards are read whole."""
        if self._whole_shards:
            with suppress(NoRoomError):  # read_ranges says so
                os.close(self._hold(span.shard))

    def close(self) -> None:
        """Lets go of every file."""
        self._files.close()
        self._shards.close()

    def _read_left(
        self, left: dict[int, ByteRange], take: Callable[[int, memoryview], None]
    ) -> None:
        """Empties ``left`` of what could be read; raises the first problem after trying all."""
        asked = list(left.items())
        answers = self._filesystem().cat_ranges(
            [self._at(wanted.shard.path) for _, wanted in asked],
            [wanted.start for _, wanted in asked],
            [wanted.stop for _, wanted in asked],
            on_error="return",
        )
        problem: Exception | None = None
        for (number, wanted), answer in zip(asked, answers, strict=True):
            if isinstance(answer, FileNotFoundError):
                raise FileNotFoundError(wanted.shard.path) from answer
            if isinstance(answer, Exception):
                problem = problem or answer
                continue
            try:
                take(number, memoryview(answer))
            except DataError as error:
                problem = problem or error
            else:
                del left[number]
        if problem is not None:
            raise problem

    def _took_from_cache(
        self, number: int, wanted: ByteRange, take: Callable[[int, memoryview], None]
    ) -> bool:
        """Whether a range was read from the cache; False if that cannot hold the shard now."""
        try:
            descriptor = self._shards.descriptor(
                wanted.shard.digest, partial(self._hold, wanted.shard)
            )
        except NoRoomError as error:
            _LOG.warning("%s is read by ranges: %s", wanted.shard.path, error.args[0])
            return False
        take(number, read_range(descriptor, wanted.start, wanted.stop))
        return True

    def _hold(self, file: StoredFile) -> int:
        """A descriptor of a whole file, which stays in the cache while that is open."""
        return self._cache.hold(file.digest, file.num_bytes, partial(self._download, file))

    def _download(self, file: StoredFile, path: Path) -> None:
        """Writes a whole file to ``path`` and checks it."""

        def once() -> None:
            self._filesystem().get_file(self._at(file.path), str(path))
            num_bytes = path.stat().st_size
            try:
                if num_bytes != file.num_bytes:
                    raise DataError(f"{num_bytes} bytes, expected {file.num_bytes}")
                file.check(path)
            except DataError as error:
                raise DataError(
                    f"{self._url}/{file.path}: what came is damaged: {error}"
                ) from error

        try:
            self._tried(file.path, once)
        except FileNotFoundError as error:
            raise self._gone(file.path) from error

    def _gone(self, path: str) -> DataError:
        return DataError(f"{self._url}/{path}: gone, but the manifest names it.")

    def _tried(self, path: str, once: Callable[[], _T]) -> _T:
        """As ``tried``, for a file of this output."""
        return tried(f"{self._url}/{path}", once)

    def _filesystem(self) -> Any:
        """Fsspec's object; a new one after a fork, whose event loop has no thread."""
        if self._process != os.getpid():
            self._fs, self._root = connect(self._url)
            self._process = os.getpid()
        return self._fs

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


def tried(what: str, once: Callable[[], _T]) -> _T:
    """Returns what ``once`` does, after several attempts where need be.

    Args:
        what: the URL that is asked for, for messages.
        once: one attempt.

    Raises:
        FileNotFoundError: there is no such file; asked once.
        DataError: what came was wrong each time.
        StorageError: every other fault of storage, network or local disk.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

    attempts = Retrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
        retry=retry_if_exception(_may_pass),
        before_sleep=lambda state: _log_retry(what, state),
        reraise=True,
    )
    try:
        return attempts(once)
    except FileNotFoundError:
        raise
    except _storage_errors() as error:
        raise StorageError(
            f"{what}: {type(error).__name__}: {error} (up to {_ATTEMPTS} attempts)."
            " Check network, endpoint, keys and the node's disk; what was done is not lost."
        ) from error


def connect(url: str) -> tuple[Any, str]:
    """Returns fsspec's object for a URL and the root's name in it.

    Raises:
        UserError: no such protocol, or a package for it is missing.
    """
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UserError(f"{url}: {error}. Install the package that serves such URLs.") from error
    return filesystem, str(root).rstrip("/")


def _storage_errors() -> tuple[type[Exception], ...]:
    """What a storage raises for faults of its own; libraries count only where they are loaded."""
    found: list[type[Exception]] = [OSError]
    for module, name in (
        ("http.client", "HTTPException"),
        ("aiohttp", "ClientError"),
        ("botocore.exceptions", "BotoCoreError"),
    ):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)


def _may_pass(error: BaseException) -> bool:
    """Whether another attempt may help."""
    if isinstance(error, _PERMANENT):
        return False
    if isinstance(error, OSError) and error.errno in _LOCAL_DISK:
        return False
    return isinstance(error, (DataError, *_storage_errors()))


def _log_retry(what: str, state: "RetryCallState") -> None:
    error = state.outcome.exception() if state.outcome else None
    _LOG.warning(
        "%s: attempt %d of %d: %s: %s",
        what, state.attempt_number, _ATTEMPTS, type(error).__name__, error,
    )  # fmt: skip
