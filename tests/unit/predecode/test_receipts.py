"""Receipts: written whole, and trusted only when all of it fits."""

import json
from pathlib import Path

import msgspec
import pytest

from predecode.errors import EpisodeFault
from predecode.receipts import LowdimReceipt, ShardReceipt, read_receipt, write_receipt
from train_shards.manifest import LowdimEntry, ShardEntry

NAME = "b1k-train-000017"
PATH = Path(".predecode/receipts") / f"{NAME}.json"
ENTRY = ShardEntry(
    path="data/train/b1k-train-000017.tar",
    split="train",
    num_samples=2,
    num_bytes=10240,
    sha256="bb",
    md5="cc",
    ledger=".predecode/ledger/b1k-train-000017.npy",
    ledger_sha256="dd",
)
SHARD = ShardReceipt(
    plan_digest="aa",
    entry=ENTRY,
    faults=[EpisodeFault(episode_index=10, path="a", problem="b", expected="c", got="d")],
)
TABLE = LowdimReceipt(
    plan_digest="aa",
    entry=LowdimEntry(path="lowdim/x.arrow", num_bytes=7, sha256="bb", episodes=[10]),
    faults=[],
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output with one shard, its ledger and its receipt."""
    (tmp_path / "data/train").mkdir(parents=True)
    (tmp_path / ENTRY.path).write_bytes(bytes(10240))
    (tmp_path / ".predecode/ledger").mkdir(parents=True)
    (tmp_path / ENTRY.ledger).write_bytes(b"ledger")
    write_receipt(tmp_path, NAME, SHARD)
    return tmp_path


def read(out: Path, digest: str = "aa", *, check_files: bool = True) -> ShardReceipt | None:
    return read_receipt(out, NAME, digest, ShardReceipt, check_files=check_files)


def test_a_receipt_comes_back(out: Path) -> None:
    assert read(out) == SHARD


def test_python_s_json_reads_it_and_nothing_else_is_left(out: Path) -> None:
    plain = json.loads((out / PATH).read_text())
    assert plain["entry"]["num_bytes"] == 10240
    assert plain["faults"][0]["episode_index"] == 10
    assert list(plain) == sorted(plain)
    assert list((out / ".predecode/tmp").iterdir()) == []


def test_a_table_s_receipt_comes_back(tmp_path: Path) -> None:
    write_receipt(tmp_path, "t", TABLE)
    (tmp_path / "lowdim").mkdir()
    (tmp_path / TABLE.entry.path).write_bytes(b"1234567")
    assert read_receipt(tmp_path, "t", "aa", LowdimReceipt) == TABLE
    (tmp_path / TABLE.entry.path).write_bytes(b"123456")
    assert read_receipt(tmp_path, "t", "aa", LowdimReceipt) is None


def test_a_task_without_samples_has_no_tar_to_look_for(out: Path) -> None:
    entry = msgspec.structs.replace(ENTRY, path="data/train/none.tar", num_samples=0, num_bytes=0)
    empty = ShardReceipt(plan_digest="aa", entry=entry, faults=SHARD.faults)
    write_receipt(out, NAME, empty)
    assert read(out) == empty


def test_no_receipt(tmp_path: Path) -> None:
    assert read(tmp_path) is None


def test_a_receipt_of_another_plan_is_none(out: Path) -> None:
    assert read(out, "ab") is None
    assert read(out, "ab", check_files=False) is None


def test_a_tar_that_is_gone_or_has_another_size_makes_it_none(out: Path) -> None:
    (out / ENTRY.path).write_bytes(bytes(10239))
    assert read(out) is None
    assert read(out, check_files=False) == SHARD
    (out / ENTRY.path).unlink()
    assert read(out) is None
    assert read(out, check_files=False) == SHARD


def test_a_ledger_that_is_gone_makes_it_none(out: Path) -> None:
    (out / ENTRY.ledger).unlink()
    assert read(out) is None
    assert read(out, check_files=False) == SHARD


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"plan_digest": "aa"}',
        b'{"plan_digest": "\xff"}',
        b"[" * 99_999,
    ],
    ids=["empty", "cut", "list", "null", "fields", "utf8", "deep"],
)
def test_a_damaged_receipt_is_none(out: Path, data: bytes) -> None:
    (out / PATH).write_bytes(data)
    assert read(out) is None


def test_a_table_s_receipt_is_none_for_a_shard(out: Path) -> None:
    write_receipt(out, NAME, TABLE)
    assert read(out) is None
