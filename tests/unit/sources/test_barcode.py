import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from predecode.sources import barcode
from predecode.sources.barcode import Identity

Picture = npt.NDArray[np.uint8]


def textured(side_px: int, seed: int) -> Picture:
    grid = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.array(Image.fromarray(grid).resize((side_px, side_px), Image.Resampling.BILINEAR))


def through_jpeg(picture: Picture, width: int, height: int, quality: int) -> Picture:
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    resized.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return np.array(Image.open(buffer))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    episode_index=st.integers(0, 999_999),
    frame_index=st.integers(0, 99_999),
    camera=st.sampled_from(["head", "left_wrist", "right_wrist"]),
    source_px=st.sampled_from([160, 240, 480, 720]),
    stored=st.tuples(st.integers(96, 320), st.integers(96, 320)) | st.just((224, 224)),
    quality=st.integers(75, 95),
)
def test_identity_survives_resize_and_jpeg(
    episode_index: int,
    frame_index: int,
    camera: str,
    source_px: int,
    stored: tuple[int, int],
    quality: int,
) -> None:
    picture = textured(source_px, seed=frame_index)
    barcode.paint(picture, episode_index, frame_index, camera)
    got = barcode.read(through_jpeg(picture, *stored, quality))
    assert got == Identity(episode_index, frame_index, camera)


@pytest.mark.parametrize("scale", [0.6, 0.8, 1.2])
def test_identity_survives_a_change_of_contrast(scale: float) -> None:
    picture = textured(224, seed=1)
    barcode.paint(picture, 490010, 500, "right_wrist")
    changed = np.clip(128 + scale * (picture.astype(np.float64) - 128), 0, 255).astype(np.uint8)
    assert barcode.read(changed) == Identity(490010, 500, "right_wrist")


def test_lower_three_fourths_are_left_alone() -> None:
    picture = textured(240, seed=2)
    before = picture.copy()
    barcode.paint(picture, 10, 0, "head")
    assert np.array_equal(picture[60:], before[60:])
    assert set(np.unique(picture[:60])) == {48, 208}


def test_different_pictures_have_different_cells() -> None:
    seen = set()
    for episode_index in (0, 10, 490010, 999_999):
        for frame_index in (0, 1, 249, 250, 99_999):
            for camera in barcode.CAMERAS:
                picture = np.zeros((56, 56, 3), np.uint8)
                barcode.paint(picture, episode_index, frame_index, camera)
                seen.add(picture.tobytes())
    assert len(seen) == 4 * 5 * 3


def test_every_single_wrong_cell_is_noticed() -> None:
    picture = np.zeros((160, 140, 3), np.uint8)
    barcode.paint(picture, 490020, 751, "left_wrist")
    wrong = 0
    for row in range(4):
        for column in range(14):
            flipped = picture.copy()
            cell = flipped[row * 10 : row * 10 + 10, column * 10 : column * 10 + 10]
            cell[:] = np.where(cell == 48, 208, 48)
            with pytest.raises(ValueError, match=r"barcode: cells say .* checksum"):
                barcode.read(flipped)
            wrong += 1
    assert wrong == 56


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((224, 224, 3), np.uint8),
        np.full((224, 224, 3), 255, np.uint8),
        np.full((224, 224, 3), 128, np.uint8),
        textured(224, seed=3),
    ],
    ids=["black", "white", "grey", "texture"],
)
def test_picture_without_barcode_is_refused(picture: Picture) -> None:
    with pytest.raises(ValueError, match=r"barcode: cells say .* no barcode, or one blurred"):
        barcode.read(picture)


def test_mirrored_picture_is_refused() -> None:
    picture = np.zeros((224, 224, 3), np.uint8)
    barcode.paint(picture, 20, 17, "head")
    with pytest.raises(ValueError, match="checksum"):
        barcode.read(picture[:, ::-1])


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((224, 224), np.uint8),
        ((3, 224, 224), np.uint8),
        ((224, 224, 4), np.uint8),
        ((224, 224, 3), np.float32),
        ((55, 224, 3), np.uint8),
        ((224, 55, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    array = np.zeros(shape, dtype)
    with pytest.raises(ValueError, match=r"expected a picture \(H, W, 3\) uint8"):
        barcode.read(array)
    with pytest.raises(ValueError, match=r"expected a picture \(H, W, 3\) uint8"):
        barcode.paint(array, 10, 0, "head")


@pytest.mark.parametrize(
    ("episode_index", "frame_index", "camera", "message"),
    [
        (-1, 0, "head", "episode_index -1: expected 0 to 1048575"),
        (1_048_576, 0, "head", "episode_index 1048576"),
        (10, -1, "head", "frame_index -1: expected 0 to 131071"),
        (10, 131_072, "head", "frame_index 131072"),
        (10, 0, "left", "camera 'left': expected one of head, left_wrist, right_wrist"),
    ],
)
def test_identity_that_does_not_fit_is_refused_and_paints_nothing(
    episode_index: int, frame_index: int, camera: str, message: str
) -> None:
    picture = np.zeros((224, 224, 3), np.uint8)
    with pytest.raises(ValueError, match=message):
        barcode.paint(picture, episode_index, frame_index, camera)
    assert not picture.any()
