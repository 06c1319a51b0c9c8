"""A picture that says which one it is: episode, frame and camera as large light and dark cells.

Writer and reader of one layout. Every number is a fraction of the picture's height or width, so the
cells survive a resize; their edges are large against a codec's blocks, so they survive lossy video
and JPEG. Pure numpy; imports no video library.
"""

import binascii
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "CAMERAS",
    "DARK_LEVEL",
    "LIGHT_LEVEL",
    "MAX_EPISODE_INDEX",
    "MAX_FRAME_INDEX",
    "MIN_SIDE_PX",
    "Identity",
    "paint",
    "read",
]

CAMERAS = ("head", "left_wrist", "right_wrist")
"""Camera names in alphabetical order; a camera's position is its number in the barcode."""

MAX_EPISODE_INDEX = 2**20 - 1
MAX_FRAME_INDEX = 2**17 - 1
MIN_SIDE_PX = 56
"""Smallest height and width to paint into or read from; a cell is then 3 px high and 4 px wide."""

DARK_LEVEL = 48
"""A cell that means 0. Away from 0 and 255, so that ringing of a codec is not cut off."""
LIGHT_LEVEL = 208
"""A cell that means 1."""

_NUM_ROWS = 4
_NUM_COLUMNS = 14
_HEIGHT_SHARE = 4
"""The cells take the upper fourth of the picture; three fourths are left for other content."""
_NUM_PAYLOAD_BYTES = 5
"""20 bits of episode, 17 of frame, 3 of camera."""


@dataclass(frozen=True)
class Identity:
    """Which picture of a data set a picture is."""

    episode_index: int
    """The source data set's own id."""
    frame_index: int
    """0-based in the episode."""
    camera: str
    """One of ``CAMERAS``."""


def paint(
    picture: npt.NDArray[np.uint8], episode_index: int, frame_index: int, camera: str
) -> None:
    """Paints the barcode over the upper fourth of a ``(H, W, 3) uint8`` picture, in place.

    Raises:
        ValueError: the picture has another shape or dtype or a side under ``MIN_SIDE_PX``, an index
            does not fit its bits, or the camera is none of ``CAMERAS``.

    >>> picture = np.zeros((160, 160, 3), np.uint8)
    >>> paint(picture, 490010, 500, "left_wrist")
    >>> read(picture)
    Identity(episode_index=490010, frame_index=500, camera='left_wrist')
    """
    _check_picture(picture)
    bits = _encode(episode_index, frame_index, camera)
    height, width = picture.shape[:2]
    tops, lefts = _edges(height, width)
    for cell, bit in enumerate(bits):
        row, column = divmod(cell, _NUM_COLUMNS)
        level = LIGHT_LEVEL if bit else DARK_LEVEL
        picture[tops[row] : tops[row + 1], lefts[column] : lefts[column + 1]] = level


def read(picture: npt.NDArray[np.uint8]) -> Identity:
    """Returns what the barcode of a ``(h, w, 3) uint8`` picture of any stored size says.

    Each cell is the mean over its inner half in both directions and over the three channels.

    Raises:
        ValueError: the picture has another shape or dtype or a side under ``MIN_SIDE_PX``, the
            checksum does not fit the cells, or the camera's number has no name.
    """
    _check_picture(picture)
    height, width = picture.shape[:2]
    tops, lefts = _edges(height, width)
    threshold = (DARK_LEVEL + LIGHT_LEVEL) // 2
    columns = np.array([_inner(lefts, column) for column in range(_NUM_COLUMNS)])
    bits = np.zeros((_NUM_ROWS, _NUM_COLUMNS), np.uint8)
    for row in range(_NUM_ROWS):
        top, bottom = _inner(tops, row)
        values = picture[top:bottom].sum(axis=0, dtype=np.int64).sum(axis=1)
        # Sums from each start to the stop behind it, those between left out; a cell is 4 px wide or
        # more, so that the last stop too is a column.
        sums = np.add.reduceat(values, columns.ravel())[::2]
        bits[row] = sums > threshold * 3 * (bottom - top) * (columns[:, 1] - columns[:, 0])
    return _decode(bits.ravel())


def _check_picture(picture: npt.NDArray[np.uint8]) -> None:
    shape, dtype = picture.shape, picture.dtype
    if picture.ndim != 3 or shape[2] != 3 or dtype != np.uint8 or min(shape[:2]) < MIN_SIDE_PX:
        raise ValueError(
            f"barcode: expected a picture (H, W, 3) uint8 with sides of {MIN_SIDE_PX} px or more, "
            f"got {shape} {dtype}"
        )


def _edges(height: int, width: int) -> tuple[list[int], list[int]]:
    """Row edges and column edges of the cells in pixels, one more than there are cells."""
    tops = [row * height // (_NUM_ROWS * _HEIGHT_SHARE) for row in range(_NUM_ROWS + 1)]
    lefts = [column * width // _NUM_COLUMNS for column in range(_NUM_COLUMNS + 1)]
    return tops, lefts


def _inner(edges: list[int], index: int) -> tuple[int, int]:
    """The middle half of a cell in one direction; a resize or a codec blurs the rest."""
    start, stop = edges[index], edges[index + 1]
    margin = (stop - start) // 4
    return start + margin, stop - margin


def _encode(episode_index: int, frame_index: int, camera: str) -> npt.NDArray[np.uint8]:
    """``(56,) uint8`` bits: payload, then its CRC-16, most significant bit first."""
    if not 0 <= episode_index <= MAX_EPISODE_INDEX:
        raise ValueError(
            f"barcode: episode_index {episode_index}: expected 0 to {MAX_EPISODE_INDEX}"
        )
    if not 0 <= frame_index <= MAX_FRAME_INDEX:
        raise ValueError(f"barcode: frame_index {frame_index}: expected 0 to {MAX_FRAME_INDEX}")
    if camera not in CAMERAS:
        raise ValueError(f"barcode: camera {camera!r}: expected one of {', '.join(CAMERAS)}")
    number = episode_index << 20 | frame_index << 3 | CAMERAS.index(camera)
    payload = number.to_bytes(_NUM_PAYLOAD_BYTES, "big")
    checksum = _checksum(payload).to_bytes(2, "big")
    return np.unpackbits(np.frombuffer(payload + checksum, np.uint8))


def _decode(bits: npt.NDArray[np.uint8]) -> Identity:
    """Inverse of ``_encode``."""
    code = np.packbits(bits).tobytes()
    payload, stored = code[:_NUM_PAYLOAD_BYTES], int.from_bytes(code[_NUM_PAYLOAD_BYTES:], "big")
    number = int.from_bytes(payload, "big")
    episode_index, frame_index, camera = number >> 20, number >> 3 & MAX_FRAME_INDEX, number & 7
    what = f"episode {episode_index}, frame {frame_index}, camera number {camera}"
    expected = _checksum(payload)
    if stored != expected:
        raise ValueError(
            f"barcode: cells say {what}, whose checksum is {expected:04x}, but the checksum's "
            f"cells say {stored:04x}: no barcode, or one blurred beyond reading"
        )
    if camera >= len(CAMERAS):
        raise ValueError(f"barcode: cells say {what}: expected a camera number 0 to 2")
    return Identity(episode_index, frame_index, CAMERAS[camera])


def _checksum(payload: bytes) -> int:
    """CRC-16/CCITT; it starts from ones, so that an all-dark picture does not fit.

    Source: Python's binascii.crc_hqx (polynomial 0x1021).
    """
    return binascii.crc_hqx(payload, 0xFFFF)
