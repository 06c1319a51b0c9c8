"""Training reads: a resumed run sees exactly the rest of the epoch, whatever the world size."""

from pathlib import Path
from typing import Any

import pytest
import torch.utils.data

from predecode.sources.barcode import read
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.sampling import ResumableSampler

pytestmark = pytest.mark.slow


def keep(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return batch


def loader_of(
    dataset: ShardDataset, rank: int, world_size: int, batch_size: int, num_workers: int
) -> tuple[ResumableSampler, Any]:
    sampler = ResumableSampler(
        len(dataset), rank=rank, world_size=world_size, seed=3, batch_size=batch_size,
        digest=dataset.digest, tail="pad",
    )  # fmt: skip
    loader: Any = torch.utils.data.DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=keep,
    )
    return sampler, loader


def steps(loaders: list[Any]) -> list[list[tuple[int, int]]]:
    """The samples of each global step, read back from the head pictures themselves."""
    return [
        sorted(
            (identity.episode_index, identity.frame_index)
            for batch in batches
            for identity in (read(item[IMAGE_KEY + "head"]) for item in batch)
        )
        for batches in zip(*loaders, strict=True)
    ]


def test_resume_with_another_world_size_gives_the_rest(jpeg_shards: Path) -> None:
    dataset = ShardDataset(jpeg_shards, cameras=["head"])
    _, whole = loader_of(dataset, 0, 1, 64, 0)
    everything = [sample for step in steps([whole]) for sample in step]
    assert len(set(everything)) == len(dataset) == 1712

    two = [loader_of(dataset, rank, 2, 32, 2) for rank in range(2)]
    first = steps([loader for _, loader in two])
    assert first[:10] == steps([loader_of(dataset, 0, 1, 64, 0)[1]])[:10]

    for sampler, _ in two:
        sampler.advance(10 * sampler.global_batch_size)
    state = two[0][0].state_dict()
    assert state == two[1][0].state_dict()
    four = [loader_of(dataset, rank, 4, 8, 0) for rank in range(4)]
    for sampler, _ in four:
        sampler.load_state_dict(state)
    rest = steps([loader for _, loader in four])
    seen = {sample for step in first[:10] for sample in step}
    assert len(seen) == 640
    assert [len(step) for step in rest] == [32] * 34  # 1,072 left, the last one padded
    unseen = [sample for step in rest[:33] for sample in step]
    assert len(set(unseen)) == len(unseen) == 1056
    assert seen.isdisjoint(unseen)
    assert seen | set(unseen) | set(rest[33]) == set(everything)
