"""Memory of pictures is used again; counted by the system's own page faults."""

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from train_shards.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()

def batch():
    pictures = [np.ones((224, 224, 3), np.uint8) for _ in range(96)]

batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def num_faults(word: str) -> int:
    plain = {name: v for name, v in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, word], capture_output=True, text=True, check=True, env=plain
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that learns")
def test_a_batch_uses_the_memory_of_the_one_before() -> None:
    # 96 pictures of 147 KiB are 3,528 pages of 4 KiB, ten times.
    assert num_faults("leave") > 20_000
    assert num_faults("keep") < 500
