"""Depth codes to metres, against the editions' formulas restated, in numpy and in torch."""

import math

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from train_shards.depth import SCALE_2025, SCALE_2026, DepthScale, metres
from train_shards.errors import DataError

CODES_2025 = np.arange(65_536, dtype=np.uint16)
CODES_2026 = np.arange(4096, dtype=np.uint16)


def official_2025(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """b1k-format.md 4.3 as the loader computes it: numpy in float64, then cast."""
    a, b = np.log(0.0 + 3.5), np.log(10.0 + 3.5)
    depth: NDArray[np.float64] = np.clip(np.exp(codes / (2**14 - 1) * (b - a) + a) - 3.5, 0.0, 10.0)
    return depth.astype(np.float32)


def official_2025_in_torch(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The other copy of that loader: everything in float32."""
    a, b = torch.log(torch.tensor(3.5)), torch.log(torch.tensor(13.5))
    shares = torch.from_numpy(codes.astype(np.float32)) / (2**14 - 1)
    return torch.clamp(torch.exp(shares * (b - a) + a) - 3.5, min=0.0, max=10.0).numpy()


def official_2026(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """LeRobot's: float32 throughout, with factor and offset rounded to it."""
    a, b = math.log(0.01 + 3.5), math.log(10.0 + 3.5)
    places = codes.astype(np.float32) * np.float32((b - a) / 4095) + np.float32(a)
    depth = np.exp(places) - np.float32(3.5)
    clipped: NDArray[np.float32] = np.clip(depth, np.float32(0.01), np.float32(10.0))
    return clipped


def official_2026_in_torch(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """LeRobot's on tensors, which is what its reader hands over."""
    a, b = math.log(0.01 + 3.5), math.log(10.0 + 3.5)
    buffer = torch.from_numpy(codes.astype(np.float32))
    buffer.mul_((b - a) / 4095).add_(a).exp_().sub_(3.5).clamp_(0.01, 10.0)
    return buffer.numpy()


def ulps(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many float32 lie between two positive numbers."""
    return np.abs(one.view(np.int32).astype(np.int64) - other.view(np.int32))


def test_2025_is_bit_equal_to_the_loader_for_every_code() -> None:
    got = metres(CODES_2025.reshape(256, 256), SCALE_2025)
    assert got.dtype == np.float32
    assert np.array_equal(got, official_2025(CODES_2025).reshape(256, 256))


def test_2025_literal_distances() -> None:
    # 3.5 * exp(c / 16383 * ln(13.5 / 3.5)) - 3.5 with 30 digits, by another program
    codes = np.array([0, 3050, 8192, 16382, 16383, 16384, 65535], np.uint16)
    expected = [0.0, 0.999997859779, 3.374146744631, 9.998887672594, 10.0, 10.0, 10.0]
    assert metres(codes, SCALE_2025).tolist() == np.array(expected, np.float32).tolist()


def test_2026_literal_distances() -> None:
    # The same with 3.51 for the first two of 3.5, and 4095
    codes = np.array([0, 2000, 4094, 4095], np.uint16)
    expected = [0.01, 3.276952147109, 9.995559828214, 10.0]
    assert metres(codes, SCALE_2026).tolist() == pytest.approx(expected, abs=2e-6)


def test_2025_in_torch_s_float32_differs_in_the_last_bits() -> None:
    ours, other = official_2025(CODES_2025[1:]), official_2025_in_torch(CODES_2025[1:])
    assert np.array_equal(metres(CODES_2025[1:], SCALE_2025), ours)
    assert np.abs(ours - other).max() <= 4e-6
    # Beyond 1 m; under it the difference of 3.5 leaves few bits, and more ulps for the same error.
    far = ours >= 1
    assert ulps(ours[far], other[far]).max() <= 16
    assert (ours != other).any()


def test_2026_is_bit_equal_to_lerobot_in_float32_for_every_code() -> None:
    got = metres(CODES_2026, SCALE_2026)
    assert got.dtype == np.float32
    assert np.array_equal(got, official_2026(CODES_2026))
    assert got[0] == np.float32(0.01)
    assert (np.diff(got) >= 0).all()


def test_2026_in_torch_differs_by_the_last_bits_of_the_exponential() -> None:
    ours, other = metres(CODES_2026, SCALE_2026), official_2026_in_torch(CODES_2026)
    # The exponential is 3.51 to 13.5: an ulp of it is 2.4e-7 below 4, 4.8e-7 to 8, 9.5e-7 above.
    assert np.abs(ours - other).max() <= 2e-6
    assert ulps(ours + np.float32(3.5), other + np.float32(3.5)).max() <= 2


def test_a_linear_scale_has_no_logarithm() -> None:
    linear = msgspec.structs.replace(SCALE_2026, is_log=False, min_m=1.0, max_m=9.19)
    codes = np.array([0, 2000, 4095], np.uint16)
    assert metres(codes, linear).tolist() == pytest.approx([1.0, 5.0, 9.19], abs=1e-6)
    wide = msgspec.structs.replace(linear, precision="float64")
    assert metres(codes, wide).tolist() == pytest.approx([1.0, 5.0, 9.19], abs=1e-6)


def test_a_code_that_the_format_cannot_hold_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected 0 to 4095 \(gray12le\), got 7 to 4096"):
        metres(np.array([7, 4096], np.uint16), SCALE_2026)
    with pytest.raises(DataError, match=r"expected 0 to 65535 \(gray16le\), got -1 to 0"):
        metres(np.array([0, -1]), SCALE_2025)


def test_the_table_cannot_be_changed_through_what_is_returned() -> None:
    first = metres(CODES_2026, SCALE_2026)
    first[:] = 0
    assert metres(np.array([4095], np.uint16), SCALE_2026).tolist() == [10.0]
    assert metres(np.zeros((0, 5), np.uint16), SCALE_2026).shape == (0, 5)


def test_a_scale_survives_json() -> None:
    text = msgspec.json.encode(SCALE_2025)
    assert msgspec.json.decode(text, type=DepthScale) == SCALE_2025
    with pytest.raises(msgspec.ValidationError, match="pixel_format"):
        msgspec.json.decode(text.replace(b"gray16le", b"gray10le"), type=DepthScale)
