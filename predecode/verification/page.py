"""PLACEHOLDER until the page is merged."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from predecode.verification.report import ImageFigures, Report

__all__ = ["ImagePair", "write_report"]


class ImagePair(NamedTuple):
    """One image, stored and fresh."""

    camera: str
    figures: ImageFigures
    stored: NDArray[np.uint8]
    fresh: NDArray[np.uint8]


def write_report(folder: Path, report: Report, pairs: Sequence[ImagePair]) -> None:
    """Writes nothing yet."""
    raise NotImplementedError
