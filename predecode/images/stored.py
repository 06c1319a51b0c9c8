"""What is stored of a decoded picture: RGB pixels, depth codes or instance ids."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from predecode.errors import episode_error
from predecode.images.resize import nearest_with_pad, resize_with_pad
from predecode.images.segmentation import IdLookup
from train_shards.bounds import MAX_EDGE_PX
from train_shards.images import StoredImage
from train_shards.manifest import Settings

__all__ = ["check_edges", "pixel_format", "stored_image"]

Resize: TypeAlias = Callable[[NDArray[np.uint8], tuple[int, int] | None], NDArray[np.uint8]]


def pixel_format(settings: Settings, image: str) -> str:
    """Returns the format, in libav's words, in which an image's pictures are decoded."""
    if settings.modality_of(image) == "depth" and settings.depth is not UNSET:
        return settings.depth.pixel_format
    return "rgb24"


def stored_image(
    picture: NDArray[Any],
    settings: Settings,
    image: str,
    ids: Sequence[int] | None,
    resize: Resize = resize_with_pad,
) -> StoredImage:
    """Returns what is stored of a picture, C-contiguous; may be the picture itself.

    RGB is resized as the trainer does. Codes and ids between two values mean nothing, so that of
    these the nearest pixel is taken.

    Args:
        picture: as decoded in ``pixel_format``.
        settings: of the output.
        image: its name.
        ids: of a segmentation, in the order of its palette.
        resize: of RGB: Pillow, with which outputs are verified, or what makes the same pixels.
    """
    size = settings.picture_size
    if settings.is_rgb(image):
        return resize(picture, size)
    if ids is None:
        return nearest_with_pad(picture, size)
    return nearest_with_pad(picture, size, _id_lookup(tuple(ids)).lookup)


def check_edges(image: StoredImage, episode_index: int, path: str, camera: str) -> None:
    """Passes when an image is not larger than readers take it.

    Raises:
        EpisodeError: it is.
    """
    height, width = image.shape[:2]
    if max(height, width) > MAX_EDGE_PX:
        raise episode_error(
            episode_index, path, "picture too large to be stored",
            f"at most {MAX_EDGE_PX} pixels each way", f"{width}x{height}", camera,
        )  # fmt: skip


@functools.lru_cache(maxsize=16)
def _id_lookup(ids: tuple[int, ...]) -> IdLookup:
    return IdLookup(list(ids))
