"""The index of one split and generation: where each sample lies and which samples are live.

Rows stand in source order, ``(episode_index, frame_index)`` ascending, so that a frame is found
by arithmetic. Read by offset (``pread``), never mapped: a random walk over a large mapping would
fill resident memory. Little-endian throughout. Writer and reader stand side by side.

    header (128 bytes) | episode records | sample records | storage order | block digests
"""

import os
import struct
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from train_shards.errors import DataError
from train_shards.format import FORMAT_MAJOR, RUN_MAJOR, check_version

__all__ = [
    "EPISODE_DTYPE",
    "LIVE",
    "NOT_STORED",
    "RUN_EPISODE_DTYPE",
    "Index",
    "Location",
    "index_bytes",
    "row_of_position",
    "sample_dtype",
    "stored_range",
    "write_index",
]

_MINOR = 0
"""The index's own; it is as in 1.0, so that an older output's comes out the same."""
_MAGIC = b"PREDIDX1"
_HEADER = struct.Struct("<8sHHIIIQQQQQQQ")
"""magic, major, minor, num_members, num_episodes, block_bytes, num_samples, num_stored,
episodes_offset, samples_offset, storage_offset, blocks_offset, file_bytes."""
_HEADER_BYTES = 128
_DIGEST_OFFSET = _HEADER_BYTES - 8
_BLOCK_BYTES = 1 << 16
_RECORD = struct.Struct("<QIIII")
_SCAN_ROWS = 512
"""Rows of an episode that are read at once to find a frame: about 30 kB."""
_MAX_FRAMES = 1 << 32
"""Of an episode: ``frame_index`` is of 32 bits."""

LIVE = 1
"""Bit of ``flags``: the episode's samples are served. Masked episodes keep their rows."""
NOT_STORED = 0xFFFFFFFF
"""Shard number of a sample that no shard holds."""

EPISODE_DTYPE = np.dtype(
    [
        ("episode_index", "<i8"),
        ("task_index", "<i8"),
        ("row_start", "<u8"),
        ("num_rows", "<u8"),
        ("num_frames", "<u8"),
        ("flags", "<u4"),
        ("lowdim_table", "<u4"),
        ("lowdim_batch", "<u4"),
        ("first_frame", "<u4"),
    ]
)
"""Row ``r`` of an episode holds frame ``first_frame + r * stride``. Before 1.2 ``first_frame`` was
reserved and 0: every episode was stored from its first frame on."""

RUN_EPISODE_DTYPE = np.dtype([*EPISODE_DTYPE.descr, ("num_samples", "<u8")])
"""Of an index of one run's samples: its rows are some of the ``num_samples`` selected frames of an
episode, which are ``first_frame + s * stride``; each row names its own."""


def sample_dtype(num_members: int) -> np.dtype[np.void]:
    """Returns the type of a sample record: 24 bytes and 8 a member (8 more in storage order).

    ``shard`` is the position in the generation's list of shards, ``episode`` the position in the
    episode records; ``offset_bytes`` is the sample's first tar header; ``members`` holds for each
    field where its content begins, counted from there, and how long it is.
    """
    return np.dtype(
        [
            ("offset_bytes", "<u8"),
            ("shard", "<u4"),
            ("frame_index", "<u4"),
            ("episode", "<u4"),
            ("reserved", "<u4"),
            ("members", "<u4", (num_members, 2)),
        ]
    )


class Location(NamedTuple):
    """Where one sample lies."""

    shard: int
    """Position in the generation's list of shards."""
    offset_bytes: int
    frame_index: int
    episode: int
    """Position in the index's episode records."""
    members: tuple[tuple[int, int], ...]
    """For each field ``(start, num_bytes)`` of its content; ``start`` counts from offset_bytes."""


class _Layout(NamedTuple):
    """Where the parts of an index begin, header and episodes aside, and where it ends.

    In Python's integers: a header's numbers may be any, and these never overflow.
    """

    samples: int
    storage: int
    blocks: int
    file_bytes: int


def _layout(
    num_episodes: int, num_samples: int, num_members: int, episode_dtype: np.dtype[np.void]
) -> _Layout:
    samples = _HEADER_BYTES + num_episodes * episode_dtype.itemsize
    storage = samples + num_samples * sample_dtype(num_members).itemsize
    blocks = storage + num_samples * 8
    num_blocks = -(-(blocks - _HEADER_BYTES) // _BLOCK_BYTES)
    return _Layout(samples, storage, blocks, blocks + num_blocks * 8)


def index_bytes(
    num_episodes: int, num_samples: int, num_members: int, *, is_run: bool = False
) -> int:
    """Returns the bytes of an index, of one run's samples with ``is_run``."""
    dtype = RUN_EPISODE_DTYPE if is_run else EPISODE_DTYPE
    return _layout(num_episodes, num_samples, num_members, dtype).file_bytes


def write_index(
    file: BinaryIO,
    episodes: NDArray[np.void],
    num_members: int,
    ledgers: Iterable[tuple[int, NDArray[np.void]]],
    ranks_of: Callable[[int, NDArray[np.uint32]], NDArray[np.int64]],
) -> str:
    """Writes an index and returns the digest of its header as hex.

    Args:
        file: empty, readable and writable through its name.
        episodes: ``EPISODE_DTYPE`` rows, ``episode_index`` ascending, ``row_start`` cumulative;
            ``RUN_EPISODE_DTYPE`` where the rows are one run's samples.
        num_members: members of every sample.
        ledgers: ``(shard, rows)`` in shard order; see ``train_shards.ledger``.
        ranks_of: gives the positions of frames among the planned frames of an episode, from its
            ``episode_index``.

    Raises:
        DataError: a ledger names an episode or frame that has no row.

    Cost: one pass over the ledgers; the file is mapped, so memory stays that of one ledger.
    """
    dtype = sample_dtype(num_members)
    num_samples = int(episodes["num_rows"].sum())
    episodes_offset = _HEADER_BYTES
    samples_offset, storage_offset, blocks_offset, file_bytes = _layout(
        len(episodes), num_samples, num_members, episodes.dtype
    )
    file.truncate(file_bytes)
    body = np.memmap(file.name, np.uint8, mode="r+", shape=(file_bytes,))
    body[episodes_offset:samples_offset] = episodes.view(np.uint8).reshape(-1)
    samples = body[samples_offset:storage_offset].view(dtype)
    samples["shard"] = NOT_STORED
    storage = body[storage_offset:blocks_offset].view("<u8")
    num_stored = 0
    for shard, rows in ledgers:
        positions = _scatter(samples, episodes, shard, rows, ranks_of)
        storage[num_stored : num_stored + len(positions)] = positions
        num_stored += len(positions)
    digests = [
        xxhash.xxh3_64_intdigest(body[start : min(start + _BLOCK_BYTES, blocks_offset)].data)
        for start in range(_HEADER_BYTES, blocks_offset, _BLOCK_BYTES)
    ]
    body[blocks_offset:] = np.array(digests, "<u8").view(np.uint8)
    major = RUN_MAJOR if episodes.dtype == RUN_EPISODE_DTYPE else FORMAT_MAJOR
    header = _HEADER.pack(
        _MAGIC, major, _MINOR, num_members, len(episodes), _BLOCK_BYTES, num_samples,
        num_stored, episodes_offset, samples_offset, storage_offset, blocks_offset, file_bytes,
    ).ljust(_DIGEST_OFFSET, b"\0")  # fmt: skip
    digest = _header_digest(header, body[blocks_offset:].tobytes())
    body[:_HEADER_BYTES] = np.frombuffer(header + struct.pack("<Q", digest), np.uint8)
    body.flush()
    return f"{digest:016x}"


def _scatter(
    samples: NDArray[np.void],
    episodes: NDArray[np.void],
    shard: int,
    rows: NDArray[np.void],
    ranks_of: Callable[[int, NDArray[np.uint32]], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """Writes one shard's rows to their places and returns these, in the shard's order."""
    ordinals = np.searchsorted(episodes["episode_index"], rows["episode_index"])
    last = max(len(episodes) - 1, 0)
    known = episodes["episode_index"][np.minimum(ordinals, last)] if len(episodes) else np.zeros(0)
    if not np.array_equal(known, rows["episode_index"]):
        raise DataError(f"ledger of shard {shard}: an episode that this index has no rows for")
    starts = episodes["row_start"][ordinals].astype(np.int64)
    positions = starts.copy()
    for ordinal in np.unique(ordinals):
        mask = ordinals == ordinal
        episode_index = int(episodes["episode_index"][ordinal])
        positions[mask] += ranks_of(episode_index, rows["frame_index"][mask])
    ranks = positions - starts
    if np.any(ranks < 0) or np.any(ranks >= episodes["num_rows"][ordinals].astype(np.int64)):
        raise DataError(f"ledger of shard {shard}: a frame that its episode has no row for")
    records = np.zeros(len(rows), samples.dtype)
    records["offset_bytes"] = rows["offset_bytes"]
    records["shard"] = shard
    records["frame_index"] = rows["frame_index"]
    records["episode"] = ordinals
    records["members"][:, :, 0] = rows["data_offset_bytes"]
    records["members"][:, :, 1] = rows["data_bytes"]
    samples[positions] = records
    return positions


def _header_digest(header: bytes, blocks: bytes) -> int:
    """Digest of the header and of the block digests, so that a checked block proves the rest."""
    return xxhash.xxh3_64_intdigest(header + blocks)


class Index:
    """Reads sample records by row; opens in time that does not depend on the number of samples.

    Version, size and header digest are checked on opening; with ``check_blocks`` each 64 KiB block
    is checked when it is first touched. Safe under fork (``pread`` has no shared position).
    """

    def __init__(self, path: Path, num_members: int, *, check_blocks: bool = False) -> None:
        """Opens ``path``.

        Raises:
            DataError: not an index, another size, digest or number of members, a higher version,
                or parts and episodes that do not fit together.
            OSError: cannot be opened.
        """
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        # Also when the object is dropped, or never comes to be.
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._read_header(num_members, check_blocks=check_blocks)

    def _read_header(self, num_members: int, *, check_blocks: bool) -> None:
        path = self.path
        header = os.pread(self._descriptor, _HEADER_BYTES, 0)
        if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC[:7]):
            raise DataError(f"{path}: not an index of predecode")
        (
            _, major, _, members, num_episodes, self._block_bytes, self.num_samples,
            self.num_stored, episodes_offset, self._samples_offset, self._storage_offset,
            self._blocks_offset, file_bytes,
        ) = _HEADER.unpack_from(header)  # fmt: skip
        check_version(major, where=str(path))
        size_bytes = os.fstat(self._descriptor).st_size
        if size_bytes != file_bytes:
            raise DataError(f"{path}: {size_bytes} bytes, its header says {file_bytes}")
        if not _HEADER_BYTES <= self._blocks_offset <= file_bytes:
            raise DataError(f"{path}: the header's digest does not match its content")
        if members != num_members:
            raise DataError(f"{path}: {members} members a sample, expected {num_members}")
        blocks = os.pread(self._descriptor, file_bytes - self._blocks_offset, self._blocks_offset)
        digest = _header_digest(header[:_DIGEST_OFFSET], blocks)
        if digest != struct.unpack_from("<Q", header, _DIGEST_OFFSET)[0]:
            raise DataError(f"{path}: the header's digest does not match its content")
        self.header_xxh3 = f"{digest:016x}"
        self._unchecked = np.ones(len(blocks) // 8, bool) if check_blocks else None
        self._block_digests = np.frombuffer(blocks, "<u8")
        self._dtype = sample_dtype(num_members)
        self._record_bytes = self._dtype.itemsize
        self._members = struct.Struct(f"<{2 * num_members}I")
        # A digest proves that nothing fell over, not that the writer meant well.
        places = (self._samples_offset, self._storage_offset, self._blocks_offset)
        self.is_run = major == RUN_MAJOR
        """Whether the rows are one run's samples."""
        dtype = RUN_EPISODE_DTYPE if self.is_run else EPISODE_DTYPE
        layout = _layout(num_episodes, self.num_samples, num_members, dtype)
        is_placed = (episodes_offset, *places) == (_HEADER_BYTES, *layout[:3])
        if not is_placed or self.num_stored > self.num_samples:
            raise DataError(f"{path}: its parts are not as long as its header says")
        num_blocks = (layout.file_bytes - layout.blocks) // 8
        if self._block_bytes != _BLOCK_BYTES or len(blocks) != num_blocks * 8:
            raise DataError(f"{path}: {len(blocks) // 8} block digests, expected {num_blocks}")
        self.episodes: NDArray[np.void] = np.frombuffer(
            self._read(episodes_offset, layout.samples - episodes_offset), dtype
        )
        _check_episodes(self.episodes, self.num_samples, where=str(path))

    def location(self, row: int) -> Location:
        """Returns where the sample of ``row`` lies. Cost: one pread of about 56 bytes.

        Raises:
            IndexError: no such row.
            DataError: a damaged block, or a sample that no shard holds.
        """
        if not 0 <= row < self.num_samples:
            raise IndexError(f"{self.path}: row {row}, expected 0 to {self.num_samples - 1}")
        data = self._read(self._samples_offset + row * self._record_bytes, self._record_bytes)
        offset_bytes, shard, frame_index, episode, _ = _RECORD.unpack_from(data)
        if shard == NOT_STORED:
            raise DataError(f"{self.path}: row {row} is a hole: no shard holds this sample")
        flat = self._members.unpack_from(data, _RECORD.size)
        members = tuple(zip(flat[::2], flat[1::2], strict=True))
        return Location(shard, offset_bytes, frame_index, episode, members)

    def row_of_frame(self, episode: int, frame_index: int) -> int | None:
        """Returns the row of an episode's frame in an index of one run's samples; None for none.

        Args:
            episode: position in ``episodes`` of one that no row of is a hole.
            frame_index: of the frame.

        Cost: a pread of the episode's rows, of 512 of them after one of 4 bytes for each halving.
        """
        start = int(self.episodes["row_start"][episode])
        stop = start + int(self.episodes["num_rows"][episode])
        while stop - start > _SCAN_ROWS:
            middle = (start + stop) // 2
            start, stop = (
                (middle, stop) if self._frames(middle, 1)[0] <= frame_index else (start, middle)
            )
        frames = self._frames(start, stop - start)
        place = int(frames.searchsorted(np.uint32(frame_index)))
        return start + place if place < len(frames) and frames[place] == frame_index else None

    def frames(self, episode: int) -> list[int]:
        """Returns the frames of an episode's rows, ascending. Cost: one pread of the rows.

        Args:
            episode: position in ``episodes``.
        """
        record = self.episodes[episode]
        found: list[int] = self._frames(int(record["row_start"]), int(record["num_rows"])).tolist()
        return found

    def _frames(self, row: int, num_rows: int) -> NDArray[np.uint32]:
        """The frames that rows name."""
        place = self._samples_offset + row * self._record_bytes
        data = self._read(place, num_rows * self._record_bytes)
        frames: NDArray[np.uint32] = np.frombuffer(data, self._dtype)["frame_index"]
        return frames

    def live_runs(self) -> tuple[list[int], list[int]]:
        """Returns the runs of live rows as ``(first row of each, live rows before each)``.

        The second list has one entry more: the number of live rows.
        """
        starts: list[int] = []
        lengths: list[int] = []
        stop = -1
        live = self.episodes[(self.episodes["flags"] & LIVE) != 0]
        for row_start, num_rows in zip(
            live["row_start"].tolist(), live["num_rows"].tolist(), strict=True
        ):
            if row_start == stop:
                lengths[-1] += num_rows
            else:
                starts.append(row_start)
                lengths.append(num_rows)
            stop = row_start + num_rows
        return starts, list(accumulate(lengths, initial=0))

    def storage_rows(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Returns the rows of the samples ``[start, stop)`` in the order in which they lie.

        Raises:
            DataError: a damaged block, or a row that does not exist.
        """
        stop = min(stop, self.num_stored)
        data = self._read(self._storage_offset + start * 8, max(stop - start, 0) * 8)
        rows: NDArray[np.uint64] = np.frombuffer(data, "<u8")
        if len(rows) and int(rows.max()) >= self.num_samples:
            raise DataError(f"{self.path}: row {rows.max()} in storage order does not exist")
        return rows

    def check_all_blocks(self) -> None:
        """Checks every block now, whatever was asked for on opening.

        Raises:
            DataError: a damaged block.

        Cost: reads the file once.
        """
        for block in range(len(self._block_digests)):
            self._check_block(block)

    def close(self) -> None:
        """Closes the file."""
        self._close()

    def _read(self, offset: int, num_bytes: int) -> bytes:
        if self._unchecked is not None and num_bytes:
            first = (offset - _HEADER_BYTES) // self._block_bytes
            last = (offset + num_bytes - 1 - _HEADER_BYTES) // self._block_bytes
            for block in range(first, last + 1):
                if self._unchecked[block]:
                    self._check_block(block)
                    self._unchecked[block] = False
        return os.pread(self._descriptor, num_bytes, offset)

    def _check_block(self, block: int) -> None:
        start = _HEADER_BYTES + block * self._block_bytes
        stop = min(start + self._block_bytes, self._blocks_offset)
        data = os.pread(self._descriptor, stop - start, start)
        if xxhash.xxh3_64_intdigest(data) != int(self._block_digests[block]):
            raise DataError(f"{self.path}: block {block} (bytes {start} to {stop}) is damaged")


def _check_episodes(episodes: NDArray[np.void], num_samples: int, *, where: str) -> None:
    """Passes when rows of episodes follow on each other, and no number is more than can be.

    Raises:
        DataError: they do not.
    """
    starts, lengths = episodes["row_start"], episodes["num_rows"]
    # Each below the number of rows first, so that no sum of two goes over.
    is_small = bool(np.all(starts <= num_samples) and np.all(lengths <= num_samples))
    stops = np.concatenate([np.zeros(1, np.uint64), starts + lengths])
    is_cumulative = bool(np.array_equal(starts, stops[:-1])) and int(stops[-1]) == num_samples
    is_sorted = bool(np.all(episodes["episode_index"][1:] > episodes["episode_index"][:-1]))
    is_long = bool(np.any(episodes["num_frames"] > _MAX_FRAMES))
    if episodes.dtype == RUN_EPISODE_DTYPE:
        is_long |= bool(np.any(lengths > episodes["num_samples"]))
        is_long |= bool(np.any(episodes["num_samples"] > episodes["num_frames"]))
    has_negative = len(episodes) > 0 and int(episodes["episode_index"][0]) < 0
    if not (is_small and is_cumulative and is_sorted) or is_long or has_negative:
        raise DataError(f"{where}: its episodes are not those of {num_samples} rows in order")


def stored_range(episode: np.void, stride: int) -> tuple[int, int]:
    """Returns the frames ``[start, stop)`` from an episode's first row to its last.

    Of an index of one run's samples: from its first selected frame to its last.

    Args:
        episode: an ``EPISODE_DTYPE`` record with a row, or a ``RUN_EPISODE_DTYPE`` one.
        stride: every how manieth frame is selected.
    """
    start, names = int(episode["first_frame"]), episode.dtype.names or ()
    num_rows = int(episode["num_samples" if "num_samples" in names else "num_rows"])
    return start, start + (num_rows - 1) * stride + 1


def row_of_position(position: int, starts: list[int], before: list[int]) -> int:
    """Returns the row of the ``position``-th live sample; see ``Index.live_runs``.

    >>> [row_of_position(p, [0, 10], [0, 2, 5]) for p in range(5)]
    [0, 1, 10, 11, 12]
    """
    run = bisect_right(before, position) - 1
    return starts[run] + position - before[run]
