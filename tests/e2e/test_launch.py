"""An unedited script under the launcher: fed from shards in every process, and resumed exactly."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.standin_trainer import StandinTrainer
from train_shards.order import GlobalOrder

pytestmark = pytest.mark.slow

SAMPLES = [(20, frame) for frame in range(250)] + [(490040, frame) for frame in range(90)]
"""What the trainer selects (``episodes=[1]``): the second episode of each task."""
BATCH = 32
STEPS_PER_EPOCH = len(SAMPLES) // BATCH
SCRIPT = ("scripts/train_pytorch.py", "comet", "--exp_name", "run")


@pytest.fixture
def trainer(tmp_path: Path) -> StandinTrainer:
    return StandinTrainer(tmp_path)


def expected(num_steps: int, seed: int = 42) -> list[list[tuple[int, int]]]:
    """The samples of each step of an uninterrupted run, by the order's own definition."""
    steps = []
    for step in range(num_steps):
        epoch, step_of_epoch = divmod(step, STEPS_PER_EPOCH)
        positions = np.arange(BATCH) + step_of_epoch * BATCH
        chosen = GlobalOrder(len(SAMPLES)).keyed(seed, epoch).samples(positions)
        steps.append([SAMPLES[sample] for sample in chosen])
    return steps


def trained(ranks: list[list[dict[str, Any]]]) -> list[list[tuple[int, int]]]:
    """The samples of each global step: ranks take turns."""
    steps = []
    for lines in zip(*ranks, strict=True):
        turns = zip(*(line["batch"] for line in lines), strict=True)
        steps.append([tuple(item["sample"]) for turn in turns for item in turn])
    return steps


def check_items(lines: list[dict[str, Any]], *, in_worker: bool, is_marked: bool = True) -> None:
    """Every item was made without a decoder, beside the environment's own sitecustomize."""
    items = [item for line in lines for item in line["batch"]]
    assert items
    for item in items:
        assert item["loaded"] == []
        assert item["marked"] == is_marked
        assert item["in_worker"] == in_worker
        assert item["action"] == [32, 23]
    assert all(line["parent"] == [] for line in lines)


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_workers_are_fed_without_a_decoder(
    jpeg_shards: Path, trainer: StandinTrainer, method: str
) -> None:
    # Where none of the modules that are replaced exists, and where all do.
    done = trainer.run(
        "data=shards", f"shards={jpeg_shards}", *SCRIPT, "--num_workers", "2",
        "--num_train_steps", "12", real=method != "fork", STANDIN_START=method,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = trainer.steps()
    # Only a spawned worker is a new interpreter, which runs the environment's sitecustomize.
    check_items(lines, in_worker=True, is_marked=method == "spawn")
    assert trained([lines]) == expected(12)
    assert {line["length"] for line in lines} == {STEPS_PER_EPOCH}
    said = re.findall(r"^predecode: .*$", done.stdout, re.MULTILINE)
    assert len(said) == 1
    assert re.fullmatch(
        rf"predecode: data=shards shards={jpeg_shards} manifest=[0-9a-f]{{12}} samples=340 "
        "order=global seed=42 sampler=ResumableSampler rank=0/1 epoch=0 consumed=0 step=0 "
        "batch=32 tail=drop",
        said[0],
    )
    folder = trainer.folder / "outputs/checkpoints/run"
    assert (folder / "predecode_feed.txt").read_text() == said[0] + "\n"


def test_a_killed_run_goes_on_at_the_next_sample_with_another_world_size(
    jpeg_shards: Path, trainer: StandinTrainer
) -> None:
    words = ("data=shards", f"shards={jpeg_shards}", *SCRIPT)
    # Two ranks with two workers each; the last checkpoint is that of step 12, in epoch 1.
    killed = trainer.run(*words, "--num_workers", "2", "--die_at", "13", ranks=2)
    assert killed.returncode == 1, killed.stderr
    ranks = [trainer.steps(0), trainer.steps(1)]
    check_items(ranks[0] + ranks[1], in_worker=True)
    assert trained(ranks) == expected(13)
    shutil.copytree(trainer.folder / "outputs", trainer.folder / "kept")

    trainer.forget()
    done = trainer.run(*words, "--resume")
    assert done.returncode == 0, done.stderr
    lines = trainer.steps()
    check_items(lines, in_worker=False)
    assert [line["step"] for line in lines] == list(range(12, 25))
    assert trained([lines]) == expected(25)[12:]
    # Trainers compute their number of steps from this one.
    assert {line["length"] for line in lines} == {STEPS_PER_EPOCH}
    assert "rank=0/1 epoch=1 consumed=64 step=12 batch=32" in done.stdout

    # The step is checked against the checkpoint.
    refused = trainer.run("resume_step=11", *words, "--resume")
    assert refused.returncode == 2, refused.stderr
    assert re.search(r"error: resume_step=11: the trainer resumes from .*/run/24\.", refused.stderr)

    # With half the global batch the place is still that of the samples trained on: (12 - 10) * 32.
    shutil.rmtree(trainer.folder / "outputs")
    shutil.move(trainer.folder / "kept", trainer.folder / "outputs")
    trainer.forget()
    half = trainer.run("resume_step=12", *words, "--resume", "--batch_size", "16")
    assert half.returncode == 0, half.stderr
    order = [sample for step in expected(20)[12:20] for sample in step]
    assert [s for step in trained([trainer.steps()]) for s in step] == order[: 13 * 16]


@pytest.mark.parametrize(("backend", "num_workers"), [("pyav", 2), ("torchcodec", 0)])
def test_on_line_decoding_feeds_the_same_samples_in_the_same_order(
    b1k_root: Path, trainer: StandinTrainer, backend: str, num_workers: int
) -> None:
    words = ("data=online", f"root={b1k_root}", f"backend={backend}", *SCRIPT)
    done = trainer.run(*words, "--num_workers", str(num_workers), "--num_train_steps", "3")
    assert done.returncode == 0, done.stderr
    lines = trainer.steps()
    assert trained([lines]) == expected(3)
    loaded = {name for line in lines for item in line["batch"] for name in item["loaded"]}
    assert backend.replace("pyav", "av") in loaded  # so it did decode
    assert f"data=online root={b1k_root} backend={backend} manifest=" in done.stdout


def test_the_canary_sees_what_the_trainer_trains_on(
    jpeg_shards: Path, b1k_root: Path, trainer: StandinTrainer
) -> None:
    words = (f"shards={jpeg_shards}", "canary_every=3", f"canary_root={b1k_root}")
    # Three epochs of 10 steps, slow enough for some comparisons in each.
    script = (*SCRIPT, "--num_train_steps", "30", "--pause_s", "0.2")
    done = trainer.run("data=shards", *words, *script)
    assert done.returncode == 0, done.stderr
    found = re.findall(
        r"canary: step (\d+), key (\w+), camera (\w+): largest difference \d+, mean .* dB",
        done.stderr,
    )
    steps, wanted = (
        {int(step) for step, _, _ in found},
        expected(31),
    )  # a trainer asks for one more than it trains on
    assert len(found) == 3 * len(steps)
    assert {0} < steps <= set(range(0, 31, 3))
    assert max(steps) >= STEPS_PER_EPOCH
    for step, key, _ in found:
        episode_index, frame_index = wanted[int(step)][0]
        assert key == f"ep{episode_index:08d}_f{frame_index:06d}"
    psnrs_db = [float(text) for text in re.findall(r"PSNR ([\d.]+) dB", done.stderr)]
    assert len(psnrs_db) == len(found)
    assert min(psnrs_db) > 30  # another frame would have about 10


def test_the_skill_subclass_is_fed_in_spawned_workers(
    jpeg_shards: Path, trainer: StandinTrainer
) -> None:
    done = trainer.run(
        "data=shards", f"shards={jpeg_shards}", "seed=7", "scripts/train_pytorch.py", "skill",
        "--exp_name", "run", "--num_workers", "2", "--num_train_steps", "3", real=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = trainer.steps()
    check_items(lines, in_worker=True)
    assert trained([lines]) == expected(3, seed=7)
    for item in lines[0]["batch"]:
        assert item["task"].startswith(f"skill at {item['sample'][1]} of ")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_openpi_is_fed_under_its_own_names(
    own_shards: Path, trainer: StandinTrainer, num_workers: int
) -> None:
    manifest = own_shards / ".predecode/manifest.json"
    text = manifest.read_text()
    assert text.count('"head": "observation.images.rgb.head"') == 1
    manifest.write_text(text.replace('"observation.images.rgb.head"', '"image"'))
    done = trainer.run(
        "data=shards", f"shards={own_shards}", "run_dir=fed", "scripts/train_openpi.py",
        num_workers, STANDIN_HEAD="image",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    order = GlobalOrder(1712).keyed(7, 0)
    items = [item for line in trainer.steps() for item in line["batch"]]
    assert len(items) == 64
    for position, item in enumerate(items):
        assert item["head"] == [224, 224, 3]
        assert item["action"] == [7, 23]
        assert item["task"]
        assert item["loaded"] == []
        # The real package above it, our module in it.
        assert [Path(file).name for file in item["files"]] == ["__init__.py"] * 3
        assert item["in_worker"] == (num_workers > 0)
        lengths = {10: 120, 20: 250, 40: 751, 490010: 501, 490040: 90}
        universe = [(e, frame) for e, length in lengths.items() for frame in range(length)]
        assert tuple(item["sample"]) == universe[order.sample(position)]
    assert "seed=7" in (trainer.folder / "fed/predecode_feed.txt").read_text()


@pytest.mark.parametrize(
    ("loader", "kept"),
    [
        ("batch_sampler", "its own batch_sampler"),
        ("iterable", "an iterable data set around it"),
        ("sequence", "its reading in sequence"),
    ],
)
def test_a_place_that_cannot_be_set_is_refused(
    jpeg_shards: Path, trainer: StandinTrainer, loader: str, kept: str
) -> None:
    words = (f"shards={jpeg_shards}", *SCRIPT, "--loader", loader)
    done = trainer.run("data=shards", "resume_step=5", *words)
    assert done.returncode == 2, done.stderr
    assert f"error: resume at step 5: the DataLoader over BehaviorLeRobotDataset has {kept}" in (
        done.stderr
    )
    assert not list(trainer.seen.iterdir())


def test_a_script_without_a_loader_is_told_of(jpeg_shards: Path, trainer: StandinTrainer) -> None:
    words = (f"shards={jpeg_shards}", *SCRIPT, "--loader", "none", "--num_train_steps", "2")
    done = trainer.run("data=shards", *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the script made no DataLoader over the replaced data set") == 1
    refused = trainer.run("data=shards", "resume_step=5", *words)
    assert refused.returncode == 2
    assert "error: resume_step=5: there was no sampler to set." in refused.stderr


def test_upstream_is_left_alone(trainer: StandinTrainer) -> None:
    done = trainer.run("data=upstream", *SCRIPT)
    assert done.returncode == 1
    assert "predecode: data=upstream, nothing is replaced\n" in done.stdout
    assert "ImportError: omnigibson was imported" in done.stderr


def test_torchs_threads_sleep_where_they_wait_unless_told_otherwise(
    jpeg_shards: Path, trainer: StandinTrainer
) -> None:
    (trainer.folder / "waits.py").write_text(
        "import os, sys; print('torch' in sys.modules); import torch\n"
        "print(os.environ.get('OMP_WAIT_POLICY'))\n"
    )
    words = ("data=shards", f"shards={jpeg_shards}", "waits.py")
    assert trainer.run(*words).stdout == "False\npassive\n"
    assert trainer.run(*words, OMP_WAIT_POLICY="active").stdout == "False\nactive\n"
    assert trainer.run("data=upstream", "waits.py").stdout.endswith("\nFalse\nNone\n")


def test_the_scripts_own_exit_status_and_traceback_come_through(
    jpeg_shards: Path, trainer: StandinTrainer
) -> None:
    words = ("data=shards", f"shards={jpeg_shards}")
    (trainer.folder / "ends.py").write_text("import sys; print(sys.argv, sys.path[0]); sys.exit(5)")
    ended = trainer.run(*words, "ends.py", "data=online")
    assert ended.returncode == 5
    assert ended.stdout == f"['ends.py', 'data=online'] {trainer.folder}\n"
    (trainer.folder / "fails.py").write_text("def f():\n    raise RuntimeError('own')\n\n\nf()\n")
    failed = trainer.run(*words, "fails.py")
    assert failed.returncode == 1
    assert 'fails.py", line 2, in f' in failed.stderr
    assert "RuntimeError: own" in failed.stderr
