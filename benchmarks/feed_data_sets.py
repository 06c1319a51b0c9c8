"""The data sets that ``benchmarks.trainer_feed`` feeds the trainer from, and what they are read of.

Every one of them gives the items of upstream's reader and pickles small.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch.utils.data

from benchmarks.trainer_side import ACTION_HORIZON
from benchmarks.upstream_like import RUN_FRAMES, RandomReader, StreamingReader
from predecode.sources.episode import Episode, with_images
from predecode.sources.registry import open_source
from predecode.sources.sample import make_sample
from tests.support.jobs import run_here
from train_shards.behavior import BehaviorLeRobotDataset

__all__ = ["CODECS", "EPISODES", "Data", "Variant", "make_data", "variants"]

CODECS = ("jpeg", "raw")
EPISODES = (20, 40)
"""Of the sample: 250 and 751 frames, none of a rollout, which lacks columns that others have.

The second alone has two whole runs after its first, one for each of two workers."""
_DELTAS = {"action": [step / 30 for step in range(ACTION_HORIZON)]}


class Data(NamedTuple):
    """A data set and its shards."""

    root: Path
    shards: dict[str, Path]
    """By codec."""
    episodes: list[Episode]
    """In the order of the data sets' positions."""


class Variant(NamedTuple):
    """What is measured."""

    dataset: Any
    order: str
    """``random``, ``in order``, or ``own``: whatever is asked for."""
    samples_per_process: int
    """In a pass, for each process that reads."""
    batch_size: int
    about: str


class InMemory(torch.utils.data.Dataset[dict[str, Any]]):
    """All items of a data set, read before, images HWC uint8: a loader's ceiling."""

    def __init__(self, dataset: Any) -> None:
        """Reads the items when a process first asks for one: 0.5 MB for each."""
        self._dataset = dataset
        self._items: list[dict[str, Any]] = []

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Returns an item."""
        if not self._items:
            self._items = [_ready(self._dataset[i]) for i in range(len(self._dataset))]
        return self._items[position]


def _ready(item: dict[str, Any]) -> dict[str, Any]:
    return {
        key: np.ascontiguousarray(np.asarray(value).transpose(1, 2, 0))
        if key.startswith("observation.images.")
        else value
        for key, value in item.items()
    }


def make_data(work: Path, *, full_size: bool) -> Data:
    """Makes the sample and its shards below ``work`` unless they are there."""
    root = work / "source"
    if not root.exists():
        make_sample(
            root,
            full_size=full_size,
            episode_indices=EPISODES if full_size else EPISODES[1:],
            modalities=("rgb",),
        )
    shards = {codec: work / codec for codec in CODECS}
    for codec, out in shards.items():
        run_here(root, out, codec=codec)
    source = open_source("b1k", root)
    return Data(root, shards, [with_images(one, source.cameras) for one in source.episodes])


def variants(data: Data, *, is_short: bool) -> dict[str, Variant]:
    """Returns what is measured, by name, opened anew: upstream's readers do not pickle once read.

    A pass of a streaming reader is one run, so that it pays for its decoders' start. With
    ``is_short``, passes only show that all is right.
    """
    num_fast, num_run, num_slow = (100, 50, 2) if is_short else (1000, RUN_FRAMES, 12)
    ours = {
        f"shards, {codec}": Variant(
            BehaviorLeRobotDataset("sample", shards=out, delta_timestamps=_DELTAS),
            "random", num_fast, 50, f"BehaviorLeRobotDataset, {codec} at 224, global shuffle",
        )
        for codec, out in data.shards.items()
    }  # fmt: skip
    with patch.dict(os.environ, {"PREDECODE_DATA": "online", "PREDECODE_ROOT": str(data.root)}):
        online = BehaviorLeRobotDataset("sample", delta_timestamps=_DELTAS)

    def upstream(kind: Any, num_threads: int) -> Any:
        return kind(
            data.root, data.episodes, action_horizon=ACTION_HORIZON, num_threads=num_threads
        )

    def streaming(num_threads: int, about: str) -> Variant:
        reader = upstream(StreamingReader, num_threads)
        return Variant(
            reader, "own", num_run, 50, f"a run of 250 frames a process and pass, {about}"
        )

    return {
        **ours,
        "in memory": Variant(
            InMemory(ours["shards, raw"].dataset), "random", num_fast, 50,
            "items read before, images 224x224 HWC uint8",
        ),
        "upstream-like streaming": streaming(0, "PyAV's default threads"),
        "upstream-like streaming, 1 thread": streaming(1, "one thread a decoder"),
        "upstream-like random access": Variant(
            upstream(RandomReader, 0), "random", num_slow, 2, "PyAV's default threads"
        ),
        "on line, in order": Variant(
            online, "in order", num_run, 50, "OnlineDataset, each process a stretch of its own"
        ),
        "on line, random": Variant(online, "random", num_slow, 2, "OnlineDataset"),
    }  # fmt: skip
