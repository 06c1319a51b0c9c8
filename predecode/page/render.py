"""Templates -> one HTML text that needs no other file; the door of jinja2."""

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from predecode.page.wording import num, percent, printable

__all__ = ["data_uri", "encoded", "rendered"]

_HERE = Path(__file__).parent
_OPTIONS: dict[str, dict[str, Any]] = {
    # Level 1: a sixth larger than the default, at 720 x 720 pixels in a sixth of the time.
    "png": {"compress_level": 1},
    "jpeg": {"quality": 82},
}


def rendered(template: Path, filters: Mapping[str, Callable[..., Any]], **values: object) -> str:
    """Returns a template filled in; it finds the files beside it, and those of this folder.

    Every text in ``values`` may be a stranger's: it is escaped, and what would control the page or
    the reader's eye is shown in letters.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, _HERE]),
        autoescape=True,  # task names and paths are whatever the data set says
        finalize=printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"num": num, "percent": percent, **filters}
    return environment.get_template(template.name).render(**values)


def data_uri(picture: NDArray[Any], kind: str = "png") -> str:
    """Returns an ``(h, w, 3)`` uint8 RGB picture as a ``data:`` URI; see ``encoded``."""
    return f"data:image/{kind};base64,{base64.b64encode(encoded(picture, kind)).decode()}"


def encoded(picture: NDArray[Any], kind: str) -> bytes:
    """Returns an ``(h, w, 3)`` uint8 RGB picture as the bytes of a ``png`` or ``jpeg`` file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **_OPTIONS[kind])
    return buffer.getvalue()
