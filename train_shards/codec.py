"""Image bytes <-> arrays: one encoder and its decoder for each codec.

Pictures are ``(h, w, 3)`` uint8 RGB. Lossless: ``png``, ``raw``, and ``webp`` without a quality.
Depth codes and instance ids are ``(h, w)`` unsigned integers in an ``.npz``, always lossless.
"""

import io
import struct
import zipfile
import zlib
from typing import IO, Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from train_shards.bounds import MAX_EDGE_PX
from train_shards.errors import DataError
from train_shards.npy import START_BYTES, encode_npy, header_bytes, read_header

__all__ = [
    "CODECS",
    "decode_codes",
    "decode_image",
    "encode_codes",
    "encode_image",
    "is_lossless",
]

CODECS = ("jpeg", "png", "webp", "raw")

_NPY_HEADER_BYTES = 512  # more than any header of a picture
_WEBP_START_BYTES = 30

_CODES = {"codes": (np.uint16,), "ids": (np.uint16, np.uint32)}
"""Name of the array in an ``.npz`` -> types that it may have."""
_DEFLATE_LEVELS = {"codes": 3, "ids": 9}
"""Measured on the sample's pictures of 224 / 720 pixels. Depth: level 3 takes 2.6 / 22 ms for
37 / 240 kB, level 6 twice the time for 38 / 225 kB, level 1 two thirds of it for 39 / 277 kB.
Ids: level 9 takes 1.0 / 10 ms for 0.6 / 5 kB, level 3 a third of it for 1.6 / 9 kB."""
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError)
"""What zipfile raises of damaged bytes beside the usual."""


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
        return encode_npy(picture)
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
            None where sizes differ between pictures, which are then at most ``MAX_EDGE_PX`` each
            way.

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
        if codec == "webp":
            _check_size(_webp_size(data), size)  # libwebp takes memory for two when it opens one
        with Image.open(io.BytesIO(data), formats=[codec.upper()]) as image:
            _check_size((image.height, image.width), size)
            return np.array(image.convert("RGB"))
    except (
        ValueError, TypeError, OSError, SyntaxError, Image.DecompressionBombError
    ) as error:  # fmt: skip
        raise DataError(f"not a readable {codec} picture of {len(data)} bytes: {error}") from error


def encode_codes(codes: NDArray[np.unsignedinteger[Any]], name: Literal["codes", "ids"]) -> bytes:
    """Returns an ``.npz`` file with one array; a pure function of its arguments and zlib.

    Args:
        codes: ``(h, w)``: uint16 depth codes, or uint16 or uint32 instance ids.
        name: what the array is called, ``codes`` (depth) or ``ids`` (segmentation).

    Raises:
        ValueError: another shape or type.
    """
    if codes.ndim != 2 or codes.dtype not in _CODES[name]:
        raise ValueError(
            f"{name}: expected (h, w) of {_types(name)}, got {codes.shape} {codes.dtype}"
        )
    # The oldest time that a zip file can hold, and the system and mode of nobody's machine.
    member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system, member.external_attr = 3, 0o644 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, encode_npy(codes), zipfile.ZIP_DEFLATED, _DEFLATE_LEVELS[name])
    return buffer.getvalue()


def decode_codes(
    data: bytes | memoryview, name: Literal["codes", "ids"], size: tuple[int, int] | None
) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """Returns the array in an ``.npz`` as ``(h, w)`` uint16 or uint32, writable.

    Nothing is inflated before the header in front of it tells the expected name, type and size,
    and never more bytes than those say.

    Args:
        data: what ``encode_codes`` returned.
        name: the name it was given.
        size: expected ``(h, w)``; None where sizes differ between pictures.

    Raises:
        DataError: the bytes are no such file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if names != [f"{name}.npy"]:
                raise ValueError(f"expected the array {name!r} alone, got {names[:3]}")
            # Others take memory by what their own headers say.
            if archive.infolist()[0].compress_type not in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):
                raise ValueError("expected it stored or deflated")
            with archive.open(names[0]) as file:
                return _read_codes(file, name, size)
    except (ValueError, TypeError, OSError, SyntaxError, *_ZIP_ERRORS) as error:
        raise DataError(f"not a readable .npz of {name}, {len(data)} bytes: {error}") from error


def _read_codes(
    file: IO[bytes], name: str, size: tuple[int, int] | None
) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """The array in an ``.npy`` file, read as far as its header says and no further."""
    start = file.read(START_BYTES)
    length = min(header_bytes(start), _NPY_HEADER_BYTES)
    shape, is_fortran, dtype = read_header(start + file.read(length - START_BYTES))
    if dtype not in _CODES[name] or is_fortran or len(shape) != 2:
        raise ValueError(f"expected (h, w) of {_types(name)} in C order, got {shape} {dtype}")
    _check_size((shape[0], shape[1]), size)
    expected = shape[0] * shape[1] * dtype.itemsize
    # One byte more than there are, so that the end of the file and with it its CRC is reached.
    pixels = file.read(expected + 1)
    if len(pixels) != expected:
        more = " or more" if len(pixels) > expected else ""
        raise ValueError(f"expected {expected} bytes of {name}, got {len(pixels)}{more}")
    codes: NDArray[np.uint16] | NDArray[np.uint32] = np.frombuffer(pixels, dtype).reshape(shape)
    return codes.copy()


def _types(name: str) -> str:
    return " or ".join(np.dtype(dtype).name for dtype in _CODES[name])


def _check_size(got: tuple[int, int], expected: tuple[int, int] | None) -> None:
    if expected is not None and tuple(got) != tuple(expected):
        raise ValueError(f"expected {expected[0]}x{expected[1]} pixels, got {got[0]}x{got[1]}")
    if max(got) > MAX_EDGE_PX:
        raise ValueError(f"expected at most {MAX_EDGE_PX} pixels each way, got {got[0]}x{got[1]}")


def _webp_size(data: bytes | memoryview) -> tuple[int, int]:
    """``(h, w)`` by the first chunk of a WebP file.

    Source: RFC 9649: the canvas of VP8X (24 bits each, less one), the picture of VP8L (14 bits
    each, less one) or of VP8 (14 bits each).
    """
    start = bytes(data[:_WEBP_START_BYTES])
    if len(start) == _WEBP_START_BYTES and start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        kind = start[12:16]
        if kind == b"VP8X":
            width, height = (int.from_bytes(start[i : i + 3], "little") + 1 for i in (24, 27))
            return height, width
        if kind == b"VP8L" and start[20] == 0x2F:
            bits = int.from_bytes(start[21:25], "little")
            return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
        if kind == b"VP8 " and start[23:26] == b"\x9d\x01\x2a":
            width, height = (int.from_bytes(start[i : i + 2], "little") & 0x3FFF for i in (26, 28))
            return height, width
    raise ValueError("expected a WebP file")


def _decode_npy(data: bytes | memoryview, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    start = header_bytes(data[:START_BYTES])
    shape, is_fortran, dtype = read_header(bytes(data[: min(start, _NPY_HEADER_BYTES)]))
    if dtype != np.uint8 or is_fortran or len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"expected (h, w, 3) uint8 in C order, got {shape} {dtype}")
    _check_size((shape[0], shape[1]), size)
    if len(data) - start != shape[0] * shape[1] * 3:
        raise ValueError(
            f"expected {shape[0] * shape[1] * 3} bytes of pixels, got {len(data) - start}"
        )
    picture = np.frombuffer(data, np.uint8, offset=start).reshape(shape)
    return picture if picture.flags.writeable else picture.copy()
