"""Which features of a LeRobot set are cameras. Pure.

Source: ``meta/info.json`` of LeRobot v2.0 to v3.0: ``features`` names each column with its
``dtype`` (``video`` and ``image`` are pictures), ``shape`` and ``names`` of the axes; what is known
of a video stands in ``info``, in ``video_info`` before v2.1.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from predecode.sources.camera_names import camera_name
from train_shards.errors import DataError

__all__ = ["Cameras", "cameras_of"]

_ABOUT = ("info", "video_info")
_DEPTH = ("is_depth_map", "video.is_depth_map")
_CHANNELS = ("channels", "channel", "c")


class Cameras(NamedTuple):
    """The picture features of a set; each has its name, sorted."""

    videos: dict[str, str]
    """Camera -> key of a video feature with three channels."""
    images: dict[str, str]
    """Camera -> key of an image feature, a column of the tables, with three channels."""
    left_out: dict[str, str]
    """Name and key of a camera -> why it is not among them."""


def cameras_of(features: Mapping[str, Mapping[str, Any]]) -> Cameras:
    """Returns the cameras among a set's features.

    Raises:
        DataError: two keys have one name.
    """
    cameras = Cameras({}, {}, {})
    keys: dict[str, str] = {}
    for key, feature in sorted(features.items()):
        kind = feature["dtype"]
        if kind not in ("video", "image"):
            continue
        name = camera_name(key)
        if keys.setdefault(name, key) != key:
            raise DataError(f"cameras {keys[name]!r} and {key!r}: both would be called {name!r}")
        if problem := _not_rgb(feature):
            why = f"{key} {problem}; --src lerobot stores rgb of 3 channels only"
            cameras.left_out.update({name: why, key: why})
        else:
            (cameras.videos if kind == "video" else cameras.images)[name] = key
    return Cameras(*(dict(sorted(part.items())) for part in cameras))


def _not_rgb(feature: Mapping[str, Any]) -> str:
    """What a picture feature is, if no rgb; else ``""``."""
    about = [part for name in _ABOUT if isinstance(part := feature.get(name), Mapping)]
    if any(part.get(flag) for part in about for flag in _DEPTH):
        return "is a depth map"
    shape, names = list(feature["shape"]), feature.get("names")
    if len(shape) != 3:
        return f"has shape {shape}"
    axes = names if isinstance(names, list) and len(names) == 3 else []
    channels = [number for axis, number in zip(axes, shape, strict=False) if axis in _CHANNELS]
    # Where nobody names the axes, channels stand at either end.
    return "" if 3 in (channels or (shape[0], shape[2])) else f"has shape {shape}"
