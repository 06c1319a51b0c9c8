"""What the page of an output shows: bounded, drawn by the seed, and nothing else is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predecode.inspection import shown
from predecode.inspection.opened import opened
from predecode.inspection.shown import PageContent, page_content
from predecode.inspection.summary import inspect_output
from tests.support.inspected import ROOT, inspected_output
from tests.support.stored import painted
from train_shards.format import parse_key
from train_shards.reader import Place, ShardReader

GOLDEN = Path(__file__).parents[3] / "golden/v1.2"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inspected_output(tmp_path_factory.mktemp("inspected") / "out")


def content_of(out: Path) -> PageContent:
    with opened(str(out), check_members=False) as output:
        return page_content(output, inspect_output(output))


def test_tasks_episodes_and_counts_are_those_of_the_output(out: Path) -> None:
    content = content_of(out)
    assert [task.figures.task_index for task in content.tasks] == [0, 7]
    assert [task.figures.num_samples for task in content.tasks] == [18, 4]
    assert [one.episode.span.episode_index for one in content.episodes] == [10, 20, 70010]
    assert content.lengths == {12: 1, 6: 1, 4: 1}
    assert {image: sum(c.values()) for image, c in content.image_bytes.items()} == {
        "head": 22, "left_wrist": 22,
    }  # fmt: skip
    assert (content.num_drawn, content.num_images_unshown) == (22, 0)
    assert content.roots == [ROOT]


def test_every_picture_is_the_one_that_its_key_names(out: Path) -> None:
    content = content_of(out)
    shots = [(one.image, shot) for one in content.episodes for shot in one.strip]
    sheets = [sheet for task in content.tasks for sheet in task.sheets]
    shots += [(sheet.image, shot) for sheet in sheets for shot in sheet.shots]
    assert len(shots) == 8 + 6 + 4 + 2 * (4 + 4)
    for image, shot in shots:
        assert np.array_equal(shot.picture, painted(*parse_key(shot.key), image))
        assert shot.frame == parse_key(shot.key)[1]
    for task in content.tasks:
        for sheet in task.sheets:
            tasks = {parse_key(shot.key)[0] // 10000 for shot in sheet.shots}
            assert tasks == {task.figures.task_index}


def test_a_strip_goes_from_the_first_stored_frame_to_the_last(out: Path) -> None:
    first = content_of(out).episodes[0]
    assert [shot.frame for shot in first.strip] == [0, 1, 3, 4, 6, 7, 9, 11]
    assert first.said.prompt == "Open the drawer. First find it."
    assert [(s.start, s.stop, s.text) for s in first.skills] == [
        (0, 4, "move to"), (4, 7, "pick up from"), (7, 9, "place in"),
    ]  # fmt: skip
    assert list(first.plots) == ["observation.state"]
    assert first.plots["observation.state"].num_numbers == 3


def test_the_same_output_gives_the_same_page_content(out: Path) -> None:
    def keys(content: PageContent) -> list[str]:
        return [s.key for task in content.tasks for sheet in task.sheets for s in sheet.shots]

    assert keys(content_of(out)) == keys(content_of(out))
    assert len(set(keys(content_of(out)))) == 8


def test_bounds_hold_and_only_what_is_shown_is_read(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, bound in {
        "_TASKS": 1, "_EPISODES": 1, "_IMAGES": 1, "_SHOTS": 2, "_STRIP_SHOTS": 3, "_DRAWN": 5,
    }.items():  # fmt: skip
        monkeypatch.setattr(shown, name, bound)
    read: list[tuple[str, tuple[str, ...]]] = []
    whole = ShardReader.read

    def counting(self: ShardReader, places: Sequence[Place], fields: Sequence[str]) -> Any:
        read.extend((place.key, tuple(fields)) for place in places)
        return whole(self, places, fields)

    monkeypatch.setattr(ShardReader, "read", counting)
    content = content_of(out)
    (task,) = content.tasks
    (sheet,) = task.sheets
    (episode,) = content.episodes
    assert (len(sheet.shots), len(episode.strip)) == (2, 3)
    assert content.num_images_unshown == 1
    assert content.num_drawn == 5
    assert sum(sum(c.values()) for c in content.image_bytes.values()) == 5
    assert {fields for _, fields in read} == {("head.png",)}
    assert [key for key, _ in read] == [s.key for s in [*sheet.shots, *episode.strip]]


def test_depth_and_segmentation_are_shown_with_what_they_mean() -> None:
    content = content_of(GOLDEN)
    (task,) = content.tasks
    assert [sheet.image for sheet in task.sheets] == [
        f"{camera}{modality}"
        for camera in ("head", "left_wrist", "right_wrist")
        for modality in ("", "_depth", "_seg")
    ]
    for sheet in task.sheets:
        assert [shot.frame for shot in sheet.shots] == [0, 40, 80]
        for shot in sheet.shots:
            assert shot.picture.shape == (64, 64, 3)
            if sheet.modality == "rgb":
                assert shot.note == ""
            else:
                assert shot.note.endswith(" m" if sheet.modality == "depth" else " ids")
    (episode,) = content.episodes
    assert (episode.image, [shot.frame for shot in episode.strip]) == ("head", [0, 40, 80])
    assert episode.skills == []  # it has no metadata
    assert [plot.num_numbers for plot in episode.plots.values()] == [256, 23]
