"""The trainer's own resize: Pillow BILINEAR, aspect kept, black borders."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["resize_with_pad"]


def resize_with_pad(picture: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Returns the picture at ``size``, bit-identical to what the trainer would have made of it.

    Source: ``openpi_client.image_tools.resize_with_pad``: untouched when it has the size already;
    else scaled by the larger ratio of the two edges, each edge rounded down, and pasted on black
    at half of what is left, rounded down. Pillow's BILINEAR widens its kernel when shrinking.

    Args:
        picture: ``(H, W, 3)`` uint8 RGB, any strides.
        size: ``(h, w)``; None returns the picture itself.

    Returns:
        ``(h, w, 3)`` uint8, C-contiguous; the argument itself where nothing is to be done.
    """
    if size is None or picture.shape[:2] == size:
        return np.ascontiguousarray(picture)
    height, width = size
    ratio = max(picture.shape[1] / width, picture.shape[0] / height)
    inner_height, inner_width = int(picture.shape[0] / ratio), int(picture.shape[1] / ratio)
    resized = Image.fromarray(picture).resize(
        (max(inner_width, 1), max(inner_height, 1)), Image.Resampling.BILINEAR
    )
    if resized.size == (width, height):
        return np.asarray(resized)
    padded = np.zeros((height, width, 3), np.uint8)
    top, left = (height - resized.height) // 2, (width - resized.width) // 2
    padded[top : top + resized.height, left : left + resized.width] = np.asarray(resized)
    return padded
