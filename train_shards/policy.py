"""The reference trainer's model: cameras, state and prompt -> action chunk, by flow matching.

Small enough that fifty steps on a processor take seconds. It exists to be trained by, not to drive
a robot: a data path that hands out wrong or repeated samples shows in its loss.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import xxhash
from torch import Tensor, nn

from train_shards.norm_stats_file import NormStats

__all__ = ["Batch", "Noise", "Policy", "draw_noise", "prompt_ids"]

_HIDDEN, _IMAGE_FEATURES, _PROMPT_FEATURES, _TIME_FEATURES = 256, 64, 32, 32
_VOCABULARY, _PROMPT_WORDS = 2048, 48
_MIN_RANGE = 1e-6
"""Source: openpi's quantile normalisation."""


class Batch(NamedTuple):
    """What the policy is trained on; B samples."""

    images: dict[str, Tensor]
    """Camera -> ``(B, 3, h, w)`` uint8."""
    state: Tensor
    """``(B, 23)`` float32, not normalised."""
    prompt: Tensor
    """``(B, words)`` int64, see ``prompt_ids``."""
    action: Tensor
    """``(B, H, 23)`` float32, not normalised."""
    action_is_pad: Tensor
    """``(B, H)`` bool: steps after the episode's end."""
    sample_index: Tensor
    """``(B,)`` int64, as the two that follow."""
    episode_index: Tensor
    frame_index: Tensor


class Noise(NamedTuple):
    """What is random in a step."""

    start: Tensor
    """``(B, H, 23)`` float32, normal: the flow at time 0."""
    time: Tensor
    """``(B,)`` float32 in [0, 1)."""


def prompt_ids(texts: Sequence[str]) -> Tensor:
    """Returns ``(B, words)`` int64: each word's hash, 1 and up; 0 fills up; later words are cut.

    >>> prompt_ids(["open the drawer", "open"])[:, :3].tolist()
    [[1095, 1925, 862], [1095, 0, 0]]
    """
    ids = torch.zeros(len(texts), _PROMPT_WORDS, dtype=torch.int64)
    for row, text in zip(ids, texts, strict=True):
        words = text.lower().split()[:_PROMPT_WORDS]
        hashes = [1 + zlib.crc32(word.encode()) % (_VOCABULARY - 1) for word in words]
        row[: len(words)] = torch.tensor(hashes, dtype=torch.int64)
    return ids


def draw_noise(seed: int, step: int, like: Tensor, rank: int, world_size: int) -> Noise:
    """Returns a rank's noise of a step: a pure function of seed, step and place in the batch.

    Drawn for the batch of all ranks, of which a rank takes every ``world_size``-th, as the sampler
    deals the samples. So there is no random state to save, and the loss of a step does not depend
    on the number of ranks.

    Args:
        seed: of the run.
        step: the step's number.
        like: a rank's actions ``(B, H, 23)``; gives shape and device.
        rank: this process.
        world_size: number of processes.
    """
    word = xxhash.xxh3_64_intdigest(f"{seed}:{step}:noise".encode()) >> 1
    generator = torch.Generator().manual_seed(word)
    num_samples = len(like) * world_size
    start = torch.randn(num_samples, *like.shape[1:], generator=generator)[rank::world_size]
    time = torch.rand(num_samples, generator=generator)[rank::world_size]
    return Noise(start.to(like.device), time.to(like.device))


class Policy(nn.Module):
    """Predicts the velocity that carries noise to the normalised action chunk.

    The statistics are buffers, so that a checkpoint holds all that its weights need.
    """

    def __init__(
        self, num_cameras: int, action_horizon: int, stats: Mapping[str, NormStats]
    ) -> None:
        """Makes fresh weights from torch's global random state.

        Args:
            num_cameras: images of a sample.
            action_horizon: steps in an action chunk.
            stats: of ``state`` and ``actions``; see ``train_shards.norm_stats``.
        """
        super().__init__()
        for key in ("state", "actions"):
            self.register_buffer(f"{key}_q01", torch.tensor(stats[key].q01, dtype=torch.float32))
            self.register_buffer(f"{key}_q99", torch.tensor(stats[key].q99, dtype=torch.float32))
        state_dim, action_dim = len(stats["state"].q01), len(stats["actions"].q01)
        self.camera = nn.Sequential(  # shared by all cameras
            nn.Conv2d(3, 24, 8, stride=8), nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(48, _IMAGE_FEATURES, 3, stride=2, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.prompt = nn.EmbeddingBag(_VOCABULARY, _PROMPT_FEATURES, mode="mean", padding_idx=0)
        num_seen = num_cameras * _IMAGE_FEATURES + _PROMPT_FEATURES + state_dim + _TIME_FEATURES
        self.seen = nn.Linear(num_seen, _HIDDEN)
        self.position = nn.Linear(action_dim, _HIDDEN)
        self.steps = nn.Parameter(0.02 * torch.randn(action_horizon, _HIDDEN))
        self.mix = nn.Conv1d(_HIDDEN, _HIDDEN, 5, padding=2)  # neighbouring steps
        self.velocity = nn.Linear(_HIDDEN, action_dim)

    def forward(self, batch: Batch, noise: Noise) -> Tensor:
        """Returns the loss, a scalar: mean squared error of the velocity over unpadded steps.

        Each sample weighs the same, however many of its steps are padded; so the mean of the
        ranks' losses is the loss of their batch.
        """
        action = self._normalised("actions", batch.action)
        time = noise.time[:, None, None]
        position = (1 - time) * noise.start + time * action
        seen = self.seen(torch.cat([self._seen(batch), _waves(noise.time)], dim=1))
        hidden = self.position(position) + self.steps + seen[:, None]  # (B, H, features)
        mixed = self.mix(nn.functional.silu(hidden).transpose(1, 2)).transpose(1, 2)
        predicted = self.velocity(nn.functional.silu(hidden + mixed))
        error = (predicted - (action - noise.start)).square().mean(dim=2)  # (B, H)
        is_step = ~batch.action_is_pad
        loss: Tensor = ((error * is_step).sum(dim=1) / is_step.sum(dim=1)).mean()
        return loss

    def _seen(self, batch: Batch) -> Tensor:
        """``(B, features)`` of cameras in sorted order, prompt and state."""
        views = [
            self.camera(image.float() / 127.5 - 1).mean(dim=(2, 3))
            for _, image in sorted(batch.images.items())
        ]
        state = self._normalised("state", batch.state)
        return torch.cat([*views, self.prompt(batch.prompt), state], dim=1)

    def _normalised(self, key: str, values: Tensor) -> Tensor:
        low, high = self.get_buffer(f"{key}_q01"), self.get_buffer(f"{key}_q99")
        return 2 * (values - low) / (high - low + _MIN_RANGE) - 1


def _waves(time: Tensor) -> Tensor:
    """``(B, features)``: sines and cosines of time at several rates."""
    rates = torch.pi * 2.0 ** torch.arange(_TIME_FEATURES // 2, device=time.device) / 16
    angles = time[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
