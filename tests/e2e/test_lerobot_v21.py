"""LeRobot v2.1 sets through the whole job: pictures against ffmpeg's and against those painted."""

import contextlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predecode.online import OnlineDataset
from tests.support.jobs import command_here, run_here, survey_here, verify_here
from tests.support.lerobot_v21 import (
    INFO,
    SENTENCES,
    TOP,
    cell_of,
    decoded_by_ffmpeg,
    encode,
    picture_of,
    write_metadata,
    write_rows,
)
from tests.support.media import HEIGHT_PX, WIDTH_PX, read_number
from train_shards.canary import Canary, canary_command
from train_shards.dataset import ShardDataset
from train_shards.manifest import load_manifest

pytestmark = pytest.mark.slow

LENGTHS = (70, 45, 61)
TASKS = ((0,), (0, 1), (1,))
FIRST = (0, 70, 115)
SIDE = "observation.side"
FEATURE = {"shape": [HEIGHT_PX, WIDTH_PX, 3], "names": ["height", "width", "channels"]}
RATE = "30000/1001"
"""Of the video; its metadata say 29.97."""
CELLS = pa.struct({"bytes": pa.binary(), "path": pa.string()})
LOSSLESS: dict[str, Any] = {"src": "lerobot", "size": "native", "codec": "png"}


def columns_of(episode: int, length: int) -> dict[str, Any]:
    frames = np.arange(length)
    tasks = TASKS[episode]
    return {
        "task_index": np.where(frames < 20, tasks[0], tasks[-1]),
        "observation.state": [[float(episode), float(frame)] for frame in frames],
        "action": [[[frame, 1], [2, 3]] for frame in frames.tolist()],
    }


@pytest.fixture(scope="module")
def video_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos at 30000/1001, float timestamps of 29.97, as a converter of foreign films writes."""
    root = tmp_path_factory.mktemp("v21") / "video"
    write_metadata(root, LENGTHS, 29.97, {TOP: {"dtype": "video", **FEATURE}}, TASKS)
    for episode, length in enumerate(LENGTHS):
        times_s = (np.arange(length) / 29.97).astype(np.float32)
        columns = columns_of(episode, length)
        write_rows(root, episode, FIRST[episode], length, timestamp=times_s, **columns)
        encode(root / video_path(episode), episode, length, RATE)
    return root


def video_path(episode: int) -> str:
    chunk = episode // INFO["chunks_size"]
    return str(INFO["video_path"]).format(episode_chunk=chunk, video_key=TOP, episode_index=episode)


@pytest.fixture(scope="module")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in the rows, and files of their own; integer timestamps in ms, 15 fps."""
    root = tmp_path_factory.mktemp("v21") / "image"
    feature = {"dtype": "image", **FEATURE}
    depth = {**feature, "info": {"is_depth_map": True}}
    features = {TOP: feature, SIDE: feature, "observation.images.deep": depth}
    write_metadata(root, LENGTHS, 15, features, TASKS, video_path=None)
    for episode, length in enumerate(LENGTHS):
        folder = f"images/{SIDE}/episode_{episode:06d}"
        (root / folder).mkdir(parents=True)
        for frame in range(length):
            cell = cell_of(episode, frame, "BMP")
            (root / folder / cell["path"]).write_bytes(cell["bytes"])
        write_rows(
            root, episode, FIRST[episode], length, **columns_of(episode, length),
            timestamp=np.round(np.arange(length) * 1000 / 15).astype(np.int64),
            **{
                TOP: pa.array([cell_of(episode, f) for f in range(length)], CELLS),
                SIDE: pa.array(
                    [{"bytes": None, "path": f"{folder}/frame_{f:06d}.bmp"} for f in range(length)],
                    CELLS,
                ),
                "observation.images.deep": pa.nulls(length, CELLS),
            },
        )  # fmt: skip
    return root


@pytest.fixture(scope="module")
def video_shards(video_root: Path) -> Path:
    out = video_root.parent / "shards"
    run_here(video_root, out, **LOSSLESS)
    return out


@pytest.fixture(scope="module")
def image_shards(image_root: Path) -> Path:
    out = image_root.parent / "shards"
    done = command_here(
        "run", "--src", "lerobot", "--root", image_root, "--out", out, "--size", "native",
        "--codec", "png", "--num-cpus", "1", "--tasks", f"{SENTENCES[0]},rest",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "left out: observation.images.deep is a depth map" in done.stderr
    return out


def rows(dataset: ShardDataset | OnlineDataset) -> list[tuple[int, int, dict[str, Any]]]:
    """``(episode, frame, item)`` of every position, which must be all frames in order."""
    expected = [(e, f) for e, length in enumerate(LENGTHS) for f in range(length)]
    items = [dataset[position] for position in range(len(dataset))]
    assert [(int(i["episode_index"]), int(i["frame_index"])) for i in items] == expected
    return [(*where, item) for where, item in zip(expected, items, strict=True)]


def test_pictures_of_videos_are_ffmpeg_s(video_root: Path, video_shards: Path) -> None:
    films = [decoded_by_ffmpeg(video_root / video_path(e)) for e in range(3)]
    assert [len(film) for film in films] == list(LENGTHS)
    for episode, frame, item in rows(ShardDataset(video_shards)):
        assert np.array_equal(item[TOP], films[episode][frame]), (episode, frame)
        assert read_number(item[TOP]) == 100 * episode + frame
        assert item["timestamp"] == np.float32(frame / 29.97)


def test_pictures_of_rows_and_of_files_are_those_painted(image_shards: Path) -> None:
    dataset = ShardDataset(image_shards, delta_timestamps={"action": [0, 1 / 15]})
    assert dataset.fps == (15, 1)
    for episode, frame, item in rows(dataset):
        expected = picture_of(episode, frame)
        assert np.array_equal(item[TOP], expected), (episode, frame)
        assert np.array_equal(item[SIDE], expected), (episode, frame)
        assert "observation.images.deep" not in item
        task = TASKS[episode][0 if frame < 20 else -1]
        assert (item["task"], item["task_index"]) == (SENTENCES[task], task)
        assert item["timestamp"] == round(frame * 1000 / 15) / 1000
        ahead = min(frame + 1, LENGTHS[episode] - 1)
        assert item["action"].dtype == np.int64
        assert item["action"].tolist() == [[[f, 1], [2, 3]] for f in (frame, ahead)]


def test_members_tell_the_task_of_their_row(image_shards: Path) -> None:
    (path,) = image_shards.glob("data/train/*.tar")
    found = json_members(path)
    assert len(found) == sum(LENGTHS)
    for episode, frame in ((0, 30), (1, 19), (1, 20), (2, 0)):
        task = TASKS[episode][0 if frame < 20 else -1]
        assert found[f"ep{episode:08d}_f{frame:06d}.json"] == {
            "episode_index": episode, "frame_index": frame, "task_index": task,
            "task": SENTENCES[task], "timestamp": round(frame * 1000 / 15) / 1000,
        }  # fmt: skip
    manifest = load_manifest(image_shards)
    assert manifest.tasks == {0: SENTENCES[0], 1: SENTENCES[1]}
    assert manifest.settings.cameras == {"side-o": SIDE, "top": TOP}


def json_members(path: Path) -> dict[str, Any]:
    found = {}
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.endswith(".json"):
                file = tar.extractfile(member)
                assert file is not None
                found[member.name] = json.load(file)
    return found


def test_both_are_proven_and_the_same_on_line(
    video_root: Path, video_shards: Path, image_root: Path, image_shards: Path
) -> None:
    for root, out in ((video_root, video_shards), (image_root, image_shards)):
        report = verify_here(root, out)
        assert (report.status, report.findings) == ("proven", [])
        online = OnlineDataset(root, src="lerobot", size="native")
        stored = ShardDataset(out)
        assert len(online) == len(stored)
        for position in (0, 69, 70, 90, 175):
            ours, theirs = stored[position], online[position]
            assert {*ours} == {*theirs}
            assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
        survey = survey_here(root, "lerobot")
        assert (survey.status, survey.findings) == ("proven", [])
        assert survey.source is not None
        assert (survey.source.num_episodes, survey.source.num_frames) == (3, sum(LENGTHS))


def test_a_canary_decodes_pictures_of_rows(image_root: Path, image_shards: Path) -> None:
    settings = load_manifest(image_shards).settings
    item = ShardDataset(image_shards)[80]
    images = {image: item[settings.item_key(image)] for image in settings.cameras}
    with contextlib.closing(Canary(settings, canary_command(str(image_root), settings))) as canary:
        canary.submit(0, 1, 10, images)
        found = list(canary.comparisons(wait=True))
    assert [(c.camera, c.max_difference) for c in found] == [("side-o", 0), ("top", 0)]


def damaged(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root, tmp_path / "set"))


def rewrite(path: Path, column: str, cells: dict[int, Any]) -> None:
    """Puts other cells into a column of a table."""
    table = pq.read_table(path)
    values = table[column].to_pylist()
    for row, cell in cells.items():
        values[row] = cell
    place = table.column_names.index(column)
    table = table.set_column(place, column, pa.array(values, table[column].type))
    pq.write_table(table, path, row_group_size=10)


def test_a_broken_picture_costs_its_episode_only(image_root: Path, tmp_path: Path) -> None:
    root = damaged(image_root, tmp_path)
    path = root / "data/chunk-000/episode_000001.parquet"
    good = cell_of(1, 7)["bytes"]
    rewrite(path, TOP, {7: {"bytes": good[:-900], "path": "frame_000007.png"}})
    (root / f"images/{SIDE}/episode_000002/frame_000003.bmp").unlink()
    outcome = run_here(root, tmp_path / "out", **LOSSLESS)
    first, second = outcome.faults.values()
    assert (first.episode_index, first.camera) == (1, "top")
    assert first.problem.startswith("picture 7")
    assert (second.episode_index, second.camera) == (2, "side-o")
    assert "frame_000003.bmp" in second.got
    assert {int(span.episode_index) for span in ShardDataset(tmp_path / "out").spans()} == {0}


def test_a_picture_that_changed_since_is_no_longer_proven(
    image_root: Path, image_shards: Path, tmp_path: Path
) -> None:
    root = damaged(image_root, tmp_path)
    name = f"images/{SIDE}/episode_000002/frame_000003.bmp"
    data = bytearray((root / name).read_bytes())
    data[-10] ^= 0xFF  # BMP checks nothing: another pixel of a picture that reads well
    (root / name).write_bytes(data)
    report = verify_here(root, image_shards)
    assert report.status == "different"
    assert {(f.key, f.kind) for f in report.findings} >= {("ep00000002_f000003", "pixels")}
    with (root / name).open("ab") as file:
        file.write(b"\0")
    report = verify_here(root, image_shards)
    assert report.status == "unchecked"
    assert "changed since the plan was made" in report.unchecked


def test_a_survey_tells_rows_of_other_frames_and_tasks(image_root: Path, tmp_path: Path) -> None:
    root = damaged(image_root, tmp_path)
    rewrite(root / "data/chunk-000/episode_000000.parquet", "task_index", {9: 7})
    rewrite(root / "data/chunk-000/episode_000001.parquet", "frame_index", {9: 10})
    (root / "data/chunk-001/episode_000002.parquet").unlink()
    report = survey_here(root, "lerobot")
    kinds = {(finding.kind, finding.key) for finding in report.findings if finding.is_fault}
    assert kinds == {
        ("task-id", "ep00000000"), ("frame-index", "ep00000001"), ("missing-file", "ep00000002"),
    }  # fmt: skip
    outcome = run_here(root, tmp_path / "out", **LOSSLESS)
    assert {fault.episode_index for fault in outcome.faults.values()} == {0, 1, 2}
