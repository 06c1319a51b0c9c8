"""The built-in probe picture: the same YUV bytes on every node, through libswscale."""

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["library_versions", "probe_picture"]

_EDGE_PX = 480


def probe_picture(pixel_format: str = "rgb24") -> NDArray[Any]:
    """Returns ``(480, 480, 3)`` uint8 RGB, made from fixed yuv420p planes as a decoder would.

    Another format gives ``(480, 480)`` uint16 codes, made from the planes in 10 bits.

    libswscale's code without SIMD differs from its SIMD code on a third of the values, so a node
    of another kind shows here and not in the data.
    """
    rows = _EDGE_PX * 3 // 2  # luma rows, then the two chroma planes
    # An integer recurrence: every value of luma and chroma occurs, and it depends on no library.
    values = np.arange(rows * _EDGE_PX, dtype=np.uint64)
    values = (values * np.uint64(2654435761) >> np.uint64(9)) ^ (values // np.uint64(97))
    planes = (values % np.uint64(256)).astype(np.uint8).reshape(rows, _EDGE_PX)
    if pixel_format == "rgb24":
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    else:
        frame = av.VideoFrame.from_ndarray(planes.astype(np.uint16) * 4, format="yuv420p10le")
    picture: NDArray[Any] = frame.to_ndarray(format=pixel_format, threads=1)
    return picture


def library_versions() -> dict[str, str]:
    """Returns the versions of av and of the libraries in it that touch pixels."""
    versions = {"av": av.__version__}
    for library in ("libavcodec", "libavformat", "libavutil", "libswscale"):
        versions[library] = ".".join(str(part) for part in av.library_versions[library])
    return versions
