"""Pictures of the sample: a texture that moves by whole pixels, under a barcode.

Every array is a function of (episode, camera, modality, side, frame) alone. Pure numpy and Pillow,
both in integers wherever a pixel is made, so that the same call gives the same bytes.
"""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from predecode.images.segmentation import palette
from predecode.sources import barcode
from predecode.sources.sample_layout import EpisodeSpec

__all__ = [
    "DARK_CELL_M",
    "LIGHT_CELL_M",
    "depth_codes",
    "depth_pictures",
    "instance_ids",
    "rgb_pictures",
    "segmentation_pictures",
]

DARK_CELL_M = 1.0
"""Distance, in metres, that a dark cell of the barcode has in a depth picture."""
LIGHT_CELL_M = 5.0

_Pixel = TypeVar("_Pixel", np.uint8, np.uint16)

_SEED = 20251
_RGB, _DEPTH, _SEGMENTATION, _IDS = range(4)
"""Last word of a seed, so that modalities do not share their random numbers."""

_STEP_PX = 2
"""Columns by which the texture moves from one frame to the next; sideways only and by even steps,
which costs the encoder least."""
_CELLS_PER_SIDE = 16
"""Soft blobs along a side; all sides of the sample are multiples of it."""
_DEPTH_CODES = {"2025": (0.0, 2**14 - 1), "2026": (0.01, 2**12 - 1)}
"""Edition -> metres of code 0, and the code of 10 m."""
_NUM_IDS = {"head": 23, "left_wrist": 11, "right_wrist": 14}
"""Instances that a camera sees; none is a cube, so the palette's last colours stay unused."""


def rgb_pictures(spec: EpisodeSpec, camera: str, side_px: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields each frame's ``(H, W, 3) uint8 RGB`` picture with its barcode.

    A head camera with ``head_cut_frame`` shows hard grain, coarse before the cut and fine after it:
    only a picture that cannot be predicted from the one before makes x265 insert a keyframe (on a
    soft texture, or where the barcode outweighs it, it does not).
    """
    rng = _rng(spec, camera, _RGB)
    cut_frame = spec.head_cut_frame if camera == "head" else None
    if cut_frame is None:
        scenes = [(0, _soft_texture(rng, side_px))]
    else:
        scenes = [(cut_frame, _grain(rng, side_px, 2)), (0, _grain(rng, side_px, 4))]
    wrapped = [(start, np.tile(texture, (1, 2, 1))) for start, texture in scenes]
    for frame_index in range(spec.length):
        texture = next(texture for start, texture in wrapped if frame_index >= start)
        picture = _view(texture, frame_index).copy()
        barcode.paint(picture, spec.episode_index, frame_index, camera)
        yield picture


def depth_pictures(
    spec: EpisodeSpec, camera: str, side_px: int, edition: str = "2025"
) -> Iterator[npt.NDArray[np.uint16]]:
    """Yields each frame's ``(H, W) uint16`` picture of the edition's depth codes.

    The barcode stands in it too: ``DARK_CELL_M`` and ``LIGHT_CELL_M`` away.
    """
    blobs = _soft_texture(_rng(spec, camera, _DEPTH), side_px)[:, :, 0]
    codes = np.tile(depth_codes(0.4 + 7.0 * blobs / 255, edition), (1, 2))
    dark_code, light_code = depth_codes(np.array([DARK_CELL_M, LIGHT_CELL_M]), edition)
    for frame_index in range(spec.length):
        picture = _view(codes, frame_index).copy()
        is_dark, is_light = _cells(spec, frame_index, camera, side_px)
        picture[is_dark] = dark_code
        picture[is_light] = light_code
        yield picture


def segmentation_pictures(
    spec: EpisodeSpec, camera: str, side_px: int
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields each frame's ``(H, W, 3) uint8`` picture in palette colours, to be encoded as RGB.

    Flat tiles, one instance each. The barcode stands in it too: id 0 is dark, id 1 is light.
    """
    ids = instance_ids(spec, camera)
    colours = palette(len(ids))
    tiles_per_side = _CELLS_PER_SIDE // 2
    rng = _rng(spec, camera, _SEGMENTATION)
    tiles = rng.integers(0, len(ids), (tiles_per_side, tiles_per_side))
    tile_px = side_px // tiles_per_side
    # (tiles, tiles) -> (H, W) positions in ids -> (H, W, 3) colours
    texture = np.tile(colours[tiles.repeat(tile_px, 0).repeat(tile_px, 1)], (1, 2, 1))
    for frame_index in range(spec.length):
        picture = _view(texture, frame_index).copy()
        is_dark, is_light = _cells(spec, frame_index, camera, side_px)
        picture[is_dark] = colours[ids.index(0)]
        picture[is_light] = colours[ids.index(1)]
        yield picture


def instance_ids(spec: EpisodeSpec, camera: str) -> list[int]:
    """Returns the ids that a camera sees; an id's position is its place in the palette.

    Unsorted, as a list made of a set is; holds 0 (background), 1 (unlabelled) and ids above 255.
    """
    num_ids = _NUM_IDS[camera]
    rng = _rng(spec, camera, _IDS)
    named = rng.choice(np.arange(2, 900), num_ids - 3, replace=False).tolist()
    middle = [1023, *named]
    # First and last colour differ most, which keeps the barcode's two ids apart after lossy video.
    return [0, *middle, 1]


def depth_codes(depth_m: npt.NDArray[np.float64], edition: str = "2025") -> npt.NDArray[np.uint16]:
    """Returns codes of distances in metres, of any shape.

    Source: the editions' writers: logarithmic with a shift of 3.5 m, of 2025 between 0 and 10 m in
    14 bits, of 2026 between 0.01 and 10 m in 12 bits.

    >>> depth_codes(np.array([0.0, 1.0, 10.0])).tolist()
    [0, 3050, 16383]
    >>> depth_codes(np.array([0.0, 1.0, 10.0]), "2026").tolist()
    [0, 755, 4095]
    """
    shift_m, max_m = 3.5, 10.0
    min_m, max_code = _DEPTH_CODES[edition]
    low, high = np.log(min_m + shift_m), np.log(max_m + shift_m)
    codes = np.rint((np.log(depth_m + shift_m) - low) / (high - low) * max_code)
    clipped: npt.NDArray[np.uint16] = np.clip(codes, 0, max_code).astype(np.uint16)
    return clipped


def _rng(spec: EpisodeSpec, camera: str, use: int) -> np.random.Generator:
    words = [_SEED, spec.episode_index, barcode.CAMERAS.index(camera), use]
    return np.random.Generator(np.random.PCG64(words))


def _soft_texture(rng: np.random.Generator, side_px: int) -> npt.NDArray[np.uint8]:
    """``(side, side, 3) uint8`` coloured blobs with a little detail; continues across its edges."""
    blobs = _noise(rng, side_px, side_px // _CELLS_PER_SIDE, 3).astype(np.uint16)
    detail = _noise(rng, side_px, side_px // (5 * _CELLS_PER_SIDE), 3)
    return ((3 * blobs + detail) // 4).astype(np.uint8)


def _grain(rng: np.random.Generator, side_px: int, grain_px: int) -> npt.NDArray[np.uint8]:
    """``(side, side, 3) uint8`` grey grain of high contrast; continues across its edges."""
    grey = _noise(rng, side_px, grain_px, 1).astype(np.int16)
    return np.clip(2 * (grey - 128) + 128, 16, 240).astype(np.uint8).repeat(3, axis=2)


def _noise(
    rng: np.random.Generator, side_px: int, grain_px: int, num_channels: int
) -> npt.NDArray[np.uint8]:
    """``(side, side, num_channels) uint8`` noise of one grain size, enlarged bicubically."""
    num_grains, border = side_px // grain_px, 4
    grains = rng.integers(0, 256, (num_grains, num_grains, num_channels), dtype=np.uint8)
    # Enlarged with a border of its own continuation, so that the cut-out middle has no seam.
    grains = np.pad(grains, ((border, border), (border, border), (0, 0)), mode="wrap")
    enlarged_px = len(grains) * grain_px
    inner = slice(border * grain_px, border * grain_px + side_px)
    channels = [
        np.asarray(
            Image.fromarray(grains[:, :, channel]).resize(
                (enlarged_px, enlarged_px), Image.Resampling.BICUBIC
            )
        )[inner, inner]
        for channel in range(num_channels)
    ]
    return np.stack(channels, axis=2)


def _view(texture: npt.NDArray[_Pixel], frame_index: int) -> npt.NDArray[_Pixel]:
    """The ``(H, W)`` window that a frame shows of a texture laid twice side by side."""
    side_px = len(texture)
    left = frame_index * _STEP_PX % side_px
    return texture[:, left : left + side_px]


def _cells(
    spec: EpisodeSpec, frame_index: int, camera: str, side_px: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """``(H, W) bool`` masks of the barcode's dark and light cells."""
    picture = np.zeros((side_px, side_px, 3), np.uint8)
    barcode.paint(picture, spec.episode_index, frame_index, camera)
    return picture[:, :, 0] == barcode.DARK_LEVEL, picture[:, :, 0] == barcode.LIGHT_LEVEL
