"""The keyed permutation: bijective for every size, fixed for ever, without visible structure."""

from math import ceil, sqrt

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from train_shards.errors import UserError
from train_shards.permutation import (
    MAX_SAMPLES,
    CounterHash,
    Permutation,
    derive_key,
    mix64,
    mix64_many,
)

AWKWARD = [
    1,
    2,
    3,
    4,
    5,
    7,
    63,
    64,
    65,
    97,
    255,
    256,
    257,
    1021,
    1024,
    1025,
    4095,
    4096,
    4097,
    65537,
]
KEYS = st.tuples(st.integers(-(2**70), 2**70), st.integers(0, 2**40))


def splitmix_output(value: int) -> int:
    """Written from the publication, one operation a line."""
    value %= 2**64
    value = value ^ value // 2**30
    value = value * 0xBF58476D1CE4E5B9 % 2**64
    value = value ^ value // 2**27
    value = value * 0x94D049BB133111EB % 2**64
    return value ^ value // 2**31


def image_by_the_document(
    num_samples: int, seed: int, epoch: int, stream: str, p: int, tweak: int = 0
) -> int:
    """``docs/order.md``, word by word; float square roots are exact at the sizes of this test."""
    a = ceil(sqrt(num_samples))
    a += a % 2
    b = ceil(num_samples / a)
    while True:
        u, v, m, n = p // b, p % b, a, b
        for i in range(24 if num_samples < 64 else 8):
            key = xxhash.xxh3_64(f"{seed}:{epoch}:{i}:{stream}".encode()).intdigest()
            f = splitmix_output(v + key + splitmix_output(tweak))
            u = (u + f // 2**24 * m // 2**40) % m
            u, v, m, n = v, u, n, m
        p = u * b + v
        if p < num_samples:
            return p


def normalized_chi_square(counts: np.ndarray, num_bins: int) -> float:
    """How many standard deviations the chi-square statistic lies above its expectation."""
    expected = counts.sum() / num_bins
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return (statistic - (num_bins - 1)) / sqrt(2 * (num_bins - 1))


def test_the_first_outputs_of_splitmix64() -> None:
    # For seed 0, as published with the generator's reference code.
    states = [(i * 0x9E3779B97F4A7C15) % 2**64 for i in (1, 2, 3)]
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [mix64(state) for state in states] == expected
    assert mix64_many(np.array(states, np.uint64)).tolist() == expected


def test_keys_of_order_version_1() -> None:
    assert derive_key(0, 0, "global", 0) == xxhash.xxh3_64_intdigest(b"0:0:0:global")
    assert derive_key(-5, 12, "window", 3) == xxhash.xxh3_64_intdigest(b"-5:12:3:window")


@pytest.mark.parametrize(
    ("num_samples", "seed", "epoch", "images"),
    [
        (10, 0, 0, [0, 7, 1, 8, 9, 2, 5, 3, 4, 6]),
        (1000, 0, 0, [135, 352, 861, 527, 577, 802, 941, 38, 833, 440]),
        (1000, 0, 1, [608, 805, 100, 552, 449, 961, 230, 884, 696, 316]),
        (1000, 1, 0, [462, 736, 603, 556, 725, 189, 732, 615, 552, 162]),
        (119_000_000, 7, 3,
            [67284969, 14803286, 94257650, 91077179, 57439814, 104828614,
             6699390, 12746225, 65890471, 114918237]),
        (2**40, 2**63, 2**20,
            [197951779163, 460950580937, 692444012901, 132101113081, 245656833824, 757478071393,
             7886383418, 339859900388, 169574388757, 162577486770]),
    ],
)  # fmt: skip
def test_images_of_order_version_1(
    num_samples: int, seed: int, epoch: int, images: list[int]
) -> None:
    permutation = Permutation(num_samples, seed=seed, epoch=epoch, stream="global")
    assert [permutation.permute(position) for position in range(10)] == images


def test_images_with_a_tweak_of_order_version_1() -> None:
    permutation = Permutation(1000, seed=0, epoch=0, stream="window")
    assert [permutation.permute(position, 5) for position in range(10)] == [
        724, 508, 663, 700, 320, 315, 183, 171, 268, 507,
    ]  # fmt: skip


@pytest.mark.parametrize("num_samples", AWKWARD)
def test_a_permutation_is_a_bijection(num_samples: int) -> None:
    permutation = Permutation(num_samples, seed=3, epoch=1, stream="x")
    images = permutation.permute_many(np.arange(num_samples))
    assert images.dtype == np.int64
    assert sorted(images.tolist()) == list(range(num_samples))


@given(st.integers(1, 3000), KEYS, st.sampled_from(["global", "block"]), st.integers(0, 2**40))
def test_every_size_and_key_gives_a_bijection(
    num_samples: int, key: tuple[int, int], stream: str, tweak: int
) -> None:
    permutation = Permutation(num_samples, seed=key[0], epoch=key[1], stream=stream)
    tweaks = np.full(num_samples, tweak)
    images = permutation.permute_many(np.arange(num_samples), tweaks).tolist()
    assert sorted(images) == list(range(num_samples))


@given(st.integers(1, 2**20), KEYS, st.integers(0, 2**40), st.data())
def test_images_are_what_the_document_says(
    num_samples: int, key: tuple[int, int], tweak: int, data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, num_samples - 1))
    image = Permutation(num_samples, seed=key[0], epoch=key[1], stream="s").permute(position, tweak)
    assert image == image_by_the_document(num_samples, key[0], key[1], "s", position, tweak)


@given(st.integers(1, MAX_SAMPLES), KEYS, st.data())
def test_scalar_and_vector_agree_and_the_inverse_inverts(
    num_samples: int, key: tuple[int, int], data: st.DataObject
) -> None:
    permutation = Permutation(num_samples, seed=key[0], epoch=key[1], stream="x")
    positions = data.draw(st.lists(st.integers(0, num_samples - 1), min_size=1, max_size=20))
    tweaks = data.draw(st.lists(st.integers(0, 2**40), min_size=20, max_size=20))[: len(positions)]
    one_by_one = [permutation.permute(p, t) for p, t in zip(positions, tweaks, strict=True)]
    assert permutation.permute_many(np.array(positions), np.array(tweaks)).tolist() == one_by_one
    assert [permutation.invert(i, t) for i, t in zip(one_by_one, tweaks, strict=True)] == positions
    assert permutation.permute_many(np.array(positions)).tolist() == [
        permutation.permute(p) for p in positions
    ]


def test_many_positions_across_blocks_agree_with_one_by_one() -> None:
    permutation = Permutation(20_011, seed=1, epoch=0, stream="x")
    positions = np.arange(20_011)[::-1]
    images = permutation.permute_many(positions, positions % 7)
    assert images.tolist() == [permutation.permute(p, p % 7) for p in positions.tolist()]
    assert positions[0] == 20_010  # the caller's array is left alone


def test_no_positions_have_no_images() -> None:
    permutation = Permutation(10, seed=1, epoch=0, stream="x")
    assert permutation.permute_many(np.zeros(0, np.int64)).tolist() == []


@pytest.mark.parametrize("num_samples", [0, -1, MAX_SAMPLES + 1])
def test_an_impossible_size_is_refused(num_samples: int) -> None:
    with pytest.raises(UserError, match=f"num_samples {num_samples}: expected 1 to 1099511627776"):
        Permutation(num_samples, seed=0, epoch=0, stream="x")


@pytest.mark.parametrize("position", [-1, 10])
def test_a_position_outside_is_an_index_error(position: int) -> None:
    permutation = Permutation(10, seed=0, epoch=0, stream="x")
    with pytest.raises(IndexError, match="expected 0 to 9"):
        permutation.permute(position)
    with pytest.raises(IndexError, match="expected 0 to 9"):
        permutation.invert(position)
    with pytest.raises(IndexError, match="expected 0 to 9"):
        permutation.permute_many(np.array([3, position]))


@pytest.mark.parametrize("num_samples", [4096, 10_007, 1_000_003])
def test_images_of_neighbours_fall_in_all_pairs_of_bins(num_samples: int) -> None:
    permutation = Permutation(num_samples, seed=11, epoch=0, stream="x")
    images = permutation.permute_many(np.arange(num_samples))
    for distance in (1, 2, 64, 101):
        bins = 8 * (images * 8 // num_samples)[:-distance] + (images * 8 // num_samples)[distance:]
        counts = np.bincount(bins, minlength=64)
        assert len(counts) == 64
        assert normalized_chi_square(counts, 64) < 4


@pytest.mark.parametrize("num_samples", [1000, 65_536, 1_000_003])
def test_displacements_are_those_of_a_random_permutation(num_samples: int) -> None:
    permutation = Permutation(num_samples, seed=5, epoch=2, stream="x")
    positions = np.arange(num_samples)
    moved = np.abs(permutation.permute_many(positions) - positions) / num_samples
    # Of two random places in [0, 1): mean distance 1/3, standard deviation sqrt(1/18) = 0.2357.
    assert abs(moved.mean() - 0.3333) < 4 * 0.2357 / sqrt(num_samples)
    assert abs(moved.std() - 0.2357) < 0.01
    assert (moved == 0).sum() <= 6  # fixed points: one expected


def test_steps_between_neighbours_images_do_not_repeat() -> None:
    # A linear map would give one difference again and again; by chance most come once.
    images = Permutation(1_000_003, seed=5, epoch=2, stream="x").permute_many(np.arange(20_000))
    _, counts = np.unique(np.diff(images), return_counts=True)
    assert counts.max() <= 5
    assert len(counts) > 19_000


def test_successive_epochs_begin_with_other_samples() -> None:
    batches = [
        set(Permutation(100_000, seed=1, epoch=e, stream="x").permute_many(np.arange(256)).tolist())
        for e in range(20)
    ]
    shared = [len(a & b) for number, a in enumerate(batches) for b in batches[:number]]
    assert len(shared) == 190
    # Of 256 x 256 / 100,000 = 0.66 expected.
    assert max(shared) <= 6
    assert sum(shared) / len(shared) < 0.9


@pytest.mark.parametrize("num_samples", [3, 4, 5, 6, 7])
def test_all_orders_of_few_samples_are_equally_likely(num_samples: int) -> None:
    num_trials = 100_000
    permutation = Permutation(num_samples, seed=8, epoch=0, stream="x")
    codes = np.zeros(num_trials, np.int64)
    for position in range(num_samples):
        positions = np.full(num_trials, position)
        codes = codes * num_samples + permutation.permute_many(positions, np.arange(num_trials))
    orders, counts = np.unique(codes, return_counts=True)
    num_orders = {3: 6, 4: 24, 5: 120, 6: 720, 7: 5040}[num_samples]
    assert len(orders) == num_orders
    assert normalized_chi_square(counts, num_orders) < 4


@pytest.mark.parametrize("num_samples", [8, 16, 30, 63, 64, 100])
def test_all_pairs_of_images_are_equally_likely(num_samples: int) -> None:
    num_trials = 100_000
    permutation = Permutation(num_samples, seed=8, epoch=0, stream="x")
    tweaks = np.arange(num_trials)
    first, second = (
        permutation.permute_many(np.full(num_trials, p), tweaks) for p in (0, num_samples // 2)
    )
    counts = np.bincount(first * num_samples + second, minlength=num_samples**2)
    off_diagonal = counts.reshape(num_samples, num_samples)[~np.eye(num_samples, dtype=bool)]
    assert off_diagonal.sum() == num_trials
    assert normalized_chi_square(off_diagonal, num_samples * (num_samples - 1)) < 4


@given(KEYS, st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=10), st.integers(1, 2**62))
def test_random_numbers_are_the_upper_half_of_a_product(
    key: tuple[int, int], positions: list[int], bound: int
) -> None:
    numbers = CounterHash(seed=key[0], epoch=key[1], stream="s")
    first, second = (xxhash.xxh3_64_intdigest(f"{key[0]}:{key[1]}:{i}:s".encode()) for i in (0, 1))
    bits = [splitmix_output(splitmix_output(p + first) ^ second) for p in positions]
    assert [numbers.bits(p) for p in positions] == bits
    assert numbers.bits_many(np.array(positions)).tolist() == bits
    assert [numbers.below(p, bound) for p in positions] == [b * bound // 2**64 for b in bits]
    bounds = np.full(len(positions), bound)
    for many in (bound, bounds):
        found = numbers.below_many(np.array(positions), many).tolist()
        assert found == [b * bound // 2**64 for b in bits]


def test_random_numbers_are_even() -> None:
    numbers = CounterHash(seed=1, epoch=0, stream="s").below_many(np.arange(100_000), 100)
    counts = np.bincount(numbers)
    assert len(counts) == 100
    assert normalized_chi_square(counts, 100) < 4
