"""Windows of frames: whole deltas, clamped to the episode, what was clamped is marked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train_shards.errors import UserError
from train_shards.windows import frame_offsets, window


def test_deltas_become_whole_frames() -> None:
    deltas_s = [-0.1, 0.0, 1 / 30, 31 / 30]
    offsets = frame_offsets({"action": deltas_s, "image": [0]}, (30, 1))
    assert {key: value.tolist() for key, value in offsets.items()} == {
        "action": [-3, 0, 1, 31],
        "image": [0],
    }
    assert frame_offsets({"a": [1001 / 30000]}, (30000, 1001))["a"].tolist() == [1]
    assert frame_offsets({}, None) == {}


@pytest.mark.parametrize(
    ("deltas_s", "fps", "message"),
    [
        ([0.02], (30, 1), "0.02 s is 0.600 frames at 30 fps; expected a whole number of frames"),
        ([0.0, float("nan")], (30, 1), "nan s is nan frames"),
        ([float("-inf")], (30, 1), "-inf s is -inf frames"),
        ([1e308], (30, 1), "inf frames at 30 fps"),
        ([], (30, 1), "expected at least one delta"),
        ([0.0], None, "no common frame rate"),
    ],
)
def test_what_is_no_frame_is_refused(
    deltas_s: list[float], fps: tuple[int, int] | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        frame_offsets({"action": deltas_s}, fps)


@pytest.mark.parametrize(
    ("delta_s", "fps", "num_frames"),
    # What LeRobot 0.4.4 said of them, with its tolerance_s of 1e-4.
    [
        (-1.3334333333333332, (30, 1), None),
        (-3333.2999, (30, 1), -99999),
        (-0.0999, (50, 1), -5),
        (-0.7601, (50, 1), None),
        (0.1, (30000, 1001), 3),
    ],
)
def test_the_tolerance_ends_at_the_float_where_lerobot_s_ends(
    delta_s: float, fps: tuple[int, int], num_frames: int | None
) -> None:
    if num_frames is None:
        with pytest.raises(UserError, match="expected a whole number of frames"):
            frame_offsets({"action": [delta_s]}, fps)
    else:
        assert frame_offsets({"action": [delta_s]}, fps)["action"].tolist() == [num_frames]


def test_deltas_beyond_any_episode_are_its_ends() -> None:
    offsets = frame_offsets({"action": [-1e30, -3e17, 3e17, 1e30]}, (30, 1))["action"]
    frames, is_pad = window(2**40, offsets, 2**40 + 2)
    assert frames.tolist() == [0, 0, 2**40 + 1, 2**40 + 1]
    assert is_pad.all()


@given(st.integers(1, 400), st.data(), st.lists(st.integers(-500, 500), min_size=1, max_size=40))
def test_a_window_never_leaves_its_episode(
    num_frames: int, data: st.DataObject, offsets: list[int]
) -> None:
    frame = data.draw(st.integers(0, num_frames - 1))
    frames, is_pad = window(frame, np.array(offsets), num_frames)
    assert len(frames) == len(is_pad) == len(offsets)
    for got, pad, offset in zip(frames.tolist(), is_pad.tolist(), offsets, strict=True):
        if frame + offset < 0:
            assert (got, pad) == (0, True)
        elif frame + offset >= num_frames:
            assert (got, pad) == (num_frames - 1, True)
        else:
            assert (got, pad) == (frame + offset, False)
