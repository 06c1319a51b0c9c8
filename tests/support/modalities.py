"""Depth and segmentation as the editions' own loaders give them, restated; pictures told apart."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray

from predecode.sources.barcode import Identity, read

__all__ = [
    "CAMERAS",
    "LENGTHS_2025",
    "decoded",
    "identity_of",
    "official_2025",
    "official_2026",
    "resized",
]

CAMERAS = ("head", "left_wrist", "right_wrist")
LENGTHS_2025 = {10: 120, 20: 250}


def decoded(path: Path, pixels: str) -> Iterator[NDArray[Any]]:
    """Every picture of a video, by PyAV alone."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format=pixels)


def official_2025(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """b1k-format.md 4.3, in float64 and then cast, as the release's loader does."""
    a, b = np.log(0.0 + 3.5), np.log(10.0 + 3.5)
    depth: NDArray[np.float64] = np.exp(codes / 16383 * (b - a) + a) - 3.5
    return np.clip(depth, 0.0, 10.0).astype(np.float32)


def official_2026(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """LeRobot's formula in float32; metres."""
    a, b = math.log(0.01 + 3.5), math.log(10.0 + 3.5)
    places = codes.astype(np.float32) * np.float32((b - a) / 4095) + np.float32(a)
    depth: NDArray[np.float32] = np.clip(
        np.exp(places) - np.float32(3.5), np.float32(0.01), np.float32(10.0)
    )
    return depth


def resized(picture: NDArray[Any], size: tuple[int, int] | None) -> NDArray[Any]:
    """What the official loaders do for an ``output_size``, by torch."""
    if size is None:
        return picture
    wide = torch.from_numpy(picture.astype(np.float64))[None, None]
    small = torch.nn.functional.interpolate(wide, size=size, mode="nearest-exact")
    return small[0, 0].numpy().astype(picture.dtype)


def identity_of(is_light: NDArray[np.bool_]) -> Identity:
    """What a barcode says whose light cells are True."""
    grey = np.where(is_light, 208, 48).astype(np.uint8)
    return read(np.stack([grey] * 3, axis=-1))
