"""The decoder on torchcodec: exact seeks, one thread.

Importing this file imports torch and torchcodec, which needs FFmpeg's shared libraries.
"""

from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torchcodec
from numpy.typing import NDArray
from torchcodec import Frame
from torchcodec.decoders import VideoDecoder

from predecode.errors import MediaError
from predecode.stages import stage
from predecode.video.decoder import Decoder, rank_at
from predecode.video.packets import FrameTable

__all__ = ["CONVERSION", "TorchcodecDecoder", "torchcodec_versions"]

CONVERSION = (
    "width a multiple of 32: sws_scale without flags, told the matrix but not the range (full in "
    "the formats yuvj… only); other widths: a libavfilter graph that converts by the frame's tags"
)
"""Source: torchcodec 0.13, ``_core``: CpuDeviceInterface.cpp, SwScale.cpp, FFMPEGCommon.cpp."""

RESOLUTION_S = Fraction(1, 10**9)
"""torchcodec tells ``pts * time_base`` as a float of 53 bits: exact to 1 ns for 100 days."""


class TorchcodecDecoder(Decoder):
    """A ``Decoder`` on torchcodec; damage that FFmpeg conceals goes unnoticed."""

    backend = "torchcodec"

    def __init__(self, path: Path, table: FrameTable | None = None) -> None:
        """Opens the file, as ``Decoder`` says.

        Cost:
            Reads the file's packets once.
        """
        super().__init__(path, table)
        try:
            # "approximate" gives the keyframe for the pictures before it in open GOPs, and is then
            # off by two; "exact" is right.
            self._decoder: VideoDecoder | None = VideoDecoder(
                str(path.absolute()),
                stream_index=self._table.stream_index,
                dimension_order="NHWC",
                num_ffmpeg_threads=1,
                seek_mode="exact",
            )
        except (RuntimeError, ValueError) as e:
            raise MediaError("torchcodec cannot open the file", "a video", _line(e)) from e

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        super().close()
        self._decoder = None

    def _picture(self, rank: int) -> NDArray[np.uint8]:
        name = self._name(int(self._table.pts[rank]))
        try:
            with stage("decode"):
                frame = self._frame(rank)
        except (RuntimeError, IndexError) as e:
            raise MediaError(f"torchcodec fails at {name}", "a picture", _line(e)) from e
        got = rank_at(self._table, frame.pts_seconds, RESOLUTION_S)
        if got != rank:
            time = f"picture {got} at {frame.pts_seconds} s"
            raise MediaError("torchcodec gives another picture", name, time)
        picture: NDArray[np.uint8] = frame.data.numpy()
        self._check_size(name, picture.shape[1], picture.shape[0])
        return picture

    def _frame(self, rank: int) -> Frame:
        if self._decoder is None:
            raise ValueError(f"decoder of {self._path.name} is closed")
        try:
            return self._decoder.get_frame_at(rank)
        except RuntimeError:
            # torchcodec 0.13.0 loses the very last picture of an H.264 file with open GOPs after a
            # seek; one by one from before the keyframe, which needs none, it comes.
            key = self._table.governing_keyframe(rank)
            first = max(int(self._table.keyframe_ranks[key]) - 1, 0)
            for earlier in range(first, rank):
                self._decoder.get_frame_at(earlier)
            return self._decoder.get_frame_at(rank)


def torchcodec_versions() -> dict[str, str]:
    """Returns the versions of torchcodec, torch, and the FFmpeg that torchcodec has loaded."""
    versions = {"torchcodec": version("torchcodec"), "torch": version("torch")}
    # Not public: release 0.13 has it, another may not.
    core = getattr(torchcodec, "_core", None)
    of_ffmpeg = getattr(core, "get_ffmpeg_library_versions", dict)
    for library, number in of_ffmpeg().items():
        words = number if isinstance(number, str) else ".".join(map(str, number))
        versions[library.removesuffix("_version")] = words
    return versions


def _line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
