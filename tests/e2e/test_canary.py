"""The canary: a training process, its decoder's process, and what differs between them."""

import logging
import math
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.jobs import run_here
from tests.support.training import train
from train_shards.canary import Canary, Comparison, canary_command
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.manifest import load_manifest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lossless(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lossless") / "shards"
    run_here(b1k_root, out, codec="png", episodes="00490040")
    return out


def started(out: Path, root: Path) -> Canary:
    settings = load_manifest(out).settings
    return Canary(settings, canary_command(str(root), settings))


@pytest.fixture
def canary(lossless: Path, b1k_root: Path) -> Iterator[Canary]:
    canary = started(lossless, b1k_root)
    yield canary
    canary.close()


def images_of(item: dict[str, Any]) -> dict[str, Any]:
    return {
        key.removeprefix(IMAGE_KEY): value
        for key, value in item.items()
        if key.startswith(IMAGE_KEY)
    }


def compared(canary: Canary, step: int, item: dict[str, Any]) -> list[Comparison]:
    canary.submit(step, int(item["episode_index"]), int(item["frame_index"]), images_of(item))
    return canary.comparisons(wait=True)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_what_is_stored_without_loss_is_equal(
    lossless: Path, canary: Canary, layout: Any, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    dataset = ShardDataset(lossless, image_layout=layout)
    for step, position in enumerate((0, 57, 89)):
        found = compared(canary, step, dataset[position])
        assert [one.camera for one in found] == ["head", "left_wrist", "right_wrist"]
        for one in found:
            assert one[:2] == (step, f"ep00490040_f{position:06d}")
            assert one[3:] == (0, 0.0, math.inf)
    assert "camera head: largest difference 0" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_another_frame_is_an_error_in_the_log(lossless: Path, canary: Canary, caplog: Any) -> None:
    dataset = ShardDataset(lossless)
    wrong = dataset[5] | {"frame_index": np.int64(6)}
    for one in compared(canary, 7, wrong):
        assert one.max_difference > 10
        assert math.isfinite(one.psnr_db)
        assert one.values()[f"canary/{one.camera}/max_difference"] == one.max_difference
    assert "step 7, key ep00490040_f000006, camera head: largest difference" in caplog.text
    assert "stored without loss, so they must be equal" in caplog.text


def test_lossy_pictures_are_measured(jpeg_shards: Path, b1k_root: Path, caplog: Any) -> None:
    canary = started(jpeg_shards, b1k_root)
    found = compared(canary, 1, ShardDataset(jpeg_shards)[1000])
    canary.close()
    assert len(found) == 3
    for one in found:
        assert 30 < one.psnr_db < 60
        assert 0 < one.mean_difference < 5
    assert caplog.text == ""


def test_a_busy_canary_lets_samples_pass(lossless: Path, canary: Canary) -> None:
    dataset = ShardDataset(lossless)
    for step in range(5):
        canary.submit(step, 490040, 3, images_of(dataset[3]))
    assert {one.step for one in canary.comparisons(wait=True)} == {0}
    assert canary.comparisons() == canary.comparisons(wait=True) == []


def test_a_frame_that_cannot_be_decoded_ends_nothing(
    jpeg_shards: Path, own_root: Path, caplog: Any
) -> None:
    (video,) = own_root.glob("videos/*/*.rgb.head/episode_00000020.mp4")
    video.write_bytes(b"")
    canary = started(jpeg_shards, own_root)
    dataset = ShardDataset(jpeg_shards)
    assert compared(canary, 1, dataset[130]) == []  # episode 20 has the samples 120 to 369
    assert "ep00000020_f000010: EpisodeError: " in caplog.text
    assert len(compared(canary, 2, dataset[0])) == 3
    canary.close()


def test_a_dead_decoder_stops_the_canary_and_not_the_training(
    lossless: Path, canary: Canary, caplog: Any
) -> None:
    item = ShardDataset(lossless)[0]
    os.kill(canary._process.pid, signal.SIGKILL)
    canary._process.wait()
    assert compared(canary, 1, item) == []
    assert "canary: no more comparisons: " in caplog.text
    caplog.clear()
    assert compared(canary, 2, item) == []
    assert caplog.text == ""


def test_a_source_that_is_not_there_is_said(
    lossless: Path, tmp_path: Path, caplog: Any, capfd: Any
) -> None:
    canary = started(lossless, tmp_path)
    assert compared(canary, 1, ShardDataset(lossless)[0]) == []
    assert "canary: no more comparisons: EOFError: its process ended with status 2" in caplog.text
    assert f"error: {tmp_path}" in capfd.readouterr().err
    canary.close()


def test_the_command_names_source_size_and_decoder(lossless: Path) -> None:
    settings = load_manifest(lossless).settings
    command = canary_command("/data", settings, "/env/bin/python")
    assert command[:3] == ["/env/bin/python", "-m", "predecode.canary"]
    assert command[3:] == [
        "--src", "b1k", "--root", "/data", "--size", "224x224",
    ]  # fmt: skip
    assert canary_command("/data", settings)[0] == sys.executable


def test_the_trainer_reports_what_the_canary_sees(
    lossless: Path, b1k_root: Path, tmp_path: Path
) -> None:
    words = [
        f"shards={lossless}", f"checkpoint_dir={tmp_path}", "exp_name=watched", "log_interval=2",
        "num_train_steps=4", "wandb_enabled=true", "action_horizon=4",
    ]  # fmt: skip
    done = train(*words, "canary_every=2", f"canary_root={b1k_root}")
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "watched/train.rank0.log").read_text()
    found = re.findall(r"canary: step (\d), key ep00490040_f\d+, camera (\w+): (.*)", log)
    assert {(step, camera) for step, camera, _ in found} >= {
        ("2", "head"), ("2", "left_wrist"), ("2", "right_wrist"),
    }  # fmt: skip
    assert {text for _, _, text in found} == {"largest difference 0, mean 0.0000, PSNR inf dB"}
    (curves,) = (tmp_path / "watched/wandb").glob("offline-run-*/run-*.wandb")
    assert b"canary/head/max_difference" in curves.read_bytes()


def test_a_canary_without_a_source_is_refused(lossless: Path, tmp_path: Path) -> None:
    done = train(
        f"shards={lossless}", f"checkpoint_dir={tmp_path}", "exp_name=watched", "canary_every=2"
    )
    assert done.returncode == 2
    assert "canary_every=2: expected data=shards and canary_root=DIR" in done.stderr
