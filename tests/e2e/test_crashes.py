"""What ends a process costs its own episode: found, left out, told, tried again on request."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from predecode.child import Limits
from predecode.errors import Death, InfraError
from predecode.injection import VARIABLE
from predecode.isolation import run_isolated
from predecode.job import Outcome
from predecode.output import jobs_of, load_plans
from predecode.pipeline import ShardJob
from predecode.verification.jobs import Asked, make_jobs
from tests.e2e.test_faults import flip_bytes_in_a_picture
from tests.support.jobs import (
    command,
    command_here,
    fingerprint,
    finished_at,
    retry_here,
    run_here,
    structure_here,
    verify_here,
)
from tests.support.processes import task_processes

pytestmark = [pytest.mark.slow, pytest.mark.faults]

HEAD = "videos/task-0000/observation.images.rgb.head/episode_00000020.mp4"
TABLE = "data/task-0000/episode_00000020.parquet"
LIMITS = Limits(hang_s=60, memory_bytes=1_000_000_000)
IMPATIENT = LIMITS._replace(hang_s=8)  # a busy machine starts a process in some seconds
OPTIONS: dict[str, Any] = {"tasks": "0", "size": "64", "cameras": "head", "stride": 2}
AT_20 = "episode=20,camera=head,frame=100"


def run_isolated_here(root: Path, out: Path, limits: Limits = LIMITS) -> Outcome:
    return run_here(root, out, work=partial(run_isolated, limits=limits), **OPTIONS)


def stored(out: Path) -> dict[str, str]:
    """All files but those that tell of a fault in words, or of the source's root."""
    told = ("receipts/", "quarantine.jsonl", "plan-")
    return {name: d for name, d in fingerprint(out).items() if not any(t in name for t in told)}


@pytest.fixture(scope="module")
def undisturbed(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    run_here(b1k_root, out, **OPTIONS)
    return out


def test_processes_of_their_own_change_no_byte(
    b1k_root: Path, undisturbed: Path, tmp_path: Path
) -> None:
    outcome = run_isolated_here(b1k_root, tmp_path)
    assert (outcome.faults, outcome.num_new_images) == ({}, 561)
    assert fingerprint(tmp_path) == fingerprint(undisturbed)


def test_a_slow_disk_is_no_hang(
    b1k_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = OPTIONS | {"stride": 9}
    run_here(b1k_root, tmp_path / "undisturbed", **options)
    monkeypatch.setenv("PREDECODE_FAULT", "slow:stage=write")
    work = partial(run_isolated, limits=IMPATIENT)
    start_s = time.monotonic()
    outcome = run_here(b1k_root, tmp_path / "out", work=work, **options)
    assert outcome.num_new_images == 14 + 28 + 84  # in one shard, each 0.1 s
    assert time.monotonic() - start_s > 12.6 > IMPATIENT.hang_s
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "undisturbed")


@pytest.fixture(scope="module")
def without_20(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """``stored`` of an output, proven, whose episode 20 is quarantined for another reason."""
    folder = tmp_path_factory.mktemp("without_20")
    root = Path(shutil.copytree(b1k_root, folder / "b1k"))
    flip_bytes_in_a_picture(root)
    assert list(run_here(root, folder / "out", **OPTIONS).faults) == [20]
    assert verify_here(b1k_root, folder / "out", num_random=20).findings == []
    return stored(folder / "out")


@pytest.mark.parametrize(
    ("fault", "reason", "seen"),
    [
        (f"segv:backend=pyav,{AT_20}", "SIGSEGV", "Segmentation fault"),
        (f"abort:{AT_20}", "SIGABRT", "Aborted"),
        (f"hang:backend=pyav,{AT_20}", "hang", "in _happen"),
        (f"grow:backend=pyav,{AT_20}", "memory", "in _happen"),
    ],
    ids=["segv", "abort", "hang", "grow"],
)
def test_an_episode_that_ends_its_process_is_quarantined_like_any_other(
    b1k_root: Path,
    without_20: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    reason: str,
    seen: str,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv(VARIABLE, fault)
    outcome = run_isolated_here(b1k_root, out, IMPATIENT if reason == "hang" else LIMITS)
    monkeypatch.delenv(VARIABLE)
    assert list(outcome.faults) == [20]
    found = outcome.faults[20]
    assert (found.camera, found.path) == ("head", HEAD)
    assert found.expected == "pictures of frames 0-248"
    assert found.got == f"{reason} after frame 98"
    assert isinstance(found.death, Death)
    assert found.death.reason == reason
    assert seen in "\n".join(found.death.stderr)
    assert found.death.decoder["backend"] == "pyav"
    assert {"av", "libavcodec"} <= set(found.death.decoder)
    opinion = {"SIGSEGV": "decodes it", "SIGABRT": "dies too: SIGABRT after frame 98"}
    if reason in opinion:
        assert found.death.others == {"torchcodec": opinion[reason]}
    assert structure_here(b1k_root, out) == []
    assert stored(out) == without_20


def test_the_quarantine_tells_how_to_reproduce_it_and_retry_repairs_it(
    b1k_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv(VARIABLE, f"segv:{AT_20}")
    run_isolated_here(b1k_root, out)
    (row,) = map(json.loads, (out / ".predecode/quarantine.jsonl").read_text().splitlines())
    words = shlex.split(row["reproduce"])
    assert words[:3] == ["python", "-m", "predecode.reproduce"]
    before = fingerprint(out)

    def reproduce() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *words[1:]], capture_output=True, text=True, check=False
        )

    dies = reproduce()
    assert (dies.returncode, "got SIGSEGV after frame 98" in dies.stdout) == (1, True), dies
    assert "1 tried, 1 died" in dies.stdout
    monkeypatch.delenv(VARIABLE)
    lives = reproduce()
    assert (lives.returncode, lives.stdout) == (0, "1 tried, 0 died\n")
    stranger = subprocess.run(
        [sys.executable, *words[1:4], "--episode", "7"], capture_output=True, text=True, check=False
    )
    assert (stranger.returncode, "no task  with episode 7" in stranger.stderr) == (2, True)
    assert fingerprint(out) == before

    assert retry_here(b1k_root, out).manifest.complete
    assert verify_here(b1k_root, out, num_random=20).findings == []


def test_what_ends_one_decoder_is_stored_through_another_which_is_recorded(
    b1k_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, options = tmp_path / "out", {**OPTIONS, "codec": "png", "stride": 10}
    work = partial(run_isolated, limits=LIMITS)
    monkeypatch.setenv(VARIABLE, f"segv:backend=pyav,{AT_20}")
    assert list(run_here(b1k_root, out, work=work, **options).faults) == [20]
    still = retry_here(b1k_root, out, work=work)
    assert list(still.faults) == [20]
    done = retry_here(b1k_root, out, work=work, backend="torchcodec")
    assert done.manifest.complete
    by, through = done.manifest.generations[0], done.manifest.generations[-1]
    assert (by.backend, through.backend) == (msgspec.UNSET, "torchcodec")
    assert "torchcodec" in through.environment
    assert by.probe != through.probe
    monkeypatch.delenv(VARIABLE)
    assert verify_here(b1k_root, out).findings == []
    finished = finished_at(out, b1k_root)
    # Each generation is decoded again by what made it, unless another decoder is asked for.
    jobs = make_jobs(out, b1k_root, done.manifest, finished, Asked(is_all=True), lambda *_: None)
    made_by = {job.name: job.backend for job in jobs.shards}
    assert set(made_by.values()) == {"pyav", "torchcodec"}
    assert [made_by[f"verify {Path(shard.path).stem}"] for shard in through.shards] == [
        "torchcodec"
    ] * len(through.shards)
    assert {(20, 0)} <= {s for j in jobs.samples if j.backend == "torchcodec" for s in j.samples}
    drawn = make_jobs(out, b1k_root, done.manifest, finished, Asked(), lambda *_: None).samples
    assert {job.backend for job in drawn} == {"pyav", "torchcodec"}
    assert len({job.name for job in drawn}) == len(drawn)
    other = Asked(is_all=True, backends=("video_reader",))
    jobs = make_jobs(out, b1k_root, done.manifest, finished, other, lambda *_: None)
    assert {job.backend for job in jobs.shards} == {"video_reader"}
    assert {job.backend for job in jobs.samples} == {"video_reader"}


def test_a_process_that_dies_once_is_forgotten(
    b1k_root: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = tmp_path / "happened"
    monkeypatch.setenv(VARIABLE, f"segv:once={once},{AT_20}")
    assert run_isolated_here(b1k_root, tmp_path / "out").faults == {}
    assert once.exists()
    assert fingerprint(tmp_path / "out") == fingerprint(undisturbed)


def test_a_death_that_no_episode_dies_alone_stops_the_job_and_tells_what_was_tried(
    b1k_root: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "segv:stage=table,reached=3")  # three tables in one process
    with pytest.raises(
        InfraError,
        match=r"task b1k-lowdim-000000: its process died 3 times \(SIGSEGV, SIGSEGV, SIGSEGV\), "
        "at last as a whole, though every other episode .* the same command tries again",
    ):
        run_isolated_here(b1k_root, tmp_path / "out")
    assert not (tmp_path / "out/.predecode/manifest.json").exists()
    monkeypatch.delenv(VARIABLE)
    run_isolated_here(b1k_root, tmp_path / "out")
    assert fingerprint(tmp_path / "out") == fingerprint(undisturbed)


def test_a_bug_and_a_lost_source_are_no_deaths(b1k_root: Path, undisturbed: Path) -> None:
    (plan,) = load_plans(undisturbed)
    job = next(job for job in jobs_of(undisturbed, plan) if isinstance(job, ShardJob))
    before = fingerprint(undisturbed)
    with pytest.raises(RuntimeError, match=f"task {job.name}:(.|\n)*KeyError"):
        run_isolated(msgspec.structs.replace(job, episodes=[]), print, limits=LIMITS)
    with pytest.raises(InfraError, match="was there when the plan was made, now: No such file"):
        run_isolated(msgspec.structs.replace(job, root="/nowhere"), print, limits=LIMITS)
    assert plan.root == str(b1k_root)
    assert fingerprint(undisturbed) == before


@pytest.mark.parametrize(
    ("stage", "path", "got"),
    [("check", f"{TABLE} or {HEAD}", "in the source check"), ("table", TABLE, "while it is read")],
)
def test_headers_and_tables_that_end_a_process_cost_their_episode_too(
    b1k_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    path: str,
    got: str,
) -> None:
    monkeypatch.setenv(VARIABLE, f"segv:stage={stage},episode=20")
    outcome = run_isolated_here(b1k_root, tmp_path)
    row = json.loads((tmp_path / ".predecode/quarantine.jsonl").read_text())
    again = subprocess.run(
        [sys.executable, *shlex.split(row["reproduce"])[1:]], capture_output=True, check=False
    )
    monkeypatch.delenv(VARIABLE)
    assert again.returncode == 1
    assert list(outcome.faults) == [20]
    assert outcome.faults[20].path.startswith(path.split(" or ")[0])
    assert path.split(" or ")[-1] in outcome.faults[20].path
    assert outcome.faults[20].got == f"SIGSEGV {got}"
    assert verify_here(b1k_root, tmp_path, num_random=20).findings == []
    # The same command again tries nothing again.
    assert run_isolated_here(b1k_root, tmp_path).num_new_images == 0


def test_an_unknown_fault_is_refused(tmp_path: Path, b1k_root: Path) -> None:
    words = ("run", "--src", "b1k", "--root", b1k_root, "--out", tmp_path / "out")
    done = command(*words, PREDECODE_FAULT="explode:now=1")
    assert done.returncode == 2
    assert f"${VARIABLE}=explode:now=1: expected <kind>:<name>=<value>" in done.stderr


def test_under_ray_a_crash_costs_its_episode_and_the_rest_is_whole(
    b1k_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = command(*words(b1k_root, out), PREDECODE_FAULT=f"segv:{AT_20}")
    assert done.returncode == 1, done.stderr
    assert "quarantined: episode 00000020, camera head" in done.stderr
    assert "SIGSEGV after frame 98" in done.stderr
    assert f"predecode retry {out} --episodes 00000020" in done.stderr
    again = command_here("retry", out, "--num-cpus", "2")
    assert (again.returncode, "complete" in again.stdout) == (0, True), again.stderr


def test_under_ray_what_no_episode_dies_of_alone_ends_with_status_3_at_once(
    b1k_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = command(*words(b1k_root, out), PREDECODE_FAULT="segv:stage=table,reached=3")
    assert done.returncode == 3
    assert "error: task b1k-lowdim-000000: its process died 3 times (" in done.stderr
    assert not (out / ".predecode/manifest.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_a_process_hangs_it_stops_soon_and_leaves_none_behind(
    b1k_root: Path, undisturbed: Path, tmp_path: Path, number: int
) -> None:
    out, happened = tmp_path / "out", tmp_path / "happened"
    process = subprocess.Popen(
        [sys.executable, "-m", "predecode", *map(str, words(b1k_root, out))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, VARIABLE: f"hang:once={happened},{AT_20}"},
    )
    while not happened.exists():
        assert process.poll() is None
        time.sleep(0.01)
    assert task_processes(out)
    started_s = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "interrupted. Nothing is lost: the same command goes on from here." in errors
    assert time.monotonic() - started_s < 10  # the contract, not a measurement
    assert task_processes(out) == []
    assert not (out / ".predecode/lock").exists()
    run_isolated_here(b1k_root, out)
    assert fingerprint(out) == fingerprint(undisturbed)


def words(root: Path, out: Path) -> list[str | Path]:
    """The settings of ``OPTIONS`` and of ``run_here`` on the command line."""
    return ["run", "--src", "b1k", "--root", root, "--out", out, "--tasks", "0", "--size", "64",
            "--cameras", "head", "--stride", "2", "--shard-size", "512",
            "--num-cpus", "2"]  # fmt: skip
