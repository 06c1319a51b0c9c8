"""A batch that is asked for item by item, as a trainer's wrapper does: read together, the same."""

import multiprocessing
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from tests.support.stored import (
    StoredEpisode,
    painted,
    settings_of,
    state_of,
    write_generation,
    write_manifest,
)
from train_shards.ahead import FirstOfBatch
from train_shards.dataset import ShardDataset
from train_shards.errors import DataError
from train_shards.images import decode_stored
from train_shards.reader import Place, ShardReader
from train_shards.sampling import ResumableSampler

HEAD = "observation.images.rgb.head"
SAMPLES = [(10, frame) for frame in range(30)]
DAMAGED = 9


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """30 frames as png, which threads decode, and as raw pictures, which need no decoding."""
    found = {}
    for codec in ("png", "raw"):
        folder = tmp_path_factory.mktemp(codec)
        settings = settings_of(codec=codec)
        shuffled = [SAMPLES[i * 7 % 30] for i in range(30)]
        generation = write_generation(folder, settings, [StoredEpisode(10, 30)], [shuffled])
        write_manifest(folder, settings, [generation])
        found[codec] = folder
    return found


@pytest.fixture
def damaged(outs: dict[str, Path]) -> Any:
    """An output whose sample ``DAMAGED`` has a picture that is none."""
    dataset = ShardDataset(outs["png"])
    reader = dataset.open_reader()
    place = reader.locate(DAMAGED)
    start, num_bytes = place.members[reader.fields.index("head.png")]
    path = outs["png"] / reader._held[0].shards[place.shard].path
    sound = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(place.offset_bytes + start)
        file.write(bytes(num_bytes))
    yield outs["png"]
    path.write_bytes(sound)


def asked_one_by_one(dataset: Any, positions: Sequence[int]) -> list[dict[str, Any]]:
    return [dataset[position] for position in [FirstOfBatch(positions), *positions[1:]]]


def check(items: Sequence[dict[str, Any]], positions: Sequence[int]) -> None:
    assert len(items) == len(positions)
    for item, position in zip(items, positions, strict=True):
        sample = SAMPLES[position]
        assert (item["episode_index"], item["frame_index"]) == sample
        assert np.array_equal(item[HEAD], painted(*sample, "head"))
        assert item["observation.state"].tolist() == state_of(*sample).tolist()


def test_it_is_an_int_that_tells_its_batch_wherever_it_goes() -> None:
    first = FirstOfBatch([7, 3, 5])
    assert first == 7
    assert [10, 11, 12, 13, 14, 15, 16, 17][first] == 17
    assert np.arange(9)[first] == 7
    there = pickle.loads(pickle.dumps([first, 3, 5]))
    assert there == [7, 3, 5]
    assert there[0].batch == (7, 3, 5)


@given(
    st.lists(st.integers(0, 29), min_size=1, max_size=30),
    st.sampled_from([None, 1, 2, 3]),
    st.sampled_from(["png", "raw"]),
)
def test_the_items_are_those_that_were_asked_for(
    outs: dict[str, Path], positions: list[int], num_threads: int | None, codec: str
) -> None:
    dataset = ShardDataset(outs[codec], num_threads=num_threads)
    check(asked_one_by_one(dataset, positions), positions)
    check(asked_one_by_one(dataset, positions[::-1]), positions[::-1])
    dataset.close()


def test_a_part_of_the_batch_is_read_together(
    outs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, sizes, read_each = ShardDataset(outs["raw"]), [], ShardReader.read_each

    def noted(self: ShardReader, places: Sequence[Place], fields: Sequence[str]) -> Any:
        sizes.append(len(places))
        return read_each(self, places, fields)

    monkeypatch.setattr(ShardReader, "read_each", noted)
    check(asked_one_by_one(dataset, range(10)), range(10))
    assert sizes == [4, 4, 2]
    sizes.clear()
    check([dataset[position] for position in range(3)], range(3))
    assert sizes == [1, 1, 1]


def test_another_position_between_them_and_a_batch_that_is_left_do_no_harm(
    outs: dict[str, Path],
) -> None:
    dataset = ShardDataset(outs["png"])
    check([dataset[position] for position in (FirstOfBatch([4, 8, 2]), 20, 8, 8, -1, 2)],
          [4, 20, 8, 8, 29, 2])  # fmt: skip
    check([dataset[FirstOfBatch([1, 2, 3])], dataset[2]], [1, 2])
    check(asked_one_by_one(dataset, [5, 6]), [5, 6])
    with pytest.raises(IndexError, match="sample 30: expected 0 to 29"):
        dataset[FirstOfBatch([0, 30])]
    check([dataset[3]], [3])


def test_a_damaged_one_is_told_of_in_its_place(damaged: Path) -> None:
    dataset = ShardDataset(damaged, num_threads=2)
    batch = list(range(20))
    for position in [FirstOfBatch(batch), *batch[1:]]:
        if position == DAMAGED:
            with pytest.raises(DataError, match=r"key ep00000010_f000009, member head\.png: not a"):
                dataset[position]
        else:
            check([dataset[position]], [position])


def test_a_damaged_one_is_passed_over_where_that_is_asked_for(damaged: Path) -> None:
    dataset = ShardDataset(damaged, on_error="skip")
    served = [8, 10, 10, 11, 12]
    check(asked_one_by_one(dataset, [8, DAMAGED, 10, 11, 12]), served)


def _check_in_child(dataset: ShardDataset) -> None:
    check([dataset[position] for position in range(1, 30)], range(1, 30))


def test_a_fork_in_the_middle_of_a_batch_waits_for_no_thread(
    outs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, batch = ShardDataset(outs["png"], num_threads=2), list(range(30))
    check([dataset[FirstOfBatch(batch)]], [0])
    assert dataset._work is not None
    dataset._work._pool.submit(int).result()  # its thread has done what it was given before
    begun, forked = threading.Event(), threading.Event()

    def held(*arguments: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            assert forked.wait(timeout=60)
        return decode_stored(*arguments)

    monkeypatch.setattr("train_shards.dataset.decode_stored", held)
    check([dataset[position] for position in batch[1:5]], batch[1:5])  # begins another part
    assert begun.wait(timeout=60)
    child = multiprocessing.get_context("fork").Process(target=_check_in_child, args=(dataset,))
    child.start()
    child.join(timeout=30)
    forked.set()
    is_alive = child.is_alive()
    child.kill()
    assert not is_alive
    assert child.exitcode == 0
    check([dataset[position] for position in batch[5:]], batch[5:])


class Wrapper(Dataset[Any]):
    """A trainer's transforms."""

    def __init__(self, dataset: ShardDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, position: int) -> Any:
        item = self._dataset[position]
        return item, {thread.name.split("_")[0] for thread in threading.enumerate()}


def unchanged(batch: Any) -> Any:
    return batch


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_loader_with_our_sampler_reads_ahead_and_a_worker_with_one_thread(
    outs: dict[str, Path], num_workers: int
) -> None:
    before = {thread.name for thread in threading.enumerate()}
    sampler = ResumableSampler(30, rank=0, world_size=1, batch_size=10, seed=3)
    loader = DataLoader(
        Wrapper(ShardDataset(outs["png"])), batch_size=10, sampler=sampler, collate_fn=unchanged,
        num_workers=num_workers, multiprocessing_context="fork" if num_workers else None,
    )  # fmt: skip
    batches = list(loader)
    order = list(sampler)
    check([item for batch in batches for item, _ in batch], order)
    assert sorted(order) == list(range(30))
    names = set.union(*(names for batch in batches for _, names in batch))
    if num_workers:
        assert "predecode" not in names
    else:
        assert "predecode" in names - before
