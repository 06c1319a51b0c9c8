"""A run that is killed at any moment is finished by the same command, to the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.jobs import command_here, fingerprint, run_here
from tests.support.kill_anywhere import NUM_STEPS, NUM_TIMES, OPTIONS, lies
from tests.support.processes import parent_of, task_processes

pytestmark = [pytest.mark.slow, pytest.mark.faults]


def test_killed_at_45_moments_and_run_again_every_byte_is_the_same(
    b1k_root: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.kill_anywhere", b1k_root, tmp_path, "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(trials) == NUM_STEPS + NUM_TIMES == 45
    assert [t for t in trials if t["second"] != 0 or t["wrong"]] == [], done.stderr
    # A moment drawn by the clock may come after the end on a machine that has grown faster.
    killed = [t["first"] == -signal.SIGKILL for t in trials]
    assert all(killed[:NUM_STEPS])
    assert sum(killed) >= 30


@pytest.fixture(scope="module")
def undisturbed(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    run_here(b1k_root, out, **OPTIONS)
    return out


def words(root: Path, out: Path) -> list[str]:
    """``OPTIONS`` and the shard size of ``run_here`` on the command line."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    return ["run", "--src", "b1k", f"--root={root}", f"--out={out}", *options,
            "--shard-size=512", "--num-cpus=2"]  # fmt: skip


def start(root: Path, out: Path) -> "subprocess.Popen[str]":
    """A run under Ray whose plan stands."""
    process = subprocess.Popen(
        [sys.executable, "-m", "predecode", *words(root, out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (out / ".predecode/plan-000000.json").is_file():
        assert process.poll() is None
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("seed", range(3))
def test_under_ray_a_killed_driver_costs_nothing_but_time(
    b1k_root: Path, undisturbed: Path, tmp_path: Path, seed: int
) -> None:
    out = tmp_path / "shards"
    process = start(b1k_root, out)
    time.sleep(random.Random(seed).uniform(0, 2))
    process.kill()  # the driver alone: Ray's processes find out by themselves
    process.communicate()
    assert lies(out) == []
    done = command_here(*words(b1k_root, out))
    assert done.returncode == 0, done.stderr
    assert fingerprint(out) == fingerprint(undisturbed)


@pytest.mark.parametrize("who", ["worker", "task process"])
def test_under_ray_a_killed_worker_is_replaced_while_the_run_goes_on(
    b1k_root: Path, undisturbed: Path, tmp_path: Path, who: str
) -> None:
    out = tmp_path / "shards"
    process = start(b1k_root, out)
    while not (tasks := task_processes(out)):
        assert process.poll() is None
    os.kill(tasks[0] if who == "task process" else parent_of(tasks[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert task_processes(out) == []
    assert fingerprint(out) == fingerprint(undisturbed)
