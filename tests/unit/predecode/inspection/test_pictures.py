"""Stored images as pictures for people: literal colours, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.inspection.pictures import (
    depth_picture,
    id_colour,
    picture_of,
    segmentation_picture,
    thumbnail,
)


def test_near_is_dark_and_far_is_light() -> None:
    picture = depth_picture(np.linspace(0.5, 9.5, 32, dtype=np.float32).reshape(4, 8))
    assert picture.shape == (4, 8, 3)
    assert picture[0, 0].tolist() == [68, 1, 84]
    assert picture[-1, -1].tolist() == [253, 231, 37]
    light = picture.reshape(-1, 3).astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(light) > 0).all()


def test_a_depth_image_of_one_distance_is_the_nearest_colour() -> None:
    assert depth_picture(np.full((2, 2), 3, np.float32)).tolist() == [[[68, 1, 84]] * 2] * 2


def test_each_id_has_its_colour_wherever_it_is() -> None:
    ids = np.array([[0, 7], [70000, 7]])
    picture = segmentation_picture(ids)
    assert picture[0, 1].tolist() == picture[1, 1].tolist() == list(id_colour(7))
    assert picture[0, 0].tolist() == [32, 32, 32]
    assert picture[1, 0].tolist() == list(id_colour(70000))


def test_thousands_of_ids_are_told_apart_and_neighbours_differ_clearly() -> None:
    colours = [id_colour(number) for number in range(2000)]
    assert len(set(colours)) > 1000
    steps = np.abs(np.diff(np.array(colours, int), axis=0)).sum(axis=1)
    assert steps.min() > 60


def test_pictures_are_left_as_they_are() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert picture_of(picture, "rgb") is picture


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_thumbnail_fits_keeps_the_aspect_and_is_never_larger(height: int, width: int) -> None:
    small = thumbnail(np.zeros((height, width, 3), np.uint8), 100)
    assert max(small.shape[:2]) == min(100, max(height, width))
    scale = max(height, width, 100) / 100
    assert small.shape[0] == pytest.approx(max(1, height / scale), abs=1)
    assert small.shape[1] == pytest.approx(max(1, width / scale), abs=1)


def test_no_colour_between_two_ids_is_made() -> None:
    picture = segmentation_picture(np.arange(400).reshape(20, 20) % 7)
    known = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    small = thumbnail(picture, 9, is_smooth=False)
    assert {tuple(colour) for colour in small.reshape(-1, 3).tolist()} <= known
