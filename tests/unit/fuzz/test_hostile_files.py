"""Files made to harm: impossible numbers, places beyond, links, names; each is refused."""

import io
import itertools
import os
import re
import struct
import tarfile
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from predecode.errors import EpisodeError
from predecode.images.stored import check_edges
from predecode.links import refuse_links_outside
from predecode.lock import OutputLock
from predecode.receipts import ShardReceipt, read_receipt, write_receipt
from predecode.shard_writer import iter_members
from predecode.sources.metadata import frame_rate, read_json
from predecode.stored_plan import decode_plan
from tests.support.hostile import plan_of
from tests.support.mutations import seal_index
from tests.support.stored import tiny_output
from train_shards.dataset import ShardDataset
from train_shards.errors import DataError, UserError
from train_shards.index import EPISODE_DTYPE, Index, write_index
from train_shards.ledger import check_extents, decode_ledger, encode_ledger, ledger_dtype
from train_shards.lowdim import LowdimTables, write_lowdim
from train_shards.manifest import decode_manifest, encode_json
from train_shards.metadata_files import MetadataFiles

pytestmark = pytest.mark.faults


def _index(path: Path, place: int, packed: bytes) -> None:
    """A sealed index with other bytes at ``place``."""
    tiny_output(path.parent / "out")
    (made,) = (path.parent / "out/.predecode/index").glob("*.idx")
    data = bytearray(made.read_bytes())
    data[place : place + len(packed)] = packed
    path.write_bytes(seal_index(bytes(data)))


@pytest.mark.parametrize(
    ("place", "packed", "message"),
    [
        (16, struct.pack("<I", 2**32 - 1), "parts are not as long"),  # episodes: 240 GB
        (24, struct.pack("<Q", 2**60), "parts are not as long"),
        (32, struct.pack("<Q", 2**60), "parts are not as long"),
        (20, struct.pack("<I", 0), "block digests, expected"),
        (128, struct.pack("<q", -5), "its episodes are not those of"),
        (128 + 24, struct.pack("<Q", 2**64 - 1), "its episodes are not those of"),
        (128 + 32, struct.pack("<Q", 2**62), "its episodes are not those of"),
    ],
)
def test_a_sealed_index_with_impossible_numbers_is_refused(
    place: int, packed: bytes, message: str, tmp_path: Path
) -> None:
    _index(tmp_path / "x.idx", place, packed)
    with pytest.raises(DataError, match=message):
        Index(tmp_path / "x.idx", 3)


def test_a_sealed_index_that_names_bytes_beyond_the_shard_is_refused(tmp_path: Path) -> None:
    manifest = tiny_output(tmp_path / "out")
    entry = manifest.generations[0].indexes["train"]
    path = tmp_path / "out" / entry.path
    data = bytearray(path.read_bytes())
    (samples_offset,) = struct.unpack_from("<Q", data, 48)
    struct.pack_into("<Q", data, samples_offset, 2**50)  # offset_bytes of the first row
    path.write_bytes(seal_index(bytes(data)))
    digest = f"{struct.unpack_from('<Q', path.read_bytes(), 120)[0]:016x}"
    manifest.generations[0].indexes["train"] = msgspec.structs.replace(entry, header_xxh3=digest)
    (tmp_path / "out/.predecode/manifest.json").write_bytes(encode_json(manifest))
    with pytest.raises(DataError, match=r"row 0 names bytes to .* of a shard of 20480"):
        ShardDataset(tmp_path / "out")[0]


@pytest.mark.parametrize(
    ("offsets", "sizes"),
    [((0, 1000), (600, 100)), ((2048, 0), (100, 100)), ((0, 19_000), (100, 2000)),
     ((0, 2**63), (1, 1))],
)  # fmt: skip
def test_samples_of_a_ledger_beyond_each_other_or_the_shard_are_refused(
    offsets: tuple[int, int], sizes: tuple[int, int]
) -> None:
    rows = np.zeros(2, ledger_dtype(1, 1))
    rows["offset_bytes"], rows["data_offset_bytes"] = offsets, 512
    rows["data_bytes"] = np.array(sizes)[:, None]
    read = decode_ledger(encode_ledger(rows), 1, 1, where="l")
    with pytest.raises(DataError, match="l: samples lie beyond each other or beyond the shard"):
        check_extents(read, 20_480, where="l")


def tar_of(info: tarfile.TarInfo, kind: int = tarfile.USTAR_FORMAT, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def header(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def negative_size() -> bytes:
    """A header in base 256 that leads back to itself: 1024 bytes before its own end."""
    data = bytearray(tar_of(header("a")))
    data[124:136] = b"\xff" * 10 + struct.pack(">h", -512)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


LONG = "x" * 200
TARS = {
    "absolute": (tar_of(header("/etc/passwd")), "expected a relative path"),
    "parent": (tar_of(header("a/../../b")), "expected a relative path"),
    "backslash": (tar_of(header("..\\b")), "expected a relative path"),
    "link": (tar_of(header("a", type=tarfile.SYMTYPE, linkname="/etc")), "not a regular file"),
    "hard link": (tar_of(header("a", type=tarfile.LNKTYPE, linkname="b")), "not a regular file"),
    "device": (tar_of(header("a", type=tarfile.CHRTYPE)), "not a regular file"),
    "pipe": (tar_of(header("a", type=tarfile.FIFOTYPE)), "not a regular file"),
    "folder": (tar_of(header("a", type=tarfile.DIRTYPE)), "not a regular file"),
    "sparse": (tar_of(header("a", type=tarfile.GNUTYPE_SPARSE)), "not a regular file"),
    "long name": (tar_of(header(LONG), tarfile.GNU_FORMAT), "not a regular file"),
    "pax": (tar_of(header(LONG), tarfile.PAX_FORMAT), "not a regular file"),
    "large": (tar_of(header("a"), tarfile.GNU_FORMAT)[:124] + b"\x80" + bytes(11), "not a whole"),
    "negative": (negative_size(), "a size that is not in octal digits"),
    "letters": (tar_of(header("\u00e9"), tarfile.GNU_FORMAT), "not ASCII"),
}


@pytest.mark.parametrize("name", TARS)
def test_a_tar_of_other_members_than_plain_files_is_refused(name: str, tmp_path: Path) -> None:
    data, message = TARS[name]
    (tmp_path / "t.tar").write_bytes(data)
    with pytest.raises(DataError, match=f"t.tar.*{message}"):
        list(itertools.islice(iter_members(tmp_path / "t.tar"), 100))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"num_bytes": [0-9]+', '"num_bytes": -1'),
        ('"num_samples": [0-9]+', '"num_samples": 1' + "0" * 30),
        ('"generation": 0', '"generation": 9223372036854775808'),
        ('"stride": 1', '"stride": 0'),
        ('"fps": .\n  30,\n  1', '"fps": [\n  30,\n  0'),
        ('"header_xxh3": "', '"header_xxh3": "../../'),
        ('"sha256": "', '"sha256": "/'),
        ('"num_live": [0-9]+', '"num_live": NaN'),
        ('"path": "data/train/', '"path": "data\\\\..\\\\'),
        ('"path": "data/train/', '"path": "\\u0000'),
        ('"size": "[0-9x]+"', '"size": "8193x1"'),
        ('"size": "[0-9x]+"', '"size": "' + "9" * 5000 + 'x1"'),
        ('"size": "[0-9x]+"', '"size": "\u0661x\u0661"'),
        ('"quality": null', '"quality": 101'),
    ],
)
def test_a_manifest_with_impossible_values_is_refused(old: str, new: str, tmp_path: Path) -> None:
    text = encode_json(tiny_output(tmp_path / "out")).decode()
    assert re.search(old, text)
    with pytest.raises(DataError, match="m: "):
        decode_manifest(re.sub(old, lambda _: new, text, count=1).encode(), where="m")


def test_a_manifest_of_thousands_of_generations_is_read(tmp_path: Path) -> None:
    manifest = tiny_output(tmp_path / "out")
    many = msgspec.structs.replace(manifest, generations=manifest.generations * 5000)
    assert len(decode_manifest(encode_json(many), where="m").generations) == 5000


@pytest.mark.parametrize("path", ["../x.tar", "/etc/passwd", "a\\\\b", ""])
def test_a_receipt_of_a_file_outside_is_none(path: str, tmp_path: Path) -> None:
    entry = tiny_output(tmp_path).generations[0].shards[0]
    for changed in ({"path": path}, {"ledger": path}):
        bad = msgspec.structs.replace(entry, **changed)
        write_receipt(tmp_path, "t", ShardReceipt(plan_digest="aa", entry=bad, faults=[]))
        for check_files in (True, False):
            found = read_receipt(tmp_path, "t", "aa", ShardReceipt, check_files=check_files)
            assert found is None


def test_texts_of_a_table_that_lie_beyond_it_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    with path.open("wb") as file:
        write_lowdim(file, [pa.table({"text": ["alpha", "beta", "gamma"]})])
    tables = LowdimTables(lambda _: path)
    assert tables.columns(0, 0)["text"].to_pylist() == ["alpha", "beta", "gamma"]
    data = path.read_bytes()
    offsets = struct.pack("<4i", 0, 5, 9, 14)
    assert data.count(offsets) == 1
    path.write_bytes(data.replace(offsets, struct.pack("<4i", 0, 5, 2**30, 2**30 + 5)))
    with pytest.raises(DataError, match="t.arrow: not an Arrow table file: batch 0: "):
        LowdimTables(lambda _: path).columns(0, 0)
    with pytest.raises(DataError, match="t.arrow: not an Arrow table file: batch 4294967295"):
        LowdimTables(lambda _: path).columns(0, 2**32 - 1)


def test_a_table_of_other_rows_than_frames_is_refused(tmp_path: Path) -> None:
    manifest = tiny_output(tmp_path / "out")
    path = tmp_path / "out" / manifest.generations[0].lowdim[0].path
    assert "observation.state" in ShardDataset(tmp_path / "out")[0]
    with pa.ipc.open_file(io.BytesIO(path.read_bytes())) as file:
        tables = [
            pa.Table.from_batches([file.get_batch(n)]) for n in range(file.num_record_batches)
        ]
    with path.open("wb") as out:
        write_lowdim(out, [pa.concat_tables([table, table]) for table in tables])
    with pytest.raises(DataError, match=r"ep00000010_f000000: .* 6 rows, the episode has 3 frames"):
        ShardDataset(tmp_path / "out")[0]


@pytest.mark.parametrize(
    ("episode_index", "frame_index", "message"),
    [(11, 0, "an episode that"), (99, 0, "an episode that"), (10, 7, "a frame that")],
)
def test_a_ledger_of_samples_without_rows_makes_no_index(
    episode_index: int, frame_index: int, message: str, tmp_path: Path
) -> None:
    episodes = np.zeros(2, EPISODE_DTYPE)
    episodes["episode_index"], episodes["num_rows"], episodes["row_start"] = (10, 20), 5, (0, 5)
    rows = np.zeros(1, ledger_dtype(1, 1))
    rows["episode_index"], rows["frame_index"] = episode_index, frame_index
    with (
        (tmp_path / "x.idx").open("wb") as file,
        pytest.raises(DataError, match=f"ledger of shard 0: {message}"),
    ):
        write_index(file, episodes, 1, [(0, rows)], lambda _, frames: frames.astype(np.int64))


@pytest.mark.parametrize(("width", "height"), [(8193, 1), (1, 8193)])
def test_what_readers_would_refuse_is_not_stored(width: int, height: int) -> None:
    check_edges(np.zeros((8192, 8192), np.uint8), 10, "videos/a.mp4", "head")
    with pytest.raises(EpisodeError, match=f"at most 8192 pixels each way, got {width}x{height}"):
        check_edges(np.zeros((height, width, 3), np.uint8), 10, "videos/a.mp4", "head")


DEEP = b'{"a":' * 50_000


@pytest.mark.parametrize("text", [b"[" * 200_000, DEEP, b'{"x": ' + b"[" * 200_000, b"\xff\xfe"])
def test_deep_or_foreign_json_is_refused_wherever_it_is_read(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(DataError, match="a.json: "):
        MetadataFiles(tmp_path).decoded("a.json", dict[str, object])
    with pytest.raises(UserError, match="a.json: not JSON"):
        read_json(tmp_path / "a.json")
    for decode in (decode_manifest, decode_plan):
        with pytest.raises(DataError, match="where: not a"):
            decode(text, where="where")


@pytest.mark.parametrize("fps", [0, -1, 1e300, float("nan"), float("inf"), 10**30])
def test_a_rate_that_no_camera_has_is_refused(fps: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        frame_rate({"fps": fps})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"/', '"/', ""),
        ("videos/task-0000/episode_00000010.mp4", "../../../etc/passwd", "relative path"),
        ("data/20.parquet", "/etc/passwd", "relative path"),
        ("meta/episodes/10.json", "..\\\\x", "relative path"),
        ("[10,0,", "[11,0,", "expected some of 0 to 0"),
        ("[10,300,600", "[10,300,601", "expected some of 0 to 600"),
        ('"stride":1', '"stride":0', "Expected `int` >= 1"),
        ('"name":"tiny"', '"name":"../x"', "expected 1 to 40"),
        ('"split":"val"', '"split":"../x"', "splits"),
        ('"episodes":[10,20]', '"episodes":[10,99]', "99, which are not in the plan"),
        ('"num_frames":600,"split"', '"num_frames":-1,"split"', "Expected `int` >= 0"),
        ('"major":1', '"major":7', "format version 7"),
    ],
)
def test_a_plan_that_names_what_it_has_not_is_refused(old: str, new: str, message: str) -> None:
    text = msgspec.json.encode(plan_of()).decode()
    assert old in text
    changed = text.replace(old, new)
    if not message:
        assert decode_plan(changed.encode(), where="p") == plan_of()
        return
    with pytest.raises(DataError, match=message):
        decode_plan(changed.encode(), where="p")


def test_nothing_is_written_through_a_link_that_leads_out(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / "data/real").mkdir(parents=True)
    elsewhere.mkdir()
    (out / "data/inner").symlink_to(out / "data/real")
    (out / "file").symlink_to(tmp_path / "a")
    refuse_links_outside(out)
    (out / "data/train").symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"data/train: a link to .*elsewhere, outside of the"):
        OutputLock(out).__enter__()
    assert not os.listdir(elsewhere)  # noqa: PTH208
    assert not (out / ".predecode").exists()
