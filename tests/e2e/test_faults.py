"""A broken input costs its own episode: quarantined with the reason, the others finished."""

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from predecode.errors import InfraError
from predecode.video.packets import read_frame_table
from tests.support.jobs import command_here, retry_here, run_here, structure_here, verify_here
from train_shards.dataset import ShardDataset
from train_shards.manifest import load_manifest

pytestmark = [pytest.mark.slow, pytest.mark.faults]

VIDEO = "videos/task-0000/observation.images.rgb.{}/episode_00000020.mp4"
TABLE = "data/task-0000/episode_00000020.parquet"
LENGTHS = {10: 120, 20: 250, 40: 751}


def truncate(root: Path) -> None:
    path = root / VIDEO.format("left_wrist")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove_camera(root: Path) -> None:
    (root / VIDEO.format("right_wrist")).unlink()


def empty_table(root: Path) -> None:
    (root / TABLE).write_bytes(b"")


def shorter_table(root: Path) -> None:
    pq.write_table(pq.read_table(root / TABLE).slice(0, 249), root / TABLE)


def shorter_video(root: Path) -> None:
    path = root / VIDEO.format("head")
    cut = path.with_suffix(".cut.mp4")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "248", "-c:v", "libx265",
         "-x265-params", "log-level=none", str(cut)],
        check=True,
    )  # fmt: skip
    cut.replace(path)


def other_frame_rate(root: Path) -> None:
    path = root / VIDEO.format("head")
    cut = path.with_suffix(".cut.mp4")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-r", "25", "-i", str(path), "-c:v", "libx265",
         "-x265-params", "log-level=none", "-r", "25", str(cut)],
        check=True,
    )  # fmt: skip
    cut.replace(path)


def flip_bytes_in_a_picture(root: Path) -> None:
    """Damages one coded picture in the middle of the file; the container stays whole.

    All of it, slice header included: HEVC without picture hashes has no redundancy inside its
    entropy-coded data, so that damage there alone may decode without any error, in every reader.
    """
    path = root / VIDEO.format("head")
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pos,size",
         "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    # csv columns come in the order of the packet's own fields: size, then position
    packets = [tuple(int(v) for v in line.split(",")[:2]) for line in probe.split()]
    size, position = max(packets[100:200])
    num_length_bytes = 4  # of the NAL unit, which is the container's
    data = bytearray(path.read_bytes())
    for offset in range(position + num_length_bytes, position + size):
        data[offset] ^= 0xFF
    path.write_bytes(data)


def swap_timestamps(root: Path) -> None:
    table = pq.read_table(root / TABLE)
    order = [*range(100), 101, 100, *range(102, 250)]
    pq.write_table(table.take(order), root / TABLE)


FAULTS: list[tuple[Callable[[Path], None], str | None, str, str, str]] = [
    (truncate, "left_wrist", VIDEO.format("left_wrist"), "", ""),
    (remove_camera, "right_wrist", VIDEO.format("right_wrist"), "a video", "No such file"),
    (empty_table, None, TABLE, "a parquet file", "0 bytes"),
    (shorter_table, None, TABLE, "250 rows", "249 rows"),
    (shorter_video, "head", VIDEO.format("head"), "250 pictures", "248 pictures"),
    (other_frame_rate, "head", VIDEO.format("head"), "426.667 ticks", "512 ticks"),
    (flip_bytes_in_a_picture, "head", VIDEO.format("head"), "", ""),
    (swap_timestamps, None, TABLE, "3.333333 s", "3.366667 s"),
]


@pytest.mark.parametrize(
    ("breaks", "camera", "path", "expected", "got"), FAULTS, ids=[f[0].__name__ for f in FAULTS]
)
def test_a_fault_costs_its_episode_and_is_repaired_by_retry(
    b1k_root: Path,
    own_root: Path,
    tmp_path: Path,
    breaks: Callable[[Path], None],
    camera: str | None,
    path: str,
    expected: str,
    got: str,
) -> None:
    breaks(own_root)
    out = tmp_path / "out"
    outcome = run_here(own_root, out, tasks="0", size="64")
    assert list(outcome.faults) == [20]
    assert not outcome.manifest.complete
    assert outcome.manifest.totals.num_samples == 120 + 751

    text = (out / ".predecode/quarantine.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == 1
    assert (rows[0]["episode_index"], rows[0]["camera"], rows[0]["path"]) == (20, camera, path)
    assert expected in rows[0]["expected"]
    assert got in rows[0]["got"]
    assert rows[0]["retry"] == f"predecode retry {out} --episodes 00000020"

    dataset = ShardDataset(out)
    assert {int(dataset[i]["episode_index"]) for i in range(0, 871, 10)} == {10, 40}
    assert len(dataset) == 871
    assert structure_here(own_root, out) == []

    # The same command again changes nothing, repaired or not: only retry tries again.
    for folder in ("videos", "data"):
        shutil.rmtree(own_root / folder)
        shutil.copytree(b1k_root / folder, own_root / folder)
    again = run_here(own_root, out, tasks="0", size="64")
    assert (again.num_new_images, list(again.faults)) == (0, [20])

    repaired = retry_here(own_root, out, {20})
    assert repaired.manifest.complete
    assert len(repaired.manifest.generations) == 2
    dataset = ShardDataset(out)
    assert len(dataset) == 120 + 250 + 751
    assert [int(dataset[i]["episode_index"]) for i in (870, 871, 1120)] == [40, 20, 20]
    assert verify_here(own_root, out, num_random=20).findings == []


def test_flipped_bytes_pass_the_source_check_and_leave_masked_samples(
    own_root: Path, tmp_path: Path
) -> None:
    flip_bytes_in_a_picture(own_root)
    assert len(read_frame_table(own_root / VIDEO.format("head")).pts) == 250
    out = tmp_path / "out"
    run_here(own_root, out, tasks="0", size="64")
    entry = load_manifest(out).generations[0].indexes["train"]
    assert (entry.num_samples, entry.num_live) == (1121, 871)
    assert load_manifest(out).missing[0].ranges == [(0, 250)]


def test_exit_status_counts_failures_against_the_budget(own_root: Path, tmp_path: Path) -> None:
    remove_camera(own_root)
    words: list[str | Path] = ["run", "--src", "b1k", "--root", own_root, "--out", tmp_path / "out",
             "--tasks", "0", "--episodes", "0-1", "--size", "64"]  # fmt: skip
    strict = command_here(*words)
    assert strict.returncode == 1
    assert "quarantined: episode 00000020, camera right_wrist" in strict.stderr
    assert f"predecode retry {tmp_path}/out --episodes 00000020" in strict.stderr
    assert "INCOMPLETE" in strict.stdout
    lenient = command_here(*words, "--max-failures", "1")
    assert lenient.returncode == 0
    assert "nothing to do" in lenient.stdout


def test_every_episode_broken_still_says_why(own_root: Path, tmp_path: Path) -> None:
    for path in (own_root / "data").rglob("*.parquet"):
        path.write_bytes(b"")
    outcome = run_here(own_root, tmp_path / "out", tasks="0", size="64")
    assert sorted(outcome.faults) == [10, 20, 40]
    assert outcome.manifest.totals.num_samples == 0


def test_a_source_that_changes_after_planning_is_not_quarantined(
    own_root: Path, tmp_path: Path
) -> None:
    """A vanished mount or a replaced file stops the job; it blames no episode."""
    out = tmp_path / "out"
    run_here(own_root, out, tasks="0", size="64")
    for tar in (out / "data/train").glob("*.tar"):
        tar.unlink()
    path = own_root / VIDEO.format("head")
    path.write_bytes(path.read_bytes() + struct.pack(">I4s", 8, b"free"))
    with pytest.raises(InfraError, match="changed since the plan was made"):
        run_here(own_root, out, tasks="0", size="64")
