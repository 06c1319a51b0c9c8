"""``verify --source`` through the command line: a sound data set, a broken one, none."""

from pathlib import Path

import msgspec
import pytest

from predecode.verification.report import Report
from tests.support.jobs import command_here

pytestmark = pytest.mark.slow


def test_a_sound_set_is_told_of_with_its_remarks(b1k_root: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["verify", "--source", "--root", b1k_root]
    done = command_here(*words, "--report", tmp_path / "proof")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "source: b1k, 5 episodes, 1,712 frames, " in done.stdout
    assert f"{b1k_root}: nothing at fault in 5 episodes" in done.stdout
    assert "remark: annotation-tail: " in done.stdout
    report = msgspec.json.decode((tmp_path / "proof/report.json").read_bytes(), type=Report)
    assert report.source is not None
    assert report.source.num_frames == 1712
    assert "keyframe" in (tmp_path / "proof/report.html").read_text()


def test_faults_are_named_by_file_and_episode(own_root: Path) -> None:
    (video,) = own_root.glob("videos/*/observation.images.rgb.head/episode_00000020.mp4")
    (other,) = own_root.glob("videos/*/observation.images.rgb.left_wrist/episode_00490010.mp4")
    video.unlink()
    other.write_bytes(other.read_bytes()[:-2000])
    done = command_here("verify", "--source", "--root", own_root)
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if "remark" not in line]
    for path, key in ((video, "ep00000020"), (other, "ep00490010")):
        name = path.relative_to(own_root).as_posix()
        assert any(line.startswith(f"{name}, key {key}: ") for line in lines), lines
    assert lines[-1] == f"{own_root}: 2 faults; not proven"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected an output of 'predecode run', or --source and no output"),
        (["--source", "shards"], "expected an output of 'predecode run', or --source and no"),
        (["--source", "--root", "nowhere"], "--root nowhere: no such folder"),
        (["--source", "--all"], "verify --source: decodes nothing. Leave --all out."),
        (["shards", "--fast", "--backends", "pyav"], "verify --fast: decodes nothing. Leave --b"),
        (["shards", "--backends", "pyav,opencv"], "decoder 'opencv': not known"),
        (["shards", "--backend-python", "pyav=x"], "only video_reader runs under another Python"),
        (["shards"], "shards: no .predecode/manifest.json"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    tmp_path: Path, words: list[str], message: str
) -> None:
    done = command_here("verify", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_files_that_episodes_share_count_once(root_2026: Path) -> None:
    done = command_here("verify", "--source", "--root", root_2026)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "source: b1k, 7 episodes, 947 frames, " in done.stdout
    num_files = len(list(root_2026.glob("videos/*zed_link*/*/*.mp4")))
    assert f"  head: {num_files} videos, 947 frames, " in done.stdout
    assert "keyframe to keyframe: 8 x115, " in done.stdout
    remarks = [line for line in done.stdout.splitlines() if "remark" in line]
    told = [line.split(", key ep000000")[1].split(": expected")[0] for line in remarks]
    # Annotations go by raw ids; episodes 0, 4 and 6 have one, of three tasks.
    assert told == [
        *(f"0{episode}: remark: missing-file" for episode in (1, 2, 3)),
        "04: remark: annotation-start", "04: remark: annotation-start",
        "04: remark: annotation-tail", "05: remark: missing-file",
        "06: remark: annotation-tail",
    ]  # fmt: skip
    assert remarks[0].startswith("annotations/task-0000/episode_00000060.json, ")


def test_a_cut_shared_file_costs_the_episodes_in_it(own_root_2026: Path) -> None:
    video = own_root_2026 / "videos/observation.rgb.zed_link_camera_0/chunk-000/file-001.mp4"
    video.write_bytes(video.read_bytes()[:-100])
    done = command_here("verify", "--source", "--root", own_root_2026)
    assert done.returncode == 1
    faults = [line for line in done.stdout.splitlines() if "unreadable-video" in line]
    assert [line.split(", key ")[1][:10] for line in faults] == ["ep00000001", "ep00000002"]
    assert f"{own_root_2026}: 2 faults; not proven" in done.stdout
