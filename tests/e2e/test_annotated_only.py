"""Labelled frames only: what is stored, served, verified, grown and tried again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predecode.cluster import InProcess
from predecode.config import make_settings
from predecode.job import run_job
from predecode.online import OnlineDataset
from predecode.output import load_plans
from predecode.selection import select_episodes
from predecode.sources.barcode import Identity, read
from predecode.sources.registry import open_source
from predecode.sources.sample_layout import ANNOTATION_PATH, VIDEO_PATH, episode_path, video_key
from tests.support.edition_2026 import is_itself
from tests.support.jobs import (
    Silent,
    command_here,
    fingerprint,
    retry_here,
    run_here,
    starter,
    structure_here,
    verify_here,
)
from train_shards.behavior import BehaviorLeRobotDataset
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.manifest import load_manifest
from train_shards.norm_stats import corpus_stats

pytestmark = pytest.mark.slow

HEAD = IMAGE_KEY + "head"
LABELLED_2026 = {0: (0, 61), 4: (12, 522), 6: (0, 70)}
"""Of 61, 531 and 85 frames; the other four episodes have no annotation."""
LABELLED = {10: (0, 100), 20: (0, 250), 40: (0, 751), 490010: (0, 490)}
"""Of 120, 250, 751 and 501 frames; 490040 has no annotation."""
MORE: dict[str, Any] = {"size": "64", "annotated_only": True}


def samples(labelled: dict[int, tuple[int, int]], stride: int = 1) -> list[tuple[int, int]]:
    return [(e, f) for e, ends in labelled.items() for f in range(*ends) if f % stride == 0]


def shown(dataset: ShardDataset | OnlineDataset, camera: str = "head") -> list[tuple[int, int]]:
    """What each item's picture says it is, which must be what the item says."""
    found = []
    for position in range(len(dataset)):
        item = dataset[position]
        sample = int(item["episode_index"]), int(item["frame_index"])
        assert read(item[IMAGE_KEY + camera]) == Identity(*sample, camera)
        found.append(sample)
    return found


def assert_same(online: dict[str, Any], stored: dict[str, Any]) -> None:
    assert sorted(online) == sorted(stored)
    for key, value in stored.items():
        assert np.asarray(online[key]).dtype == np.asarray(value).dtype, key
        assert np.array_equal(online[key], value), key


def annotate(root: Path, episode_index: int, *ranges: list[int]) -> Path:
    """Writes an annotation with these skills in place of the sample's; returns its path."""
    path = root / episode_path(ANNOTATION_PATH, episode_index)
    skills = [{"frame_duration": frames, "skill_description": ["move to"]} for frames in ranges]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"skill_annotation": skills, "primitive_annotation": []}))
    return path


def test_every_labelled_frame_of_2026_is_stored_and_no_other(
    root_2026: Path, tmp_path: Path
) -> None:
    done = run_here(root_2026, tmp_path, codec="png", shard_size=256, **MORE)
    assert (done.manifest.complete, done.manifest.totals.num_samples) == (True, 61 + 510 + 70)
    assert len(load_plans(tmp_path)[0].shards) > 1
    planned = {p.episode.episode_index: p.asked for p in load_plans(tmp_path)[0].episodes}
    assert planned == LABELLED_2026
    assert structure_here(root_2026, tmp_path) == []
    deltas = {"action": [k / 30 for k in (-14, 0, 20)], HEAD: [-13 / 30, 0.0, 9 / 30]}
    stored = ShardDataset(tmp_path, delta_timestamps=deltas)
    online = OnlineDataset(root_2026, size="64", annotated_only=True, delta_timestamps=deltas)
    assert len(online) == len(stored) == 641
    assert online.spans() == stored.spans()
    expected = samples(LABELLED_2026)
    for position in [*range(0, 641, 16), 61, 62, 73, 570, 571, 640]:
        item = stored[position]
        assert_same(online[position], item)
        episode, frame = expected[position]
        start, stop = LABELLED_2026[episode]
        ends = [min(max(frame + k, start), stop - 1) for k in (-13, 0, 9)]
        assert [read(p) for p in item[HEAD]] == [Identity(episode, f, "head") for f in ends]
    # An action chunk goes on into frames of the episode that carry no label: rows are whole.
    assert len(stored.open_reader().columns(stored.open_reader().locate(61))["action"]) == 531
    assert stored[61]["action_is_pad"].tolist() == [True, False, False]  # frame 12, 14 back
    assert stored[570]["action_is_pad"].tolist() == [False, False, True]  # frame 521 of 531
    assert stored[560]["action_is_pad"].tolist() == [False, False, True]
    assert stored[559]["action_is_pad"].tolist() == [False, False, False]  # 510 + 20 = 530
    stored.close()
    online.close()
    plain = ShardDataset(tmp_path)
    assert shown(plain) == expected
    assert all(is_itself(plain[position]) for position in range(0, 641, 40))
    some = ShardDataset(tmp_path, frames=(60, 70), cameras=["left_wrist"])
    wanted = [sample for sample in expected if 60 <= sample[1] < 70]
    assert shown(some, "left_wrist") == wanted
    plain.close()
    some.close()


def test_with_a_stride_the_grid_is_the_episodes_and_verification_proves_it(
    own_root: Path, tmp_path: Path
) -> None:
    annotate(own_root, 10, [37, 40], [50, 100])
    annotate(own_root, 20, [3, 6])  # no frame on the grid
    labelled = {10: (37, 100), 40: (0, 751), 490010: (0, 490)}
    out = tmp_path / "out"
    done = run_here(own_root, out, stride=13, cameras="head", **MORE)
    expected = samples(labelled, 13)
    assert expected[:2] == [(10, 39), (10, 52)]
    assert (
        "101 samples of 3 episodes, labelled frames only, cameras head"
        in (out / "README.md").read_text()
    )
    assert done.manifest.totals.num_samples == len(expected) == 5 + 58 + 38
    stored = ShardDataset(out)
    assert shown(stored) == expected
    online = OnlineDataset(own_root, size="64", stride=13, annotated_only=True)
    assert shown(online) == expected
    assert [s.first_frame for s in stored.spans()] == [39, 0, 0]
    assert stored[0]["sample_index"] == online[0]["sample_index"] == 0
    unlabelled = OnlineDataset(own_root, size="64", stride=13, only={10, 40, 490010})
    assert len({online.digest, unlabelled.digest}) == 2
    stats, num_frames = corpus_stats(out, action_horizon=4)
    assert num_frames == len(expected)
    assert stats
    # The drop-in counts the same samples.
    assert [s.first_frame for s in BehaviorLeRobotDataset("r", shards=out)._choice.spans()] == [
        39, 0, 0
    ]  # fmt: skip
    report = verify_here(own_root, out)
    assert (report.status, report.findings) == ("proven", [])


def test_annotations_that_change_later_change_nothing_published(
    own_root: Path, tmp_path: Path
) -> None:
    out, words = tmp_path / "out", MORE | {"cameras": "head", "stride": 5}
    run_here(own_root, out, tasks="turning_on_radio", **words)
    before = fingerprint(out)
    annotation = annotate(own_root, 10, [50, 60])
    assert run_here(own_root, out, tasks="turning_on_radio", **words).num_new_images == 0
    annotation.unlink()
    assert run_here(own_root, out, tasks="turning_on_radio", **words).num_new_images == 0
    assert fingerprint(out) == before
    assert verify_here(own_root, out).status == "proven"
    # The selection grows, and so do the labels: 490040 had none when 490010 came.
    run_here(own_root, out, **words)
    assert shown(ShardDataset(out)) == samples(LABELLED, 5)
    annotate(own_root, 490040, [20, 41], [60, 70])
    done = run_here(own_root, out, **words)
    assert done.num_new_images == 10
    assert len(done.manifest.generations) == 3
    assert shown(ShardDataset(out)) == samples({**LABELLED, 490040: (20, 70)}, 5)
    assert structure_here(own_root, out) == []


def test_a_repaired_episode_comes_with_its_labelled_frames(own_root: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "out", MORE | {"cameras": "head", "episodes": "0"}
    video = own_root / episode_path(VIDEO_PATH, 490010, video_key("rgb", "head"))
    whole = video.read_bytes()
    place = whole.index(b"mdat") + 4
    video.write_bytes(whole[:place] + bytes(len(whole) - place))  # its header may be gone as well
    assert not run_here(own_root, out, **words).manifest.complete
    assert shown(ShardDataset(out)) == samples({10: (0, 100)})
    video.write_bytes(whole)
    done = retry_here(own_root, out)
    assert done.manifest.complete
    assert shown(ShardDataset(out)) == samples({10: (0, 100), 490010: (0, 490)})
    assert structure_here(own_root, out) == []


def test_an_episode_lost_while_decoding_misses_its_labelled_frames_only(
    own_root: Path, tmp_path: Path
) -> None:
    annotate(own_root, 490010, [30, 480])
    video = own_root / episode_path(VIDEO_PATH, 490010, video_key("rgb", "head"))
    data = bytearray(video.read_bytes())
    start = data.index(b"mdat") + 4
    data[start + 2000 : start + 60_000] = b"\xff" * 58_000  # the tables stay whole
    video.write_bytes(data)
    run_here(own_root, tmp_path / "out", cameras="head", episodes="0", **MORE)
    (missing,) = load_manifest(tmp_path / "out").missing
    assert (missing.episode_index, missing.ranges) == (490010, [(30, 480)])


def test_the_command_says_what_it_leaves_out(b1k_root: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["run", "--src", "b1k", "--root", b1k_root, "--out", tmp_path / "out"]
    refused = command_here(*words, "--annotated-only", "--episodes", "00490040")
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: --annotated-only: 1 episode has no labelled frame and is not selected: 00490040. "
        "None is left: see 'predecode verify --source', select others, or leave --annotated-only "
        "out.\n"
    )
    assert not (tmp_path / "out/.predecode/plan-000000.json").exists()


def test_a_run_tells_of_what_it_leaves_out_and_goes_on(own_root: Path, tmp_path: Path) -> None:
    source = open_source("b1k", own_root)
    settings = make_settings(source, cameras="head", stride=50, **MORE)
    chosen = select_episodes(source.episodes, None, "00000010,00490040", source.task_names)
    display = Silent()
    out, start = tmp_path / "out", starter(InProcess())
    first, again = (
        run_job(out, source, settings, chosen, start, display, overwrite=False) for _ in range(2)
    )
    line = "--annotated-only: 1 episode has no labelled frame and is not selected: 00490040"
    assert display.notes.count(line) == 2
    assert (first.num_new_images, again.num_new_images) == (2, 0)
    assert shown(ShardDataset(out)) == [(10, 0), (10, 50)]
