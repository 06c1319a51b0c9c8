"""The page of a verification in a browser: every section, every picture, in light and dark."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from predecode.verification.page import write_report
from tests.support.browser import dumped_dom, require_chromium, screenshot
from tests.support.html_page import Page
from tests.support.reports import flat_pair, full_report

pytestmark = pytest.mark.slow

PICTURES = [
    (250, 20, 140), (240, 20, 140), (80, 0, 0),
    (20, 120, 250), (20, 125, 250), (0, 40, 0),
]  # fmt: skip
"""Shard, on line and eight times their difference; twice. No colour of the page is among them."""
SECTIONS = ("findings", "structure", "frames", "samples", "backends", "source", "quarantined")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_chromium()
    folder = tmp_path_factory.mktemp("report")
    pairs = [flat_pair(PICTURES[0], PICTURES[1]), flat_pair(PICTURES[3], PICTURES[4])]
    write_report(folder, full_report(), pairs)
    return folder / "report.html"


def where(shot: NDArray[np.uint8], colour: tuple[int, ...]) -> NDArray[np.bool_]:
    """``(height, width)``: which pixels have exactly this colour."""
    found: NDArray[np.bool_] = (shot == np.array(colour, np.uint8)).all(axis=2)
    return found


def test_a_browser_reads_what_was_written(page: Path) -> None:
    written, read = Page(page.read_text()), Page(dumped_dom(page))
    assert read.rows == written.rows
    assert len(read.rows) == len(SECTIONS)
    for section in SECTIONS:
        assert read.text(section) == written.text(section) != ""
    assert read.count("img") == 6


@pytest.mark.parametrize(("dark", "paper"), [(False, (255, 255, 255)), (True, (21, 24, 28))])
def test_a_browser_shows_every_picture_pixel_by_pixel(
    page: Path, dark: bool, paper: tuple[int, ...]
) -> None:
    shot = screenshot(page, 1280, 4000, dark=dark)
    assert shot.shape == (4000, 1280, 3)
    assert [where(shot, colour).sum() for colour in PICTURES] == 6 * [224 * 224]
    assert where(shot, paper).mean() > 0.7


def test_on_a_phone_the_three_pictures_stand_side_by_side(page: Path) -> None:
    shot = screenshot(page, 390, 6000, dark=False)
    for start in (0, 3):
        found = [where(shot, colour) for colour in PICTURES[start : start + 3]]
        rows = [np.flatnonzero(mask.any(axis=1)) for mask in found]
        columns = [np.flatnonzero(mask.any(axis=0)) for mask in found]
        assert all(len(side) > 100 for side in rows + columns)
        assert [row[0] for row in rows] == 3 * [rows[0][0]]
        assert columns[0][-1] < columns[1][0] < columns[1][-1] < columns[2][0]
        assert columns[2][-1] < 390 - 10
