"""Time from the start of a process to its first batch, and memory: shards, and videos on line.

    python -m benchmarks.startup

Shards: an output of 10,000 episodes of 12,000 frames, 120 million samples with real pictures: its
index is written as that of a run would be, and each of its 15,000 shards is a link to one of 8,000
samples. On line: 1,000 such episodes, their videos links to one. A child process imports, opens the
data set and loads batches of 64 in the global order, with 0 and 2 workers; ``first_batch_s`` counts
from before its interpreter starts. ``main_mb`` and ``worker_mb``: resident memory after ten batches
(of a worker, of what it does not share with others). Prints a table on standard error and one JSON
object; takes 10 GB of disk.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.about import about
from benchmarks.plan import make_large
from tests.support.jobs import run_here
from train_shards.format import MANIFEST_PATH
from train_shards.index import EPISODE_DTYPE, LIVE, write_index
from train_shards.ledger import decode_ledger
from train_shards.manifest import IndexEntry, encode_json, load_manifest

__all__ = ["measure"]

_NUM_FRAMES = 12_000
_BATCH, _NUM_BATCHES = 64, 10
_CHILD = """
import json, os, sys, time
start_s, kind, path, num_workers = float(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
from torch.utils.data import DataLoader
from train_shards.sampling import ResumableSampler
if kind == "shards":
    from train_shards.dataset import ShardDataset as DataSet
else:
    from predecode.online import OnlineDataset as DataSet
imported_s = time.time()
dataset = DataSet(path)
opened_s = time.time()
sampler = ResumableSampler(len(dataset), batch_size=64, rank=0, world_size=1)
loader = DataLoader(dataset, 64, sampler=sampler, num_workers=num_workers, collate_fn=len)
batches = iter(loader)
next(batches)
first_s = time.time()
for _ in range(int(sys.argv[5]) - 1):
    next(batches)

def memory_mb(process, field):
    with open(f"/proc/{process}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(field)) / 1000

workers = [worker.pid for worker in getattr(batches, "_workers", ())]
print(json.dumps({
    "num_samples": len(dataset),
    "import_s": imported_s - start_s,
    "open_s": opened_s - imported_s,
    "first_batch_s": first_s - start_s,
    "main_mb": memory_mb(os.getpid(), "Rss:"),
    "worker_mb": max((memory_mb(pid, "Private_") for pid in workers), default=0.0),
}))
"""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--num-episodes", type=int, default=10_000)
    parser.add_argument("--num-online", type=int, default=1000)
    parser.add_argument("--work", type=Path, help="folder for data, kept (default: temporary)")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = (words.work or Path(folder)).absolute()
        rows = measure(work, words.num_episodes, words.num_online)
    result = {
        **about("startup"),
        "rows": rows,
    }
    print(json.dumps(result, indent=1))
    for row in rows:
        print(
            f"{row['kind']:8}{row['num_samples']:>12,} samples{row['num_workers']:>3} workers"
            f"{row['import_s']:>8.1f} s import{row['open_s']:>8.1f} s open"
            f"{row['first_batch_s']:>8.1f} s to the first batch"
            f"{row['main_mb']:>8.0f} MB{row['worker_mb']:>7.0f} MB a worker",
            file=sys.stderr,
        )


def measure(work: Path, num_episodes: int, num_online: int) -> list[dict[str, Any]]:
    """Returns a row for each data set and number of workers."""
    one, shards = work / "one", work / "shards"
    if not shards.exists():
        make_large(one / "b1k", one / "parts", num_episodes=1)
        run_here(one / "b1k", one / "out", shard_size=8192)
        make_output(one / "out", shards, num_episodes)
        make_large(work / "b1k", work / "parts", num_episodes=num_online)
    rows = []
    for kind, path in (("shards", shards), ("online", work / "b1k")):
        for num_workers in (0, 2):
            num_batches = _NUM_BATCHES if kind == "shards" else 1
            words = [str(time.time()), kind, str(path), str(num_workers), str(num_batches)]
            done = subprocess.run(
                [sys.executable, "-c", _CHILD, *words], check=True, stdout=subprocess.PIPE
            )
            found = {k: round(v, 3) for k, v in json.loads(done.stdout).items()}
            rows.append({"kind": kind, "num_workers": num_workers, **found})
    return rows


def make_output(one: Path, out: Path, num_episodes: int) -> None:
    """Writes an output of so many episodes, each sample one of the full shard of ``one``."""
    manifest = load_manifest(one)
    (generation,) = manifest.generations
    full = max(generation.shards, key=lambda shard: shard.num_samples)
    num_fields, num_cameras = len(manifest.settings.fields), len(manifest.settings.cameras)
    ledger = decode_ledger(
        (one / full.ledger).read_bytes(), num_fields, num_cameras, where=full.ledger
    )
    num_samples = num_episodes * _NUM_FRAMES
    shards = []
    for number in range(-(-num_samples // full.num_samples)):
        path = f"data/train/{manifest.settings.name}-train-{number:06d}.tar"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).hardlink_to(one / full.path)
        shards.append(msgspec.structs.replace(full, path=path))
    for table in generation.lowdim:
        (out / table.path).parent.mkdir(parents=True, exist_ok=True)
        (out / table.path).hardlink_to(one / table.path)
    index = out / generation.indexes["train"].path
    index.parent.mkdir(parents=True)
    with index.open("wb") as file:
        digest = write_index(
            file, _episodes(num_episodes), num_fields, _ledgers(ledger, num_samples),
            lambda _, frames: frames.astype(np.int64),
        )  # fmt: skip
    entry = IndexEntry(
        path=generation.indexes["train"].path,
        num_bytes=index.stat().st_size,
        header_xxh3=digest,
        num_samples=num_samples,
        num_live=num_samples,
    )
    generation = msgspec.structs.replace(generation, shards=shards, indexes={"train": entry})
    manifest = msgspec.structs.replace(manifest, generations=[generation])
    (out / MANIFEST_PATH).write_bytes(encode_json(manifest))


def _episodes(num_episodes: int) -> NDArray[np.void]:
    episodes = np.zeros(num_episodes, EPISODE_DTYPE)
    episodes["episode_index"] = np.arange(num_episodes) * 10
    episodes["row_start"] = np.arange(num_episodes) * _NUM_FRAMES
    episodes["num_rows"] = episodes["num_frames"] = _NUM_FRAMES
    episodes["flags"] = LIVE
    return episodes


def _ledgers(ledger: NDArray[np.void], num_samples: int) -> Iterator[tuple[int, NDArray[np.void]]]:
    for shard, start in enumerate(range(0, num_samples, len(ledger))):
        samples = np.arange(start, min(start + len(ledger), num_samples))
        rows = ledger[: len(samples)].copy()
        rows["episode_index"] = samples // _NUM_FRAMES * 10
        rows["frame_index"] = samples % _NUM_FRAMES
        yield shard, rows


if __name__ == "__main__":
    main()
