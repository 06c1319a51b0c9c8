"""What ``predecode plan`` tells, against what a run then writes."""

import inspect
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import predecode
from predecode import header_sample
from predecode.child import Limits
from predecode.cluster import InProcess
from predecode.config import make_settings
from predecode.errors import UserError
from predecode.for_run import AskedRun
from predecode.injection import VARIABLE
from predecode.isolation import run_isolated
from predecode.predicting import predict
from predecode.prediction import Prediction
from predecode.prediction_lines import prediction_lines
from predecode.selection import select_episodes
from predecode.sources.registry import open_source
from predecode.tasks import Work, run_task
from tests.support.jobs import DEFAULTS, Silent, command_here, run_here, starter

pytestmark = pytest.mark.slow

EPISODES = "00490010,00490040"
"""Of 501 and 90 frames."""


def predict_here(
    root: Path,
    *,
    episodes: str | None = EPISODES,
    num_frames: int = 60,
    budget_bytes: int | None = None,
    work: Work = run_task,
    for_run: AskedRun | None = None,
    display: Silent | None = None,
    **options: Any,
) -> Prediction:
    source = open_source("b1k", root)
    settings = make_settings(source, **{**DEFAULTS, **options})
    selected = select_episodes(source.episodes, None, episodes, source.task_names)
    return predict(
        source, settings, selected, starter(InProcess()), work, display or Silent(),
        num_frames=num_frames, cores=2, budget_bytes=budget_bytes, for_run=for_run,
    )  # fmt: skip


def written_bytes(out: Path) -> int:
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def told(b1k_root: Path) -> dict[str, Any]:
    """What the command tells as JSON, of a budget that is too small."""
    words = ("--episodes", EPISODES, "--frames", "100", "--budget", "20MB", "--cores", "3")
    done = command_here("plan", "--src", "b1k", "--root", b1k_root, *words, "--json")
    assert done.returncode == 1, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_command_tells_what_a_run_writes(
    b1k_root: Path, tmp_path: Path, told: dict[str, Any]
) -> None:
    run_here(b1k_root, tmp_path, episodes=EPISODES, shard_size=8192)
    num_bytes = written_bytes(tmp_path)
    assert told["total_bytes"] == pytest.approx(num_bytes, rel=0.05)
    least, most = told["total_bytes_interval"]
    assert least < num_bytes < most
    assert most - least < 0.2 * num_bytes
    counts = ("num_episodes", "num_checked", "num_faulty", "num_frames", "num_images", "num_shards")
    assert [told[name] for name in counts] == [2, 2, 0, 591, 1773, 1]
    tars = sum(path.stat().st_size for path in tmp_path.glob("data/*/*.tar"))
    assert sum(one["num_bytes"] for one in told["cameras"].values()) < tars
    assert told["keyframe_distances"] == {"250": 2}
    videos = (path for path in b1k_root.glob("videos/*/*rgb*/*") if path.stem[8:] in EPISODES)
    tables = (path for path in b1k_root.glob("data/*/*") if path.stem[8:] in EPISODES)
    assert told["disk_read_bytes"] == sum(path.stat().st_size for path in (*videos, *tables))


def test_time_is_told_of_each_stage(told: dict[str, Any]) -> None:
    assert told["core_hours"] == pytest.approx(sum(told["stages"].values()))
    assert all(hours > 0 for name, hours in told["stages"].items())
    assert told["wall_hours"] <= told["core_hours"]
    at_random, in_order = told["break_even_at_random"], told["break_even_in_order"]
    assert at_random["online_ms"] > 5 * in_order["online_ms"]
    saved_h = (at_random["online_ms"] - at_random["shard_ms"]) / 3_600_000
    assert at_random["samples"] == pytest.approx(told["core_hours"] / saved_h, rel=0.01)
    assert at_random["epochs"] == pytest.approx(at_random["samples"] / 591)


def test_choices_are_compared_with_each_other_and_with_a_budget(told: dict[str, Any]) -> None:
    of = {(c["size"], c["codec"], c["quality"], c["stride"]): c for c in told["choices"]}
    assert len(of) == len(told["choices"]) == 7 * 3
    (asked,) = (c for c in told["choices"] if c["is_asked"])
    assert asked == of["224x224", "jpeg", 95, 1]
    assert asked["total_bytes"] == told["total_bytes"]
    sizes = [
        of["224x224", codec, quality, 1]["total_bytes"]
        for codec, quality in (
            ("jpeg", 90),
            ("jpeg", 95),
            ("webp", None),
            ("png", None),
            ("raw", None),
        )
    ]
    assert sizes == sorted(sizes)
    assert {c["total_bytes"] > 20_000_000 for c in told["choices"] if not c["fits"]} == {True}
    assert {c["total_bytes"] <= 20_000_000 for c in told["choices"] if c["fits"]} == {True}
    assert told["fits"] is False


@pytest.mark.parametrize(
    "options",
    [
        {"size": "64", "codec": "png", "stride": 3, "shard_size": 256, "embed_lowdim": True},
        {"size": "native", "codec": "raw", "cameras": "head", "stride": 6, "val_episodes": "1"},
    ],
    ids=["png", "raw"],
)
def test_other_settings_are_told_as_well(
    b1k_root: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    found = predict_here(b1k_root, **options)
    run_here(b1k_root, tmp_path, episodes=EPISODES, **options)
    assert found.total_bytes == pytest.approx(written_bytes(tmp_path), rel=0.05)
    assert found.num_shards == len(list(tmp_path.glob("data/*/*.tar")))


def test_one_run_s_samples_are_told_with_what_they_save(b1k_root: Path, tmp_path: Path) -> None:
    run, display = AskedRun(10, 8, 3), Silent()
    found = predict_here(b1k_root, for_run=run, display=display, size="64", codec="png")
    run_here(b1k_root, tmp_path, episodes=EPISODES, for_run=run, size="64", codec="png")
    assert found.num_frames == 80
    assert found.total_bytes == pytest.approx(written_bytes(tmp_path), rel=0.05)
    (note,) = (note for note in display.notes if note.startswith("--for-run"))
    assert "80 of 591 samples, 86.5% of the images are not stored" in note
    # 80 of 591 frames at random: nearly all pictures of the GOPs up to the last one wanted.
    assert re.search(r"Now 80 frames to store, at most 5[5-9]\d of 591 to decode a camera", note), (
        note
    )
    whole = predict_here(b1k_root, size="64", codec="png")
    assert 0.3 < found.stages["decode"] / whole.stages["decode"] < 1.2
    assert found.stages["encode"] < 0.4 * whole.stages["encode"]


def test_what_is_told_of_a_choice_is_told_where_it_is_asked_for(b1k_root: Path) -> None:
    small: dict[str, Any] = {"cameras": "head", "num_frames": 30}
    found = predict_here(b1k_root, size="native", codec="raw", **small)
    (other,) = (
        c for c in found.choices
        if (c.size, c.codec, c.quality, c.stride) == ("224x224", "jpeg", 90, 3)
    )  # fmt: skip
    asked = predict_here(b1k_root, size="224", quality=90, stride=3, **small)
    assert other.total_bytes == pytest.approx(asked.total_bytes, rel=0.1)


def test_lines_say_what_the_structure_does(b1k_root: Path) -> None:
    small: dict[str, Any] = {"size": "64", "cameras": "head", "num_frames": 10}
    found = predict_here(b1k_root, budget_bytes=10**9, **small)
    lines = list(prediction_lines(found))
    assert lines[0] == "2 episodes, 591 frames to store of 591, 591 images in 2 shards"
    assert "keyframes every 250 (100%) frames" in lines
    assert lines[-1] == "budget 1.0 GB: it fits"
    third = next(c for c in found.choices if (c.size, c.stride) == ("64x64", 3))
    less = predict_here(b1k_root, budget_bytes=third.total_bytes - 1, **small)
    lines = list(prediction_lines(less))
    assert any("it does not fit" in line for line in lines)
    fits = [
        line for line in lines if line.startswith("  fits: --size 64 --codec jpeg --quality 95 ")
    ]
    assert [line.split(" (")[0][-10:] for line in fits] == ["--stride 6"]
    none = list(prediction_lines(predict_here(b1k_root, budget_bytes=1000, **small)))
    assert none[-1].startswith("  no choice above fits; ")


def test_headers_of_some_episodes_say_enough_of_many(
    b1k_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small: dict[str, Any] = {"size": "64", "cameras": "head", "num_frames": 40, "episodes": None}
    everything = predict_here(b1k_root, **small)
    monkeypatch.setattr(header_sample, "MOST_CHECKED", 2)
    some = predict_here(b1k_root, **small)
    assert (everything.num_checked, some.num_checked) == (5, 2)
    assert (some.num_episodes, some.num_frames) == (5, 120 + 250 + 751 + 501 + 90)
    assert some.total_bytes == pytest.approx(everything.total_bytes, rel=0.25)


@pytest.mark.faults
def test_native_code_that_dies_over_the_sample_costs_its_part_alone(
    b1k_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = partial(run_isolated, limits=Limits())
    small: dict[str, Any] = {"size": "64", "cameras": "head", "num_frames": 60, "work": work}
    small["episodes"] = None
    monkeypatch.setenv(VARIABLE, f"segv:stage=size,once={tmp_path / 'died'}")
    assert 0 < predict_here(b1k_root, **small).num_sampled_frames < 60
    assert (tmp_path / "died").exists()
    monkeypatch.setenv(VARIABLE, "segv:stage=size")
    with pytest.raises(UserError, match="no piece of the sample can be decoded"):
        predict_here(b1k_root, **small)


def test_it_takes_the_options_of_a_run() -> None:
    of_run = inspect.signature(predecode.run).parameters
    of_plan = inspect.signature(predecode.plan).parameters
    assert len(of_run) > 20
    assert {*of_plan} - {*of_run} == {"budget", "cores", "frames", "save"}
    for name in {*of_run} - {"out"}:
        assert of_plan[name] == of_run[name]
