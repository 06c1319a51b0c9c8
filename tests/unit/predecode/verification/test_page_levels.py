"""What the page of a verification says of each level, and its pictures."""

import base64
import io

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from predecode.verification.page import ImagePair, difference_picture, render_page
from predecode.verification.report import Report
from tests.support.html_page import Page
from tests.support.reports import EQUAL_FIGURES, FRAMES, SOURCE, WORST, flat, flat_pair, full_report

replace = msgspec.structs.replace


def page_of(report: Report, *pairs: ImagePair) -> Page:
    return Page(render_page(report, pairs))


def only(**levels: object) -> Report:
    """A report of some levels, without a finding."""
    return Report(
        written_by="predecode 0.1.0", subject="out", status="proven", findings=[], num_faults=0,
        **levels,  # type: ignore[arg-type]
    )  # fmt: skip


def decoded(uri: str) -> NDArray[np.uint8]:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"), validate=True)
    return np.asarray(Image.open(io.BytesIO(data)))


def test_structure_counts() -> None:
    assert page_of(full_report()).rows["structure"][1] == ["3", "1", "1,712", "45,158,400"]


def test_figures_of_each_camera() -> None:
    page = page_of(full_report())
    assert page.rows["frames"][1:3] == [
        ["head", "300", "2", "43.21 %", "37", "1.235", "38.2 dB", "31.2 dB", "0.9912", "0.9877"],
        ["left_wrist", "300", "300", "100 %", "0", "0", "equal", "equal", "1", "1"],
    ]
    assert page.rows["frames"][4] == ["ep00000040_f000311", "31.2 dB", "0.9877", "37", "1.500"]
    text = page.text("frames")
    assert "The codec is lossy: at least 25 dB are asked for." in text
    assert "300 samples looked at: ends 10, keyframes 31, random 259." in text
    assert "equal: 60.00 % · ≤ 1: 90.00 % · ≤ 2: 99.00 % · ≤ 4: 99.99 % · ≤ 8: 100 %" in text
    assert "Worst images: left_wrist None: 300 of 300 images are equal." in text


def test_a_camera_of_which_nothing_was_decoded_has_no_figures() -> None:
    empty = replace(EQUAL_FIGURES, num_images=0, num_equal_images=0, histogram=256 * [0])
    page = page_of(only(frames=replace(FRAMES, cameras={"head": empty})))
    assert page.rows["frames"][1] == ["head", "0", "no image decoded anew"]
    assert page.count("svg") == 0
    assert "0 of 0 images" not in page.text("frames")


def test_each_bar_of_a_histogram_says_what_it_stands_for() -> None:
    text = page_of(only(frames=FRAMES)).text("frames")
    for title in ("0 levels: 6,000", "1 levels: 3,000", "4 levels: 9", "5 levels: 1"):
        assert title in text
    assert "6 levels:" not in text
    assert "0 levels: 45,158,400" in text
    source = page_of(only(source=SOURCE)).text("source")
    for title in ("0 to 4 frames: 3", "120 to 124 frames: 1", "250 to 254 frames: 1,200"):
        assert title in source


def test_the_difference_picture_shows_eight_times_the_difference() -> None:
    stored = np.array([[[0, 10, 255], [100, 100, 100]]], np.uint8)
    fresh = np.array([[[3, 0, 0], [100, 131, 68]]], np.uint8)
    assert difference_picture(stored, fresh).tolist() == [[[24, 80, 255], [0, 248, 255]]]
    assert difference_picture(fresh, stored).tolist() == [[[24, 80, 255], [0, 248, 255]]]


def test_pictures_are_in_the_page_pixel_by_pixel_the_worst_first() -> None:
    rng = np.random.default_rng(5)
    stored, fresh = rng.integers(0, 256, (2, 6, 4, 3)).astype(np.uint8)
    better = flat_pair((1, 2, 3), (1, 2, 4))
    better = better._replace(figures=replace(WORST, key="better", psnr_db=40.0))
    page = page_of(full_report(), better, ImagePair("head", WORST, stored, fresh))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["alt"] for image in images[:3]] == [
        "head, ep00000040_f000311: shard",
        "head, ep00000040_f000311: on line",
        "head, ep00000040_f000311: difference times 8",
    ]
    assert [image["alt"] for image in images[3:]] == [
        "head, better: shard", "head, better: on line", "head, better: difference times 8",
    ]  # fmt: skip
    assert (images[0]["width"], images[0]["height"]) == ("4", "6")
    sources = [decoded(uri) for uri in page.attributes("src")]
    assert np.array_equal(sources[0], stored)
    assert np.array_equal(sources[1], fresh)
    assert np.array_equal(sources[3], flat(1, 2, 3))
    assert np.array_equal(sources[5], flat(0, 0, 8))
    assert (
        "ep00000040_f000311: PSNR 31.2 dB, SSIM 0.9877, largest difference 37, mean 1.500"
        in page.text("frames")
    )


def test_what_of_the_samples_is_equal() -> None:
    page = page_of(full_report())
    assert page.rows["samples"][1:] == [["action", "all 64", "64"], ["state", "63", "64"]]
    assert "1,712 rows of 5 episodes compared" in page.text("samples")


def test_the_matrix_of_decoders_is_square_and_symmetric() -> None:
    page = page_of(full_report())
    assert page.rows["backends"][:4] == [
        ["Decoder", "pyav", "torchcodec", "video_reader"],
        ["pyav", "—", "all equal", "75.00 % equal largest 2"],
        ["torchcodec", "all equal", "—", "not compared"],
        ["video_reader", "75.00 % equal largest 2", "not compared", "—"],
    ]
    assert page.rows["backends"][5:7] == [
        ["pyav, torchcodec", "36", "36", "100 %", "0", "0", "equal", "—"],
        ["pyav, video_reader", "36", "0", "75.00 %", "2", "0.250", "51.1 dB",
         "another conversion to RGB"],
    ]  # fmt: skip
    assert page.rows["backends"][8] == [
        "pyav", "av 18.1.0, libavcodec 62.11.100", "swscale, bicubic, accurate rounding",
    ]  # fmt: skip
    assert page.rows["backends"][10] == ["head", "5", "hevc", "yuv420p", "limited", "untagged"]
    classes = [a.get("class") for tag, a in page.tags if tag == "td"]
    assert [name for name in classes if name and name.startswith("agree")] == [
        "agree-all", "agree-most", "agree-all", "agree-most",
    ]  # fmt: skip


def test_the_survey_of_the_source() -> None:
    page = page_of(full_report())
    assert page.rows["source"][1] == [
        "head", "5", "1,712", "9.9 MB",
        "250 frames (1,200 times), 1 frame (3 times), 120 frames (1 time)", "7",
    ]  # fmt: skip
    assert "of the b1k data set" in page.text("source")
    assert "shortest 1, longest 250 frames" in page.text("source")


def test_quarantined_episodes_say_why() -> None:
    page = page_of(full_report())
    assert page.rows["quarantined"][1] == [
        "00010041", "left_wrist", "videos/task-0001/episode_00010041.mp4",
        "fewer pictures than rows", "1200", "1198",
    ]  # fmt: skip
    assert page_of(only()).text("quarantined") == "Quarantined episodes None."
    assert page.text("footer").startswith("Written by predecode 0.1.0, report version 1.")
