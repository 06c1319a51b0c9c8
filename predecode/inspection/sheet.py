"""All images of one sample beside each other in one picture, with what their colours mean."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Canvas
from PIL import ImageDraw, ImageFont

from predecode.inspection.found import Image
from predecode.inspection.pictures import DEPTH_COLOURS, id_colour, picture_of
from train_shards.format import MODALITIES
from train_shards.images import StoredImage

__all__ = ["sample_sheet"]

_PAPER, _INK, _QUIET = (255, 255, 255), (28, 32, 36), (91, 100, 110)
_GAP_PX, _LINE_PX, _SWATCH_PX = 12, 16, 10
_LEAST_WIDTH_PX = 200
"""So that words fit under small pictures."""
_MOST_INSTANCES = 8
_RAMP_PX = (96, 8)


class _Note(NamedTuple):
    """A line under a picture, with the colour that it is about."""

    text: str
    colour: tuple[int, int, int] | None = None
    is_ramp: bool = False


def sample_sheet(
    title: str, found: list[Image], images: Mapping[str, StoredImage]
) -> NDArray[np.uint8]:
    """Returns ``(h, w, 3)`` uint8: a row a modality, a column a camera, words under each picture.

    Args:
        title: stands above.
        found: the images, in the order of the columns.
        images: name -> image as items show it.
    """
    rows = [[image for image in found if image.modality == modality] for modality in MODALITIES]
    rows = [row for row in rows if row]
    notes = {image.name: list(_notes(image)) for image in found}
    font = ImageFont.load_default()
    column_px = [
        max(_LEAST_WIDTH_PX, *(row[number].width for row in rows if number < len(row)))
        for number in range(max(map(len, rows)))
    ]
    row_px = [
        max(image.height + _LINE_PX * len(notes[image.name]) for image in row) for row in rows
    ]
    width = max(
        sum(column_px) + _GAP_PX * (len(column_px) + 1),
        int(font.getlength(_latin(title))) + 2 * _GAP_PX,
    )
    height = 2 * _LINE_PX + sum(row_px) + _GAP_PX * (len(rows) + 1)
    canvas = Canvas.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_GAP_PX, _GAP_PX), _latin(title), _INK, font)
    top = 2 * _LINE_PX + _GAP_PX
    for row, tall in zip(rows, row_px, strict=True):
        left = _GAP_PX
        for image, wide in zip(row, column_px, strict=False):
            picture = picture_of(images[image.name], image.modality)
            canvas.paste(Canvas.fromarray(picture), (left, top))
            y = top + image.height + 3
            for note in notes[image.name]:
                _write(canvas, draw, font, (left, y), note)
                y += _LINE_PX
            left += wide + _GAP_PX
        top += tall + _GAP_PX
    return np.asarray(canvas)


def _notes(image: Image) -> Iterator[_Note]:
    yield _Note(f"{image.name}, {image.width} x {image.height}")
    if image.range_m is not None:
        yield _Note("{:.2f} to {:.2f} m".format(*image.range_m), is_ramp=True)
    for instance in image.instances[:_MOST_INSTANCES]:
        share = instance.num_pixels / (image.width * image.height)
        name = instance.name or "no name"
        yield _Note(f"{instance.id} {name}, {share:.1%}", id_colour(instance.id))
    if (rest := len(image.instances) - _MOST_INSTANCES) > 0:
        yield _Note(f"and {rest} smaller ones")


def _write(
    canvas: Canvas.Image,
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    at: tuple[int, int],
    note: _Note,
) -> None:
    left, top = at
    if note.colour is not None:
        draw.rectangle((left, top + 2, left + _SWATCH_PX, top + 2 + _SWATCH_PX), note.colour)
        left += _SWATCH_PX + 6
    if note.is_ramp:
        ramp = Canvas.fromarray(DEPTH_COLOURS[None]).resize(_RAMP_PX, Canvas.Resampling.BILINEAR)
        canvas.paste(ramp, (left, top + 3))
        left += _RAMP_PX[0] + 6
    draw.text((left, top), _latin(note.text), _QUIET, font)


def _latin(text: str) -> str:
    """What Pillow's own font has letters for."""
    return text.encode("ascii", "backslashreplace").decode()
