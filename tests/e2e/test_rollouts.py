"""Rollouts: sound pictures and rows are stored, what is wrong with their metadata is told."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from predecode.sources.sample_rft import make_sample_rft
from tests.support.damaged import findings, survey_here
from tests.support.edition_2026 import is_itself
from tests.support.jobs import command, command_here, fingerprint, verify_here
from train_shards.behavior import BehaviorLeRobotDataset
from train_shards.dataset import ShardDataset

pytestmark = pytest.mark.slow

LENGTHS = {10: 60, 11: 45, 30: 251, 490010: 75, 490022: 52}
COPIES = {11: 10, 30: 10, 490022: 490010}
"""Episode -> the one whose JSON it carries."""
POSES = "observation.cam_rel_poses"


def test_the_set_has_the_faults_of_rollouts(rft_root: Path) -> None:
    info = json.loads((rft_root / "meta/info.json").read_text())
    videos = {k: f["info"] for k, f in info["features"].items() if f["dtype"] == "video"}
    assert len(videos) == 9
    assert {video["video.codec"] for video in videos.values()} == {"libx265"}
    folders = {path.parent.name for path in rft_root.glob("videos/*/*/*.mp4")}
    assert folders == {f"observation.images.rgb.{c}" for c in ("head", "left_wrist", "right_wrist")}
    assert info["total_frames"] == 60 + 60 + 60 + 75 + 75 != sum(LENGTHS.values())
    for episode, length in LENGTHS.items():
        name = f"task-{episode // 10000:04d}/episode_{episode:08d}"
        own = (rft_root / f"meta/episodes/{name}.json").read_bytes()
        original = COPIES.get(episode, episode)
        path = rft_root / f"meta/episodes/task-{original // 10000:04d}/episode_{original:08d}.json"
        assert own == path.read_bytes()
        assert json.loads(own)["num_samples"] == LENGTHS[original]
        table = pq.read_table(rft_root / f"data/{name}.parquet")
        assert table.num_rows == length
        assert POSES not in table.column_names
        assert table["observation.task_info"].to_pylist() == [[]] * length
        (skill,) = json.loads((rft_root / f"annotations/{name}.json").read_text())[
            "skill_annotation"
        ]
        assert skill["frame_duration"] == [0, length]


def test_the_videos_are_x264_with_the_header_in_front(rft_root: Path) -> None:
    for path in rft_root.glob("videos/*/*/episode_00000030.mp4"):
        entries = "stream=codec_name,pix_fmt,nb_read_packets"
        words = ["ffprobe", "-v", "error", "-count_packets", "-show_entries", entries]
        told = subprocess.run(
            [*words, "-of", "csv=p=0", str(path)], check=True, capture_output=True, text=True
        ).stdout
        assert told.strip() == "h264,yuv420p,251"
        data = path.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")
        # x264 writes its settings into the first picture.
        assert b"rc=crf" in data
        assert b"crf=23.0" in data
        assert b"subme=2" in data  # of the preset veryfast


def test_it_is_stored_whole_and_the_survey_tells_its_faults(
    rft_root: Path, rft_shards: Path
) -> None:
    dataset = ShardDataset(rft_shards)
    assert {s.episode_index: s.num_samples for s in dataset.spans()} == LENGTHS
    assert all(is_itself(dataset[position]) for position in range(0, len(dataset), 9))
    assert verify_here(rft_root, rft_shards, num_random=20).status == "proven"
    copied = ["duplicate-metadata", "episode-metadata"]
    survey = survey_here(rft_root)
    assert json.loads(survey)["status"] == "proven"
    assert '"expected": "total_frames 483"' in survey
    expected: dict[int | None, list[str]] = dict.fromkeys(COPIES, copied)
    assert findings(survey) == expected | {None: ["totals"]}


def test_items_lack_what_rollouts_lack(rft_root: Path, rft_shards: Path) -> None:
    plain, trained = ShardDataset(rft_shards)[0], BehaviorLeRobotDataset("r", shards=rft_shards)[0]
    for item in (plain, trained):
        assert not {POSES, "observation.task_info"} & set(item)
        assert item["observation.state"].shape == (256,)
    rows = pq.read_table(rft_root / "data/task-0000/episode_00000010.parquet")
    assert plain["action"].tobytes() == np.array(rows["action"][0].as_py(), np.float32).tobytes()


def test_through_the_command_line(rft_root: Path, tmp_path: Path) -> None:
    made = tmp_path / "rft"
    sample = command("sample", "--edition", "rft", "--out", made)
    assert (sample.returncode, "5 episodes, 483 frames" in sample.stdout) == (0, True)
    assert fingerprint(made) == fingerprint(rft_root)
    words = ("--size", "64", "--stride", "9", "--num-cpus", "2")
    run = command_here("run", "--src", "b1k", "--root", made, "--out", tmp_path / "out", *words)
    assert (run.returncode, "complete" in run.stdout) == (0, True), run.stderr
    assert "annotations:" not in run.stderr
    refused = command_here("sample", "--edition", "rft", "--damaged", "--out", tmp_path / "x")
    assert (refused.returncode, "expected 2025 or 2026" in refused.stderr) == (2, True)


def test_one_encoder_makes_the_bytes_of_two(rft_root: Path, tmp_path: Path) -> None:
    make_sample_rft(tmp_path / "rft", num_processes=1)
    assert fingerprint(tmp_path / "rft") == fingerprint(rft_root)
