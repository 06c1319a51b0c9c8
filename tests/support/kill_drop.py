"""Kills a drop at many of its changes to files and goes on with it; a program, so that it may fork.

``python -m tests.support.kill_drop ROOT WHOLE FOLDER SEED`` prints a JSON line a trial: where it
was killed, what a new reader was then served, and what is wrong at the end (nothing, it is hoped).
WHOLE is an output of ``OPTIONS``.
"""

import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from predecode.injection import VARIABLE, arm, is_change
from predecode.sources.barcode import read
from tests.support.jobs import drop_here, fingerprint, run_here
from tests.support.kill_anywhere import forked
from train_shards.dataset import IMAGE_KEY, ShardDataset

OPTIONS: dict[str, Any] = {
    "size": "64",
    "cameras": "head",
    "codec": "png",
    "stride": 10,
    "val_episodes": "00490040",
}
DROPPED = (10, 490010)
NUM_STEPS = 40
NUM_GROWN = 4
"""Trials after which the run's own command comes before the drop's."""


def served(out: Path) -> list[int]:
    """Episodes of a new data set, every one of whose pictures is what it should be."""
    dataset = ShardDataset(out, check_index=True, check_members=True)
    for item in dataset.__getitems__(range(len(dataset))):
        identity = read(item[IMAGE_KEY + "head"])
        if (identity.episode_index, identity.frame_index) != (
            item["episode_index"], item["frame_index"],
        ):  # fmt: skip
            raise RuntimeError(f"a reader gets {identity} for {item['episode_index']}")
    return [span.episode_index for span in dataset.spans()]


def trials(root: Path, whole: Path, folder: Path, seed: int) -> Iterator[dict[str, object]]:
    def drop(out: Path, fault: str | None = None) -> None:
        if fault is not None:
            os.environ[VARIABLE] = fault
            arm()
        drop_here(out, *DROPPED, rewrite=True)

    def count(out: Path) -> None:
        changes: list[str] = []
        sys.addaudithook(lambda *event: changes.append(event[0]) if is_change(*event) else None)
        drop(out)
        (folder / "count").write_text(str(len(changes)))

    undisturbed = Path(shutil.copytree(whole, folder / "undisturbed"))
    if forked(lambda: count(undisturbed)):
        raise RuntimeError("an undisturbed drop fails")
    num_changes = int((folder / "count").read_text())
    wanted = fingerprint(undisturbed)
    steps = sorted(random.Random(seed).sample(range(1, num_changes + 1), NUM_STEPS))
    for number, step in enumerate(steps):
        out = Path(shutil.copytree(whole, folder / f"trial-{number}"))
        first = forked(lambda out=out, step=step: drop(out, f"kill:step={step}"))  # type: ignore[misc]
        between = served(out)
        if number % (NUM_STEPS // NUM_GROWN) == 0:
            run_here(root, out, **OPTIONS)
            served(out)
        second = forked(lambda out=out: drop(out))  # type: ignore[misc]
        after = fingerprint(out)
        wrong = sorted({name for name, _ in set(after.items()) ^ set(wanted.items())})
        yield {"step": step, "of": num_changes, "first": first, "second": second,
               "between": between, "wrong": wrong}  # fmt: skip
        shutil.rmtree(out)


if __name__ == "__main__":
    source, given, work = map(Path, sys.argv[1:4])
    for trial in trials(source, given, work, int(sys.argv[4])):
        print(json.dumps(trial), flush=True)
