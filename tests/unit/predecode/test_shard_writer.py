"""One tar: header fields by hand, tarfile and webdataset as readers, and strict listing."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.errors import DataError
from predecode.shard_writer import ShardWriter, iter_members

FIRST = ("ep00000010_f000003", [("head.jpg", b"\xff\xd8" * 350), ("json", b'{"a":1}')])
SECOND = ("ep00070010_f000000", [("head.jpg", b"x" * 512), ("json", b"")])
NAMES = [
    "ep00000010_f000003.head.jpg", "ep00000010_f000003.json",
    "ep00070010_f000000.head.jpg", "ep00070010_f000000.json",
]  # fmt: skip


def two_samples() -> bytes:
    file = io.BytesIO()
    writer = ShardWriter(file)
    writer.add(*FIRST)
    writer.add(*SECOND)
    writer.close()
    return file.getvalue()


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "b1k-train-000017.tar"
    path.write_bytes(two_samples())
    return path


def test_offsets_count_from_the_sample_s_first_header() -> None:
    writer = ShardWriter(io.BytesIO())
    # 512 header, 700 bytes padded to 1024, 512 header.
    assert writer.add(*FIRST) == (0, [512, 2048])
    # The first sample took 512 + 1024 + 512 + 512.
    assert writer.add(*SECOND) == (2560, [512, 1536])


def test_closing_tells_size_and_digests() -> None:
    file = io.BytesIO()
    writer = ShardWriter(file)
    writer.add(*FIRST)
    num_bytes, sha256, md5 = writer.close()
    data = file.getvalue()
    assert num_bytes == len(data) == 10240
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert md5 == hashlib.md5(data).hexdigest()


def test_the_bytes_of_two_samples_never_change() -> None:
    assert hashlib.sha256(two_samples()).hexdigest() == (
        "3805cb0507eb55211349b2e28d31b8facd403469fbabdd87cad3ff2e03eeb8de"
    )


def test_the_header_s_fields_read_by_hand() -> None:
    # Source: POSIX ustar: name 100, mode 8, uid 8, gid 8, size 12, mtime 12, checksum 8, type 1.
    header = two_samples()[:512]
    assert header[:100].rstrip(b"\0") == b"ep00000010_f000003.head.jpg"
    assert [header[a : a + n].rstrip(b"\0 ") for a, n in ((100, 8), (108, 8), (116, 8))] == [
        b"0000644", b"0000000", b"0000000",
    ]  # fmt: skip
    assert int(header[124:136].rstrip(b"\0 "), 8) == 700
    assert int(header[136:148].rstrip(b"\0 "), 8) == 0
    assert header[156:157] == b"0"
    assert header[257:265] == b"ustar\x0000"
    assert header[265:345].strip(b"\0") in (b"", b"0000000\x000000000")  # owners, devices
    blank = header[:148] + b" " * 8 + header[156:]
    assert int(header[148:156].rstrip(b"\0 "), 8) == sum(blank)


@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/"),
                min_size=1, max_size=95),
    num_bytes=st.integers(0, 70_000),
)  # fmt: skip
def test_every_header_is_the_one_that_tarfile_writes(key: str, num_bytes: int) -> None:
    file = io.BytesIO()
    ShardWriter(file).add(key, [("json", bytes(num_bytes))])
    info = tarfile.TarInfo(f"{key}.json")
    info.size = num_bytes
    assert file.getvalue()[:512] == info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def test_tarfile_reads_the_members(shard: Path) -> None:
    with tarfile.open(shard) as tar:
        members = tar.getmembers()
        contents = [tar.extractfile(member).read() for member in members]  # type: ignore[union-attr]
    assert [member.name for member in members] == NAMES
    assert contents == [b"\xff\xd8" * 350, b'{"a":1}', b"x" * 512, b""]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
        (0, 0, 0, "", "", 0o644)
    }
    assert not any(member.pax_headers for member in members)


@pytest.mark.filterwarnings("ignore")  # webdataset's own
def test_webdataset_reads_the_samples(shard: Path) -> None:
    import webdataset

    samples = list(webdataset.WebDataset(str(shard), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [FIRST[0], SECOND[0]]
    assert samples[0]["head.jpg"] == b"\xff\xd8" * 350
    assert samples[0]["json"] == b'{"a":1}'


def test_an_empty_tar_is_a_record_of_zeros() -> None:
    file = io.BytesIO()
    assert ShardWriter(file).close()[0] == 10240
    assert file.getvalue() == bytes(10240)


@pytest.mark.parametrize("num_bytes", [0, 1, 511, 512, 513, 8191, 8192, 20_000])
def test_the_end_is_two_zero_blocks_up_to_a_whole_record(num_bytes: int) -> None:
    file = io.BytesIO()
    writer = ShardWriter(file)
    writer.add("k", [("json", b"x" * num_bytes)])
    writer.close()
    data = file.getvalue()
    assert len(data) % 10240 == 0
    assert len(data) - len(data.rstrip(b"\0")) >= 1024
    assert len(data) < 512 + num_bytes + 512 + 1024 + 10240


@pytest.mark.parametrize("key", ["k" * 97, "ä"])
def test_a_name_that_ustar_cannot_hold_is_refused_before_it_is_written(key: str) -> None:
    file = io.BytesIO()
    with pytest.raises(ValueError, match="100 ASCII bytes|ascii"):
        ShardWriter(file).add(key, [("json", b"{}")])
    assert file.getvalue() == b""


def test_a_name_of_100_bytes_is_taken(tmp_path: Path) -> None:
    with (tmp_path / "a.tar").open("wb") as file:
        writer = ShardWriter(file)
        writer.add("k" * 95, [("json", b"{}")])
        writer.close()
    assert [member.name for member in iter_members(tmp_path / "a.tar")] == ["k" * 95 + ".json"]


# --- listing --------------------------------------------------------------------------------------


def test_listing_tells_names_and_places(shard: Path) -> None:
    assert list(iter_members(shard)) == [
        (NAMES[0], 0, 512, 700),
        (NAMES[1], 1536, 2048, 7),
        (NAMES[2], 2560, 3072, 512),
        (NAMES[3], 3584, 4096, 0),
    ]


@pytest.mark.parametrize("num_blocks", range(20))
def test_a_cut_tar_is_refused_wherever_it_is_cut(shard: Path, num_blocks: int) -> None:
    shard.write_bytes(two_samples()[: 512 * num_blocks])
    with pytest.raises(DataError, match="b1k-train-000017.tar: not a whole tar: "):
        list(iter_members(shard))


@pytest.mark.parametrize("num_bytes", [1, 511, 513, 1535, 1700, 4000, 10239])
def test_a_tar_cut_inside_a_block_is_refused(shard: Path, num_bytes: int) -> None:
    shard.write_bytes(two_samples()[:num_bytes])
    with pytest.raises(DataError, match="b1k-train-000017.tar: not a whole tar: "):
        list(iter_members(shard))


@pytest.mark.parametrize("header", [0, 1536, 2560, 3584])
@pytest.mark.parametrize("position", [0, 30, 125, 140, 150, 156, 260, 300])
def test_a_flip_in_any_header_is_refused(shard: Path, header: int, position: int) -> None:
    data = bytearray(two_samples())
    data[header + position] ^= 0x01
    shard.write_bytes(data)
    with pytest.raises(DataError, match="b1k-train-000017.tar"):
        list(iter_members(shard))


def test_what_follows_the_end_marker_is_refused(shard: Path) -> None:
    shard.write_bytes(two_samples() + two_samples())
    with pytest.raises(DataError, match="b1k-train-000017.tar: not a whole tar: "):
        list(iter_members(shard))


@pytest.mark.parametrize("data", [b"", b"not a tar" * 1000, bytes(100)])
def test_a_foreign_file_is_refused(shard: Path, data: bytes) -> None:
    shard.write_bytes(data)
    with pytest.raises(DataError, match="b1k-train-000017.tar: not a whole tar: "):
        list(iter_members(shard))


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_member_that_is_no_file_is_refused(shard: Path, kind: bytes) -> None:
    with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo("ep00000010_f000003.json")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DataError, match="member 'ep00000010_f000003.json': not a regular file"):
        list(iter_members(shard))
