"""Why a decoder's picture is not PyAV's: other colours or another picture, found by trying.

Owns the conversions that are tried, and the words for how a stream is tagged.
"""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from predecode.video.container import open_video
from predecode.video.packets import FrameTable
from predecode.video.pyav import PyavDecoder

__all__ = ["ColorTags", "Conversion", "Explanation", "explain", "read_color_tags"]

UNTAGGED = "untagged"
_RANGE_WORDS = {1: "limited", 2: "full"}
_MATRIX_WORDS = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco",
    9: "bt2020nc", 10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc",
    13: "chroma-derived-c", 14: "ictcp",
}  # fmt: skip
"""Source: libavutil's ``AVColorSpace`` and its names (``av_color_space_name``)."""

_MATRICES = {
    "BT.601": (Colorspace.ITU601, ("bt470bg", "smpte170m", UNTAGGED)),
    "BT.709": (Colorspace.ITU709, ("bt709",)),
    "BT.2020": (Colorspace.BT2020, ("bt2020nc", "bt2020c")),
    "FCC": (Colorspace.FCC, ("fcc",)),
    "SMPTE 240M": (Colorspace.SMPTE240M, ("smpte240m",)),
}
"""Matrix -> PyAV's word, and the tags that mean it; libswscale takes what has none for BT.601."""
_RANGES = {"limited": ColorRange.MPEG, "full": ColorRange.JPEG}

_OWN_FLAGS = Interpolation.BILINEAR
"""PyAV's where nothing else is asked for. Source: ``VideoReformatter.reformat``, PyAV 18."""
_FLAGS = (
    Interpolation.BICUBIC,
    Interpolation.AREA,
    Interpolation.FAST_BILINEAR,
    Interpolation.POINT,
    Interpolation.LANCZOS,
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
    Interpolation.BILINEAR | Interpolation.BITEXACT,
    Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT,
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
)
_SHIFTS = (-1, 1, -2, 2)
"""Neighbours in time that are tried, in this order."""


class ColorTags(NamedTuple):
    """What a stream says of itself."""

    color_range: str
    """``limited``, ``full`` or ``untagged``."""
    color_matrix: str
    """libav's word, such as ``bt709``, or ``untagged``."""


class Conversion(NamedTuple):
    """How a picture becomes RGB; ``None`` leaves it to the tags of the picture, as PyAV does."""

    matrix: str | None = None
    color_range: str | None = None
    flags: Interpolation = _OWN_FLAGS
    heeds_location: bool = True
    """Whether chroma samples are taken to lie where the stream says.

    Source: PyAV 18 (libswscale 9) heeds it; torchcodec 0.13 on libswscale 6 equals, to the bit,
    what PyAV makes of a 10-bit picture that does not say."""

    def words(self, tags: ColorTags) -> str:
        """In which ways it is not PyAV's."""
        parts = []
        if self.matrix:
            parts.append(f"converts with {self.matrix} although {_says(tags.color_matrix)}")
        if self.color_range:
            parts.append(
                f"takes values for {self.color_range} range although {_says(tags.color_range)}"
            )
        if self.flags != _OWN_FLAGS:
            parts.append(
                f"converts with {_flag_words(self.flags)} (PyAV: {_flag_words(_OWN_FLAGS)})"
            )
        if not self.heeds_location:
            parts.append("ignores where chroma samples lie (PyAV: as the stream says)")
        return " and ".join(parts) or "converts as PyAV does"


class Explanation(NamedTuple):
    """What of PyAV's comes nearest to a picture."""

    shift: int
    """Picture of PyAV: so many places after the one asked for, in display order."""
    conversion: Conversion
    largest: int
    """What is left of the difference, in levels; 0: this explains it to the bit."""
    mean: float
    num_tried: int
    """Conversions and neighbours."""

    @property
    def is_pyavs(self) -> bool:
        """Whether the picture is simply PyAV's."""
        return not (self.shift or self.largest) and self.conversion == Conversion()

    def words(self, name: str, tags: ColorTags) -> str:
        """One clause without figures on how the decoder ``name`` differs from PyAV."""
        clauses = []
        if self.shift:
            side = "before" if self.shift < 0 else "after"
            clauses.append(f"gives the picture {abs(self.shift)} {side} the one asked for")
        if self.conversion != Conversion() or not self.shift:
            clauses.append(self.conversion.words(tags))
        found = " and ".join(clauses)
        return f"{name} is not explained (nearest: {found})" if self.largest else f"{name} {found}"


def read_color_tags(path: Path, stream_index: int | None) -> ColorTags:
    """Returns what the stream's header says its numbers mean.

    Raises:
        MediaError: the file cannot be opened.
    """
    with open_video(path, stream_index) as (_, stream):
        codec = stream.codec_context
        return ColorTags(
            color_range=_RANGE_WORDS.get(int(codec.color_range), UNTAGGED),
            color_matrix=_MATRIX_WORDS.get(int(codec.colorspace), UNTAGGED),
        )


def explain(
    pictures: Mapping[str, NDArray[np.uint8]],
    path: Path,
    table: FrameTable,
    tags: ColorTags,
    rank: int,
) -> dict[str, Explanation]:
    """Returns for each decoder's picture of one rank what of PyAV's equals it, or comes nearest.

    Args:
        pictures: decoder -> ``(H, W, 3)`` uint8 RGB.
        path: the video.
        table: its frame table.
        tags: what its stream says.
        rank: which picture was asked for.

    Raises:
        MediaError: PyAV cannot decode that picture.

    Cost: a GOP, and up to 172 conversions and comparisons for each picture that nothing equals:
    1 s each at 720 x 720.
    """
    frames = _frames_around(path, table, rank)
    return {name: _nearest(picture, frames, tags) for name, picture in pictures.items()}


class _FrameKeeper(PyavDecoder):
    """Keeps the decoded picture from which it made RGB last."""

    frame: VideoFrame

    def _pixels(self, frame: VideoFrame) -> NDArray[np.uint8]:
        self.frame = frame
        return super()._pixels(frame)


def _frames_around(path: Path, table: FrameTable, rank: int) -> dict[int, VideoFrame]:
    """Decoded pictures by their distance from ``rank``."""
    near = sorted(rank + shift for shift in (0, *_SHIFTS))
    with _FrameKeeper(path, table) as decoder:
        ranks = [r for r in near if 0 <= r < len(table)]
        return {r - rank: decoder.frame for r, _ in decoder.pictures(ranks)}


def _nearest(
    picture: NDArray[np.uint8], frames: Mapping[int, VideoFrame], tags: ColorTags
) -> Explanation:
    reformatter = VideoReformatter()
    best: tuple[float, int, int, Conversion] | None = None
    num_tried = 0
    for shift, conversion in _candidates(tags):
        if shift not in frames:
            continue
        try:
            other = _convert(reformatter, frames[shift], conversion)
        except av.FFmpegError:
            continue  # libswscale refuses some combinations; those are not what it did elsewhere
        num_tried += 1
        if np.array_equal(picture, other):
            return Explanation(shift, conversion, 0, 0.0, num_tried)
        distances = np.abs(picture.astype(np.int16) - other)
        mean = float(distances.mean())
        if best is None or mean < best[0]:
            best = mean, int(distances.max()), shift, conversion
    if best is None:
        raise ValueError("no conversion to RGB, though PyAV made one of this picture")
    mean, largest, shift, conversion = best
    return Explanation(shift, conversion, largest, mean, num_tried)


def _candidates(tags: ColorTags) -> Iterable[tuple[int, Conversion]]:
    """What may have happened, the simplest first; nothing that the tags already say."""
    matrices = [m for m, (_, meant) in _MATRICES.items() if tags.color_matrix not in meant]
    own_range = "full" if tags.color_range == "full" else "limited"
    ranges = [r for r in _RANGES if r != own_range]
    colors = [Conversion(m, r) for m, r in itertools.product([None, *matrices], [None, *ranges])]
    colors.sort(key=lambda color: (color.matrix is not None) + (color.color_range is not None))
    # Keys of a dictionary: each once, in this order.
    return dict.fromkeys(
        [
            *((shift, Conversion()) for shift in (0, *_SHIFTS)),
            *(
                (0, c._replace(flags=f))
                for f, c in itertools.product((_OWN_FLAGS, *_FLAGS), colors)
            ),
            *((0, Conversion(flags=f, heeds_location=False)) for f in (_OWN_FLAGS, *_FLAGS)),
            *itertools.product(_SHIFTS, colors),
        ]
    )


def _convert(
    reformatter: VideoReformatter, frame: VideoFrame, conversion: Conversion
) -> NDArray[np.uint8]:
    matrix, color_range = conversion.matrix, conversion.color_range
    rgb = reformatter.reformat(
        frame if conversion.heeds_location else _without_location(frame),
        format="rgb24",
        src_colorspace=_MATRICES[matrix][0] if matrix else None,
        src_color_range=_RANGES[color_range] if color_range else None,
        interpolation=conversion.flags,
        threads=1,
    )
    return rgb.to_ndarray().astype(np.uint8, copy=False)


def _without_location(frame: VideoFrame) -> VideoFrame:
    """The same numbers in a new frame, which says nothing of where its chroma samples lie."""
    copy = VideoFrame(frame.width, frame.height, frame.format.name)
    for old, new in zip(frame.planes, copy.planes, strict=True):
        rows = np.zeros((new.height, new.line_size), np.uint8)
        width = min(old.line_size, new.line_size)
        rows[:, :width] = np.frombuffer(memoryview(old), np.uint8).reshape(-1, old.line_size)[
            : new.height, :width
        ]
        new.update(rows.tobytes())
    copy.colorspace, copy.color_range = frame.colorspace, frame.color_range
    return copy


def _says(tag: str) -> str:
    return "the stream says nothing" if tag == UNTAGGED else f"the stream says {tag}"


def _flag_words(flags: Interpolation) -> str:
    return "|".join(f"SWS_{flag.name}" for flag in flags)
