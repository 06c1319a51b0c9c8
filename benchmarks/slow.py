"""How much of a slow storage's speed reading gets: at random, in blocks, and in training order.

    python -m benchmarks.slow

12,000 samples of raw 64-pixel pictures, as large as JPEG of 224 (37 kB) but without decoding, in 24
shards behind ``slow_storage``: an object store and a spinning disk; and behind moto's S3 server, as
slow as the object store. Each reader makes one pass, of 45 s at most; ``share`` is bytes of its
samples by time and by what the storage could give:

* ``in line``: every shard in one piece, nothing made of it; no reader can be faster;
* ``training order``: the same samples copied into tars in the order of a training run, each batch
  one range, the next four asked for while one is served: what ``--layout run`` would read like;
* ``ShardStream``: blocks in line, mixed, with read-ahead, 2 workers;
* ``ShardDataset, at random``: the global order, by ranges, 0, 2 and 8 workers;
* ``ShardDataset, from the node``: the same where whole shards come into the node's cache before
  they are read: the first epoch, and a later one.

Of the server only what reads whole shards: it cuts a range out of the whole object.

Prints a table on standard error and one JSON object.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import fsspec
import numpy as np
from torch.utils.data import DataLoader

from benchmarks.about import about
from benchmarks.plan import make_large
from benchmarks.s3_server import s3_server
from benchmarks.slow_storage import DISK, OBJECTS, PROTOCOL, set_line
from tests.support.jobs import run_here
from train_shards.dataset import ShardDataset
from train_shards.manifest import load_manifest
from train_shards.node_cache import Cache
from train_shards.sampling import ResumableSampler
from train_shards.stream import ShardStream

__all__ = ["measure"]

_BATCH = 64
_AHEAD = 4
_LIMIT_S = 45.0
_LINES = {"object store": OBJECTS, "spinning disk": DISK}
_CACHE_BYTES = 1 << 40

Pass = Callable[[], Iterator[int]]
"""One pass over the samples; yields bytes of samples as they come."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="folder for data, kept (default: temporary)")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure((words.work or Path(folder)).absolute())
    result = {
        **about("slow"),
        "lines": {name: line._asdict() for name, line in _LINES.items()},
        "rows": rows,
    }
    print(json.dumps(result, indent=1))
    for row in rows:
        print(
            f"{row['storage']:14}{row['reader']:34}{row['samples_per_s']:8.1f} samples/s"
            f"{row['share']:7.2f} of the storage",
            file=sys.stderr,
        )


def measure(work: Path) -> list[dict[str, Any]]:
    """Returns a row for each storage and reader."""
    out = work / "shards"
    if not out.exists():
        make_large(work / "b1k", work / "one", num_episodes=1)
        run_here(work / "b1k", out, codec="raw", size="64", shard_size=512)
    url = f"{PROTOCOL}://{out}"
    num_samples = len(ShardDataset(out))
    shards = [s for g in load_manifest(out).generations for s in g.shards if s.num_samples]
    sample_bytes = sum(shard.num_bytes for shard in shards) // num_samples
    ordered = _in_training_order(out, work / "ordered")
    rows = []
    for storage, line in _LINES.items():
        set_line(line)
        with tempfile.TemporaryDirectory(dir=work) as cache:
            at_random = {
                f"ShardDataset, at random, {n} workers": _loaded(url, Cache(Path(cache) / "a"), n)
                for n in (0, 2, 8)
            }
            passes: dict[str, Pass] = {
                "in line": lambda: _whole([f"{PROTOCOL}://{out / s.path}" for s in shards]),
                "training order": lambda: _ranges(ordered, _BATCH * sample_bytes),
                **at_random,
                **_whole_shards(url, Path(cache)),
            }
            rows += _timed_all(storage, passes, sample_bytes, line.bytes_per_s)
    with s3_server(out, OBJECTS) as url, tempfile.TemporaryDirectory(dir=work) as cache:
        passes = {
            "in line": lambda: _whole([f"{url}/{shard.path}" for shard in shards]),
            **_whole_shards(url, Path(cache)),
        }
        rows += _timed_all("S3 server", passes, sample_bytes, OBJECTS.bytes_per_s)
    return rows


def _whole_shards(url: str, cache: Path) -> dict[str, Pass]:
    """The readers that bring whole shards, in this order."""
    stream, node = Cache(cache / "stream", _CACHE_BYTES), Cache(cache / "node", _CACHE_BYTES)
    return {
        "ShardStream, 2 workers": _streamed(url, stream),
        "ShardDataset, from the node, first": _loaded(url, node, 2, whole_shards=True),
        "ShardDataset, from the node, later": _loaded(url, node, 2, whole_shards=True),
    }


def _timed_all(
    storage: str, passes: dict[str, Pass], sample_bytes: int, bytes_per_s: float
) -> list[dict[str, Any]]:
    """Returns a row for each reader."""
    return [
        {"storage": storage, "reader": reader, **_timed(run, sample_bytes, bytes_per_s)}
        for reader, run in passes.items()
    ]


def _timed(run: Pass, sample_bytes: int, bytes_per_s: float) -> dict[str, Any]:
    start_s = time.perf_counter()
    first_s, num_bytes = 0.0, 0
    for own in run():
        first_s = first_s or time.perf_counter() - start_s
        num_bytes += own
        if time.perf_counter() - start_s > _LIMIT_S:
            break
    time_s = time.perf_counter() - start_s
    return {
        "num_samples": round(num_bytes / sample_bytes),
        "first_batch_s": round(first_s, 3),
        "samples_per_s": round(num_bytes / sample_bytes / time_s, 1),
        "share": round(num_bytes / time_s / bytes_per_s, 3),
    }


def _in_training_order(out: Path, path: Path) -> str:
    """Writes all samples behind each other in the order of a global shuffle; returns its URL."""
    dataset = ShardDataset(out)
    reader = dataset.open_reader()
    sampler = ResumableSampler(len(dataset), seed=0, batch_size=_BATCH, rank=0, world_size=1)
    shards = [shard for g in reader.manifest.generations for shard in g.shards]
    with path.open("wb") as file:
        for position in sampler:
            place = reader.locate(position)
            with (out / shards[place.shard].path).open("rb") as shard:
                shard.seek(place.offset_bytes)
                file.write(shard.read(place.stop_bytes - place.offset_bytes))
    return f"{PROTOCOL}://{path}"


def _whole(urls: list[str]) -> Iterator[int]:
    for url in urls:
        files, path = fsspec.core.url_to_fs(url)
        yield len(files.cat_file(path))


def _ranges(url: str, batch_bytes: int) -> Iterator[int]:
    files, path = fsspec.core.url_to_fs(url)
    num_bytes = files.info(path)["size"]
    with ThreadPoolExecutor(_AHEAD) as pool:
        starts = iter(range(0, num_bytes, batch_bytes))
        waiting = deque(
            pool.submit(files.cat_file, path, s, s + batch_bytes)
            for s in (next(starts) for _ in range(_AHEAD))
        )
        while waiting:
            yield len(waiting.popleft().result())
            if (start := next(starts, None)) is not None:
                waiting.append(pool.submit(files.cat_file, path, start, start + batch_bytes))


def _streamed(url: str, cache: Cache) -> Pass:
    def run() -> Iterator[int]:
        dataset = ShardDataset(url, cache=cache, whole_shards=True)
        stream = ShardStream(dataset, batch_size=_BATCH, rank=0, world_size=1)
        yield from _bytes_of(DataLoader(stream, _BATCH, num_workers=2, collate_fn=_sizes))

    return run


def _loaded(url: str, cache: Cache, num_workers: int, *, whole_shards: bool = False) -> Pass:
    def run() -> Iterator[int]:
        dataset = ShardDataset(url, cache=cache, whole_shards=whole_shards)
        sampler = ResumableSampler(len(dataset), batch_size=_BATCH, rank=0, world_size=1)
        yield from _bytes_of(
            DataLoader(
                cast(Any, dataset),
                _BATCH,
                sampler=sampler,
                num_workers=num_workers,
                collate_fn=_sizes,
            )
        )

    return run


def _sizes(items: list[dict[str, Any]]) -> int:
    """Bytes of the pictures of a batch."""
    return sum(
        v.nbytes for i in items for v in i.values() if isinstance(v, np.ndarray) and v.ndim == 3
    )


def _bytes_of(loader: Any) -> Iterator[int]:
    for num_bytes in loader:
        yield int(num_bytes)


if __name__ == "__main__":
    main()
