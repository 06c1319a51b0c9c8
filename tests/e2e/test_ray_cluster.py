"""A cluster of several raylets: nodes that come, go and are too small, and a head that is lost."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.jobs import command, fingerprint, run_here
from tests.support.media import PAINTED, painted
from tests.support.processes import raylet_of, task_processes
from tests.support.ray_cluster import LocalCluster, local_cluster

pytestmark = [pytest.mark.slow, pytest.mark.faults]

SLURM_SCRIPT = Path(__file__).parents[2] / "docs/examples/predecode.slurm"
NUM_FILMS = 12
NUM_PICTURES = 300
"""Of each film: one piece, and so one shard and one task."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("films")
    encoder = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-pix_fmt", "yuv420p")
    subprocess.run(
        [*PAINTED, "-r", "30", "-i", "-", *encoder, str(root / "00.mp4")],
        input=painted(NUM_PICTURES).tobytes(),
        check=True,
    )
    for number in range(1, NUM_FILMS):
        shutil.copy(root / "00.mp4", root / f"{number:02}.mp4")
    return root


@pytest.fixture(scope="module")
def undisturbed(films: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    run_here(films, out, src="videos", size="64", shard_size=256, layout="episode")
    files = fingerprint(out)
    assert len([name for name in files if name.endswith(".tar")]) == NUM_FILMS
    return files


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster({"memory": 3_000_000_000}, {"memory": 2_000_000_000}) as two:
        yield two


def words(films: Path, out: Path, *more: str) -> list[str]:
    return ["run", "--src", "videos", "--root", str(films), "--out", str(out), "--size", "64",
            "--shard-size", "256", "--layout", "episode", *more]  # fmt: skip


def start(films: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "predecode", *words(films, out, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(process: "subprocess.Popen[str]", is_so: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 120
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def num_receipts(out: Path) -> int:
    return len(list((out / ".predecode/receipts").glob("*.json")))


def raylets_at_work(out: Path) -> set[int | None]:
    return {raylet_of(process_id) for process_id in task_processes(out)}


def test_a_node_that_joins_works_and_when_it_is_killed_the_other_finishes(
    films: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    with local_cluster({}) as one:
        run = start(films, out, "--address", one.address)
        wait_until(run, lambda: num_receipts(out) > 0)
        assert raylets_at_work(out) <= {one.raylets[0], None}
        joined = one.add()
        wait_until(run, lambda: joined in raylets_at_work(out))
        one.kill(1)
        _, errors = run.communicate(timeout=120)
        assert task_processes(out) == []
    assert run.returncode == 0, errors
    assert fingerprint(out) == undisturbed


def test_a_lost_head_ends_the_run_and_a_new_cluster_finishes_it(
    films: Path, undisturbed: dict[str, str], cluster: LocalCluster, tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    with local_cluster({}) as one:
        run = start(films, out, "--address", one.address)
        wait_until(run, lambda: num_receipts(out) > 0)
        one.kill(0)
        killed_s = time.monotonic()
        _, errors = run.communicate(timeout=60)
        assert time.monotonic() - killed_s < 40
    assert run.returncode == 3, errors
    assert f"the head of the Ray cluster, {one.address}, has not answered for 20 s" in errors
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    assert 0 < num_receipts(out) < NUM_FILMS
    assert not (out / ".predecode/manifest.json").exists()

    done = command(*words(films, out, "--address", cluster.address, "--memory-limit-mb", "1500"))
    assert done.returncode == 0, done.stderr
    assert fingerprint(out) == undisturbed


def test_two_nodes_share_a_job_whose_driver_is_stopped_and_runs_again(
    films: Path, undisturbed: dict[str, str], cluster: LocalCluster, tmp_path: Path
) -> None:
    """As in ``ray job submit`` and ``stop``: RAY_ADDRESS, a shell's process group, SIGTERM."""
    out = tmp_path / "shards"
    asked = words(films, out, "--address", "auto", "--memory-limit-mb", "1500")
    job = subprocess.Popen(
        ["sh", "-c", f"{sys.executable} -m predecode {' '.join(asked)}; exit $?"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_ADDRESS": cluster.address},
        start_new_session=True,
    )
    seen: set[int | None] = set()

    def both_were_seen() -> bool:
        seen.update(raylets_at_work(out))
        return set(cluster.raylets) <= seen

    wait_until(job, both_were_seen)
    assert seen <= {*cluster.raylets, None}
    os.killpg(job.pid, signal.SIGTERM)
    _, errors = job.communicate(timeout=60)
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    assert not (out / ".predecode/lock").exists()
    assert num_receipts(out) < NUM_FILMS

    done = command(*asked, RAY_ADDRESS=cluster.address)
    assert done.returncode == 0, done.stderr
    assert fingerprint(out) == undisturbed


def test_where_no_node_is_large_enough_it_says_what_is_needed_and_what_there_is(
    films: Path, cluster: LocalCluster, tmp_path: Path
) -> None:
    started_s = time.monotonic()
    done = command(
        *words(films, tmp_path / "out", "--address", cluster.address, "--node-wait-s", "3")
    )
    assert time.monotonic() - started_s < 30
    assert done.returncode == 2, done.stderr
    assert "expected 1 CPU and 4096 MB of memory" in done.stderr
    assert "nodes have at most 1 CPUs and 3000 MB" in done.stderr
    assert "Set --memory-limit-mb to 3000 or less" in done.stderr
    assert not (tmp_path / "out/.predecode/plan-000000.json").exists()


def test_an_embedded_ray_with_less_memory_than_a_task_may_use_runs_one_at_a_time(
    films: Path, tmp_path: Path
) -> None:
    out, expected = tmp_path / "shards", tmp_path / "expected"
    run = start(films, out, "--num-cpus", "2", "--memory-limit-mb", "900000000",
                "--episodes", "0-3")  # fmt: skip
    most = 0
    while run.poll() is None:
        most = max(most, len(task_processes(out)))
        time.sleep(0.1)
    _, errors = run.communicate()
    assert run.returncode == 0, errors
    assert most == 1
    assert "1 of 2 CPUs used" in errors
    run_here(films, expected, src="videos", size="64", shard_size=256, layout="episode",
             episodes="0-3")  # fmt: skip
    assert fingerprint(out) == fingerprint(expected)


def test_the_slurm_script_runs_on_stand_ins_for_slurm(films: Path, tmp_path: Path) -> None:
    """srun runs where it is called; both nodes of the job are this machine; videos, not b1k."""
    out, expected, tools = (tmp_path / name for name in ("shards", "expected", "bin"))
    tools.mkdir()
    predecode = f'exec {sys.executable} -m predecode "${{@/%b1k/videos}}" --size 64 --episodes 0-1'
    for name, text in {
        "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
        "scontrol": "printf '%s\\n' ${3//,/ }",
        "predecode": predecode,
    }.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    with socket.create_server(("", 0)) as server:
        port = str(server.getsockname()[1])
    job = subprocess.run(
        ["bash", str(SLURM_SCRIPT)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={
            **os.environ,
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),  # for Ray's token
            "SLURM_JOB_NODELIST": "localhost,127.0.0.1",
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_MEM_PER_NODE": "5000",
            "RAY_PORT": port,
            "PREDECODE_ROOT": str(films),
            "PREDECODE_OUT": str(out),
        },
    )
    assert job.returncode == 0, job.stderr
    run_here(films, expected, src="videos", size="64", shard_size=8192, episodes="0-1")
    assert fingerprint(out) == fingerprint(expected)
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", int(port))) != 0  # no Ray is left


def check_refused(films: Path, out: Path, address: str, in_environment: str = "") -> None:
    started_s = time.monotonic()
    done = command(*words(films, out, "--address", address), RAY_ADDRESS=in_environment)
    assert done.returncode == 2, done.stderr
    assert f"--address {address}: no Ray cluster reached" in done.stderr
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - started_s < 20  # 10 s where nothing else runs


def test_who_takes_calls_and_says_nothing_is_refused_within_seconds(
    films: Path, tmp_path: Path
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        check_refused(films, tmp_path / "out", f"127.0.0.1:{server.getsockname()[1]}")


def test_a_refused_port_is_refused_at_once(films: Path, tmp_path: Path) -> None:
    check_refused(films, tmp_path / "out", "auto", "127.0.0.1:1")
    check_refused(films, tmp_path / "out", "127.0.0.1:1")


def test_a_word_that_is_no_address_is_refused_at_once(films: Path, tmp_path: Path) -> None:
    check_refused(films, tmp_path / "out", "head")
