"""Structural similarity against the ``ffmpeg`` command line and a plain formula."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from predecode.video.ssim import ssim


def pictures(height: int, width: int, noise: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    draw = np.random.default_rng(7)
    left = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
    right = np.clip(left + draw.integers(-noise, noise + 1, left.shape), 0, 255)
    return left, right.astype(np.uint8)


def by_command_line(folder: Path, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    for name, picture in (("left", left), ("right", right)):
        Image.fromarray(picture).save(folder / f"{name}.png")
    words = ["ffmpeg", "-hide_banner", "-i", "left.png", "-i", "right.png"]
    words += ["-lavfi", "ssim", "-f", "null", "-"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    found = re.search(r"SSIM .*All:([\d.]+)", done.stderr)
    assert found, done.stderr
    return float(found[1])


@pytest.mark.parametrize(
    ("height", "width", "noise"), [(224, 224, 9), (64, 100, 60), (48, 36, 255)]
)
def test_the_figure_is_that_of_the_command_line(
    tmp_path: Path, height: int, width: int, noise: int
) -> None:
    left, right = pictures(height, width, noise)
    expected = by_command_line(tmp_path, left, right)
    assert expected < 1
    assert ssim(left, right) == pytest.approx(expected, abs=2e-6)


def by_formula(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    """The mean over 8x8 blocks, 4 pixels apart. Source: Wang et al. 2004, with 8-bit constants."""
    constants = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for top, start in np.ndindex(left.shape[0] // 4 - 1, left.shape[1] // 4 - 1):
        block = np.s_[top * 4 : top * 4 + 8, start * 4 : start * 4 + 8]
        for channel in range(3):
            a, b = (p[block][..., channel].astype(float).ravel() for p in (left, right))
            (var_a, covariance), (_, var_b) = np.cov(a, b)
            above = (2 * a.mean() * b.mean() + constants[0]) * (2 * covariance + constants[1])
            below = (a.mean() ** 2 + b.mean() ** 2 + constants[0]) * (var_a + var_b + constants[1])
            values.append(above / below)
    return float(np.mean(values))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 24), (9, 21)])
def test_small_pictures_have_the_figure_of_the_formula(height: int, width: int) -> None:
    """Debian's ffmpeg 5.1 gives other figures below 32 pixels."""
    left, right = pictures(height, width, 30)
    assert ssim(left, right) == pytest.approx(by_formula(left, right), abs=1e-5)


def test_equal_pictures_have_1_and_each_pair_its_own_figure() -> None:
    left, right = pictures(32, 40, 20)
    figures = [ssim(left, left), ssim(left, right), ssim(right, right), ssim(left, right)]
    assert figures[0] == figures[2] == 1.0
    assert figures[1] == figures[3] < 1


def test_pictures_smaller_than_a_block_have_a_figure() -> None:
    left, right = pictures(2, 5, 100)
    assert ssim(left, left) == 1.0
    assert -1 <= ssim(left, right) < 1


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        ssim(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8))
