"""Low-dimensional rows of one episode as an Arrow table with fixed types.

Vectors become fixed-size lists of float32 (real files hold variable-size lists, some of double);
scalars keep their type, so that timestamps stay float64.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from predecode.errors import EpisodeError, episode_error
from predecode.sources.episode import Episode
from predecode.video.packets import FrameTable, read_frame_table

__all__ = ["TASK_INFO", "check_timestamps", "read_rows"]

TASK_INFO = "observation.task_info"
"""Privileged poses of the task's objects; its length differs between tasks."""
_TIME_TOLERANCE_FRAMES = 0.1


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

    Cost: reads the named columns of the file.
    """
    if episode.table is None:
        return _rows_of_video(root, episode, num_frames)
    try:
        with pq.ParquetFile(root / episode.table.path) as file:
            names = file.schema_arrow.names if columns is None else columns
            if not task_info:
                names = [name for name in names if name != TASK_INFO]
            missing = sorted(set(names) - set(file.schema_arrow.names))
            if missing:
                raise _fault(episode, "columns missing", ", ".join(names), f"no {missing[0]}")
            table = file.read(names).slice(episode.table.start, num_frames)
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        raise _fault(episode, "cannot be read", "a parquet file", repr(error)) from error
    if table.num_rows != num_frames:
        raise _fault(
            episode,
            "too few rows",
            f"{num_frames} from row {episode.table.start}",
            str(table.num_rows),
        )
    fixed = {name: _fixed(episode, name, table[name]) for name in table.column_names}
    return pa.table({name: column for name, column in fixed.items() if column is not None})


def check_timestamps(episode: Episode, timestamps_s: NDArray[np.float64]) -> None:
    """Passes when row ``i`` carries the time of frame ``i``: rows in order, none missing.

    Raises:
        EpisodeError: a time further than a tenth of a frame from ``i / fps``: far above the float32
            step of a long episode, far below a wrong row.
    """
    if episode.fps is None:
        return
    numerator, denominator = episode.fps
    frames = timestamps_s * (numerator / denominator)
    wrong = np.flatnonzero(~(np.abs(frames - np.arange(len(frames))) < _TIME_TOLERANCE_FRAMES))
    if len(wrong):
        row = int(wrong[0])
        expected_s = row * denominator / numerator
        raise _fault(
            episode, f"timestamp of row {row}", f"{expected_s:.6f} s", f"{timestamps_s[row]:.6f} s"
        )


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
    frames: FrameTable = read_frame_table(root / span.path, span.stream_index)
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
