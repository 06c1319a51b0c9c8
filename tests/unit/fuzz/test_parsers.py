"""Every parser of stored files on damaged and hostile bytes: a value, or the documented error.

What a parser lets pass is held against what it promises of it, in words of this file.
"""

import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predecode.dropped import load_dropped
from predecode.receipts import ShardReceipt, read_receipt
from predecode.shard_writer import iter_members
from predecode.stored_plan import decode_plan
from tests.support.hostile import SHAPE, seeds
from tests.support.mutations import (
    mutants,
    mutated,
    mutated_json,
    seal_index,
    seal_png,
    seal_tar,
)
from train_shards.codec import decode_codes, decode_image
from train_shards.errors import DataError
from train_shards.format import parse_key
from train_shards.index import Index
from train_shards.ledger import check_extents, decode_ledger
from train_shards.manifest import decode_manifest

pytestmark = pytest.mark.faults

_EXAMPLES = 10
_NUM_MEMBERS, _NUM_IMAGES = 3, 2


class Place(NamedTuple):
    """Where a parser that wants a file finds one."""

    folder: Path

    def holding(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


def is_inside(path: str) -> bool:
    """Whether a path stays in the folder that it is joined to, on any system."""
    normal = os.path.normpath(os.path.join("/root/out", path))  # noqa: PTH118
    return normal.startswith("/root/out/") and not re.search(r"[\\\0]", path)


def manifest(data: bytes, _: Place) -> None:
    found = decode_manifest(data, where="m")
    assert found.settings.stride >= 1
    assert found.fps is None or min(found.fps) >= 1
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) for name in found.settings.cameras)
    assert found.settings.picture_size is None or max(found.settings.picture_size) <= 8192
    for generation in found.generations:
        for shard in generation.shards:
            assert is_inside(shard.path)
            assert is_inside(shard.ledger)
            assert re.fullmatch("[0-9a-f]+", shard.sha256)
            assert 0 <= shard.num_bytes < 2**63
        for index in generation.indexes.values():
            assert is_inside(index.path)
            assert re.fullmatch("[0-9a-f]+", index.header_xxh3)


def plan(data: bytes, _: Place) -> None:
    found = decode_plan(data, where="p")
    known = {p.episode.episode_index: p for p in found.episodes}
    for episode in found.all_episodes:
        assert all(is_inside(span.path) for span in episode.videos.values())
        assert episode.table is None or is_inside(episode.table.path)
    for task in found.shards:
        assert task.split in ("train", "val")
        for piece in task.pieces:
            first, last = known[piece.episode_index].asked
            assert 0 <= first <= piece.start < piece.stop <= last < 2**63


def receipt(data: bytes, place: Place) -> None:
    place.holding(".predecode/receipts/t.json", data)
    found = read_receipt(place.folder, "t", "aa", ShardReceipt, check_files=False)
    if found is None:
        raise DataError("no receipt: the task is run again")
    assert is_inside(found.entry.path)
    assert is_inside(found.entry.ledger)


def dropped(data: bytes, place: Place) -> None:
    place.holding(".predecode/dropped.json", data)
    found = load_dropped(place.folder)
    assert all(0 <= number < 2**63 for number in (*found.ids, found.used.generation))


def key(data: bytes, _: Place) -> None:
    episode_index, frame_index = parse_key(data.decode("latin-1"))
    assert data == b"ep%08d_f%06d" % (episode_index, frame_index)


def index(data: bytes, place: Place) -> None:
    opened = Index(place.holding("t.idx", data), _NUM_MEMBERS)
    try:
        assert len(opened.episodes) * 56 + opened.num_samples * 56 + 128 <= len(data)
        assert opened.num_stored <= opened.num_samples
        assert int(opened.episodes["num_rows"].sum()) == opened.num_samples
        assert all(row < opened.num_samples for row in opened.storage_rows(0, 2**62).tolist())
        for row in range(min(opened.num_samples, 3)):
            opened.location(row)
        opened.check_all_blocks()
    finally:
        opened.close()


def ledger(data: bytes, _: Place) -> None:
    rows = decode_ledger(data, _NUM_MEMBERS, _NUM_IMAGES, where="l")
    assert rows.nbytes <= len(data)
    check_extents(rows, 20480, where="l")
    end = 0
    for row in rows.tolist():
        assert end <= row[2]
        end = max([row[2] + at + size for at, size in zip(row[3], row[4], strict=True)])
        assert end <= 20480


def tar(data: bytes, place: Place) -> None:
    members, end = [], 0
    for member in iter_members(place.holding("t.tar", data)):
        members.append(member)
        assert len(members) <= len(data) // 512 + 1  # and no loop
    for member in members:
        assert is_inside(member.name)
        assert end <= member.offset_bytes < member.data_offset_bytes
        end = member.data_offset_bytes + member.num_bytes
        assert end <= len(data)


def npz(data: bytes, _: Place) -> None:
    assert decode_codes(data, "codes", SHAPE).shape == SHAPE


def any_npz(data: bytes, _: Place) -> None:
    assert max(decode_codes(data, "codes", None).shape, default=0) <= 8192


def picture_of(codec: str, size: tuple[int, int] | None) -> Callable[[bytes, Place], None]:
    def parse(data: bytes, _: Place) -> None:
        found = decode_image(data, codec, size)
        assert found.shape == (*size, 3) if size else max(found.shape) <= 8192
        assert found.dtype == np.uint8

    return parse


class Target(NamedTuple):
    """A parser and how many inputs it gets."""

    parse: Callable[[bytes, Place], None]
    seeds: str
    number: int
    mutate: Callable[[bytes, random.Random], bytes] = mutated
    seal: Callable[[bytes], bytes] = bytes


TARGETS = {
    "manifest": Target(manifest, "manifest", 15_000, mutated_json),
    "plan": Target(plan, "plan", 12_000, mutated_json),
    "receipt": Target(receipt, "receipt", 5_000, mutated_json),
    "dropped": Target(dropped, "dropped", 4_000, mutated_json),
    "key": Target(key, "key", 60_000),
    "index": Target(index, "index", 7_000, seal=seal_index),
    "ledger": Target(ledger, "ledger", 10_000),
    "tar": Target(tar, "tar", 6_000, seal=seal_tar),
    "npz": Target(npz, "npz", 20_000),
    "npz of any size": Target(any_npz, "npz", 10_000),
    "raw": Target(picture_of("raw", SHAPE), "raw", 20_000),
    "png": Target(picture_of("png", SHAPE), "png", 25_000, seal=seal_png),
    "jpeg": Target(picture_of("jpeg", SHAPE), "jpeg", 25_000),
    "jpeg of any size": Target(picture_of("jpeg", None), "jpeg", 1_000),
    "webp": Target(picture_of("webp", SHAPE), "webp", 15_000),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    return seeds(tmp_path_factory.mktemp("seeds") / "out")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("fuzz"))


def test_there_are_200_000_inputs() -> None:
    assert sum(target.number for target in TARGETS.values()) >= 200_000


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_are_sound(name: str, sound: dict[str, list[bytes]], place: Place) -> None:
    target = TARGETS[name]
    for data in sound[target.seeds]:
        target.parse(data, place)
        target.parse(target.seal(data), place)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # numpy, zipfile and Pillow warn before they refuse
@pytest.mark.parametrize("name", TARGETS)
def test_hostile_bytes_give_a_sound_value_or_a_data_error(
    name: str, sound: dict[str, list[bytes]], place: Place
) -> None:
    target = TARGETS[name]
    counts: dict[str, int] = {"tried": 0, "refused": 0}

    @settings(
        max_examples=_EXAMPLES, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**64 - 1))
    def many(start: int) -> None:
        number = target.number // _EXAMPLES
        for data in mutants(sound[target.seeds], target.mutate, target.seal, start, number):
            counts["tried"] += 1
            try:
                target.parse(data, place)
            except DataError:
                counts["refused"] += 1

    many()
    assert counts["tried"] >= target.number
    assert counts["refused"] > target.number // 20
