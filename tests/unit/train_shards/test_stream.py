"""The sequential data set: order of storage, coverage, resume, workers and read-ahead."""

import importlib
import pickle
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tests.support.stored import StoredEpisode, settings_of, write_generation, write_manifest
from train_shards import storage_order
from train_shards.dataset import ShardDataset
from train_shards.errors import UserError
from train_shards.format import format_key
from train_shards.storage import ByteRange, LocalStorage
from train_shards.storage_order import StorageOrder
from train_shards.stream import ShardStream

EPISODES = [
    StoredEpisode(10, 50), StoredEpisode(20, 30, is_live=False), StoredEpisode(70010, 44, 7),
    StoredEpisode(70020, 20, 7),
]  # fmt: skip


def dealt(episodes: Sequence[StoredEpisode], seed: int, shard_size: int) -> list[Any]:
    """Samples of episodes, shuffled into shards."""
    samples = [(e.episode_index, frame) for e in episodes for frame in range(e.num_frames)]
    order = np.random.default_rng(seed).permutation(len(samples)).tolist()
    shuffled = [samples[number] for number in order]
    return [shuffled[start : start + shard_size] for start in range(0, len(samples), shard_size)]


def write_output(
    out: Path, *generations: Sequence[StoredEpisode], shard_size: int = 16, seed: int = 1
) -> Path:
    made, first_shard = [], 0
    settings = settings_of(shard_size=shard_size)
    for generation, episodes in enumerate(generations):
        shards = dealt(episodes, seed + generation, shard_size)
        made.append(
            write_generation(
                out, settings, episodes, shards, generation=generation, first_shard=first_shard
            )
        )
        first_shard += len(shards)
    write_manifest(out, settings, made)
    return out


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """114 live samples of 144, in 9 shards of two generations."""
    return write_output(
        tmp_path_factory.mktemp("stream") / "out", EPISODES[:2], EPISODES[2:], shard_size=16
    )


def keys_in_tars(out: Path) -> list[str]:
    """Every sample's key as the tars hold them, shard by shard."""
    keys: dict[str, None] = {}
    for path in sorted((out / "data/train").iterdir()):
        with tarfile.open(path) as tar:
            keys |= dict.fromkeys(name.partition(".")[0] for name in tar.getnames())
    return list(keys)


def key_of(item: dict[str, Any]) -> str:
    return format_key(int(item["episode_index"]), int(item["frame_index"]))


def numbers(items: Any) -> list[int]:
    return [int(item["sample_index"]) for item in items]


def in_storage_order(dataset: ShardDataset) -> list[int]:
    """Positions in the data set, block after block as they lie."""
    order = StorageOrder(dataset, block_size=7, lanes=1)
    blocks = [order._block(block).tolist() for block in range(-(-len(dataset) // 7))]
    return [position for block in blocks for position in block]


def all_of(dataset: ShardDataset, seed: int = 3, epoch: int = 0, **words: Any) -> list[int]:
    order = StorageOrder(dataset, seed=seed, epoch=epoch, **words)
    samples: list[int] = order.samples(np.arange(len(dataset))).tolist()
    return samples


@pytest.mark.parametrize(
    ("selection", "is_wanted"),
    [
        ({}, lambda _key, _frame: True),
        ({"tasks": [7]}, lambda key, _frame: key[2:].startswith("00070")),
        ({"frames": (5, 9)}, lambda _key, frame: 5 <= frame < 9),
        ({"episodes": [1]}, lambda key, _frame: key[2:].startswith("00070020")),
    ],
)
@pytest.mark.parametrize("piece", [1, 5, 16, 1 << 14])
def test_the_storage_order_is_that_of_the_tars(
    out: Path, selection: Any, is_wanted: Any, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_order, "_PIECE", piece)
    dataset = ShardDataset(out, **selection)
    keys = [key_of(item) for item in dataset.__getitems__(in_storage_order(dataset))]
    assert len(keys) == len(dataset) > 0
    live = [key for key in keys_in_tars(out) if not key.startswith("ep00000020")]
    assert keys == [key for key in live if is_wanted(key, int(key[-6:]))]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_every_sample_comes_once_whatever_is_masked(
    data: st.DataObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_order, "_PIECE", data.draw(st.integers(1, 9)))
    episodes = [
        StoredEpisode(10 * number, data.draw(st.integers(1, 6)), is_live=data.draw(st.booleans()))
        for number in range(1, 5)
    ] + [StoredEpisode(50, 3)]
    with tempfile.TemporaryDirectory() as folder:
        write_output(Path(folder), episodes, shard_size=4, seed=data.draw(st.integers(0, 99)))
        dataset = ShardDataset(folder)
        assert sorted(in_storage_order(dataset)) == list(range(len(dataset)))
        words = {"block_size": data.draw(st.integers(1, 30)), "lanes": data.draw(st.integers(1, 9))}
        epochs = [all_of(dataset, epoch=epoch, **words) for epoch in range(2)]
        assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(len(dataset)))
        order = StorageOrder(dataset, seed=3, **words)
        assert [order.sample(position) for position in range(len(dataset))] == epochs[0]
        dataset.close()


def test_two_epochs_and_two_seeds_differ(out: Path) -> None:
    dataset = ShardDataset(out)
    first = all_of(dataset)
    assert first == all_of(dataset)
    assert first != all_of(dataset, epoch=1)
    assert first != all_of(dataset, seed=4)


def test_reads_stay_in_a_block_of_each_lane(out: Path) -> None:
    dataset = ShardDataset(out)
    place = {position: number for number, position in enumerate(in_storage_order(dataset))}
    lies = [place[position] for position in all_of(dataset, block_size=10, lanes=3)]
    assert len(lies) == 114
    for lane in range(3):
        in_lane = lies[lane::3]
        for start in range(0, len(in_lane) - 10):
            blocks = {number // 10 for number in in_lane[start : start + 10]}
            assert len(blocks) <= 4  # a window may straddle the short block, and two follow each
        assert len({number // 10 for number in in_lane}) <= len(in_lane) / 10 + 3
        assert in_lane != sorted(in_lane)


def test_lanes_keep_ranks_out_of_each_other_s_blocks(out: Path) -> None:
    dataset = ShardDataset(out)
    order = StorageOrder(dataset, block_size=4, lanes=4, seed=1)
    of_rank = [set(order.blocks(np.arange(rank, len(dataset), 4))) for rank in range(4)]
    assert sum(len(blocks) for blocks in of_rank) <= len(set.union(*of_rank)) + 3


def test_sizes_below_one_are_refused(out: Path) -> None:
    dataset = ShardDataset(out)
    with pytest.raises(UserError, match="lanes 0: expected 1 or more"):
        StorageOrder(dataset, lanes=0)
    with pytest.raises(UserError, match="block_size 0: expected 1 or more"):
        ShardStream(dataset, batch_size=2, block_size=0)


# The stream


def stream_of(out: Path, **words: Any) -> ShardStream:
    return ShardStream(
        ShardDataset(out), **{"batch_size": 4, "rank": 0, "world_size": 1, "seed": 3, **words}
    )


def loaded(stream: ShardStream, num_workers: int = 0) -> list[list[int]]:
    """The batches that a loader makes of a stream, as sample numbers."""
    loader: DataLoader[Any] = DataLoader(
        stream,
        batch_size=stream.sampler.batch_size,
        num_workers=num_workers,
        multiprocessing_context="fork" if num_workers else None,
        collate_fn=numbers,
    )
    return list(loader)


@pytest.fixture(scope="module")
def whole(out: Path) -> list[int]:
    """The order of epoch 0, seed 3."""
    return all_of(ShardDataset(out))


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("tail", ["drop", "pad"])
def test_loaders_of_all_ranks_give_the_order(
    out: Path, whole: list[int], num_workers: int, tail: Any
) -> None:
    ranks = [
        loaded(stream_of(out, rank=rank, world_size=2, tail=tail), num_workers) for rank in (0, 1)
    ]
    expected = whole[:112] if tail == "drop" else whole + whole[:6]
    assert [len(batches) for batches in ranks] == [len(expected) // 8] * 2
    steps = [
        [number for pair in zip(*batches, strict=True) for number in pair]
        for batches in zip(*ranks, strict=True)
    ]
    assert [number for step in steps for number in step] == expected


def test_it_resumes_at_every_step_in_another_world(out: Path, whole: list[int]) -> None:
    for step in range(1, 14):
        stream = stream_of(out, world_size=2, rank=1)
        stream.sampler.advance(8 * step)
        state = stream.sampler.state_dict()
        resumed = stream_of(out, seed=8, batch_size=2)
        resumed.sampler.load_state_dict(state)
        batches = loaded(resumed, num_workers=2 if step == 5 else 0)
        assert [number for batch in batches for number in batch] == whole[8 * step :]


def test_the_next_epoch_is_another_order_of_the_same(out: Path, whole: list[int]) -> None:
    stream = stream_of(out, batch_size=2)
    stream.sampler.set_epoch(1)
    second = [number for batch in loaded(stream, 2) for number in batch]
    assert sorted(second) == sorted(whole)
    assert second == all_of(ShardDataset(out), epoch=1) != whole


def test_the_state_of_other_lanes_is_refused(out: Path) -> None:
    state = stream_of(out, lanes=4).sampler.state_dict()
    with pytest.raises(UserError, match=r"order 'storage:block:16x1:lanes4', this run has '.*8'"):
        stream_of(out).sampler.load_state_dict(state)


def test_it_travels_small(out: Path, whole: list[int]) -> None:
    stream = stream_of(out)
    next(iter(stream))
    data = pickle.dumps(stream)
    assert len(data) < 10_000
    assert numbers(pickle.loads(data)) == whole[:112]


def test_persistent_workers_are_refused_at_their_second_epoch(out: Path) -> None:
    stream = stream_of(out)
    loader: DataLoader[Any] = DataLoader(
        stream, batch_size=4, num_workers=1, persistent_workers=True, collate_fn=numbers,
        multiprocessing_context="fork",
    )  # fmt: skip
    assert len(list(loader)) == 28
    stream.sampler.set_epoch(1)
    with pytest.raises(UserError, match="persistent_workers=True: .*next epoch"):
        list(loader)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata 0.11 calls it
@pytest.mark.parametrize("num_workers", [0, 2])
def test_stateful_data_loader_resumes_where_it_stopped(
    out: Path, whole: list[int], num_workers: int
) -> None:
    stateful = importlib.import_module("torchdata.stateful_dataloader")

    def begin() -> Any:
        return stateful.StatefulDataLoader(
            stream_of(out), batch_size=4, num_workers=num_workers, collate_fn=numbers
        )

    loader = begin()
    states = []
    for step, batch in enumerate(loader, 1):
        assert batch == whole[4 * step - 4 : 4 * step]
        states.append(loader.state_dict())
    assert len(states) == 28
    for step in (1, 2, 9, 27):
        loader = begin()
        loader.load_state_dict(states[step - 1])
        assert [number for batch in loader for number in batch] == whole[4 * step : 112]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int, int]]:
    """What storage was asked for, in order: ``(kind, shard, start, stop)``."""
    seen: list[tuple[str, str, int, int]] = []
    prefetch, read_ranges = LocalStorage.prefetch, LocalStorage.read_ranges

    def seen_prefetch(self: LocalStorage, span: ByteRange) -> None:
        seen.append(("ahead", span.shard.path, span.start, span.stop))
        prefetch(self, span)

    def seen_read(self: LocalStorage, ranges: Any, take: Any) -> None:
        seen.extend(("read", one.shard.path, one.start, one.stop) for one in ranges)
        read_ranges(self, ranges, take)

    monkeypatch.setattr(LocalStorage, "prefetch", seen_prefetch)
    monkeypatch.setattr(LocalStorage, "read_ranges", seen_read)
    return seen


def test_what_is_read_was_fetched_ahead_and_once(
    out: Path, events: list[tuple[str, str, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train_shards.stream._AHEAD", 12)
    stream = stream_of(out, lanes=2, block_size=16, tail="pad")
    items: Any = iter(stream)
    first = next(items)
    items._pool.submit(int).result()  # all before it is done
    assert 2 <= sum(kind == "ahead" for kind, *_ in events) < 9  # not the whole epoch at once
    assert len([first, *items]) == 116
    items._pool.submit(int).result()
    ahead = [(path, start, stop) for kind, path, start, stop in events if kind == "ahead"]
    reads = [(path, start, stop) for kind, path, start, stop in events if kind == "read"]
    assert len(reads) > 20
    for path, start, stop in reads:  # of several blocks where they lie together
        have = start
        for _, begin, end in sorted(span for span in ahead if span[0] == path):
            if begin <= have + 1024:  # a block ends with a content, the next begins with a header
                have = max(have, end)
        assert have >= stop
    sizes = [(out / path).stat().st_size for path in {path for path, *_ in ahead}]
    assert sum(stop - start for _, start, stop in ahead) <= 1.1 * sum(sizes)
