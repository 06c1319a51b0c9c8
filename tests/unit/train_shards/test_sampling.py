"""Orders and the sampler: coverage, exact resume with any world, refusals, real loaders."""

import importlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, pairwise
from math import sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from train_shards.errors import DataError, UserError
from train_shards.permutation import CounterHash, Permutation
from train_shards.sampling import (
    BlockOrder,
    GlobalOrder,
    GroupOrder,
    LaneOrder,
    MappedOrder,
    Order,
    ResumableSampler,
    SequentialOrder,
    WeightedOrder,
    cumulative_weights,
    world,
)
from train_shards.weighted_order import alias_table, integer_weights

SIZES = st.one_of(st.integers(1, 400), st.sampled_from([1, 2, 127, 128, 129, 251, 256, 257]))


@pytest.fixture(autouse=True)
def no_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def all_of(order: Order) -> list[int]:
    samples: list[int] = order.samples(np.arange(order.num_samples)).tolist()
    return samples


@st.composite
def covering_orders(draw: st.DrawFn) -> Order:
    """An order that has every sample of its size once."""
    num_samples, seed, epoch = draw(SIZES), draw(st.integers(0, 2**64)), draw(st.integers(0, 5))
    orders: list[Order] = [
        SequentialOrder(num_samples),
        GlobalOrder(num_samples, seed=seed, epoch=epoch),
        BlockOrder(
            num_samples,
            block_size=draw(st.integers(1, 50)),
            window_blocks=draw(st.integers(1, 5)),
            seed=seed,
            epoch=epoch,
        ),
    ]
    order = draw(st.sampled_from(orders))
    lanes = draw(st.none() | st.integers(1, 20))
    return order if lanes is None else LaneOrder(order, lanes)


def in_steps(
    sampler_of: "SamplerOf", world_size: int, batch_size: int, num_steps: int | None = None
) -> list[int]:
    """Samples in the order in which steps of all ranks train on them: row by row of the batches."""
    passes = [iter(sampler_of(rank)) for rank in range(world_size)]
    taken: list[int] = []
    while num_steps is None or len(taken) < num_steps * batch_size * world_size:
        batches = [list(islice(one, batch_size)) for one in passes]
        assert len({len(batch) for batch in batches}) == 1  # every rank has equally many
        if not batches[0]:
            break
        taken += [sample for row in zip(*batches, strict=True) for sample in row]
    return taken


class SamplerOf:
    """Makes the samplers of all ranks of one run."""

    def __init__(self, state: dict[str, Any] | None = None, **settings: Any) -> None:
        self.state, self.settings = state, settings

    def __call__(self, rank: int) -> ResumableSampler:
        sampler = ResumableSampler(rank=rank, **self.settings)
        if self.state is not None:
            sampler.load_state_dict(json.loads(json.dumps(self.state)))
        return sampler


# Orders


@pytest.mark.parametrize(
    ("order", "first"),
    [
        (
            GlobalOrder(1000, seed=1, epoch=2),
            [205, 872, 692, 901, 776, 721, 401, 441, 444, 471],
        ),
        (
            BlockOrder(1000, block_size=8, window_blocks=4, seed=1, epoch=2),
            [489, 371, 161, 495, 492, 493, 369, 491, 373, 656],
        ),
        (
            BlockOrder(1000, seed=1, epoch=2),
            [786, 588, 25, 421, 603, 764, 73, 339, 182, 6],
        ),
        (
            GroupOrder([3, 1], [[(0, 10)], [(10, 30)]], num_draws=99, seed=1, epoch=2),
            [3, 0, 7, 6, 5, 29, 9, 4, 18, 9],
        ),
        (
            GroupOrder([0.3, 0.1], [[(0, 10)], [(10, 30)]], num_draws=99, seed=1, epoch=2),
            [3, 0, 7, 6, 5, 29, 9, 4, 18, 9],
        ),
        (
            WeightedOrder(cumulative_weights(np.arange(100)), seed=1, epoch=2),
            [76, 87, 22, 27, 41, 43, 41, 94, 24, 75],
        ),
        (
            WeightedOrder(cumulative_weights(np.arange(100) / 7), seed=1, epoch=2),
            [76, 87, 22, 27, 41, 43, 41, 94, 24, 75],
        ),
    ],
)
def test_first_samples_of_order_version_1(order: Order, first: list[int]) -> None:
    assert [order.sample(position) for position in range(10)] == first


@given(covering_orders())
def test_an_epoch_has_every_sample_once(order: Order) -> None:
    assert sorted(all_of(order)) == list(range(order.num_samples))


@given(covering_orders())
def test_one_by_one_and_many_agree(order: Order) -> None:
    one_by_one = [order.sample(position) for position in range(order.num_samples)]
    assert all_of(order) == one_by_one
    assert order.samples(np.zeros(0, np.int64)).tolist() == []


@given(covering_orders(), st.data())
def test_selection_and_shuffle_commute(order: Order, data: st.DataObject) -> None:
    universe = st.integers(0, 10**6)
    num_samples = order.num_samples
    chosen = data.draw(st.sets(universe, min_size=num_samples, max_size=num_samples))
    table = np.array(sorted(chosen))
    mapped = MappedOrder(order, table)
    assert sorted(all_of(mapped)) == sorted(chosen)
    assert all_of(mapped) == [sorted(chosen)[sample] for sample in all_of(order)]
    assert all_of(mapped.keyed(9, 9)) == table[all_of(order.keyed(9, 9))].tolist()


@given(st.integers(30, 400), st.integers(0, 2**40))
def test_two_epochs_and_two_seeds_differ(num_samples: int, seed: int) -> None:
    for order in (GlobalOrder(num_samples), BlockOrder(num_samples, block_size=8, window_blocks=2)):
        orders = [all_of(order.keyed(*key)) for key in [(seed, 0), (seed, 1), (seed + 1, 0)]]
        assert orders[0] != orders[1]
        assert orders[0] != orders[2]
        assert all_of(order.keyed(seed, 0)) == orders[0]


@given(
    st.integers(1, 600), st.integers(1, 70), st.integers(1, 6), st.integers(0, 99),
    st.integers(0, 9),
)  # fmt: skip
def test_block_order_is_blocks_in_line_shuffled_in_windows(
    num_samples: int, block_size: int, window_blocks: int, seed: int, epoch: int
) -> None:
    every = list(range(num_samples))
    blocks = [every[start : start + block_size] for start in range(0, num_samples, block_size)]
    visits = Permutation(len(blocks), seed=seed, epoch=epoch, stream="block")
    line = [sample for visit in range(len(blocks)) for sample in blocks[visits.permute(visit)]]
    expected, size = [], min(block_size * window_blocks, num_samples)
    for number, start in enumerate(range(0, num_samples, size)):
        window = line[start : start + size]
        places = Permutation(len(window), seed=seed, epoch=epoch, stream="window")
        expected += [window[places.permute(place, number)] for place in range(len(window))]
    order = BlockOrder(
        num_samples, block_size=block_size, window_blocks=window_blocks, seed=seed, epoch=epoch
    )
    assert all_of(order) == expected


def test_block_order_reads_few_blocks_at_a_time_and_mixes_them() -> None:
    order = BlockOrder(100_001, block_size=100, window_blocks=8, seed=2)
    samples = all_of(order)
    windows = [samples[start : start + 800] for start in range(0, 100_001, 800)]
    assert len(windows) == 126
    blocks = [{sample // 100 for sample in window} for window in windows]
    assert max(map(len, blocks)) <= 9
    assert min(map(len, blocks[:-1])) >= 8
    met = Counter(block for window in blocks for block in window)
    assert max(met.values()) <= 2
    assert sum(abs(a - b) == 1 for a, b in pairwise(samples)) < 500
    # The short block comes somewhere, not always last.
    places = [all_of(order.keyed(seed, 0)).index(100_000) for seed in range(5)]
    assert len({place // 10_000 for place in places}) > 1


@pytest.mark.parametrize("position", [-1, 50])
@pytest.mark.parametrize(
    "order",
    [
        SequentialOrder(50),
        GlobalOrder(50),
        BlockOrder(50, block_size=7),
        MappedOrder(GlobalOrder(50), np.arange(50)),
        LaneOrder(GlobalOrder(50), 7),
        GroupOrder([1], [[(0, 9)]], num_draws=50),
        WeightedOrder(cumulative_weights(np.ones(9)), num_draws=50),
    ],
    ids=lambda order: type(order).__name__,
)
def test_a_position_outside_is_an_index_error(order: Order, position: int) -> None:
    with pytest.raises(IndexError, match="expected 0 to 49"):
        order.sample(position)
    with pytest.raises(IndexError, match="expected 0 to 49"):
        order.samples(np.array([0, position]))


@given(
    num_samples=st.integers(1, 500), world_size=st.integers(1, 8), per_rank=st.integers(1, 5),
    steps=st.integers(0, 9),
)  # fmt: skip
def test_a_rank_stays_in_its_lanes(
    num_samples: int, world_size: int, per_rank: int, steps: int
) -> None:
    """Lanes are consecutive parts, the longer ones first, and each is read in order."""
    lanes = world_size * per_rank
    parts = [part.tolist() for part in np.array_split(np.arange(num_samples), lanes)]
    order = LaneOrder(SequentialOrder(num_samples), lanes)
    consumed = min(steps * world_size, num_samples)
    for rank in range(world_size):
        own = [sample for part in parts[rank::world_size] for sample in part]
        taken = [order.sample(p) for p in range(consumed + rank, num_samples, world_size)]
        assert set(taken) <= set(own)
    assert [order.sample(p) for p in range(0, num_samples, lanes)] == parts[0]


def test_impossible_orders_are_refused() -> None:
    for make in (SequentialOrder, GlobalOrder, BlockOrder):
        with pytest.raises(UserError, match="num_samples 0: expected 1 to"):
            make(0)
    with pytest.raises(UserError, match="block_size 0: expected 1 or more"):
        BlockOrder(5, block_size=0)
    with pytest.raises(UserError, match="lanes 0: expected 1 or more"):
        LaneOrder(GlobalOrder(5), 0)
    with pytest.raises(UserError, match="window_blocks -1: expected 1 or more"):
        BlockOrder(5, window_blocks=-1)
    tables: list[Any] = [np.arange(4), np.ones(5), np.ones((5, 1), int)]
    for table in tables:
        with pytest.raises(UserError, match=r"expected \(5,\) integers"):
            MappedOrder(GlobalOrder(5), table)


# Weights


def groups_by_the_document(
    weights: list[int], groups: list[list[int]], seed: int, epoch: int, num_draws: int
) -> list[int]:
    """Draws one by one, by walking the whole list of members."""
    thresholds, aliases = alias_table(weights)
    hashes = [CounterHash(seed=seed, epoch=epoch, stream=s) for s in ("column", "coin", "member")]
    drawn = []
    for position in range(num_draws):
        column = hashes[0].bits(position) * len(weights) // 2**64
        coin = hashes[1].bits(position) * sum(weights) // 2**64
        group = groups[column if coin < thresholds[column] else aliases[column]]
        drawn.append(group[hashes[2].bits(position) * len(group) // 2**64])
    return drawn


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=30).filter(any))
def test_an_alias_table_gives_each_its_exact_share(weights: list[int]) -> None:
    thresholds, aliases = alias_table(weights)
    total, shares = sum(weights), Counter[int]()
    for column, (threshold, alias) in enumerate(zip(thresholds, aliases, strict=True)):
        assert 0 <= threshold <= total
        shares[column] += threshold
        shares[alias] += total - threshold
    assert [shares[group] for group in range(len(weights))] == [w * len(weights) for w in weights]


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=20).filter(any))
def test_integer_weights_are_within_one_of_the_share(weights: list[float]) -> None:
    whole = integer_weights(weights)
    total = sum(map(Fraction, weights))
    if all(weight.is_integer() for weight in weights):
        assert whole == weights
    else:
        for number, weight in zip(whole, weights, strict=True):
            assert abs(number - Fraction(weight) / total * 2**53) <= 1
            assert (number == 0) == (weight == 0)


@given(st.data(), st.integers(0, 99), st.integers(0, 9))
def test_group_order_is_what_the_document_says(data: st.DataObject, seed: int, epoch: int) -> None:
    runs, groups, weights = [], [], []
    for _ in range(data.draw(st.integers(1, 6))):
        starts = data.draw(st.lists(st.integers(0, 1000), max_size=4))
        runs.append([(start, start + data.draw(st.integers(0, 5))) for start in starts])
        groups.append([sample for start, stop in runs[-1] for sample in range(start, stop)])
        weights.append(data.draw(st.integers(0, 10)) if groups[-1] else 0)
    if not any(weights):
        with pytest.raises(UserError, match="all are 0"):
            GroupOrder(weights, runs, num_draws=10)
        return
    order = GroupOrder(weights, runs, num_draws=40, seed=seed, epoch=epoch)
    expected = groups_by_the_document(weights, groups, seed, epoch, 40)
    assert all_of(order) == expected
    assert [order.sample(position) for position in range(40)] == expected
    other = GroupOrder(weights, [np.array(run) for run in runs], num_draws=40)
    assert all_of(other.keyed(seed, epoch)) == expected
    assert other.name == order.name


def test_group_counts_are_near_their_expectation() -> None:
    runs = [[(0, 10), (90, 100)], [(10, 90)], [(200, 300)]]
    order = GroupOrder([2, 1, 0], runs, num_draws=90_000, seed=3)
    counts = Counter(all_of(order))
    outer = sum(counts[sample] for run in runs[0] for sample in range(*run))
    assert abs(outer - 60_000) < 4 * sqrt(90_000 * 2 / 9)
    assert sum(counts[sample] for sample in range(10, 90)) == 90_000 - outer
    for sample, expected in [(0, 3000), (9, 3000), (90, 3000), (99, 3000), (10, 375), (89, 375)]:
        assert abs(counts[sample] - expected) < 4 * sqrt(expected)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60).filter(any),
    st.sampled_from([np.uint8, np.int64, np.float32, np.float64]),
    st.integers(0, 99),
)
def test_weighted_order_is_the_first_sum_above_a_level(
    weights: list[int], dtype: type[np.number], seed: int
) -> None:
    order = WeightedOrder(cumulative_weights(np.array(weights, dtype)), num_draws=50, seed=seed)
    hashes, total = CounterHash(seed=seed, epoch=0, stream="weight"), sum(weights)
    expected = []
    for position in range(50):
        if np.dtype(dtype).kind == "f":
            level: float = (hashes.bits(position) // 2**11) / 2**53 * total
        else:
            level = hashes.bits(position) * total // 2**64
        expected.append(next(i for i in range(len(weights)) if sum(weights[: i + 1]) > level))
    assert all_of(order) == expected
    assert [order.sample(position) for position in range(50)] == expected
    assert min(weights[sample] for sample in expected) > 0


@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_sample_weights_may_be_memory_mapped(tmp_path: Path, dtype: type[np.number]) -> None:
    weights = np.array([1, 0, 2, 3] * 25_000, dtype)
    np.save(tmp_path / "sums.npy", cumulative_weights(weights))
    order = WeightedOrder(np.load(tmp_path / "sums.npy", mmap_mode="r"), seed=5)
    assert order.num_samples == 100_000
    samples = np.array(all_of(order))
    counts = np.bincount(samples % 4, minlength=4)
    expected = np.array([100_000 / 6, 0, 100_000 / 3, 100_000 / 2])
    assert (np.abs(counts - expected) <= 4 * np.sqrt(expected)).all()
    assert all_of(order.keyed(5, 1)) != samples.tolist()
    # With replacement: by chance 1/e of the samples of mean weight would be missing.
    assert len(set(samples.tolist())) < 70_000


def test_large_integer_weights_stay_exact() -> None:
    sums = cumulative_weights(np.array([2**61, 1, 2**60], np.uint64))
    assert sums.tolist() == [2**61, 2**61 + 1, 2**61 + 1 + 2**60]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -1.0], r"weights\[1\] is -1.0: expected a number of 0 or more"),
        ([1.0, float("nan")], r"weights\[1\] is nan"),
        ([float("inf"), 1.0], r"weights\[0\] is inf"),
        ([0, 0], "all are 0|expected more than 0"),
        ([2**61, 2**61], "sum to 4611686018427387904|sum to 4.6"),
    ],
)
def test_impossible_weights_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        cumulative_weights(np.array(weights))
    with pytest.raises(UserError, match=message):
        integer_weights(weights)


def test_impossible_groups_and_sums_are_refused() -> None:
    with pytest.raises(UserError, match="2 weights for 1 groups"):
        GroupOrder([1, 2], [[(0, 1)]], num_draws=1)
    with pytest.raises(UserError, match="group 1: weight 2 but no samples"):
        GroupOrder([1, 2], [[(0, 1)], [(3, 3)]], num_draws=1)
    with pytest.raises(UserError, match="group 0: runs must be"):
        GroupOrder([1], [[(3, 2)]], num_draws=1)
    with pytest.raises(UserError, match="num_samples 0"):
        GroupOrder([1], [[(0, 1)]], num_draws=0)
    with pytest.raises(
        UserError, match=r"cumulative int64 of shape \(2,\): expected \(n,\) uint64"
    ):
        WeightedOrder(np.array([1, 2]))
    with pytest.raises(UserError, match=r"weights sum to 0.0"):
        WeightedOrder(np.array([0.0]))


# The sampler


@given(covering_orders(), st.integers(1, 7), st.integers(1, 6), st.sampled_from(["drop", "pad"]))
def test_ranks_part_an_epoch_and_the_tail_follows_its_rule(
    order: Order, world_size: int, batch_size: int, tail: str
) -> None:
    whole, size = all_of(order.keyed(3, 0)), world_size * batch_size
    sampler_of = SamplerOf(
        num_samples=len(whole), world_size=world_size, seed=3, batch_size=batch_size, tail=tail,
        shuffle=order,
    )  # fmt: skip
    if tail == "drop" and len(whole) < size:
        with pytest.raises(UserError, match="so tail='drop' leaves out all"):
            sampler_of(0)
        return
    if tail == "drop":
        expected = whole[: len(whole) // size * size]
    else:
        expected = whole + [whole[i % len(whole)] for i in range(-len(whole) % size)]
    assert in_steps(sampler_of, world_size, batch_size) == expected
    lengths = {len(sampler_of(rank)) for rank in range(world_size)}
    assert lengths == {len(expected) // world_size}


@given(
    st.integers(1, 2000), st.integers(1, 3), st.integers(1, 300), st.sampled_from(["drop", "pad"]),
    st.data(),
)  # fmt: skip
def test_the_first_sample_of_a_batch_tells_the_others(
    num_samples: int, world_size: int, batch_size: int, tail: str, data: st.DataObject
) -> None:
    num_samples += world_size * batch_size
    sampler = SamplerOf(
        num_samples=num_samples, world_size=world_size, seed=3, batch_size=batch_size, tail=tail,
        shuffle="global",
    )(data.draw(st.integers(0, world_size - 1)))  # fmt: skip
    sampler.consumed = data.draw(st.integers(0, num_samples))
    given_ = list(sampler)
    assert len(given_) % batch_size == 0
    for place, sample in enumerate(given_):
        batch = given_[place : place + batch_size]
        told = getattr(sample, "batch", None)
        assert told == (tuple(batch) if batch_size > 1 and place % batch_size == 0 else None)


@given(
    SIZES,
    st.tuples(st.integers(1, 6), st.integers(1, 5)),
    st.tuples(st.integers(1, 6), st.integers(1, 5)),
    st.sampled_from(["global", "block", "none"]),
    st.data(),
)
def test_order_resumed_at_k_equals_tail_also_in_another_world(
    num_samples: int, first: tuple[int, int], second: tuple[int, int], shuffle: str,
    data: st.DataObject,
) -> None:  # fmt: skip
    settings: dict[str, Any] = {"num_samples": num_samples, "tail": "pad", "shuffle": shuffle}
    begun = SamplerOf(**settings, seed=5, world_size=first[0], batch_size=first[1])
    size = first[0] * first[1]
    num_steps = data.draw(st.integers(0, -(-num_samples // size)))
    trainer = begun(0)
    trainer.set_epoch(2)
    for _ in range(num_steps):
        trainer.advance(size)
    whole = all_of(trainer._order.keyed(5, 2))
    # Another seed of the resumed run is replaced by the state's.
    resumed = SamplerOf(
        trainer.state_dict(), **settings, seed=6, world_size=second[0], batch_size=second[1]
    )
    rest = in_steps(resumed, *second)
    expected = whole[num_steps * size :]
    assert rest[: len(expected)] == expected
    assert len(rest) - len(expected) < second[0] * second[1]
    assert rest[len(expected) :] == [
        whole[i % num_samples] for i in range(len(rest) - len(expected))
    ]


def test_four_ranks_then_three_in_the_middle_of_an_epoch() -> None:
    whole = all_of(GlobalOrder(1000, seed=1, epoch=0))
    four = SamplerOf(num_samples=1000, world_size=4, batch_size=8, seed=1)
    before = in_steps(four, 4, 8, num_steps=10)
    trainer = four(2)
    trainer.consumed = 10 * 4 * 8
    three = SamplerOf(trainer.state_dict(), num_samples=1000, world_size=3, batch_size=8, seed=1)
    after = in_steps(three, 3, 8)
    assert before == whole[:320]
    assert after == whole[320 : 320 + 680 // 24 * 24]
    assert len(three(0)) == 680 // 24 * 8


def test_the_first_samples_of_a_rank_of_order_version_1() -> None:
    sampler = ResumableSampler(1000, rank=1, world_size=3, seed=1, batch_size=4)
    sampler.set_epoch(2)
    sampler.advance(24)
    assert list(sampler)[:10] == [164, 308, 480, 553, 611, 783, 142, 94, 213, 422]


def test_iterating_changes_no_state_and_gives_the_same_again() -> None:
    sampler = ResumableSampler(5000, rank=0, world_size=1, seed=1)
    sampler.consumed = 100
    before = sampler.state_dict()
    running = iter(sampler)
    given_first = list(islice(running, 3000))
    assert sampler.state_dict() == before
    sampler.advance(50)
    sampler.set_epoch(1)
    # The pass goes on as it began.
    sampler.set_epoch(0)
    sampler.consumed = 100
    assert given_first + list(running) == list(sampler)
    assert len(sampler) == 4900


def test_an_epoch_begins_at_its_beginning_and_the_same_epoch_stays() -> None:
    sampler = ResumableSampler(100, rank=0, world_size=1, batch_size=10)
    sampler.advance(30)
    sampler.set_epoch(0)
    assert (sampler.epoch, sampler.consumed, len(sampler)) == (0, 30, 70)
    sampler.advance(70)
    assert list(sampler) == []
    sampler.set_epoch(1)
    assert (sampler.epoch, sampler.consumed, len(sampler)) == (1, 0, 100)
    assert list(sampler) == all_of(GlobalOrder(100, seed=0, epoch=1))
    with pytest.raises(UserError, match="epoch -1: expected 0 or more"):
        sampler.set_epoch(-1)


def test_more_than_the_epoch_has_cannot_be_consumed() -> None:
    dropping = ResumableSampler(103, rank=0, world_size=2, batch_size=5)
    dropping.consumed = 100
    with pytest.raises(UserError, match="epoch 0: consumed 110, the epoch has 103 at most"):
        dropping.advance(10)
    padding = ResumableSampler(103, rank=0, world_size=2, batch_size=5, tail="pad")
    padding.consumed = 100
    padding.advance(10)
    assert (padding.consumed, len(padding)) == (103, 0)
    with pytest.raises(UserError, match="epoch 0: consumed 113, the epoch has 112 at most"):
        padding.advance(10)
    with pytest.raises(UserError, match="consumed -1"):
        padding.consumed = -1
    assert padding.consumed == 103


def test_the_state_has_these_fields() -> None:
    sampler = ResumableSampler(100, rank=1, world_size=2, seed=7, shuffle="block", digest="9f2c")
    sampler.set_epoch(3)
    sampler.advance(40)
    assert sampler.state_dict() == {
        "order_version": 1, "order": "block:1024x16", "num_samples": 100, "digest": "9f2c",
        "seed": 7, "epoch": 3, "consumed": 40,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_samples", 99, "sampler state: num_samples 99, this run has 100"),
        ("digest", "51ab", "sampler state: digest '51ab', this run has '9f2c'"),
        ("order", "none", "sampler state: order 'none', this run has 'global'"),
        ("order_version", 2, "sampler state: order_version 2, this run has 1"),
    ],
)
def test_a_state_of_something_else_is_refused(field: str, value: object, message: str) -> None:
    sampler = ResumableSampler(100, rank=0, world_size=1, digest="9f2c")
    before = sampler.state_dict()
    with pytest.raises(UserError, match=message):
        sampler.load_state_dict({**before, "epoch": 5, field: value})
    assert sampler.state_dict() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"consumed": 101}, "epoch 0, consumed 101: expected .* 0 to 100"),
        ({"consumed": -1}, "consumed -1"),
        ({"epoch": -1}, "epoch -1"),
        ({"seed": "x"}, r"seed, epoch, consumed \['x', 0, 0\]: expected integers"),
    ],
)
def test_an_impossible_state_is_refused(change: dict[str, Any], message: str) -> None:
    sampler = ResumableSampler(100, rank=0, world_size=1)
    with pytest.raises(DataError, match=message):
        sampler.load_state_dict({**sampler.state_dict(), **change})
    with pytest.raises(DataError, match="sampler state: no consumed, epoch; expected"):
        sampler.load_state_dict(
            {k: v for k, v in sampler.state_dict().items() if k not in ("consumed", "epoch")}
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank 0, world_size None: expected both or neither"),
        ({"world_size": 2}, "rank None, world_size 2: expected both or neither"),
        ({"rank": 2, "world_size": 2}, r"rank 2: expected 0 to 1 \(world_size\)"),
        ({"batch_size": 0}, "batch_size 0: expected 1 or more"),
        ({"tail": "keep"}, "tail 'keep': expected 'drop' or 'pad'"),
        ({"shuffle": "yes"}, r"shuffle 'yes': expected one of \['global', 'block', 'none'\]"),
        ({"shuffle": GlobalOrder(9)}, "num_samples 10: the order global has 9 positions"),
        ({"batch_size": 11}, "num_samples 10: fewer than a batch of 11 on each of 1 ranks"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ResumableSampler(10, **settings)


def test_the_world_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert world() == (0, 1)
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(UserError, match="RANK='3', WORLD_SIZE=None: expected two numbers"):
        world()
    monkeypatch.setenv("WORLD_SIZE", "eight")
    with pytest.raises(UserError, match="RANK='3', WORLD_SIZE='eight'"):
        world()
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert world() == (3, 8)
    sampler = ResumableSampler(100)
    assert (sampler.rank, sampler.world_size, len(sampler)) == (3, 8, 12)


def test_an_initialized_torch_distributed_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    stand_in = SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: False,
        get_rank=lambda: 1, get_world_size=lambda: 2,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch.distributed", stand_in)
    assert world() == (3, 8)
    stand_in.is_initialized = lambda: True
    assert world() == (1, 2)


def test_weights_resume_as_exactly_as_coverage() -> None:
    order = GroupOrder([3, 1], [[(0, 10)], [(10, 30)]], num_draws=640)
    whole = all_of(order.keyed(4, 0))
    sampler = ResumableSampler(640, rank=0, world_size=1, seed=4, batch_size=16, shuffle=order)
    sampler.consumed = 160
    again = SamplerOf(
        sampler.state_dict(), num_samples=640, world_size=2, batch_size=16, shuffle=order
    )
    assert in_steps(again, 2, 16) == whole[160:]
    other = GroupOrder([1, 1], [[(0, 10)], [(10, 30)]], num_draws=640)
    with pytest.raises(UserError, match="sampler state: order 'groups:.*', this run has 'groups:"):
        SamplerOf(sampler.state_dict(), num_samples=640, world_size=2, shuffle=other)(0)


# Loaders


class Numbers(Dataset[int]):
    """Its items are their positions."""

    def __init__(self, num_samples: int) -> None:
        self.num_samples = num_samples

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, position: int) -> int:
        return position


def batches_of(loader: Any) -> Iterator[list[int]]:
    return (batch.tolist() for batch in loader)


@pytest.mark.parametrize(
    ("num_workers", "context"),
    [(0, None), (2, "fork"), pytest.param(1, "spawn", marks=pytest.mark.slow)],
)
def test_a_real_loader_trains_on_every_sample_once_and_resumes(
    num_workers: int, context: str | None
) -> None:
    whole = all_of(GlobalOrder(96, seed=1, epoch=0))

    def loader_of(sampler: ResumableSampler) -> DataLoader[int]:
        return DataLoader(
            Numbers(96), batch_size=8, sampler=sampler, num_workers=num_workers,
            multiprocessing_context=context, prefetch_factor=4 if num_workers else None,
        )  # fmt: skip

    sampler = ResumableSampler(96, rank=0, world_size=1, seed=1, batch_size=8)
    loader, seen, state = loader_of(sampler), [], {}
    assert len(loader) == 12
    for step, batch in enumerate(batches_of(loader), 1):
        seen += batch
        sampler.advance(sampler.global_batch_size)
        assert sampler.consumed == 8 * step  # whatever was fetched ahead
        if step == 5:
            state = sampler.state_dict()
    assert seen == whole
    resumed = ResumableSampler(96, rank=0, world_size=1, seed=1, batch_size=8)
    resumed.load_state_dict(state)
    loader = loader_of(resumed)
    assert len(loader) == 7
    assert [sample for batch in batches_of(loader) for sample in batch] == whole[40:]


def test_an_iterators_state_is_a_place_and_is_not_skipped_twice() -> None:
    """The calls that torchdata's StatefulDataLoader makes, in its order."""
    whole = all_of(GlobalOrder(1000, seed=1, epoch=3))
    sampler = ResumableSampler(1000, rank=1, world_size=2, seed=1, batch_size=5)
    sampler.set_epoch(3)
    running = iter(sampler)
    assert list(islice(running, 300)) == whole[1:600:2]
    saved = json.dumps([sampler.state_dict(), running.state_dict()])
    # A trainer that restored the sampler on its own, at another step, does no harm.
    for consumed in (0, 600, 610):
        again = ResumableSampler(1000, rank=0, world_size=4, seed=9, batch_size=5)
        again.consumed = consumed
        stale = iter(again)
        states = json.loads(saved)
        again.load_state_dict(states[0])
        stale = iter(again)
        stale.load_state_dict(states[1])
        assert (again.epoch, again.consumed) == (3, 600)
        assert list(stale) == whole[600::4]


def test_an_iterators_state_after_the_last_sample_goes_on_with_the_next_epoch() -> None:
    sampler = ResumableSampler(50, rank=0, world_size=1, seed=1, batch_size=8)
    running = iter(sampler)
    assert len(list(running)) == 48
    state = running.state_dict()
    assert state == {"epoch": 0, "consumed": 48}
    again = iter(sampler)
    again.load_state_dict(state)
    assert list(again) == []
    assert (sampler.epoch, sampler.consumed) == (1, 0)
    with pytest.raises(DataError, match="consumed 51"):
        again.load_state_dict({"epoch": 0, "consumed": 51})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata 0.11 calls it
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("tells", [False, True])
def test_stateful_data_loader_resumes_at_every_step(num_workers: int, tells: bool) -> None:
    stateful = importlib.import_module("torchdata.stateful_dataloader")

    def begin() -> tuple[ResumableSampler, Any]:
        sampler = ResumableSampler(50, rank=0, world_size=1, seed=1, batch_size=8, tail="pad")
        return sampler, stateful.StatefulDataLoader(
            Numbers(50), batch_size=8, sampler=sampler, num_workers=num_workers
        )

    epochs = [all_of(GlobalOrder(50, seed=1, epoch=epoch)) for epoch in range(2)]
    both = [epochs[0] + epochs[0][:6], epochs[1] + epochs[1][:6]]
    sampler, loader = begin()
    states: list[dict[str, Any]] = []
    for batch in batches_of(loader):
        assert batch == both[0][8 * len(states) :][:8]
        if tells:
            sampler.advance(8)
        states.append(loader.state_dict())
    assert len(states) == 7
    for step, state in [*enumerate(states, 1), (7, loader.state_dict())]:
        sampler, loader = begin()
        loader.load_state_dict(state)
        rest = [sample for batch in batches_of(loader) for sample in batch]
        if rest == both[1]:  # taken after the end
            assert (step, sampler.epoch) == (7, 1)
            continue
        assert rest == both[0][8 * step :]
        assert (sampler.epoch, sampler.consumed) == ((0, 8 * step) if step < 7 else (1, 0))
        sampler.set_epoch(1)
        assert [sample for batch in batches_of(loader) for sample in batch] == both[1]
