"""The frame table against ffprobe, by both ways of reading, and its refusals."""

import json
import pickle
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from predecode.errors import MediaError
from predecode.video import packets
from predecode.video.matroska_size import promised_bytes
from predecode.video.mp4_tables import SampleTable, read_sample_table
from predecode.video.packets import FrameTable, read_frame_table
from tests.support.media import MEDIA, NASA_MP4
from tests.unit.video.reference import require_nasa

MakeMedia = Callable[[str], Path]

BY_HEADER = (
    "hevc",
    "hevc_faststart",
    "hevc_late",
    "hevc_short_gops",
    "hevc_uneven",
    "h264",
    "h264_open_gop",
    "av1",
)


def probe(path: Path, stream: str = "v:0") -> list[dict[str, str]]:
    """The stream's packets as ffprobe lists them, in decode order, without hidden ones."""
    command = ["ffprobe", "-v", "error", "-select_streams", stream, "-show_packets"]
    command += ["-show_entries", "packet=pts,dts,size,flags", "-of", "json", str(path)]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return [packet for packet in listed["packets"] if "D" not in packet["flags"]]


def no_sample_table(_path: Path, _track: int) -> None:
    """Stands for ``read_sample_table`` where the header is to be of no use."""


@pytest.mark.parametrize("name", MEDIA)
def test_pts_and_keyframes_are_those_of_ffprobe(media: MakeMedia, name: str) -> None:
    path = media(name)
    listed = sorted(probe(path), key=lambda packet: int(packet["pts"]))
    table = read_frame_table(path)
    assert len(table) == len(listed) == MEDIA[name].num_pictures
    assert table.pts.tolist() == [int(packet["pts"]) for packet in listed]
    keyframes = [rank for rank, packet in enumerate(listed) if packet["flags"][0] == "K"]
    assert table.keyframe_ranks.tolist() == keyframes
    assert (table.width, table.height, table.pix_fmt) == (160, 96, "yuv420p")
    assert table.codec_name == name.split("_")[0]
    assert table.stream_index == 0


def test_scene_cuts_put_keyframes_off_any_grid(media: MakeMedia) -> None:
    assert read_frame_table(media("hevc")).keyframe_ranks.tolist() == [0, 40, 53, 93, 106, 146]


@pytest.mark.parametrize("name", BY_HEADER)
def test_header_suffices_and_equals_content(
    media: MakeMedia, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media(name)
    with monkeypatch.context() as patch:
        patch.delattr(packets, "_packets_from_content")
        from_header = read_frame_table(path)
    with monkeypatch.context() as patch:
        patch.setattr(packets, "read_sample_table", no_sample_table)
        from_content = read_frame_table(path)
    assert from_header.digest == from_content.digest
    for field in ("pts", "keyframe_ranks", "keyframe_dts"):
        assert np.array_equal(getattr(from_header, field), getattr(from_content, field))
    assert from_header.time_base == from_content.time_base


def test_keyframe_dts_are_those_of_ffprobe(media: MakeMedia) -> None:
    keyframes = [packet for packet in probe(media("hevc")) if packet["flags"][0] == "K"]
    table = read_frame_table(media("hevc"))
    assert table.keyframe_dts.tolist() == [int(packet["dts"]) for packet in keyframes]
    assert table.keyframe_dts[1] < table.pts[table.keyframe_ranks[1]]


def test_matroska_index_goes_by_pts(media: MakeMedia) -> None:
    table = read_frame_table(media("hevc_mkv"))
    assert table.time_base == Fraction(1, 1000)
    assert np.array_equal(table.keyframe_dts, table.pts[table.keyframe_ranks])


def test_digest_tells_files_apart_and_is_stable_over_moved_headers(media: MakeMedia) -> None:
    digests = {name: read_frame_table(media(name)).digest for name in MEDIA}
    assert digests.pop("hevc_faststart") == digests["hevc"]
    # Fragments drop the edit list, as hevc_late does.
    assert digests.pop("hevc_fragments") == digests["hevc_late"]
    assert len(set(digests.values())) == len(digests)
    assert all(len(digest) == 32 for digest in digests.values())


def test_best_stream_and_chosen_streams_of_a_real_film() -> None:
    require_nasa()
    table = read_frame_table(NASA_MP4)
    assert (len(table), table.stream_index, table.width, table.height) == (390, 3, 480, 270)
    assert table.time_base == Fraction(1, 30000)
    assert table.pts.tolist() == sorted(int(p["pts"]) for p in probe(NASA_MP4, "3"))
    smaller = read_frame_table(NASA_MP4, 0)
    assert smaller.pts.tolist() == sorted(int(p["pts"]) for p in probe(NASA_MP4, "0"))
    assert (smaller.width, smaller.height) == (320, 180)
    with pytest.raises(MediaError, match=r"expected video stream 1, got 0 video, 1 audio"):
        read_frame_table(NASA_MP4, 1)
    with pytest.raises(MediaError, match="expected video stream 9"):
        read_frame_table(NASA_MP4, 9)


def table_of(pts: list[int], keyframe_ranks: list[int]) -> FrameTable:
    return FrameTable(
        pts=np.array(pts, np.int64),
        time_base=Fraction(1, 30),
        keyframe_ranks=np.array(keyframe_ranks, np.int64),
        keyframe_dts=np.array(keyframe_ranks, np.int64),
        stream_index=0,
        width=2,
        height=2,
        codec_name="hevc",
        pix_fmt="yuv420p",
        digest="0" * 32,
    )


@pytest.mark.parametrize(
    ("rank", "position"),
    [(0, 0), (39, 0), (40, 1), (41, 1), (52, 1), (53, 2), (99, 2)],
)
def test_governing_keyframe_is_the_last_at_or_before(rank: int, position: int) -> None:
    assert table_of(list(range(100)), [0, 40, 53]).governing_keyframe(rank) == position


def test_governing_keyframe_refuses_pictures_before_all_keyframes() -> None:
    table = table_of(list(range(10)), [3])
    assert table.governing_keyframe(3) == 0
    with pytest.raises(MediaError, match="picture 2 stands before every keyframe"):
        table.governing_keyframe(2)
    with pytest.raises(MediaError, match="got no keyframe"):
        table_of([0, 1], []).governing_keyframe(1)


def test_rank_of_is_exact_at_large_and_negative_pts() -> None:
    pts = [-1001, 0, 1001, 1_700_000_000_000_000_001, 1_700_000_000_000_000_002]
    table = table_of(pts, [0])
    assert [table.rank_of(value) for value in pts] == [0, 1, 2, 3, 4]
    absent = [-1002, 1, 1000, 1_700_000_000_000_000_000, 1_700_000_000_000_000_003]
    assert [table.rank_of(value) for value in absent] == [None] * 5


def test_tables_are_read_only(media: MakeMedia) -> None:
    with pytest.raises(ValueError, match="read-only"):
        read_frame_table(media("hevc")).pts[0] = 1


def cut(path: Path, directory: Path, share: float) -> Path:
    content = path.read_bytes()
    shorter = directory / path.name
    shorter.write_bytes(content[: int(len(content) * share)])
    return shorter


@pytest.mark.parametrize("name", ["hevc_faststart", "h264", "hevc_mkv", "hevc_fragments"])
def test_file_cut_short_names_both_lengths(media: MakeMedia, tmp_path: Path, name: str) -> None:
    shorter = cut(media(name), tmp_path, 0.7)
    with pytest.raises(MediaError, match="file is cut short") as caught:
        read_frame_table(shorter)
    _, expected, got = caught.value.args
    assert got == f"{shorter.stat().st_size} bytes"
    assert shorter.stat().st_size < int(expected.split()[0]) <= media(name).stat().st_size


def test_one_missing_byte_is_found(media: MakeMedia, tmp_path: Path) -> None:
    content = media("hevc_faststart").read_bytes()
    shorter = tmp_path / "shorter.mp4"
    shorter.write_bytes(content[:-1])
    expected = f"expected {len(content)} bytes by its own header, got {len(content) - 1} bytes"
    with pytest.raises(MediaError, match=expected):
        read_frame_table(shorter)


def test_file_cut_before_its_header_cannot_be_opened(media: MakeMedia, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="file cannot be opened") as caught:
        read_frame_table(cut(media("hevc"), tmp_path, 0.7))
    assert caught.value.__cause__ is not None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no video", b"\0" * 1000])
def test_other_files_cannot_be_opened(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a:b.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match="file cannot be opened"):
        read_frame_table(path)
    with pytest.raises(MediaError, match="No such file"):
        read_frame_table(tmp_path / "absent.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=d=0.1", str(path)]
    subprocess.run(command, check=True)
    with pytest.raises(MediaError, match="expected a video stream, got 0 audio"):
        read_frame_table(path)


def edit_box(
    path: Path, directory: Path, kind: bytes, edit: Callable[[bytearray, int], None]
) -> Path:
    """A copy of the file with one box changed; ``edit`` gets all bytes and where the box begins."""
    content = bytearray(path.read_bytes())
    assert content.count(kind) == 1
    edit(content, content.index(kind) + 4)
    changed = directory / path.name
    changed.write_bytes(content)
    return changed


def test_duplicate_pts_are_refused(media: MakeMedia, tmp_path: Path) -> None:
    def no_first_step(content: bytearray, start: int) -> None:
        # One row: 60 samples of 512 ticks each, which become 0 ticks.
        content[start + 12 : start + 16] = bytes(4)

    path = edit_box(media("hevc_short_gops"), tmp_path, b"stts", no_first_step)
    with pytest.raises(MediaError, match="two packets have the same pts"):
        read_frame_table(path)


def test_sample_table_that_contradicts_libav_is_not_believed(
    media: MakeMedia, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media("hevc")
    true = read_frame_table(path)
    genuine = read_sample_table(path, 0)
    assert genuine is not None
    for field in ("dts", "pts", "size", "position", "is_keyframe"):
        array = getattr(genuine, field).copy()
        array[0] = not array[0] if array.dtype == bool else array[0] + 1
        forged = SampleTable(**{**vars(genuine), field: array})
        monkeypatch.setattr(packets, "read_sample_table", lambda _path, _track, t=forged: t)
        assert read_frame_table(path).digest == true.digest


def test_matroska_length_is_that_of_the_file(media: MakeMedia, tmp_path: Path) -> None:
    path = media("hevc_mkv")
    assert promised_bytes(path) == path.stat().st_size
    assert promised_bytes(media("hevc")) is None
    for size in range(60):
        short = tmp_path / "short.mkv"
        short.write_bytes(path.read_bytes()[:size])
        assert promised_bytes(short) in (None, path.stat().st_size)
