"""An index of any size without its data: what ``write_index`` would write, made in blocks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train_shards.index import EPISODE_DTYPE, LIVE, write_index
from train_shards.ledger import ledger_dtype

__all__ = ["NUM_EPISODES", "NUM_SAMPLES", "write_synthetic_index"]

NUM_EPISODES = 10_000
FRAMES_PER_EPISODE = 12_000
NUM_SAMPLES = NUM_EPISODES * FRAMES_PER_EPISODE
_SAMPLES_PER_SHARD = 1 << 16  # larger than real ones: the number of shards does not matter here


def write_synthetic_index(
    path: Path,
    *,
    num_episodes: int = NUM_EPISODES,
    frames_per_episode: int = FRAMES_PER_EPISODE,
    samples_per_shard: int = _SAMPLES_PER_SHARD,
    num_members: int = 4,
) -> None:
    """Writes an index of episodes of equal length, 40 kB a sample, stored in source order."""
    episodes = np.zeros(num_episodes, EPISODE_DTYPE)
    episodes["episode_index"] = np.arange(num_episodes) * 10
    episodes["row_start"] = np.arange(num_episodes) * frames_per_episode
    episodes["num_rows"] = episodes["num_frames"] = frames_per_episode
    episodes["flags"] = LIVE

    def ledgers() -> Iterator[tuple[int, NDArray[np.void]]]:
        for shard, start in enumerate(
            range(0, num_episodes * frames_per_episode, samples_per_shard)
        ):
            rows_of = np.arange(
                start, min(start + samples_per_shard, num_episodes * frames_per_episode)
            )
            rows = np.zeros(len(rows_of), ledger_dtype(num_members, 1))
            rows["episode_index"] = rows_of // frames_per_episode * 10
            rows["frame_index"] = rows_of % frames_per_episode
            rows["offset_bytes"] = (rows_of - start) * 40_000
            rows["data_offset_bytes"] = np.arange(num_members) * 10_000 + 512
            rows["data_bytes"] = 9_000
            yield shard, rows

    with path.open("wb") as file:
        write_index(
            file, episodes, num_members, ledgers(), lambda _, frames: frames.astype(np.int64)
        )
