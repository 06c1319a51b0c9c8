"""Texts that stand by the raw ids of the 2026 edition are found by its metadata."""

import pickle
import shutil
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.texts import output_with_texts
from train_shards.episode_names import NamesInMetadata
from train_shards.errors import DataError
from train_shards.frame_texts import FrameTexts
from train_shards.metadata_files import MetadataFiles

RAW_NAME = "task-0000/episode_00000990"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Episode 10's texts stand under raw id 990; episode 20 has no annotation, 70010 a lost one."""
    output_with_texts(tmp_path)
    meta = tmp_path / "meta"
    (meta / "episodes.jsonl").unlink()
    (meta / "annotations/task-0000/episode_00000020.json").unlink()
    for folder, suffix in (("annotations", ".json"), ("orchestrators", "")):
        old = meta / folder / f"task-0000/episode_00000010{suffix}"
        old.rename(meta / folder / f"{RAW_NAME}{suffix}")
    rows = {0: [(10, f"annotations/{RAW_NAME}.json"), (20, None)]}
    rows[7] = [(70010, "annotations/task-0007/episode_00070010.json")]
    for task, own in rows.items():
        path = meta / f"episodes/chunk-{task:03d}/file-000.parquet"
        path.parent.mkdir(parents=True)
        ids, paths = zip(*own, strict=True)
        columns = {"episode_index": ids, "annotation_path": pa.array(paths, pa.string())}
        pq.write_table(pa.table(columns), path)
    return tmp_path


def texts(out: Path, *, by_raw_id: bool = True) -> FrameTexts:
    return FrameTexts(
        MetadataFiles(out),
        "meta/",
        level=1,
        subtask_source="annotations_skill",
        templates_path=out / "meta/templates.json",
        names_path=out / "meta/names.json",
        by_raw_id=by_raw_id,
    )


def test_texts_are_those_of_the_raw_id(out: Path) -> None:
    found = texts(out)
    assert found.at(10, 0, 0, "sentence") == ("move to", "move to the drawer")
    assert found.at(10, 0, 5, "sentence")[0] == "open drawer"
    assert found.at(20, 0, 1, "sentence") == ("sentence", "sentence")
    assert found.at(70010, 7, 1, "sentence") == ("sentence", "sentence")


def test_by_their_own_ids_they_would_not_be_found(out: Path) -> None:
    by_id = texts(out, by_raw_id=False)
    assert by_id.at(10, 0, 0, "sentence") == ("sentence", "sentence")


def test_names_are_read_again_after_pickling(out: Path) -> None:
    names = NamesInMetadata(MetadataFiles(out))
    assert names(10, 0) == RAW_NAME
    copied = pickle.loads(pickle.dumps(names))
    shutil.rmtree(out / "meta/episodes/chunk-007")
    assert copied(10, 0) == RAW_NAME
    with pytest.raises(DataError, match="meta/episodes: no row of episode 70010 of task 7"):
        copied(70010, 7)


def test_what_is_no_such_table_is_told(out: Path) -> None:
    path = out / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["annotation_path"]), path)
    with pytest.raises(DataError, match="no column 'annotation_path'"):
        NamesInMetadata(MetadataFiles(out))(10, 0)
    path.write_bytes(b"not parquet")
    with pytest.raises(DataError, match=r"file-000\.parquet: not a parquet file"):
        NamesInMetadata(MetadataFiles(out))(10, 0)


def test_a_url_is_asked_for_the_tables_of_a_task(out: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(out / "meta"), "/names/meta", recursive=True)
    try:
        (out / "meta").rename(out / "gone")
        names = NamesInMetadata(MetadataFiles("memory://names"))
        assert (names(10, 0), names(20, 0)) == (RAW_NAME, None)
        with pytest.raises(DataError, match="no row of episode 30 of task 3"):
            names(30, 3)
    finally:
        memory.rm("/names", recursive=True)
