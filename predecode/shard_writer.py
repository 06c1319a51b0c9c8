"""One tar: written deterministically, listed strictly. The only file that knows tarfile.

Source: POSIX ustar; ``docs/format.md`` says which of its freedoms are used. An integer mtime
avoids pax headers, which cost 1,024 bytes a member and half the parsing speed.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from predecode.errors import DataError
from train_shards.format import check_relative_path

__all__ = ["Member", "ShardWriter", "bytes_in_tar", "iter_members"]

_MAX_NAME_BYTES = 100
_SIZE, _SIZE_BYTES = 124, 12
"""Where a header's size is. Source: POSIX ustar; GNU marks base 256 by the first bit."""
_SUM, _SUM_BYTES = 148, 8
"""Where the sum of a header's bytes is. Source: POSIX ustar."""
_PLAIN = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
"""A header without name and size; TarInfo's own defaults: mode 0644, owner 0, mtime 0."""
_AFTER_NAME, _AFTER_SIZE, _AFTER_SUM = (
    _PLAIN[_MAX_NAME_BYTES:_SIZE], _PLAIN[_SIZE + _SIZE_BYTES : _SUM], _PLAIN[_SUM + _SUM_BYTES :],
)  # fmt: skip
_PLAIN_SUM = sum(_AFTER_NAME + _AFTER_SIZE + _AFTER_SUM) + _SUM_BYTES * ord(" ")


class Member(NamedTuple):
    """One member of a shard as its header says."""

    name: str
    offset_bytes: int
    """Of the header."""
    data_offset_bytes: int
    num_bytes: int


class ShardWriter:
    """Adds samples to a tar and hashes what it writes; same samples, same bytes."""

    def __init__(self, file: BinaryIO) -> None:
        """Writes to ``file``, which must be empty; closing it stays the caller's."""
        self._file = file
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._num_bytes = 0
        self._padding = b""
        """Up to the block where the next header begins, with which it is written."""

    def add(self, key: str, members: Sequence[tuple[str, bytes]]) -> tuple[int, list[int]]:
        """Writes one sample; returns its header's offset and where each content begins after it.

        Args:
            key: the sample's key.
            members: ``(field, content)`` in their final order.

        Raises:
            ValueError: a name longer than ustar's 100 bytes or not ASCII.
            OSError: the disk refuses.
        """
        start = self._num_bytes + len(self._padding)
        data_offsets = []
        for field, data in members:
            self._write(self._padding + _header(f"{key}.{field}", len(data)))
            data_offsets.append(self._num_bytes - start)
            self._write(data)
            self._padding = bytes(-len(data) % tarfile.BLOCKSIZE)
        return start, data_offsets

    def close(self) -> tuple[int, str, str]:
        """Writes the end marker; returns the tar's bytes, SHA-256 and MD5 (as hex)."""
        # Source: POSIX: two zero blocks, then zeros up to a whole record.
        end = bytes(2 * tarfile.BLOCKSIZE)
        num_bytes = self._num_bytes + len(self._padding) + len(end)
        self._write(self._padding + end + bytes(-num_bytes % tarfile.RECORDSIZE))
        return self._num_bytes, self._sha256.hexdigest(), self._md5.hexdigest()

    def _write(self, data: bytes) -> None:
        self._sha256.update(data)
        self._md5.update(data)
        self._num_bytes += len(data)
        self._file.write(data)


def _header(name: str, num_bytes: int) -> bytes:
    """Returns a member's header: tarfile's own, in which two fields and the sum are set.

    tarfile takes 31 us to make one, this 3: with four members a sample that was 2 % of a task.

    Raises:
        ValueError: a name or size that ustar has no room for.
    """
    name_bytes, size = name.encode("ascii"), b"%011o\0" % num_bytes
    if len(name_bytes) > _MAX_NAME_BYTES or len(size) > _SIZE_BYTES:
        raise ValueError(
            f"member {name!r} of {num_bytes} bytes: expected at most 100 ASCII bytes of name and "
            "8 GiB of content"
        )
    # Source: POSIX ustar: six octal digits of the sum of all bytes, those of the sum as blanks.
    check_sum = _PLAIN_SUM + sum(name_bytes) + sum(size)
    return b"".join([
        name_bytes.ljust(_MAX_NAME_BYTES, b"\0"), _AFTER_NAME,
        size, _AFTER_SIZE, b"%06o\0 " % check_sum, _AFTER_SUM,
    ])  # fmt: skip


class _StrictInfo(tarfile.TarInfo):
    """A header as the writer makes them; tarfile itself acts on others before it shows them.

    Names and headers of GNU and pax are read whole into memory; a negative size, which a number in
    base 256 may be, makes it go back in the file for ever.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Returns the header in a block.

        Raises:
            DataError: not of a regular file, or a field that ``ShardWriter`` does not write so.
        """
        info = super().frombuf(buf, encoding, errors)
        if info.type != tarfile.REGTYPE:
            raise DataError(f"member {info.name!r}: not a regular file")
        if buf[_SIZE] & 0x80 or info.size < 0:
            raise DataError(f"member {info.name!r}: a size that is not in octal digits")
        if not info.name.isascii():
            raise DataError(f"member {info.name!r}: a name that is not ASCII")
        check_relative_path(info.name, what="member")
        return info


def bytes_in_tar(num_bytes: int) -> int:
    """Returns what a member takes in a tar: its header, its content, and zeros up to a block.

    >>> bytes_in_tar(0), bytes_in_tar(1), bytes_in_tar(512)
    (512, 1024, 1024)
    """
    return tarfile.BLOCKSIZE + num_bytes + -num_bytes % tarfile.BLOCKSIZE


def iter_members(path: Path) -> Iterator[Member]:
    """Yields the members of a tar in order, from its headers.

    Raises:
        DataError: not a tar, damaged, cut, or a member that is not a regular file with a relative
            name; after what comes before the damage was yielded.

    Cost: one small read a member.
    """
    end = 0
    try:
        with tarfile.open(path, "r:", tarinfo=_StrictInfo) as tar:
            for info in tar:
                yield Member(info.name, info.offset, info.offset_data, info.size)
                end = info.offset_data + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    except DataError as error:
        raise DataError(f"{path.name}, {error}") from error
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(f"{path.name}: not a whole tar: {error}") from error
    # tarfile ends quietly at a damaged header and at a cut between members.
    with path.open("rb") as file:
        file.seek(end)
        rest = file.read(tarfile.RECORDSIZE + 2 * tarfile.BLOCKSIZE)
        whole = len(rest) == 2 * tarfile.BLOCKSIZE + -(end + 2 * tarfile.BLOCKSIZE) % (
            tarfile.RECORDSIZE
        )
        if not whole or rest.strip(b"\0"):
            raise DataError(
                f"{path.name}: not a whole tar: expected the end marker or a member at byte {end}"
            )
