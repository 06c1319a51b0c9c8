"""Which pixel formats carry an edition's depth codes, and what others are.

Depth decodes from any format without an error. Held against the wrong formula it gives distances
that look right, so a file of another format is a fault of its episode.
"""

from predecode.errors import episode_error
from predecode.sources.episode import Episode

__all__ = ["check_depth_format"]

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
