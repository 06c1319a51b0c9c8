"""Figures of images against plain formulas and literal numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.verification.image_difference import ImageDifference

PICTURE = np.full((8, 10, 3), 100, np.uint8)


def test_one_changed_value_by_hand() -> None:
    changed = PICTURE.copy()
    changed[2, 3, 1] = 130
    figures = ImageDifference()
    own = figures.measure("k", changed, PICTURE)
    assert (own.key, own.largest, own.mean) == ("k", 30, 30 / 240)
    assert own.psnr_db == pytest.approx(10 * np.log10(255**2 / (900 / 240)))
    camera = figures.figures()
    assert (camera.num_images, camera.num_equal_images) == (1, 0)
    assert camera.equal_pixels == 79 / 80
    assert (camera.histogram[0], camera.histogram[30], sum(camera.histogram)) == (239, 1, 240)
    assert [image.key for image in camera.worst] == ["k"]


def test_equal_images_are_99_db_and_not_among_the_worst() -> None:
    figures = ImageDifference()
    figures.measure("a", PICTURE, PICTURE.copy())
    camera = figures.figures()
    assert (camera.num_equal_images, camera.equal_pixels, camera.largest) == (1, 1.0, 0)
    assert (camera.psnr_mean_db, camera.psnr_worst_db, camera.ssim_worst) == (99.0, 99.0, 1.0)
    assert camera.worst == []


def test_black_against_white_is_the_worst_there_is() -> None:
    figures = ImageDifference()
    own = figures.measure("a", PICTURE * 0, PICTURE * 0 + np.uint8(255))
    assert (own.largest, own.mean, own.psnr_db) == (255, 255.0, 0.0)


def test_nothing_measured_is_nothing_wrong() -> None:
    camera = ImageDifference().figures()
    assert (camera.num_images, camera.largest, camera.mean, camera.ssim_mean) == (0, 0, 0.0, 0.0)


def test_the_four_worst_are_kept_worst_first() -> None:
    figures = ImageDifference()
    for level in (3, 9, 1, 0, 7, 5):
        figures.measure(f"by {level}", PICTURE + np.uint8(level), PICTURE)
    assert [image.key for image in figures.figures().worst] == ["by 9", "by 7", "by 5", "by 3"]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(0, 8))
def test_sums_of_parts_are_the_sum_of_all(noises: list[int], cut: int) -> None:
    draw = np.random.default_rng(sum(noises))
    images = [
        (f"{number}", PICTURE, (PICTURE + draw.integers(0, noise + 1, PICTURE.shape)).astype("u1"))
        for number, noise in enumerate(noises)
    ]
    whole, left, right = ImageDifference(), ImageDifference(), ImageDifference()
    for number, image in enumerate(images):
        whole.measure(*image)
        (left if number < cut else right).measure(*image)
    left.add(right)
    assert left.figures().histogram == whole.figures().histogram
    assert left.figures().worst == whole.figures().worst
    errors = np.concatenate([(a.astype(int) - b).ravel() for _, a, b in images])
    assert whole.figures().mean == pytest.approx(np.abs(errors).mean())
    assert whole.figures().largest == np.abs(errors).max()
    equal = [(a == b).all(axis=2).mean() for _, a, b in images]
    assert whole.figures().equal_pixels == pytest.approx(np.mean(equal))
