"""The mp4 reader against ffprobe, against tables written by hand, and against broken ones."""

import itertools
import json
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predecode.video.mp4_tables import SampleTable, read_sample_table
from tests.support.media import NASA_MP4
from tests.unit.video.reference import require_nasa

MakeMedia = Callable[[str], Path]


def box(kind: str, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind.encode()) + content


def table_box(
    kind: str, rows: list[tuple[int, ...]], *, version: int = 0, format: str = "I"
) -> bytes:
    """A box of version and flags, count and rows of big-endian numbers."""
    numbers = list(itertools.chain.from_iterable(rows))
    return box(
        kind,
        struct.pack(">B3xI", version, len(rows)),
        struct.pack(f">{len(numbers)}{format}", *numbers),
    )


@dataclass(frozen=True)
class Mp4:
    """A file of five samples in two chunks, of 100, 20, 30, 90 and 10 bytes, built box by box."""

    stts: bytes = table_box("stts", [(4, 512), (1, 300)])
    ctts: bytes = table_box("ctts", [(1, 1024), (1, 2048), (2, 512), (1, 1024)])
    stss: bytes = table_box("stss", [(1,), (4,)])
    stsz: bytes = box("stsz", struct.pack(">IIIIIIII", 0, 0, 5, 100, 20, 30, 90, 10))
    stsc: bytes = table_box("stsc", [(1, 3, 1), (2, 2, 1)])
    stco: bytes = table_box("stco", [(1000,), (5000,)])
    stsd: bytes = table_box("stsd", [(0,)])
    edts: bytes = box("edts", box("elst", struct.pack(">IIIiI", 0, 1, 200, 1024, 1 << 16)))
    mdhd: bytes = box("mdhd", struct.pack(">IIIIII", 0, 0, 0, 15360, 2348, 0))
    hdlr: bytes = box("hdlr", struct.pack(">II4s12x", 0, 0, b"vide"))
    mvhd: bytes = box("mvhd", struct.pack(">IIIII80x", 0, 0, 0, 1000, 200))
    more: bytes = b""
    before: bytes = box("ftyp", b"isom0000") + box("mdat", bytes(6000))

    def stbl(self) -> bytes:
        boxes = (self.stsd, self.stts, self.ctts, self.stss, self.stsz, self.stsc, self.stco)
        return box("stbl", *boxes)

    def trak(self) -> bytes:
        media = box("mdia", self.mdhd, self.hdlr, box("minf", self.stbl()))
        return box("trak", self.edts, media)

    def moov(self) -> bytes:
        return box("moov", self.mvhd, self.trak(), self.more)

    def content(self) -> bytes:
        return self.before + self.moov()


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], SampleTable | None]:
    def read_content(content: bytes, track: int = 0) -> SampleTable | None:
        path = tmp_path / "file.mp4"
        path.write_bytes(content)
        return read_sample_table(path, track)

    return read_content


Read = Callable[[bytes], SampleTable | None]


def check(table: SampleTable | None) -> None:
    """That a table is the one of ``Mp4``, by literal numbers."""
    assert table is not None
    assert table.timescale == 15360
    assert table.dts.tolist() == [0, 512, 1024, 1536, 2048]
    assert table.pts.tolist() == [0, 1536, 512, 1024, 2048]
    assert table.size.tolist() == [100, 20, 30, 90, 10]
    assert table.position.tolist() == [1000, 1100, 1120, 5000, 5090]
    assert table.is_keyframe.tolist() == [True, False, False, True, False]


def wide(kind: bytes, content: bytes) -> bytes:
    """The box of that type with a 64-bit size."""
    start = content.index(kind) - 4
    (size,) = struct.unpack_from(">I", content, start)
    header = struct.pack(">I4sQ", 1, kind, size + 8)
    return content[:start] + header + content[start + 8 : start + size] + content[start + size :]


@pytest.mark.parametrize(
    "content",
    [
        Mp4().content(),
        Mp4(before=b"").moov() + Mp4().before,  # the header first
        wide(b"mdat", Mp4().content()),
        wide(b"moov", Mp4().content()),
        # The last box may leave its size to the end of the file.
        Mp4().before + struct.pack(">I", 0) + Mp4().moov()[4:],
        replace(Mp4(), stco=table_box("co64", [(1000,), (5000,)], format="Q")).content(),
        # Versions 1: 64-bit times, signed offsets.
        replace(
            Mp4(), mdhd=box("mdhd", struct.pack(">IQQIQI", 1 << 24, 0, 0, 15360, 2348, 0))
        ).content(),
        replace(
            Mp4(), mvhd=box("mvhd", struct.pack(">IQQIQ80x", 1 << 24, 0, 0, 1000, 200))
        ).content(),
        replace(
            Mp4(),
            edts=box("edts", box("elst", struct.pack(">IIQqI", 1 << 24, 1, 200, 1024, 1 << 16))),
        ).content(),
        replace(
            Mp4(),
            ctts=table_box("ctts", [(1, 0), (1, 1024), (2, -512), (1, 0)], version=1, format="i"),
            edts=b"",
        ).content(),
    ],
)
def test_one_file_in_all_its_spellings(read: Read, content: bytes) -> None:
    check(read(content))


def test_absent_optional_tables(read: Read) -> None:
    table = read(replace(Mp4(), stss=b"", ctts=b"", edts=b"").content())
    assert table is not None
    assert table.is_keyframe.tolist() == [True] * 5
    assert table.pts.tolist() == table.dts.tolist() == [0, 512, 1024, 1536, 2048]
    late = read(replace(Mp4(), edts=b"").content())
    assert late is not None
    assert late.pts.tolist() == [1024, 2560, 1536, 2048, 3072]


def test_constant_size(read: Read) -> None:
    table = read(replace(Mp4(), stsz=box("stsz", struct.pack(">III", 0, 70, 5))).content())
    assert table is not None
    assert table.size.tolist() == [70] * 5
    assert table.position.tolist() == [1000, 1070, 1140, 5000, 5070]


def test_positions_past_the_end_are_told_as_they_stand(read: Read) -> None:
    table = read(replace(Mp4(), stco=table_box("stco", [(1000,), (500_000,)])).content())
    assert table is not None
    assert table.position.tolist()[-1] == 500_090


def elst(*edits: tuple[int, int, int]) -> bytes:
    rows = b"".join(struct.pack(">IiI", *edit) for edit in edits)
    return box("edts", box("elst", struct.pack(">II", 0, len(edits)), rows))


ONE = 1 << 16


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty file"),
        pytest.param(Mp4().before, id="no moov"),
        pytest.param(Mp4().before + box("moof", bytes(8)) + Mp4().moov(), id="fragments"),
        pytest.param(replace(Mp4(), more=box("mvex")).content(), id="fragments to come"),
        pytest.param(replace(Mp4(), edts=elst()).content(), id="no edit"),
        pytest.param(replace(Mp4(), edts=elst((200, -1, ONE))).content(), id="gap"),
        pytest.param(
            replace(Mp4(), edts=elst((9, -1, ONE), (200, 1024, ONE))).content(), id="gap before"
        ),
        pytest.param(
            replace(Mp4(), edts=elst((99, 1024, ONE), (99, 1024, ONE))).content(), id="two edits"
        ),
        pytest.param(replace(Mp4(), edts=elst((200, 1024, ONE // 2))).content(), id="half speed"),
        pytest.param(replace(Mp4(), edts=elst((200, 1025, ONE))).content(), id="cuts the start"),
        # The last picture is shown at 2048 / 15360 s = 133.3 ms.
        pytest.param(replace(Mp4(), edts=elst((133, 1024, ONE))).content(), id="cuts the end"),
        pytest.param(
            replace(Mp4(), stsd=table_box("stsd", [(0,), (0,)])).content(), id="two descriptions"
        ),
        pytest.param(
            replace(Mp4(), hdlr=box("hdlr", struct.pack(">II4s12x", 0, 0, b"soun"))).content(),
            id="sound",
        ),
        pytest.param(replace(Mp4(), stts=table_box("stts", [(4, 512)])).content(), id="short stts"),
        pytest.param(
            replace(Mp4(), stts=table_box("stts", [(5, 1 << 31)])).content(), id="negative step"
        ),
        pytest.param(replace(Mp4(), ctts=table_box("ctts", [(6, 1024)])).content(), id="long ctts"),
        pytest.param(
            replace(Mp4(), ctts=table_box("ctts", [(5, 1 << 31)])).content(), id="huge offset"
        ),
        pytest.param(replace(Mp4(), stss=table_box("stss", [])).content(), id="no keyframe"),
        pytest.param(replace(Mp4(), stss=table_box("stss", [(0,)])).content(), id="keyframe 0"),
        pytest.param(replace(Mp4(), stss=table_box("stss", [(6,)])).content(), id="keyframe 6"),
        pytest.param(
            replace(Mp4(), stsc=table_box("stsc", [(1, 3, 1)])).content(), id="chunks too long"
        ),
        pytest.param(
            replace(Mp4(), stsc=table_box("stsc", [(2, 3, 1), (1, 2, 1)])).content(),
            id="chunks out of order",
        ),
        pytest.param(
            replace(Mp4(), stsc=table_box("stsc", [(1, 5, 1), (2, 0, 1)])).content(),
            id="empty chunk",
        ),
        pytest.param(replace(Mp4(), stsc=table_box("stsc", [])).content(), id="no runs of chunks"),
        pytest.param(replace(Mp4(), stco=table_box("stco", [])).content(), id="no chunks"),
        pytest.param(
            replace(Mp4(), stco=table_box("co64", [(1,), (1 << 63,)], format="Q")).content(),
            id="position beyond int64",
        ),
        pytest.param(
            replace(Mp4(), stsz=box("stsz", struct.pack(">III", 0, 0, 0))).content(),
            id="no samples",
        ),
        # Claims that no byte of the file backs: 4 G samples, of 64 GiB by their sizes.
        pytest.param(
            replace(Mp4(), stsz=box("stsz", struct.pack(">III", 0, 0, 0xFFFFFFFF))).content(),
            id="4 G sizes",
        ),
        pytest.param(
            replace(
                Mp4(),
                stsz=box("stsz", struct.pack(">III", 0, 64, 0xFFFFFFFF)),
                stts=table_box("stts", [(0xFFFFFFFF, 1)]),
                ctts=b"",
                stco=table_box("stco", [(0,)]),
                stsc=table_box("stsc", [(1, 0xFFFFFFFF, 1)]),
            ).content(),
            id="4 G samples of one size",
        ),
        pytest.param(
            replace(Mp4(), stts=table_box("stts", [(0xFFFFFFFF, 1)] * 9)).content(), id="36 G runs"
        ),
        pytest.param(
            replace(Mp4(), mdhd=box("mdhd", struct.pack(">IIIIII", 0, 0, 0, 0, 0, 0))).content(),
            id="timescale 0",
        ),
        pytest.param(Mp4().content()[:-1], id="moov cut"),
        pytest.param(Mp4().before + Mp4().stbl(), id="boxes in the wrong place"),
        pytest.param(replace(Mp4(), more=box("mvhd", bytes(100))).content(), id="mvhd twice"),
        pytest.param(struct.pack(">I4s", 7, b"free") * 3, id="box smaller than its header"),
        pytest.param(struct.pack(">I4s", 8, b"free") * 100_000 + Mp4().moov(), id="100,000 boxes"),
        pytest.param(
            replace(Mp4(), more=struct.pack(">I4s", 8, b"free") * 100_000).content(),
            id="100,000 boxes inside",
        ),
    ],
)
def test_what_is_not_plain_is_left_alone(read: Read, content: bytes) -> None:
    assert read(content) is None


@pytest.mark.parametrize("track", [-1, 1, 1000])
def test_absent_track(tmp_path: Path, track: int) -> None:
    path = tmp_path / "file.mp4"
    path.write_bytes(Mp4().content())
    assert read_sample_table(path, 0) is not None
    assert read_sample_table(path, track) is None


@pytest.mark.parametrize(
    "name", ["hevc", "hevc_faststart", "hevc_late", "hevc_uneven", "h264", "h264_open_gop", "av1"]
)
def test_tables_are_those_of_ffprobe(media: Callable[[str], Path], name: str) -> None:
    check_against_ffprobe(media(name), 0)


@pytest.mark.parametrize("name", ["hevc_fragments", "hevc_gap", "hevc_clip", "hevc_mkv"])
def test_real_files_that_are_not_plain(media: Callable[[str], Path], name: str) -> None:
    assert read_sample_table(media(name), 0) is None


def test_tracks_count_as_libav_streams() -> None:
    require_nasa()
    check_against_ffprobe(NASA_MP4, 0)
    check_against_ffprobe(NASA_MP4, 3)
    assert [read_sample_table(NASA_MP4, track) for track in (1, 2, 4, 5)] == [None] * 4


def check_against_ffprobe(path: Path, stream: int) -> None:
    command = ["ffprobe", "-v", "error", "-select_streams", str(stream), "-show_packets"]
    command += ["-show_entries", "packet=pts,dts,size,pos,flags", "-of", "json", str(path)]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packets"]
    table = read_sample_table(path, stream)
    assert table is not None
    assert len(table.pts) == len(listed) > 0
    assert table.pts.tolist() == [int(packet["pts"]) for packet in listed]
    first = int(listed[0]["dts"])
    assert table.dts.tolist() == [int(packet["dts"]) - first for packet in listed]
    assert table.size.tolist() == [int(packet["size"]) for packet in listed]
    assert table.position.tolist() == [int(packet["pos"]) for packet in listed]
    assert table.is_keyframe.tolist() == [packet["flags"][0] == "K" for packet in listed]


SMALL = replace(Mp4(), before=box("ftyp", b"isom0000")).content()


@settings(max_examples=400, deadline=1000, derandomize=True, database=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=6
    ),
    st.integers(0, len(SMALL)),
    st.integers(0, 3),
)
def test_changed_bytes_never_raise(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[int, int]],
    length: int,
    track: int,
) -> None:
    content = bytearray(SMALL)
    for at, value in changes:
        content[at] = value
    path = tmp_path_factory.getbasetemp() / "mutated.mp4"
    for variant in (content, content[:length]):
        path.write_bytes(variant)
        for wanted in (0, track):
            table = read_sample_table(path, wanted)
            if table is not None:
                sizes = {len(array) for array in vars(table).values() if np.ndim(array)}
                assert len(sizes) == 1
                assert 0 < sizes.pop() <= len(content)


@settings(max_examples=300, deadline=1000, derandomize=True, database=None)
@given(
    st.integers(0, len(SMALL) // 4 - 1),
    st.sampled_from([0, 1, 2, 7, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8, len(SMALL)]),
    st.integers(0, 3),
)
def test_extreme_numbers_never_raise(
    tmp_path_factory: pytest.TempPathFactory, word: int, value: int, shift: int
) -> None:
    content = bytearray(SMALL)
    content[word * 4 + shift : word * 4 + shift + 4] = struct.pack(">I", value)
    path = tmp_path_factory.getbasetemp() / "extreme.mp4"
    path.write_bytes(content)
    table = read_sample_table(path, 0)
    assert table is None or 0 < len(table.pts) <= len(content)


def test_hundred_thousand_samples(read: Read) -> None:
    count = 100_000
    table = read(
        replace(
            Mp4(),
            stts=table_box("stts", [(count, 512)]),
            ctts=table_box("ctts", [(1, 1024 * (n % 2)) for n in range(count)]),
            stss=table_box("stss", [(n,) for n in range(1, count, 250)]),
            stsz=box("stsz", struct.pack(f">III{count}I", 0, 0, count, *range(count))),
            stsc=table_box("stsc", [(1, 10, 1)]),
            stco=table_box("stco", [(n * 1000,) for n in range(count // 10)]),
            edts=b"",
        ).content()
    )
    assert table is not None
    assert table.pts[-1] == 99_999 * 512 + 1024
    assert table.position[12345] == 1234 * 1000 + sum(range(12340, 12345))
    assert np.count_nonzero(table.is_keyframe) == 400
