"""The state of both editions against their index tables, written out once more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.stored import tiny_output
from train_shards.b1k_state import (
    check_state_choice,
    policy_state,
    state_as_2025,
    state_of_2026,
)
from train_shards.dataset import ShardDataset
from train_shards.errors import DataError, UserError

# Source: the editions' own tables, as fields and their widths, all of them, in order.
FIELDS_2025 = """
joint_qpos 28 joint_qpos_sin 28 joint_qpos_cos 28 joint_qvel 28 joint_qeffort 28 robot_pos 3
robot_ori_cos 3 robot_ori_sin 3 robot_2d_ori 1 robot_2d_ori_cos 1 robot_2d_ori_sin 1
robot_lin_vel 3 robot_ang_vel 3 arm_left_qpos 7 arm_left_qpos_sin 7 arm_left_qpos_cos 7
arm_left_qvel 7 eef_left_pos 3 eef_left_quat 4 gripper_left_qpos 2 gripper_left_qvel 2
arm_right_qpos 7 arm_right_qpos_sin 7 arm_right_qpos_cos 7 arm_right_qvel 7 eef_right_pos 3
eef_right_quat 4 gripper_right_qpos 2 gripper_right_qvel 2 trunk_qpos 4 trunk_qvel 4 base_qpos 3
base_qpos_sin 3 base_qpos_cos 3 base_qvel 3
"""
FIELDS_2026 = """
base_qvel 3 arm_left_qpos 7 arm_left_qvel 7 eef_left_pos 3 eef_left_quat 4 gripper_left_qpos 2
gripper_left_qvel 2 arm_right_qpos 7 arm_right_qvel 7 eef_right_pos 3 eef_right_quat 4
gripper_right_qpos 2 gripper_right_qvel 2 trunk_qpos 4 trunk_qvel 4
"""


def names(fields: str) -> list[str]:
    """One name for each number of a state: ``trunk_qpos.3``."""
    words = fields.split()
    pairs = zip(words[::2], map(int, words[1::2]), strict=True)
    return [f"{name}.{number}" for name, width in pairs for number in range(width)]


NAMES_2025, NAMES_2026 = names(FIELDS_2025), names(FIELDS_2026)


def test_the_tables_are_whole() -> None:
    assert (len(NAMES_2025), len(NAMES_2026)) == (256, 61)
    assert set(NAMES_2026) < set(NAMES_2025)


def test_each_number_of_2026_goes_to_its_namesake_and_zeros_elsewhere() -> None:
    state = np.arange(1, 62, dtype=np.float32)
    value_of = dict(zip(NAMES_2026, state, strict=True))
    wide = state_as_2025(state)
    assert wide.tolist() == [value_of.get(name, 0.0) for name in NAMES_2025]
    assert wide.dtype == np.float32


def test_stacks_keep_their_leading_axes() -> None:
    states = np.random.default_rng(0).normal(size=(5, 4, 61))
    wide = state_as_2025(states)
    assert wide.shape == (5, 4, 256)
    assert np.array_equal(wide[3, 2], state_as_2025(states[3, 2]))
    assert np.array_equal(state_of_2026(wide), states)


def test_the_policy_sees_the_same_in_both() -> None:
    state = np.random.default_rng(1).normal(size=(3, 256))
    assert np.array_equal(policy_state(state_as_2025(state_of_2026(state))), policy_state(state))


@pytest.mark.parametrize(
    ("function", "width", "edition"),
    [
        (state_as_2025, 256, r"61 numbers a frame \(2026"),
        (state_of_2026, 61, r"256 numbers a frame \(2025"),
        (policy_state, 61, r"256 numbers a frame \(2025"),
    ],
)
def test_one_layout_is_never_taken_for_the_other(
    function: Callable[[NDArray[Any]], NDArray[Any]], width: int, edition: str
) -> None:
    with pytest.raises(DataError, match=rf"shape \(2, {width}\), expected {edition} edition"):
        function(np.zeros((2, width)))


def test_a_choice_that_a_layout_cannot_serve_is_refused(tmp_path: Path) -> None:
    check_state_choice("as_stored", "", where="x")
    with pytest.raises(UserError, match="state 'as_2026': expected 'as_stored' or 'as_2025'"):
        check_state_choice("as_2026", "b1k-2026-61", where="x")
    tiny_output(tmp_path, source="films")
    with pytest.raises(UserError, match="needs observation.state in the layout b1k-2025-256 or"):
        ShardDataset(tmp_path, state="as_2025")
