"""Low-dimensional rows of one episode as an Arrow table with fixed types.

Vectors become fixed-size lists of float32 (real files hold variable-size lists, some of double);
scalars keep their type, so that timestamps stay float64.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import UNSET
from numpy.typing import NDArray

from predecode.errors import DataError, EpisodeError, episode_error
from predecode.sources.episode import Episode
from predecode.video.packets import FrameTable, frame_table_of

__all__ = ["TASK_INFO", "check_row_ids", "check_timestamps", "read_rows"]

TASK_INFO = "observation.task_info"
"""Privileged poses of the task's objects; its length differs between tasks."""
_TIME_TOLERANCE_FRAMES = 0.1
_ID = "episode_index"
_State = tuple[int, ...]
"""What tells that a file is still the same: size, inode, time of change."""


class _TableError(DataError):
    """A file that does not hold what is asked; ``args`` is ``(problem, expected, got)``."""


def read_rows(
    root: Path, episode: Episode, num_frames: int, columns: list[str] | None, *, task_info: bool
) -> pa.Table:
    """Returns the episode's rows, ``num_frames`` of them.

    Args:
        root: folder of the data set.
        episode: which one.
        num_frames: its length, as checked.
        columns: None for all that the source has.
        task_info: whether ``observation.task_info`` is among "all".

    Raises:
        EpisodeError: the file cannot be read, has other rows, or a vector's length varies.

    Cost: reads the named columns of the file; for a file that episodes share, once for the
    episodes read one after the other, whose columns of the whole file stay in memory (110 MB for
    the largest known).
    """
    if episode.table is None:
        return _rows_of_video(root, episode, num_frames)
    span, path = episode.table, root / episode.table.path
    wanted = None if columns is None else tuple(columns)
    try:
        if span.ends_file is UNSET:
            table = _read_columns(path, wanted, task_info=task_info).slice(span.start, num_frames)
        else:
            whole = _kept_columns(path, wanted, task_info, _state_of(path))
            stop = min(span.start + num_frames, whole.num_rows)
            # A copy: a slice would keep the whole file's columns.
            table = whole.take(pa.array(np.arange(span.start, stop)))
    except _TableError as error:
        raise _fault(episode, *error.args) from error
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        raise _fault(episode, "cannot be read", "a parquet file", repr(error)) from error
    if table.num_rows != num_frames:
        raise _fault(
            episode,
            "too few rows",
            f"{num_frames} from row {span.start}",
            str(table.num_rows),
        )
    fixed = {name: _fixed(episode, name, table[name]) for name in table.column_names}
    return pa.table({name: column for name, column in fixed.items() if column is not None})


def check_row_ids(root: Path, episode: Episode) -> None:
    """Passes when the episode's rows of a shared file carry its id, and no others do.

    Raises:
        EpisodeError: they do not, or the file cannot be read.

    Cost: reads one column of the file, once for the episodes checked one after the other.
    """
    span = episode.table
    if span is None or span.ends_file is UNSET or episode.num_frames is None:
        return
    try:
        ids = _kept_ids(root / span.path, _state_of(root / span.path))
    except _TableError as error:
        raise _fault(episode, *error.args) from error
    except (pa.ArrowException, OSError) as error:
        raise _fault(episode, "cannot be read", "a parquet file", repr(error)) from error
    stop = span.start + episode.num_frames
    rows = np.flatnonzero(ids == episode.episode_index)
    if not np.array_equal(rows, np.arange(span.start, stop)):
        got = f"{len(rows)} in [{rows[0]}, {rows[-1] + 1})" if len(rows) else "none"
        expected = f"{episode.num_frames} in [{span.start}, {stop})"
        raise _fault(episode, "rows of this episode_index stand elsewhere", expected, got)


def check_timestamps(
    episode: Episode, timestamps_s: NDArray[np.float64] | NDArray[np.float32]
) -> None:
    """Passes when row ``i`` carries the time of frame ``i``: rows in order, none missing.

    Raises:
        EpisodeError: a time further than a tenth of a frame from ``i / fps``: far above the float32
            step of a long episode, far below a wrong row.
    """
    if episode.fps is None:
        return
    numerator, denominator = episode.fps
    frames = timestamps_s.astype(np.float64) * (numerator / denominator)
    wrong = np.flatnonzero(~(np.abs(frames - np.arange(len(frames))) < _TIME_TOLERANCE_FRAMES))
    if len(wrong):
        row = int(wrong[0])
        expected_s = row * denominator / numerator
        raise _fault(
            episode, f"timestamp of row {row}", f"{expected_s:.6f} s", f"{timestamps_s[row]:.6f} s"
        )


def _read_columns(path: Path, columns: tuple[str, ...] | None, *, task_info: bool) -> pa.Table:
    """The columns of a whole file; None for all that it has.

    Raises:
        _TableError: it lacks one.
    """
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names if columns is None else list(columns)
        if not task_info:
            names = [name for name in names if name != TASK_INFO]
        missing = sorted(set(names) - set(file.schema_arrow.names))
        if missing:
            raise _TableError("columns missing", ", ".join(names), f"no {missing[0]}")
        return file.read(names)


def _state_of(path: Path) -> _State:
    stat = path.stat()
    return stat.st_size, stat.st_ino, stat.st_mtime_ns


@lru_cache(maxsize=1)
def _kept_columns(
    path: Path,
    columns: tuple[str, ...] | None,
    task_info: bool,  # noqa: FBT001 - lru_cache's key
    _state: _State,
) -> pa.Table:
    return _read_columns(path, columns, task_info=task_info)


@lru_cache(maxsize=2)
def _kept_ids(path: Path, _state: _State) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = _read_columns(path, (_ID,), task_info=False)[_ID].to_numpy()
    return ids


def _fixed(episode: Episode, name: str, column: pa.ChunkedArray) -> pa.Array | None:
    """One column with its final type, list<float|double> -> fixed_size_list<float32>[n].

    None for vectors of length 0, which some sets write where they have nothing.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # no rows at all
        array = pa.array([], column.type)
    is_fixed = pa.types.is_fixed_size_list(array.type)
    if not (is_fixed or pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        return array
    if empty := array.null_count + array.flatten().null_count:
        raise _fault(episode, f"column {name} has empty cells", "0", str(empty))
    if is_fixed:
        return array.cast(pa.list_(pa.float32(), array.type.list_size))
    lengths = np.unique(array.value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) > 1:
        raise _fault(
            episode,
            f"column {name} has vectors of several lengths",
            "one length",
            str(lengths[:10]),
        )
    length = int(lengths[0]) if len(lengths) else 0
    if length == 0:
        return None
    return pa.FixedSizeListArray.from_arrays(array.flatten().cast(pa.float32()), length)


def _rows_of_video(root: Path, episode: Episode, num_frames: int) -> pa.Table:
    """Ids and times of a source that has no table of its own: the first camera's own times."""
    span = next(iter(episode.videos.values()))
    frames: FrameTable = frame_table_of(root / span.path, span.stream_index)
    ticks = frames.pts[span.start : span.start + num_frames] - frames.pts[span.start]
    seconds_per_tick = frames.time_base
    return pa.table(
        {
            "index": pa.array(np.arange(num_frames, dtype=np.int64)),
            "episode_index": pa.array(np.full(num_frames, episode.episode_index, np.int64)),
            "task_index": pa.array(np.full(num_frames, episode.task_index, np.int64)),
            # Product before quotient: integers below 2^53 are exact in float64.
            "timestamp": pa.array(
                ticks * seconds_per_tick.numerator / seconds_per_tick.denominator
            ),
        }
    )


def _fault(episode: Episode, problem: str, expected: str, got: str) -> EpisodeError:
    path = episode.table.path if episode.table else ""
    return episode_error(episode.episode_index, path, problem, expected, got)
