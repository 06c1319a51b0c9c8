"""openpi's ``norm_stats.json``, written and read.

Source of the form: openpi's ``normalize.save`` and ``NormStats``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from train_shards.b1k_state import ACTION_DIM, POLICY_STATE_DIM
from train_shards.errors import UserError
from train_shards.storage import write_atomic

__all__ = ["FILE_NAME", "NormStats", "read_norm_stats", "write_norm_stats"]

FILE_NAME = "norm_stats.json"
_PADDED_DIM = 32
"""Width of openpi's state and actions; the trainer cuts the statistics to the data's width."""

_Vector = NDArray[np.float64]


class NormStats(NamedTuple):
    """Statistics of one key of openpi's file, each ``(23,)``; in the file padded with 0 to 32."""

    mean: _Vector
    std: _Vector
    q01: _Vector
    q99: _Vector


def write_norm_stats(folder: Path, stats: Mapping[str, NormStats]) -> Path:
    """Writes ``norm_stats.json`` as openpi's ``normalize.save`` does, but all or nothing."""
    padded = {
        key: {
            name: np.pad(vector, (0, _PADDED_DIM - len(vector))).tolist()
            for name, vector in one._asdict().items()
        }
        for key, one in stats.items()
    }
    path = folder / FILE_NAME
    write_atomic(path, json.dumps({"norm_stats": padded}, indent=2).encode(), folder)
    return path


def read_norm_stats(path: Path) -> dict[str, NormStats]:
    """Returns what stands in openpi's file, cut to the policy's state and action.

    Raises:
        UserError: no such file, or not one of openpi's for this robot.
    """
    try:
        stats = json.loads(path.read_bytes())["norm_stats"]
        return {
            key: NormStats(*(_cut(stats[key][name], dim) for name in NormStats._fields))
            for key, dim in (("state", POLICY_STATE_DIM), ("actions", ACTION_DIM))
        }
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"norm_stats={path}: not openpi's {FILE_NAME} for this robot: {error!r}. "
            "Make one with 'python -m train_shards.norm_stats shards=DIR'."
        ) from error


def _cut(vector: Sequence[float], dim: int) -> _Vector:
    values = np.array(vector, np.float64)
    if values.ndim != 1 or len(values) < dim or not np.isfinite(values).all():
        raise ValueError(f"shape {values.shape}, expected {dim} finite numbers or more")
    return values[:dim]
