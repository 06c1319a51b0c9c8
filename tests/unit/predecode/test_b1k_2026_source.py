"""The 2026 edition from metadata written by hand, without a video or table."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predecode.errors import EpisodeError, EpisodeFault
from predecode.source_check import check_episode
from predecode.sources.b1k import B1kSource, open_b1k
from predecode.sources.b1k_2026 import B1k2026Source
from predecode.sources.episode import Episode, TableSpan, VideoSpan
from train_shards.errors import UserError

HEAD = "observation.rgb.zed_link_camera_0"
LEFT = "observation.rgb.left_realsense_link_camera_0"
INFO: dict[str, Any] = {
    "codebase_version": "v3.0",
    "fps": 30,
    "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    "features": {
        "action": {},
        "observation.depth_linear.zed_link_camera_0": {},
        LEFT: {},
        HEAD: {},
        "observation.rgb.top": {},
    },
}
TASKS: list[dict[str, Any]] = [
    {"task_index": 0, "task_name": "turning_on_radio", "task": "Turn on the radio."},
    {"task_index": 50, "task_name": "freeze_fruit", "task": "Freeze the fruit."},
]


def row(
    episode: int,
    length: int,
    first: int,
    head: tuple[int, int],
    left: tuple[int, int],
    **other: Any,
) -> dict[str, Any]:
    """An episode of task 0; ``head`` and ``left`` are (file, first frame in it)."""
    values = {
        "episode_index": episode,
        "tasks": ["turning_on_radio"],
        "length": length,
        "dataset_from_index": first,
        "dataset_to_index": first + length,
        "data/chunk_index": 0,
        "data/file_index": 0,
        "annotation_path": f"annotations/task-0000/episode_{10 * episode + 50:08d}.json",
    }
    for key, (file, start) in ((HEAD, head), (LEFT, left)):
        values |= {
            f"videos/{key}/chunk_index": 0,
            f"videos/{key}/file_index": file,
            f"videos/{key}/from_timestamp": start / 30,
            f"videos/{key}/to_timestamp": (start + length) / 30,
        }
    return values | other


ROWS = [
    row(0, 61, 0, (0, 0), (0, 0)),
    row(1, 100, 61, (1, 0), (0, 61)),
    row(2, 43, 161, (1, 100), (0, 161)),
]


def write(root: Path, *rows: dict[str, Any], file: str = "chunk-000/file-000.parquet") -> None:
    path = root / "meta/episodes" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "b1k"
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(INFO))
    (root / "meta/tasks.jsonl").write_text("".join(json.dumps(t) + "\n" for t in TASKS))
    write(root, *ROWS)
    return root


def set_info(root: Path, **changes: Any) -> None:
    kept = {name: value for name, value in {**INFO, **changes}.items() if value is not ...}
    (root / "meta/info.json").write_text(json.dumps(kept))


def faults(root: Path) -> dict[int, EpisodeFault]:
    """The first of each episode."""
    return {e.episode_index: e.faults[0] for e in open_b1k(root).episodes if e.faults}


def test_the_edition_is_told_by_info(root: Path) -> None:
    assert isinstance(open_b1k(root), B1k2026Source)
    set_info(root, codebase_version="v2.1")
    with pytest.raises(UserError, match="episodes.jsonl: not found"):
        open_b1k(root)  # taken for the other edition, whose metadata these are not
    set_info(root, codebase_version="v4.0")
    with pytest.raises(UserError, match=r"'v4.0', expected 'v2.1' .* or 'v3.0' \(the 2026"):
        open_b1k(root)
    set_info(root)
    with pytest.raises(UserError, match=r"'v3.0', expected"):
        B1kSource(root)


def test_an_annotation_lies_where_the_episodes_row_says(root: Path) -> None:
    write(root, *ROWS[:2], row(2, 43, 161, (1, 100), (0, 161), annotation_path=None))
    paths = [B1k2026Source(root, INFO).annotation_path(episode) for episode in (0, 1, 2, 9)]
    folder = "annotations/task-0000"
    expected = [f"{folder}/episode_00000050.json", f"{folder}/episode_00000060.json", None, None]
    assert paths == expected


def test_an_episode_names_its_places_in_files(root: Path) -> None:
    assert open_b1k(root).episodes[1] == Episode(
        episode_index=1,
        task_index=0,
        task="Turn on the radio.",
        task_name="turning_on_radio",
        num_frames=100,
        fps=(30, 1),
        videos={
            "head": VideoSpan(
                key=HEAD, path=f"videos/{HEAD}/chunk-000/file-001.mp4", start=0, ends_file=False
            ),
            "left_wrist": VideoSpan(
                key=LEFT, path=f"videos/{LEFT}/chunk-000/file-000.mp4", start=61, ends_file=False
            ),
        },
        table=TableSpan(path="data/chunk-000/file-000.parquet", start=61, ends_file=False),
    )
    ends = {
        e.episode_index: (
            *(e.videos[c].ends_file for c in ("head", "left_wrist")),
            e.table.ends_file if e.table else None,
        )
        for e in open_b1k(root).episodes
    }
    assert ends == {
        0: (True, False, False), 1: (False, False, False), 2: (True, True, True),
    }  # fmt: skip


def test_cameras_bear_the_names_of_2025_and_depth_is_none(root: Path) -> None:
    source = open_b1k(root)
    assert list(source.cameras.items()) == [("head", HEAD), ("left_wrist", LEFT)]
    assert source.task_names == {"turning_on_radio": 0, "freeze_fruit": 50}
    assert (source.kind, source.root) == ("b1k", root)


def test_rows_of_a_second_file_begin_anew(root: Path) -> None:
    write(
        root, row(3, 20, 204, (2, 0), (1, 0), **{"data/file_index": 1}), file="chunk-050/f.parquet"
    )
    table = open_b1k(root).episodes[3].table
    assert table == TableSpan(path="data/chunk-000/file-001.parquet", start=0, ends_file=True)


@pytest.mark.parametrize("frame", [30_725, 82_844, 1_000_000])
def test_a_time_beyond_1024_s_is_its_frame(root: Path, frame: int) -> None:
    write(root, row(0, 50, 0, (0, frame), (0, frame)))
    assert open_b1k(root).episodes[0].videos["head"].start == frame
    assert not faults(root)


def test_training_s_metadata_of_the_chosen_episodes(root: Path) -> None:
    for episode in (50, 60):
        path = root / f"annotations/task-0000/episode_{episode:08d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    source = open_b1k(root)
    assert source.metadata_files(source.episodes[1:]) == [
        "meta/info.json",
        "meta/tasks.jsonl",
        "meta/episodes/chunk-000/file-000.parquet",
        "annotations/task-0000/episode_00000060.json",
    ]


# --- faults of one episode ------------------------------------------------------------------------

FROM, TO = f"videos/{HEAD}/from_timestamp", f"videos/{HEAD}/to_timestamp"


@pytest.mark.parametrize(
    ("changes", "problem", "expected", "got"),
    [
        ({FROM: 3.35}, "a time in the metadata is no frame's", "1/30 s", "3.35 to 4.7"),
        ({FROM: -0.1}, "a time in the metadata is no frame's", "1/30 s", "-0.1 to 4.7"),
        (
            {FROM: 2.0**60, TO: 2.0**60 + 256},
            "a time in the metadata is no frame's",
            "1/30",
            "e+18",
        ),
        ({FROM: float("nan")}, "times in the metadata", "numbers", "nan"),
        ({TO: float("inf")}, "times in the metadata", "numbers", "inf"),
        ({TO: 4.8}, "times in the metadata disagree with the length", "43 frames", "44, from"),
        ({FROM: 3.3}, "times in the metadata disagree with the length", "43 frames", "44, from"),
        ({"dataset_to_index": 205}, "rows disagree with the length in the metadata", "43", "44"),
    ],
    ids=str,
)
def test_a_fault_of_an_episodes_own_entries_costs_that_episode(
    root: Path, changes: dict[str, Any], problem: str, expected: str, got: str
) -> None:
    write(root, ROWS[0], ROWS[1], ROWS[2] | changes)
    found = faults(root)
    assert list(found) == [2]
    assert (found[2].problem, found[2].camera) == (problem, None if "rows" in problem else "head")
    assert expected in found[2].expected
    assert got in found[2].got
    with pytest.raises(EpisodeError, match=problem):
        check_episode(root, open_b1k(root).episodes[2], ("head",))
    if found[2].camera:  # costs those nothing who ask for the other camera
        with pytest.raises(EpisodeError, match="no such file"):
            check_episode(root, open_b1k(root).episodes[2], ("left_wrist",))
    # The end of its files is not known any more, so that no other one is blamed for it.
    if found[2].camera == "head":
        assert open_b1k(root).episodes[1].videos["head"].ends_file is False


@pytest.mark.parametrize("length", [0, -3])
def test_an_episode_without_frames_is_at_fault(root: Path, length: int) -> None:
    write(root, ROWS[0], ROWS[1], row(2, length, 161, (1, 100), (0, 161)))
    assert [(e, f.problem, f.got) for e, f in faults(root).items()] == [
        (2, "length in the metadata", f"{length}")
    ]


def test_two_that_claim_the_same_frames_are_both_at_fault(root: Path) -> None:
    write(root, ROWS[0], ROWS[1], ROWS[2] | {FROM: 92 / 30, TO: 135 / 30})
    assert {e: (f.camera, f.problem, f.got) for e, f in faults(root).items()} == {
        1: ("head", "overlaps with another episode of the file", "0-100 and 92-135"),
        2: ("head", "overlaps with another episode of the file", "92-135 and 0-100"),
    }


def test_an_overlap_across_several_is_found(root: Path) -> None:
    rows = [row(n, 10, 10 * n, (n, 0), (0, 10 * n)) for n in range(3)]
    rows[0] = row(0, 25, 0, (0, 0), (0, 0), **{"dataset_to_index": 25})
    assert list(_with(root, *rows)) == [0, 1, 2]


def _with(root: Path, *rows: dict[str, Any]) -> dict[int, EpisodeFault]:
    write(root, *rows)
    return faults(root)


def test_an_episode_at_fault_by_itself_takes_no_neighbour_with_it(root: Path) -> None:
    assert list(_with(root, ROWS[0], ROWS[1], ROWS[2] | {FROM: 92 / 30})) == [2]


# --- refusals -------------------------------------------------------------------------------------


def test_without_sentences_nothing_is_begun(root: Path) -> None:
    (root / "meta/tasks.jsonl").unlink()
    with pytest.raises(UserError, match=r"tasks.jsonl: not found. It alone holds the sentences"):
        open_b1k(root)


@pytest.mark.parametrize(
    "changes",
    [
        {"features": ...},
        {"fps": 0},
        {"fps": "fast"},
        {"video_path": ...},
        {"video_path": "{nothing}.mp4"},
        {"video_path": "{}.mp4"},
        {"data_path": "{chunk_index.x}"},
    ],
    ids=str,
)
def test_info_that_cannot_be_used_is_refused(root: Path, changes: dict[str, Any]) -> None:
    set_info(root, **changes)
    with pytest.raises(UserError, match="b1k/meta: not the metadata of a LeRobot v3.0 data set"):
        open_b1k(root)


@pytest.mark.parametrize("template", ["data_path", "video_path"])
@pytest.mark.parametrize("path", ["/etc/{file_index}", "../{file_index}.mp4"])
def test_a_template_that_leaves_the_root_is_refused(root: Path, template: str, path: str) -> None:
    set_info(root, **{template: path})
    with pytest.raises(UserError, match=f"{template} .*: expected a relative path without '..'"):
        open_b1k(root)


def test_an_annotation_outside_the_root_is_refused(root: Path) -> None:
    write(root, *ROWS[:2], ROWS[2] | {"annotation_path": "../secret.json"})
    with pytest.raises(UserError, match="annotation_path .*: expected a relative path without"):
        open_b1k(root)


@pytest.mark.parametrize(
    "changes", [{"tasks": ["no_such_task"]}, {"tasks": []}, {"length": None}], ids=str
)
def test_a_row_that_cannot_be_used_is_refused(root: Path, changes: dict[str, Any]) -> None:
    write(root, *ROWS[:2], ROWS[2] | changes)
    with pytest.raises(UserError, match="not the metadata of a LeRobot v3.0 data set"):
        open_b1k(root)


def test_episodes_that_lack_a_column_or_are_no_parquet_file_are_named(root: Path) -> None:
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    write(root, {"episode_index": 0})
    with pytest.raises(UserError, match=r"file-000.parquet: no column 'tasks'"):
        open_b1k(root)
    path.write_bytes(b"no parquet file")
    with pytest.raises(UserError, match=r"file-000.parquet: not a parquet file"):
        open_b1k(root)
    path.unlink()
    with pytest.raises(UserError, match=r"meta/episodes: no episode"):
        open_b1k(root)


def test_ids_that_stand_twice_and_a_set_without_cameras_are_refused(root: Path) -> None:
    write(root, *ROWS, ROWS[0])
    with pytest.raises(UserError, match="meta/episodes: 1 episode ids stand twice"):
        open_b1k(root)
    set_info(root, features={"action": {}})
    with pytest.raises(UserError, match="0 rgb cameras and 4 episodes"):
        open_b1k(root)
