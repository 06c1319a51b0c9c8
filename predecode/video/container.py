"""Opening files with libav, and reading packets from them, with its errors as ``MediaError``.

Owns what every user of libav here must not forget: containers are closed, paths are never taken
for protocols, a stream that libav cannot decode is refused at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from predecode.errors import MediaError

__all__ = ["demux", "open_video"]


@contextmanager
def open_video(
    path: Path, stream_index: int | None = None
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file with libav, hand out the container and one video stream, close it at exit.

    Args:
        path: A local video file.
        stream_index: libav's index of the stream; None takes the one libav calls best.

    Raises:
        MediaError: libav cannot open the file, it has no such video stream, or libav has no decoder
            for it or cannot tell its picture format.

    Cost:
        libav reads the header and decodes the first pictures where the header does not tell enough.
    """
    try:
        # An absolute path cannot be read as a protocol, as "a:b.mp4" could.
        container = av.open(str(path.absolute()), mode="r", metadata_errors="replace")
    except av.FFmpegError as e:
        raise MediaError("file cannot be opened", "a video file", str(e.strerror)) from e
    with container:
        stream = _video_stream(container, stream_index)
        codec = _codec(stream)
        if codec is None or codec.pix_fmt is None or min(codec.width, codec.height) < 1:
            got = "no decoder" if codec is None else f"{codec.width}x{codec.height} {codec.pix_fmt}"
            raise MediaError("stream cannot be decoded", "a known codec, size and format", got)
        if stream.time_base is None:
            raise MediaError("stream has no time base", "a length of a tick", "none")
        yield container, stream


def demux(container: InputContainer, stream: VideoStream) -> Iterator["Packet[VideoStream]"]:
    """Yield the stream's packets from where the container stands, in decode order.

    Leaves out the empty packet by which PyAV tells the end; holds those that an edit list hides.

    Raises:
        MediaError: the file cannot be read on, or libav marks a packet as cut.
    """
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise MediaError("packet is damaged", "a whole packet", f"pts {packet.pts}, cut")
            if packet.size or packet.pts is not None:
                yield packet
    except av.FFmpegError as e:
        raise MediaError("file cannot be read to its end", "a packet", str(e.strerror)) from e


def _video_stream(container: InputContainer, stream_index: int | None) -> VideoStream:
    if stream_index is None:
        stream = container.streams.best("video")
    else:
        stream = next((s for s in container.streams if s.index == stream_index), None)
    if not isinstance(stream, VideoStream):
        wanted = "a video stream" if stream_index is None else f"video stream {stream_index}"
        kinds = (
            ", ".join(f"{s.index} {s.type}" for s in list(container.streams)[:10]) or "no streams"
        )
        raise MediaError("video stream missing", wanted, kinds)
    return stream


def _codec(stream: VideoStream) -> VideoCodecContext | None:
    """The stream's decoder, None where libav has none, which PyAV 18's type does not say."""
    return stream.codec_context
