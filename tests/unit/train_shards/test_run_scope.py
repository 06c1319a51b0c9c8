"""The samples of one run against the real sampler, walked step by step."""

from itertools import islice
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from train_shards.errors import UserError
from train_shards.order import GlobalOrder
from train_shards.run_scope import RunScope, check_run, epoch_parts, run_samples
from train_shards.sampling import ResumableSampler


def walked(
    num_samples: int,
    steps: int,
    num_ranks: int,
    batch_size: int,
    seed: int,
    tail: Literal["drop", "pad"] = "drop",
) -> list[tuple[int, int]]:
    """``(epoch, sample)`` of each sample that some ranks take in so many steps of a training."""
    samplers = [
        ResumableSampler(
            num_samples, rank=rank, world_size=num_ranks, seed=seed, batch_size=batch_size,
            tail=tail,
        )
        for rank in range(num_ranks)
    ]  # fmt: skip
    taken: list[tuple[int, int]] = []
    epoch = 0
    while steps:
        for sampler in samplers:
            sampler.set_epoch(epoch)
        now = min(steps, len(samplers[0]) // batch_size)
        for sampler in samplers:
            taken += [(epoch, sample) for sample in islice(sampler, now * batch_size)]
        steps -= now
        epoch += 1
    return taken


def scope_of(num_samples: int, steps: int, global_batch: int, seed: int = 3) -> RunScope:
    return RunScope(
        steps=steps, global_batch=global_batch, seed=seed, num_samples=num_samples, universe="ab",
        num_stored=len(run_samples(num_samples, steps, global_batch, seed)),
    )  # fmt: skip


runs = st.tuples(
    st.integers(1, 90), st.integers(1, 40), st.integers(1, 3), st.integers(1, 7), st.integers(0, 9)
)


@given(runs)
def test_a_run_sees_what_its_sampler_gives(run: tuple[int, int, int, int, int]) -> None:
    num_samples, steps, num_ranks, batch_size, seed = run
    assume(num_ranks * batch_size <= num_samples)
    taken = walked(*run)
    found = run_samples(num_samples, steps, num_ranks * batch_size, seed).tolist()
    assert found == sorted({sample for _, sample in taken})
    scope = scope_of(num_samples, steps, num_ranks * batch_size, seed)
    for epoch in range(taken[-1][0] + 2):
        assert scope.taken(epoch) == sum(own == epoch for own, _ in taken)


@given(runs, st.integers(1, 40), st.integers(1, 20), st.sampled_from(["drop", "pad"]))
def test_a_run_is_served_exactly_if_each_epoch_takes_no_more(
    run: tuple[int, int, int, int, int],
    steps: int,
    batch_size: int,
    tail: Literal["drop", "pad"],
) -> None:
    num_samples, stored_steps, num_ranks, stored_batch, seed = run
    assume(max(num_ranks * stored_batch, batch_size) <= num_samples)
    scope = scope_of(num_samples, stored_steps, num_ranks * stored_batch, seed)
    stored = walked(*run)
    asked = {*walked(num_samples, steps, 1, batch_size, seed, tail)}
    sampler = ResumableSampler(
        num_samples, rank=0, world_size=1, seed=seed, batch_size=batch_size, tail=tail
    )
    if asked <= {*stored} or len({sample for _, sample in stored}) == num_samples:
        check_run(scope, sampler, steps, where="out")
    else:
        with pytest.raises(UserError, match=f"out: holds the samples of one run, {scope}"):
            check_run(scope, sampler, steps, where="out")
    if tail == "drop":
        other = scope_of(num_samples, steps, batch_size, seed)
        assert scope.covers(other) == (asked <= {*stored})


def test_a_resumed_run_counts_from_where_it_stands() -> None:
    scope = scope_of(100, 6, 10)
    sampler = ResumableSampler(100, rank=0, world_size=1, seed=3, batch_size=20)
    sampler.consumed = 40
    check_run(scope, sampler, 1, where="out")
    with pytest.raises(UserError, match=r"first 60 of epoch 0\. This run takes 80: 2 steps of 20 "):
        check_run(scope, sampler, 2, where="out")
    one_more = ResumableSampler(100, rank=0, world_size=1, seed=3, batch_size=61)
    with pytest.raises(UserError, match=r"first 60 of epoch 0\. This run takes 61: 1 steps of 61 "):
        check_run(scope, one_more, 1, where="out")
    sampler.set_epoch(1)
    with pytest.raises(UserError, match="first 0 of epoch 1. This run takes 20: a step of 20"):
        check_run(scope, sampler, None, where="out")


@pytest.mark.parametrize(
    ("options", "both"),
    [
        ({"seed": 4}, "seed 3, this run has 4"),
        ({"seed": 3, "shuffle": "block"}, "order 'global', this run has 'block:1024x16'"),
        ({"seed": 3, "shuffle": "none"}, "order 'global', this run has 'none'"),
    ],
)
def test_another_seed_or_order_is_refused_with_both(options: dict[str, int], both: str) -> None:
    sampler = ResumableSampler(100, rank=0, world_size=1, batch_size=10, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"run, steps=6 global-batch=10 seed=3: {both}"):
        check_run(scope_of(100, 6, 10), sampler, 1, where="out")
    check_run(None, sampler, 10**6, where="out")
    check_run(scope_of(100, 20, 100), sampler, 10**6, where="out")  # every sample is stored


def test_the_next_position_of_the_first_epoch_that_has_it_stands_in() -> None:
    scope = scope_of(20, 5, 8, seed=1)  # epochs of 16, the third of 8
    orders = [[GlobalOrder(20, seed=1, epoch=e).sample(p) for p in range(16)] for e in range(2)]
    assert list(scope.stand_ins(orders[0][14])) == [orders[0][15], *orders[0][:14]]
    (late, *_) = [sample for sample in orders[1] if sample not in orders[0]]
    place = orders[1].index(late)
    assert list(scope.stand_ins(late)) == orders[1][place + 1 :] + orders[1][:place]
    never = GlobalOrder(20, seed=1).sample(17)
    assert list(scope_of(20, 2, 8, seed=1).stand_ins(never)) == []


def test_a_step_larger_than_the_data_set_is_refused() -> None:
    with pytest.raises(UserError, match="global-batch=21: the data set has 20 samples"):
        run_samples(20, 1, 21, 0)
    assert list(epoch_parts(20, 3, 21)) == []
    with pytest.raises(ValueError, match="21 in a step"):
        RunScope(steps=1, global_batch=21, seed=0, num_samples=20, universe="", num_stored=20)
    with pytest.raises(ValueError, match="5000 epochs that does not see every sample"):
        RunScope(steps=10**4, global_batch=9, seed=0, num_samples=20, universe="", num_stored=19)
