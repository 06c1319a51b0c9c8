"""The sample tables of an mp4 or mov file, read from its header without any media library.

Owns the reading of plain progressive files only: whatever it does not fully understand it leaves to
the caller, by None. The file's content is hostile: nothing that it claims is believed before the
bytes to back it were seen. Imports neither av nor anything that decodes.

Source of all layouts: ISO/IEC 14496-12, sections named at each box.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["SampleTable", "read_sample_table"]

MAX_BOXES = 10_000
"""Boxes looked at in one parent; a plain file has fewer than 20, and 1 for each track."""

MAX_MOOV_BYTES = 1 << 28
"""Largest header read, of some 10 million samples."""

MIN_CONSTANT_SIZE_BYTES = 64
"""Smallest sample for which a table of one size is believed: the file's size then bounds arrays."""

_Int64s: TypeAlias = NDArray[np.int64]


class _NotPlainError(Exception):
    """The file is not one that this module understands; leaves it as None."""


@dataclass(frozen=True, eq=False)
class SampleTable:
    """The samples of one video track, in decode order; one element of each array a sample."""

    timescale: int
    """Ticks a second, >= 1."""
    dts: _Int64s
    """``(n,)`` decode times in ticks, from 0, not descending; libav's differ by one constant."""
    pts: _Int64s
    """``(n,)`` presentation times in ticks, >= 0, after the edit list; B frames: not ascending."""
    size: _Int64s
    """``(n,)`` bytes, >= 0."""
    position: _Int64s
    """``(n,)`` offset of the first byte in the file; past the end of a file cut short."""
    is_keyframe: NDArray[np.bool_]
    """``(n,)`` whether a decode can start at the sample."""


def read_sample_table(path: Path, track: int) -> SampleTable | None:
    """Return the samples of video track number ``track``, None where the file is not a plain one.

    Plain is: one ``moov`` before or after the data, no fragments, one sample description, at most
    one edit, which neither begins with a gap nor cuts a sample away, and tables that agree with
    each other. Of the media data nothing is read.

    Args:
        path: A local file of any content.
        track: 0-based position among the file's ``trak`` boxes, which is libav's stream index.

    Raises:
        OSError: the file cannot be opened or read.

    Cost:
        Reads the header, 20 bytes or so a sample: 3 ms for 100,000 samples. Memory in proportion
        to the file's size.
    """
    try:
        with path.open("rb") as file:
            return _sample_table(_read_moov(file), track, path.stat().st_size)
    except _NotPlainError:
        return None


def _need(condition: bool, /) -> None:  # noqa: FBT001 - a check reads best as its condition
    if not condition:
        raise _NotPlainError


@dataclass(frozen=True)
class _Box:
    """A box's content, the bytes after its header."""

    content: memoryview

    def children(self) -> dict[bytes, list["_Box"]]:
        """The boxes inside, by type, in file order (14496-12, 4.2)."""
        found: dict[bytes, list[_Box]] = {}
        start, stop = 0, len(self.content)
        for _ in range(MAX_BOXES):
            if start == stop:
                return found
            kind, header_bytes, size = _parse_header(self.content[start : start + 16], stop - start)
            content = self.content[start + header_bytes : start + size]
            found.setdefault(kind, []).append(_Box(content))
            start += size
        raise _NotPlainError

    def only(self, *kinds: bytes) -> "_Box":
        """The box inside reached by ``kinds``, each of which stands once in its parent."""
        box = self
        for kind in kinds:
            boxes = box.children().get(kind, [])
            _need(len(boxes) == 1)
            box = boxes[0]
        return box

    def number(self, dtype: str, offset: int) -> int:
        """The big-endian number at ``offset``."""
        return int(self.numbers(dtype, offset, 1)[0])

    def numbers(self, dtype: str, offset: int, count: int) -> _Int64s:
        """``(count,)`` big-endian numbers from ``offset`` on, each of which must be below 2**62."""
        _need(offset + count * np.dtype(dtype).itemsize <= len(self.content))
        values = np.frombuffer(self.content, dtype, count, offset)
        _need(not count or int(values.max()) < 1 << 62)
        return values.astype(np.int64)

    def rows(self, dtype: str, columns: int) -> _Int64s:
        """``(count, columns)`` numbers of a table: version and flags, count, then its rows."""
        count = self.number(">u4", 4)
        return self.numbers(dtype, 8, count * columns).reshape(count, columns)


def _parse_header(data: memoryview, available_bytes: int) -> tuple[bytes, int, int]:
    """Return a box's type, the length of its header and its size with header (14496-12, 4.2)."""
    _need(len(data) >= 8)
    size, kind = struct.unpack_from(">I4s", data)
    header_bytes = 8
    if size == 1:
        _need(len(data) >= 16)
        (size,) = struct.unpack_from(">Q", data, 8)
        header_bytes = 16
    elif size == 0:
        size = available_bytes
    _need(header_bytes <= size <= available_bytes)
    return kind, header_bytes, size


def _read_moov(file: BinaryIO) -> _Box:
    """Return the ``moov`` box, wherever it stands among the boxes of the file (8.2.1)."""
    file_bytes = file.seek(0, 2)
    start = 0
    for _ in range(MAX_BOXES):
        file.seek(start)
        data = memoryview(file.read(16))
        _need(len(data) >= 8)
        kind, header_bytes, size = _parse_header(data, file_bytes - start)
        if kind == b"moov":
            _need(size <= MAX_MOOV_BYTES)
            file.seek(start + header_bytes)
            return _Box(memoryview(file.read(size - header_bytes)))
        _need(kind != b"moof")
        start += size
    raise _NotPlainError


def _sample_table(moov: _Box, track: int, file_bytes: int) -> SampleTable:
    children = moov.children()
    _need(b"mvex" not in children)  # Fragments follow (8.8.1).
    tracks = children.get(b"trak", [])
    _need(0 <= track < len(tracks))
    trak = tracks[track]
    _need(bytes(trak.only(b"mdia", b"hdlr").content[8:12]) == b"vide")
    timescale = _timescale(trak.only(b"mdia", b"mdhd"))
    stbl = trak.only(b"mdia", b"minf", b"stbl")
    _need(stbl.only(b"stsd").number(">u4", 4) == 1)
    size = _sizes(stbl.only(b"stsz"), file_bytes)
    dts = _decode_times(stbl.only(b"stts"), len(size))
    pts = dts + _offsets(stbl, len(size))
    pts = _after_edit(trak, pts, timescale, _timescale(moov.only(b"mvhd")))
    return SampleTable(
        timescale=timescale,
        dts=dts,
        pts=pts,
        size=size,
        position=_positions(stbl, size),
        is_keyframe=_sync_samples(stbl, len(size)),
    )


def _timescale(header: _Box) -> int:
    """Return the ticks a second of ``mvhd`` or ``mdhd``, which begin alike (8.2.2, 8.4.2)."""
    timescale = header.number(">u4", 20 if header.number(">u1", 0) == 1 else 12)
    _need(timescale > 0)
    return timescale


def _sizes(stsz: _Box, file_bytes: int) -> _Int64s:
    """Return ``(n,)`` bytes of each sample (8.7.3.2)."""
    constant, count = stsz.numbers(">u4", 4, 2).tolist()
    _need(count > 0)
    if not constant:
        return stsz.numbers(">u4", 12, count)
    _need(constant >= MIN_CONSTANT_SIZE_BYTES and constant * count <= file_bytes)
    return np.full(count, constant, np.int64)


def _run_lengths(table: _Int64s, num_samples: int) -> _Int64s:
    """Return the second column of rows ``(run, value)``, each ``run`` times: ``(num_samples,)``."""
    runs = table[:, 0]
    _need(int(runs.sum()) == num_samples)
    return np.repeat(table[:, 1], runs)


def _decode_times(stts: _Box, num_samples: int) -> _Int64s:
    """Return ``(n,)`` decode times from 0 on (8.6.1.2)."""
    steps = _run_lengths(stts.rows(">u4", 2), num_samples)
    _need(int(steps.max()) < 1 << 31)  # libav reads larger ones as negative.
    return np.cumsum(steps) - steps


def _offsets(stbl: _Box, num_samples: int) -> _Int64s:
    """Return ``(n,)`` pts less dts of each sample (8.6.1.3); 0 without a table."""
    if b"ctts" not in stbl.children():
        return np.zeros(num_samples, np.int64)
    ctts = stbl.only(b"ctts")
    # Version 1 is signed. libav reads version 0 as signed too: above 2**31 nobody is right.
    table = ctts.rows(">u4", 2)
    if ctts.number(">u1", 0) == 1:
        table[:, 1] = table[:, 1].astype(np.uint32).view(np.int32)
    offsets = _run_lengths(table, num_samples)
    _need(int(offsets.max()) < 1 << 31)
    return offsets


def _after_edit(trak: _Box, pts: _Int64s, timescale: int, movie_timescale: int) -> _Int64s:
    """Return ``pts`` as the edit list moves it (8.6.6); the track's own without one."""
    if b"edts" in trak.children():
        elst = trak.only(b"edts", b"elst")
        _need(elst.number(">u4", 4) == 1)
        is_wide = elst.number(">u1", 0) == 1
        duration = elst.number(">u8" if is_wide else ">u4", 8)  # in movie ticks
        media_time = elst.number(">i8" if is_wide else ">i4", 16 if is_wide else 12)
        rate = elst.number(">u4", 24 if is_wide else 16)
        _need(media_time >= 0 and rate == 1 << 16)  # -1 is a gap; the rate is 16.16 fixed point.
        pts = pts - media_time
        _need(int(pts.max()) * movie_timescale < duration * timescale)
    _need(int(pts.min()) >= 0)
    return pts


def _positions(stbl: _Box, size: _Int64s) -> _Int64s:
    """Return ``(n,)`` file offsets: samples lie end to end in chunks (8.7.4, 8.7.5)."""
    if b"co64" in stbl.children():
        chunk_position = stbl.only(b"co64").rows(">u8", 1)[:, 0]
    else:
        chunk_position = stbl.only(b"stco").rows(">u4", 1)[:, 0]
    num_chunks = len(chunk_position)
    stsc = stbl.only(b"stsc").rows(">u4", 3)
    # Rows are (first chunk of a run, from 1; samples in each chunk of it; description).
    first_chunk, samples_per_chunk = stsc[:, 0], stsc[:, 1]
    run_chunks = np.diff(first_chunk, append=num_chunks + 1)
    _need(len(stsc) > 0 and int(first_chunk[0]) == 1 and int(run_chunks.min()) > 0)
    num_samples = np.repeat(samples_per_chunk, run_chunks)  # of each chunk
    _need(int(num_samples.min()) > 0 and int(num_samples.sum()) == len(size))
    chunk_start = np.cumsum(num_samples) - num_samples  # each chunk's first sample
    bytes_before = np.cumsum(size) - size  # of all samples before, in decode order
    position: _Int64s = np.repeat(chunk_position - bytes_before[chunk_start], num_samples)
    return position + bytes_before


def _sync_samples(stbl: _Box, num_samples: int) -> NDArray[np.bool_]:
    """Return ``(n,)`` whether a sample is a sync sample (8.6.2); all are without a table."""
    if b"stss" not in stbl.children():
        return np.ones(num_samples, np.bool_)
    sync = stbl.only(b"stss").rows(">u4", 1)[:, 0]  # sample numbers from 1
    _need(len(sync) > 0 and int(sync.min()) >= 1 and int(sync.max()) <= num_samples)
    is_keyframe = np.zeros(num_samples, np.bool_)
    is_keyframe[sync - 1] = True
    return is_keyframe
