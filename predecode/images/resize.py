"""The trainer's own resize: Pillow BILINEAR, aspect kept, black borders; and one for codes."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["inner_size", "nearest_with_pad", "pasted", "resize_with_pad"]

_Pixel = TypeVar("_Pixel", bound=np.generic)


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
    inner = inner_size(picture.shape[:2], size)
    resized = Image.fromarray(picture).resize(inner[::-1], Image.Resampling.BILINEAR)
    return _padded(np.asarray(resized), size)


def nearest_with_pad(
    picture: NDArray[Any],
    size: tuple[int, int] | None,
    convert: Callable[[NDArray[Any]], NDArray[Any]] = np.ascontiguousarray,
) -> NDArray[Any]:
    """Returns a picture of codes, ids or palette colours at ``size``: no new value but 0 arises.

    Borders as those of ``resize_with_pad``. Each pixel is the one at ``floor((i + 0.5) * scale)``.
    Source: torch's ``nearest-exact``, which the 2025 edition's own loaders of depth and
    segmentation use; torch computes the index in float32.

    Args:
        picture: ``(H, W)`` or ``(H, W, 3)`` of any type, any strides.
        size: ``(h, w)``; None keeps the picture's own.
        convert: what is done to the chosen pixels, before the borders come.

    Returns:
        ``(h, w)`` or ``(h, w, 3)``, C-contiguous; the argument itself where nothing is to be done.
    """
    if size is None or picture.shape[:2] == size:
        return convert(picture)
    inner = inner_size(picture.shape[:2], size)
    rows = _nearest(picture.shape[0], inner[0])
    columns = _nearest(picture.shape[1], inner[1])
    return _padded(convert(picture[rows[:, None], columns[None, :]]), size)


def inner_size(source: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int]:
    """Returns height and width, without borders, of a picture of ``source`` ``(H, W)`` at a size.

    >>> inner_size((720, 1280), (224, 224))
    (126, 224)
    """
    ratio = max(source[1] / size[1], source[0] / size[0])
    return max(int(source[0] / ratio), 1), max(int(source[1] / ratio), 1)


def _nearest(num_from: int, num_to: int) -> NDArray[np.int64]:
    """``(num_to,)``: which row or column of the source each one takes."""
    scale = np.float32(num_from) / np.float32(num_to)
    places = (np.arange(num_to, dtype=np.float32) + np.float32(0.5)) * scale
    nearest: NDArray[np.int64] = np.minimum(places.astype(np.int64), num_from - 1)
    return nearest


def pasted(
    write: Callable[[NDArray[np.uint8]], None], source: tuple[int, ...], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Returns ``(h, w, 3)`` uint8 whose middle ``write`` has written; the borders are 0.

    Args:
        write: takes a view of the picture's place, ``(h', w', 3)``.
        source: ``(H, W)`` of the picture.
        size: ``(h, w)``.
    """
    inner = inner_size(source, size)
    picture = (np.empty if inner == size else np.zeros)((*size, 3), np.uint8)
    write(_middle(picture, inner))
    return picture


def _padded(inner: NDArray[_Pixel], size: tuple[int, int]) -> NDArray[_Pixel]:
    """The picture in the middle of zeros; itself where it fills the size."""
    if inner.shape[:2] == size:
        return inner
    padded = np.zeros((*size, *inner.shape[2:]), inner.dtype)
    _middle(padded, inner.shape)[:] = inner
    return padded


def _middle(picture: NDArray[_Pixel], inner: tuple[int, ...]) -> NDArray[_Pixel]:
    """A view of the place of a picture within its borders."""
    top, left = (picture.shape[0] - inner[0]) // 2, (picture.shape[1] - inner[1]) // 2
    return picture[top : top + inner[0], left : left + inner[1]]
