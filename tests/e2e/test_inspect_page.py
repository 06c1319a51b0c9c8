"""The page of an output in a browser: every picture, at desktop and phone width, light and dark."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from predecode.inspection.opened import opened
from predecode.inspection.page import render_page
from predecode.inspection.shown import page_content
from predecode.inspection.summary import inspect_output
from tests.support.browser import dumped_dom, require_chromium, screenshot
from tests.support.html_page import Page
from tests.support.inspected import inspected_output
from tests.support.stored import painted
from train_shards.format import parse_key

pytestmark = pytest.mark.slow

SECTIONS = ("tasks", "episodes", "figures", "settings", "provenance", "absent")
PAPERS = {False: (255, 255, 255), True: (21, 24, 28)}
LEAST_PX = 60
"""What a picture is wide at least, so that something can be seen on it."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_chromium()
    folder = tmp_path_factory.mktemp("inspected")
    with opened(str(inspected_output(folder / "out")), check_members=False) as output:
        found = inspect_output(output)
        html = render_page(found, page_content(output, found))
    path = folder / "page.html"
    path.write_text(html)
    return path


def pictures(page: Path) -> dict[tuple[str, str], int]:
    """``(image, key)`` -> how often the page shows it."""
    shown: dict[tuple[str, str], int] = {}
    for alt in Page(page.read_text()).attributes("alt"):
        image, key = alt.split(", ")
        shown[image, key] = shown.get((image, key), 0) + 1
    return shown


def blocks(shot: NDArray[np.uint8], image: str, key: str) -> list[tuple[int, int]]:
    """Left and right edges of each area that has the colour of a picture, from top to bottom."""
    colour = painted(*parse_key(key), image)[0, 0]
    low, high = (np.clip(colour.astype(int) + by, 0, 255).astype(np.uint8) for by in (-3, 3))
    mask = ((shot >= low) & (shot <= high)).all(axis=2)  # a JPEG of one colour
    rows = np.flatnonzero(mask.sum(axis=1) >= LEAST_PX)
    found = []
    for row in rows[np.diff(rows, prepend=-9) > 1].tolist():
        columns = np.flatnonzero(mask[row + 5])
        edges = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
        found += [(int(edge[0]), int(edge[-1])) for edge in edges if len(edge) >= LEAST_PX]
    return found


def test_a_browser_reads_what_was_written(page: Path) -> None:
    written, read = Page(page.read_text()), Page(dumped_dom(page))
    assert read.rows == written.rows
    for section in SECTIONS:
        assert read.text(section) == written.text(section) != ""
    for tag in ("img", "svg", "polyline", "rect"):
        assert read.count(tag) == written.count(tag) > 0


@pytest.mark.parametrize(
    ("width", "height", "dark", "in_a_row"), [(1280, 4700, False, 8), (390, 5200, True, 4)]
)
def test_every_picture_is_seen_in_its_row_and_nothing_leaves_the_page(
    page: Path, width: int, height: int, dark: bool, in_a_row: int
) -> None:
    shot = screenshot(page, width, height, dark=dark)
    paper = np.array(PAPERS[dark], np.uint8)
    is_paper = (shot == paper).all(axis=2)
    assert is_paper.mean() > 0.6
    # The margins stay empty, and so does what is below the end: all of the page was seen.
    margin = 8
    assert is_paper[:, :margin].all()
    assert is_paper[:, -margin:].all()
    assert is_paper[-50:].all()
    shown = pictures(page)
    assert sum(shown.values()) == 18 + 16
    places = {one: blocks(shot, *one) for one in shown}
    for one, found in places.items():
        assert len(found) == shown[one], one
    strip = [f"ep00000010_f{frame:06d}" for frame in (0, 1, 3, 4, 6, 7, 9, 11)]
    lefts = [places["head", key][-1][0] for key in strip]
    assert lefts[:in_a_row] == sorted(set(lefts[:in_a_row]))
    assert lefts[in_a_row:] == lefts[: 8 - in_a_row]
