"""The ledger of one shard: what each of its members is, and the hashes that prove it.

An ``.npy`` file with one structured row a sample, in the order of the samples in the tar.
"""

import io
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

from train_shards.errors import DataError

__all__ = ["decode_ledger", "encode_ledger", "ledger_dtype"]


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
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, rows, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def decode_ledger(
    data: bytes, num_members: int, num_images: int, *, where: str
) -> NDArray[np.void]:
    """Returns the rows of a ledger file.

    Raises:
        DataError: not an ``.npy`` file with one dimension and exactly the expected row type.
    """
    try:
        rows = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, TypeError, SyntaxError, TokenError) as error:
        raise DataError(f"{where}: not a ledger: {error}") from error
    expected = ledger_dtype(num_members, num_images)
    if rows.dtype != expected or rows.ndim != 1:
        raise DataError(f"{where}: ledger rows of {rows.dtype}, expected {expected}")
    result: NDArray[np.void] = rows
    return result
