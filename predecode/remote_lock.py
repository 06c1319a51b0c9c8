"""One writer on one output of an object store: a lock object, put only where none is.

Nothing is renamed there, so a lock whose process is dead is removed under a second one, which is
named after what the first one says: whoever holds that alone may judge it.
"""

from typing import Self

import xxhash

from predecode.lock import LOCK_PATH, held_elsewhere, is_stale, myself
from train_shards.errors import UserError
from train_shards.remote_folder import RemoteFolder

__all__ = ["RemoteLock"]


class RemoteLock:
    """Holds an output for the time of a ``with`` block; see ``lock.OutputLock``."""

    def __init__(self, files: RemoteFolder, path: str = LOCK_PATH) -> None:
        """Takes nothing yet."""
        self._files, self._path = files, path

    def __enter__(self) -> Self:
        """Takes the lock.

        Raises:
            UserError: another process holds it, which the message names; or the store puts
                objects where it was told not to, so that nothing can be locked.
            StorageError: the store does not answer as it should.
        """
        mine = myself()
        while True:
            found = self._read()
            if found is None:
                # Where an answer was lost, the second attempt meets what the first has put.
                if not self._files.create(self._path, mine) and self._read() != mine:
                    continue  # another process was faster
                break
            where = f"{self._files.url}/{self._path}"
            if not is_stale(found, where):
                raise held_elsewhere(found, self._files.url, where)
            self._remove(found)
        if self._files.create(self._path, mine):
            self._files.remove([self._path])
            raise UserError(
                f"--out {self._files.url}: this store does not heed If-None-Match, so that two "
                "runs could write here at the same time. Use another store, or a folder."
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the lock back."""
        self._files.remove([self._path])

    def _read(self) -> bytes | None:
        try:
            return self._files.read(self._path)
        except FileNotFoundError:
            return None

    def _remove(self, stale: bytes) -> None:
        """Removes the lock that was judged, and no other that has taken its place since."""
        judged = f"{LOCK_PATH}.{xxhash.xxh3_64_hexdigest(stale)}"
        with RemoteLock(self._files, judged):
            if self._read() == stale:
                self._files.remove([self._path])
