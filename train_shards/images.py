"""Stored images <-> bytes and what items show of them, by modality.

As stored: RGB pixels ``(h, w, 3)`` uint8, depth codes ``(h, w)`` uint16, instance ids ``(h, w)``
uint16 or uint32.
"""

from typing import Any, Literal, TypeAlias

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from train_shards.codec import decode_codes, decode_image, encode_codes, encode_image
from train_shards.depth import metres
from train_shards.errors import DataError
from train_shards.manifest import Settings

__all__ = ["StoredImage", "decode_stored", "encode_stored", "shown"]

StoredImage: TypeAlias = NDArray[Any]

_ARRAYS: dict[str, Literal["codes", "ids"]] = {"depth": "codes", "seg_instance_id": "ids"}
"""Modality -> name of the array in the ``.npz``."""


def encode_stored(image: StoredImage, settings: Settings, name: str) -> bytes:
    """Returns the bytes of the member of the image ``name``."""
    if settings.is_rgb(name):
        return encode_image(image, settings.codec, settings.quality, settings.subsampling)
    return encode_codes(image, _ARRAYS[settings.modality_of(name)])


def decode_stored(
    data: bytes | memoryview, settings: Settings, name: str, size: tuple[int, int] | None
) -> StoredImage:
    """Returns the image ``name`` as it was stored, a writable array.

    Args:
        data: its member.
        settings: of the output.
        name: of the image.
        size: expected ``(h, w)``; None where sizes differ between pictures.

    Raises:
        DataError: the bytes are no such image.
    """
    if settings.is_rgb(name):
        return decode_image(data, settings.codec, size)
    return decode_codes(data, _ARRAYS[settings.modality_of(name)], size)


def shown(image: StoredImage, settings: Settings, name: str) -> NDArray[Any]:
    """Returns what an item holds of a stored image.

    RGB as it is; depth as ``(h, w)`` float32 metres; segmentation as ``(h, w)`` int64 ids.

    Raises:
        DataError: a code beyond the scale.
    """
    if settings.is_rgb(name):
        return image
    if settings.modality_of(name) == "seg_instance_id":
        return image.astype(np.int64)
    if settings.depth is UNSET:
        raise DataError(f"image {name}: the manifest does not say what depth codes mean")
    return metres(image, settings.depth)
