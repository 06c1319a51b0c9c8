"""torchcodec and video_reader against painted numbers and a plain sequential decode."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predecode.errors import MediaError
from predecode.video import video_reader
from predecode.video.backends import load_backend
from predecode.video.packets import FrameTable, read_frame_table
from tests.support.backends import DEBIAN_PYTHON, PYTHONS, loaded, require
from tests.support.media import MEDIA, NASA_MP4, read_number
from tests.unit.video.reference import check, require_nasa, sequential

pytestmark = pytest.mark.slow

MakeMedia = Callable[[str], Path]

FOREIGN = ("torchcodec", "video_reader")
WHOLE = [name for name in MEDIA if name != "hevc_clip"]


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("backend", FOREIGN)
def test_all_pictures_in_a_row(media: MakeMedia, backend: str, name: str) -> None:
    path = media(name)
    with loaded(backend)(path, None) as decoder:
        assert len(decoder.table) == MEDIA[name].num_pictures
        check(decoder, path, list(range(len(decoder.table))))


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("backend", FOREIGN)
def test_every_picture_alone_by_one_decoder(media: MakeMedia, backend: str, name: str) -> None:
    path = media(name)
    ranks = list(range(MEDIA[name].num_pictures))
    random.Random(0).shuffle(ranks)
    with loaded(backend)(path, None) as decoder:
        for rank in [*ranks[:60], len(ranks) - 1]:
            check(decoder, path, [rank])


@pytest.mark.parametrize("name", ["hevc", "hevc_gap", "hevc_late", "h264_open_gop"])
@pytest.mark.parametrize("backend", FOREIGN)
def test_pictures_around_keyframes_alone_after_a_seek(
    media: MakeMedia, backend: str, name: str
) -> None:
    path = media(name)
    table = read_frame_table(path)
    assert table.keyframe_ranks.tolist() == [0, 40, 53, 93, 106, 146]
    for keyframe in (40, 53, 146):
        for rank in range(keyframe - 4, keyframe + 3):
            with loaded(backend)(path, table) as decoder:
                check(decoder, path, [rank])


@pytest.mark.parametrize("backend", FOREIGN)
def test_strided_sets_and_broken_off_iterations(media: MakeMedia, backend: str) -> None:
    path = media("hevc")
    with loaded(backend)(path, None) as decoder:
        for step in (2, 7, 45):
            check(decoder, path, list(range(step - 1, 150, step)))
        iteration = decoder.pictures([20, 21, 95])
        assert next(iteration)[0] == 20
        first, second = decoder.pictures(range(30, 40)), decoder.pictures(range(100, 110))
        for (rank, picture), (later, other) in zip(first, second, strict=True):
            assert (rank, later) == (rank, rank + 70)
            assert read_number(other) == later
            del picture  # valid until the next step of either iteration


@pytest.mark.parametrize("backend", FOREIGN)
def test_video_reader_knows_no_colour_matrix_and_torchcodec_does(backend: str) -> None:
    """A film in BT.709: the one difference in colour between the three."""
    require_nasa()
    expected = sequential(NASA_MP4)
    pts = sorted(expected)
    ranks = [0, 100, 238, 389]
    with loaded(backend)(NASA_MP4, None) as decoder:
        pictures = {rank: picture.copy() for rank, picture in decoder.pictures(ranks)}
    assert list(pictures) == ranks
    distances = [
        int(np.abs(pictures[r].astype(int) - expected[pts[r]]).max(initial=0)) for r in ranks
    ]
    if backend == "torchcodec":
        assert distances == [0] * 4
    else:
        assert 0 < max(distances) <= 40


@pytest.mark.parametrize("backend", FOREIGN)
def test_gops_shorter_than_the_reordering_delay(tmp_path: Path, backend: str) -> None:
    """With a keyframe on each second picture, FFmpeg's seek by pts lands after its target."""
    path = tmp_path / "tiny_gops.mp4"
    command = (
        "ffmpeg -v error -f lavfi -i testsrc2=s=64x64:d=1 -c:v libx265 "
        "-x265-params keyint=2:min-keyint=1:bframes=1:open-gop=1:log-level=none"
    )
    subprocess.run([*command.split(), str(path)], check=True)
    expected = sequential(path)
    pts = sorted(expected)
    with loaded(backend)(path, None) as decoder:
        assert len(decoder.table.keyframe_ranks) >= 12
        for rank in reversed(range(len(pts))):
            ((got, picture),) = decoder.pictures([rank])
            assert got == rank
            assert np.array_equal(picture, expected[pts[rank]])


def test_widths_that_are_no_multiple_of_a_block(tmp_path: Path) -> None:
    path = tmp_path / "odd.mkv"
    command = "ffmpeg -v error -f lavfi -i testsrc2=s=174x92:d=0.2 -c:v libx264 -pix_fmt yuv420p"
    subprocess.run([*command.split(), str(path)], check=True)
    expected = list(sequential(path).values())
    with loaded("torchcodec")(path, None) as decoder:
        pictures = [picture.copy() for _, picture in decoder.pictures(range(5))]
    assert [p.shape for p in pictures] == [(92, 174, 3)] * 5
    assert all(np.array_equal(*pair) for pair in zip(pictures, expected, strict=True))
    with pytest.raises(MediaError, match="safely; expected a multiple of 16 pixels, got 174"):
        loaded("video_reader")(path, None)


@pytest.mark.parametrize("landing", ["late", "refused", "far back"])
def test_a_seek_of_video_reader_is_never_trusted(
    media: MakeMedia, monkeypatch: pytest.MonkeyPatch, landing: str
) -> None:
    path = media("hevc")
    with loaded("video_reader")(path, None) as decoder:
        assert isinstance(decoder, video_reader.VideoReaderDecoder)
        genuine = decoder._ask

        def astray(do: str, **arguments: Any) -> Any:
            if do == "seek":
                if landing == "refused":
                    raise MediaError("video_reader fails to seek", "a picture", "no seeks here")
                arguments["time_s"] = 4.0 if landing == "late" else 0.0
            return genuine(do, **arguments)

        monkeypatch.setattr(decoder, "_ask", astray)
        check(decoder, path, [60, 62, 92])


# --- a wrong picture is an error ------------------------------------------------------------------


def with_table(path: Path, **changes: Any) -> FrameTable:
    return dataclasses.replace(read_frame_table(path), **changes)


@pytest.mark.parametrize("backend", FOREIGN)
def test_a_picture_with_another_time_than_the_table_s_is_an_error(
    media: MakeMedia, backend: str
) -> None:
    path = media("hevc")
    pts = read_frame_table(path).pts.copy()
    pts[7] += 1
    with loaded(backend)(path, with_table(path, pts=pts)) as decoder:
        assert [rank for rank, _ in decoder.pictures([0, 6])] == [0, 6]
        with pytest.raises(MediaError, match="another picture|not in the frame table"):
            list(decoder.pictures([7]))


@pytest.mark.parametrize("backend", FOREIGN)
def test_a_picture_of_another_rank_is_an_error(media: MakeMedia, backend: str) -> None:
    path = media("hevc")
    table = read_frame_table(path)
    keyframes = table.keyframe_ranks - np.array([0, 1, 1, 1, 1, 1])
    shifted = with_table(path, pts=np.delete(table.pts, 20), keyframe_ranks=keyframes)
    with (
        loaded(backend)(path, shifted) as decoder,
        pytest.raises(MediaError, match="another picture|not in the frame table"),
    ):
        list(decoder.pictures([19, 20]))


@pytest.mark.parametrize("backend", FOREIGN)
def test_pictures_that_an_edit_list_hides_move_no_other(media: MakeMedia, backend: str) -> None:
    """torchcodec counts them, so that its positions are off; not one wrong picture comes out."""
    with loaded(backend)(media("hevc_clip"), None) as decoder:
        if backend == "torchcodec":
            with pytest.raises(MediaError, match="another picture; .* got picture 33"):
                next(decoder.pictures([0]))
        else:
            with pytest.raises(MediaError, match="picture 32 stands before every keyframe"):
                next(decoder.pictures([32]))
            numbers = [read_number(picture) for _, picture in decoder.pictures([33, 60, 89])]
            assert numbers == [93, 120, 149]  # the clip begins at picture 60 of its source


@pytest.mark.parametrize("backend", FOREIGN)
def test_another_size_is_an_error(media: MakeMedia, backend: str) -> None:
    path = media("h264")
    with (
        loaded(backend)(path, with_table(path, width=176)) as decoder,
        pytest.raises(MediaError, match="another size; expected 176x96, got 160x96"),
    ):
        list(decoder.pictures([0]))


@pytest.mark.parametrize("backend", FOREIGN)
def test_a_table_of_more_pictures_than_the_file_is_an_error(media: MakeMedia, backend: str) -> None:
    path = media("h264")
    pts = np.append(read_frame_table(path).pts, [1_000_000])
    with (
        loaded(backend)(path, with_table(path, pts=pts)) as decoder,
        pytest.raises(MediaError, match="picture 150 "),
    ):
        list(decoder.pictures([150]))


@pytest.mark.parametrize("backend", FOREIGN)
def test_a_file_that_is_no_video_is_an_error(
    media: MakeMedia, tmp_path: Path, backend: str
) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(b"text" * 1000)
    with pytest.raises(MediaError, match="cannot open|picture missing"):
        list(loaded(backend)(path, read_frame_table(media("h264"))).pictures([0]))


@pytest.mark.parametrize("backend", FOREIGN)
def test_a_closed_decoder_says_so(media: MakeMedia, backend: str) -> None:
    decoder = loaded(backend)(media("h264"), None)
    pictures = decoder.pictures([0, 1])
    next(pictures)
    decoder.close()
    decoder.close()
    with pytest.raises(ValueError, match=r"decoder of h264\.mp4 is closed"):
        next(pictures)


# --- the worker of video_reader -------------------------------------------------------------------


def test_one_worker_serves_all_files_of_a_process(media: MakeMedia) -> None:
    open_file = loaded("video_reader")
    with open_file(media("hevc"), None) as first, open_file(media("h264"), None) as second:
        for rank in (3, 80, 81):
            for decoder in (first, second):
                ((_, picture),) = decoder.pictures([rank])
                assert read_number(picture) == rank
        assert isinstance(first, video_reader.VideoReaderDecoder)
        assert isinstance(second, video_reader.VideoReaderDecoder)
        assert first._worker is second._worker


def test_a_crashed_worker_is_an_error_and_another_one_starts(media: MakeMedia) -> None:
    open_file = loaded("video_reader")
    decoder = open_file(media("hevc"), None)
    assert isinstance(decoder, video_reader.VideoReaderDecoder)
    worker = decoder._worker
    os.kill(worker._process.pid, signal.SIGSEGV)
    worker._process.wait()
    with pytest.raises(MediaError, match="video_reader fails to .* the worker has ended"):
        list(decoder.pictures([60]))
    decoder.close()
    with open_file(media("hevc"), None) as again:
        check(again, media("hevc"), [60])


def test_a_worker_ends_with_its_parent(media: MakeMedia) -> None:
    require("video_reader")
    script = (
        "import sys; from pathlib import Path; from predecode.video import video_reader, backends\n"
        "open_file = backends.load_backend('video_reader', {'video_reader': sys.argv[2]})\n"
        "decoder = open_file(Path(sys.argv[1]), None)\n"
        "next(decoder.pictures([3]))\n"
        "print(decoder._worker._process.pid)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(media("h264")), DEBIAN_PYTHON],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert not Path(f"/proc/{int(done.stdout)}").exists()
    assert done.stderr == ""


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12 on
def test_a_fork_has_a_worker_of_its_own(media: MakeMedia) -> None:
    path = media("h264")
    with loaded("video_reader")(path, None) as decoder:
        check(decoder, path, [5])
        sequential(path)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                # the parent's: neither must reach its worker
                decoder.close()
                decoder._worker._stop()  # type: ignore[attr-defined]
                with load_backend("video_reader", PYTHONS)(path, None) as own:
                    check(own, path, [70])
                    assert isinstance(own, video_reader.VideoReaderDecoder)
                    own._worker._stop()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        check(decoder, path, [6, 90])
