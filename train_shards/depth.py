"""Depth: integer codes, as the videos carry them and as shards store them, to metres.

Each edition's own formula. Metres are looked up in a table of all codes, so that a picture costs
one indexing whatever the formula.
"""

import functools
import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from train_shards.errors import DataError

__all__ = ["SCALE_2025", "SCALE_2026", "DepthScale", "check_scale", "metres"]


class DepthScale(msgspec.Struct, frozen=True, kw_only=True):
    """What a depth code means: ``exp(code / (2**bits - 1) * (b - a) + a) - shift_m``, clipped.

    ``a`` and ``b`` are the logarithms of ``min_m + shift_m`` and ``max_m + shift_m``; where
    ``is_log`` is false the code is linear between ``min_m`` and ``max_m``.
    """

    min_m: float
    max_m: float
    shift_m: float
    bits: int
    """The code ``2**bits - 1`` means ``max_m``."""
    pixel_format: Literal["gray16le", "gray12le"]
    """Form in which decoded pictures give their codes; a code may be as large as it allows."""
    is_log: bool = True
    precision: Literal["float64", "float32"]
    """In which the edition's own reader computes, before it returns float32."""

    @property
    def num_codes(self) -> int:
        """How many codes a pixel can have.

        >>> SCALE_2025.num_codes, SCALE_2026.num_codes
        (65536, 4096)
        """
        return 1 << int(self.pixel_format.removeprefix("gray").removesuffix("le"))


SCALE_2025 = DepthScale(
    min_m=0.0,
    max_m=10.0,
    shift_m=3.5,
    bits=14,
    pixel_format="gray16le",
    precision="float64",
)
"""Source: the 2025 edition's loader (``dequantize_depth`` of its observation utilities), which has
numpy compute in float64 and casts to float32. Codes above ``2**14 - 1`` mean ``max_m``."""

SCALE_2026 = DepthScale(
    min_m=0.01,
    max_m=10.0,
    shift_m=3.5,
    bits=12,
    pixel_format="gray12le",
    precision="float32",
)
"""Source: the 2026 edition's writer with LeRobot v3's depth codec, which computes in float32."""


def check_scale(scale: DepthScale, *, where: str) -> None:
    """Passes when codes of this scale are distances.

    Raises:
        DataError: bounds that are no numbers or the wrong way round, or a number of bits that no
            code has.
    """
    bounds_m = (scale.min_m, scale.max_m, scale.shift_m)
    is_range = all(map(math.isfinite, bounds_m)) and 0 <= scale.min_m < scale.max_m
    if not is_range or scale.min_m + scale.shift_m <= 0 or not 1 <= scale.bits <= 16:
        raise DataError(
            f"{where}: depth from {scale.min_m} to {scale.max_m} m, shift {scale.shift_m} m, "
            f"{scale.bits} bits: expected 0 <= min < max, min + shift above 0, 1 to 16 bits"
        )


def metres(codes: NDArray[np.integer], scale: DepthScale) -> NDArray[np.float32]:
    """Returns the distances that depth codes stand for, of the same shape.

    Raises:
        DataError: a code that no pixel of ``scale.pixel_format`` can have.

    >>> metres(np.array([[0, 3050, 16383]], np.uint16), SCALE_2025).round(3).tolist()
    [[0.0, 1.0, 10.0]]
    """
    table = _table(scale)
    if codes.size and (int(codes.max()) >= len(table) or int(codes.min()) < 0):
        raise DataError(
            f"depth codes: expected 0 to {len(table) - 1} ({scale.pixel_format}), "
            f"got {int(codes.min())} to {int(codes.max())}"
        )
    return np.take(table, codes)


@functools.lru_cache(maxsize=16)
def _table(scale: DepthScale) -> NDArray[np.float32]:
    """``(num_codes,) float32``: metres of every code, in the reader's own order of operations."""
    compute = _in_float64 if scale.precision == "float64" else _in_float32
    table = compute(np.arange(scale.num_codes), scale)
    table.flags.writeable = False
    return table


def _in_float64(codes: NDArray[np.int64], scale: DepthScale) -> NDArray[np.float32]:
    """Source: the 2025 loader's order: the share of the largest code, then its place in the range.

    Another copy of that loader computes in float32, which differs by at most 4 micrometres.
    """
    low, high = _ends(scale)
    places = codes / (2**scale.bits - 1) * (high - low) + low
    distances = np.exp(places) - scale.shift_m if scale.is_log else places
    clipped: NDArray[np.float64] = np.clip(distances, scale.min_m, scale.max_m)
    return clipped.astype(np.float32)


def _in_float32(codes: NDArray[np.int64], scale: DepthScale) -> NDArray[np.float32]:
    """Source: LeRobot v3 (``dequantize_depth``): one factor and one offset, rounded to float32.

    Its reader has torch compute the exponential, whose last bits depend on library and processor:
    torch's and numpy's differ by at most 2 micrometres.
    """
    low, high = _ends(scale)
    factor, offset = np.float32((high - low) / (2**scale.bits - 1)), np.float32(low)
    places = codes.astype(np.float32) * factor + offset
    distances = np.exp(places) - np.float32(scale.shift_m) if scale.is_log else places
    clipped: NDArray[np.float32] = np.clip(
        distances, np.float32(scale.min_m), np.float32(scale.max_m)
    )
    return clipped


def _ends(scale: DepthScale) -> tuple[float, float]:
    """What the codes 0 and ``2**bits - 1`` mean, before the exponential."""
    if not scale.is_log:
        return scale.min_m, scale.max_m
    return math.log(scale.min_m + scale.shift_m), math.log(scale.max_m + scale.shift_m)
