"""The 2025 edition from metadata written by hand, without a video or table."""

import json
from pathlib import Path
from typing import Any

import pytest

from predecode.sources.b1k import B1kSource
from predecode.sources.episode import Episode, TableSpan, VideoSpan
from train_shards.errors import UserError

INFO: dict[str, Any] = {
    "codebase_version": "v2.1",
    "fps": 30,
    "chunks_size": 10000,
    "data_path": "data/task-{episode_chunk:04d}/episode_{episode_index:08d}.parquet",
    "video_path": "videos/task-{episode_chunk:04d}/{video_key}/episode_{episode_index:08d}.mp4",
    "annotation_path": "annotations/task-{episode_chunk:04d}/episode_{episode_index:08d}.json",
    "features": {
        "action": {},
        "observation.images.rgb.right_wrist": {},
        "observation.images.rgb.head": {},
        "observation.images.depth.head": {},
        "observation.state": {},
    },
}
TASKS: list[dict[str, Any]] = [
    {"task_index": 0, "task_name": "turning_on_radio", "task": "Turn on the radio."},
    {"task_index": 49, "task_name": "make_pizza", "task": "Make a pizza."},
]
EPISODES: list[dict[str, Any]] = [
    {"episode_index": 490010, "tasks": ["Make a pizza."], "length": 751},
    {"episode_index": 40, "tasks": ["Turn on the radio."], "length": 120},
    {"episode_index": 10, "tasks": ["Turn it on, please."], "length": 250},
]


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "b1k"
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(INFO))
    (root / "meta/tasks.jsonl").write_text(lines(TASKS))
    (root / "meta/episodes.jsonl").write_text(lines(EPISODES))
    return root


def set_info(root: Path, **changes: Any) -> None:
    info = {**INFO, **changes}
    kept = {name: value for name, value in info.items() if value is not ...}
    (root / "meta/info.json").write_text(json.dumps(kept))


def test_episodes_are_sorted_and_keep_their_sparse_ids(root: Path) -> None:
    source = B1kSource(root)
    assert [e.episode_index for e in source.episodes] == [10, 40, 490010]
    assert [e.num_frames for e in source.episodes] == [250, 120, 751]
    assert [e.task for e in source.episodes] == [
        "Turn it on, please.", "Turn on the radio.", "Make a pizza.",
    ]  # fmt: skip


def test_an_annotation_lies_where_the_template_says_if_there_is_one(root: Path) -> None:
    path = "annotations/task-0049/episode_00490010.json"
    assert B1kSource(root).annotation_path(490010) == path  # whether it is there or not
    set_info(root, annotation_path=...)
    assert B1kSource(root).annotation_path(490010) is None


def test_an_episode_names_its_files(root: Path) -> None:
    assert B1kSource(root).episodes[2] == Episode(
        episode_index=490010,
        task_index=49,
        task="Make a pizza.",
        task_name="make_pizza",
        num_frames=751,
        fps=(30, 1),
        videos={
            "head": VideoSpan(
                key="observation.images.rgb.head",
                path="videos/task-0049/observation.images.rgb.head/episode_00490010.mp4",
            ),
            "head_depth": VideoSpan(
                key="observation.images.depth.head",
                path="videos/task-0049/observation.images.depth.head/episode_00490010.mp4",
                codes="gray16le",
            ),
            "right_wrist": VideoSpan(
                key="observation.images.rgb.right_wrist",
                path="videos/task-0049/observation.images.rgb.right_wrist/episode_00490010.mp4",
            ),
        },
        table=TableSpan(path="data/task-0049/episode_00490010.parquet"),
    )


def test_cameras_and_task_names(root: Path) -> None:
    source = B1kSource(root)
    assert list(source.cameras.items()) == [
        ("head", "observation.images.rgb.head"),
        ("right_wrist", "observation.images.rgb.right_wrist"),
    ]
    assert source.task_names == {"turning_on_radio": 0, "make_pizza": 49}
    assert (source.kind, source.root) == ("b1k", root)


def test_a_sentence_that_is_not_in_the_table_takes_the_task_of_its_file(root: Path) -> None:
    assert [e.task_index for e in B1kSource(root).episodes] == [0, 0, 49]


@pytest.mark.parametrize(
    ("fps", "expected"), [(30, (30, 1)), (29.97002997002997, (30000, 1001)), (15.0, (15, 1))]
)
def test_frame_rates_are_exact(root: Path, fps: float, expected: tuple[int, int]) -> None:
    set_info(root, fps=fps)
    assert B1kSource(root).episodes[0].fps == expected


def test_blank_lines_and_unknown_fields_are_no_matter(root: Path) -> None:
    (root / "meta/episodes.jsonl").write_text("\n" + lines([{**EPISODES[0], "x": 1}]) + "\n\n")
    assert [e.episode_index for e in B1kSource(root).episodes] == [490010]


# --- metadata to copy -----------------------------------------------------------------------------


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("{}")


def test_training_s_metadata_of_the_chosen_episodes(root: Path) -> None:
    touch(
        root,
        "annotations/task-0000/episode_00000010.json",
        "annotations/task-0049/episode_00490010.json",
        "orchestrators/task-0000/episode_00000010/task_annotated.json",
        "orchestrators/task-0000/episode_00000010/subtask_0_annotated.json",
        "subtasks/task-0000/episode_00000010.json",
    )
    source = B1kSource(root)
    assert source.metadata_files(source.episodes[:2]) == [
        "meta/info.json",
        "meta/tasks.jsonl",
        "meta/episodes.jsonl",
        "annotations/task-0000/episode_00000010.json",
        "orchestrators/task-0000/episode_00000010/subtask_0_annotated.json",
        "orchestrators/task-0000/episode_00000010/task_annotated.json",
        "subtasks/task-0000/episode_00000010.json",
    ]


def test_statistics_are_copied_where_they_are(root: Path) -> None:
    touch(root, "meta/episodes_stats.jsonl")
    assert "meta/episodes_stats.jsonl" in B1kSource(root).metadata_files([])


def test_a_set_without_annotations_has_none_to_copy(root: Path) -> None:
    set_info(root, annotation_path=...)  # stock LeRobot v2.1 has no such key
    source = B1kSource(root)
    assert source.metadata_files(source.episodes) == [
        "meta/info.json", "meta/tasks.jsonl", "meta/episodes.jsonl",
    ]  # fmt: skip


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["info.json", "tasks.jsonl", "episodes.jsonl"])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    (root / "meta" / name).unlink()
    with pytest.raises(UserError, match=f"meta/{name}: not found"):
        B1kSource(root)


def test_a_folder_that_is_no_data_set_says_what_root_must_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--root must be the folder that holds meta/, data/"):
        B1kSource(tmp_path)


@pytest.mark.parametrize("name", ["info.json", "tasks.jsonl", "episodes.jsonl"])
@pytest.mark.parametrize("data", [b"{", b"\xff\xfe{}", b"{} x"])
def test_a_file_that_is_not_json_is_named(root: Path, name: str, data: bytes) -> None:
    (root / "meta" / name).write_bytes(data)
    with pytest.raises(UserError, match=f"meta/{name}: not JSON"):
        B1kSource(root)


def test_the_broken_line_is_named(root: Path) -> None:
    (root / "meta/episodes.jsonl").write_text("\n" + lines(EPISODES) + '{"episode_index": 5')
    with pytest.raises(UserError, match="meta/episodes.jsonl: not JSON lines: line 5: "):
        B1kSource(root)


def test_info_that_is_a_list_is_refused(root: Path) -> None:
    (root / "meta/info.json").write_text("[]")
    with pytest.raises(UserError, match="info.json: expected a JSON object"):
        B1kSource(root)


@pytest.mark.parametrize("version", ["v3.0", "v2.0", None])
def test_another_edition_is_refused_with_both_versions(root: Path, version: str | None) -> None:
    set_info(root, codebase_version=version)
    with pytest.raises(
        UserError, match=rf"codebase_version is {version!r}, expected 'v2.1' \(the 2025 edition\)"
    ):
        B1kSource(root)


@pytest.mark.parametrize(
    "changes",
    [
        {"features": ...},
        {"fps": ...},
        {"fps": "fast"},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"fps": 0},
        {"fps": -30},
        {"chunks_size": ...},
        {"chunks_size": 0},
        {"video_path": ...},
        {"video_path": "{nothing}.mp4"},
        {"video_path": "{}.mp4"},
        {"video_path": "{episode_index.x}.mp4"},
        {"features": None},
    ],
    ids=str,
)
def test_info_that_cannot_be_used_is_refused(root: Path, changes: dict[str, Any]) -> None:
    set_info(root, **changes)
    with pytest.raises(UserError, match="b1k/meta: not the metadata of a LeRobot v2.1 data set"):
        B1kSource(root)


@pytest.mark.parametrize("template", ["data_path", "video_path"])
@pytest.mark.parametrize("path", ["/etc/{episode_index}", "../{episode_index}.mp4"])
def test_a_template_that_leaves_the_root_is_refused(root: Path, template: str, path: str) -> None:
    set_info(root, **{template: path})
    with pytest.raises(
        UserError, match=f"info.json: {template} .*: expected a relative path without '..'"
    ):
        B1kSource(root)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"episode_index": "x", "tasks": ["a"], "length": 5},
        {"episode_index": 1, "tasks": [], "length": 5},
        {"episode_index": 1, "tasks": ["a"]},
        {"episode_index": 1, "tasks": ["a"], "length": None},
        [1, 2],
        7,
    ],
    ids=str,
)
def test_an_episode_s_row_that_cannot_be_used_is_refused(root: Path, row: Any) -> None:
    (root / "meta/episodes.jsonl").write_text(lines([*EPISODES, row]))
    with pytest.raises(UserError, match="b1k/meta: not the metadata of a LeRobot v2.1 data set"):
        B1kSource(root)


def test_an_id_that_stands_twice_is_refused(root: Path) -> None:
    (root / "meta/episodes.jsonl").write_text(lines([*EPISODES, EPISODES[0], EPISODES[1]]))
    with pytest.raises(UserError, match="episodes.jsonl: 2 episode ids stand twice: 40, 490010"):
        B1kSource(root)


def test_no_camera_or_no_episode_is_refused(root: Path) -> None:
    (root / "meta/episodes.jsonl").write_text("")
    with pytest.raises(UserError, match="2 rgb cameras and 0 episodes, expected at least one"):
        B1kSource(root)
    (root / "meta/episodes.jsonl").write_text(lines(EPISODES))
    set_info(root, features={"action": {}})
    with pytest.raises(UserError, match="0 rgb cameras and 3 episodes, expected at least one"):
        B1kSource(root)
