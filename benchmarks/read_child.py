"""One reader of ``benchmarks.read`` in its own process: does one pass after another on request.

    python -m benchmarks.read_child READER SAMPLES_JSON

reads one request a line (``Request``) from standard input and answers each with one line of JSON.
"""

import hashlib
import importlib
import json
import os
import random
import resource
import sys
import time
import zlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.readers.common import Samples, Variant
from train_shards.allocator import keep_freed_memory


def main(reader: str, path: str) -> None:
    """Says which variants there are, then serves requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    torch.set_num_threads(1)
    keep_freed_memory()  # as ShardDataset does: nobody's figure depends on what its heap is like
    samples = Samples.load(Path(path))
    variants = importlib.import_module(f"benchmarks.readers.{reader}").variants(samples)
    say(answers, {name: describe(variant) for name, variant in variants.items()})
    for line in sys.stdin:
        request = json.loads(line)
        say(answers, serve(variants[request.pop("variant")], len(samples.rows), **request))


def say(answers: Any, what: object) -> None:
    """Writes one line."""
    answers.write(json.dumps(what) + "\n")
    answers.flush()


def describe(variant: Variant) -> dict[str, Any]:
    """Returns what the parent reports of a variant."""
    libraries = ["numpy", "simplejpeg", "torch"] + ([variant.library] if variant.library else [])
    return {
        "returns": variant.returns,
        "num_threads": variant.num_threads,
        "random_access": variant.by_position is not None,
        "versions": {library: version(library) for library in libraries},
    }


def serve(
    variant: Variant, num_samples: int, *, seed: int | None, num_workers: int, check_pixels: bool
) -> dict[str, Any]:
    """Makes one pass over all samples.

    Args:
        variant: what reads.
        num_samples: of the pass.
        seed: of the permutation in which samples are read; None reads in order.
        num_workers: of the DataLoader.
        check_pixels: sum the checksums of all pictures, which takes time.
    """
    order = list(range(num_samples))
    if seed is not None:
        random.Random(seed).shuffle(order)
    batches = variant.batches(order, num_workers, in_order=seed is None)
    return measure(batches, check_pixels=check_pixels)


def measure(batches: Iterable[Any], *, check_pixels: bool) -> dict[str, Any]:
    """Returns the speed of a pass and what was read in it.

    Samples/s count from the first batch's arrival to the last one's, which leaves out what each
    pass does once, such as starting workers. Processor time is that of the whole pass, a sample:
    it varies much less with what else the machine does.
    """
    ids: list[tuple[int, int]] = []
    crc32_sum = num_first = 0
    start_s = stop_s = 0.0
    cpu_start_s = cpu_s()
    for batch in batches:
        stop_s = time.perf_counter()
        if not ids:
            start_s = stop_s
        ids += ids_of(batch)
        num_first = num_first or len(ids)
        if check_pixels:
            crc32_sum += sum(crc32_of(item) for item in batch)
    return {
        "cpu_ms": 1000 * (cpu_s() - cpu_start_s) / len(ids),
        "samples_per_s": (len(ids) - num_first) / (stop_s - start_s),
        "num_samples": len(ids),
        "ids_sha256": hashlib.sha256(json.dumps(sorted(ids)).encode()).hexdigest(),
        "crc32_sum": crc32_sum,
    }


def cpu_s() -> float:
    """Returns the processor time of this process and of the workers that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)  # os.times counts hundredths
    return time.process_time() + ended.ru_utime + ended.ru_stime


def ids_of(batch: Any) -> list[tuple[int, int]]:
    """Returns ``(episode_index, frame_index)`` of each item of a list or of a collated batch."""
    if isinstance(batch, dict):
        pairs = zip(batch["episode_index"].tolist(), batch["frame_index"].tolist(), strict=True)
        return list(pairs)
    return [(int(item["episode_index"]), int(item["frame_index"])) for item in batch]


def crc32_of(item: dict[str, Any]) -> int:
    """Returns the sum of the checksums of an item's pictures."""
    pictures = [v for v in item.values() if isinstance(v, np.ndarray) and v.ndim == 3]
    return sum(zlib.crc32(picture.data) for picture in pictures)


if __name__ == "__main__":
    main(*sys.argv[1:])
