"""Sorted frames as a short text, for plans: 1.4 characters a frame where gaps are below 128.

Of each frame its distance from the one before (of the first, from 0), as LEB128 (7 bits a byte, the
lowest first, the top bit set in all but the last), in base64.
"""

import base64
import binascii
from collections.abc import Iterable

import numpy as np

from predecode.errors import DataError

__all__ = ["decode_frames", "encode_frames"]

_MOST_BYTES = 5
"""Of one distance: a ``frame_index`` is of 32 bits."""


def encode_frames(frames: Iterable[int]) -> str:
    """Returns the text of frames, which are ascending.

    >>> encode_frames([3, 4, 300])
    'AwGoAg=='
    """
    data, before = bytearray(), 0
    for frame in frames:
        distance, before = frame - before, frame
        while distance > 0x7F:
            data.append(distance & 0x7F | 0x80)
            distance >>= 7
        data.append(distance)
    return base64.b64encode(data).decode()


def decode_frames(text: str) -> list[int]:
    """Returns the frames of a text.

    Raises:
        DataError: it is not of frames in ascending order.

    >>> decode_frames(encode_frames([0, 1, 128, 70000])), decode_frames("")
    ([0, 1, 128, 70000], [])
    """
    try:
        data = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"frames {text[:40]!r}: not base64: {error}") from error
    if not len(data):
        return []
    stops = np.flatnonzero(data < 0x80) + 1
    if not len(stops) or stops[-1] != len(data):
        raise DataError(f"frames {text[:40]!r}: the last one is cut")
    starts = np.concatenate([np.zeros(1, np.int64), stops[:-1]])
    # place of each byte in its number
    places = np.arange(len(data)) - np.repeat(starts, stops - starts)
    distances = np.add.reduceat((data & 0x7F).astype(np.int64) << (7 * places), starts)
    if places.max() >= _MOST_BYTES or (distances[1:] == 0).any():
        raise DataError(f"frames {text[:40]!r}: not in ascending order, or beyond any episode")
    frames: list[int] = distances.cumsum().tolist()
    return frames
