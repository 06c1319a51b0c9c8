"""An index of 120 million samples opens at once, in little memory, and is looked up at once."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.synthetic_index import NUM_EPISODES, NUM_SAMPLES, write_synthetic_index

pytestmark = pytest.mark.slow

PROBE = """
import random, re, sys, time
from pathlib import Path
import numpy as np, xxhash
from train_shards.index import Index, row_of_position
from train_shards.selection import EVERYTHING, selected_runs

def rss_anon_bytes():
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

before = rss_anon_bytes()
started = time.perf_counter()
index = Index(Path(sys.argv[1]), 4)
runs = selected_runs(index.episodes, EVERYTHING, {}, 1)
open_s = time.perf_counter() - started
draw = random.Random(0)
positions = [draw.randrange(runs.before[-1]) for _ in range(20_000)]
for position in positions[:2000]:
    index.location(row_of_position(position, *runs))
started = time.perf_counter()
for position in positions:
    location = index.location(row_of_position(position, *runs))
lookup_us = (time.perf_counter() - started) / len(positions) * 1e6
print(open_s, rss_anon_bytes() - before, lookup_us, index.num_samples)
"""


def test_120_million_samples(tmp_path: Path) -> None:
    path = tmp_path / "train.idx"
    write_synthetic_index(path)
    per_sample = (path.stat().st_size - 56 * NUM_EPISODES) / NUM_SAMPLES
    assert per_sample < 40 + 8 * 4
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path)], capture_output=True, text=True, check=True
    )
    open_s, added_bytes, lookup_us, num_samples = map(float, done.stdout.split())
    assert num_samples == NUM_SAMPLES
    assert open_s < 1.0
    assert added_bytes < 64e6
    # The aim is 20 µs with a warm page cache; this file may not be in it, and cores are shared.
    assert lookup_us < 200
    os.truncate(path, 0)


def test_the_generator_is_a_real_index(tmp_path: Path) -> None:
    from train_shards.index import Index

    path = tmp_path / "small.idx"
    write_synthetic_index(path, num_episodes=7, frames_per_episode=5, samples_per_shard=8)
    index = Index(path, 4, check_blocks=True)
    index.check_all_blocks()
    shards = [index.location(row).shard for row in range(35)]
    assert np.bincount(shards).tolist() == [8, 8, 8, 8, 3]
    assert index.location(34).frame_index == 4
    assert sorted(index.storage_rows(0, 35).tolist()) == list(range(35))
    index.close()
