"""Image bytes <-> arrays: one encoder and its decoder for each codec.

Pictures are ``(h, w, 3)`` uint8 RGB. Lossless: ``png``, ``raw``, and ``webp`` without a quality.
"""

import functools
import io
from tokenize import TokenError
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from train_shards.errors import DataError

__all__ = ["CODECS", "decode_image", "encode_image", "is_lossless"]

CODECS = ("jpeg", "png", "webp", "raw")

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER_BYTES = 512  # more than any header of a picture
_FOREIGN_ERRORS = (TokenError, Image.DecompressionBombError)
"""What numpy's header parser and Pillow raise beside the usual: of no common base."""


def is_lossless(codec: str, quality: int | None) -> bool:
    """Says whether decoding returns the encoded pixels exactly.

    >>> is_lossless("webp", None), is_lossless("webp", 90), is_lossless("jpeg", 100)
    (True, False, False)
    """
    return codec in {"png", "raw"} or (codec == "webp" and quality is None)


def encode_image(
    picture: NDArray[np.uint8], codec: str, quality: int | None, subsampling: str
) -> bytes:
    """Returns the bytes of a picture; a pure function of its arguments and library versions.

    Args:
        picture: ``(h, w, 3)`` uint8 RGB, C-contiguous.
        codec: one of ``CODECS``.
        quality: 1 to 100 for jpeg and lossy webp; None for lossless.
        subsampling: JPEG chroma subsampling, ``"420"``, ``"422"`` or ``"444"``.

    Raises:
        ValueError: unknown codec.
    """
    if codec == "jpeg":
        data: bytes = simplejpeg.encode_jpeg(
            picture, quality=quality, colorspace="RGB", colorsubsampling=subsampling, fastdct=False
        )
        return data
    if codec == "raw":
        return _encode_npy(picture)
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if codec == "png":
        # Level 1: level 6 costs several times the time for about 5 % of the bytes.
        image.save(buffer, "PNG", compress_level=1)
    elif codec == "webp":
        options: dict[str, Any] = {"lossless": True} if quality is None else {"quality": quality}
        image.save(buffer, "WEBP", **options)
    else:
        raise ValueError(f"codec {codec!r}: expected one of {', '.join(CODECS)}")
    return buffer.getvalue()


def decode_image(
    data: bytes | memoryview, codec: str, size: tuple[int, int] | None
) -> NDArray[np.uint8]:
    """Returns the picture in ``data`` as ``(h, w, 3)`` uint8 RGB, a writable array.

    Args:
        data: what ``encode_image`` returned. A raw picture in writable memory is not copied.
        codec: the codec it was encoded with.
        size: expected ``(h, w)``, checked against the header before any picture memory is taken;
            None where sizes differ between pictures.

    Raises:
        DataError: the bytes are not a picture of this codec and size.
    """
    try:
        if codec == "jpeg":
            _check_size(simplejpeg.decode_jpeg_header(data)[:2], size)
            picture: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data, colorspace="RGB", fastdct=False, fastupsample=False
            )
            return picture
        if codec == "raw":
            return _decode_npy(data, size)
        with Image.open(io.BytesIO(data), formats=[codec.upper()]) as image:
            _check_size((image.height, image.width), size)
            return np.array(image.convert("RGB"))
    except (ValueError, TypeError, OSError, SyntaxError, *_FOREIGN_ERRORS) as error:
        raise DataError(f"not a readable {codec} picture of {len(data)} bytes: {error}") from error


def _check_size(got: tuple[int, int], expected: tuple[int, int] | None) -> None:
    if expected is not None and tuple(got) != tuple(expected):
        raise ValueError(f"expected {expected[0]}x{expected[1]} pixels, got {got[0]}x{got[1]}")


def _encode_npy(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(
        buffer, np.ascontiguousarray(picture), version=(1, 0), allow_pickle=False
    )
    return buffer.getvalue()


def _decode_npy(data: bytes | memoryview, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    if data[: len(_NPY_MAGIC)] != _NPY_MAGIC:
        raise ValueError("expected an .npy file of version 1.0")
    length = int.from_bytes(data[len(_NPY_MAGIC) : len(_NPY_MAGIC) + 2], "little")
    start = len(_NPY_MAGIC) + 2 + length
    shape, fortran_order, dtype = _npy_header(bytes(data[: min(start, _NPY_HEADER_BYTES)]))
    if dtype != np.uint8 or fortran_order or len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"expected (h, w, 3) uint8 in C order, got {shape} {dtype}")
    _check_size((shape[0], shape[1]), size)
    if len(data) - start != shape[0] * shape[1] * 3:
        raise ValueError(
            f"expected {shape[0] * shape[1] * 3} bytes of pixels, got {len(data) - start}"
        )
    picture = np.frombuffer(data, np.uint8, offset=start).reshape(shape)
    return picture if picture.flags.writeable else picture.copy()


@functools.lru_cache(maxsize=64)
def _npy_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and dtype. numpy compiles the text of a header, and all of an output are alike.

    Source of the layout: numpy.lib.format; the text's length stands in two bytes after the version.
    """
    buffer = io.BytesIO(header)
    np.lib.format.read_magic(buffer)
    read: tuple[tuple[int, ...], bool, np.dtype[Any]] = np.lib.format.read_array_header_1_0(buffer)
    return read
