"""Samples a second of the on-line data set, in order and at random, and how decoders differ.

    python benchmarks/online_dataset.py ROOT --backend torchcodec
    python benchmarks/online_dataset.py ROOT --compare torchcodec

One process, no DataLoader, one thread a decoder. Prints one JSON object.
"""

import argparse
import json
import os
import platform
import random
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from predecode.online import OnlineDataset
from predecode.video.backends import BACKENDS, choose_backend, parse_backend_python
from predecode.video.probe import library_versions
from train_shards.items import IMAGE_KEY


def main() -> None:
    """Measures what the words on the command line ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("root", type=Path, help="a data set in the 2025 layout")
    parser.add_argument("--backend", choices=BACKENDS, help="default: $B1K_VIDEO_BACKEND, or pyav")
    parser.add_argument("--backend-python", action="append", default=[], metavar="DECODER=PYTHON")
    parser.add_argument("--size", default="224")
    parser.add_argument("--num-in-order", type=int, default=500, help="samples read in order")
    parser.add_argument("--num-random", type=int, default=40, help="samples read at random")
    parser.add_argument("--compare", choices=BACKENDS, help="difference of all pictures instead")
    words = parser.parse_args()
    words.pythons = parse_backend_python(words.backend_python)
    words.backend = choose_backend(words.backend)
    result = compare(words) if words.compare else measure(words)
    about = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), **library_versions()},
        "backend": words.backend,
    }
    print(json.dumps(about | result, indent=1))


def opened(words: argparse.Namespace, backend: str) -> OnlineDataset:
    """The data set with one decoder."""
    return OnlineDataset(words.root, backend=backend, backend_python=words.pythons, size=words.size)


def measure(words: argparse.Namespace) -> dict[str, Any]:
    """Seconds to open, and samples a second."""
    start = time.perf_counter()
    dataset = opened(words, words.backend)
    open_s = time.perf_counter() - start
    in_order = range(min(words.num_in_order, len(dataset)))
    at_random = random.Random(0).sample(range(len(dataset)), min(words.num_random, len(dataset)))
    return {
        "num_samples": len(dataset),
        "open_s": round(open_s, 3),
        "in_order_samples_per_s": round(samples_per_s(dataset, in_order), 2),
        "random_samples_per_s": round(samples_per_s(dataset, at_random), 2),
    }


def samples_per_s(dataset: OnlineDataset, positions: range | list[int]) -> float:
    """Reads one item after the other, from a fresh start."""
    dataset.close()
    start = time.perf_counter()
    for position in positions:
        dataset[position]
    return len(positions) / (time.perf_counter() - start)


def compare(words: argparse.Namespace) -> dict[str, Any]:
    """Differences of all pictures between two decoders, in steps of 8-bit channels."""
    one, other = opened(words, words.backend), opened(words, words.compare)
    num_pictures = num_equal = largest = 0
    total = num_values = 0
    for position in range(len(one)):
        first, second = one[position], other[position]
        for camera in one.cameras:
            pair = first[IMAGE_KEY + camera], second[IMAGE_KEY + camera]
            difference = np.abs(pair[0].astype(np.int16) - pair[1])
            num_pictures += 1
            num_equal += int(not difference.any())
            largest = max(largest, int(difference.max()))
            total += int(difference.sum())
            num_values += difference.size
    return {
        "compared_with": words.compare,
        "num_pictures": num_pictures,
        "num_equal": num_equal,
        "mean_difference": total / num_values,
        "largest_difference": largest,
    }


if __name__ == "__main__":
    main()
