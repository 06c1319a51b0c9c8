"""The work of openpi-comet's loader around a data set, restated: transforms, collate, observation.

Source: the transforms, image resize, collate and loader settings of openpi-comet's BEHAVIOR-1K
configurations. Left out is the tokenizer, which costs every data set the same: prompts stay text.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.utils.data
from numpy.typing import NDArray

from predecode.images.resize import resize_with_pad
from train_shards.b1k_state import policy_state
from train_shards.norm_stats_file import NormStats

__all__ = ["ACTION_HORIZON", "Transformed", "collated", "observation"]

ACTION_HORIZON = 32
_PADDED_DIM = 32
_IMAGE_PX = (224, 224)
_IMAGES = {
    "base_0_rgb": "observation.images.rgb.head",
    "left_wrist_0_rgb": "observation.images.rgb.left_wrist",
    "right_wrist_0_rgb": "observation.images.rgb.right_wrist",
}


class Transformed(torch.utils.data.Dataset[dict[str, Any]]):
    """A data set behind the trainer's transforms, read item by item as the trainer reads it."""

    def __init__(self, dataset: Any, stats: Mapping[str, NormStats]) -> None:
        """Takes anything with ``[position]`` that gives upstream's items."""
        self._dataset, self._stats = dataset, stats

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Returns one sample, ready to be stacked.

        ``episode_index`` and ``index`` stay in it beside what the trainer keeps, so that what was
        delivered can be checked.
        """
        item = self._dataset[position]
        state = policy_state(np.asarray(item["observation.state"]))
        images = {name: _parsed(item[key]) for name, key in _IMAGES.items()}
        return {
            "image": {name: resize_with_pad(image, _IMAGE_PX) for name, image in images.items()},
            "image_mask": dict.fromkeys(images, np.True_),
            "state": _padded(_normalized(state, self._stats["state"])),
            "actions": _padded(_normalized(np.asarray(item["action"]), self._stats["actions"])),
            "prompt": item["task"],
            "episode_index": item["episode_index"].item(),
            "index": item["index"].item(),
        }


def _parsed(image: Any) -> NDArray[np.uint8]:
    """An image of any kind as HWC uint8; a view where it is uint8 already."""
    array = np.asarray(image)
    if np.issubdtype(array.dtype, np.floating):
        array = (255 * array).astype(np.uint8)
    parsed: NDArray[np.uint8] = array.transpose(1, 2, 0) if array.shape[0] == 3 else array
    return parsed


def _normalized(values: NDArray[Any], stats: NormStats) -> NDArray[Any]:
    scaled: NDArray[Any] = (values - stats.q01) / (stats.q99 - stats.q01 + 1e-6) * 2.0 - 1.0
    return scaled


def _padded(values: NDArray[Any]) -> NDArray[Any]:
    widths = [(0, 0)] * (values.ndim - 1) + [(0, _PADDED_DIM - values.shape[-1])]
    return np.pad(values, widths)


def collated(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the samples stacked leaf by leaf, as numpy arrays."""
    return {
        key: collated([item[key] for item in items])
        if isinstance(first, dict)
        else np.stack([np.asarray(item[key]) for item in items])
        for key, first in items[0].items()
    }


def observation(batch: dict[str, Any]) -> dict[str, Any]:
    """Returns what the training loop gets: tensors, images float32 CHW in [-1, 1].

    Runs in the trainer's process, workers or not.
    """
    images = {
        name: torch.as_tensor(image).to(torch.float32).permute(0, 3, 1, 2) / 255.0 * 2.0 - 1.0
        for name, image in batch["image"].items()
    }
    rest = {
        key: torch.as_tensor(value)
        for key, value in batch.items()
        if key not in ("image", "image_mask", "prompt")
    }
    masks = {name: torch.as_tensor(mask) for name, mask in batch["image_mask"].items()}
    return {**rest, "image": images, "image_mask": masks, "prompt": batch["prompt"]}
