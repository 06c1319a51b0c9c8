"""What the tests of this directory compare with: libav's plain sequential decode."""

import os
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from predecode.video.decoder import Decoder
from tests.support.media import HEIGHT_PX, NASA_MP4, WIDTH_PX, read_number


def require_nasa() -> None:
    """Skips where the film is absent, unless PREDECODE_REQUIRE_MEDIA forbids it."""
    if not NASA_MP4.exists() and not os.environ.get("PREDECODE_REQUIRE_MEDIA"):
        pytest.skip(f"{NASA_MP4.name} is not there; PREDECODE_REQUIRE_MEDIA=1 makes this a failure")


@cache
def sequential(path: Path) -> dict[int, NDArray[np.uint8]]:
    """Every picture by pts, ``(H, W, 3)`` uint8 RGB, as the simplest reader gets it."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        assert isinstance(stream, av.VideoStream)
        for packet in container.demux(stream):
            for frame in packet.decode():
                assert frame.pts is not None
                picture = frame.to_ndarray(format="rgb24")
                pictures[frame.pts] = picture.astype(np.uint8, copy=False)
    return pictures


def check(decoder: Decoder, path: Path, ranks: list[int]) -> None:
    """That the decoder gives exactly these pictures, bit for bit as the sequential decode does."""
    expected = sequential(path)
    pts = sorted(expected)
    seen = []
    for rank, picture in decoder.pictures(ranks):
        assert np.array_equal(picture, expected[pts[rank]]), f"{path.name}: picture {rank}"
        if path != NASA_MP4:
            assert picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
            assert read_number(picture) == rank
        seen.append(rank)
    assert seen == ranks
