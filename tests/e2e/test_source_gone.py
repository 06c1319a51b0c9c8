"""Training needs the output alone: every text is read from its copies when the source is gone."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.jobs import run_here
from tests.support.texts import NAMES, TEMPLATES, write_json
from train_shards.behavior import BehaviorLeRobotDataset

pytestmark = pytest.mark.slow

RADIO = "Turn on the radio receiver that's on the table in the living room."
SHORT: dict[str, Any] = {"size": "64", "stride": 10, "cameras": "head"}


def without_source(root: Path, tmp_path: Path, **options: Any) -> Path:
    """An output whose source lies nowhere any more."""
    own, out = Path(shutil.copytree(root, tmp_path / "source")), tmp_path / "out"
    assert run_here(own, out, **SHORT, **options).manifest.complete
    shutil.rmtree(own)
    return out


def opened(out: Path, **options: Any) -> BehaviorLeRobotDataset:
    return BehaviorLeRobotDataset("id", shards=out, **options)


def by_annotations(out: Path, kind: str) -> BehaviorLeRobotDataset:
    write_json(out.parent / "templates.json", TEMPLATES)
    write_json(out.parent / "names.json", NAMES)
    return opened(
        out, subtask_source=f"annotations_{kind}",
        subtask_template_path=out.parent / "templates.json",
        subtask_object_name_mapping_path=out.parent / "names.json",
    )  # fmt: skip


def test_demonstrations_of_2025(b1k_root: Path, tmp_path: Path) -> None:
    out = without_source(b1k_root, tmp_path, episodes="00000010,00490010")
    skills = opened(out, fine_grained_level=2)
    assert (skills[4]["index"].item(), skills[4]["task"]) == (
        40, "The next step is to pick up from the radio.",
    )  # fmt: skip
    assert skills[4]["subtask_text"] == "pick up from"
    assert opened(out, fine_grained_level=3)[1]["task"] == "move to the radio, part 1 of 2"
    phrase = "pick up the radio from the coffee table koagbh"
    assert by_annotations(out, "skill")[4]["subtask_text"] == phrase
    assert (opened(out).root / "subtasks/task-0049/episode_00490010.json").is_file()


def test_demonstrations_of_2026(root_2026: Path, tmp_path: Path) -> None:
    out = without_source(root_2026, tmp_path, tasks="0")
    dataset = by_annotations(out, "skill")
    said = [dataset[position]["subtask_text"] for position in (0, 1, 2, 6, 7)]
    move, press = "move to the coffee table koagbh", "press the coffee table koagbh"
    assert said == [move, move, press, press, RADIO]  # episode 1 has no annotation
    assert dataset[0]["task"] == RADIO


def test_rollouts(rft_root: Path, tmp_path: Path) -> None:
    out = without_source(rft_root, tmp_path)
    skills = opened(out, fine_grained_level=1)
    assert skills[0]["task"] == "turning on radio"
    assert skills[6]["task"] == RADIO  # of episode 11, without orchestrators
    assert opened(out, fine_grained_level=2)[0]["task"] == (
        "The next step is to turning on radio the radio."
    )
    weighted = opened(
        out, resample_group_by="skill_description", resample_weights={"make pizza": 2.0}
    )
    sizes = {group.weight: group.num_samples for group in weighted.weight_groups()}
    assert sizes == {1.0: 6 + 5 + 26, 2.0: 8 + 6}
    assert (weighted.root / "subtasks/task-0000/episode_00000030.json").is_file()
