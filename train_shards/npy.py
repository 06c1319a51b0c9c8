"""``.npy`` files of version 1.0: written whole; headers read without trust, no memory taken.

Source of the layout: numpy.lib.format; the text's length stands in two bytes after the version.
"""

import functools
import io
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["START_BYTES", "NpyHeader", "encode_npy", "header_bytes", "read_header"]

_MAGIC = b"\x93NUMPY\x01\x00"
START_BYTES = len(_MAGIC) + 2
"""Magic string, version and length of the text."""
_PARSER_ERRORS = (TypeError, KeyError, SyntaxError, TokenError, RecursionError, MemoryError)
"""What numpy's parser of headers, which compiles their text, raises beside ``ValueError``."""


class NpyHeader(NamedTuple):
    """What a header says of the array behind it."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]


def encode_npy(array: NDArray[Any]) -> bytes:
    """Returns the bytes of a file that holds one array of at least one dimension, in C order."""
    buffer = io.BytesIO()
    np.lib.format.write_array(
        buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False
    )
    return buffer.getvalue()


def header_bytes(start: bytes | memoryview) -> int:
    """Returns where the array begins, from the first ``START_BYTES`` of a file.

    Raises:
        ValueError: no such file.
    """
    if len(start) < START_BYTES or start[: len(_MAGIC)] != _MAGIC:
        raise ValueError("expected an .npy file of version 1.0")
    return START_BYTES + int.from_bytes(start[len(_MAGIC) : START_BYTES], "little")


@functools.lru_cache(maxsize=64)
def read_header(header: bytes) -> NpyHeader:
    """Returns what a header says; all of an output's pictures have the same one.

    Raises:
        ValueError: it cannot be understood, or has a negative dimension.
    """
    buffer = io.BytesIO(header)
    try:
        np.lib.format.read_magic(buffer)
        found = NpyHeader(*np.lib.format.read_array_header_1_0(buffer))
    except _PARSER_ERRORS as error:
        raise ValueError(f"not a header of an .npy file: {error}") from error
    if any(length < 0 for length in found.shape):
        raise ValueError(f"shape {found.shape}")
    return found
