"""Kills a small run at many moments and goes on with it; a program, so that it may fork.

``python -m tests.support.kill_anywhere ROOT FOLDER SEED`` prints a JSON line a trial: where it was
killed, whether it was, and what is wrong afterwards (nothing, it is hoped). Trials are forked from
a process that has imported everything and done nothing, which saves them a second each.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from predecode.injection import VARIABLE, arm, is_change
from tests.support.jobs import fingerprint, run_here

OPTIONS: dict[str, Any] = {
    "tasks": "49",
    "size": "32",
    "cameras": "head",
    "stride": 10,
    "val_episodes": "00490040",
}
NUM_STEPS = 25
NUM_TIMES = 20


def forked(work: Callable[[], object], kill_after_s: float | None = None) -> int:
    """Does work in a child; returns its exit status as ``os.waitstatus_to_exitcode`` does."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def lies(out: Path) -> list[str]:
    """Names of receipts that say something of a file that is not so."""
    found = []
    for path in (out / ".predecode/receipts").glob("*.json"):
        entry = json.loads(path.read_bytes())["entry"]
        told = {entry["path"]: entry["sha256"]}
        if "ledger" in entry:
            told[entry["ledger"]] = entry["ledger_sha256"]
        for name, sha256 in told.items():
            file = out / name
            if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
                found.append(path.name)
    return found


def trials(root: Path, folder: Path, seed: int) -> Iterator[dict[str, object]]:
    def run(out: Path, fault: str | None = None) -> None:
        if fault is not None:
            os.environ[VARIABLE] = fault
            arm()
        run_here(root, out, **OPTIONS)

    def count() -> None:
        changes: list[str] = []
        sys.addaudithook(lambda *event: changes.append(event[0]) if is_change(*event) else None)
        run(folder / "counted")
        (folder / "count").write_text(str(len(changes)))

    started_s = time.monotonic()
    if forked(lambda: run(folder / "undisturbed")) or forked(count):
        raise RuntimeError("an undisturbed run fails")
    duration_s = (time.monotonic() - started_s) / 2
    num_changes = int((folder / "count").read_text())
    wanted = fingerprint(folder / "undisturbed")
    draw = random.Random(seed)
    # The lock and the plan step by step, then steps drawn from all.
    moments: list[int | float] = [*range(2, 12)]
    moments += sorted(draw.sample(range(12, num_changes + 1), NUM_STEPS - len(moments)))
    moments += [draw.uniform(0, duration_s) for _ in range(NUM_TIMES)]
    for number, moment in enumerate(moments):
        out = folder / f"trial-{number}"
        if isinstance(moment, int):
            fault = f"kill:step={moment}"
            first = forked(lambda out=out, fault=fault: run(out, fault))  # type: ignore[misc]
        else:
            first = forked(lambda out=out: run(out), moment)  # type: ignore[misc]
        wrong = lies(out)
        second = forked(lambda out=out: run(out))  # type: ignore[misc]
        after = fingerprint(out)
        wrong += sorted({name for name, _ in set(after.items()) ^ set(wanted.items())})
        yield {"moment": moment, "of": num_changes, "first": first, "second": second,
               "wrong": wrong}  # fmt: skip
        shutil.rmtree(out)


if __name__ == "__main__":
    for trial in trials(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])):
        print(json.dumps(trial), flush=True)
