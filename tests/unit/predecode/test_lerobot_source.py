"""LeRobot sets of both layouts from metadata written by hand, without a video or a picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import UNSET

from predecode.config import make_settings
from predecode.errors import EpisodeError
from predecode.selection import select_episodes
from predecode.sources.episode import TableSpan, VideoSpan
from predecode.sources.lerobot import LerobotSource
from predecode.sources.registry import open_source
from predecode.sources.tables import check_frame_ids, read_rows
from tests.support.lerobot_v21 import INFO, SENTENCES, TOP, write_metadata, write_rows
from train_shards.errors import UserError

VIDEO: dict[str, Any] = {
    "dtype": "video", "shape": [96, 160, 3], "names": ["height", "width", "channel"],
}  # fmt: skip
IMAGE: dict[str, Any] = {"dtype": "image", "shape": [3, 96, 160], "names": None}
FEATURES: dict[str, dict[str, Any]] = {
    TOP: VIDEO,
    "observation.Side": IMAGE,
    "action": {"dtype": "float32", "shape": [2], "names": None},
}


def depth(**about: Any) -> dict[str, Any]:
    return {**VIDEO, **about}


def opened(root: Path, features: dict[str, Any] | None = None, **info: Any) -> LerobotSource:
    """A v2.1 set of three episodes, the second of two tasks."""
    tasks = [[0], [1, 0], [1]]
    write_metadata(root, [4, 5, 6], 10, features or FEATURES, tasks, **info)
    return LerobotSource(root)


def test_a_set_of_v21_has_files_for_each_episode(tmp_path: Path) -> None:
    source = opened(tmp_path / "set")
    assert source.cameras == {"s-uide-o": "observation.Side", "top": TOP}
    assert (source.kind, source.state_layout, source.left_out) == ("lerobot", "", {})
    first, second, third = source.episodes
    assert (first.task_index, first.task, first.num_frames) == (0, SENTENCES[0], 4)
    assert first.other_tasks is UNSET
    assert (second.task_index, second.other_tasks) == (0, ((1, SENTENCES[1]),))
    assert second.tasks == {0: SENTENCES[0], 1: SENTENCES[1]}
    table = "data/chunk-001/episode_000002.parquet"  # two episodes a chunk
    assert third.fps == (10, 1)
    assert third.table == TableSpan(path=table, keeps_types=True)
    assert third.videos == {
        "s-uide-o": VideoSpan(key="observation.Side", path=table, column="observation.Side"),
        "top": VideoSpan(key=TOP, path=f"videos/chunk-001/{TOP}/episode_000002.mp4"),
    }
    assert source.metadata_files(source.episodes) == [
        "meta/info.json", "meta/tasks.jsonl", "meta/episodes.jsonl",
    ]  # fmt: skip


def write_v3(root: Path, index_name: str = "__index_level_0__", **columns: Any) -> None:
    """Two episodes in one file, in the layout of v3.0; pandas names the index of tasks."""
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    paths = {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    info = {"codebase_version": "v3.0", "fps": 10, "features": FEATURES, **paths}
    (root / "meta/info.json").write_text(json.dumps(info))
    tasks = {"task_index": list(SENTENCES), index_name: list(SENTENCES.values())}
    pq.write_table(pa.table(tasks), root / "meta/tasks.parquet")
    rows = {
        "episode_index": [0, 1],
        "tasks": [[SENTENCES[7]], [SENTENCES[1], SENTENCES[0]]],
        "length": [4, 5],
        "dataset_from_index": [0, 4],
        "dataset_to_index": [4, 9],
        "data/chunk_index": [0, 0],
        "data/file_index": [0, 0],
        f"videos/{TOP}/chunk_index": [0, 0],
        f"videos/{TOP}/file_index": [0, 1],
        f"videos/{TOP}/from_timestamp": [0.0, 0.3],
        f"videos/{TOP}/to_timestamp": [0.4, 0.8],
    }
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pa.table(rows | columns), path)


@pytest.mark.parametrize("index_name", ["__index_level_0__", "task"])
def test_a_set_of_v3_has_episodes_that_share_files(tmp_path: Path, index_name: str) -> None:
    write_v3(tmp_path, index_name)
    first, second = LerobotSource(tmp_path).episodes
    assert (first.tasks, second.tasks) == (
        {7: SENTENCES[7]},
        {0: SENTENCES[0], 1: SENTENCES[1]},
    )
    table = "data/chunk-000/file-000.parquet"
    assert first.table == TableSpan(path=table, ends_file=False, keeps_types=True)
    assert second.table == TableSpan(path=table, start=4, ends_file=True, keeps_types=True)
    assert second.videos == {
        "s-uide-o": VideoSpan(
            key="observation.Side", path=table, start=4, ends_file=True, column="observation.Side"
        ),
        "top": VideoSpan(
            key=TOP, path=f"videos/{TOP}/chunk-000/file-001.mp4", start=3, ends_file=True
        ),
    }


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(1, (1, 1)), (29.97, (2997, 100)), (30000 / 1001, (30000, 1001)), (50.0, (50, 1))],
)
def test_frame_rates(tmp_path: Path, fps: float, expected: tuple[int, int]) -> None:
    write_metadata(tmp_path / "set", [3], fps, FEATURES)
    assert LerobotSource(tmp_path / "set").episodes[0].fps == expected


@pytest.mark.parametrize(
    ("feature", "why"),
    [
        (depth(info={"video.is_depth_map": True}), "is a depth map"),
        (depth(info={"is_depth_map": True}), "is a depth map"),
        (depth(video_info={"video.is_depth_map": True}), "is a depth map"),
        (depth(shape=[96, 160, 1]), r"has shape \[96, 160, 1\]"),
        (depth(shape=[3, 160, 1]), r"has shape \[3, 160, 1\]"),
        ({**IMAGE, "shape": [96, 160]}, r"has shape \[96, 160\]"),
        ({**IMAGE, "shape": [4, 96, 160]}, r"has shape \[4, 96, 160\]"),
    ],
)
def test_what_is_no_rgb_is_left_out_and_refused_if_asked_for(
    tmp_path: Path, feature: dict[str, Any], why: str
) -> None:
    key = "observation.images.top_depth"
    source = opened(tmp_path / "set", FEATURES | {key: feature})
    assert sorted(source.cameras) == ["s-uide-o", "top"]
    assert {*source.left_out} == {key, "top-ldepth"}
    for asked in source.left_out:
        with pytest.raises(UserError, match=f"--cameras {asked}: {key} {why}; --src lerobot"):
            make_settings(source, cameras=f"top,{asked}")
    assert make_settings(source, cameras=TOP).cameras == {"top": TOP}
    with pytest.raises(UserError, match=f"no feature is an rgb camera; {key} {why}"):
        opened(tmp_path / "alone", {key: feature})


def test_a_set_without_any_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no feature is an rgb camera\.$"):
        opened(tmp_path / "set", {"action": FEATURES["action"]})


def test_tasks_are_chosen_by_index_or_by_a_sentence_that_may_have_commas(tmp_path: Path) -> None:
    source = opened(tmp_path / "set")

    def chosen(words: str) -> list[int]:
        episodes = select_episodes(source.episodes, words, None, source.task_names)
        return [episode.episode_index for episode in episodes]

    # An episode of two tasks belongs to the first of them.
    assert chosen(SENTENCES[0]) == chosen("0") == [0, 1]
    assert chosen("rest") == [2]
    assert chosen(f"rest, {SENTENCES[0]}") == chosen(f"{SENTENCES[0]},1") == [0, 1, 2]
    with pytest.raises(UserError, match=r"--tasks rets: no such task. Did you mean 'rest'\?"):
        chosen("rets")
    with pytest.raises(UserError, match="no episode has task 7"):
        chosen(SENTENCES[7])


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("info.json", '{"codebase_version": "v1.6"}', "'v1.6', expected one of v2.0, v2.1, v3.0"),
        ("info.json", '{"codebase_version": "v2.1"}', "not the metadata of a LeRobot v2.1"),
        ("info.json", "[]", "expected a JSON object"),
        ("tasks.jsonl", '{"task": "a"}\n', "not the metadata .* KeyError"),
        ("tasks.jsonl", "{", "tasks.jsonl: not JSON lines: line 1"),
        ("episodes.jsonl", "", "2 rgb cameras and 0 episodes"),
        ("episodes.jsonl", '{"episode_index": 0, "length": 2, "tasks": ["x"]}\n', "KeyError"),
        ("episodes.jsonl", '{"episode_index": 0, "length": 2, "tasks": []}\n', "IndexError"),
        ("episodes.jsonl", '{"episode_index": 0, "length": "a", "tasks": []}\n', "ValueError"),
        (
            "episodes.jsonl",
            2 * f'{{"episode_index": 3, "length": 2, "tasks": ["{SENTENCES[0]}"]}}\n',
            "1 episode ids stand twice: 3",
        ),
    ],
)
def test_damaged_metadata_of_v21_are_refused(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    opened(tmp_path / "set")
    (tmp_path / "set/meta" / file).write_text(text)
    with pytest.raises(UserError, match=message):
        LerobotSource(tmp_path / "set")


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"fps": 0}, "fps 0, expected more than 0"),
        ({"data_path": "../{episode_index}.parquet"}, "expected a relative path without"),
        ({"data_path": "{episode}.parquet"}, "KeyError"),
        ({"video_path": None}, "video_path None, expected a text"),
        ({"chunks_size": 0}, "ZeroDivisionError"),
    ],
)
def test_damaged_info_is_refused(tmp_path: Path, info: dict[str, Any], message: str) -> None:
    write_metadata(tmp_path / "set", [3], 10, FEATURES)
    path = tmp_path / "set/meta/info.json"
    path.write_text(json.dumps({**INFO, "fps": 10, "features": FEATURES, **info}))
    with pytest.raises(UserError, match=message):
        LerobotSource(tmp_path / "set")


def test_damaged_metadata_of_v3_are_refused(tmp_path: Path) -> None:
    write_v3(tmp_path / "a", tasks=[["other"], [SENTENCES[0]]])
    with pytest.raises(UserError, match="LeRobot v3.0 data set: KeyError"):
        LerobotSource(tmp_path / "a")
    write_v3(tmp_path / "b")
    (tmp_path / "b/meta/tasks.parquet").write_bytes(b"x")
    with pytest.raises(UserError, match=r"tasks\.parquet: not a parquet file"):
        LerobotSource(tmp_path / "b")
    (tmp_path / "b/meta/tasks.parquet").unlink()
    with pytest.raises(UserError, match=r"tasks\.parquet: not found"):
        LerobotSource(tmp_path / "b")


def test_the_registry_knows_it_and_wants_a_root(tmp_path: Path) -> None:
    opened(tmp_path / "set")
    assert open_source("lerobot", tmp_path / "set").kind == "lerobot"
    with pytest.raises(UserError, match="--src lerobot: needs --root"):
        open_source("lerobot", None)


def test_rows_keep_their_types_and_leave_pictures_out(tmp_path: Path) -> None:
    source = opened(tmp_path / "set")
    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    write_rows(
        tmp_path / "set", 1, 4, 5, timestamp=np.arange(5) * 100, action=[[1.0, 2.0]] * 5,
        ints=[[1, 2]] * 5, side=pa.nulls(5, picture),
    )  # fmt: skip
    rows = read_rows(source.root, source.episodes[1], 5, None, task_info=False)
    assert {"action", "frame_index", "ints", "timestamp"} <= {*rows.column_names}
    assert "side" not in rows.column_names
    assert rows["timestamp"].to_pylist() == [0.0, 0.1, 0.2, 0.3, 0.4]  # from ms
    assert rows["action"].type == pa.list_(pa.float32(), 2)
    assert rows["ints"].type == pa.list_(pa.int64(), 2)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({}, None),
        ({"task_index": [0, 1, 1, 0, 1]}, None),
        ({"task_index": [0, 1, 1, 0, 7]}, "a task that is not the episode's; expected tasks 0, 1"),
        ({"frame_index": [0, 1, 3, 2, 4]}, "frame_index of row 2; expected 2, got 3"),
        ({"episode_index": [1, 1, 1, 1, 0]}, "episode_index of row 4; expected 1, got 0"),
        ({"frame_index": [0.0, 1, 2, 3, 4]}, "column frame_index; expected integers, got double"),
        ({"task_index": pa.nulls(5, pa.int64())}, "column task_index; expected integers"),
    ],
)
def test_rows_must_name_their_frames_and_tasks_of_the_episode(
    tmp_path: Path, columns: dict[str, Any], problem: str | None
) -> None:
    source = opened(tmp_path / "set")
    times_s = np.arange(5) / 10
    write_rows(tmp_path / "set", 1, 4, 5, timestamp=times_s, **columns)
    if problem is None:
        check_frame_ids(source.root, source.episodes[1])
        return
    with pytest.raises(EpisodeError, match=f"episode 00000001, data/chunk-000/.*{problem}"):
        check_frame_ids(source.root, source.episodes[1])
