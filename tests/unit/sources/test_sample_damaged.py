"""Each planted fault is in the files: told by ffprobe, pyarrow and json, not by our readers."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predecode.sources import sample_damaged
from predecode.sources.sample_damaged import make_damaged_sample
from tests.support.damaged import (
    FINDINGS_2025,
    FINDINGS_2026,
    QUARANTINED_2025,
    QUARANTINED_2026,
    copying,
)
from tests.support.edition_2026 import HEAD, LEFT
from tests.support.jobs import fingerprint
from train_shards.errors import UserError

pytestmark = pytest.mark.slow

CAMERAS = ("head", "left_wrist", "right_wrist")


def path_of(root: Path, episode: int, kind: str, camera: str = "") -> Path:
    task, name = f"task-{episode // 10000:04d}", f"episode_{episode:08d}"
    if kind == "video":
        return root / f"videos/{task}/observation.images.rgb.{camera}/{name}.mp4"
    folder, ending = {
        "table": ("data", "parquet"),
        "annotation": ("annotations", "json"),
        "metadata": ("meta/episodes", "json"),
    }[kind]
    return root / folder / task / f"{name}.{ending}"


def lengths_of(root: Path) -> dict[int, int]:
    rows = [json.loads(line) for line in (root / "meta/episodes.jsonl").read_text().splitlines()]
    return {row["episode_index"]: row["length"] for row in rows}


def num_packets(path: Path) -> int | None:
    """What ffprobe counts; None where it cannot open the file."""
    words = ["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0"]
    done = subprocess.run(
        [*words, "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return int(done.stdout) if done.stdout.strip() else None


def test_videos_are_longer_shorter_missing_and_cut(damaged_root: Path) -> None:
    lengths = lengths_of(damaged_root)
    wrong = {(20, "head"): 1, (30, "left_wrist"): -1} | {(60, camera): 1 for camera in CAMERAS}
    for episode in (10, 20, 30, 60, 490010):
        for camera in CAMERAS:
            expected = lengths[episode] + wrong.get((episode, camera), 0)
            assert num_packets(path_of(damaged_root, episode, "video", camera)) == expected
    assert not path_of(damaged_root, 40, "video", "right_wrist").exists()
    assert num_packets(path_of(damaged_root, 50, "video", "left_wrist")) is None
    cut = path_of(damaged_root, 490030, "video", "head")
    assert 0 < (num_packets(cut) or 0) < lengths[490030]


def test_nothing_else_is_wrong_with_files(damaged_root: Path) -> None:
    """Every other video is as long as its episode, every other table too."""
    lengths = lengths_of(damaged_root)
    assert len(lengths) == 26
    sound = [episode for episode in lengths if episode not in QUARANTINED_2025]
    assert len(sound) == 15
    for episode in sound:
        counts = {num_packets(path_of(damaged_root, episode, "video", c)) for c in CAMERAS}
        assert counts == {lengths[episode]}
        table = pq.read_table(path_of(damaged_root, episode, "table"))
        times = [frame / 30 for frame in range(lengths[episode])]
        assert table["timestamp"].to_pylist() == times


def test_tables(damaged_root: Path) -> None:
    lengths = lengths_of(damaged_root)
    assert path_of(damaged_root, 70, "table").stat().st_size == 0
    assert pq.read_metadata(path_of(damaged_root, 80, "table")).num_rows == lengths[80] - 1
    swapped = pq.read_table(path_of(damaged_root, 90, "table"))
    times = swapped["timestamp"].to_pylist()
    assert times[10:14] == [10 / 30, 12 / 30, 11 / 30, 13 / 30]
    assert swapped["index"].to_pylist() == list(range(lengths[90]))
    types = {
        episode: pq.read_schema(path_of(damaged_root, episode, "table")) for episode in (90, 100)
    }
    assert types[90].field("timestamp").type == pa.float64()
    assert types[100].field("timestamp").type == pa.float32()
    doubles = pq.read_schema(path_of(damaged_root, 110, "table")).field("observation.state").type
    assert doubles == pa.list_(pa.field("element", pa.float64()))


def test_an_episode_without_files_still_has_its_line(damaged_root: Path) -> None:
    assert lengths_of(damaged_root)[120] == 27
    assert [p for p in damaged_root.rglob("episode_00000120*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("episode", "ranges", "meta_data"),
    [
        (10, [[0, 12], [12, 24], [24, 36]], [36, 0, 36]),
        (130, [[0, 9], [9, 18], [18, 27]], [27, 0, 27]),
        (140, [[0, 18], [22, 18], [18, 28]], [28, 0, 28]),
        (150, [[0, 9], [12, 18], [18, 28]], [28, 0, 28]),
        (160, [[0, 9], [9, 22], [19, 29]], [29, 0, 29]),
        (170, [[0, 9], [[9, 11], [13, 19]], [19, 29], [11, 13]], [29, 0, 29]),
        (180, [[0, 10], [10, 20], [20, 30]], [26, 0, 26]),
        (190, [[3, 10], [10, 20], [20, 30]], [30, 3, 30]),
        (200, [[0, 10], [10, 20], [20, 31]], [31, 0, 31]),
        (210, [[0, 10], [10, 20], [20, 27]], [27, 0, 27]),
    ],
)
def test_annotations(
    damaged_root: Path, episode: int, ranges: list[Any], meta_data: list[int]
) -> None:
    value = json.loads(path_of(damaged_root, episode, "annotation").read_text())
    skills = value["skill_annotation"]
    assert [skill["frame_duration"] for skill in skills] == ranges
    meta = value["meta_data"]
    assert [meta["task_duration"], *meta["valid_duration"]] == meta_data
    texts = [skill["skill_description"] for skill in skills[:3]]
    assert texts == [["move to"], [None] if episode == 130 else ["pick up from"], ["press"]]
    has_memory = ["memory_prefix" in entry for entry in (*skills, *value["primitive_annotation"])]
    assert set(has_memory) == {episode != 200}


def test_annotations_came_for_one_task_only(damaged_root: Path) -> None:
    annotated = {path.parent.name for path in damaged_root.glob("annotations/*/*.json")}
    assert annotated == {"task-0000"}
    assert not path_of(damaged_root, 220, "annotation").exists()
    assert (damaged_root / "orchestrators/task-0000/episode_00000010").is_dir()


def test_copied_metadata_and_their_sum(damaged_root: Path) -> None:
    copies = [path_of(damaged_root, e, "metadata").read_bytes() for e in (490010, 490020)]
    assert copies[0] == copies[1]
    lengths = lengths_of(damaged_root)
    assert json.loads(copies[0])["num_samples"] == lengths[490010] != lengths[490020]
    info = json.loads((damaged_root / "meta/info.json").read_text())
    without = sum(lengths.values()) - lengths[120]  # whose JSON is gone, too
    assert info["total_frames"] == without + lengths[490010] - lengths[490020]


def test_what_is_planted_is_printed(damaged_root: Path) -> None:
    """Also that the tables in the code name all and only what these tests know of."""
    lines = (damaged_root.parent / "planted.txt").read_text().splitlines()
    *planted, last = lines
    assert "26 episodes" in last
    named = {line.split(":")[0].removeprefix("planted in ") for line in planted}
    known = {episode for episode in (*QUARANTINED_2025, *FINDINGS_2025) if episode}
    tolerated = {110, 170, 200}  # nothing is said of them
    assert named == {f"ep{episode:08d}" for episode in known | tolerated} | {"the set"}
    for episode, (camera, problem, *_) in QUARANTINED_2025.items():
        (line,) = [line for line in planted if f"ep{episode:08d}" in line]
        clause = f"camera {camera}, {problem}" if camera else problem
        assert f"quarantined ({clause})" in line


def rows_of_2026(root: Path) -> dict[int, dict[str, Any]]:
    paths = sorted(root.glob("meta/episodes/*/*.parquet"))
    return {row["episode_index"]: row for p in paths for row in pq.read_table(p).to_pylist()}


def test_shared_files_and_what_is_said_of_them(damaged_root_2026: Path, root_2026: Path) -> None:
    root = damaged_root_2026
    rows, sound = rows_of_2026(root), rows_of_2026(root_2026)
    first = f"videos/{HEAD}/from_timestamp"
    shifts = [round((rows[e][first] - sound[e][first]) * 30, 3) for e in range(7)]
    assert shifts == [0.5, 0, -4, 0, 0, 0, 0]
    table = pq.read_table(root / "data/chunk-000/file-001.parquet")
    assert table["episode_index"].to_pylist() == [3] * 77 + [2] * 43
    assert table.schema == pq.read_schema(root_2026 / "data/chunk-000/file-001.parquet")
    assert num_packets(root / f"videos/{LEFT}/chunk-049/file-000.mp4") == 531 + 25
    assert rows[6]["raw_episode_id"] == 500010
    assert rows[6]["annotation_path"] == "annotations/task-0000/episode_00000050.json"
    skills = json.loads((root / "annotations/task-0049/episode_00490030.json").read_text())
    ranges = [skill["frame_duration"] for skill in skills["skill_annotation"]]
    assert ranges == [[12, 260], [263, 522]]
    before, after = fingerprint(root_2026), fingerprint(root)
    assert {path for path in after if after[path] != before.get(path)} == {
        "annotations/task-0049/episode_00490030.json",
        "data/chunk-000/file-001.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/episodes/chunk-050/file-000.parquet",
        f"videos/{LEFT}/chunk-049/file-000.mp4",
    }
    assert set(before) == set(after)


def test_the_same_damage_twice_gives_the_same_bytes(
    damaged_root_2026: Path, root_2026: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_damaged, "build_sample_2026", copying(root_2026))
    made = make_damaged_sample(tmp_path / "again", edition="2026")
    assert fingerprint(tmp_path / "again") == fingerprint(damaged_root_2026)
    assert {case.episode_index for case in made.cases} == set(FINDINGS_2026)
    assert {c.episode_index for c in made.cases if c.problem} == set(QUARANTINED_2026)


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--damaged with --edition rft: expected 2025 or 2026"):
        make_damaged_sample(tmp_path / "x", edition="rft")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(UserError, match="the folder is not empty"):
        make_damaged_sample(tmp_path / "full")
