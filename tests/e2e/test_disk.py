"""Disks that are full, read-only, gone or out of inodes: nothing half done, and a way to go on."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from predecode.errors import InfraError
from predecode.source_check import check_episode
from predecode.sources.registry import open_source
from tests.support.jobs import command_here, fingerprint, run_here
from tests.support.mounts import mounted, remount, unmount

pytestmark = [pytest.mark.slow, pytest.mark.faults]

EPISODES = "00490010,00490040"
RUN = ("--src", "b1k", "--episodes", EPISODES, "--size", "64", "--shard-size", "256")
"""591 frames in three shards, 9 MB."""


@pytest.fixture(scope="module")
def undisturbed(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    run_here(b1k_root, out, episodes=EPISODES, size="64", shard_size=256)
    return fingerprint(out)


def run(root: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    """The command without Ray, under which ``run_until`` runs it."""
    return command_here("run", *RUN, "--root", root, "--out", out)


def assert_nothing_published(out: Path) -> None:
    assert not (out / ".predecode/manifest.json").exists()
    assert not list(out.glob("data/**/*.tmp"))


def assert_full_then_goes_on(
    done: "subprocess.CompletedProcess[str]", root: Path, out: Path, enough: str
) -> dict[str, str]:
    """A full disk stopped a run; with room the same command ends: its fingerprint."""
    assert done.returncode == 3, done.stdout + done.stderr
    assert "No space left on device" in done.stderr
    assert "make room or repair the disk, then the same command goes on" in done.stderr
    assert_nothing_published(out)
    remount(out.parent, enough)
    done = run(root, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return fingerprint(out)


def test_a_disk_that_fills_publishes_nothing_and_goes_on_after_room_is_made(
    b1k_root: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    with mounted(tmp_path / "disk", "size=64m") as disk:
        out = disk / "shards"
        process = run_until(b1k_root, out, out / ".predecode/plan-000000.json")
        (disk / "of_others").write_bytes(bytes(shutil.disk_usage(disk).free - 3_000_000))
        _, said = process.communicate(timeout=120)
        done = subprocess.CompletedProcess(process.args, process.returncode, "", said)
        assert assert_full_then_goes_on(done, b1k_root, out, "size=128m") == undisturbed


def test_a_disk_without_inodes_publishes_nothing_and_goes_on_after_room_is_made(
    b1k_root: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    with mounted(tmp_path / "disk", "nr_inodes=16") as disk:
        out = disk / "shards"
        done = run(b1k_root, out)
        assert assert_full_then_goes_on(done, b1k_root, out, "nr_inodes=4096") == undisturbed


def test_a_read_only_output_is_refused_with_its_reason(b1k_root: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro") as disk:
        done = run(b1k_root, disk / "shards")
        assert done.returncode == 3
        assert "Read-only file system" in done.stderr
        assert list(disk.iterdir()) == []


def run_until(root: Path, out: Path, seen: Path) -> "subprocess.Popen[str]":
    """Starts a run and comes back when a path is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "predecode", "run", *RUN, "--root", str(root), "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not seen.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def test_an_output_that_vanishes_stops_the_run(
    b1k_root: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=64m"):
        out = disk / "shards"
        process = run_until(b1k_root, out, out / "data/train/b1k-train-000000.tar")
        unmount(disk)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 3, said
        assert "Traceback" not in said
        assert_nothing_published(out)
    shutil.rmtree(disk)
    with mounted(disk, "size=64m"):
        assert run(b1k_root, disk / "shards").returncode == 0
        assert fingerprint(disk / "shards") == undisturbed


def test_a_source_that_vanishes_quarantines_nothing(
    b1k_root: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    disk, out = tmp_path / "disk", tmp_path / "shards"
    with mounted(disk, "size=64m"):
        shutil.copytree(b1k_root, disk / "b1k")
        process = run_until(disk / "b1k", out, out / ".predecode/plan-000000.json")
        unmount(disk)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 3, said
        assert "Make the source reachable again, then the same command goes on" in said
        assert_nothing_published(out)
    done = run(b1k_root, out)
    assert done.returncode == 0, done.stderr
    plan = ".predecode/plan-000000.json"  # says where the source lay when it was made
    assert fingerprint(out) | {plan: ""} == undisturbed | {plan: ""}


def test_a_source_that_vanishes_before_the_plan_quarantines_nothing(
    b1k_root: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=64m") as disk:
        shutil.copytree(b1k_root, disk / "b1k")
        source = open_source("b1k", disk / "b1k")
        unmount(disk)
        (disk / "b1k").mkdir()
        with pytest.raises(InfraError, match="the source's folder is empty. Make the source"):
            check_episode(source.root, source.episodes[0], tuple(source.cameras))
        (disk / "b1k").rmdir()
        with pytest.raises(InfraError, match="the source's folder is gone. Make the source"):
            check_episode(source.root, source.episodes[0], tuple(source.cameras))
