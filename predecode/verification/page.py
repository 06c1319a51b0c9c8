"""The report of a verification as files: ``report.json`` and a page that needs no other file."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from predecode.page.charts import difference_chart, value_chart
from predecode.page.render import data_uri, rendered
from predecode.page.wording import as_utf8, percent
from predecode.verification.report import BackendPair, Backends, Finding, ImageFigures, Report
from predecode.verification.wording import level, psnr, ssim
from train_shards.manifest import encode_json
from train_shards.storage import write_atomic

__all__ = [
    "DIFFERENCE_FACTOR",
    "ImagePair",
    "difference_picture",
    "render_page",
    "write_report",
]

DIFFERENCE_FACTOR = 8
"""A difference of a few levels is black to the eye."""

_MOST_FINDINGS = 200
_WITHIN_LEVELS = (0, 1, 2, 4, 8, 16, 32, 64, 128)


class ImagePair(NamedTuple):
    """A stored image and the fresh one, ``(h, w, 3)`` uint8 RGB."""

    camera: str
    figures: ImageFigures
    stored: NDArray[np.uint8]
    fresh: NDArray[np.uint8]


def write_report(folder: Path, report: Report, pairs: Sequence[ImagePair]) -> None:
    """Writes ``report.html``, then ``report.json``, into ``folder``, which is made if need be.

    Each is whole or not there. An older ``report.json`` goes first: where one stands, the page
    beside it is of the same verification. A kill leaves at most a ``report.*.tmp``.

    Raises:
        OSError: the disk refuses.
    """
    page = render_page(report, pairs).encode()
    data = encode_json(as_utf8(msgspec.to_builtins(report, str_keys=True)))
    (folder / "report.json").unlink(missing_ok=True)
    write_atomic(folder / "report.html", page, folder)
    write_atomic(folder / "report.json", data, folder)


def render_page(report: Report, pairs: Sequence[ImagePair]) -> str:
    """Returns the report as one HTML text: no script, nothing that is loaded from elsewhere.

    Cost: encodes three pictures a pair as PNG, 5 ms for each of 224 x 224 pixels.
    """
    filters: dict[str, Callable[..., object]] = {
        "agreement": _agreement,
        "difference_chart": difference_chart,
        "value_chart": value_chart,
        "level": level,
        "matrix": _matrix,
        "most_frequent": _most_frequent,
        "psnr": psnr,
        "ssim": ssim,
        "within": _within,
    }
    faults_first = sorted(report.findings, key=lambda finding: not finding.is_fault)
    return rendered(
        Path(__file__).with_name("page.html.j2"),
        filters,
        report=report,
        findings=faults_first[:_MOST_FINDINGS],
        unshown=_numbers(faults_first[_MOST_FINDINGS:]),
        num_remarks=_numbers(faults_first)["remark"],
        views=_views(pairs),
        difference_factor=DIFFERENCE_FACTOR,
    )


def difference_picture(stored: NDArray[np.uint8], fresh: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns ``|stored - fresh| * 8``, clipped at 255, for ``(h, w, 3)`` uint8 pictures.

    >>> difference_picture(np.uint8([[[9, 0, 40]]]), np.uint8([[[10, 3, 0]]])).tolist()
    [[[8, 24, 255]]]
    """
    difference = np.abs(stored.astype(np.int16) - fresh) * DIFFERENCE_FACTOR
    clipped: NDArray[np.uint8] = np.minimum(difference, 255).astype(np.uint8)
    return clipped


class _View(NamedTuple):
    """A pair as the page shows it."""

    figures: ImageFigures
    width: int
    height: int
    stored: str
    """A ``data:`` URI of a PNG; so the others."""
    fresh: str
    difference: str


def _views(pairs: Sequence[ImagePair]) -> dict[str, list[_View]]:
    """Camera -> its pairs, worst first."""
    views: dict[str, list[_View]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.figures.psnr_db):
        height, width = pair.stored.shape[:2]
        pictures = (pair.stored, pair.fresh, difference_picture(pair.stored, pair.fresh))
        view = _View(pair.figures, width, height, *map(data_uri, pictures))
        views.setdefault(pair.camera, []).append(view)
    return views


def _matrix(backends: Backends, camera: str) -> Iterator[tuple[str, list[BackendPair | None]]]:
    """Yields each backend with its pairs with all of them; None with itself and unknown ones."""
    pairs = {frozenset((p.left, p.right)): p for p in backends.pairs if p.camera == camera}
    for left in backends.names:
        yield left, [pairs.get(frozenset((left, right))) for right in backends.names]


def _agreement(pair: BackendPair) -> str:
    """The style of a cell; its figures stand in it as well."""
    if pair.largest == 0:
        return "agree-all"
    return "agree-most" if pair.largest <= 2 else "agree-less"


def _within(histogram: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yields levels and the share of values that differ by no more, up to all of them."""
    total = sum(histogram)
    for most in _WITHIN_LEVELS:
        share = sum(histogram[: most + 1]) / max(total, 1)
        yield most, percent(share)
        if share == 1:
            return


def _most_frequent(gaps: dict[int, int]) -> list[tuple[int, int]]:
    return sorted(gaps.items(), key=lambda item: (-item[1], item[0]))[:5]


def _numbers(findings: Sequence[Finding]) -> dict[str, int]:
    num_faults = sum(finding.is_fault for finding in findings)
    return {"fault": num_faults, "remark": len(findings) - num_faults}
