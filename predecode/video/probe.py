"""The built-in probe picture: the same YUV bytes on every node, through libswscale."""

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["library_versions", "probe_picture"]

_EDGE_PX = 480


def probe_picture() -> NDArray[np.uint8]:
    """Returns ``(480, 480, 3)`` uint8 RGB, made from fixed yuv420p planes as a decoder would.

    libswscale's code without SIMD differs from its SIMD code on a third of the values, so a node
    of another kind shows here and not in the data.
    """
    rows = _EDGE_PX * 3 // 2  # luma rows, then the two chroma planes
    # An integer recurrence: every value of luma and chroma occurs, and it depends on no library.
    values = np.arange(rows * _EDGE_PX, dtype=np.uint64)
    values = (values * np.uint64(2654435761) >> np.uint64(9)) ^ (values // np.uint64(97))
    planes = (values % np.uint64(256)).astype(np.uint8).reshape(rows, _EDGE_PX)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    return frame.to_ndarray(format="rgb24", threads=1).astype(np.uint8, copy=False)


def library_versions() -> dict[str, str]:
    """Returns the versions of av and of the libraries in it that touch pixels."""
    versions = {"av": av.__version__}
    for library in ("libavcodec", "libavformat", "libavutil", "libswscale"):
        versions[library] = ".".join(str(part) for part in av.library_versions[library])
    return versions
