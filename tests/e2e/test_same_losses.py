"""Training on lossless shards and on the videos themselves: same samples, losses and weights."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from tests.support.jobs import run_here
from tests.support.training import losses, samples, train
from train_shards.norm_stats import corpus_stats
from train_shards.norm_stats_file import write_norm_stats

pytestmark = pytest.mark.slow

NUM_STEPS = 6
EPISODES = "[0,1]"
"""Positions in task 0: episodes 10 and 20, of 370 frames."""


class Run(NamedTuple):
    """What a training run leaves behind."""

    losses: dict[int, str]
    samples: dict[int, list[int]]
    weights: dict[str, torch.Tensor]


def trained(home: Path, name: str, *words: str) -> Run:
    done = train(
        *words, f"norm_stats={home / 'norm_stats.json'}", f"checkpoint_dir={home}",
        f"exp_name={name}", f"num_train_steps={NUM_STEPS}", "log_interval=1", "seed=7",
        "tasks=[0]", f"episodes={EPISODES}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = home / name
    state: dict[str, Any] = torch.load(folder / f"checkpoint-{NUM_STEPS:08d}.pt", weights_only=True)
    return Run(losses(done.stdout), samples(folder), state["model"])


def same_weights(one: Run, other: Run) -> bool:
    assert set(one.weights) == set(other.weights)
    return all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


def test_lossless_shards_and_the_videos_train_the_same_policy(
    b1k_root: Path, jpeg_shards: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "png"
    run_here(b1k_root, shards, codec="png", tasks="0", episodes="0,1")
    write_norm_stats(tmp_path, corpus_stats(shards)[0])
    stored = trained(tmp_path, "shards", "data=shards", f"shards={shards}")
    online = trained(tmp_path, "online", "data=online", f"root={b1k_root}")
    assert list(stored.losses) == list(range(1, NUM_STEPS + 1))
    assert online.samples == stored.samples
    assert online.losses == stored.losses
    assert same_weights(online, stored)  # what four digits of a loss might hide

    # The pictures do count: of the same samples, lossy ones train another policy.
    lossy = trained(tmp_path, "lossy", "data=shards", f"shards={jpeg_shards}")
    assert lossy.samples == stored.samples
    assert not same_weights(lossy, stored)
