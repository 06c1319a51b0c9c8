"""Decoders against each other: figures, reasons, faults; ffmpeg's command line is the oracle."""

import itertools
import pickle
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from predecode.cluster import InProcess
from predecode.errors import InfraError, MediaError, UserError
from predecode.planning import PlannedEpisode
from predecode.source_check import check_episode
from predecode.sources.episode import Episode, VideoSpan, with_images
from predecode.sources.registry import open_source
from predecode.verification import backends
from predecode.verification.agreement import Agreement, Reason
from predecode.verification.backend_matrix import matrix_lines
from predecode.verification.backends import (
    BackendsJob,
    BackendsVerdict,
    backends_level,
    compare_backends,
    fingerprint,
)
from predecode.verification.report import (
    BackendPair,
    Backends,
    Finding,
    Fingerprint,
    StreamFormat,
)
from predecode.video.pyav import PyavDecoder
from tests.support.backends import PYTHONS, require
from tests.support.media import NASA_MP4, make
from tests.unit.video.reference import require_nasa

ALL = ["pyav", "torchcodec", "video_reader"]
Picture = NDArray[np.uint8]


def planned(path: Path, episode_index: int = 0) -> PlannedEpisode:
    """A film as an episode with one camera, ``head``."""
    episode = Episode(
        episode_index=episode_index,
        task_index=0,
        task="",
        num_frames=None,
        fps=None,
        videos={"head": VideoSpan(key="head", path=path.name)},
        table=None,
    )
    return as_planned(path.parent, episode, ("head",))


def as_planned(root: Path, episode: Episode, cameras: tuple[str, ...]) -> PlannedEpisode:
    checked = check_episode(root, episode, cameras)
    return PlannedEpisode(
        episode=episode, num_frames=checked.num_frames, split="train", inputs=checked.inputs
    )


def job_of(
    root: Path,
    episodes: Sequence[PlannedEpisode],
    names: Sequence[str] = ALL,
    frames: Sequence[int] | None = None,
) -> BackendsJob:
    return BackendsJob(
        name="test",
        root=str(root),
        episodes=[
            (p, {c: list(frames or range(p.num_frames)) for c in sorted(p.episode.videos)})
            for p in episodes
        ],
        backends=list(names),
        pythons=PYTHONS,
    )


def compared(jobs: Sequence[BackendsJob]) -> tuple[Backends, list[Finding], int]:
    """The report's part, what is at fault, and how many images the jobs told of."""
    told: list[int] = []
    done = InProcess().run(compare_backends, jobs, told.append)
    level, findings = backends_level(jobs[0].backends, PYTHONS, [verdict for _, verdict in done])
    return level, findings, sum(told)


# Real decoders.


@pytest.mark.slow
def test_all_decoders_agree_on_the_sample_to_the_bit(b1k_root: Path) -> None:
    require("video_reader")
    source = open_source("b1k", b1k_root)
    cameras = tuple(source.cameras)
    chosen = [with_images(e, cameras) for e in source.episodes if e.episode_index in (10, 490040)]
    episodes = [as_planned(source.root, episode, cameras) for episode in chosen]
    level, findings, num_told = compared([job_of(source.root, [e]) for e in episodes])
    assert num_told == 3 * (120 + 90)
    assert findings == []
    agreement = ("num_images", "num_equal_images", "equal_values", "largest", "mean")
    assert len(level.pairs) == 9
    for pair in level.pairs:
        assert [getattr(pair, name) for name in agreement] == [210, 210, 1.0, 0, 0.0]
        assert (pair.psnr_worst_db, pair.why) == (99.0, "")
    assert [(p.camera, p.left, p.right) for p in level.pairs[:4]] == [
        ("head", "pyav", "torchcodec"),
        ("head", "pyav", "video_reader"),
        ("head", "torchcodec", "video_reader"),
        ("left_wrist", "pyav", "torchcodec"),
    ]
    said = [(f.camera, f.num_videos, f.codec_name, f.color_range) for f in level.formats]
    assert said == [
        (camera, 1, *codec)
        for camera in ("head", "left_wrist", "right_wrist")
        for codec in (("h264", "untagged"), ("hevc", "limited"))
    ]
    assert {(f.pix_fmt, f.color_matrix) for f in level.formats} == {("yuv420p", "untagged")}


def by_ffmpeg(path: Path, scale: str, stream_index: int = 0) -> Picture:
    """All pictures, ``(n, H, W, 3)``, as the command line converts them."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", f"0:{stream_index}"]
    size = ["ffprobe", "-v", "error", "-select_streams", str(stream_index)]
    size += ["-show_entries", "stream=width,height", "-of", "csv=p=0", str(path)]
    width, height = subprocess.run(size, check=True, capture_output=True).stdout.split(b",")[:2]
    command += ["-vf", f"scale={scale},format=rgb24", "-fps_mode", "passthrough"]
    raw = subprocess.run([*command, "-f", "rawvideo", "-"], check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, int(height), int(width), 3)


def check_figures(pair: BackendPair, left: Picture, right: Picture) -> None:
    """Against figures that numpy has of the oracle's pictures."""
    distances = np.abs(left.astype(int) - right)
    assert pair.num_images == len(distances) > 0
    assert pair.num_equal_images == (distances.max(axis=(1, 2, 3)) == 0).sum() == 0
    assert pair.largest == distances.max()
    assert pair.mean == pytest.approx(distances.mean(), rel=1e-12)
    assert pair.equal_values == pytest.approx((distances == 0).mean(), rel=1e-12)
    worst = np.square(distances).mean(axis=(1, 2, 3)).max()
    assert pair.psnr_worst_db == pytest.approx(10 * np.log10(255**2 / worst), rel=1e-12)


@pytest.mark.slow
def test_a_film_in_bt709_is_converted_with_bt601_by_video_reader() -> None:
    require_nasa()
    require("video_reader")
    frames = range(0, 390, 13)
    episode = planned(NASA_MP4)
    level, findings, _ = compared([job_of(NASA_MP4.parent, [episode], frames=frames)])
    assert [f.num_equal_images for f in level.pairs] == [30, 0, 0]
    why = "video_reader converts with BT.601 although the stream says bt709 (1 of 1 images looked"
    for pair in level.pairs[1:]:
        assert pair.why == f"{why} into)"
        assert pair.largest in range(15, 26)
        assert 0.3 < pair.mean < 1
        assert 0.6 < pair.equal_values < 0.8
        rows = [by_ffmpeg(NASA_MP4, f"in_color_matrix={m}", 3)[::13] for m in ("bt709", "bt601")]
        check_figures(pair, *rows)
    assert [(f.where, f.kind, f.level, f.expected) for f in findings] == [
        ("head", "backends-differ", "backends", "pyav and video_reader agree"),
        ("head", "backends-differ", "backends", "torchcodec and video_reader agree"),
    ]
    assert findings[0].got.startswith("0 of 30 images equal, ")
    assert findings[0].got.endswith(f"on average: {why} into)")
    assert level.formats == [
        StreamFormat(
            camera="head",
            num_videos=1,
            codec_name="h264",
            pix_fmt="yuv420p",
            color_range="limited",
            color_matrix="bt709",
        )
    ]


@dataclass(frozen=True)
class Colors:
    """A film, what it says, which decoders differ on it, how each converts, and the reason."""

    name: str
    encode: str
    width: int
    says: tuple[str, str, str]
    pair: tuple[str, str] | None = None
    scales: tuple[str, str] = ("", "")
    why: str = ""
    num_agreeing: int = 1


BICUBIC = (
    "torchcodec converts with SWS_BICUBIC (PyAV: SWS_BILINEAR) and ignores where chroma samples "
    "lie (PyAV: as the stream says)"
)
AV1_FULL = (
    "-vf scale=out_range=pc,format=yuv420p -color_range pc -c:v libsvtav1 -preset 10 "
    "-svtav1-params color-range=1"
)
COLORS = [
    Colors(
        "full_range_by_its_format",
        "-vf scale=out_range=pc,format=yuvj420p -color_range pc -c:v libx264",
        width=256,
        says=("yuvj420p", "full", "untagged"),
        num_agreeing=3,
    ),
    Colors(
        "full_range_by_its_tag",
        AV1_FULL,
        width=256,
        says=("yuv420p", "full", "untagged"),
        pair=("pyav", "torchcodec"),
        scales=("in_range=pc", "in_range=tv"),
        why="torchcodec takes values for limited range although the stream says full",
    ),
    Colors(
        "full_range_by_its_tag_at_a_width_that_torchcodec_filters",
        AV1_FULL,
        width=240,
        says=("yuv420p", "full", "untagged"),
        pair=("torchcodec", "video_reader"),
        scales=("in_range=pc", "in_range=tv"),
        why="video_reader takes values for limited range although the stream says full",
    ),
    Colors(
        "bt2020",
        "-vf scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p -colorspace bt2020nc "
        "-c:v libx264",
        width=256,
        says=("yuv420p", "limited", "bt2020nc"),
        pair=("pyav", "video_reader"),
        scales=("in_color_matrix=bt2020", "in_color_matrix=bt601"),
        why="video_reader converts with BT.601 although the stream says bt2020nc",
    ),
    Colors(
        "ten_bits",
        "-vf format=yuv420p10le -c:v libx264",
        width=256,
        says=("yuv420p10le", "untagged", "untagged"),
        pair=("torchcodec", "video_reader"),
        scales=("flags=bicubic", "flags=area"),
        why=BICUBIC + ", and video_reader is not explained (nearest: ",
        num_agreeing=0,
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", COLORS, ids=lambda case: case.name)
def test_colours_in_which_decoders_differ(tmp_path: Path, case: Colors) -> None:
    require("video_reader")
    path = tmp_path / "film.mp4"
    picture = f"testsrc2=s={case.width}x128:r=30:d=0.3"
    command = f"ffmpeg -v error -threads 1 -f lavfi -i {picture} {case.encode} {path}"
    subprocess.run(command.split(), check=True, capture_output=True)
    level, findings, _ = compared([job_of(tmp_path, [planned(path)])])
    (said,) = level.formats
    assert (said.pix_fmt, said.color_range, said.color_matrix) == case.says
    agreeing = [p for p in level.pairs if p.num_equal_images == p.num_images == 9]
    assert (len(agreeing), len(findings)) == (case.num_agreeing, 3 - case.num_agreeing)
    assert all(p.why == "" for p in agreeing)
    if case.pair:
        (pair,) = [p for p in level.pairs if (p.left, p.right) == case.pair]
        check_figures(pair, *(by_ffmpeg(path, scale) for scale in case.scales))
        assert pair.why.startswith(case.why)


@pytest.mark.slow
def test_pyav_and_torchcodec_differ_in_ten_bits_by_filter_and_place_of_chroma(
    tmp_path: Path,
) -> None:
    path = tmp_path / "film.mp4"
    case = COLORS[-1]
    command = f"ffmpeg -v error -f lavfi -i testsrc2=s=240x128:d=0.2 {case.encode} {path}"
    subprocess.run(command.split(), check=True, capture_output=True)
    level, _, _ = compared([job_of(tmp_path, [planned(path)], ALL[:2])])
    (pair,) = level.pairs
    assert pair.num_equal_images == 0
    assert pair.why == f"{BICUBIC} (1 of 1 images looked into)"


@pytest.mark.slow
def test_a_width_that_one_decoder_refuses_costs_that_decoder_alone(tmp_path: Path) -> None:
    require("video_reader")
    path = tmp_path / "film.mp4"
    command = f"ffmpeg -v error -f lavfi -i testsrc2=s=168x96:d=0.2 -c:v libx264 {path}"
    subprocess.run(command.split(), check=True)
    level, findings, num_told = compared([job_of(tmp_path, [planned(path, 7)])])
    assert num_told == 5
    assert [(p.num_images, p.num_equal_images) for p in level.pairs] == [(5, 5), (0, 0), (0, 0)]
    (finding,) = findings
    assert (finding.kind, finding.level) == ("backend-fails", "backends")
    assert (finding.where, finding.key) == ("film.mp4", "ep00000007_f000000")
    assert finding.expected == "a picture of video_reader"
    assert "a multiple of 16 pixels, got 168" in finding.got


@pytest.mark.slow
def test_fingerprints_tell_the_versions_that_others_tell() -> None:
    require("video_reader")
    prints = {name: fingerprint(name, PYTHONS) for name in ALL}
    assert all(all(p.versions.values()) and p.conversion for p in prints.values())
    assert prints["pyav"].versions["av"] == version("av")
    ours = prints["torchcodec"].versions
    assert ours["torchcodec"] == version("torchcodec")
    assert ours["torch"] == version("torch")
    # Both of these use the system's FFmpeg, as does the command line.
    lines = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True)
    assert f"ffmpeg version {ours['ffmpeg']} " in lines.stdout
    theirs = prints["video_reader"].versions
    libraries = ["libavcodec", "libavformat", "libavutil", "libswscale"]
    assert sorted(theirs) == [*libraries, "python", "torch", "torchvision"]
    for line in lines.stdout.replace(" ", "").splitlines():
        name = next((n for n in libraries if line.startswith(n)), None)
        if name:
            libraries.remove(name)
            assert line == f"{name}{theirs[name]}/{theirs[name]}"
            assert ours.get(name, theirs[name]) == theirs[name]
    assert not libraries
    package = ["dpkg-query", "-W", "-f", "${Version}", "python3-torchvision"]
    installed = subprocess.run(package, check=True, capture_output=True, text=True).stdout
    assert theirs["torchvision"].rstrip("a0") == installed.split("-")[0]


# Stand-ins.


class Shifted(PyavDecoder):
    """Is one picture late from the 20th on."""

    def _picture(self, rank: int) -> Picture:
        return super()._picture(rank - 1 if rank >= 20 else rank)


class Failing(PyavDecoder):
    """Knows no 60th picture."""

    def _picture(self, rank: int) -> Picture:
        if rank == 60:
            raise MediaError("the stand-in fails", "picture 60", "nothing")
        return super()._picture(rank)


class Noisy(PyavDecoder):
    """Is off by one level everywhere."""

    def _picture(self, rank: int) -> Picture:
        return super()._picture(rank) ^ np.uint8(1)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that puts classes in the place of decoders."""

    def place(**kinds: Any) -> None:
        monkeypatch.setattr(backends, "load_backend", lambda name, _: kinds.get(name, PyavDecoder))

    return place


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """150 pictures that differ from their neighbours; 160 x 96."""
    return make("hevc", tmp_path)


def test_a_shift_by_one_picture_is_named(film: Path, stand_ins: Callable[..., None]) -> None:
    stand_ins(torchcodec=Shifted)
    level, findings, num_told = compared([job_of(film.parent, [planned(film)], ALL[:2])])
    (pair,) = level.pairs
    assert num_told == 150
    assert (pair.num_images, pair.num_equal_images) == (150, 20)
    assert pair.why == (
        "torchcodec gives the picture 1 before the one asked for (1 of 1 images looked into)"
    )
    assert [f.kind for f in findings] == ["backends-differ"]
    # Its worst picture is the first after a cut, which it gives one late.
    assert findings[0].key in {"ep00000000_f000053", "ep00000000_f000106"}


def test_a_decoder_that_fails_midway_costs_the_rest_of_its_own_pictures(
    film: Path, stand_ins: Callable[..., None]
) -> None:
    stand_ins(torchcodec=Failing)
    level, findings, num_told = compared([job_of(film.parent, [planned(film)])])
    assert num_told == 150
    figures = [(p.left, p.right, p.num_images, p.num_equal_images) for p in level.pairs]
    assert figures == [
        ("pyav", "torchcodec", 60, 60),
        ("pyav", "video_reader", 150, 150),
        ("torchcodec", "video_reader", 60, 60),
    ]
    assert [(f.kind, f.where, f.key, f.expected, f.got) for f in findings] == [
        (
            "backend-fails",
            "hevc.mp4",
            "ep00000000_f000060",
            "a picture of torchcodec",
            "the stand-in fails; expected picture 60, got nothing",
        )
    ]


def test_noise_is_not_explained_and_what_was_tried_is_told(
    film: Path, stand_ins: Callable[..., None]
) -> None:
    stand_ins(torchcodec=Noisy)
    job = job_of(film.parent, [planned(film)], ALL[:2], frames=[10, 50, 90])
    level, findings, _ = compared([job])
    (pair,) = level.pairs
    assert (pair.num_equal_images, pair.equal_values, pair.largest, pair.mean) == (0, 0.0, 1, 1.0)
    assert pair.psnr_worst_db == pytest.approx(48.1308, abs=1e-4)  # 10 log10(255^2)
    assert pair.why == (
        "torchcodec is not explained (nearest: converts as PyAV does), of 172 conversions and "
        "neighbours tried, leaving up to 1 and 1.000 on average (1 of 1 images looked into)"
    )
    assert findings[0].got == (
        "0 of 3 images equal, 0 % of the values, difference at most 1, 1.000 on average: "
        + pair.why
    )


def test_a_picture_that_pyav_cannot_decode_is_not_looked_into(
    film: Path, stand_ins: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins(torchcodec=Noisy)

    def explain(*_: object) -> Iterator[object]:
        raise MediaError("damaged", "whole data", "a hole")

    monkeypatch.setattr(backends, "explain", explain)
    level, _, _ = compared([job_of(film.parent, [planned(film)], ALL[:2], frames=[3])])
    assert level.pairs[0].why == (
        "not looked into: PyAV fails: damaged; expected whole data, got a hole "
        "(1 of 1 images looked into)"
    )


def test_a_video_that_no_decoder_can_open_is_one_finding(
    film: Path, stand_ins: Callable[..., None]
) -> None:
    stand_ins()
    job = job_of(film.parent, [planned(film, 3)])
    film.write_bytes(bytes(film.stat().st_size))
    level, findings, num_told = compared([job])
    assert num_told == 150
    assert [p.num_images for p in level.pairs] == [0, 0, 0]
    assert [(f.kind, f.where, f.key) for f in findings] == [
        ("video", "hevc.mp4", "ep00000003_f000000")
    ]


def test_a_video_that_is_not_the_planned_one_stops_the_job(
    film: Path, stand_ins: Callable[..., None]
) -> None:
    stand_ins()
    job = job_of(film.parent, [planned(film)])
    film.write_bytes(film.read_bytes() + b"more")
    with pytest.raises(InfraError, match="changed since the plan was made"):
        compare_backends(job, lambda _: None)
    film.unlink()
    with pytest.raises(InfraError, match="was there when the plan was made"):
        compare_backends(job, lambda _: None)


def test_another_packet_table_than_the_planned_one_stops_the_job(
    film: Path, stand_ins: Callable[..., None]
) -> None:
    stand_ins()
    episode = planned(film)
    inputs = [msgspec.structs.replace(episode.inputs[0], digest="0" * 32)]
    job = job_of(film.parent, [msgspec.structs.replace(episode, inputs=inputs)])
    with pytest.raises(InfraError, match="expected .* bytes and digest 0{32}, got"):
        compare_backends(job, lambda _: None)


def test_a_decoder_is_not_to_blame_for_a_file_that_vanishes(
    film: Path, stand_ins: Callable[..., None]
) -> None:
    class Vanishing(Failing):
        def _picture(self, rank: int) -> Picture:
            if rank == 60:
                film.unlink()
            return super()._picture(rank)

    stand_ins(torchcodec=Vanishing)
    with pytest.raises(InfraError, match="was there when the plan was made"):
        compare_backends(job_of(film.parent, [planned(film)]), lambda _: None)


def test_an_unknown_decoder_is_refused(film: Path) -> None:
    with pytest.raises(UserError, match="'nvdec': not known"):
        compare_backends(job_of(film.parent, [planned(film)], ["pyav", "nvdec"]), lambda _: None)


def test_jobs_that_share_the_work_find_what_one_job_finds(
    film: Path, stand_ins: Callable[..., None]
) -> None:
    stand_ins(torchcodec=Shifted, video_reader=Failing)
    episodes = [planned(film, index) for index in range(3)]
    one = job_of(film.parent, episodes)
    parts = [job_of(film.parent, [episode]) for episode in episodes]
    assert pickle.loads(pickle.dumps(one)) == one
    whole = compared([one])
    assert compared(parts) == whole
    assert compared(parts[::-1]) == whole
    assert [p.num_images for p in whole[0].pairs] == [450, 180, 180]
    assert whole[0].pairs[0].why.endswith("(3 of 3 images looked into)")
    assert whole[0].formats[0].num_videos == 1


# Pure parts.

VALUES = st.integers(0, 255)
IMAGES = st.lists(
    st.tuples(st.lists(VALUES, min_size=6, max_size=6), st.lists(VALUES, min_size=6, max_size=6)),
    max_size=8,
)


@given(images=IMAGES, cuts=st.lists(st.integers(0, 8), max_size=3), is_reversed=st.booleans())
def test_agreements_of_parts_add_up(
    images: list[tuple[list[int], list[int]]], cuts: list[int], is_reversed: bool
) -> None:
    def agreement(start: int, stop: int) -> Agreement:
        total = Agreement()
        for number in range(start, min(stop, len(images))):
            left, right = (np.array(v, np.uint8).reshape(1, 2, 3) for v in images[number])
            is_equal = total.compare(left, right, f"key{number}")
            assert is_equal == (images[number][0] == images[number][1])
            if not is_equal:
                largest = int(np.abs(left.astype(int) - right).max())
                reason = Reason(num_images=1, largest=largest, mean=largest / 2, num_tried=number)
                total.add(Agreement(reasons={f"reason {largest % 3}": reason}))
        return total

    bounds = [0, *sorted(cuts), 9]
    parts = [agreement(start, stop) for start, stop in itertools.pairwise(bounds)]
    merged = Agreement()
    for part in parts[::-1] if is_reversed else parts:
        merged.add(part)
    assert merged == agreement(0, 9)
    differences = np.abs([np.subtract(*pair) for pair in images]).reshape(-1)
    figures = merged.figures("head", "a", "b")
    assert figures.num_images == len(images)
    assert figures.largest == differences.max(initial=0)
    assert merged.sum_of_differences == differences.sum()
    assert merged.num_equal_values == (differences == 0).sum()


def test_the_worst_image_keeps_its_key_where_it_is_almost_equal() -> None:
    left = np.zeros((720, 720, 3), np.uint8)
    right = left.copy()
    right[0, 0, 0] = 1
    total = Agreement()
    assert not total.compare(left, right, "key")
    total.add(Agreement(num_images=1, num_equal_images=1, num_values=3, num_equal_values=3))
    assert total.worst == (99.0, "key")


def test_only_the_most_frequent_reasons_are_named() -> None:
    total = Agreement()
    for number in range(7):
        total.add(Agreement(reasons={f"reason {number}": Reason(num_images=number + 1)}))
    why = total.figures("head", "a", "b").why
    assert why.startswith("reason 6 (7 of 28 images looked into); reason 5 (6 of 28")
    assert why.endswith("reason 2 (3 of 28 images looked into); 2 other reasons")


def test_the_matrix_as_text() -> None:
    def pair(left: str, right: str, **figures: Any) -> BackendPair:
        return BackendPair(camera="head", left=left, right=right, **{**EQUAL, **figures})

    level = Backends(
        names=["a", "bb", "c"],
        pairs=[
            pair("a", "bb"),
            pair("a", "c", num_equal_images=7, equal_values=0.99999, largest=3, why="because"),
            pair("bb", "c", num_images=0, num_equal_images=0),
        ],
        fingerprints=[Fingerprint(backend="a", versions={"x": "1", "y": "2.0"}, conversion="so")],
        formats=[
            StreamFormat(
                camera="head",
                num_videos=1200,
                codec_name="hevc",
                pix_fmt="yuv420p",
                color_range="limited",
                color_matrix="bt709",
            )
        ],
    )
    assert matrix_lines(level) == [
        "camera head",
        "      bb               c",
        "  a   all 1,000 equal  > 99.99 % equal, at most 3",
        "  bb                   no image",
        "  a, c: because",
        "decoders",
        "  a: x 1, y 2.0",
        "    to RGB: so",
        "videos",
        "  head: 1,200 hevc yuv420p, range limited, matrix bt709",
    ]


EQUAL = {
    "num_images": 1000,
    "num_equal_images": 1000,
    "equal_values": 1.0,
    "largest": 0,
    "mean": 0.0,
    "psnr_worst_db": 99.0,
    "why": "",
}


def test_a_verdict_without_images_has_no_figures() -> None:
    level, findings = backends_level(["pyav"], {}, [BackendsVerdict()])
    assert (level.pairs, level.formats, findings) == ([], [], [])
    assert level.fingerprints[0].backend == "pyav"
