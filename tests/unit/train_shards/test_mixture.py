"""The mixture: draws by index, weights, and every sample of every member within reach."""

import logging
import pickle
from collections import Counter
from typing import Any, SupportsIndex

import numpy as np
import pytest

from train_shards.errors import UserError
from train_shards.mixture import MultiBehaviorLeRobotDataset
from train_shards.sampling import ResumableSampler
from train_shards.skill_weights import WeightGroup


class Member:
    """Items that name their member and position."""

    run_scope = None

    def __init__(self, name: str, length: int, groups: list[WeightGroup] | None = None) -> None:
        self.digest, self.length = name, length
        self.groups = groups or [WeightGroup(1.0, [(0, length)])]

    def weight_groups(self) -> list[WeightGroup]:
        return self.groups

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        if not 0 <= int(index) < self.length:
            raise IndexError(int(index))
        return {"member": self.digest, "position": int(index)}


def mixed(**options: Any) -> MultiBehaviorLeRobotDataset:
    return MultiBehaviorLeRobotDataset([Member("a", 1000), Member("b", 30)], **options)


def members(dataset: MultiBehaviorLeRobotDataset) -> str:
    return "".join(item["member"] for item in dataset)


def test_is_as_long_as_the_longest_and_short_members_begin_again() -> None:
    dataset = mixed(sample_weights=[1, 3])
    assert len(dataset) == 1000
    items = list(dataset)
    assert len(items) == 1000
    for index, item in enumerate(items):
        assert item["position"] == (index if item["member"] == "a" else index % 30)
    # 750 of 1000; four standard deviations are 55.
    assert abs(Counter(item["member"] for item in items)["b"] - 750) < 55


def test_draws_depend_on_seed_and_index_alone() -> None:
    drawn = members(mixed())
    np.random.seed(1)  # noqa: NPY002
    assert members(mixed()) == drawn
    copied = pickle.loads(pickle.dumps(mixed()))
    assert [copied[i]["member"] for i in (900, 5, 17)] == [drawn[i] for i in (900, 5, 17)]
    assert members(mixed(seed=43)) != drawn
    assert mixed()[-1] == mixed()[999]


def test_upstream_draws_from_numpys_global_generator() -> None:
    np.random.seed(7)  # noqa: NPY002
    expected = "".join("ab"[np.random.choice(range(2), p=[0.25, 0.75])] for _ in range(50))  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    dataset = mixed(sample_weights=[1, 3], compat="upstream")
    assert "".join(dataset[i]["member"] for i in range(950, 1000)) == expected
    assert dataset.sampling_order is None


def test_the_order_reaches_every_sample_and_keeps_the_members_own_weights() -> None:
    weighted = [WeightGroup(0.0, [(0, 10)]), WeightGroup(1.0, [(10, 20)]),
                WeightGroup(3.0, [(20, 30)])]  # fmt: skip
    dataset = MultiBehaviorLeRobotDataset(
        [Member("a", 40), Member("b", 30, weighted)], sample_weights=[0.5, 0.5]
    )
    order = dataset.sampling_order
    assert order is not None
    sampler = ResumableSampler(
        len(dataset), rank=0, world_size=1, shuffle=order, digest=dataset.digest
    )
    seen: Counter[tuple[str, int]] = Counter()
    for epoch in range(500):
        sampler.set_epoch(epoch)
        for index in sampler:
            item = dataset[index]
            seen[item["member"], item["position"]] += 1
    assert set(seen) == {("a", p) for p in range(40)} | {("b", p) for p in range(10, 30)}
    shares = [
        sum(n for (m, p), n in seen.items() if m == member and p in range(*positions)) / 20_000
        for member, positions in (("a", (0, 40)), ("b", (10, 20)), ("b", (20, 30)))
    ]
    assert shares == pytest.approx([0.5, 0.125, 0.375], abs=0.015)


def test_beyond_the_length_indices_name_samples() -> None:
    dataset = mixed()
    assert dataset[1000] == {"member": "a", "position": 0}
    assert dataset[2029] == {"member": "b", "position": 29}
    with pytest.raises(IndexError, match="sample 2030: expected less than 2030"):
        dataset[2030]
    with pytest.raises(IndexError, match="sample -1001"):
        dataset[-1001]


def test_weights_are_normalised_and_part_of_the_digest() -> None:
    assert mixed(sample_weights=[1, 3]).sample_weights == [0.25, 0.75]
    assert mixed().sample_weights == [0.5, 0.5]
    assert mixed().digest == mixed().digest
    assert mixed(sample_weights=[1, 3]).digest != mixed().digest
    order = mixed(sample_weights=[0, 1]).sampling_order
    assert order is not None
    assert all(order.sample(position) >= 2000 for position in range(100))


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1.0], "2 data sets and 1 weights"), ([1, -1], "expected a number of 0 or more"),
     ([0, 0], "all are 0")],
)  # fmt: skip
def test_weights_that_make_no_sense_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mixed(sample_weights=weights)


def test_no_members_are_refused() -> None:
    with pytest.raises(UserError, match="0 data sets"):
        MultiBehaviorLeRobotDataset([])


def test_a_member_without_any_weight_is_refused() -> None:
    nothing = Member("b", 30, [WeightGroup(0.0, [(0, 30)])])
    with pytest.raises(UserError, match="every frame of a member has weight 0"):
        _ = MultiBehaviorLeRobotDataset([Member("a", 9), nothing]).sampling_order


def test_members_that_read_the_same_output_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    MultiBehaviorLeRobotDataset([Member("a", 5), Member("a", 5)])
    assert "some serve the same samples" in caplog.text
