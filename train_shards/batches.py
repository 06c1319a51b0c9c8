"""From settings to the reference trainer's batches: data set, order, loader, collate."""

import importlib
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

from train_shards.b1k_state import policy_state
from train_shards.dataset import IMAGE_KEY
from train_shards.errors import UserError
from train_shards.joined import JoinedDataset
from train_shards.policy import Batch, prompt_ids
from train_shards.ranks import Ranks
from train_shards.sampling import ResumableSampler
from train_shards.train_config import TrainConfig
from train_shards.train_log import start_worker_log

__all__ = ["collate", "endless_batches", "make_sampler", "open_dataset"]

_COLUMNS = ("action", "action_is_pad", "sample_index", "episode_index", "frame_index")


def open_dataset(config: TrainConfig) -> Any:
    """Returns an object of the class that ``dataset`` names, with ``cameras`` and ``digest``.

    Several outputs are joined.

    Raises:
        UserError: no such class, what it refuses, or outputs that do not fit together.
    """
    module, _, name = config.dataset.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"dataset={config.dataset}: {error}; expected module.Class.") from error
    deltas_s = [step / config.fps for step in range(config.action_horizon)]
    options = config.dataset_options | {
        "tasks": config.tasks,
        "episodes": config.episodes,
        "delta_timestamps": {"action": deltas_s},
        "image_layout": "CHW",
    }
    outs = options.get("out")
    if not isinstance(outs, list):
        return kind(**options)
    options = {"columns": ["observation.state"]} | options  # others may be in some outputs only
    return JoinedDataset([kind(**{**options, "out": out}) for out in outs])


def make_sampler(config: TrainConfig, ranks: Ranks, dataset: Any) -> ResumableSampler:
    """Returns this rank's share of the order.

    Raises:
        UserError: the batch cannot be dealt to the ranks, or is larger than the data set.
    """
    if config.batch_size % ranks.world_size:
        raise UserError(
            f"batch_size={config.batch_size}: of all ranks together; expected a multiple of the "
            f"{ranks.world_size} ranks."
        )
    return ResumableSampler(
        len(dataset),
        rank=ranks.rank,
        world_size=ranks.world_size,
        seed=config.seed,
        batch_size=config.batch_size // ranks.world_size,
        digest=dataset.digest,
    )


def collate(items: list[dict[str, Any]]) -> Batch:
    """Returns what the policy needs of some items; columns that only some of them have do no harm.

    Raises:
        DataError: a state that is not of the 2025 edition's robot.
    """
    cameras = sorted(key for key in items[0] if key.startswith(IMAGE_KEY) and "_is_pad" not in key)
    stacked = default_collate([{key: i[key] for key in (*cameras, *_COLUMNS)} for i in items])
    return Batch(
        images={key.removeprefix(IMAGE_KEY): stacked[key] for key in cameras},
        state=torch.from_numpy(policy_state(np.stack([i["observation.state"] for i in items]))),
        prompt=prompt_ids([item["task"] for item in items]),
        action=stacked["action"],
        action_is_pad=stacked["action_is_pad"],
        sample_index=stacked["sample_index"],
        episode_index=stacked["episode_index"],
        frame_index=stacked["frame_index"],
    )


def endless_batches(
    dataset: Any, sampler: ResumableSampler, num_workers: int, log: Path, device: torch.device
) -> Iterator[Batch]:
    """Yields batches on ``device`` from where the sampler stands, epoch after epoch, without end.

    The caller tells the sampler what was trained on before it asks for the next batch. Workers are
    spawned once, and write into ``log`` what they have to say.
    """
    loader = DataLoader(
        dataset,
        batch_size=sampler.batch_size,
        sampler=sampler,
        collate_fn=collate,
        num_workers=num_workers,
        multiprocessing_context="spawn" if num_workers else None,
        persistent_workers=num_workers > 0,
        worker_init_fn=partial(start_worker_log, log),
        pin_memory=device.type == "cuda",
    )
    for epoch in count(sampler.epoch):
        sampler.set_epoch(epoch)
        for batch in loader:
            yield _moved(batch, device)


def _moved(batch: Batch, device: torch.device) -> Batch:
    images = {camera: image.to(device, non_blocking=True) for camera, image in batch.images.items()}
    rest = [tensor.to(device, non_blocking=True) for tensor in batch[1:]]
    return Batch(images, *rest)
