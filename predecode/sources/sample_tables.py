"""Low-dimensional rows of the sample: state, action and poses, their parquet file and statistics.

Source of columns, their order and the layouts of state and action: the 2025 edition's parquet files
and its index tables for the R1Pro robot.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from predecode.sources.sample_layout import FPS, EpisodeSpec

__all__ = ["EpisodeRows", "make_rows", "statistics", "vector_statistics", "write_parquet"]

_SEED = 20252
_DENORMAL = np.float32(1e-45)
"""What real base actions hold where the robot stands still: the smallest float32 above zero."""

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EpisodeRows:
    """All vectors of one episode; T rows."""

    spec: EpisodeSpec
    state: npt.NDArray[np.float32] | npt.NDArray[np.float64]
    """``(T, 256)``."""
    cam_rel_poses: npt.NDArray[np.float32] | None
    """``(T, 21)``: left wrist, right wrist, head, each x, y, z in metres and quaternion x, y, z, w;
    None for rollouts."""
    action: npt.NDArray[np.float32]
    """``(T, 23)``: base velocity, torso, left arm, left gripper, right arm, right gripper."""
    task_info: npt.NDArray[np.float32]
    """``(T, 7 * objects of the task)``; ``(T, 0)`` for rollouts."""

    @property
    def base_positions_m(self) -> _Array:
        """``(T, 3)`` positions of the robot."""
        return self.state[:, 140:143].astype(np.float64)

    @property
    def left_hand_positions_m(self) -> _Array:
        """``(T, 3)`` positions of the left end effector."""
        return self.state[:, 186:189].astype(np.float64)

    @property
    def right_hand_positions_m(self) -> _Array:
        """``(T, 3)`` positions of the right end effector."""
        return self.state[:, 225:228].astype(np.float64)


def make_rows(spec: EpisodeSpec) -> EpisodeRows:
    """Returns the episode's rows, a function of the episode alone."""
    rng = np.random.Generator(np.random.PCG64([_SEED, spec.episode_index]))
    joints = {
        "base": _waves(rng, spec.length, 6, 1.5),  # x, y, z in metres, three angles
        "trunk": _waves(rng, spec.length, 4, 0.8),
        "arm_left": _waves(rng, spec.length, 7, 1.2),
        "arm_right": _waves(rng, spec.length, 7, 1.2),
        "gripper_left": 0.025 + _waves(rng, spec.length, 2, 0.01),
        "gripper_right": 0.025 + _waves(rng, spec.length, 2, 0.01),
    }
    state = _state(rng, joints)
    num_objects = 0 if spec.is_rft else len(spec.task.objects)
    objects = [_poses(rng, spec.length) for _ in range(num_objects)]
    cameras = [_poses(rng, spec.length) for _ in range(3)]
    return EpisodeRows(
        spec=spec,
        state=state if spec.has_double_state else state.astype(np.float32),
        cam_rel_poses=None if spec.is_rft else np.hstack(cameras).astype(np.float32),
        action=_action(rng, joints),
        task_info=np.hstack([np.zeros((spec.length, 0)), *objects]).astype(np.float32),
    )


def write_parquet(rows: EpisodeRows, path: Path) -> None:
    """Writes the episode's parquet file: the published columns, in order, lists of variable size.

    ``index`` restarts at 0, there is no ``frame_index``, and a rollout has no ``cam_rel_poses``.
    """
    spec = rows.spec
    row_numbers = np.arange(spec.length, dtype=np.int64)
    columns = {
        "index": pa.array(row_numbers),
        "episode_index": pa.array(np.full(spec.length, spec.episode_index, np.int64)),
        "task_index": pa.array(np.full(spec.length, spec.task_index, np.int64)),
        "timestamp": pa.array(row_numbers / float(FPS)),
        "observation.state": _lists(rows.state),
    }
    if rows.cam_rel_poses is not None:
        columns["observation.cam_rel_poses"] = _lists(rows.cam_rel_poses)
    columns["action"] = _lists(rows.action)
    columns["observation.task_info"] = _lists(rows.task_info)
    pq.write_table(pa.table(columns), path)


def statistics(rows: EpisodeRows) -> dict[str, dict[str, list[Any]]]:
    """Returns the episode's entry of ``episodes_stats.jsonl``: exactly the published keys."""
    vectors = {
        "action": rows.action,
        "observation.state": rows.state,
        "observation.cam_rel_poses": rows.cam_rel_poses,
    }
    return {key: vector_statistics(values) for key, values in vectors.items() if values is not None}


def vector_statistics(
    values: npt.NDArray[np.float32] | npt.NDArray[np.float64],
) -> dict[str, list[Any]]:
    """Returns the published figures of ``(T, n)``: each a vector, ``count`` a list of one."""
    return {
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "mean": values.mean(axis=0, dtype=np.float64).tolist(),
        "std": values.std(axis=0, dtype=np.float64).tolist(),
        "q01": np.quantile(values.astype(np.float64), 0.01, axis=0).tolist(),
        "q99": np.quantile(values.astype(np.float64), 0.99, axis=0).tolist(),
        "count": [len(values)],
    }


def _state(rng: np.random.Generator, joints: dict[str, _Array]) -> _Array:
    """``(T, 256)``; sines, cosines and velocities belong to the positions beside them."""
    base, trunk = joints["base"], joints["trunk"]
    qpos = np.hstack(list(joints.values()))  # (T, 28)
    length = len(qpos)
    planar = base[:, [0, 1, 5]]  # x, y, yaw
    yaw = base[:, 5:6]
    parts = [qpos, np.sin(qpos), np.cos(qpos), _velocity(qpos), _waves(rng, length, 28, 5.0)]
    parts += [base[:, :3], np.cos(base[:, 3:]), np.sin(base[:, 3:])]
    parts += [yaw, np.cos(yaw), np.sin(yaw), _velocity(base[:, :3]), _velocity(base[:, 3:])]
    for hand in ("left", "right"):
        arm, gripper = joints[f"arm_{hand}"], joints[f"gripper_{hand}"]
        parts += [arm, np.sin(arm), np.cos(arm), _velocity(arm), _poses(rng, length)]
        parts += [gripper, _velocity(gripper)]
    parts += [trunk, _velocity(trunk), planar, np.sin(planar), np.cos(planar), _velocity(planar)]
    return np.hstack(parts)


def _action(rng: np.random.Generator, joints: dict[str, _Array]) -> npt.NDArray[np.float32]:
    """``(T, 23) float32``: positions of the next row; the base stands still every other second."""
    length = len(joints["base"])
    wanted = {name: np.vstack([array[1:], array[-1:]]) for name, array in joints.items()}
    frame = np.arange(length)[:, None]
    signs = rng.choice(np.array([-1, 1], np.float32), (length, 3))
    moving = _velocity(joints["base"][:, [0, 1, 5]]).astype(np.float32)
    base = np.where(frame // FPS % 2 == 0, signs * _DENORMAL, moving)
    torso = wanted["trunk"].astype(np.float32)
    torso[:, 3] = 0.0  # constant in the published data
    grippers = [np.where(frame // period % 2 == 0, 1.0, -1.0) for period in (47, 61)]
    parts = [base, torso, wanted["arm_left"], grippers[0], wanted["arm_right"], grippers[1]]
    return np.hstack([part.astype(np.float32) for part in parts])


def _waves(rng: np.random.Generator, length: int, num: int, amplitude: float) -> _Array:
    """``(T, num)`` smooth values within ``amplitude`` of 0, one slow sine per column."""
    times_s = np.arange(length)[:, None] / FPS
    hertz, phase = rng.uniform(0.05, 0.4, num), rng.uniform(0.0, 2 * np.pi, num)
    return amplitude * rng.uniform(0.3, 1.0, num) * np.sin(2 * np.pi * hertz * times_s + phase)


def _velocity(positions: _Array) -> _Array:
    """Same shape, per second."""
    return np.gradient(positions, axis=0) * FPS


def _poses(rng: np.random.Generator, length: int) -> _Array:
    """``(T, 7)``: x, y, z in metres, then a quaternion x, y, z, w of length 1."""
    quaternions = _waves(rng, length, 4, 0.5) + np.array([0.0, 0.0, 0.0, 2.0])
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    return np.hstack([_waves(rng, length, 3, 0.6), quaternions])


def _lists(
    values: npt.NDArray[np.float32] | npt.NDArray[np.float64],
) -> pa.ListArray:
    """``(T, n)`` -> T lists of n numbers."""
    num_rows, width = values.shape
    offsets = np.arange(num_rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))
