"""What depth codes mean, and which pixel formats carry them.

Depth decodes from any format without an error. Held against the wrong formula it gives distances
that look right, so a file of another format is a fault of its episode.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from predecode.errors import episode_error
from predecode.sources.episode import Episode
from train_shards.depth import DepthScale, check_scale
from train_shards.errors import DataError, UserError

__all__ = ["check_depth_format", "declared_scale"]

_CARRIERS = {
    "gray16le": ("yuv420p10le", "yuv420p12le", "yuv420p16le"),
    "gray12le": ("gray12le",),
}
"""Form in which codes are read -> formats of the video that carry them. Source: the 2025 edition's
writer (14-bit codes as 4:2:0 of 10 bits; its loader reads more bits alike, and its info.json names
16), and the 2026 edition's."""

_STRANGERS = {
    "gbrp": (
        "8-bit colours, as huecodec packs depth on the editions' development branch: hues, which "
        "this formula does not turn into distances"
    ),
    "yuv444p12le": "16-bit codes in 4:4:4 of 12 bits, as on the editions' development branch",
    "yuv420p": "8 bits, as RGB and segmentation have",
    "yuv420p10le": "14-bit codes in 4:2:0 of 10 bits, as in the 2025 edition",
    "gray12le": "12-bit codes, as in the 2026 edition",
}
"""What a format that is not expected most likely is."""

_CONSTANTS = {
    "video.depth_min": "min_m",
    "video.depth_max": "max_m",
    "video.shift": "shift_m",
    "video.use_log": "is_log",
}
"""Source: LeRobot v3 keeps its depth encoder's settings under these names in a feature's ``info``,
and its reader takes them from there."""


def declared_scale(
    features: Mapping[str, Any], keys: Mapping[str, str], default: DepthScale
) -> DepthScale:
    """Returns what the codes of some depth videos mean, by the data set's ``info.json``.

    Args:
        features: of ``info.json``.
        keys: image -> video key, at least one.
        default: where a feature says nothing.

    Raises:
        UserError: they differ between the videos, or make no scale.
    """
    infos = {image: features[key].get("info") or {} for image, key in keys.items()}
    scales = {
        image: msgspec.structs.asdict(default)
        | {field: info[name] for name, field in _CONSTANTS.items() if name in info}
        for image, info in infos.items()
    }
    first, scale = next(iter(scales.items()))
    for image, other in scales.items():
        if other != scale:
            raise UserError(
                f"meta/info.json: depth of {image} and {first} differ: expected one scale for all, "
                f"got {[other[name] for name in _CONSTANTS.values()]} and "
                f"{[scale[name] for name in _CONSTANTS.values()]} (min, max, shift, log)."
            )
    try:
        converted = msgspec.convert(scale, DepthScale)
        check_scale(converted, where="meta/info.json")
    except (msgspec.ValidationError, DataError) as error:
        raise UserError(f"meta/info.json: depth: {error}") from error
    return converted


def check_depth_format(episode: Episode, image: str, pix_fmt: str) -> None:
    """Passes when a video's pixel format carries the codes that the source says; RGB always.

    Raises:
        EpisodeError: it does not; the message says what it is.
    """
    span = episode.videos[image]
    carriers = _CARRIERS.get(span.codes) if isinstance(span.codes, str) else None
    if carriers is None or pix_fmt in carriers:
        return
    raise episode_error(
        episode.episode_index,
        span.path,
        "not this edition's depth",
        f"pixel format {' or '.join(carriers)}",
        f"{pix_fmt} ({_STRANGERS.get(pix_fmt, 'no edition of BEHAVIOR-1K has depth so')})",
        image,
    )
