"""The ledger of one shard: what each of its members is, and the hashes that prove it.

An ``.npy`` file with one structured row a sample, in the order of the samples in the tar.
"""

import numpy as np
from numpy.typing import NDArray

from train_shards.errors import DataError
from train_shards.npy import START_BYTES, encode_npy, header_bytes, read_header

__all__ = ["check_extents", "decode_ledger", "encode_ledger", "ledger_dtype"]


def ledger_dtype(num_members: int, num_images: int) -> np.dtype[np.void]:
    """Returns the row type of a ledger, little-endian and packed.

    ``offset_bytes`` is the position of the sample's first tar header; ``data_offset_bytes`` is
    where each member's content begins, counted from there; members stand in the order of the
    manifest's ``fields``, images in the order of its ``cameras``.
    """
    return np.dtype(
        [
            ("episode_index", "<i8"),
            ("frame_index", "<u4"),
            ("offset_bytes", "<u8"),
            ("data_offset_bytes", "<u4", (num_members,)),
            ("data_bytes", "<u4", (num_members,)),
            ("member_xxh3", "<u8", (num_members,)),
            ("pixel_xxh3", "<u8", (num_images,)),
        ]
    )


def encode_ledger(rows: NDArray[np.void]) -> bytes:
    """Returns the bytes of a ledger file."""
    return encode_npy(rows)


def decode_ledger(
    data: bytes, num_members: int, num_images: int, *, where: str
) -> NDArray[np.void]:
    """Returns the rows of a ledger file.

    Raises:
        DataError: not an ``.npy`` file with one dimension, exactly the expected row type, and as
            many rows as there are bytes of.
    """
    try:
        start = header_bytes(data[:START_BYTES])
        shape, _, dtype = read_header(data[:start])
    except ValueError as error:
        raise DataError(f"{where}: not a ledger: {error}") from error
    expected = ledger_dtype(num_members, num_images)
    if dtype != expected or len(shape) != 1:
        raise DataError(f"{where}: ledger rows of {dtype}, expected {expected}")
    if len(data) - start != shape[0] * expected.itemsize:
        raise DataError(
            f"{where}: not a ledger: {len(data) - start} bytes, expected those of {shape[0]} rows"
        )
    rows: NDArray[np.void] = np.frombuffer(data, expected, offset=start).copy()
    return rows


def check_extents(rows: NDArray[np.void], num_bytes: int, *, where: str) -> None:
    """Passes when samples lie one after the other within a shard, and members within samples.

    Args:
        rows: of a ledger.
        num_bytes: of its shard.
        where: the ledger, for the message.

    Raises:
        DataError: one reaches into the next, or beyond the shard.
    """
    starts = rows["offset_bytes"]
    ends = np.append(starts[1:], np.uint64(num_bytes))
    # First the order and the last one's place: then no difference below goes under zero.
    is_ordered = bool(np.all(starts <= ends))
    members = rows["data_offset_bytes"].astype(np.uint64) + rows["data_bytes"]
    room = (ends - starts)[:, None]
    wrong = np.flatnonzero(np.any(members > room, axis=1)) if is_ordered else np.zeros(1, int)
    if len(wrong):
        raise DataError(
            f"{where}: samples lie beyond each other or beyond the shard's {num_bytes} bytes, "
            f"first in row {wrong[0]}"
        )
