"""Copies of metadata without what they say of dropped episodes."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predecode.errors import DataError
from predecode.metadata_copies import prune_metadata, without_episodes

LINES = b'{"episode_index": 10, "length": 1}\n{"episode_index": 20}\n\n{"task_index": 20}\n'


def parquet(rows: list[dict[str, object]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def test_lines_of_an_episode_go_and_the_others_stay_to_the_byte() -> None:
    assert without_episodes("meta/episodes.jsonl", LINES, {20}) == (
        b'{"episode_index": 10, "length": 1}\n\n{"task_index": 20}\n'
    )
    assert without_episodes("meta/episodes.jsonl", LINES, {30}) == LINES
    assert without_episodes("meta/episodes.jsonl", LINES, set()) == LINES


def test_rows_of_an_episode_go() -> None:
    data = parquet([{"episode_index": n, "length": 10 * n} for n in (1, 2, 3)])
    left = pq.read_table(io.BytesIO(without_episodes("meta/e.parquet", data, {2, 9})))
    assert left.to_pylist() == [
        {"episode_index": 1, "length": 10}, {"episode_index": 3, "length": 30},
    ]  # fmt: skip
    assert without_episodes("meta/e.parquet", data, {9}) == data
    tasks = parquet([{"task_index": 2}])
    assert without_episodes("meta/tasks.parquet", tasks, {2}) == tasks


@pytest.mark.parametrize("name", ["episodes.jsonl", "episodes.parquet"])
def test_what_cannot_be_read_is_told(name: str) -> None:
    with pytest.raises(DataError, match=f"meta/{name}: cannot be freed of episodes"):
        without_episodes(f"meta/{name}", b"{broken", {1})


def test_files_go_by_their_name_and_empty_folders_with_them(tmp_path: Path) -> None:
    gone = [
        "annotations/task-0000/episode_00000020.json",
        "orchestrators/task-0000/episode_00000020/event_0.json",
        "subtasks/task-0001/episode_00000020.json",
    ]
    kept = ["annotations/task-0000/episode_00000200.json", "info.json", "task_00000020.json"]
    for name in [*gone, *kept]:
        (tmp_path / "meta" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "meta" / name).write_text("{}")
    prune_metadata(tmp_path, {20})
    left = [p.relative_to(tmp_path / "meta").as_posix() for p in (tmp_path / "meta").rglob("*")]
    assert sorted(left) == sorted([*kept, "annotations", "annotations/task-0000"])


def test_where_rows_name_files_the_names_own_numbers_do_not_count(tmp_path: Path) -> None:
    """The 2026 edition: dense ids, files by raw ids."""
    rows: list[dict[str, object]] = [
        {"episode_index": 0, "annotation_path": "annotations/task-0000/episode_00000020.json"},
        {"episode_index": 20, "annotation_path": "annotations/task-0000/episode_00490010.json"},
        {"episode_index": 21, "annotation_path": None},
    ]
    table = tmp_path / "meta/episodes/chunk-000/file-000.parquet"
    table.parent.mkdir(parents=True)
    table.write_bytes(parquet(rows))
    for row in rows[:2]:
        path = tmp_path / "meta" / str(row["annotation_path"])
        stem = f"task-0000/{path.stem}"
        for name in (f"annotations/{stem}", f"orchestrators/{stem}/event_0_0", f"subtasks/{stem}"):
            text = tmp_path / f"meta/{name}.json"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text(json.dumps(row))
    for _ in range(2):  # the second time as after a kill
        prune_metadata(tmp_path, {20, 21})
        left = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / "meta").rglob("*.json")}
        assert left == {
            "meta/annotations/task-0000/episode_00000020.json",
            "meta/orchestrators/task-0000/episode_00000020/event_0_0.json",
            "meta/subtasks/task-0000/episode_00000020.json",
        }
        assert pq.read_table(table).to_pylist() == rows[:1]


def test_a_row_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    row: dict[str, object] = {"episode_index": 1, "annotation_path": "../../important"}
    (tmp_path / "meta/episodes.parquet").write_bytes(parquet([row]))
    with pytest.raises(DataError, match=r"expected a relative path without '\.\.'"):
        prune_metadata(tmp_path, {1})
