"""Palette colours to ids, against a matrix of all distances in integers."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from predecode.errors import DataError
from predecode.images.segmentation import IdLookup, palette


def written_down(num_ids: int) -> NDArray[np.int64]:
    """The palette by the edition's description (b1k-format.md 4.4), a second time."""
    k = 1
    while k**3 < num_ids:
        k += 1
    levels = [[int(x) for x in np.linspace(16, top, k)] for top in (235, 240, 240)]
    nested = [[y, u, v] for y in levels[0] for u in levels[1] for v in levels[2]]
    return np.array(nested[:num_ids])


def brute_force(rgb: NDArray[np.uint8], ids: list[int]) -> NDArray[np.int64]:
    """Squared distances to every colour in integers; argmin takes the first of equal ones."""
    colours = written_down(len(ids))
    pixels = rgb.reshape(-1, 3).astype(np.int64)
    nearest = np.empty(len(pixels), np.int64)
    for start in range(0, len(pixels), 4096):
        part = pixels[start : start + 4096]
        # (pixels, 1, 3) - (1, ids, 3) -> (pixels, ids)
        nearest[start : start + 4096] = ((part[:, None] - colours) ** 2).sum(axis=2).argmin(axis=1)
    return np.array(ids)[nearest].reshape(rgb.shape[:-1])


def edges(num_ids: int) -> NDArray[np.uint8]:
    """Colours at and around the middles between levels, where ties and truncation matter."""
    colours = written_down(num_ids)
    values = {0, 255}
    for channel in range(3):
        levels = np.unique(colours[:, channel])
        for low, high in itertools.pairwise(levels):
            values |= {(low + high) // 2, (low + high + 1) // 2, (low + high) // 2 + 1}
        values |= set(levels.tolist())
    chosen = np.array(sorted(values), np.uint8)
    rng = np.random.default_rng(num_ids)
    return rng.choice(chosen, (1, 200, 3))


@pytest.mark.parametrize("num_ids", [1, 2, 3, 7, 8, 9, 26, 27, 28, 64, 65, 215, 217, 512, 600])
def test_equal_to_a_matrix_of_distances(num_ids: int) -> None:
    rng = np.random.default_rng(num_ids)
    ids = rng.permutation(900)[:num_ids].tolist()
    rgb = rng.integers(0, 256, (40, 50, 3), np.uint8)
    got = IdLookup(ids).lookup(rgb)
    assert got.shape == (40, 50)
    assert got.dtype == np.uint16
    assert np.array_equal(got, brute_force(rgb, ids))


def test_equal_at_the_edges_between_colours_for_every_number_of_ids() -> None:
    num_tried = 0
    for num_ids in range(1, 601):
        ids = list(range(num_ids))[::-1]
        rgb = edges(num_ids)
        assert np.array_equal(IdLookup(ids).lookup(rgb), brute_force(rgb, ids)), num_ids
        num_tried += 1
    assert num_tried == 600


@given(st.integers(601, 16_384), st.integers(0, 2**32 - 1))
def test_equal_for_numbers_that_no_camera_sees(num_ids: int, seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (1, 20, 3), np.uint8)
    ids = list(range(num_ids))
    assert np.array_equal(IdLookup(ids).lookup(rgb), brute_force(rgb, ids))


def test_every_colour_of_the_palette_is_its_own_id() -> None:
    for num_ids in (1, 5, 23, 64, 343, 600):
        ids = list(range(100, 100 + num_ids))
        colours = palette(num_ids)
        assert colours.dtype == np.uint8
        assert np.array_equal(colours, written_down(num_ids))
        assert IdLookup(ids).lookup(colours[None]).tolist() == [ids]


def test_of_equally_near_colours_the_first_counts() -> None:
    # Of (16, 16, 16) and (16, 16, 240) the colour (16, 16, 128) is 112 away.
    middle = np.array([[[16, 16, 128]]], np.uint8)
    assert IdLookup([7, 5]).lookup(middle).tolist() == [[7]]
    assert IdLookup([5, 7]).lookup(middle + np.uint8(1)).tolist() == [[7]]


def test_large_ids_are_given_in_32_bits_and_any_strides_are_taken() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    ids = [0, 65_536, 4, 2**32 - 1]
    got = IdLookup(ids).lookup(rgb[::2, ::3])
    assert got.dtype == np.uint32
    assert np.array_equal(got, brute_force(rgb[::2, ::3], ids))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "expected 1 to 16384, got 0"),
        (list(range(16_385)), "expected 1 to 16384, got 16385"),
        ([0, -1], "expected 0 to 4294967295, got -1 to 0"),
        ([2**32, 3], "expected 0 to 4294967295, got 3 to 4294967296"),
    ],
)
def test_ids_that_nothing_can_hold_are_refused(ids: list[int], message: str) -> None:
    with pytest.raises(DataError, match=f"instance ids: {message}"):
        IdLookup(ids)


def test_palette_has_distinct_colours_cut_from_a_cube() -> None:
    colours = palette(23)
    assert colours.shape == (23, 3)
    assert len({tuple(colour) for colour in colours.tolist()}) == 23
    assert colours[:4].tolist() == [[16, 16, 16], [16, 16, 128], [16, 16, 240], [16, 128, 16]]
    assert colours[-1].tolist() == [235, 128, 128]
