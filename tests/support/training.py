"""Runs of the reference trainer through its command line, and stand-ins for its data set."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.warm_start import train_warm
from train_shards.dataset import ShardDataset
from train_shards.sampling import world

ROOT = Path(__file__).parents[2]
GLOBAL_BATCH_SIZE = 8
LINE = re.compile(r"step=(\d+) loss=(\d+\.\d{4}) samples_per_s=\d+\.\d data_wait=\d+\.\d{3}")


class StandIn(ShardDataset):
    """Has the constructor of the on-line data set, and takes its items from shards."""

    def __init__(self, root: str, *, backend: str | None, **options: Any) -> None:
        assert backend is None
        super().__init__(root, **options)


class Failing(ShardDataset):
    """Fails in the second rank's first batch."""

    def __getitems__(self, positions: Any) -> list[dict[str, Any]]:
        if world()[0] == 1:
            raise ZeroDivisionError("the second rank breaks here")
        return super().__getitems__(positions)


def trainer(*words: str | Path, num_ranks: int = 0) -> list[str]:
    """The command; with ranks, under torchrun."""
    start = [sys.executable, "-m"]
    if num_ranks:
        # A free port of its own: other runs may be going on.
        start += ["torch.distributed.run", f"--nproc-per-node={num_ranks}", "--standalone", "-m"]
    fixed = ["log_samples=true", f"batch_size={GLOBAL_BATCH_SIZE}", "num_workers=0"]
    if not any(str(word).startswith("wandb_enabled") for word in words):
        fixed.append("wandb_enabled=false")
    return [*start, "train_shards.train", *fixed, *map(str, words)]


def variables(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def train(
    *words: str | Path, num_ranks: int = 0, is_cold: bool = False, **more: str
) -> "subprocess.CompletedProcess[str]":
    """Trains to the end; one rank in a fork (``warm_start``) unless ``is_cold``."""
    command = trainer(*words, num_ranks=num_ranks)
    if not (num_ranks or is_cold):
        with TemporaryDirectory() as folder:
            return train_warm(command[3:], variables(**more), Path(folder))
    return subprocess.run(
        command, env=variables(**more), capture_output=True, text=True, check=False, timeout=300
    )


def start(*words: str | Path, num_ranks: int = 0) -> "subprocess.Popen[str]":
    """Trains until the test ends it."""
    return subprocess.Popen(
        trainer(*words, num_ranks=num_ranks), env=variables(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def wait_for(path: Path, holds: Callable[[str], bool], process: "subprocess.Popen[str]") -> str:
    """Waits until a file's text is as wanted while a process runs; returns the text."""
    text = ""
    for _ in range(2400):
        text = path.read_text() if path.exists() else ""
        if holds(text):
            return text
        assert process.poll() is None, f"ended with {process.returncode}: {text}"
        time.sleep(0.05)
    raise AssertionError(f"{path} never came to be as wanted: {text}")


def losses(output: str) -> dict[int, str]:
    """Step -> loss as printed; every line must have the form."""
    matches = [LINE.fullmatch(line) for line in output.splitlines()]
    assert all(matches), output
    return {int(m[1]): m[2] for m in matches if m}


def samples(folder: Path, rank: int = 0) -> dict[int, list[int]]:
    """Step -> sample ids that a rank was trained on; each step once."""
    lines = (folder / f"samples.rank{rank}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    by_step = {row["step"]: row["sample_index"] for row in rows}
    assert len(by_step) == len(rows)
    return by_step


def pid_in(log: str) -> int:
    """Process that wrote the last line of a rank's log."""
    return int(re.findall(r" pid (\d+) ", log)[-1])
