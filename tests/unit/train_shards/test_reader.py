"""Samples by position: places, bytes, generations, damage and open files."""

import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.stored import (
    StoredEpisode,
    settings_of,
    tiny_output,
    write_generation,
    write_manifest,
)
from train_shards.errors import DataError, UserError
from train_shards.manifest import DroppedEpisode, MissingEpisode, load_manifest
from train_shards.reader import ShardReader
from train_shards.selection import Selection

LIVE_KEYS = [
    "ep00000010_f000000", "ep00000010_f000001", "ep00000010_f000002",
    "ep00070010_f000000", "ep00070010_f000001", "ep00070010_f000002", "ep00070010_f000003",
]  # fmt: skip


def open_reader(out: Path, split: str = "train") -> ShardReader:
    return ShardReader(out, split, check_index=True)


def open_files() -> list[str]:
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:  # the listing's own
            continue
    return links


@pytest.fixture
def out(tmp_path: Path) -> Path:
    tiny_output(tmp_path / "shards")
    return tmp_path / "shards"


def test_positions_are_the_live_samples_in_source_order(out: Path) -> None:
    reader = open_reader(out)
    assert len(reader) == 7
    places = [reader.locate(position) for position in range(7)]
    assert [place.key for place in places] == LIVE_KEYS
    assert [place.task_index for place in places] == [0, 0, 0, 7, 7, 7, 7]
    assert [place.lowdim_batch for place in places] == [0, 0, 0, 2, 2, 2, 2]
    reader.close()


def test_what_is_read_is_what_tarfile_reads(out: Path) -> None:
    reader = open_reader(out)
    contents = {}
    for name in ("tiny-train-000000.tar", "tiny-train-000001.tar"):
        with tarfile.open(out / "data/train" / name) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                assert file is not None
                contents[member.name] = file.read()
    assert len(contents) == 9 * 3
    for position in range(7):
        place = reader.locate(position)
        for fields in (("head.png", "json", "left_wrist.png"), ("left_wrist.png", "head.png")):
            expected = [contents[f"{place.key}.{field}"] for field in fields]
            assert reader.read([place], fields)[0] == expected
    reader.close()


def test_columns_are_those_of_the_episode(out: Path) -> None:
    reader = open_reader(out)
    place = reader.locate(5)
    columns = reader.columns(place)
    assert place.frame_index == 2
    assert columns["observation.state"][2].tolist() == [70010, 2, 0.5]
    assert columns["timestamp"][2] == 2 / 30
    reader.close()


@pytest.mark.parametrize("position", [-1, 7, 10**15])
def test_a_position_outside_is_an_index_error(out: Path, position: int) -> None:
    reader = open_reader(out)
    with pytest.raises(IndexError, match=f"sample {position}: expected 0 to 6"):
        reader.locate(position)
    reader.close()


def test_generations_follow_each_other(tmp_path: Path) -> None:
    settings = settings_of()
    first = write_generation(tmp_path, settings, [StoredEpisode(50, 2)], [[(50, 1), (50, 0)]])
    other_split = write_generation(
        tmp_path, settings, [StoredEpisode(60, 1)], [[(60, 0)]], generation=1, split="val"
    )
    third = write_generation(
        tmp_path, settings, [StoredEpisode(10, 3)], [[(10, 0)], [(10, 2), (10, 1)]],
        generation=2, first_shard=1,
    )  # fmt: skip
    write_manifest(tmp_path, settings, [first, other_split, third])
    reader = open_reader(tmp_path)
    places = [reader.locate(position) for position in range(len(reader))]
    assert [place.key for place in places] == [
        "ep00000050_f000000", "ep00000050_f000001",
        "ep00000010_f000000", "ep00000010_f000001", "ep00000010_f000002",
    ]  # fmt: skip
    assert [place.generation for place in places] == [0, 0, 1, 1, 1]
    assert reader.where(places[3]) == "tiny-train-000002.tar, key ep00000010_f000001"
    assert reader.read([places[3]], ("json",))[0] == [b'{"episode_index":10,"frame_index":1}']
    assert reader.columns(places[4])["timestamp"].tolist() == [0, 1 / 30, 2 / 30]
    reader.close()
    val = open_reader(tmp_path, "val")
    assert [val.locate(position).key for position in range(len(val))] == ["ep00000060_f000000"]
    val.close()


def test_positions_in_tasks_count_missing_and_dropped_episodes(tmp_path: Path) -> None:
    settings = settings_of()
    episodes = [StoredEpisode(30, 1), StoredEpisode(50, 2)]
    entry = write_generation(tmp_path, settings, episodes, [[(30, 0), (50, 0), (50, 1)]])
    write_manifest(
        tmp_path, settings, [entry],
        missing=[MissingEpisode(episode_index=20, task_index=0, ranges=[])],
        dropped=[DroppedEpisode(10, 0), DroppedEpisode(40, 0), DroppedEpisode(5, 7)],
    )  # fmt: skip
    for position, keys in {2: ["ep00000030_f000000"], 4: ["ep00000050_f000000"], 3: []}.items():
        reader = ShardReader(tmp_path, "train", Selection(episodes=frozenset([position])))
        assert [reader.locate(n).key for n in range(len(reader))][:1] == keys
        reader.close()


def test_an_index_that_goes_while_it_is_opened_is_looked_for_anew(out: Path) -> None:
    """Episodes are dropped between the reading of the manifest and the opening of its index."""
    old = load_manifest(out)
    (generation,) = old.generations
    renamed = ".predecode/index/train-000000-d1.idx"
    (out / generation.indexes["train"].path).rename(out / renamed)
    with pytest.raises(DataError, match="train-000000.idx: an index of the manifest is gone"):
        ShardReader(out, "train", manifest=old)
    index = msgspec.structs.replace(generation.indexes["train"], path=renamed)
    new = msgspec.structs.replace(generation, indexes={"train": index})
    write_manifest(out, old.settings, [new])
    reader = ShardReader(out, "train", manifest=old)
    assert len(reader) == 7
    reader.close()


@pytest.mark.parametrize("split", ["val", "test", "", "TRAIN"])
def test_a_split_that_is_not_there_is_refused(out: Path, split: str) -> None:
    with pytest.raises(UserError, match=f"no split {split!r}; it has train."):
        open_reader(out, split)


def test_a_folder_that_is_no_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no .predecode/manifest.json"):
        open_reader(tmp_path)


def test_an_index_of_another_run_is_refused(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_generation(other, settings_of(), [StoredEpisode(10, 3)], [[(10, 0), (10, 1), (10, 2)]])
    index = ".predecode/index/train-000000.idx"
    shutil.copy(other / index, out / index)
    with pytest.raises(
        DataError, match=r"train-000000.idx: digest .*, the manifest says .*repeat the run"
    ):
        open_reader(out)


def test_a_damaged_index_block_is_found_when_asked_for(out: Path) -> None:
    path = out / ".predecode/index/train-000000.idx"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="train-000000.idx: block 0 .* is damaged"):
        ShardReader(out, "train", check_index=True)


def test_a_refused_output_leaves_no_file_open(out: Path) -> None:
    path = out / ".predecode/index/train-000000.idx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="its header says"):
        open_reader(out)
    assert not [name for name in open_files() if str(out) in name]


def test_a_cut_shard_is_told_with_shard_key_and_bytes(out: Path) -> None:
    shard = out / "data/train/tiny-train-000001.tar"
    reader = open_reader(out)
    place = reader.locate(4)  # (70010, 1), the last sample of shard 1
    assert place.key == "ep00070010_f000001"
    start, num_bytes = place.members[2]
    os.truncate(shard, place.offset_bytes + start + num_bytes - 1)
    with pytest.raises(
        DataError,
        match=r"tiny-train-000001.tar, key ep00070010_f000001: \d+ bytes expected at \d+, "
        r"got \d+: the shard is cut.",
    ):
        reader.read([place], reader.fields)
    assert len(reader.read([place], ("head.png",))[0]) == 1  # what lies before the cut is there
    reader.close()


def test_a_sample_is_read_when_it_is_its_turn(out: Path) -> None:
    shard = out / "data/train/tiny-train-000001.tar"
    reader = open_reader(out)
    places = [reader.locate(position) for position in range(len(reader))]
    assert {place.shard for place in places} == {0, 1}
    contents = reader.read_each(places[::-1], reader.fields)
    number, _ = next(contents)
    assert places[::-1][number].shard == 0  # as they lie, whatever the order of asking
    os.truncate(shard, 0)
    with pytest.raises(DataError, match=r"tiny-train-000001.tar, key .* the shard is cut"):
        list(contents)
    reader.close()


def test_what_is_asked_for_again_is_given_once(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A remote storage hands a range over again if something in it was wrong.
    reader = ShardReader(out, "train", check_members=True)
    places = [position for n in range(7) if (position := reader.locate(n)).shard == 0]
    assert len(places) >= 2
    expected = reader.read(places, reader.fields)
    read_ranges, num_damaged = reader._storage.read_ranges, []

    def twice(ranges: Any, take: Any) -> None:
        def damaged(number: int, data: memoryview) -> None:
            last = bytearray(data)
            last[-1] ^= 1
            with pytest.raises(DataError, match="the ledger says"):
                take(number, memoryview(last))
            num_damaged.append(number)
            take(number, data)

        read_ranges(ranges, damaged)

    monkeypatch.setattr(reader._storage, "read_ranges", twice)
    found = list(reader.read_each(places, reader.fields))
    assert num_damaged
    assert sorted(number for number, _ in found) == list(range(len(places)))
    assert reader.read(places, reader.fields) == expected
    reader.close()


def test_a_missing_shard_is_told(out: Path) -> None:
    (out / "data/train/tiny-train-000000.tar").unlink()
    reader = open_reader(out)
    with pytest.raises(DataError, match="tiny-train-000000.tar: a shard of the manifest is gone"):
        reader.read([reader.locate(0)], ("json",))
    reader.close()


def many_shards(out: Path, num_shards: int) -> None:
    settings = settings_of(cameras={"head": "h"})
    shards = [[(10, frame)] for frame in range(num_shards)]
    write_manifest(
        out,
        settings,
        [write_generation(out, settings, [StoredEpisode(10, num_shards)], shards)],
    )


def test_no_tar_is_opened_before_it_is_read(out: Path) -> None:
    reader = open_reader(out)
    reader.locate(0)
    assert not [name for name in open_files() if str(out) in name and name.endswith(".tar")]
    reader.close()


def test_open_files_are_bounded_and_closed(tmp_path: Path) -> None:
    many_shards(tmp_path, 140)
    reader = open_reader(tmp_path)

    def tars() -> list[str]:
        return [name for name in open_files() if str(tmp_path) in name and name.endswith(".tar")]

    for position in range(140):
        assert reader.read([reader.locate(position)], ("json",))[0] == [
            b'{"episode_index":10,"frame_index":%d}' % position
        ]
        reader.read([reader.locate(0)], ("json",))
    assert len(tars()) == 128
    # The shard that is used all the time stays open, the one not used for longest is closed.
    assert any(name.endswith("000000.tar") for name in tars())
    assert not any(name.endswith("000001.tar") for name in tars())
    assert reader.read([reader.locate(1)], ("json",))[0] == [
        b'{"episode_index":10,"frame_index":1}'
    ]
    reader.close()
    assert not [name for name in open_files() if str(tmp_path) in name]
