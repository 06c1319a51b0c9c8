"""Windows of neighbouring frames around a frame: ``delta_timestamps``. Pure.

Source of the rules: LeRobot 0.4.4 ``check_delta_timestamps``, ``get_delta_indices`` and
``_get_query_indices``: a delta becomes ``round(delta * fps)`` frames, indices are clamped to the
episode, and what was clamped is marked.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from train_shards.errors import UserError

__all__ = ["frame_offsets", "window"]

_TOLERANCE_S = 1e-4
"""How far a delta may lie from a whole frame. Source: LeRobot's default ``tolerance_s``."""
_FARTHEST_FRAMES = 2**62
"""Beyond any episode's end, yet its sum with any frame fits into 64 bits."""


def frame_offsets(
    delta_timestamps: Mapping[str, Sequence[float]], fps: tuple[int, int] | None
) -> dict[str, NDArray[np.int64]]:
    """Returns for each key its deltas in whole frames, ``(H,)`` int64.

    Args:
        delta_timestamps: key -> deltas in seconds.
        fps: numerator and denominator; None where frames have no common rate.

    Raises:
        UserError: no common rate, no delta, or a delta that is not a whole number of frames.

    >>> frame_offsets({"action": [0.0, 1 / 30, 2 / 30]}, (30, 1))["action"].tolist()
    [0, 1, 2]
    """
    if not delta_timestamps:
        return {}
    if fps is None:
        raise UserError("delta_timestamps: these episodes have no common frame rate to count in.")
    rate = float(Fraction(*fps))
    offsets = {}
    for key, deltas_s in delta_timestamps.items():
        if not len(deltas_s):
            raise UserError(f"delta_timestamps[{key!r}]: expected at least one delta.")
        frames = [_whole_frames(key, delta_s, rate) for delta_s in deltas_s]
        offsets[key] = np.array(frames, np.int64)
    return offsets


def _whole_frames(key: str, delta_s: float, rate: float) -> int:
    """LeRobot's own arithmetic: at the tolerance's edge the last bit decides."""
    num_frames = delta_s * rate
    is_whole = (
        math.isfinite(num_frames) and abs(num_frames - round(num_frames)) / rate <= _TOLERANCE_S
    )
    if not is_whole:
        raise UserError(
            f"delta_timestamps[{key!r}]: {delta_s} s is {num_frames:.3f} frames at {rate:g} fps; "
            "expected a whole number of frames."
        )
    return max(-_FARTHEST_FRAMES, min(_FARTHEST_FRAMES, round(num_frames)))


def window(
    frame_index: int, offsets: NDArray[np.int64], stop: int, start: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Returns the window's frames, clamped to ``[start, stop)``, and which of them were outside it.

    Args:
        frame_index: the frame around which the window lies.
        offsets: ``(H,)``.
        stop: length of the episode, or the end of what is there of it.
        start: the first frame that is there.

    >>> frames, is_pad = window(8, np.arange(4), 10)
    >>> frames.tolist(), is_pad.tolist()
    ([8, 9, 9, 9], [False, False, True, True])
    """
    frames = frame_index + offsets
    clamped = np.minimum(np.maximum(frames, start), stop - 1)  # np.clip takes three times as long
    return clamped, clamped != frames
