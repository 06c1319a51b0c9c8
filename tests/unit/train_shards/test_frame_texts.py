"""Texts of frames from metadata files written by hand: literal, and upstream's beside them."""

import logging
import pickle
import shutil
from bisect import bisect_right
from pathlib import Path
from typing import Any

import pytest

from tests.support.texts import annotation, output_with_texts, write_json
from train_shards.errors import DataError, UserError
from train_shards.frame_texts import FrameTexts
from train_shards.metadata_files import MetadataFiles

TASK = "Open the drawer. First find it."
SENTENCE = "as the manifest has it"
ORCHESTRATORS = "meta/orchestrators/task-0000/episode_00000010"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return output_with_texts(tmp_path_factory.mktemp("texts") / "out")


@pytest.fixture
def own(shared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared, tmp_path / "out"))


def texts_of(out: Path, *, level: int | None = 0, **options: Any) -> FrameTexts:
    if options.get("subtask_source", "orchestrator") != "orchestrator":
        options = {
            "templates_path": out / "meta/templates.json",
            "names_path": out / "meta/names.json",
        } | options
    return FrameTexts(MetadataFiles(out), "meta/", level=level, **options)


def said(texts: FrameTexts, episode: int, num_frames: int) -> list[tuple[str, str | None]]:
    return [texts.at(episode, episode // 10000, f, SENTENCE) for f in range(num_frames)]


@pytest.mark.parametrize(
    ("level", "prompts"),
    [
        (0, [TASK] * 12),
        (1, ["move to"] * 4 + ["open drawer"] * 8),
        (2, ["Go to the drawer."] * 4 + ["Pull it open."] * 8),
        (3, ["walk"] * 2 + ["stop"] * 2 + ["grasp"] * 2 + ["pull"] * 6),
    ],
)
def test_prompts_of_each_level(shared: Path, level: int, prompts: list[str]) -> None:
    found = said(texts_of(shared, level=level), 10, 12)
    assert [prompt for prompt, _ in found] == prompts
    assert [subtask for _, subtask in found] == ["move to"] * 4 + ["open drawer"] * 8


@pytest.mark.parametrize(
    ("level", "prompts", "subtasks"),
    [
        (0, [TASK] * 12, ["move to"] * 12),
        (1, ["move to"] * 3 + ["open drawer"] * 9, ["move to"] * 3 + ["open drawer"] * 9),
        (2, ["Go to the drawer."] * 3 + ["Pull it open."] * 9,
         ["move to"] * 3 + ["open drawer"] * 9),
        (3, ["walk", "stop", "stop", "grasp", "grasp"] + ["pull"] * 7,
         ["move to", "open drawer", "open drawer"] + [None] * 9),
        (None, ["Open the drawer."] * 12, [None] * 12),
    ],
)  # fmt: skip
def test_upstreams_errors_with_compat(
    shared: Path, level: int | None, prompts: list[str], subtasks: list[str | None]
) -> None:
    found = said(texts_of(shared, level=level, compat=True), 10, 12)
    assert [prompt for prompt, _ in found] == prompts
    assert [subtask for _, subtask in found] == subtasks


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("compat", [False, True])
def test_without_orchestrators_every_level_is_the_episodes_sentence(
    shared: Path, level: int, compat: bool
) -> None:
    texts = texts_of(shared, level=level, compat=compat)
    assert said(texts, 20, 6) == [("Open the drawer at once.", "Open the drawer at once.")] * 6


def test_subtasks_of_annotated_skills(shared: Path) -> None:
    texts = texts_of(shared, level=0, subtask_source="annotations_skill")
    move, pick = "move to the drawer", "pick up the cup from the bottom cabinet jhymlr"
    place = "place the cup in the fridge"
    subtasks = [subtask for _, subtask in said(texts, 10, 12)]
    # From frame 9 on nothing is annotated: level 1's text.
    assert subtasks == [move] * 4 + [pick] * 3 + [place] * 2 + ["open drawer"] * 3
    upstream = texts_of(shared, level=0, subtask_source="annotations_skill", compat=True)
    subtasks = [subtask for _, subtask in said(upstream, 10, 12)]
    assert subtasks == [move] * 5 + [pick] * 3 + [place] * 2 + ["move to"] * 2
    # Frame 3 lies in a gap; without orchestrators the fallback is the sentence.
    subtasks = [subtask for _, subtask in said(texts, 20, 6)]
    assert subtasks == [move] * 3 + ["Open the drawer at once."] + ["press the button"] * 2


def test_subtasks_of_annotated_primitives(shared: Path) -> None:
    texts = texts_of(shared, subtask_source="annotations_primitive", joiner=" and ")
    assert texts.at(10, 0, 4, SENTENCE)[1] == (
        "pick up the cup from the fridge and wipe the sink a firmly"
    )
    assert texts.at(10, 0, 3, SENTENCE)[1] == "move to"


def test_upstream_loses_a_segment_beside_one_that_ends_before_it_starts(own: Path) -> None:
    write_json(
        own / "meta/annotations/task-0000/episode_00000010.json",
        annotation([("press", [["a_1"]], [3, 6]), ("press", [["a_2"]], [7, 8]),
                    ("press", [["b_2"]], [8, 3])]),
    )  # fmt: skip
    texts = texts_of(own, level=2, subtask_source="annotations_skill")
    subtasks = [subtask for _, subtask in said(texts, 10, 12)]
    press, drawer = ["press the a"], ["open drawer"]
    assert subtasks == ["move to"] * 3 + press * 3 + drawer + press + drawer * 4
    # To upstream the first two touch and are one; then its ends are 8 and 3, out of order, and a
    # search among them finds none after frame 3.
    upstream = texts_of(own, level=2, subtask_source="annotations_skill", compat=True)
    subtasks = [subtask for _, subtask in said(upstream, 10, 12)]
    assert subtasks == ["move to"] * 3 + press + drawer * 8


def test_skills_of_every_frame(shared: Path) -> None:
    def skills(by: str, episode: int, num_frames: int, **options: Any) -> list[str]:
        runs = texts_of(shared, skills_by=by, **options).skill_runs(episode, 0, num_frames)
        return [run.text for run in runs for _ in range(run.start, run.stop)]

    assert skills("task_skill", 10, 12) == ["move to"] * 4 + ["open drawer"] * 8
    # Upstream takes the skill at the prompt's place: at level 0 always the first.
    assert skills("task_skill", 10, 12, compat=True) == ["move to"] * 12
    assert skills("task_skill", 10, 12, level=1, compat=True) == (
        ["move to"] * 3 + ["open drawer"] * 9
    )
    assert skills("task_skill", 20, 6) == ["Open the drawer at once."] * 6
    assert skills("skill_description", 20, 6) == ["move to"] * 3 + [""] + ["press"] * 2
    assert skills("skill_type", 20, 6) == ["navigation"] * 3 + [""] + ["uncoordinated"] * 2
    assert skills("skill_type", 20, 6, compat=True) == (
        ["['navigation']"] * 4 + ["['uncoordinated']"] * 2
    )
    assert skills("skill_type", 70010, 4) == [""] * 4


@pytest.mark.parametrize("damage", ["missing", "broken", "wrong type"])
def test_a_broken_folder_of_orchestrators_says_the_task_at_every_level(
    own: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = own / ORCHESTRATORS / "subtask_1_annotated.json"
    if damage == "missing":
        path.unlink()
    else:
        path.write_text("{" if damage == "broken" else '{"start_frame": "soon"}')
    assert said(texts_of(own, level=3), 10, 2) == [(TASK, TASK)] * 2
    assert "subtask_1_annotated.json" in caplog.text
    # To upstream a level that reading has not come to is empty: here none, for events came first.
    assert said(texts_of(own, level=3, compat=True), 10, 1) == [(TASK, TASK)]


def test_upstream_leaves_levels_empty_that_reading_has_not_come_to(own: Path) -> None:
    (own / ORCHESTRATORS / "subtask_0_annotated.json").unlink()
    assert said(texts_of(own, level=2), 10, 1) == [(TASK, TASK)]
    assert said(texts_of(own, level=2, compat=True), 10, 1) == [("Open the drawer.", None)]


def test_more_than_ten_events_come_by_their_frames_and_upstreams_by_name(own: Path) -> None:
    for path in (own / ORCHESTRATORS).glob("event_*"):
        path.unlink()
    for number in range(12):
        value = {"subtask_answer_detailed": f"e{number}", "start_frame": number,
                 "end_frame": number + 1}  # fmt: skip
        write_json(own / ORCHESTRATORS / f"event_0_{number}_annotated.json", value)
    prompts = [prompt for prompt, _ in said(texts_of(own, level=3), 10, 12)]
    assert prompts == [f"e{number}" for number in range(12)]
    upstream = [prompt for prompt, _ in said(texts_of(own, level=3, compat=True), 10, 12)]
    by_name = [0, 10, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert upstream == [f"e{by_name[bisect_right(by_name, frame, hi=11)]}" for frame in range(12)]


def test_a_level_without_texts_is_the_tasks_sentence(own: Path) -> None:
    for path in (own / ORCHESTRATORS).glob("event_*"):
        path.unlink()
    assert texts_of(own, level=3).at(10, 0, 0, SENTENCE) == ("Open the drawer.", "move to")


def test_broken_files_name_themselves(own: Path) -> None:
    (own / ORCHESTRATORS / "task_annotated.json").write_text("{}")
    with pytest.raises(DataError, match=r"task_annotated\.json: .*cot_task_description"):
        texts_of(own).at(10, 0, 0, SENTENCE)
    path = own / "meta/annotations/task-0000/episode_00000020.json"
    path.write_text("[]")
    with pytest.raises(DataError, match="episode_00000020.json: Expected `object`"):
        texts_of(own, skills_by="skill_type").skill_runs(20, 0, 6)
    with (own / "meta/episodes.jsonl").open("a") as file:
        file.write("half a li")
    with pytest.raises(DataError, match=r"episodes\.jsonl"):
        texts_of(own).at(20, 0, 0, SENTENCE)


def test_without_metadata_the_sentence_is_the_manifests_and_a_line_says_so(
    own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(own / "meta")
    texts = texts_of(own, level=2)
    assert "orchestrators: no such folder" in caplog.text
    assert said(texts, 10, 3) == [(SENTENCE, SENTENCE)] * 3
    assert caplog.text.count("sentences are the manifest's") == 1
    with pytest.raises(UserError, match="meta/annotations: no such folder"):
        texts_of(own, skills_by="skill_type")


def test_annotations_need_their_tables(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="subtask_template_path: needed with"):
        texts_of(shared, subtask_source="annotations_skill", templates_path=None)
    with pytest.raises(UserError, match="subtask_object_name_mapping_path: needed with"):
        texts_of(shared, subtask_source="annotations_skill", names_path=None)
    (tmp_path / "names.json").write_text('{"cup_12": 3}')
    with pytest.raises(UserError, match=r"names\.json: not such a table"):
        texts_of(shared, subtask_source="annotations_skill", names_path=tmp_path / "names.json")
    with pytest.raises(UserError, match="subtask_source 'annotations': expected one of"):
        texts_of(shared, subtask_source="annotations")


def test_pickles_without_what_it_has_read(shared: Path) -> None:
    texts = texts_of(shared, level=2, subtask_source="annotations_skill")
    expected = said(texts, 10, 12), said(texts, 20, 6)
    data = pickle.dumps(texts)
    for what in (b"Pull it open", b"Open the drawer at once", b"pick up the {obj}"):
        assert what not in data
    copied = pickle.loads(data)
    assert (said(copied, 10, 12), said(copied, 20, 6)) == expected


def test_keeps_the_texts_of_a_bounded_number_of_episodes(
    shared: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("train_shards.frame_texts._CACHED_EPISODES", 1)
    caplog.set_level(logging.INFO)
    texts = texts_of(shared)
    for _ in range(2):
        assert texts.at(10, 0, 0, SENTENCE)[0] == TASK
        assert texts.at(20, 0, 0, SENTENCE)[0] == "Open the drawer at once."
    assert len(texts._cache) == 1


def test_events_of_a_url_are_refused() -> None:
    with pytest.raises(UserError, match="which a URL does not allow"):
        MetadataFiles("memory://out").names("meta/orchestrators", "event_0_*")
    assert MetadataFiles("memory://out").may_have("meta/annotations")


def test_a_fork_opens_a_storage_of_its_own(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = MetadataFiles(shared)
    assert files.read("meta/tasks.jsonl") == (shared / "meta/tasks.jsonl").read_bytes()
    parents = files._storage
    assert files.read("meta/nothing.json") is None
    assert files._storage is parents
    monkeypatch.setattr("os.getpid", lambda: 1)
    files.read("meta/tasks.jsonl")
    assert files._storage is not parents
