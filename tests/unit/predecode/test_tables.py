"""Rows of episodes that share a parquet file, and times of either width."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predecode.errors import EpisodeError
from predecode.sources.episode import Episode, TableSpan
from predecode.sources.tables import check_row_ids, check_timestamps, read_rows


def episode(index: int, start: int, num_frames: int, path: str = "rows.parquet") -> Episode:
    return Episode(
        episode_index=index,
        task_index=0,
        task="",
        num_frames=num_frames,
        fps=(30, 1),
        videos={},
        table=TableSpan(path=path, start=start, ends_file=False),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Episodes 3, 4 and 5 of 2, 3 and 4 rows."""
    ids = np.repeat([3, 4, 5], [2, 3, 4])
    action = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(18, dtype=np.float32)), 2)
    table = pa.table({"episode_index": ids, "action": action, "done": ids == 4})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=4)
    return tmp_path


def test_an_episode_gets_its_own_rows_and_holds_no_others(root: Path) -> None:
    rows = read_rows(root, episode(4, 2, 3), 3, None, task_info=False)
    assert rows["episode_index"].to_pylist() == [4, 4, 4]
    assert rows["action"].to_pylist() == [[4, 5], [6, 7], [8, 9]]
    assert rows["done"].to_pylist() == [True] * 3
    whole = sum(buffer.size for buffer in rows["action"].chunk(0).flatten().buffers() if buffer)
    assert whole <= 64, "the memory of three rows, not of the file"


def test_a_file_that_changed_is_read_again(root: Path) -> None:
    read_rows(root, episode(4, 2, 3), 3, ["done"], task_info=False)
    pq.write_table(pa.table({"done": np.zeros(9, np.bool_)}), root / "rows.parquet")
    rows = read_rows(root, episode(4, 2, 3), 3, ["done"], task_info=False)
    assert rows["done"].to_pylist() == [False] * 3


@pytest.mark.parametrize(("index", "start", "length"), [(3, 0, 2), (4, 2, 3), (5, 5, 4)])
def test_ids_that_fit_pass(root: Path, index: int, start: int, length: int) -> None:
    check_row_ids(root, episode(index, start, length))


@pytest.mark.parametrize(
    ("index", "start", "length", "got"),
    [
        (4, 1, 3, r"expected 3 in \[1, 4\), got 3 in \[2, 5\)"),
        (4, 2, 2, r"expected 2 in \[2, 4\), got 3 in \[2, 5\)"),
        (5, 5, 5, r"expected 5 in \[5, 10\), got 4 in \[5, 9\)"),
        (7, 0, 2, r"expected 2 in \[0, 2\), got none"),
    ],
)
def test_ids_that_stand_elsewhere_are_a_fault(
    root: Path, index: int, start: int, length: int, got: str
) -> None:
    with pytest.raises(EpisodeError, match=f"rows of this episode_index stand elsewhere; {got}"):
        check_row_ids(root, episode(index, start, length))


def test_a_shared_file_must_have_ids_and_rows_enough(root: Path) -> None:
    pq.write_table(pa.table({"action": [1, 2]}), root / "bare.parquet")
    with pytest.raises(EpisodeError, match="columns missing; .* got no episode_index"):
        check_row_ids(root, episode(0, 0, 2, "bare.parquet"))
    with pytest.raises(EpisodeError, match="too few rows; expected 3 from row 1, got 1"):
        read_rows(root, episode(0, 1, 3, "bare.parquet"), 3, None, task_info=False)
    with pytest.raises(EpisodeError, match="cannot be read"):
        check_row_ids(root, episode(0, 0, 2, "absent.parquet"))


def test_times_of_float32_are_frames_in_the_longest_episode() -> None:
    """The longest that a picture's barcode can tell: 73 minutes, where the step is 0.5 ms."""
    times_s = (np.arange(2**17) / 30).astype(np.float32)
    check_timestamps(episode(0, 0, 2**17), times_s)
    times_s[-1] = times_s[-2]
    with pytest.raises(EpisodeError, match="timestamp of row 131071"):
        check_timestamps(episode(0, 0, 2**17), times_s)
