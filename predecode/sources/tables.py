"""Low-dimensional rows of one episode as an Arrow table with fixed types; pictures are left out."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import UNSET
from numpy.typing import NDArray

from predecode.errors import EpisodeError, episode_error
from predecode.sources.columns import (
    TIME_TOLERANCE_FRAMES,
    ColumnError,
    fixed_column,
    is_pictures,
    seconds,
    typed_column,
)
from predecode.sources.episode import Episode
from predecode.video.packets import FrameTable, frame_table_of

__all__ = ["TASK_INFO", "check_frame_ids", "check_row_ids", "check_timestamps", "read_rows"]

TASK_INFO = "observation.task_info"
"""Privileged poses of the task's objects; its length differs between tasks."""
_ID = "episode_index"
_TIME = "timestamp"
_State = tuple[int, ...]
"""What tells that a file is still the same: size, inode, time of change."""


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
    except ColumnError as error:
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
    return _with_fixed_types(episode, table)


def _with_fixed_types(episode: Episode, table: pa.Table) -> pa.Table:
    keeps_types = episode.table is not None and bool(episode.table.keeps_types)
    final_type = typed_column if keeps_types else fixed_column
    try:
        columns = {name: final_type(name, table[name]) for name in table.column_names}
        if keeps_types and columns.get(_TIME) is not None:
            columns[_TIME] = seconds(columns[_TIME], episode.fps)
    except ColumnError as error:
        raise _fault(episode, *error.args) from error
    return pa.table({name: column for name, column in columns.items() if column is not None})


def check_row_ids(root: Path, episode: Episode) -> None:
    """Passes when the episode's rows of a shared file carry its id, and no others do.

    Raises:
        EpisodeError: they do not, or the file cannot be read.

    Cost: reads one column of the file, once for the episodes checked one after the other.
    """
    span = episode.table
    if span is None or span.ends_file is UNSET or episode.num_frames is None:
        return
    ids = _ids(root, episode, _ID)
    stop = span.start + episode.num_frames
    rows = np.flatnonzero(ids == episode.episode_index)
    if not np.array_equal(rows, np.arange(span.start, stop)):
        got = f"{len(rows)} in [{rows[0]}, {rows[-1] + 1})" if len(rows) else "none"
        expected = f"{episode.num_frames} in [{span.start}, {stop})"
        raise _fault(episode, "rows of this episode_index stand elsewhere", expected, got)


def check_frame_ids(root: Path, episode: Episode) -> None:
    """Passes when the rows of a LeRobot episode name its frames in order, and tasks of its own.

    Raises:
        EpisodeError: they do not, or the file cannot be read.

    Cost: reads three columns of the file, as ``check_row_ids``.
    """
    span = episode.table
    if span is None or not span.keeps_types or episode.num_frames is None:
        return
    rows = slice(span.start, span.start + episode.num_frames)
    expected = {
        _ID: np.full(episode.num_frames, episode.episode_index),
        "frame_index": np.arange(episode.num_frames),
    }
    for name, values in expected.items():
        found = _ids(root, episode, name)[rows]
        if len(wrong := np.flatnonzero(found != values)):
            row = int(wrong[0])
            raise _fault(episode, f"{name} of row {row}", f"{values[row]}", f"{found[row]}")
    found = _ids(root, episode, "task_index")[rows]
    strangers = np.unique(found[~np.isin(found, list(episode.tasks))])
    if len(strangers):
        known = f"tasks {', '.join(map(str, episode.tasks))}, as the metadata say"
        raise _fault(episode, "rows name a task that is not the episode's", known, strangers[:10])


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
    wrong = np.flatnonzero(~(np.abs(frames - np.arange(len(frames))) < TIME_TOLERANCE_FRAMES))
    if len(wrong):
        row = int(wrong[0])
        expected_s = row * denominator / numerator
        raise _fault(
            episode, f"timestamp of row {row}", f"{expected_s:.6f} s", f"{timestamps_s[row]:.6f} s"
        )


def _read_columns(path: Path, columns: tuple[str, ...] | None, *, task_info: bool) -> pa.Table:
    """The columns of a whole file; None for all that it has but pictures.

    Raises:
        ColumnError: it lacks one.
    """
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        names = [field.name for field in schema if not is_pictures(field.type)]
        names = names if columns is None else list(columns)
        if not task_info:
            names = [name for name in names if name != TASK_INFO]
        missing = sorted(set(names) - set(schema.names))
        if missing:
            raise ColumnError("columns missing", ", ".join(names), f"no {missing[0]}")
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


def _ids(root: Path, episode: Episode, name: str) -> NDArray[np.int64]:
    """A column of ids of the whole file of an episode's table."""
    path = root / (episode.table.path if episode.table else "")
    try:
        return _kept_ids(path, name, _state_of(path))
    except ColumnError as error:
        raise _fault(episode, *error.args) from error
    except (pa.ArrowException, OSError) as error:
        raise _fault(episode, "cannot be read", "a parquet file", repr(error)) from error


@lru_cache(maxsize=4)
def _kept_ids(path: Path, name: str, _state: _State) -> NDArray[np.int64]:
    column = _read_columns(path, (name,), task_info=False)[name]
    if not pa.types.is_integer(column.type) or column.null_count:
        raise ColumnError(f"column {name}", "integers", str(column.type))
    ids: NDArray[np.int64] = column.to_numpy()
    return ids


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


def _fault(episode: Episode, problem: str, expected: str, got: object) -> EpisodeError:
    path = episode.table.path if episode.table else ""
    return episode_error(episode.episode_index, path, problem, expected, got)
