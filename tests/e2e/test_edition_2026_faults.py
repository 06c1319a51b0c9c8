"""Faults of shared files and of what the metadata say of them: quarantined, with the reason."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.edition_2026 import HEAD, LENGTHS, is_itself
from tests.support.jobs import retry_here, run_here, verify_here
from train_shards.dataset import ShardDataset

pytestmark = [pytest.mark.slow, pytest.mark.faults]


def change_row(root: Path, episode: int, **changes: Any) -> None:
    """Changes columns of an episode's metadata; ``__`` stands for ``/<head>/``."""
    path = next(
        p
        for p in root.glob("meta/episodes/*/*.parquet")
        if episode in pq.read_table(p)["episode_index"].to_pylist()
    )
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        if row["episode_index"] == episode:
            row |= {name.replace("__", f"/{HEAD}/"): value for name, value in changes.items()}
    pq.write_table(pa.Table.from_pylist(rows), path)


def shift(root: Path, episode: int, frames: int) -> None:
    """Moves the head camera's pictures of an episode, as its metadata say."""
    length, start = LENGTHS[episode], {1: 0, 2: 100, 5: 0}[episode] + frames
    times = {"videos__from_timestamp": start / 30, "videos__to_timestamp": (start + length) / 30}
    change_row(root, episode, **times)


def drop_row(root: Path, row: int, *, renumber: bool) -> None:
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    kept = table.take(pa.array(np.delete(np.arange(len(table)), row)))
    if renumber:  # another episode's row in its place
        kept = pa.concat_tables([kept, table.slice(len(table) - 1)])
    pq.write_table(kept, path)


def longer_last_file(root: Path) -> None:
    """The head camera's file of episodes 1 and 2 gets the pictures of episode 3 as well."""
    folder = root / f"videos/{HEAD}/chunk-000"
    listing = root / "list.txt"
    listing.write_text("".join(f"file '{folder}/file-00{n}.mp4'\n" for n in (1, 2)))
    words = ["ffmpeg", "-v", "error", "-f", "concat", "-safe", "0", "-i", str(listing)]
    subprocess.run([*words, "-c", "copy", str(folder / "longer.mp4")], check=True)
    (folder / "longer.mp4").rename(folder / "file-001.mp4")


def early_start(root: Path) -> None:
    longer_last_file(root)
    shift(root, 1, 1)
    shift(root, 2, 8)


def late_pictures(root: Path) -> None:
    """From episode 2 on, the pictures of the head camera's file come one frame later."""
    path = root / f"videos/{HEAD}/chunk-000/file-001.mp4"
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-c", "copy"]
    later = "setts=ts=if(gte(N\\,100)\\,TS+512\\,TS)"
    subprocess.run([*words, "-bsf:v", later, str(path.with_name("late.mp4"))], check=True)
    path.with_name("late.mp4").rename(path)


def cut_file(root: Path) -> None:
    path = root / f"videos/{HEAD}/chunk-000/file-001.mp4"
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-c", "copy", "-frames:v", "120"]
    subprocess.run([*words, str(path.with_name("cut.mp4"))], check=True)
    path.with_name("cut.mp4").rename(path)


FAULTS: dict[str, tuple[Callable[[Path], None], dict[int, str]]] = {
    "start between keyframes": (
        early_start,
        {
            1: "picture 1 of the file, the episode's first, is not a keyframe; expected a keyframe "
            "there, got one at picture 0 before it",
            2: "pictures disagree with the frames of the episode; expected 43 pictures, got 112",
        },
    ),
    "pictures at other times": (
        late_pictures,
        {
            2: "the episode's first, is not at its time; "
            "expected 3.333333 s after the file's first, got 3.366667 s"
        },
    ),
    "start inside another episode": (
        lambda root: shift(root, 2, -4),
        {1: "overlaps with another episode", 2: "overlaps with another episode"},
    ),
    "time of no frame": (
        lambda root: change_row(root, 2, videos__from_timestamp=3.35),
        {2: "a time in the metadata is no frame's"},
    ),
    "rows missing": (
        lambda root: drop_row(root, 70, renumber=False),
        {1: "rows disagree with the metadata; expected 100 rows, got 99"},
    ),
    "a row of another episode": (
        lambda root: drop_row(root, 5, renumber=True),
        {0: "expected 61 in [0, 61), got 60 in [0, 60)", 1: "got 101 in [60, 161)"},
    ),
    "more pictures than episodes": (
        longer_last_file,
        {2: "pictures disagree with the frames of the episode; expected 43 pictures, got 120"},
    ),
    "fewer pictures": (
        cut_file,
        {2: "pictures disagree with the frames of the episode; expected 43 pictures, got 20"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_quarantined_with_its_reason(
    own_root_2026: Path, tmp_path: Path, name: str
) -> None:
    damage, expected = FAULTS[name]
    damage(own_root_2026)
    outcome = run_here(own_root_2026, tmp_path / "out", tasks="0", size="64", stride=20)
    assert list(outcome.faults) == list(expected)
    for episode, text in expected.items():
        assert text in str(outcome.faults[episode])
    lines = (tmp_path / "out/.predecode/quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line)["episode_index"] for line in lines] == list(expected)
    dataset = ShardDataset(tmp_path / "out")
    assert {span.episode_index for span in dataset.spans()} == {0, 1, 2, 3} - set(expected)
    for position in range(len(dataset)):
        item = dataset[position]
        assert is_itself(item)


def test_repaired_metadata_let_an_episode_in(own_root_2026: Path, tmp_path: Path) -> None:
    shift(own_root_2026, 2, -4)
    first = run_here(own_root_2026, tmp_path / "out", tasks="0", size="64", stride=20)
    assert list(first.faults) == [1, 2]
    shift(own_root_2026, 2, 0)
    again = retry_here(own_root_2026, tmp_path / "out")
    assert (again.faults, again.manifest.complete) == ({}, True)
    assert verify_here(own_root_2026, tmp_path / "out").status == "proven"
