"""Items become batches whatever other columns they have, epoch after epoch, each sample once."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from train_shards.batches import collate, endless_batches, make_sampler, open_dataset
from train_shards.errors import DataError, UserError
from train_shards.ranks import Ranks
from train_shards.sampling import ResumableSampler
from train_shards.train_config import load_config

CPU = torch.device("cpu")


def item(index: int, **more: Any) -> dict[str, Any]:
    return {
        "observation.images.rgb.right_wrist": np.full((3, 8, 8), index, np.uint8),
        "observation.images.rgb.head": np.full((3, 16, 16), index + 100, np.uint8),
        "observation.state": np.arange(256, dtype=np.float32) + index,
        "action": np.full((4, 23), index, np.float32),
        "action_is_pad": np.array([False, False, False, index % 2 == 1]),
        "sample_index": np.int64(index),
        "episode_index": np.int64(10),
        "frame_index": np.int64(index),
        "task": f"task {index}",
        **more,
    }


class Items:
    """A data set of ten."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, position: int) -> dict[str, Any]:
        return item(position)


def test_a_batch_holds_what_the_policy_needs_of_unlike_items() -> None:
    batch = collate([item(0, **{"observation.cam_rel_poses": np.zeros(21)}), item(1)])
    assert list(batch.images) == ["head", "right_wrist"]
    assert batch.images["head"][:, 0, 0, 0].tolist() == [100, 101]
    assert batch.images["head"].dtype == torch.uint8
    assert batch.images["right_wrist"].shape == (2, 3, 8, 8)
    assert batch.state.shape == (2, 23)
    assert batch.state[1, 0] == 254  # place 253 of the second item
    assert batch.action.shape == (2, 4, 23)
    assert batch.action_is_pad[:, 3].tolist() == [False, True]
    assert batch.sample_index.tolist() == [0, 1]
    assert batch.prompt[0, 0] == batch.prompt[1, 0] != 0


def test_another_robots_state_is_an_error() -> None:
    with pytest.raises(DataError, match=r"expected 256 numbers"):
        collate([item(0, **{"observation.state": np.zeros(61, np.float32)})])


def test_epochs_follow_one_another_each_with_every_sample_once(tmp_path: Path) -> None:
    sampler = ResumableSampler(10, rank=0, world_size=1, seed=3, batch_size=5)
    seen = []
    for batch in islice(endless_batches(Items(), sampler, 0, tmp_path / "log", CPU), 6):
        seen += batch.sample_index.tolist()
        sampler.advance(5)
    epochs = [seen[:10], seen[10:20], seen[20:]]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 3
    assert epochs[0] != epochs[1] != epochs[2]

    resumed = ResumableSampler(10, rank=0, world_size=1, seed=3, batch_size=5)
    resumed.load_state_dict(sampler.state_dict() | {"epoch": 1, "consumed": 5})
    rest = islice(endless_batches(Items(), resumed, 0, tmp_path / "log", CPU), 1)
    assert next(rest).sample_index.tolist() == epochs[1][5:]


def test_an_epoch_that_was_trained_to_its_end_is_not_repeated(tmp_path: Path) -> None:
    sampler = ResumableSampler(10, rank=0, world_size=1, batch_size=5)
    sampler.consumed = 10
    next(endless_batches(Items(), sampler, 0, tmp_path / "log", CPU))
    assert (sampler.epoch, sampler.consumed) == (1, 0)


@pytest.mark.parametrize("name", ["predecode.nowhere.Data", "Data", "json.Nothing"])
def test_a_data_set_that_is_not_there_is_refused(name: str) -> None:
    config = load_config(["shards=o", "exp_name=x", f"dataset={name}"])
    with pytest.raises(UserError, match=f"dataset={name}: .*expected module.Class"):
        open_dataset(config)


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    config = load_config(["shards=o", "exp_name=x", "batch_size=9"])
    with pytest.raises(UserError, match=r"batch_size=9: .* multiple of the 2 ranks"):
        make_sampler(config, Ranks(0, 2, CPU), Items())
