"""Shared files of the 2026 edition: opened once, and exact beyond 1,024 s."""

import functools
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import predecode.sources.tables
import predecode.video.packets
from predecode.online import OnlineDataset
from predecode.sources.barcode import Identity
from predecode.sources.registry import open_source
from predecode.video.packets import FrameTable
from predecode.video.pyav import PyavDecoder
from tests.support.edition_2026 import CAMERAS, EPISODES, HEAD, LEFT, RIGHT, identities, is_itself
from tests.support.jobs import run_here
from train_shards.dataset import ShardDataset

pytestmark = pytest.mark.slow


# --- cost: a file is opened once ------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    """Counts of what is read and opened, by the file's path in the source."""
    counts: dict[str, Counter[str]] = {
        kind: Counter() for kind in ("tables", "decoders", "columns", "ids")
    }

    def name(path: Path) -> str:
        return "/".join(path.parts[-3:])

    def counted(real: Callable[..., Any], kind: str) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(path: Path, *arguments: Any, **named: Any) -> Any:
            is_ids = kind == "columns" and arguments[0] == ("episode_index",)
            counts["ids" if is_ids else kind][name(path)] += 1
            return real(path, *arguments, **named)

        return call

    class CountedDecoder(PyavDecoder):
        def __init__(self, path: Path, table: FrameTable | None = None) -> None:
            counts["decoders"][name(path)] += 1
            super().__init__(path, table)

    packets, tables = predecode.video.packets, predecode.sources.tables
    monkeypatch.setattr(packets, "read_frame_table", counted(packets.read_frame_table, "tables"))
    monkeypatch.setattr(tables, "_read_columns", counted(tables._read_columns, "columns"))
    monkeypatch.setattr("predecode.video.backends.PyavDecoder", CountedDecoder)
    for cache in (packets._kept_table, tables._kept_columns, tables._kept_ids):
        cache.cache_clear()
    return counts


VIDEOS_OF_TASK_0 = {
    f"{HEAD}/chunk-000/file-000.mp4": 1,
    f"{HEAD}/chunk-000/file-001.mp4": 1,
    f"{HEAD}/chunk-000/file-002.mp4": 1,
    f"{LEFT}/chunk-000/file-000.mp4": 1,
    f"{LEFT}/chunk-000/file-001.mp4": 1,
    f"{RIGHT}/chunk-000/file-000.mp4": 1,
}
TABLES_OF_TASK_0 = {
    "data/chunk-000/file-000.parquet": 1,
    "data/chunk-000/file-001.parquet": 1,
}


def test_a_shared_file_is_opened_once_in_a_task(
    root_2026: Path, tmp_path: Path, opened: dict[str, Counter[str]]
) -> None:
    """Four episodes in one task, whose six videos and two tables they share."""
    run_here(root_2026, tmp_path, tasks="0", size="64", stride=20)
    assert opened["decoders"] == VIDEOS_OF_TASK_0
    assert opened["tables"] == VIDEOS_OF_TASK_0, "source check and task together"
    assert opened["ids"] == TABLES_OF_TASK_0
    twice = dict.fromkeys(TABLES_OF_TASK_0, 2)  # times for the shard, all for the table
    assert opened["columns"] == twice


def test_a_shared_file_is_opened_once_on_line(
    root_2026: Path, opened: dict[str, Counter[str]]
) -> None:
    dataset = OnlineDataset(root_2026, size="64", stride=20, tasks=[0], only={0, 1, 2, 3})
    assert opened["tables"] == VIDEOS_OF_TASK_0
    items = [dataset[position] for position in range(len(dataset))]
    assert len(items) == 4 + 5 + 3 + 4
    for item in items:
        assert is_itself(item)
    assert opened["tables"] == opened["decoders"] == VIDEOS_OF_TASK_0
    assert opened["columns"] == TABLES_OF_TASK_0


def test_a_file_that_changed_is_read_again(own_root_2026: Path, tmp_path: Path) -> None:
    before = run_here(own_root_2026, tmp_path / "a", episodes="00000003", size="64", stride=20)
    video = own_root_2026 / f"videos/{HEAD}/chunk-000/file-002.mp4"
    video.write_bytes((own_root_2026 / f"videos/{HEAD}/chunk-000/file-000.mp4").read_bytes())
    after = run_here(own_root_2026, tmp_path / "b", episodes="00000003", size="64", stride=20)
    assert not before.faults
    assert after.faults[3].problem == "pictures disagree with the frames of the episode"


# --- beyond 1,024 s -------------------------------------------------------------------------------


def test_frames_beyond_1024_s_are_the_right_ones(own_root_2026: Path, tmp_path: Path) -> None:
    """Where the step of float32 seconds exceeds LeRobot's tolerance; a file of 20 minutes.

    Episode 0 is made of 600 copies of its file, one after the other and not encoded again, in
    every camera; episode 1 follows, as the file holds it.
    """
    num_copies, length = 600, 61
    filler = num_copies * length
    for key in (HEAD, LEFT, RIGHT):
        folder = own_root_2026 / f"videos/{key}/chunk-000"
        parts = {}
        for camera_file, first, count, name in (
            (folder / "file-000.mp4", 0, length, "filler"),
            (folder / ("file-001.mp4" if key == HEAD else "file-000.mp4"),
             0 if key == HEAD else length, 100, "wanted"),
        ):  # fmt: skip
            parts[name] = tmp_path / f"{key}-{name}.hevc"
            cut_stream(camera_file, first, count, parts[name])
        stream = tmp_path / f"{key}.hevc"
        stream.write_bytes(parts["filler"].read_bytes() * num_copies + parts["wanted"].read_bytes())
        target = folder / "file-000.mp4"
        words = ["ffmpeg", "-v", "error", "-y", "-r", "30", "-i", stream, "-c", "copy", target]
        subprocess.run(list(map(str, words)), check=True)
    set_rows(own_root_2026, filler)
    run_here(own_root_2026, tmp_path / "out", episodes="00000001", codec="raw", size="64")
    stored = ShardDataset(tmp_path / "out")
    online = OnlineDataset(own_root_2026, only={1}, size="64")
    assert len(stored) == len(online) == 100
    for frame in (99, 0, 1, 7, 8, 50, 51, 98):
        expected = {Identity(1, frame, camera) for camera in CAMERAS}
        assert identities(stored[frame]) == identities(online[frame]) == expected
    start = open_source("b1k", own_root_2026).episodes[1].videos["head"].start
    assert start / 30 == 1220


def cut_stream(path: Path, first: int, count: int, target: Path) -> None:
    """Writes the packets of pictures ``[first, first + count)`` as a bare stream, not encoded."""
    select = f"between(n\\,{first}\\,{first + count - 1})"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", str(path), "-c", "copy",
         "-bsf:v", f"hevc_mp4toannexb,noise=drop=not({select})", "-f", "hevc", str(target)],
        check=True,
    )  # fmt: skip


def set_rows(root: Path, length: int) -> None:
    """Makes episode 0 ``length`` frames long, alone with episode 1 in every file."""
    rows = pq.read_table(root / EPISODES).to_pylist()[:2]
    rows[0] |= {"length": length, "dataset_to_index": length}
    rows[1] |= {"dataset_from_index": length, "dataset_to_index": length + 100}
    for key in (HEAD, LEFT, RIGHT):
        rows[0][f"videos/{key}/to_timestamp"] = length / 30
        rows[1] |= {
            f"videos/{key}/file_index": 0,
            f"videos/{key}/from_timestamp": length / 30,
            f"videos/{key}/to_timestamp": (length + 100) / 30,
        }
    pq.write_table(pa.Table.from_pylist(rows), root / EPISODES)
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    filler = table.slice(0, 1).take(pa.array(np.zeros(length, np.int64)))
    pq.write_table(
        pa.concat_tables([filler, table.slice(61)]), root / "data/chunk-000/file-000.parquet"
    )
