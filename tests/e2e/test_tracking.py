"""Figures of a run, everywhere they are told, and ``predecode status`` while it works."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from predecode.injection import VARIABLE
from predecode.places import LocalPlace
from predecode.status import Status, status_of
from tests.support.jobs import command, command_here, fingerprint, run_here
from tests.support.kill_anywhere import OPTIONS
from tests.support.processes import task_processes
from tests.support.wandb_run import WandbRun, read_wandb

pytestmark = pytest.mark.slow

STAGES = ["convert", "decode", "encode", "read", "resize", "write"]


def words(root: Path, out: Path) -> list[str]:
    """``OPTIONS`` and the shard size of ``run_here`` on the command line."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    return ["run", "--src=b1k", f"--root={root}", f"--out={out}", *options,
            "--shard-size=512", "--num-cpus=1"]  # fmt: skip


class Made(NamedTuple):
    out: Path
    stdout: str
    lines: list[dict[str, Any]]
    manifest: dict[str, Any]
    wandb: WandbRun


@pytest.fixture(scope="module")
def made(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run through the command line, in wandb, with a home in which there is no key."""
    home = tmp_path_factory.mktemp("tracked")
    out = home / "shards"
    done = command(*words(b1k_root, out), "--wandb", cwd=home, HOME=str(home),
                   WANDB_PROJECT="robots", WANDB_ENTITY="team", WANDB_API_KEY="")  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (out / ".predecode/progress.jsonl").read_text()
    manifest = json.loads((out / ".predecode/manifest.json").read_text())
    lines = [json.loads(line) for line in text.splitlines()]
    return Made(out, done.stdout, lines, manifest, read_wandb(home / "wandb"))


def test_the_last_line_has_the_totals_of_the_manifest(made: Made) -> None:
    last, totals = made.lines[-1], made.manifest["totals"]
    assert [line["is_last"] for line in made.lines] == [False] * (len(made.lines) - 1) + [True]
    assert last["num_samples"] == totals["num_samples"] == 60
    assert last["num_images"] == totals["num_images"] == 60
    assert last["num_bytes"] == totals["num_shard_bytes"] + totals["num_lowdim_bytes"]
    assert (last["num_failures"], last["num_tasks"], last["done"], last["total"]) == (0, 3, 60, 60)
    assert last["images_per_s"] == pytest.approx(60 / last["elapsed_s"])


def test_stages_are_all_there_and_no_longer_than_their_tasks(made: Made) -> None:
    last = made.lines[-1]
    stages = last["stages_s"]
    assert sorted(stages) == STAGES
    assert all(value > 0 for value in stages.values())
    assert sum(stages.values()) < last["task_s"] < last["elapsed_s"]
    assert 0 < last["cpu_s"] < last["elapsed_s"]  # one task at a time, in one thread
    assert 0 < last["utilisation"] < 1


def test_wandb_has_the_same_figures_off_line(made: Made) -> None:
    assert (made.wandb.project, made.wandb.entity) == ("robots", "team")
    assert len(made.wandb.history) == len(made.lines)
    last, line = made.wandb.history[-1], made.lines[-1]
    for name in ("num_images", "images_per_s", "frames_per_s", "num_bytes", "num_failures",
                 "utilisation"):  # fmt: skip
        assert last[name] == pytest.approx(line[name])
    assert {s: last[f"{s}_s"] for s in STAGES} == pytest.approx(line["stages_s"])


def test_summary_and_card_tell_them_and_nothing_else_differs(
    made: Made, b1k_root: Path, tmp_path: Path
) -> None:
    told = [line for line in made.stdout.splitlines() if line.startswith("this call: ")]
    assert len(told) == 1
    figures = told[0].removeprefix("this call: ")
    assert figures.startswith("60 frames, 60 images, ")
    assert f"{made.lines[-1]['images_per_s']:,.1f} images/s" in figures
    card = (made.out / "README.md").read_text()
    assert card.endswith(f"\n\n{figures}.\n")
    run_here(b1k_root, tmp_path, **OPTIONS)
    assert "How it was made" not in (tmp_path / "README.md").read_text()
    assert fingerprint(made.out) == fingerprint(tmp_path)


def test_status_of_a_finished_output(made: Made) -> None:
    before = fingerprint(made.out)
    done = command_here("status", made.out, "--json")
    assert done.returncode == 0, done.stderr
    told, totals = json.loads(done.stdout), made.manifest["totals"]
    assert (told["state"], told["writer"], told["quarantined"]) == ("complete", None, [])
    assert (told["num_tasks_done"], told["num_tasks"], told["num_episodes"]) == (3, 3, 2)
    assert told["num_samples_done"] == told["num_samples"] == totals["num_samples"]
    assert told["num_bytes"] == totals["num_shard_bytes"] + totals["num_lowdim_bytes"]
    assert told["versions"]["written_by"] == made.manifest["written_by"]
    assert fingerprint(made.out) == before


def look(out: Path) -> Status:
    return status_of(LocalPlace(out))


@pytest.mark.faults
def test_status_of_a_run_that_works_and_of_one_that_was_killed(
    b1k_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    process = subprocess.Popen(
        [sys.executable, "-m", "predecode", *words(b1k_root, out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, VARIABLE: "hang:stage=decode,episode=490010"},
    )  # fmt: skip
    try:
        while not (out / ".predecode/lock").is_file():
            assert process.poll() is None
            time.sleep(0.01)
        checking = look(out)
        assert (checking.state, checking.num_tasks, checking.versions) == ("running", 0, {})
        while (working := look(out)).num_tasks_done < 1:
            assert process.poll() is None
            time.sleep(0.1)
        assert (working.state, working.num_tasks, working.num_samples) == ("running", 3, 60)
        assert working.num_bytes > 0
        assert working.writer is not None
        assert working.writer.pid == process.pid
    finally:
        process.kill()
        process.wait()
    told = command_here("status", out)
    assert told.returncode == 1
    assert f"KILLED: process {process.pid} of host " in told.stdout
    assert f"To go on: predecode run --src=b1k --root={b1k_root}" in told.stdout
    while task_processes(out):
        time.sleep(0.1)
    killed = look(out)
    assert (killed.state, killed.num_tasks, killed.num_tasks_in_flight) == ("killed", 3, 0)
    assert killed.num_tasks_done >= working.num_tasks_done


def test_status_without_an_output(tmp_path: Path) -> None:
    done = command_here("status", tmp_path)
    assert done.returncode == 2
    assert "no output of predecode" in done.stderr
    assert list(tmp_path.iterdir()) == []
