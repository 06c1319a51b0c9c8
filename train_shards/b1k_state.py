"""What a policy for BEHAVIOR-1K's R1Pro robot sees of its state: 256 numbers -> 23. Pure.

Source of the places: the 2025 edition's index table of the robot's state. Source of the choice and
its order: ``extract_state_from_proprio`` of openpi's BEHAVIOR-1K policy, which adds the two fingers
of a gripper up to its width. The order is not that of the action, whose left gripper stands
between the arms.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from train_shards.errors import DataError

__all__ = ["ACTION_DIM", "POLICY_STATE_DIM", "SOURCE_STATE_DIM", "policy_state"]

SOURCE_STATE_DIM, POLICY_STATE_DIM, ACTION_DIM = 256, 23, 23

_JOINTS = (
    slice(253, 256),  # base velocity: x, y, yaw
    slice(236, 240),  # trunk
    slice(158, 165),  # left arm
    slice(197, 204),  # right arm
)
_FINGERS = (slice(193, 195), slice(232, 234))  # left, right


def policy_state(state: NDArray[Any]) -> NDArray[Any]:
    """Returns ``(..., 23)`` of ``(..., 256)``, of the same type.

    Base velocity 0:3, trunk 3:7, left arm 7:14, right arm 14:21, left and right gripper's width.

    Raises:
        DataError: the last axis is not 256 long. The 2026 edition has 61 numbers in another order.

    >>> policy_state(np.arange(256))[[0, 3, 7, 14, 21, 22]].tolist()
    [253, 236, 158, 197, 387, 465]
    """
    if state.shape[-1:] != (SOURCE_STATE_DIM,):
        raise DataError(
            f"observation.state: shape {state.shape}, expected {SOURCE_STATE_DIM} numbers a frame "
            "(2025 edition, R1Pro)."
        )
    joints = [state[..., places] for places in _JOINTS]
    widths = [state[..., places].sum(axis=-1, keepdims=True) for places in _FINGERS]
    return np.concatenate(joints + widths, axis=-1)
