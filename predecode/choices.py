"""The sensible other ways to store a data set, which a prediction compares. Pure."""

from typing import NamedTuple

import msgspec

from train_shards.manifest import Settings

__all__ = ["STRIDES", "other_encodings", "strides"]

STRIDES = (1, 3, 6)


class _Encoding(NamedTuple):
    size: str
    codec: str
    quality: int | None


_ENCODINGS = (
    _Encoding("224x224", "jpeg", 90),
    _Encoding("224x224", "jpeg", 95),
    _Encoding("224x224", "webp", 90),
    _Encoding("224x224", "webp", None),
    _Encoding("224x224", "png", None),
    _Encoding("224x224", "raw", None),
    _Encoding("native", "jpeg", 95),
)


def other_encodings(settings: Settings) -> list[Settings]:
    """Returns the settings with each other size and codec; without any RGB image, sizes only."""
    found: list[Settings] = []
    has_rgb = any(settings.is_rgb(image) for image in settings.camera_names)
    for size, codec, quality in _ENCODINGS:
        one = msgspec.structs.replace(settings, size=size)
        if has_rgb:
            one = msgspec.structs.replace(one, codec=codec, quality=quality)
        if one not in (settings, *found):
            found.append(one)
    return found


def strides(settings: Settings) -> list[int]:
    """Returns the strides to compare, ascending, that of the settings among them."""
    return sorted({settings.stride, *STRIDES})
