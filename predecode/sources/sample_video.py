"""Video files of the sample, encoded as those of the two editions were.

The only file of the sample that imports av. One encoder thread, so that the same pictures give the
same bytes wherever the same build of the encoder runs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt

from predecode.sources.sample_layout import FPS, EpisodeSpec
from predecode.sources.sample_pictures import (
    depth_pictures,
    rgb_pictures,
    segmentation_pictures,
)

__all__ = ["VideoJob", "cut_video", "encode_video", "join_videos"]

_X265_ONE_THREAD = "log-level=none:pools=none:frame-threads=1"
"""The published files were written with ``log-level=none`` alone. Without a thread pool and with
one frame in flight the bytes do not depend on the machine's cores; GOP length (250), B frames,
scene-cut detection, preset (medium) and rate (crf 28) stay at x265's defaults."""

_X264_OPTIONS = {"preset": "veryfast", "crf": "23", "x264-params": "cpu-independent=1"}
"""Rollouts were written with preset and crf alone. Without ``cpu-independent`` the same pictures
give other bytes from call to call where the processor has AVX-512 (x264 core 165, by its ``mbtree``
code, even with one thread)."""


_RECIPE_2026 = {"g": "8", "crf": "30", "x265-params": f"{_X265_ONE_THREAD}:bframes=0"}
"""Source: the 2026 edition's RGB encoder settings; its threads as above."""
_DEPTH_RECIPE_2026 = _RECIPE_2026 | {"crf": "0"}
"""Source: likewise. Of 12-bit pictures x265's crf 0 is not lossless."""


@dataclass(frozen=True)
class VideoJob:
    """One video file to make."""

    path: Path
    """Its folder exists."""
    spec: EpisodeSpec
    modality: str
    """One of ``MODALITIES``; RGB only where the episode is a rollout."""
    camera: str
    side_px: int
    """Height and width."""
    edition: str = "2025"
    """``2025`` or ``2026``, which made RGB and depth otherwise."""


def encode_video(job: VideoJob) -> None:
    """Writes the job's mp4 file: one picture per frame of the episode, first pts 0.

    Cost: about 12 to 18 megapixels a second on one core.
    """
    spec, camera, side_px = job.spec, job.camera, job.side_px
    if job.modality == "depth" and job.edition == "2026":
        depth = depth_pictures(spec, camera, side_px, job.edition)
        _encode(job, depth, "gray12le", "libx265", "gray12le", _DEPTH_RECIPE_2026)
    elif job.modality == "depth":
        # The depth codes use 14 of 16 bits of a full-range grey; the conversion to 10-bit limited
        # range loses most of them, in the published files too, though the codec is lossless.
        params = {"x265-params": f"lossless=1:{_X265_ONE_THREAD}"}
        depth = depth_pictures(spec, camera, side_px)
        _encode(job, depth, "gray16le", "libx265", "yuv420p10le", params)
    elif job.modality == "seg_instance_id":
        params = {"x265-params": _X265_ONE_THREAD}
        segmentation = segmentation_pictures(spec, camera, side_px)
        _encode(job, segmentation, "rgb24", "libx265", "yuv420p", params)
    elif job.edition == "2026":
        _encode(
            job, rgb_pictures(spec, camera, side_px), "rgb24", "libx265", "yuv420p", _RECIPE_2026
        )
    else:
        codec = "libx264" if spec.is_rft else "libx265"
        params = _X264_OPTIONS if spec.is_rft else {"x265-params": _X265_ONE_THREAD}
        _encode(job, rgb_pictures(spec, camera, side_px), "rgb24", codec, "yuv420p", params)


def join_videos(parts: Sequence[Path], path: Path) -> None:
    """Writes the packets of some mp4 files as one, unchanged, each part after the one before it.

    The parts have one encoder's settings, and pts that begin at 0 and step by one frame.
    """
    with av.open(str(path), "w") as target:
        stream: av.VideoStream | None = None
        start = 0
        for part in parts:
            with av.open(str(part)) as source:
                own = source.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(own)
                stop = start
                for packet in source.demux(own):
                    if packet.pts is None or packet.dts is None or packet.duration is None:
                        continue  # the empty packet at the end
                    packet.pts, packet.dts = packet.pts + start, packet.dts + start
                    stop = max(stop, packet.pts + packet.duration)
                    packet.stream = stream
                    target.mux(packet)
                start = stop


def cut_video(path: Path, num_pictures: int) -> None:
    """Leaves only the first pictures of an mp4 file whose packets stand in order of display."""
    whole = path.with_suffix(".whole.mp4")
    path.rename(whole)
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        own = source.streams.video[0]
        stream = target.add_stream_from_template(own)
        for packet in islice(source.demux(own), num_pictures):
            packet.stream = stream
            target.mux(packet)
    whole.unlink()


def _encode(
    job: VideoJob,
    pictures: Iterable[npt.NDArray[np.uint8]] | Iterable[npt.NDArray[np.uint16]],
    picture_format: str,
    codec: str,
    pix_fmt: str,
    options: dict[str, str],
) -> None:
    movflags = {"movflags": "+faststart"} if job.spec.is_rft else {}
    with av.open(str(job.path), "w", options=movflags) as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=FPS, options=options))
        stream.width = stream.height = job.side_px
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format=picture_format)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
