"""The trainer's own resize, against the operation written down a second time and literal rows."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from predecode.images.resize import nearest_with_pad, resize_with_pad


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(
        0, 256, (height, width, 3), np.uint8
    )


def openpi_style(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """From the description of the trainer's operation (b1k-format.md 6.3), with Pillow's paste."""
    image = Image.fromarray(picture)
    if image.size == (width, height):
        return picture
    ratio = max(image.width / width, image.height / height)
    inner = image.resize(
        (int(image.width / ratio), int(image.height / ratio)), resample=Image.Resampling.BILINEAR
    )
    black = Image.new("RGB", (width, height), 0)
    black.paste(inner, (int((width - inner.width) / 2), int((height - inner.height) / 2)))
    return np.asarray(black)


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((720, 720), (224, 224)),
        ((480, 480), (224, 224)),
        ((180, 320), (224, 224)),
        ((320, 180), (224, 224)),
        ((720, 1280), (224, 224)),
        ((480, 640), (240, 320)),
        ((50, 100), (224, 224)),
        ((97, 31), (64, 48)),
        ((223, 225), (224, 224)),
        ((1080, 1920), (120, 200)),
    ],
)
def test_bit_equal_to_the_trainer_s_operation(
    source: tuple[int, int], size: tuple[int, int]
) -> None:
    picture = noise(*source)
    got = resize_with_pad(picture, size)
    assert got.shape == (*size, 3)
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert np.array_equal(got, openpi_style(picture, *size))


@pytest.mark.parametrize("edge", [720, 480])
def test_squares_become_exactly_what_pillow_makes(edge: int) -> None:
    picture = noise(edge, edge)
    pillow = Image.fromarray(picture).resize((224, 224), Image.Resampling.BILINEAR)
    assert np.array_equal(resize_with_pad(picture, (224, 224)), np.asarray(pillow))


@pytest.mark.parametrize(
    ("source", "size", "rows", "columns"),
    [
        ((180, 320), (224, 224), (49, 175), (0, 224)),  # landscape: 126 rows
        ((320, 180), (224, 224), (0, 224), (49, 175)),  # portrait
        ((50, 100), (224, 224), (56, 168), (0, 224)),  # enlarged: 112 rows
        ((7, 10), (10, 10), (1, 8), (0, 10)),  # 3 rows left: 1 above, 2 below
        ((10, 7), (10, 10), (0, 10), (1, 8)),
        ((100, 100), (50, 80), (0, 50), (15, 65)),
        ((1, 1000), (10, 10), (4, 5), (0, 10)),  # never less than one row
    ],
)
def test_black_borders_at_literal_rows(
    source: tuple[int, int], size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    got = resize_with_pad(np.full((*source, 3), 255, np.uint8), size)
    expected = np.zeros((*size, 3), np.uint8)
    expected[rows[0] : rows[1], columns[0] : columns[1]] = 255
    assert np.array_equal(got, expected)


def test_shrinking_averages_over_the_source() -> None:
    # Columns 0, 255, 0, 255, …: without a wider kernel a halving would give 0 or 255.
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, 1::2] = 255
    inner = resize_with_pad(stripes, (16, 16))[2:-2, 2:-2].astype(int)
    assert np.abs(inner - 127.5).max() <= 2


def test_the_right_size_is_left_untouched() -> None:
    picture = noise(24, 32)
    assert resize_with_pad(picture, (24, 32)) is picture
    assert resize_with_pad(picture, None) is picture


def test_any_strides_are_taken() -> None:
    wide = noise(60, 80)
    view = wide[::2, 5:65:2]
    assert not view.flags.c_contiguous
    assert np.array_equal(resize_with_pad(view, (10, 10)), openpi_style(view.copy(), 10, 10))
    same = resize_with_pad(view, (30, 30))
    assert same.flags.c_contiguous
    assert np.array_equal(same, view)


def test_the_argument_is_not_changed() -> None:
    picture = noise(30, 50)
    before = picture.copy()
    resize_with_pad(picture, (20, 20))
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((720, 720), (224, 224)),
        ((480, 480), (224, 224)),
        ((160, 160), (224, 224)),
        ((9, 7), (27, 21)),
    ],
)
def test_nearest_is_torch_s_nearest_exact(
    source: tuple[int, int], size: tuple[int, int], dtype: type[np.unsignedinteger]
) -> None:
    picture = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, source, dtype)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(picture.astype(np.float64))[None, None], size=size, mode="nearest-exact"
    )
    got = nearest_with_pad(picture, size)
    assert got.dtype == dtype
    assert got.flags.c_contiguous
    assert np.array_equal(got, expected[0, 0].numpy().astype(dtype))
    coloured = np.stack([picture, picture + 1, picture + 2], axis=-1)
    assert np.array_equal(nearest_with_pad(coloured, size), np.stack([got, got + 1, got + 2], -1))


def test_nearest_takes_torch_s_column_for_every_pair_of_widths() -> None:
    num_pairs = 0
    for source in (*range(1, 40), 160, 240, 480, 481, 719, 720, 1080):
        columns = np.arange(source, dtype=np.float32)
        for width in (*range(1, 40), 100, 224, 225, 500):
            # The trainer's ratio in floating point may round a column away: 3 to 225 gives 224.
            inner = max(int(source / (source / width)), 1)
            expected = torch.nn.functional.interpolate(
                torch.from_numpy(columns)[None, None], size=inner, mode="nearest-exact"
            )
            square = np.broadcast_to(columns, (source, source))
            got = nearest_with_pad(square, (width, width))[0, :inner]
            assert np.array_equal(got, expected[0, 0].numpy()), (source, width)
            num_pairs += 1
    assert num_pairs == 46 * 43


@pytest.mark.parametrize(
    ("source", "size"),
    [((180, 320), (224, 224)), ((7, 10), (10, 10)), ((100, 100), (50, 80)), ((1, 1000), (10, 10))],
)
def test_nearest_has_the_borders_of_the_trainer_s_operation(
    source: tuple[int, int], size: tuple[int, int]
) -> None:
    white = resize_with_pad(np.full((*source, 3), 255, np.uint8), size)
    got = nearest_with_pad(np.full(source, 777, np.uint16), size)
    assert set(np.unique(got).tolist()) == {0, 777}
    assert np.array_equal(got == 777, white[:, :, 0] == 255)


def test_nearest_leaves_the_right_size_untouched() -> None:
    picture = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert nearest_with_pad(picture, (3, 4)) is picture
    assert nearest_with_pad(picture, None) is picture
    assert nearest_with_pad(picture.T, None).flags.c_contiguous
