"""The index: round trips against plain lists, its size, and every kind of damage."""

import hashlib
import itertools
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from train_shards.errors import DataError
from train_shards.index import (
    EPISODE_DTYPE,
    LIVE,
    NOT_STORED,
    RUN_EPISODE_DTYPE,
    Index,
    Location,
    row_of_position,
    sample_dtype,
    stored_range,
    write_index,
)
from train_shards.ledger import ledger_dtype

NUM_MEMBERS = 3


def episode_rows(lengths: Sequence[int], live: Sequence[bool]) -> NDArray[np.void]:
    """Episodes 5, 15, 25, … with so many rows each."""
    rows = np.zeros(len(lengths), EPISODE_DTYPE)
    row_start = 0
    for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        row["episode_index"], row["task_index"] = 10 * number + 5, number % 2
        row["row_start"], row["num_rows"] = row_start, length
        row["flags"] = LIVE if live[number] else 0
        row_start += length
    return rows


def ledger_rows(samples: Sequence[tuple[int, int]]) -> NDArray[np.void]:
    """Samples that lie one after the other, 4096 bytes each, with recognizable members."""
    rows = np.zeros(len(samples), ledger_dtype(NUM_MEMBERS, 2))
    for number, (row, (episode_index, frame_index)) in enumerate(zip(rows, samples, strict=True)):
        row["episode_index"], row["frame_index"] = episode_index, frame_index
        row["offset_bytes"] = 4096 * number
        row["data_offset_bytes"] = (512, 1536, 3072)
        row["data_bytes"] = (number, episode_index, frame_index)
    return rows


def write(
    path: Path,
    episodes: NDArray[np.void],
    shards: Sequence[Sequence[tuple[int, int]]],
    stride: int = 1,
) -> str:
    with path.open("wb") as file:
        return write_index(
            file,
            episodes,
            NUM_MEMBERS,
            ((number, ledger_rows(samples)) for number, samples in enumerate(shards)),
            lambda _, frames: frames.astype(np.int64) // stride,
        )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two episodes of 3 and 2 rows in two shards, no hole."""
    path = tmp_path / "train.idx"
    episodes = episode_rows([3, 2], [True, True])
    write(path, episodes, [[(15, 1), (5, 0), (5, 2)], [(5, 1), (15, 0)]])
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """4,000 samples: several blocks of 64 KiB."""
    path = tmp_path / "train.idx"
    samples = [(5, frame) for frame in range(4000)]
    write(path, episode_rows([4000], [True]), [samples[::-1]])
    return path


def test_the_record_types_of_format_1() -> None:
    assert sample_dtype(1).itemsize == 32
    assert sample_dtype(4).itemsize == 56
    assert EPISODE_DTYPE.itemsize == 56
    assert (LIVE, NOT_STORED) == (1, 4294967295)


def test_a_tiny_index_has_these_bytes(small: Path) -> None:
    data = small.read_bytes()
    assert data[:8] == b"PREDIDX1"
    assert struct.unpack_from("<HHIIIQQ", data, 8) == (1, 0, 3, 2, 65536, 5, 5)
    assert len(data) == 128 + 2 * 56 + 5 * 48 + 5 * 8 + 8
    assert hashlib.sha256(data).hexdigest() == (
        "a44a57f9195aa4f4b37b037dd3899a83112768e9fe4a7885daddeff883f7af05"
    )


def test_the_first_record_read_by_hand(small: Path) -> None:
    # Row 0 is (5, 0): second sample of shard 0.
    record = small.read_bytes()[128 + 2 * 56 :][:48]
    assert struct.unpack("<QIIIIIIIIII", record) == (
        4096, 0, 0, 0, 0, 512, 1, 1536, 5, 3072, 0,
    )  # fmt: skip


@pytest.mark.parametrize("num_members", [1, 2, 4, 6])
def test_a_sample_costs_at_most_40_bytes_and_8_a_member(tmp_path: Path, num_members: int) -> None:
    sizes = []
    for num_samples in (0, 8000):
        with (tmp_path / "x.idx").open("wb") as file:
            write_index(
                file,
                episode_rows([num_samples], [True]),
                num_members,
                [],
                lambda _, frames: frames.astype(np.int64),
            )
        sizes.append((tmp_path / "x.idx").stat().st_size)
    # Beside the samples a digest of 8 bytes for each 65536 bytes.
    blocks = 8 * (1 + 8000 * (40 + 8 * num_members) // 65536)
    assert sizes[1] - sizes[0] <= 8000 * (40 + 8 * num_members) + blocks
    assert sizes[0] == 128 + 56 + 8


def test_locations_are_what_the_ledgers_say(small: Path) -> None:
    index = Index(small, NUM_MEMBERS)
    assert (index.num_samples, index.num_stored) == (5, 5)
    found = [index.location(row) for row in range(5)]
    assert [(f.shard, f.offset_bytes, f.frame_index, f.episode) for f in found] == [
        (0, 4096, 0, 0), (1, 0, 1, 0), (0, 8192, 2, 0), (1, 4096, 0, 1), (0, 0, 1, 1),
    ]  # fmt: skip
    assert found[2].members == ((512, 2), (1536, 5), (3072, 2))
    assert index.episodes["episode_index"].tolist() == [5, 15]
    assert index.episodes["task_index"].tolist() == [0, 1]
    index.close()


def test_storage_rows_are_the_order_in_the_tars(small: Path) -> None:
    index = Index(small, NUM_MEMBERS)
    assert index.storage_rows(0, 5).tolist() == [4, 0, 2, 1, 3]
    assert index.storage_rows(1, 3).tolist() == [0, 2]
    assert index.storage_rows(3, 99).tolist() == [1, 3]
    assert index.storage_rows(5, 9).tolist() == []
    index.close()


@st.composite
def stored_sets(
    draw: st.DrawFn,
) -> tuple[list[int], list[bool], int, list[list[tuple[int, int]]]]:
    """Lengths and live bits of episodes, a stride, and shards of shuffled samples with holes."""
    lengths = draw(st.lists(st.integers(0, 6), min_size=1, max_size=6))
    live = draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    stride = draw(st.integers(1, 7))
    samples = [
        (10 * number + 5, stride * rank)
        for number, length in enumerate(lengths)
        for rank in range(length)
    ]
    stored = [s for s in draw(st.permutations(samples)) if draw(st.integers(0, 9))]
    cuts = sorted(draw(st.lists(st.integers(0, len(stored)), max_size=3)))
    bounds = [0, *cuts, len(stored)]
    shards = [stored[a:b] for a, b in itertools.pairwise(bounds)]
    return lengths, live, stride, shards


@given(stored_sets())
def test_every_sample_comes_back_and_every_hole_is_told(
    tmp_path_factory: pytest.TempPathFactory,
    stored: tuple[list[int], list[bool], int, list[list[tuple[int, int]]]],
) -> None:
    lengths, live, stride, shards = stored
    path = tmp_path_factory.mktemp("index") / "x.idx"
    write(path, episode_rows(lengths, live), shards, stride)
    index = Index(path, NUM_MEMBERS, check_blocks=True)
    expected: dict[tuple[int, int], Location] = {}
    for shard, samples in enumerate(shards):
        for place, (episode_index, frame) in enumerate(samples):
            members = ((512, place), (1536, episode_index), (3072, frame))
            expected[episode_index, frame] = Location(
                shard, 4096 * place, frame, (episode_index - 5) // 10, members
            )
    row = 0
    served = []
    for number, length in enumerate(lengths):
        for rank in range(length):
            sample = (10 * number + 5, stride * rank)
            if sample in expected:
                assert index.location(row) == expected[sample]
            else:
                with pytest.raises(DataError, match=f"row {row} is a hole: no shard holds"):
                    index.location(row)
            served += [row] if live[number] else []
            row += 1
    starts, before = index.live_runs()
    assert before[-1] == len(served)
    assert [row_of_position(p, starts, before) for p in range(before[-1])] == served
    assert index.num_stored == len(expected)
    index.check_all_blocks()
    index.close()


@pytest.mark.parametrize(
    ("lengths", "live", "starts", "before"),
    [
        ([3, 2], [True, True], [0], [0, 5]),  # neighbours join
        ([3, 2, 4], [True, False, True], [0, 5], [0, 3, 7]),
        ([3, 2], [False, True], [3], [0, 2]),
        ([3], [False], [], [0]),  # nothing is served
        ([3, 0, 2], [True, False, True], [0], [0, 5]),  # an empty masked episode
    ],
)
def test_live_runs(
    tmp_path: Path, lengths: list[int], live: list[bool], starts: list[int], before: list[int]
) -> None:
    write(tmp_path / "x.idx", episode_rows(lengths, live), [])
    index = Index(tmp_path / "x.idx", NUM_MEMBERS)
    assert index.live_runs() == (starts, before)
    index.close()


@pytest.mark.parametrize("row", [-1, 5, 10**12])
def test_a_row_outside_is_an_index_error(small: Path, row: int) -> None:
    index = Index(small, NUM_MEMBERS)
    with pytest.raises(IndexError, match=f"row {row}, expected 0 to 4"):
        index.location(row)
    index.close()


def test_same_input_same_bytes_and_digest(tmp_path: Path, small: Path) -> None:
    episodes = episode_rows([3, 2], [True, True])
    again = tmp_path / "again.idx"
    digest = write(again, episodes, [[(15, 1), (5, 0), (5, 2)], [(5, 1), (15, 0)]])
    assert again.read_bytes() == small.read_bytes()
    index = Index(small, NUM_MEMBERS)
    assert index.header_xxh3 == digest
    assert len(digest) == 16
    index.close()


def test_the_digest_covers_the_samples(tmp_path: Path) -> None:
    episodes = episode_rows([3, 2], [True, True])
    first = write(tmp_path / "a.idx", episodes, [[(5, 0), (5, 1)]])
    assert write(tmp_path / "b.idx", episodes, [[(5, 1), (5, 0)]]) != first


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(128))
def test_a_flip_in_the_header_is_refused_on_opening(small: Path, position: int) -> None:
    data = bytearray(small.read_bytes())
    for bit in (0x01, 0x80):
        data[position] ^= bit
        small.write_bytes(data)
        with pytest.raises(DataError, match="train.idx: "):
            Index(small, NUM_MEMBERS)
        data[position] ^= bit


@pytest.mark.parametrize("num_bytes", [0, 7, 127])
def test_a_file_shorter_than_its_header_is_no_index(small: Path, num_bytes: int) -> None:
    os.truncate(small, num_bytes)
    with pytest.raises(DataError, match="train.idx: not an index of predecode"):
        Index(small, NUM_MEMBERS)


@pytest.mark.parametrize("num_bytes", [128, 400, 527, 529])
def test_another_length_than_the_header_says_is_refused(small: Path, num_bytes: int) -> None:
    assert small.stat().st_size == 528
    os.truncate(small, num_bytes)
    with pytest.raises(DataError, match=f"train.idx: {num_bytes} bytes, its header says 528"):
        Index(small, NUM_MEMBERS)


def test_a_foreign_file_is_refused(small: Path) -> None:
    small.write_bytes(b"\x93NUMPY" + bytes(1000))
    with pytest.raises(DataError, match="train.idx: not an index of predecode"):
        Index(small, NUM_MEMBERS)


def test_a_higher_major_version_is_refused(small: Path) -> None:
    data = bytearray(small.read_bytes())
    data[8:10] = struct.pack("<H", 3)
    small.write_bytes(data)
    with pytest.raises(DataError, match="train.idx: format version 3, this reader knows up to 2"):
        Index(small, NUM_MEMBERS)


def test_another_number_of_members_is_refused(small: Path) -> None:
    with pytest.raises(DataError, match="3 members a sample, expected 4"):
        Index(small, 4)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Index(tmp_path / "none.idx", NUM_MEMBERS)


def test_a_flip_anywhere_in_the_body_is_found(small: Path) -> None:
    whole = small.read_bytes()
    for position in range(128, len(whole) - 8):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        small.write_bytes(damaged)
        with pytest.raises(
            DataError,
            match=r"idx: (block 0 \(bytes 128 to 520\) is damaged|its episodes are not those)",
        ):
            Index(small, NUM_MEMBERS).check_all_blocks()
        with pytest.raises(DataError, match="block 0 .* is damaged"):
            Index(small, NUM_MEMBERS, check_blocks=True)  # the episodes stand in block 0


def test_a_flip_in_the_block_digests_is_refused_on_opening(small: Path) -> None:
    whole = small.read_bytes()
    for position in range(len(whole) - 8, len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        small.write_bytes(damaged)
        with pytest.raises(DataError, match="the header's digest does not match its content"):
            Index(small, NUM_MEMBERS)


def test_blocks_are_checked_when_first_touched(large: Path) -> None:
    data = bytearray(large.read_bytes())
    # Row 2000 begins 128 + 56 + 2000 * 48 = 96,184 bytes into the file: block 1.
    data[96_190] ^= 0x01
    large.write_bytes(data)
    index = Index(large, NUM_MEMBERS, check_blocks=True)
    assert index.location(0).frame_index == 0  # block 0 is whole
    with pytest.raises(DataError, match=r"block 1 \(bytes 65664 to 131200\) is damaged"):
        index.location(2000)
    with pytest.raises(DataError, match="block 1 .* is damaged"):
        index.location(2001)  # a second touch is no less careful
    with pytest.raises(DataError, match="block 1 .* is damaged"):
        index.check_all_blocks()
    index.close()
    unchecked = Index(large, NUM_MEMBERS)
    assert unchecked.location(2001).frame_index == 2001
    unchecked.close()


def test_a_record_across_two_blocks_is_read_whole_and_checked_in_both(large: Path) -> None:
    # Block 1 begins at 65,664; row 1364 covers 65,656 to 65,704.
    index = Index(large, NUM_MEMBERS, check_blocks=True)
    assert index.location(1364).frame_index == 1364
    index.close()
    data = bytearray(large.read_bytes())
    data[131_199] ^= 0x01  # last byte of block 1
    large.write_bytes(data)
    index = Index(large, NUM_MEMBERS, check_blocks=True)
    with pytest.raises(DataError, match="block 1 .* is damaged"):
        index.location(1364)
    index.close()


def test_storage_order_is_checked_too(large: Path) -> None:
    data = bytearray(large.read_bytes())
    data[128 + 56 + 4000 * 48 + 8 * 3999] ^= 0x01
    large.write_bytes(data)
    index = Index(large, NUM_MEMBERS, check_blocks=True)
    assert index.storage_rows(0, 2).tolist() == [3999, 3998]
    with pytest.raises(DataError, match="is damaged"):
        index.storage_rows(3999, 4000)
    index.close()


def test_a_refused_index_is_closed(small: Path) -> None:
    small.write_bytes(b"x" * 1000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(DataError):
            Index(small, NUM_MEMBERS)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_closing_twice_is_allowed(small: Path) -> None:
    index = Index(small, NUM_MEMBERS)
    index.close()
    index.close()


@pytest.fixture
def of_run(tmp_path: Path) -> Path:
    """One run's samples: frames 3, 8, 40 of an episode of 50, none of one of 9, 0 of one of 2."""
    path = tmp_path / "train.idx"
    episodes = np.zeros(3, RUN_EPISODE_DTYPE)
    episodes["episode_index"], episodes["num_rows"] = [5, 7, 15], [3, 0, 1]
    episodes["row_start"], episodes["flags"] = [0, 3, 3], LIVE
    episodes["num_frames"] = episodes["num_samples"] = [50, 9, 2]
    frames = {5: np.array([3, 8, 40]), 15: np.array([0])}
    rows = np.zeros(4, ledger_dtype(NUM_MEMBERS, 1))
    rows["episode_index"], rows["frame_index"] = [15, 5, 5, 5], [0, 40, 3, 8]

    def ranks_of(episode_index: int, own: NDArray[np.uint32]) -> NDArray[np.int64]:
        return np.searchsorted(frames[episode_index], own)

    with path.open("wb") as file:
        write_index(file, episodes, NUM_MEMBERS, [(0, rows)], ranks_of)
    return path


@pytest.mark.parametrize("scan_rows", [512, 1])
def test_rows_of_a_run_are_found_by_their_frames(
    of_run: Path, scan_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train_shards.index._SCAN_ROWS", scan_rows)
    index = Index(of_run, NUM_MEMBERS, check_blocks=True)
    assert (index.is_run, RUN_EPISODE_DTYPE.itemsize) == (True, 64)
    assert of_run.stat().st_size == 128 + 3 * 64 + 4 * (24 + 8 * NUM_MEMBERS + 8) + 8
    found = [index.row_of_frame(0, frame) for frame in (0, 3, 8, 9, 40, 41)]
    assert found == [None, 0, 1, None, 2, None]
    assert index.row_of_frame(1, 0) is None
    assert [index.row_of_frame(2, frame) for frame in (0, 1)] == [3, None]
    assert stored_range(index.episodes[0], 1) == (0, 50)


@pytest.mark.parametrize(("field", "value"), [("num_samples", 51), ("num_samples", 2)])
def test_more_rows_than_samples_or_samples_than_frames_are_refused(
    tmp_path: Path, field: str, value: int
) -> None:
    episodes = np.zeros(1, RUN_EPISODE_DTYPE)
    episodes["num_rows"], episodes["num_frames"], episodes[field] = 3, 50, value
    with (tmp_path / "train.idx").open("wb") as file:
        write_index(file, episodes, NUM_MEMBERS, [], lambda _, frames: frames.astype(np.int64))
    with pytest.raises(DataError, match="its episodes are not those of 3 rows in order"):
        Index(tmp_path / "train.idx", NUM_MEMBERS)
