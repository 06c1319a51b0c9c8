"""Low-dimensional rows of the sample of the 2026 edition: several episodes in a parquet file.

Source of columns, their order and types: the 2026 edition's parquet files. Vectors are fixed-size
lists, ``index`` counts over the whole data set, times are float32 and restart in each episode.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from predecode.sources.sample_layout import FPS
from predecode.sources.sample_layout_2026 import EPISODES_2026, POSE_KEYS, EpisodeSpec2026
from predecode.sources.sample_tables import make_rows, vector_statistics
from train_shards.b1k_state import state_of_2026

__all__ = ["FIRST_INDEX", "episode_table", "statistics_of", "write_shared_parquet"]

FIRST_INDEX = {
    spec.episode_index: sum(other.length for other in EPISODES_2026[: spec.episode_index])
    for spec in EPISODES_2026
}
"""``episode_index`` -> ``index`` of its first row."""


def episode_table(spec: EpisodeSpec2026) -> pa.Table:
    """Returns the episode's rows: the published columns, in order."""
    rows = make_rows(spec)
    frame = np.arange(spec.length, dtype=np.int64)
    is_last = frame == spec.length - 1
    columns = {
        "action": _vectors(rows.action),
        "next.reward": pa.array(is_last.astype(np.float32)),
        "next.terminated": pa.array(is_last),
        "next.truncated": pa.array(np.zeros(spec.length, np.bool_)),
        "observation.state": _vectors(state_of_2026(rows.state)),
    }
    if rows.cam_rel_poses is None:
        raise ValueError(f"episode {spec.episode_index} has no poses of its cameras")
    for number, key in enumerate(POSE_KEYS.values()):
        columns[key] = _vectors(rows.cam_rel_poses[:, 7 * number : 7 * (number + 1)])
    columns |= {
        "timestamp": pa.array((frame / float(FPS)).astype(np.float32)),
        "frame_index": pa.array(frame),
        "episode_index": pa.array(np.full(spec.length, spec.episode_index, np.int64)),
        "index": pa.array(FIRST_INDEX[spec.episode_index] + frame),
        "task_index": pa.array(np.full(spec.length, spec.task_index, np.int64)),
    }
    return pa.table(columns)


def write_shared_parquet(path: Path, specs: Sequence[EpisodeSpec2026]) -> None:
    """Writes one file with the rows of some episodes, in one row group; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.concat_tables([episode_table(spec) for spec in specs])
    pq.write_table(table, path, row_group_size=table.num_rows)


def statistics_of(table: pa.Table) -> dict[str, dict[str, list[Any]]]:
    """Returns the content of ``meta/stats.json``: figures of each vector over all rows."""
    return {
        name: vector_statistics(_matrix(table[name]))
        for name in ("action", "observation.state", *POSE_KEYS.values())
    }


def _vectors(values: npt.NDArray[Any]) -> pa.FixedSizeListArray:
    """``(T, n)`` -> T lists of exactly n float32."""
    flat = pa.array(values.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _matrix(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = column.combine_chunks().flatten().to_numpy()
    return values.reshape(len(column), -1)
