"""The page of an output: what it says, that it needs nothing else, and strangers' text."""

import json
import re
from typing import Any

import msgspec
import pytest

from predecode.inspection import page
from predecode.inspection.found import OutputFound
from predecode.inspection.opened import Quarantined, opened
from predecode.inspection.page import render_page
from predecode.inspection.shown import PageContent, page_content
from predecode.inspection.summary import inspect_output
from tests.support.html_page import Page
from tests.support.inspected import ROOT, inspected_output
from tests.unit.predecode.verification.test_page_hostile import HOSTILE
from train_shards.manifest import DroppedEpisode

replace = msgspec.structs.replace
SECTIONS = ["tasks", "episodes", "figures", "settings", "provenance", "absent"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[OutputFound, PageContent]:
    out = inspected_output(tmp_path_factory.mktemp("inspected") / "out")
    with opened(str(out), check_members=False) as output:
        found = inspect_output(output)
        return replace(found, out="shards/"), page_content(output, found)


@pytest.fixture(scope="module")
def html(shown: tuple[OutputFound, PageContent]) -> str:
    return render_page(*shown)


def test_each_section_says_what_is_there(html: str) -> None:
    read = Page(html)
    assert read.text("head") == "shards/: what is in it"
    assert read.text("header").startswith("tiny shards/ Complete: 1 episode, 22 samples and 44 im")
    tasks, episodes = read.text("tasks"), read.text("episodes")
    assert "open the drawer Task 0, open_drawer: 2 episodes, 18 samples." in tasks
    assert "close the drawer Task 7, close_drawer: 1 episode, 4 samples." in tasks
    assert "Episode 00000010 Open the drawer. First find it." in episodes
    assert "Task 0, train. 12 frames (0.4 s), 12 stored: 0 to 11." in episodes
    assert "move to 0 to 4 pick up from 4 to 7 place in 7 to 9" in episodes
    assert "No annotated skill." in episodes  # of episode 70010
    assert "shortest 4, longest 12 frames" in read.text("figures")
    assert ["codec", "png"] in read.rows["settings"]
    assert ["head", "rgb.head", "rgb"] in read.rows["settings"]
    assert ["train", "3", "22", "2"] in [row[:4] for row in read.rows["settings"]]
    assert read.rows["provenance"][1][:3] == ["0", ROOT, "pyav"]
    assert read.rows["provenance"][3][:2] == ["data/train/tiny-train-000000.tar", "9"]
    assert read.text("absent") == "Absent episodes None."


def test_it_needs_no_other_file_and_every_picture_has_words(html: str) -> None:
    read = Page(html)
    assert read.count("img") == 18 + 16
    assert {uri.split(",")[0] for uri in read.attributes("src")} == {"data:image/jpeg;base64"}
    assert [uri for uri in read.attributes("href") if not uri.startswith("data:")] == [
        f"#{section}" for section in SECTIONS
    ]
    assert not {"script", "iframe", "object", "base", "form", "link rel"} & {
        t for t, _ in read.tags
    }
    assert not re.search(r"https?:|url\(|@import", html)
    assert read.attributes("content")[0].startswith("default-src 'none'; img-src data:;")
    ids = read.attributes("id")
    assert len(ids) == len(set(ids))
    assert set(SECTIONS) | set(read.attributes("aria-labelledby")) <= set(ids)
    for tag, attributes in read.tags:
        assert tag != "img" or attributes["alt"]
        assert tag != "svg" or attributes["aria-label"]
    assert any(re.fullmatch(r"left_wrist, ep000\d+_f\d{6}", alt) for alt in read.attributes("alt"))


def test_what_is_cut_and_what_is_absent_is_said(
    shown: tuple[OutputFound, PageContent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_MOST_ROWS", 1)
    found, content = shown
    rows = [
        Quarantined(episode_index=n, path="a.mp4", problem="cut", expected="9", got="8", retry="x")
        for n in (30, 40)
    ]
    manifest = replace(found.manifest, complete=False, dropped=[DroppedEpisode(50, 0)])
    found = replace(found, manifest=manifest, quarantined=rows)
    content = content._replace(
        tasks=content.tasks[:1], episodes=content.episodes[:2], num_images_unshown=3, num_drawn=5
    )
    read = Page(render_page(found, content))
    assert "Incomplete:" in read.text("header")
    assert "2 episodes in quarantine. 1 episode dropped." in read.text("header")
    assert "The first 1 of 2 tasks are shown. Not shown of each sample: 3 images." in (
        read.text("tasks")
    )
    assert "2 of 3 episodes, drawn by the seed, of each task in turn." in read.text("episodes")
    assert "Of 5 samples, spread evenly over all." in read.text("figures")
    assert "The first 1 of 2 shards." in read.text("provenance")
    assert "The first 1 of 2 episodes." in read.text("absent")
    assert read.rows["absent"][1] == ["00000030", "a.mp4", "cut", "9", "8", "x"]
    assert "Dropped: 00000050." in read.text("absent")


def test_an_output_of_which_nothing_is_served_has_a_page(
    shown: tuple[OutputFound, PageContent],
) -> None:
    found, content = shown
    empty = content._replace(tasks=[], episodes=[], lengths={}, image_bytes={}, num_drawn=0)
    read = Page(render_page(replace(found, tasks=[], episodes=[]), empty))
    for section in ("tasks", "episodes", "figures"):
        assert read.text(section).endswith("No episode is served.")


def filled(value: Any, text: str) -> Any:
    """A plain value with ``text`` in place of every text, the names of images aside."""
    if isinstance(value, str):
        return text
    if isinstance(value, list):
        return [filled(one, text) for one in value]
    if isinstance(value, dict):
        return {name: filled(inner, text) for name, inner in value.items()}
    return value


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_strangers_stays_text(
    shown: tuple[OutputFound, PageContent], html: str, text: str
) -> None:
    found, content = shown
    row = Quarantined(episode_index=30, path="a", problem="b", expected="c", got="d", retry="e")
    plain = msgspec.to_builtins(replace(found, quarantined=[row]), str_keys=True)
    plain["manifest"]["generations"][0]["environment"] = {text: "1"}
    for entry in plain["manifest"]["generations"][0]["shards"]:
        entry["path"] = text
    for part in ("tasks", "quarantined"):
        plain[part] = filled(plain[part], text)
    plain["out"] = text
    for field in ("name", "source", "val_episodes", "layout", "codec"):
        plain["manifest"]["settings"][field] = text
    plain["manifest"]["settings"]["cameras"] = {text: text}
    hostile = msgspec.convert(json.loads(json.dumps(plain)), OutputFound, strict=False)
    content = content._replace(
        tasks=[
            task._replace(
                figures=replace(task.figures, task=text, name=text),
                sheets=[
                    sheet._replace(image=text, shots=[s._replace(note=text) for s in sheet.shots])
                    for sheet in task.sheets
                ],
            )
            for task in content.tasks
        ],
        episodes=[
            one._replace(
                image=text,
                said=one.said._replace(prompt=text, task=text),
                skills=[skill._replace(text=text) for skill in one.skills],
                plots=dict.fromkeys([text], next(iter(one.plots.values()))),
            )
            for one in content.episodes
        ],
        image_bytes={text: next(iter(content.image_bytes.values()))},
        roots=[text],
    )
    harmless, html = Page(html), render_page(hostile, content)
    read = Page(html)
    assert {tag for tag, _ in read.tags} <= {tag for tag, _ in harmless.tags}
    assert not {name for _, a in read.tags for name in a if name.startswith("on")}
    assert all(c.isprintable() or c == "\n" for c in html)
    assert "8641969" not in html  # 1234567 * 7
    assert read.count("img") == harmless.count("img")
