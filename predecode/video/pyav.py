"""The decoder on PyAV (libav): one thread, exact pictures.

Owns the traps of libav: seeks that land after their target, leading pictures of open GOPs,
damage that is concealed, threads. Identifies each picture by its integer pts alone.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from predecode.errors import MediaError
from predecode.stages import stage, timed
from predecode.video.container import demux, open_video
from predecode.video.decoder import RGB, Picture, SequentialDecoder
from predecode.video.packets import FrameTable
from predecode.video.spare_packets import SparePackets

__all__ = ["CONVERSION", "PyavDecoder"]

CONVERSION = (
    "sws_scale_frame with SWS_BILINEAR, one thread; matrix and range by the frame's tags, BT.601 "
    "and limited where it has none"
)
"""Source: PyAV 18, ``VideoReformatter.reformat``."""

ERR_DETECT = {"h264": "crccheck"}
"""libav's strictness by codec, the strictest under which it decodes sound files.

With ``explode``, the H.264 decoder refuses sound pictures after a seek to an open GOP ("mmco: unref
short failure"); it tells damage by marking pictures corrupt anyway.

Source: libavcodec 62. Of 60 overwritten pieces of 200 bytes in the middle of a picture, 57 are
noticed in H.264 and 54 in AV1, but 13 in HEVC, whose decoder reads almost any bytes as some
picture; all 60 where the HEVC stream carries picture hashes (x265 ``hash=1``).
"""

ERR_DETECT_DEFAULT = "crccheck+explode"
"""For codecs that ``ERR_DETECT`` does not name."""

MAX_SEEKS = 4
"""Seeks tried before the file is read from its start."""

_Packets: TypeAlias = Iterator["Packet[VideoStream]"]
_Frames: TypeAlias = Iterator[tuple[int, VideoFrame]]


class PyavDecoder(SequentialDecoder[VideoFrame]):
    """A ``Decoder`` on PyAV.

    The pixels are those of ``VideoFrame.to_ndarray`` in the same format, in read-only views. A
    picture that is damaged, as far as libav notices, is an error too.
    """

    backend = "pyav"

    def __init__(
        self, path: Path, table: FrameTable | None = None, pixel_format: str = RGB
    ) -> None:
        """Opens the file, as ``Decoder`` says.

        ``pixel_format`` is ``rgb24``, or one of grey in 16 bits, ``gray16le`` or ``gray12le``:
        pictures are then ``(H, W)`` uint16.
        """
        super().__init__(path, table)
        self._pixel_format = pixel_format
        self._reformatter = VideoReformatter()
        self._file = ExitStack()
        self._open()

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        super().close()
        self._file.close()

    def _open(self) -> None:
        """Open the file, in place of an open one, and stand at its start."""
        self._file.close()
        with stage("read"):
            self._container, self._stream = self._file.enter_context(
                open_video(self._path, self._table.stream_index)
            )
        self._is_at_start = True
        self._spare = SparePackets(self._stream)
        codec = self._stream.codec_context
        codec.thread_type = "NONE"
        codec.thread_count = 1
        strictness = ERR_DETECT.get(self._table.codec_name, ERR_DETECT_DEFAULT)
        codec.options = {"err_detect": strictness}

    def _decode_from(self, key: int) -> _Frames:
        return self._decode(self._packets_from(key), key)

    def _packets_from(self, key: int) -> _Packets:
        """Return packets in decode order that begin at keyframe ``key`` or before it.

        Seeks prove nothing: an mp4 seek to a time just before a keyframe lands on it, as libav
        searches by dts. The first packet that arrives says where the seek landed.
        """
        if key > 0 or not self._is_at_start:
            self._is_at_start = False
            earlier = self._table.keyframe_dts[: key + 1][::-1][: MAX_SEEKS - 1]
            for time in (self._keyframe_pts(key), *earlier.tolist()):
                try:
                    with stage("read"):
                        self._container.seek(time, stream=self._stream)
                except av.FFmpegError:
                    continue  # Formats without an index refuse; the start of the file is left.
                packets = self._demux()
                first = next(packets, None)
                if first is not None and self._starts_by(first, key):
                    return itertools.chain([first], packets)
            self._open()
        self._is_at_start = False
        return self._demux()

    def _demux(self) -> _Packets:
        return timed("read", demux(self._container, self._stream))

    def _starts_by(self, packet: "Packet[VideoStream]", key: int) -> bool:
        """Whether ``packet`` is keyframe ``key`` or an earlier one."""
        rank = None if packet.pts is None else self._table.rank_of(packet.pts)
        return rank is not None and rank in self._table.keyframe_ranks[: key + 1]

    def _decode(self, packets: _Packets, key: int) -> _Frames:
        """Yield ``(rank, picture)`` of keyframe ``key`` and each picture shown after it, in order.

        Left out are pictures that neither the call nor another picture needs (``_spared``).

        Leading pictures of that keyframe (sent after it, shown before it) may need pictures that
        were not decoded: they are dropped, whether or not the decoder can make something of them.

        Raises:
            MediaError: a picture cannot be decoded, or one that was to come does not, though it may
                be one that is not wanted: the next ones may have been predicted from it.
        """
        start_pts = self._keyframe_pts(key)
        expected = int(self._table.keyframe_ranks[key])
        needed = itertools.dropwhile(lambda packet: packet.pts != start_pts, packets)
        for packet in itertools.chain(needed, [None]):
            if packet is not None and self._is_spared(packet):
                continue
            is_leading = packet is not None and packet.pts is not None and packet.pts < start_pts
            try:
                with stage("decode"):
                    frames = self._stream.codec_context.decode(packet)
            except av.FFmpegError as e:
                if is_leading:
                    continue
                at = self._name(None if packet is None else packet.pts)
                raise MediaError(f"decoding fails at {at}", "whole data", str(e.strerror)) from e
            for frame in frames:
                if frame.pts is not None and frame.pts < start_pts:
                    continue
                rank = self._identify(frame)
                while expected in self._spared:
                    expected += 1
                if rank != expected:
                    raise self._missing(expected, self._name(frame.pts))
                yield rank, frame
                expected += 1

    def _is_spared(self, packet: "Packet[VideoStream]") -> bool:
        """Whether a packet is left out; notes its picture then.

        Pictures behind the last one that is wanted now are decoded: the next call may go on there.
        """
        rank = None if packet.pts is None else self._table.rank_of(packet.pts)
        if rank is None or rank >= self._last_wanted or rank in self._wanted or not self.spares:
            return False
        if is_spare := self._spare.has(packet):
            self._spared.add(rank)
        return is_spare

    def _identify(self, frame: VideoFrame) -> int:
        """Return the rank of a decoded picture that is whole and of the table's size."""
        rank = None if frame.pts is None else self._table.rank_of(frame.pts)
        if rank is None:
            raise MediaError(
                "picture is not in the frame table", "a pts of the table", f"{frame.pts}"
            )
        if frame.is_corrupt:
            raise MediaError(
                f"{self._name(frame.pts)} is damaged", "whole data", "concealed errors"
            )
        self._check_size(self._name(frame.pts), frame.width, frame.height)
        return rank

    def _pixels(self, frame: VideoFrame) -> Picture:
        """Return ``(H, W, 3)`` uint8 RGB or ``(H, W)`` uint16, a read-only view of libav's buffer.

        Neither ``accurate_rnd`` nor ``bitexact``: they move pixels away from what on-line readers
        get (39 % of the values, by up to 194).
        """
        try:
            with stage("convert"):
                converted = self._reformatter.reformat(frame, format=self._pixel_format, threads=1)
        except av.FFmpegError as e:
            at, wanted = self._name(frame.pts), self._pixel_format
            raise MediaError(f"{at} has no {wanted}", self._table.pix_fmt, str(e.strerror)) from e
        plane = converted.planes[0]
        # Rows stand line_size bytes apart, which may be more than the pixels of one.
        dtype, shape, strides = (
            (np.uint8, (3,), (3, 1)) if self._pixel_format == RGB else (np.uint16, (), (2,))
        )
        picture: Picture = np.ndarray(
            (converted.height, converted.width, *shape),
            dtype,
            buffer=memoryview(plane),
            strides=(plane.line_size, *strides),
        )
        picture.flags.writeable = False
        return picture

    def _keyframe_pts(self, key: int) -> int:
        return int(self._table.pts[self._table.keyframe_ranks[key]])
