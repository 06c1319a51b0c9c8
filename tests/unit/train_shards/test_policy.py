"""The loss against a formula written out, noise that knows no ranks, prompts as numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from train_shards.norm_stats_file import NormStats
from train_shards.policy import Batch, Noise, Policy, draw_noise, prompt_ids

HORIZON = 6


@pytest.fixture
def policy() -> Policy:
    torch.manual_seed(0)
    one = NormStats(*(np.full(23, value) for value in (0.0, 1.0, -2.0, 4.0)))
    return Policy(2, HORIZON, {"state": one, "actions": one})


def batch(num: int = 4, **changes: Any) -> Batch:
    generator = torch.Generator().manual_seed(1)
    values = Batch(
        images={
            "head": torch.randint(0, 256, (num, 3, 48, 64), dtype=torch.uint8, generator=generator),
            "left_wrist": torch.zeros(num, 3, 32, 32, dtype=torch.uint8),
        },
        state=torch.randn(num, 23, generator=generator),
        prompt=prompt_ids(["open the drawer"] * num),
        action=torch.randn(num, HORIZON, 23, generator=generator),
        action_is_pad=torch.zeros(num, HORIZON, dtype=torch.bool),
        sample_index=torch.arange(num),
        episode_index=torch.zeros(num, dtype=torch.int64),
        frame_index=torch.arange(num),
    )
    return values._replace(**changes)


def noise(num: int = 4, step: int = 1) -> Noise:
    return draw_noise(0, step, torch.zeros(num, HORIZON, 23), 0, 1)


def test_a_policy_that_predicts_nothing_pays_the_mean_square_of_the_velocity(
    policy: Policy,
) -> None:
    torch.nn.init.zeros_(policy.velocity.weight)
    torch.nn.init.zeros_(policy.velocity.bias)
    given, random = batch(), noise()
    normalised = 2 * (given.action.double() + 2) / (6 + 1e-6) - 1  # q01 -2, q99 4
    expected = ((normalised - random.start.double()) ** 2).mean().item()
    assert policy(given, random).item() == pytest.approx(expected, rel=1e-5)


def test_the_model_is_small(policy: Policy) -> None:
    assert 100_000 < sum(p.numel() for p in policy.parameters()) < 1_000_000


def test_padded_steps_do_not_count(policy: Policy) -> None:
    torch.nn.init.zeros_(policy.velocity.weight)
    torch.nn.init.zeros_(policy.velocity.bias)
    is_pad = torch.zeros(4, HORIZON, dtype=torch.bool)
    is_pad[1, 2:] = True
    given = batch(action_is_pad=is_pad)
    wild = given.action.clone()
    wild[1, 2:] = 1e6
    assert policy(given._replace(action=wild), noise()) == policy(given, noise())
    assert policy(given._replace(action=wild + 1), noise()) != policy(given, noise())


@pytest.mark.parametrize("field", ["state", "prompt", "head", "left_wrist"])
def test_everything_that_is_seen_has_a_part_in_the_loss(policy: Policy, field: str) -> None:
    given = batch()
    changes: dict[str, Any] = {
        "state": {"state": given.state + 1},
        "prompt": {"prompt": prompt_ids(["close the door"] * 4)},
    }.get(field, {"images": given.images | {field: 255 - given.images.get(field, given.state)}})
    assert policy(given._replace(**changes), noise()) != policy(given, noise())


def test_noise_does_not_depend_on_the_number_of_ranks() -> None:
    whole = draw_noise(3, 5, torch.zeros(8, HORIZON, 23), 0, 1)
    for world_size in (2, 4):
        like = torch.zeros(8 // world_size, HORIZON, 23)
        for rank in range(world_size):
            part = draw_noise(3, 5, like, rank, world_size)
            assert torch.equal(part.start, whole.start[rank::world_size])
            assert torch.equal(part.time, whole.time[rank::world_size])


def test_noise_is_another_at_another_step_and_seed() -> None:
    like = torch.zeros(2, HORIZON, 23)
    drawn = [draw_noise(seed, step, like, 0, 1).start for seed, step in ((0, 1), (0, 2), (1, 1))]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    big = draw_noise(0, 1, torch.zeros(500, HORIZON, 23), 0, 1)
    assert abs(big.start.mean().item()) < 0.02
    assert big.start.std().item() == pytest.approx(1, abs=0.02)
    assert 0 <= big.time.min() < 0.02 < 0.98 < big.time.max() < 1


def test_words_are_numbers_and_nothing_is_0() -> None:
    ids = prompt_ids(["Open the the", "", "x " * 100])
    assert ids.shape == (3, 48)
    assert ids[0, 1] == ids[0, 2] != ids[0, 0]
    assert ids[0, 3:].sum() == 0
    assert ids[1].sum() == 0
    assert (ids[2] > 0).all()
    assert ids.max() < 2048


def test_a_prompt_without_words_is_no_error(policy: Policy) -> None:
    assert torch.isfinite(policy(batch(prompt=prompt_ids([""] * 4)), noise()))
