"""The exact frame table of a video file: which pictures it holds, by integer pts.

Owns the identity of a frame: its rank in the sorted pts of the stream's packets. Whatever decodes
a file names pictures by these ranks. Decodes nothing and imports no decoder.
"""

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import xxhash
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from predecode.errors import MediaError
from predecode.video.container import demux, open_video
from predecode.video.matroska_size import promised_bytes
from predecode.video.mp4_tables import SampleTable, read_sample_table

__all__ = ["FrameTable", "frame_table_of", "read_frame_table"]

HEADER_CODECS = frozenset({"av1", "h264", "hevc"})
"""Codecs whose mp4 samples libav hands out unchanged, one packet for one sample.

Source: libavformat 62, mov.c parses VP8, VP9, VC-1 and MPEG-1/2 samples again, which may change
sizes and keyframe flags.
"""


_KEPT_TABLES = 8
"""Frame tables that a process keeps: 2 MB for two hours of video with short GOPs."""


@dataclass(frozen=True, eq=False)
class FrameTable:
    """What one video stream holds, in the order in which the pictures are shown.

    A *rank* is a position in ``pts``: 0 is the picture shown first. Arrays are read-only.
    """

    pts: NDArray[np.int64]
    """``(n,)`` presentation times in ticks of ``time_base``, strictly ascending; may start below or
    above 0, steps need not be constant."""
    time_base: Fraction
    """Seconds a tick."""
    keyframe_ranks: NDArray[np.int64]
    """``(k,)`` ranks of the pictures at which a decode can start, ascending; may be empty, need not
    begin with 0 and follows no grid."""
    keyframe_dts: NDArray[np.int64]
    """``(k,)`` times, in ticks, under which libav's index knows these pictures' packets. Not always
    the dts of the packet: Matroska's index holds pts."""
    stream_index: int
    """libav's 0-based index of the stream in its file."""
    width: int
    """Pixels of a row, from the codec parameters."""
    height: int
    """Pixel rows, from the codec parameters."""
    codec_name: str
    """libav's name of the format, such as ``hevc``, ``h264``, ``av1``; not of a decoder."""
    pix_fmt: str
    """libav's name of the pixel format, such as ``yuv420p``."""
    digest: str
    """32 hex digits of xxh3-128 over pts, size and keyframe flag of all packets in pts order, time
    base and stream index. Says nothing about the pixels."""

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pts)

    def governing_keyframe(self, rank: int) -> int:
        """Return the position in ``keyframe_ranks`` of the last keyframe with a rank <= ``rank``.

        Raises:
            MediaError: no keyframe is shown at or before ``rank``, so that it cannot be decoded.
        """
        position = int(self.keyframe_ranks.searchsorted(rank, side="right")) - 1
        if position < 0:
            first = self.keyframe_ranks[:1].tolist()
            raise MediaError(
                f"picture {rank} stands before every keyframe",
                f"a keyframe at or before picture {rank}",
                f"first keyframe at picture {first[0]}" if first else "no keyframe",
            )
        return position

    def rank_of(self, pts: int) -> int | None:
        """Return the rank of the picture shown at ``pts`` ticks, None when there is none."""
        rank = int(self.pts.searchsorted(pts))
        return rank if rank < len(self.pts) and int(self.pts[rank]) == pts else None


@dataclass(frozen=True, eq=False)
class _Packets:
    """A stream's packets in decode order, one element of each array a packet."""

    pts: NDArray[np.int64]
    index_time: NDArray[np.int64]
    size: NDArray[np.int64]
    is_keyframe: NDArray[np.bool_]


def read_frame_table(path: Path, stream_index: int | None = None) -> FrameTable:
    """Return the frame table of the file at ``path``.

    For an mp4 whose own tables agree entry by entry with libav's index, and whose first packet has
    the pts that they name, only the header is read; otherwise every packet of the file. A file cut
    short is found out where its header tells a length: mp4 and Matroska do, MPEG-TS does not, and
    a fragmented mp4 cut between two fragments looks whole.

    Args:
        path: A local video file.
        stream_index: libav's index of the stream; None takes the one libav calls best.

    Raises:
        MediaError: the file cannot be opened or read to its end, is shorter than its header says,
            has no such video stream or no decoder for it, no packets, or a packet that is damaged,
            empty, without pts or with the pts of another.
        OSError: the file vanishes while it is read.

    Cost:
        From the header 7 ms for 10,000 frames; otherwise the file is read once.
    """
    with open_video(path, stream_index) as (container, stream):
        packets = _read_packets(path, container, stream)
        if not len(packets.pts):
            raise MediaError("stream is empty", "at least one packet", "none")
        order = np.argsort(packets.pts, kind="stable")
        pts = packets.pts[order]
        _check_distinct(pts)
        is_keyframe = packets.is_keyframe[order]
        keyframe_ranks = np.flatnonzero(is_keyframe).astype(np.int64)
        keyframe_dts = packets.index_time[order][keyframe_ranks]
        for array in (pts, keyframe_ranks, keyframe_dts):
            array.flags.writeable = False
        codec, time_base = stream.codec_context, stream.time_base or Fraction(0)
        return FrameTable(
            pts=pts,
            time_base=time_base,
            keyframe_ranks=keyframe_ranks,
            keyframe_dts=keyframe_dts,
            stream_index=stream.index,
            width=codec.width,
            height=codec.height,
            codec_name=codec.codec.canonical_name,
            pix_fmt=codec.pix_fmt or "",
            digest=_digest(pts, packets.size[order], is_keyframe, time_base, stream.index),
        )


def frame_table_of(path: Path, stream_index: int | None = None) -> FrameTable:
    """Return what ``read_frame_table`` does, from memory for a file that was read just before.

    Episodes that share a file thus cost one reading of it in a process. A file whose size, inode
    or time of change is another is read again.

    Raises:
        As ``read_frame_table``.
    """
    try:
        stat = path.stat()
    except OSError:
        return read_frame_table(path, stream_index)  # which says what is wrong
    return _kept_table(path, stream_index, (stat.st_size, stat.st_ino, stat.st_mtime_ns))


@lru_cache(maxsize=_KEPT_TABLES)
def _kept_table(path: Path, stream_index: int | None, _state: tuple[int, ...]) -> FrameTable:
    return read_frame_table(path, stream_index)


def _read_packets(path: Path, container: InputContainer, stream: VideoStream) -> _Packets:
    """Return the packets of a stream of a freshly opened container, from its header if that holds.

    libav's index knows no pts and the mp4 tables are our reading of the file: each confirms the
    other, and the first packet ties the pts, which could be wrong by one constant only.
    """
    index = np.array(
        [(e.timestamp, e.size, e.pos, e.flags) for e in stream.index_entries], np.int64
    ).reshape(-1, 4)
    formats = container.format.name.split(",")
    is_mp4 = "mp4" in formats
    if is_mp4:
        _check_not_cut(path, int((index[:, 2] + index[:, 1]).max(initial=0)))
    elif "matroska" in formats:
        _check_not_cut(path, promised_bytes(path))
    packets = demux(container, stream)
    first = next(packets, None)
    if first is None:
        return _packets_from_content(packets, stream)
    if is_mp4 and stream.codec_context.codec.canonical_name in HEADER_CODECS:
        table = read_sample_table(path, stream.index)
        if (
            table is not None
            and _agree(table, index, stream.time_base)
            and int(table.pts[0]) == first.pts
        ):
            return _Packets(table.pts, index[:, 0], table.size, table.is_keyframe)
    return _packets_from_content(itertools.chain([first], packets), stream)


def _agree(table: SampleTable, index: NDArray[np.int64], time_base: Fraction | None) -> bool:
    """Whether mp4 tables and libav's index ``(n, 4)`` of (time, size, pos, flags) say the same."""
    if not len(table.dts) or len(table.dts) != len(index):
        return False
    return (
        time_base == Fraction(1, table.timescale)
        and len(np.unique(index[:, 0] - table.dts)) == 1
        and np.array_equal(index[:, 1], table.size)
        and np.array_equal(index[:, 2], table.position)
        # The flags beside AVINDEX_KEYFRAME (1) mark entries that libav would discard.
        and np.array_equal(index[:, 3], table.is_keyframe)
    )


def _check_not_cut(path: Path, promised: int | None) -> None:
    file_bytes = path.stat().st_size
    if promised is not None and promised > file_bytes:
        expected = f"{promised} bytes by its own header"
        raise MediaError("file is cut short", expected, f"{file_bytes} bytes")


def _packets_from_content(
    packets: Iterator["Packet[VideoStream]"], stream: VideoStream
) -> _Packets:
    """Read all packets but those that an edit list cuts away; cost: the whole file."""
    pts, dts, size, is_keyframe = [], [], [], []
    for number, packet in enumerate(packets):
        if packet.is_discard:
            continue  # Decoded where others need it, never shown.
        if packet.pts is None:
            raise MediaError("packet has no pts", "a pts on each packet", f"none on {number}")
        if packet.size == 0:
            raise MediaError("packet is empty", "data in each packet", f"pts {packet.pts}, none")
        pts.append(packet.pts)
        dts.append(packet.pts if packet.dts is None else packet.dts)
        size.append(packet.size)
        is_keyframe.append(packet.is_keyframe)
    pts_array, dts_array = np.array(pts, np.int64), np.array(dts, np.int64)
    # Whether libav's index goes by dts (mp4) or pts (Matroska) shows in the index itself.
    index_times = np.array([e.timestamp for e in stream.index_entries], np.int64)
    by_pts = np.isin(pts_array, index_times) & ~np.isin(dts_array, index_times)
    return _Packets(
        pts=pts_array,
        index_time=np.where(by_pts, pts_array, dts_array),
        size=np.array(size, np.int64),
        is_keyframe=np.array(is_keyframe, np.bool_),
    )


def _check_distinct(pts: NDArray[np.int64]) -> None:
    twice = pts[1:][np.diff(pts) == 0]
    if len(twice):
        got = f"pts {int(twice[0])} twice"
        raise MediaError("two packets have the same pts", "each pts once", got)


def _digest(
    pts: NDArray[np.int64],
    size: NDArray[np.int64],
    is_keyframe: NDArray[np.bool_],
    time_base: Fraction,
    stream_index: int,
) -> str:
    digest = xxhash.xxh3_128()
    digest.update(struct.pack("<qqq", time_base.numerator, time_base.denominator, stream_index))
    digest.update(pts.astype("<i8").tobytes())
    digest.update(size.astype("<i8").tobytes())
    digest.update(is_keyframe.astype("u1").tobytes())
    return digest.hexdigest()
