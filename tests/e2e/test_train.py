"""The reference trainer as a user starts it: it learns, resumes exactly and stops cleanly."""

import json
import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch

from tests.support.training import (
    GLOBAL_BATCH_SIZE,
    ROOT,
    losses,
    pid_in,
    samples,
    start,
    train,
    variables,
    wait_for,
)

pytestmark = pytest.mark.slow

NUM_STEPS = 50


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def whole(jpeg_shards: Path, home: Path) -> tuple[Path, dict[int, str]]:
    """Folder and losses of a run that nothing interrupted, by one rank."""
    done = train(
        f"shards={jpeg_shards}", f"checkpoint_dir={home}", "exp_name=whole", "log_interval=1",
        f"num_train_steps={NUM_STEPS}", is_cold=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return home / "whole", losses(done.stdout)


def test_the_loss_falls(whole: tuple[Path, dict[int, str]]) -> None:
    values = [float(loss) for loss in whole[1].values()]
    assert list(whole[1]) == list(range(1, NUM_STEPS + 1))
    assert sum(values[:10]) / 10 > 1.1
    assert sum(values[-10:]) / 10 < 0.8


def test_a_step_trains_on_samples_of_the_whole_data_set(
    whole: tuple[Path, dict[int, str]],
) -> None:
    ids = list(chain.from_iterable(samples(whole[0]).values()))
    assert len(ids) == len(set(ids)) == NUM_STEPS * GLOBAL_BATCH_SIZE
    assert max(ids) - min(ids) > 1500  # of 1712


def weights(folder: Path, step: int = NUM_STEPS) -> dict[str, torch.Tensor]:
    state = torch.load(folder / f"checkpoint-{step:08d}.pt", weights_only=True)
    model: dict[str, torch.Tensor] = state["model"]
    return model


def test_two_runs_and_a_resumed_one_are_the_same_to_the_last_bit(
    jpeg_shards: Path, home: Path, whole: tuple[Path, dict[int, str]]
) -> None:
    words = [f"shards={jpeg_shards}", f"checkpoint_dir={home}", "exp_name=parts", "log_interval=1"]
    first = train(*words, "num_train_steps=20")
    rest = train(*words, f"num_train_steps={NUM_STEPS}", "resume=true", "num_workers=1")
    assert losses(first.stdout) | losses(rest.stdout) == whole[1], rest.stderr
    assert min(losses(rest.stdout)) == 21
    assert samples(home / "parts") == samples(whole[0])
    expected = weights(whole[0])
    got = weights(home / "parts")
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    again = train(*words, f"num_train_steps={NUM_STEPS}", "resume=true")
    assert (again.returncode, again.stdout) == (0, "")  # nothing left to do


def test_two_ranks_killed_and_resumed_by_one_train_on_exactly_the_rest(
    jpeg_shards: Path, home: Path, whole: tuple[Path, dict[int, str]]
) -> None:
    words = [
        f"shards={jpeg_shards}", f"checkpoint_dir={home}", "exp_name=killed", "log_interval=1",
    ]  # fmt: skip
    folder = home / "killed"
    process = start(
        *words, "num_train_steps=100000", "save_interval=7", "num_workers=2", num_ranks=2
    )
    log = wait_for(folder / "train.rank0.log", lambda text: "step=17 " in text, process)
    os.kill(pid_in(log), signal.SIGKILL)
    assert process.wait(120) != 0
    num_saved = max(int(path.stem.split("-")[1]) for path in folder.glob("checkpoint-*.pt"))
    assert num_saved % 7 == 0
    assert num_saved >= 14

    done = train(*words, f"num_train_steps={num_saved + 10}", "resume=true")
    assert done.returncode == 0, done.stderr
    expected = samples(whole[0])  # of one rank, which takes all that two share
    ranks = [samples(folder, rank) for rank in (0, 1)]
    for step in range(1, min(num_saved, NUM_STEPS) + 1):
        assert [ids[step] for ids in ranks] == [expected[step][0::2], expected[step][1::2]]
    assert max(ranks[1]) == num_saved
    resumed = {step: ids for step, ids in ranks[0].items() if step > num_saved}
    assert len(resumed) == 10
    assert resumed == {step: expected[step] for step in resumed}
    # The noise is dealt like the samples: even the losses are those of one rank, but for rounding.
    for step, loss in losses(done.stdout).items():
        assert float(loss) == pytest.approx(float(whole[1][step]), abs=0.005)


def test_sigusr1_dumps_stacks_and_sigterm_saves_and_ends_with_0(
    jpeg_shards: Path, home: Path
) -> None:
    folder = home / "stopped"
    process = start(
        f"shards={jpeg_shards}", f"checkpoint_dir={home}", "exp_name=stopped",
        "num_train_steps=100000", "log_interval=1", "num_workers=1",
    )  # fmt: skip
    log = folder / "train.rank0.log"
    wait_for(log, lambda text: "step=3 " in text, process)
    os.kill(process.pid, signal.SIGUSR1)
    wait_for(log, lambda text: "most recent call first" in text and "train.py" in text, process)
    workers = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    for pid in [process.pid, *map(int, workers)]:  # as a scheduler does: all at once
        os.kill(pid, signal.SIGTERM)
    assert process.wait(60) == 0
    step = max(samples(folder))
    text = log.read_text()
    assert f"stopped by SIGTERM after step {step}" in text
    assert "uncaught" not in text
    assert len(weights(folder, step)) > 5


def test_sigterm_to_one_rank_stops_all_at_one_step(jpeg_shards: Path, home: Path) -> None:
    folder = home / "one"
    process = start(
        f"shards={jpeg_shards}", f"checkpoint_dir={home}", "exp_name=one", "log_interval=1",
        "num_train_steps=100000", num_ranks=2,
    )  # fmt: skip
    log = wait_for(folder / "train.rank1.log", lambda text: "step=3 " in text, process)
    os.kill(pid_in(log), signal.SIGTERM)
    assert process.wait(60) == 0
    step = max(samples(folder, 1))
    assert max(samples(folder, 0)) == step
    for rank in (0, 1):
        text = (folder / f"train.rank{rank}.log").read_text()
        assert f"stopped by SIGTERM after step {step}" in text
    assert [path.name for path in folder.glob("*.pt")] == [f"checkpoint-{step:08d}.pt"]


def test_an_error_in_the_second_rank_stands_in_its_log(jpeg_shards: Path, home: Path) -> None:
    done = train(
        f"shards={jpeg_shards}", f"checkpoint_dir={home}", "exp_name=broken", "num_workers=1",
        "dataset=tests.support.training.Failing", "num_train_steps=5", num_ranks=2,
    )  # fmt: skip
    assert done.returncode != 0
    text = (home / "broken/train.rank1.log").read_text()
    assert "CRITICAL" in text
    assert "uncaught error" in text
    assert "ZeroDivisionError: the second rank breaks here" in text
    assert "ZeroDivisionError" not in (home / "broken/train.rank0.log").read_text()


def test_on_line_data_are_named_by_a_dotted_string_and_give_the_same_losses(
    jpeg_shards: Path, home: Path, whole: tuple[Path, dict[int, str]]
) -> None:
    done = train(
        "data=online", f"root={jpeg_shards}", "dataset=tests.support.training.StandIn",
        f"norm_stats={whole[0] / 'norm_stats.json'}", f"checkpoint_dir={home}", "exp_name=online",
        "log_interval=1", "num_train_steps=5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert losses(done.stdout) == {step: whole[1][step] for step in range(1, 6)}


def test_wandb_is_written_offline_without_a_key(jpeg_shards: Path, tmp_path: Path) -> None:
    done = train(
        f"shards={jpeg_shards}", f"checkpoint_dir={tmp_path}", "exp_name=curves",
        "num_train_steps=2", "log_interval=1", "wandb_enabled=true", is_cold=True,
        WANDB_PROJECT="robots", WANDB_ENTITY="team", HOME=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "curves"
    name = (folder / "wandb_id.txt").read_text()
    runs = list(folder.glob(f"wandb/offline-run-*-{name}"))
    assert len(runs) == 1
    content = (runs[0] / f"run-{name}.wandb").read_bytes()
    for word in (b"robots", b"team", b"curves", b"samples_per_s", b"data_wait"):
        assert word in content, word


SCRIPT = """
import sys
import train_shards.train
assert "torch" in sys.modules
print([name for name in ("av", "torchcodec", "torchvision", "ray", "predecode", "wandb")
       if name in sys.modules])
"""


def test_the_trainer_imports_no_decoder() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False,
        env=variables(), cwd=ROOT,
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


def test_help_shows_every_field() -> None:
    done = train("--help")
    assert done.returncode == 0
    for word in ("exp_name", "shards: ???", "root: ???", "overwrite", "num_train_steps"):
        assert word in done.stdout


def test_a_damaged_picture_ends_the_run_with_1_and_its_name(
    own_shards: Path, tmp_path: Path
) -> None:
    manifest = json.loads((own_shards / ".predecode/manifest.json").read_text())
    for shard in manifest["generations"][0]["shards"]:
        (own_shards / shard["path"]).unlink()
    done = train(
        f"shards={own_shards}", f"checkpoint_dir={tmp_path}", "exp_name=gone", "num_workers=1"
    )
    assert done.returncode == 1
    assert "a shard of the manifest is gone" in done.stderr
    assert "a shard of the manifest is gone" in (tmp_path / "gone/train.rank0.log").read_text()


def test_two_outputs_train_as_one_and_a_resumed_run_sees_exactly_the_rest(
    jpeg_shards: Path, home: Path
) -> None:
    words = [f"shards={jpeg_shards},{jpeg_shards}", f"checkpoint_dir={home}", "batch_size=8"]
    words += ["log_samples=true", "log_interval=1"]
    whole = train(*words, "exp_name=joined", "num_train_steps=6")
    assert whole.returncode == 0, whole.stderr
    first = train(*words, "exp_name=joined_parts", "num_train_steps=3")
    rest = train(*words, "exp_name=joined_parts", "num_train_steps=6", "resume=true")
    assert (first.returncode, rest.returncode) == (0, 0), first.stderr + rest.stderr
    expected = samples(home / "joined")
    assert sorted(expected) == [1, 2, 3, 4, 5, 6]
    assert samples(home / "joined_parts") == expected
    drawn = [sample for step in expected.values() for sample in step]
    assert min(drawn) < 1712 <= max(drawn) < 2 * 1712
