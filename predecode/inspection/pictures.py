"""Stored images as pictures for people, whatever their modality. Pure."""

import colorsys
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train_shards.images import StoredImage

__all__ = [
    "DEPTH_COLOURS",
    "depth_picture",
    "id_colour",
    "picture_of",
    "segmentation_picture",
    "thumbnail",
]

DEPTH_COLOURS = np.array(
    [
        (68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142),
        (31, 158, 137), (53, 183, 121), (109, 205, 89), (180, 222, 44), (253, 231, 37),
    ],
    np.uint8,
)  # fmt: skip
"""From near to far, evenly. Source: ten of the colours of matplotlib's map viridis."""

_GOLDEN_TURN = 0.61803398875
"""Consecutive multiples of it, modulo 1, lie far from each other: so do the hues of ids."""


def picture_of(image: StoredImage, modality: str) -> NDArray[np.uint8]:
    """Returns ``(h, w, 3)`` uint8 RGB of an image as items show it; see ``shown``."""
    if modality == "depth":
        return depth_picture(image)
    return segmentation_picture(image) if modality == "seg_instance_id" else image


def depth_picture(distances_m: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns ``(h, w, 3)`` uint8 of ``(h, w)`` metres: the nearest is dark, the farthest light.

    >>> depth_picture(np.float32([[1, 3]])).tolist()
    [[[68, 1, 84], [253, 231, 37]]]
    """
    low, high = float(distances_m.min()), float(distances_m.max())
    shares = (distances_m - low) / (high - low if high > low else 1)
    places = np.linspace(0, 1, len(DEPTH_COLOURS))
    channels = [np.interp(shares, places, DEPTH_COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def segmentation_picture(ids: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Returns ``(h, w, 3)`` uint8 of ``(h, w)`` ids, each in its colour."""
    known, places = np.unique(ids, return_inverse=True)
    colours = np.array([id_colour(number) for number in known.tolist()], np.uint8)
    return colours[places.reshape(ids.shape)]


@lru_cache(maxsize=4096)
def id_colour(number: int) -> tuple[int, int, int]:
    """Returns the colour of an instance, the same in every picture; 0, the background, is dark."""
    if number == 0:
        return 32, 32, 32
    hue = number * _GOLDEN_TURN % 1
    red, green, blue = colorsys.hsv_to_rgb(
        hue, 0.45 + 0.2 * (number % 3), 0.95 - 0.15 * (number % 2)
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def thumbnail(
    picture: NDArray[np.uint8], edge_px: int, *, is_smooth: bool = True
) -> NDArray[np.uint8]:
    """Returns a picture that is at most ``edge_px`` wide and high, its aspect kept; never larger.

    Not ``is_smooth`` for colours that stand for something: none between two of them is made.
    """
    image = Image.fromarray(picture)
    how = Image.Resampling.BILINEAR if is_smooth else Image.Resampling.NEAREST
    image.thumbnail((edge_px, edge_px), how, reducing_gap=None)
    return np.asarray(image)
