"""The decoder against painted numbers, a plain sequential decode and the ffmpeg command line."""

import dataclasses
import gc
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from predecode.errors import MediaError
from predecode.video import pyav
from predecode.video.packets import FrameTable, read_frame_table
from predecode.video.pyav import PyavDecoder
from tests.support.media import HEIGHT_PX, MEDIA, NASA_MP4, WIDTH_PX, read_number
from tests.unit.video.reference import check, require_nasa, sequential

MakeMedia = Callable[[str], Path]

ALL_WHOLE = [name for name in MEDIA if name != "hevc_clip"]


@contextmanager
def count_starts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collects the keyframes at which decodes start."""
    starts: list[int] = []
    genuine = pyav.PyavDecoder._packets_from

    def counted(self: pyav.PyavDecoder, key: int) -> object:
        starts.append(key)
        return genuine(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(pyav.PyavDecoder, "_packets_from", counted)
        yield starts


@pytest.mark.parametrize("name", ALL_WHOLE)
def test_all_pictures_in_a_row(media: MakeMedia, name: str) -> None:
    path = media(name)
    with PyavDecoder(path) as decoder:
        assert len(decoder.table) == MEDIA[name].num_pictures
        check(decoder, path, list(range(len(decoder.table))))


@pytest.mark.parametrize("name", ALL_WHOLE)
def test_every_picture_alone_by_one_decoder(media: MakeMedia, name: str) -> None:
    path = media(name)
    ranks = list(range(MEDIA[name].num_pictures))
    random.Random(0).shuffle(ranks)
    with PyavDecoder(path) as decoder:
        for rank in ranks[:60]:
            check(decoder, path, [rank])


@pytest.mark.parametrize(
    "name", ["hevc", "hevc_mkv", "hevc_gap", "hevc_fragments", "h264", "h264_open_gop"]
)
def test_pictures_around_keyframes_alone_after_a_seek(media: MakeMedia, name: str) -> None:
    path = media(name)
    table = read_frame_table(path)
    assert len(table.keyframe_ranks) >= 4
    for keyframe in table.keyframe_ranks[1:].tolist():
        for rank in range(keyframe - 4, keyframe + 3):
            with PyavDecoder(path, table=table) as decoder:
                check(decoder, path, [rank])


@pytest.mark.parametrize("name", ["hevc", "hevc_mkv", "hevc_short_gops", "h264_open_gop", "av1"])
@pytest.mark.parametrize("step", [2, 7, 45, 110])
def test_strided_sets(media: MakeMedia, name: str, step: int) -> None:
    path = media(name)
    with PyavDecoder(path) as decoder:
        for first in (0, 1, step - 1):
            check(decoder, path, list(range(first, len(decoder.table), step)))


@pytest.mark.parametrize("seed", range(4))
def test_sparse_sets_and_broken_off_iterations(media: MakeMedia, seed: int) -> None:
    choice = random.Random(seed)
    path = media("hevc")
    with PyavDecoder(path) as decoder:
        for _ in range(4):
            ranks = sorted(choice.sample(range(150), 12))
            iteration = decoder.pictures(ranks)
            for rank in ranks[: choice.randrange(12)]:
                assert next(iteration)[0] == rank
            check(decoder, path, ranks)


def test_interleaved_iterations_are_exact(media: MakeMedia) -> None:
    with PyavDecoder(media("hevc")) as decoder:
        first, second = decoder.pictures(range(30, 50)), decoder.pictures(range(100, 120))
        for (rank, picture), (later, other) in zip(first, second, strict=True):
            assert (read_number(picture), read_number(other)) == (rank, later)


def test_starts_only_where_a_whole_gop_is_skipped(
    media: MakeMedia, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media("hevc")  # keyframes 0, 40, 53, 93, 106, 146
    with count_starts(monkeypatch) as starts, PyavDecoder(path) as decoder:
        check(decoder, path, [3, 39, 40, 52, 95])
        assert starts == [0, 3]  # on from 0 to 1; from 40's GOP past 53's to 93
        check(decoder, path, [96, 107])
        assert starts == [0, 3]  # a later call goes on
        check(decoder, path, [107])
        assert starts == [0, 3, 4]  # no way back but a start
        check(decoder, path, [149])
        assert starts == [0, 3, 4]


def test_rows_are_views_and_read_only(media: MakeMedia) -> None:
    with PyavDecoder(media("hevc")) as decoder:
        for _, picture in decoder.pictures([5]):
            assert picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
            assert picture.dtype == np.uint8
            assert picture.strides[1:] == (3, 1)
            assert not picture.flags.writeable


def test_widths_that_libav_pads(tmp_path: Path) -> None:
    path = tmp_path / "padded.mkv"
    command = "ffmpeg -v error -f lavfi -i testsrc2=s=174x92:d=0.2 -c:v libx264 -pix_fmt yuv420p"
    subprocess.run([*command.split(), str(path)], check=True)
    expected = list(sequential(path).values())
    with PyavDecoder(path) as decoder:
        pictures = [picture.copy() for _, picture in decoder.pictures(range(5))]
    assert len(pictures) == len(expected) == 5
    assert pictures[0].shape == (92, 174, 3)
    assert all(np.array_equal(*pair) for pair in zip(pictures, expected, strict=True))


def cli_yuv420p(
    path: Path, stream: int, ranks: list[int], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """``(n, H * 3 / 2, W)`` uint8 planes of the pictures, as the command line decodes them."""
    select = "+".join(rf"eq(n\,{rank})" for rank in ranks)
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), "-map", f"0:{stream}"]
    command += ["-vf", f"select={select}", "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(len(ranks), shape[0] * 3 // 2, shape[1])


def test_a_real_film_is_what_the_command_line_decodes() -> None:
    require_nasa()
    ranks = [0, 1, 37, 100, 236, 237, 238, 239, 240, 241, 300, 389]
    planes = cli_yuv420p(NASA_MP4, 3, ranks, (270, 480))
    with PyavDecoder(NASA_MP4) as decoder:
        count = 0
        for (_, picture), plane in zip(decoder.pictures(ranks), planes, strict=True):
            frame = av.VideoFrame.from_ndarray(plane, format="yuv420p")
            frame.colorspace, frame.color_range = 1, 1  # bt709, tv, as ffprobe names them
            assert np.array_equal(picture, frame.to_ndarray(format="rgb24"))
            count += 1
        assert count == 12


def test_a_real_film_sparse_and_dense() -> None:
    require_nasa()
    with PyavDecoder(NASA_MP4) as decoder:
        check(decoder, NASA_MP4, [238, 239, 240, 388, 389])
        check(decoder, NASA_MP4, list(range(0, 390, 31)))


@pytest.mark.parametrize("landing", ["late", "refused", "far back"])
def test_a_seek_is_never_trusted(media: MakeMedia, landing: str) -> None:
    """Whatever seeks do, the pictures are right; without any good one, from the file's start."""
    path = media("hevc")
    with PyavDecoder(path) as decoder:
        assert isinstance(decoder, pyav.PyavDecoder)
        container = decoder._container

        class Astray:
            def __getattr__(self, name: str) -> object:
                return getattr(container, name)

            def seek(self, _time: int, *, stream: av.VideoStream) -> None:
                if landing == "refused":
                    raise av.error.PermissionError(1, "no seeks here")
                time = 60000 if landing == "late" else 0
                container.seek(time, stream=stream)

        decoder._container = Astray()  # type: ignore[assignment]
        check(decoder, path, [60, 62, 92])
        assert isinstance(decoder._container, Astray) == (landing == "far back")


def test_gops_shorter_than_the_reordering_delay(tmp_path: Path) -> None:
    """With a keyframe on each second picture, libav's seek by pts lands after its target."""
    path = tmp_path / "tiny_gops.mp4"
    command = (
        "ffmpeg -v error -f lavfi -i testsrc2=s=64x64:d=1 -c:v libx265 "
        "-x265-params keyint=2:min-keyint=1:bframes=1:open-gop=1:log-level=none"
    )
    subprocess.run([*command.split(), str(path)], check=True)
    expected = sequential(path)
    pts = sorted(expected)
    with PyavDecoder(path) as decoder:
        assert len(decoder.table.keyframe_ranks) >= 12
        for rank in reversed(range(len(pts))):
            ((got, picture),) = decoder.pictures([rank])
            assert got == rank
            assert np.array_equal(picture, expected[pts[rank]])


def test_pictures_that_an_edit_list_parts_from_their_keyframe_are_refused(media: MakeMedia) -> None:
    with PyavDecoder(media("hevc_clip")) as decoder:
        with pytest.raises(MediaError, match="picture 32 stands before every keyframe"):
            next(decoder.pictures([32]))
        # The clip begins at picture 60 of its source, whose next keyframe is 93.
        numbers = [read_number(picture) for _, picture in decoder.pictures([33, 34, 60, 89])]
        assert numbers == [93, 94, 120, 149]


def overwrite(path: Path, directory: Path, rank: int, *, offset: float, count: int) -> Path:
    """A copy in which bytes of one picture's packet, from a share of it on, are inverted."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.pts is not None]
        packet = sorted(packets, key=lambda p: p.pts or 0)[rank]
        assert packet.pos is not None
        start = packet.pos + int(packet.size * offset)
        stop = min(start + count, packet.pos + packet.size)
    content = bytearray(path.read_bytes())
    content[start:stop] = bytes(byte ^ 0xFF for byte in content[start:stop])
    damaged = directory / path.name
    damaged.write_bytes(content)
    return damaged


@pytest.mark.parametrize(
    ("name", "rank", "offset"),
    [
        ("h264", 53, 0.4),  # a keyframe's data
        ("h264", 40, 0.0),  # its header
        ("hevc_hashed", 20, 0.4),
        ("hevc_hashed", 33, 0.3),
        ("hevc", 93, 0.0),
    ],
)
def test_overwritten_bytes_are_an_error(
    media: MakeMedia, tmp_path: Path, name: str, rank: int, offset: float
) -> None:
    path = overwrite(media(name), tmp_path, rank, offset=offset, count=200)
    with PyavDecoder(path) as decoder:
        with pytest.raises(MediaError, match=rf"picture \D*{rank} "):
            list(decoder.pictures([rank]))
        # Other GOPs are as they were, and the decoder goes on with them.
        ((_, picture),) = decoder.pictures([rank - 8])
        assert read_number(picture) == rank - 8


def test_overwritten_headers_of_av1_are_an_error(media: MakeMedia, tmp_path: Path) -> None:
    path = overwrite(media("av1"), tmp_path, 20, offset=0.0, count=200)
    with PyavDecoder(path) as decoder:
        # dav1d tells of damage when it gets the next packet.
        with pytest.raises(MediaError, match="decoding fails at picture 21 "):
            list(decoder.pictures([20]))
        check(decoder, media("av1"), [12, 40, 41])


def test_damage_before_the_wanted_picture_in_its_gop_is_an_error(
    media: MakeMedia, tmp_path: Path
) -> None:
    path = overwrite(media("h264"), tmp_path, 53, offset=0.4, count=200)
    with PyavDecoder(path) as decoder:
        with pytest.raises(MediaError, match="picture 53 "):
            list(decoder.pictures([70]))
        with pytest.raises(MediaError, match="picture 53 "):
            list(decoder.pictures([50, 70]))


def test_a_picture_that_does_not_come_is_missing_even_if_not_wanted(
    media: MakeMedia, tmp_path: Path
) -> None:
    # A NAL unit header of an unknown kind: libav skips the picture without a word.
    path = overwrite(media("hevc"), tmp_path, 53, offset=0.0, count=8)
    with PyavDecoder(path) as decoder, pytest.raises(MediaError) as caught:
        list(decoder.pictures([60]))
    assert "picture" in str(caught.value)
    assert "53 (pts 27136)" in str(caught.value)


def with_table(path: Path, **changes: object) -> FrameTable:
    return dataclasses.replace(read_frame_table(path), **changes)  # type: ignore[arg-type]


def test_pictures_that_the_table_does_not_have_are_foreign(media: MakeMedia) -> None:
    path = media("h264")
    pts = read_frame_table(path).pts.copy()
    pts[7] += 1
    with PyavDecoder(path, table=with_table(path, pts=pts)) as decoder:
        assert [rank for rank, _ in decoder.pictures([0, 6])] == [0, 6]
        with pytest.raises(MediaError, match=r"not in the frame table; .* got 7007"):
            list(decoder.pictures([7]))


def test_a_table_of_more_pictures_than_the_file_ends_in_missing(media: MakeMedia) -> None:
    path = media("h264")
    pts = np.append(read_frame_table(path).pts, [1_000_000])
    missing = r"picture missing; expected picture 150 .* end of the stream"
    with (
        PyavDecoder(path, table=with_table(path, pts=pts)) as decoder,
        pytest.raises(MediaError, match=missing),
    ):
        list(decoder.pictures([150]))


def test_another_size_is_an_error(media: MakeMedia) -> None:
    path = media("h264")
    with (
        PyavDecoder(path, table=with_table(path, width=162)) as decoder,
        pytest.raises(MediaError, match="another size; expected 162x96, got 160x96"),
    ):
        list(decoder.pictures([0]))


@pytest.mark.parametrize("ranks", [[1, 0], [3, 3], [-1], [150], [0, 150]])
def test_ranks_that_do_not_ascend_or_do_not_exist(media: MakeMedia, ranks: list[int]) -> None:
    with PyavDecoder(media("h264")) as decoder:
        with pytest.raises(ValueError, match=r"expected ascending ones in \[0, 150\)"):
            decoder.pictures(ranks)
        assert list(decoder.pictures([])) == []


def test_a_closed_decoder_says_so(media: MakeMedia) -> None:
    decoder = PyavDecoder(media("h264"))
    pictures = decoder.pictures([0, 1])
    next(pictures)
    decoder.close()
    decoder.close()
    with pytest.raises(ValueError, match=r"decoder of h264\.mp4 is closed"):
        next(pictures)


def test_nothing_stays_open(media: MakeMedia, tmp_path: Path) -> None:
    def num_open() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    damaged = overwrite(media("h264"), tmp_path, 53, offset=0.0, count=200)
    (tmp_path / "text.mp4").write_bytes(b"text")
    before = num_open()
    for _ in range(3):
        with PyavDecoder(damaged) as decoder, pytest.raises(MediaError):
            list(decoder.pictures([0, 53]))
        with pytest.raises(MediaError):
            PyavDecoder(tmp_path / "text.mp4")
        with pytest.raises(MediaError):
            read_frame_table(NASA_MP4 if NASA_MP4.exists() else damaged, 9)
    assert num_open() == before


# 12 pictures of 16-bit codes 0 to 16383, as the depth of BEHAVIOR-1K's 2025 edition was written.
DEPTH_2025 = (
    "ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gray16le", "-video_size",
    f"{WIDTH_PX}x{HEIGHT_PX}", "-r", "30", "-i", "-", "-pix_fmt", "yuv420p10le", "-c:v", "libx265",
    "-x265-params", "lossless=1:keyint=5:log-level=none",
)  # fmt: skip


def test_codes_are_the_lumas_of_the_ffmpeg_command_line_in_full_range(tmp_path: Path) -> None:
    path = tmp_path / "depth.mp4"
    codes = np.arange(12 * HEIGHT_PX * WIDTH_PX) * 7919 % 2**14
    pictures = codes.astype("<u2").reshape(12, -1)
    subprocess.run([*DEPTH_2025, str(path)], input=pictures.tobytes(), check=True)
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "yuv420p10le"]
    raw = subprocess.run([*words, "-"], capture_output=True, check=True).stdout
    num_lumas = HEIGHT_PX * WIDTH_PX
    lumas = np.frombuffer(raw, "<u2").reshape(12, -1)[:, :num_lumas].astype(np.float64)
    assert lumas.min() == 64
    assert lumas.max() in (283, 284)  # releases of the command line round differently
    # ITU-R BT.2100: 876 steps from black, 64, to white in 10 bits; 65,535 in full range.
    expected = np.rint((lumas - 64) / 876 * 65535).reshape(12, HEIGHT_PX, WIDTH_PX)
    with PyavDecoder(path, pixel_format="gray16le") as decoder:
        got = {rank: picture.copy() for rank, picture in decoder.pictures([0, 3, 4, 5, 11])}
    for rank, picture in got.items():
        assert picture.dtype == np.uint16
        assert np.abs(picture - expected[rank]).max() <= 1
        assert np.abs(picture - expected[rank - 1]).max() > 1000
