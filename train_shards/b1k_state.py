"""The state of BEHAVIOR-1K's R1Pro robot: where its fields stand in both editions. Pure.

Source of the places: the editions' own index tables of the robot's state. The order differs between
them (base velocity last in 2025, first in 2026), so that one's table on the other's numbers gives
wrong values without an error; the manifest tells which layout an output holds.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from train_shards.errors import DataError, UserError

__all__ = [
    "ACTION_DIM",
    "LAYOUT_2025",
    "LAYOUT_2026",
    "POLICY_STATE_DIM",
    "SOURCE_STATE_DIM",
    "STATE_DIM_2026",
    "STATE_KEY",
    "StateChoice",
    "check_state_choice",
    "policy_state",
    "state_as_2025",
    "state_of_2026",
]

STATE_KEY = "observation.state"
LAYOUT_2025, LAYOUT_2026 = "b1k-2025-256", "b1k-2026-61"
SOURCE_STATE_DIM, STATE_DIM_2026, POLICY_STATE_DIM, ACTION_DIM = 256, 61, 23, 23

StateChoice = Literal["as_stored", "as_2025"]

_SHARED = {
    "base_qvel": (slice(253, 256), slice(0, 3)),
    "arm_left_qpos": (slice(158, 165), slice(3, 10)),
    "arm_left_qvel": (slice(179, 186), slice(10, 17)),
    "eef_left_pos": (slice(186, 189), slice(17, 20)),
    "eef_left_quat": (slice(189, 193), slice(20, 24)),
    "gripper_left_qpos": (slice(193, 195), slice(24, 26)),
    "gripper_left_qvel": (slice(195, 197), slice(26, 28)),
    "arm_right_qpos": (slice(197, 204), slice(28, 35)),
    "arm_right_qvel": (slice(218, 225), slice(35, 42)),
    "eef_right_pos": (slice(225, 228), slice(42, 45)),
    "eef_right_quat": (slice(228, 232), slice(45, 49)),
    "gripper_right_qpos": (slice(232, 234), slice(49, 51)),
    "gripper_right_qvel": (slice(234, 236), slice(51, 53)),
    "trunk_qpos": (slice(236, 240), slice(53, 57)),
    "trunk_qvel": (slice(240, 244), slice(57, 61)),
}
"""Field -> its place in 2025 and in 2026. These are all fields of 2026, in its order."""


def policy_state(state: NDArray[Any]) -> NDArray[Any]:
    """Returns ``(..., 23)`` of ``(..., 256)``, of the same type: what a policy sees of the state.

    Base velocity 0:3, trunk 3:7, left arm 7:14, right arm 14:21, left and right gripper's width.
    The order is not that of the action, whose left gripper stands between the arms.

    Source of the choice and its order: ``extract_state_from_proprio`` of openpi's BEHAVIOR-1K
    policy, which adds the two fingers of a gripper up to its width.

    Raises:
        DataError: the last axis is not 256 long. The 2026 edition has 61 numbers in another order.

    >>> policy_state(np.arange(256))[[0, 3, 7, 14, 21, 22]].tolist()
    [253, 236, 158, 197, 387, 465]
    """
    _check_dim(state, SOURCE_STATE_DIM, "2025")
    joints = ("base_qvel", "trunk_qpos", "arm_left_qpos", "arm_right_qpos")
    fingers = ("gripper_left_qpos", "gripper_right_qpos")
    parts = [state[..., _SHARED[name][0]] for name in joints]
    parts += [state[..., _SHARED[name][0]].sum(axis=-1, keepdims=True) for name in fingers]
    return np.concatenate(parts, axis=-1)


def state_of_2026(state: NDArray[Any]) -> NDArray[Any]:
    """Returns the 2026 edition's ``(..., 61)`` of the 2025 edition's ``(..., 256)``.

    Raises:
        DataError: the last axis is not 256 long.

    >>> state_of_2026(np.arange(256))[[0, 3, 53, 60]].tolist()
    [253, 158, 236, 243]
    """
    _check_dim(state, SOURCE_STATE_DIM, "2025")
    return np.concatenate([state[..., place] for place, _ in _SHARED.values()], axis=-1)


def state_as_2025(state: NDArray[Any]) -> NDArray[Any]:
    """Returns ``(..., 256)`` of the 2026 edition's ``(..., 61)``: its fields in the 2025 layout.

    Zeros stand where 2026 has nothing: whole-body joints, efforts, sines and cosines, pose of the
    base. What a policy sees (``policy_state``) is all there.

    The numbers are not converted, and older copies of the 2026 edition hold wrong ones: the base's
    velocity (0:3 of 61) was in the wrong frame until 2026-07-27, the velocities of arms, grippers
    and trunk were wrong until 2026-08-24. Take a corrected copy, and statistics of the data that
    is trained on, not the other edition's.
    Source: the edition's changelog of these days.

    Raises:
        DataError: the last axis is not 61 long.

    >>> wide = state_as_2025(np.arange(1, 62))
    >>> wide[[253, 158, 236, 243]].tolist(), int((wide != 0).sum())
    ([1, 4, 54, 61], 61)
    """
    _check_dim(state, STATE_DIM_2026, "2026")
    wide = np.zeros((*state.shape[:-1], SOURCE_STATE_DIM), state.dtype)
    for there, here in _SHARED.values():
        wide[..., there] = state[..., here]
    return wide


def check_state_choice(choice: str, layout: str, *, where: object) -> None:
    """Passes when a state of this layout can be served as asked.

    Raises:
        UserError: neither ``as_stored`` nor ``as_2025``, or ``as_2025`` of a layout that has no
            such form.
    """
    if choice not in ("as_stored", "as_2025"):
        raise UserError(f"state {choice!r}: expected 'as_stored' or 'as_2025'.")
    if choice == "as_2025" and layout not in (LAYOUT_2025, LAYOUT_2026):
        raise UserError(
            f"{where}: state='as_2025' needs {STATE_KEY} in the layout {LAYOUT_2025} or "
            f"{LAYOUT_2026}, this is {layout or 'of no known layout'}. Use state='as_stored'."
        )


def _check_dim(state: NDArray[Any], dim: int, edition: str) -> None:
    if state.shape[-1:] != (dim,):
        raise DataError(
            f"{STATE_KEY}: shape {state.shape}, expected {dim} numbers a frame "
            f"({edition} edition, R1Pro)."
        )
