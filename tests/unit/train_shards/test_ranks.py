"""What a node with GPUs would be asked for, where there is none: its backend, its devices.

The device ``meta`` has tensors without values; as on a GPU, an operation that mixes them with the
CPU's is refused. What only a GPU can show, NCCL at work, is not shown here.
"""

from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed

from train_shards import batches
from train_shards.errors import UserError
from train_shards.norm_stats_file import NormStats
from train_shards.policy import Batch, Policy, draw_noise, prompt_ids
from train_shards.ranks import Interval, joined_ranks
from train_shards.train import descend

HORIZON, SAMPLES = 6, 4


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The second of two ranks on a node with GPUs; notes what is asked of torch."""
    asked: list[Any] = []
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda backend, **_: asked.append(backend)
    )
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: asked.append("left"))
    return asked


@pytest.mark.parametrize("word", [None, "cuda"])
def test_ranks_on_gpus_talk_by_nccl_each_on_its_own(gpus: list[Any], word: str | None) -> None:
    with joined_ranks(word) as ranks:
        assert ranks.device == torch.device("cuda", 1)
        assert gpus == [torch.device("cuda", 1), "nccl"]  # the device is set before the group is
    assert gpus[2:] == ["left"]


def test_ranks_told_to_stay_on_the_cpu_talk_by_gloo(gpus: list[Any]) -> None:
    with joined_ranks("cpu") as ranks:
        assert ranks.device == torch.device("cpu")
    assert gpus == ["gloo", "left"]


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device=cuda: expected cpu, or cuda where torch finds"):
        joined_ranks("cuda").__enter__()


def test_a_step_on_another_device_leaves_nothing_on_the_cpu() -> None:
    one = NormStats(*(np.full(23, value) for value in (0.0, 1.0, -2.0, 4.0)))
    device = torch.device("meta")
    policy = Policy(1, HORIZON, {"state": one, "actions": one}).to(device)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    batch = batches._moved(
        Batch(
            images={"head": torch.zeros(SAMPLES, 3, 48, 64, dtype=torch.uint8)},
            state=torch.zeros(SAMPLES, 23),
            prompt=prompt_ids(["open the drawer"] * SAMPLES),
            action=torch.zeros(SAMPLES, HORIZON, 23),
            action_is_pad=torch.zeros(SAMPLES, HORIZON, dtype=torch.bool),
            sample_index=torch.arange(SAMPLES),
            episode_index=torch.zeros(SAMPLES, dtype=torch.int64),
            frame_index=torch.arange(SAMPLES),
        ),
        device,
    )
    assert {one.device for one in (*batch.images.values(), *batch[1:])} == {device}
    loss = descend(policy, optimizer, batch, draw_noise(0, 1, batch.action, 0, 1))
    interval = Interval()
    interval.add(loss, 0.0)
    assert loss.device == interval._loss.device == device
    assert all(p.grad is not None and p.grad.device == device for p in policy.parameters())
