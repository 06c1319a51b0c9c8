"""Segmentation pictures of the 2025 edition: palette colours, blurred by a lossy codec, to ids."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predecode.errors import DataError

__all__ = ["IdLookup", "palette"]

_POSITION_BITS = 14
"""A key is a squared distance of 18 bits (at most ``3 * 255**2``) above a place in the palette."""
_MAX_IDS = 1 << _POSITION_BITS
_NEVER = np.uint32(2**32 - 1)
"""A key larger than any colour's."""


def palette(num_ids: int) -> NDArray[np.uint8]:
    """Returns the ``(num_ids, 3) uint8`` colours of the 2025 edition, written as R, G, B.

    Source: the edition's palette: ``k = ceil(n^(1/3))`` levels in each channel, nested with the
    first channel outermost, cut to ``n`` colours, truncated to uint8.

    >>> palette(3).tolist()
    [[16, 16, 16], [16, 16, 240], [16, 240, 16]]
    """
    first, others = _levels(num_ids)
    colours = [(y, u, v) for y in first for u in others for v in others]
    return np.array(colours[:num_ids], np.uint8).reshape(-1, 3)


class IdLookup:
    """The ids of pictures whose instances are painted in palette colours.

    The first ``n`` of ``k * k * k`` colours are whole planes of the cube, then whole rows of one
    more plane, then a part of one more row: at most three boxes, in each of which the nearest
    colour is found channel by channel. So tables by channel, and by pair of channels, hold what a
    matrix of distances would be made for.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        """Prepares the tables.

        Args:
            ids: a camera's ids; an id's position is its place in the palette.

        Raises:
            DataError: no ids, more than 16,384, or one that is no 32-bit unsigned number.

        Cost: about 1 ms, and 0.5 MB of memory.
        """
        if not 1 <= len(ids) <= _MAX_IDS:
            raise DataError(f"instance ids: expected 1 to {_MAX_IDS}, got {len(ids)}")
        if not 0 <= min(ids) <= max(ids) < 2**32:
            raise DataError(
                f"instance ids: expected 0 to {2**32 - 1}, got {min(ids)} to {max(ids)}"
            )
        dtype = np.uint16 if max(ids) < 2**16 else np.uint32
        self._ids: NDArray[Any] = np.array(ids, dtype)
        self._planes, self._last_plane = _tables(len(ids))

    def lookup(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """Returns the id of the nearest palette colour of each pixel, the first of equally near.

        Near by Euclidean distance, in integers: exactly what a matrix of all distances gives.

        Args:
            rgb: ``(h, w, 3)`` uint8, any strides.

        Returns:
            ``(h, w)`` uint16, or uint32 where an id needs it.

        Cost: about 10 ns a pixel.
        """
        pairs = (rgb[..., 1].astype(np.uint16) << np.uint16(8)) | rgb[..., 2]
        keys = self._planes.keys(rgb[..., 0], pairs)
        np.minimum(keys, self._last_plane.keys(rgb[..., 0], pairs), out=keys)
        return np.take(self._ids, keys & np.uint32(_MAX_IDS - 1))


class _KeyTables:
    """Sums of keys: ``distance << 14 | place`` of the nearest colour in one part of the palette.

    The smallest key is that of the nearest colour, and of equally near ones that of the first.
    """

    def __init__(self, by_first: NDArray[np.uint32], by_pair: NDArray[np.uint32]) -> None:
        """``(256,)`` and ``(65536,)``: what the first channel and what the other two add."""
        self._by_first = by_first
        self._by_pair = by_pair

    def keys(self, first: NDArray[np.uint8], pairs: NDArray[np.uint16]) -> NDArray[np.uint32]:
        """Returns the key of each pixel."""
        keys: NDArray[np.uint32] = np.take(self._by_pair, pairs)
        keys += np.take(self._by_first, first)
        return keys


def _tables(num_ids: int) -> tuple[_KeyTables, _KeyTables]:
    """The whole planes of the palette, and the plane that is cut."""
    first, others = (levels.astype(np.uint8) for levels in _levels(num_ids))
    k = len(others)
    num_planes, rest = divmod(num_ids, k * k)
    num_rows, num_last = divmod(rest, k)
    planes = last_plane = _KeyTables(np.zeros(256, np.uint32), np.full(2**16, _NEVER))
    if num_planes:
        planes = _KeyTables(
            _axis_keys(first[:num_planes], k * k),
            _pair_keys(_axis_keys(others, k), _axis_keys(others, 1)),
        )
    if rest:
        pairs = np.full(2**16, _NEVER)
        if num_rows:
            rows = _axis_keys(others[:num_rows], k)
            pairs = _pair_keys(rows, _axis_keys(others, 1))
        if num_last:
            row = _axis_keys(others[num_rows : num_rows + 1], k) + np.uint32(num_rows * k)
            last = _pair_keys(row, _axis_keys(others[:num_last], 1))
            pairs = np.minimum(pairs, last)
        plane = _axis_keys(first[num_planes : num_planes + 1], k * k)
        last_plane = _KeyTables(plane + np.uint32(num_planes * k * k), pairs)
    return planes, last_plane


def _axis_keys(levels: NDArray[np.uint8], stride: int) -> NDArray[np.uint32]:
    """``(256,) uint32``: key of the nearest of some levels, for each value of a channel."""
    values = np.arange(256)
    # (256, levels) squared distances; argmin takes the first of equally near levels
    distances = (values[:, None] - levels.astype(np.int64)[None, :]) ** 2
    nearest = distances.argmin(axis=1)
    keys: NDArray[np.int64] = distances[values, nearest] << _POSITION_BITS | nearest * stride
    return keys.astype(np.uint32)


def _pair_keys(second: NDArray[np.uint32], third: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """``(65536,) uint32``: keys of pairs of values, the second channel's in the high byte."""
    # (256, 256) -> (65536,)
    keys: NDArray[np.uint32] = (second[:, None] + third[None, :]).reshape(-1)
    return keys


def _levels(num_ids: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The levels of the first channel, and of the other two, before they are cut to integers."""
    num_levels = next(k for k in range(1, num_ids + 1) if k**3 >= num_ids)
    return np.linspace(16, 235, num_levels), np.linspace(16, 240, num_levels)
