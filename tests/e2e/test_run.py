"""The main job through the command line, with Ray: bytes, resume, refusals, exit status."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.jobs import Reversed, command, command_here, fingerprint, run_here
from train_shards.dataset import ShardDataset

pytestmark = pytest.mark.slow


def words(root: Path, out: Path, *more: str) -> list[str]:
    return ["run", "--src", "b1k", "--root", str(root), "--out", str(out),
            "--size", "160", "--shard-size", "256", *more]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    done = command(*words(b1k_root, out, "--num-cpus", "2"))
    assert done.returncode == 0, done.stderr
    assert "5 episodes, 1,712 samples, 5,136 images in 5 shards" in done.stdout
    assert "decoding: 1,712 of 1,712 frames" in done.stderr
    return out


def test_bytes_are_the_same_with_one_cpu(b1k_root: Path, undisturbed: Path, tmp_path: Path) -> None:
    done = command(*words(b1k_root, tmp_path / "shards", "--num-cpus", "1"))
    assert done.returncode == 0, done.stderr
    assert fingerprint(tmp_path / "shards") == fingerprint(undisturbed)


def test_bytes_are_the_same_in_the_other_task_order(
    b1k_root: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run_here(b1k_root, tmp_path, size="160", shard_size=256, cluster=Reversed())
    assert fingerprint(tmp_path) == fingerprint(undisturbed)


def test_a_moved_data_set_resumes(b1k_root: Path, undisturbed: Path, own_root: Path) -> None:
    """Neither the root nor a file's time is in the plan's digest."""
    before = fingerprint(undisturbed)
    for path in own_root.rglob("*.mp4"):
        os.utime(path)
    done = command_here(*words(own_root, undisturbed))
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True), done.stderr
    assert fingerprint(undisturbed) == before
    assert b1k_root.is_dir()


def test_killed_and_run_again_gives_the_same_bytes(
    b1k_root: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """After two receipts; ``test_kill_anywhere`` has many other moments."""
    out, num_receipts = tmp_path / "shards", 2
    process = subprocess.Popen(
        [sys.executable, "-m", "predecode", *words(b1k_root, out, "--num-cpus", "1")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    receipts = out / ".predecode/receipts"
    plan = out / ".predecode/plan-000000.json"
    while not plan.is_file() or len(list(receipts.glob("*.json"))) < num_receipts:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / ".predecode/manifest.json").exists()
    assert command_here("verify", out).returncode == 2  # nothing published: nothing to verify

    done = command_here(*words(b1k_root, out))
    assert done.returncode == 0, done.stderr
    assert fingerprint(out) == fingerprint(undisturbed)


@pytest.mark.faults
def test_interrupted_it_says_how_to_go_on(b1k_root: Path, tmp_path: Path) -> None:
    """By Ctrl-C; ``test_crashes`` has SIGTERM too."""
    out = tmp_path / "shards"
    process = subprocess.Popen(
        [sys.executable, "-m", "predecode", *words(b1k_root, out, "--num-cpus", "1")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (out / ".predecode/plan-000000.json").is_file():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on" in errors
    assert not (out / ".predecode/lock").exists()
    assert not (out / ".predecode/manifest.json").exists()


def test_run_again_does_nothing_and_says_so(b1k_root: Path, undisturbed: Path) -> None:
    before = fingerprint(undisturbed)
    started_s = time.monotonic()
    done = command(*words(b1k_root, undisturbed))
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True)
    assert time.monotonic() - started_s < 5  # no Ray was started
    assert fingerprint(undisturbed) == before


def test_other_settings_are_refused_with_both_values(b1k_root: Path, undisturbed: Path) -> None:
    before = fingerprint(undisturbed)
    done = command_here(*words(b1k_root, undisturbed, "--quality", "80", "--stride", "2"))
    assert done.returncode == 2
    assert "--quality: the output has 95, asked for 80" in done.stderr
    assert "--stride: the output has 1, asked for 2" in done.stderr
    assert "--overwrite" in done.stderr
    assert fingerprint(undisturbed) == before


def test_a_lost_shard_is_made_again(b1k_root: Path, undisturbed: Path, tmp_path: Path) -> None:
    run_here(b1k_root, tmp_path, size="160", shard_size=256)
    next((tmp_path / "data/train").glob("*.tar")).unlink()
    again = run_here(b1k_root, tmp_path, size="160", shard_size=256)
    assert again.num_new_images > 0
    assert fingerprint(tmp_path) == fingerprint(undisturbed)


def test_overwrite_starts_anew_and_leaves_nothing_behind(b1k_root: Path, tmp_path: Path) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    run_here(b1k_root, out, episodes="0", size="64", val_episodes="00490010", name="old")
    (out / ".predecode/plan-000000.json").write_text("damaged")
    run_here(b1k_root, out, episodes="0", size="64", quality=50, overwrite=True)
    run_here(b1k_root, fresh, episodes="0", size="64", quality=50)
    assert fingerprint(out) == fingerprint(fresh)


def test_a_selection_grows_by_new_shards_only(b1k_root: Path, tmp_path: Path) -> None:
    run_here(b1k_root, tmp_path, tasks="0", size="64")
    before = {k: v for k, v in fingerprint(tmp_path).items() if k.startswith(("data", "lowdim"))}
    grown = run_here(b1k_root, tmp_path, size="64")
    assert len(grown.manifest.generations) == 2
    after = fingerprint(tmp_path)
    assert {name: after[name] for name in before} == before
    dataset = ShardDataset(tmp_path)
    assert len(dataset) == 1712
    order = [int(dataset[i]["episode_index"]) for i in (0, 1120, 1121, 1711)]
    assert order == [10, 40, 490010, 490040]


def test_a_selection_never_shrinks(b1k_root: Path, undisturbed: Path) -> None:
    done = command_here(*words(b1k_root, undisturbed, "--tasks", "turning_on_radio"))
    assert done.returncode == 2
    assert "holds 2 episodes that were not asked for now (00490010, 00490040)" in done.stderr


def test_a_folder_of_other_things_is_refused(b1k_root: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    done = command_here(*words(b1k_root, tmp_path))
    assert done.returncode == 2
    assert "not empty and not an output of predecode (thesis.tex)" in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--codec", "gif"], "--codec gif: expected one of jpeg, png, webp, raw"),
        (["--size", "big"], "--size big: expected"),
        (["--shard-size", "3"], "--shard-size 3: fewer samples than one piece (256)"),
        (["--cameras", "tail"], "--cameras tail: expected one of head, left_wrist, right_wrist"),
        (["--tasks", "turning_on_radios"], "Did you mean 'turning_on_radio'?"),
        (["--episodes", "9"], "position 9, expected 0 to 2"),
        (["--root", "/nowhere"], "--root /nowhere: no such folder"),
    ],
)
def test_bad_settings_are_refused_before_any_work(
    b1k_root: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    out = tmp_path / "out"
    done = command_here("run", "--src", "b1k", "--root", b1k_root, "--out", out, *more)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert not (out / ".predecode/manifest.json").exists()


def test_without_data_the_error_names_every_place_and_a_way_out(tmp_path: Path) -> None:
    words = ("run", "--src", "b1k", "--out", "shards")
    done = command_here(*words, cwd=tmp_path, B1K_ROOT="")
    assert done.returncode == 2
    for text in ("--root (not given)", "$B1K_ROOT (not set)", "data/b1k (no such folder)",
                 "predecode sample --out data/b1k"):  # fmt: skip
        assert text in done.stderr


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_an_existing_cluster_does_the_work(
    b1k_root: Path, undisturbed: Path, tmp_path: Path
) -> None:
    ray, port = str(Path(sys.executable).with_name("ray")), "6397"
    token = {**os.environ, "RAY_AUTH_MODE": "token"}
    start = [ray, "start", "--head", "--num-cpus", "2", "--port", port, "--disable-usage-stats"]
    subprocess.run(
        [ray, "get-auth-token", "--generate"], env=token, capture_output=True, check=True
    )
    # 'ray stop' would end every Ray of this machine, also those of other tests.
    cluster = subprocess.Popen(
        [*start, "--block"], env=token, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not is_listening(int(port)):
            assert cluster.poll() is None
            time.sleep(0.1)
        done = command(
            *words(b1k_root, tmp_path / "shards", "--address", f"127.0.0.1:{port}"),
            RAY_AUTH_MODE="token",
        )
    finally:
        cluster.send_signal(signal.SIGTERM)
        cluster.wait(timeout=60)
    assert not is_listening(int(port))
    assert done.returncode == 0, done.stderr
    assert fingerprint(tmp_path / "shards") == fingerprint(undisturbed)


def test_two_writers_on_one_output(b1k_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    few = words(b1k_root, out, "--episodes", "00490040", "--cameras", "head")
    first = subprocess.Popen(
        [sys.executable, "-m", "predecode", *few],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (out / ".predecode/lock").is_file():
        assert first.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    second = command_here(*few)
    assert second.returncode == 2
    assert f"process {first.pid}" in second.stderr
    assert first.wait(timeout=120) == 0
