"""One run's samples alone: what is stored, served, trained on, extended, lost and proven."""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from predecode.errors import UserError
from predecode.for_run import AskedRun
from predecode.frame_lists import encode_frames
from predecode.inspection.episode import inspect_episode
from predecode.inspection.opened import opened
from predecode.inspection.shown import page_content
from predecode.inspection.summary import inspect_output
from predecode.output import load_plans
from predecode.planning import plan_digest
from predecode.sources.sample_layout import VIDEO_PATH, episode_path, video_key
from tests.support.jobs import (
    command_here,
    drop_here,
    fingerprint,
    finished_at,
    retry_here,
    run_here,
    structure_here,
    verify_here,
)
from tests.support.training import GLOBAL_BATCH_SIZE, losses, samples, train
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.errors import DataError
from train_shards.format import plan_path
from train_shards.index import index_bytes
from train_shards.joined import JoinedDataset
from train_shards.manifest import encode_json, load_manifest
from train_shards.norm_stats import corpus_stats
from train_shards.order import GlobalOrder
from train_shards.storage_order import StorageOrder
from train_shards.train import main as train_main

pytestmark = pytest.mark.slow

SEED = 42
RUN = AskedRun(10, GLOBAL_BATCH_SIZE, SEED)
LENGTHS = {10: 120, 20: 250, 40: 751, 490010: 501, 490040: 90}
NUM_SAMPLES = 1712
ORDER = [GlobalOrder(NUM_SAMPLES, seed=SEED).sample(p) for p in range(NUM_SAMPLES)]
FRAMES = [(episode, frame) for episode, length in LENGTHS.items() for frame in range(length)]
SMALL: dict[str, Any] = {"size": "64", "cameras": "head", "codec": "png"}


@pytest.fixture(scope="module")
def scoped(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``RUN`` sees of the data set whose whole output is ``jpeg_shards``."""
    out = tmp_path_factory.mktemp("scoped") / "out"
    run_here(b1k_root, out, for_run=RUN)
    return out


@pytest.fixture(scope="module")
def small(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of one small lossless camera, in several shards; tests copy it."""
    out = tmp_path_factory.mktemp("small") / "out"
    run_here(b1k_root, out, for_run=RUN, **SMALL)
    return out


def members(out: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(out.glob("data/train/*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                assert member.name not in found
                found[member.name] = file.read()
    return found


def ids(dataset: ShardDataset, positions: list[int]) -> list[int]:
    return [int(item["sample_index"]) for item in dataset.__getitems__(positions)]


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert sorted(left) == sorted(right)
    assert all(np.array_equal(left[key], right[key]) for key in left)


def test_its_bytes_are_those_of_the_whole_output_and_no_others(
    scoped: Path, jpeg_shards: Path
) -> None:
    stored, whole = members(scoped), members(jpeg_shards)
    keys = {f"ep{e:08d}_f{f:06d}" for e, f in (FRAMES[sample] for sample in ORDER[:80])}
    assert {name.split(".")[0] for name in stored} == keys
    assert len(stored) == 80 * 4
    assert all(whole[name] == data for name, data in stored.items())
    manifest = load_manifest(scoped)
    assert (manifest.format.major, manifest.complete, manifest.totals.num_samples) == (2, True, 80)
    (index,) = scoped.glob(".predecode/index/*.idx")
    assert index.read_bytes()[8:10] == b"\x02\x00"
    # 24 and 8 a member, 8 of storage order, 64 an episode, header, 1 block digest of 64 KiB
    assert index.stat().st_size == 128 + 5 * 64 + 80 * (24 + 4 * 8 + 8) + 8
    assert index.stat().st_size == index_bytes(5, 80, 4, is_run=True)  # as predicted


def test_items_and_statistics_are_those_of_the_whole_output(
    scoped: Path, jpeg_shards: Path
) -> None:
    deltas = {"action": [k / 30 for k in (-14, 0, 20)]}
    ours, theirs = (ShardDataset(o, delta_timestamps=deltas) for o in (scoped, jpeg_shards))
    assert len(ours) == len(theirs) == NUM_SAMPLES
    assert ours.spans() == theirs.spans()
    for left, right in zip(ours.__getitems__(ORDER[:80]), theirs.__getitems__(ORDER[:80]),
                           strict=True):  # fmt: skip
        assert_same(left, right)
    assert ids(ours, [ours.first_position]) == [min(ORDER[:80])]
    for position in (ORDER[80], ORDER[-1]):
        with pytest.raises(UserError, match=f"sample {position} is not stored: .* seed=42"):
            ours[position]
    with pytest.raises(IndexError):
        ours[NUM_SAMPLES]
    stats, whole = (corpus_stats(out, action_horizon=4) for out in (scoped, jpeg_shards))
    assert stats[1] == whole[1] == NUM_SAMPLES
    for key in stats[0]:
        assert all(np.array_equal(a, b) for a, b in zip(stats[0][key], whole[0][key], strict=True))
    run_again = ShardDataset(scoped, tasks=[0, 49], episodes=[0, 1, 2])  # leaves none out
    assert len(run_again) == NUM_SAMPLES


def test_the_reference_trainer_sees_the_same_samples_and_losses(
    scoped: Path, jpeg_shards: Path, tmp_path: Path
) -> None:
    found = []
    for name, out in (("scoped", scoped), ("whole", jpeg_shards)):
        done = train(
            f"shards={out}", f"checkpoint_dir={tmp_path}", f"exp_name={name}", f"seed={SEED}",
            "num_train_steps=10", "log_interval=1",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append((samples(tmp_path / name), losses(done.stdout)))
    assert found[0] == found[1]
    assert [i for _, step in sorted(found[0][0].items()) for i in step] == ORDER[:80]


@pytest.mark.parametrize(
    ("words", "both"),
    [
        (["seed=43"], "seed 42, this run has 43"),
        (["num_train_steps=11"], "first 80 of epoch 0. This run takes 88: 11 steps of 8"),
        (["batch_size=9"], "first 80 of epoch 0. This run takes 90: 10 steps of 9"),
        (["tasks=[0]"], "tasks and episodes that leave none out"),
    ],
)
def test_the_trainer_refuses_another_run_before_there_is_a_folder(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], both: str
) -> None:
    given = [
        f"shards={small}", f"checkpoint_dir={tmp_path}", "exp_name=x", "seed=42", "batch_size=8",
        "num_train_steps=10", "wandb_enabled=false", "num_workers=0",
    ]  # fmt: skip
    assert train_main([*given, *words]) == 2
    error = capsys.readouterr().err
    assert both in error
    assert "steps=10 global-batch=8 seed=42" in error
    assert not (tmp_path / "x").exists()


def test_what_would_be_another_run_is_refused(small: Path) -> None:
    dataset = ShardDataset(small)
    for what in (lambda: JoinedDataset([dataset]), lambda: StorageOrder(dataset)):
        with pytest.raises(UserError, match="holds the samples of one run"):
            what()
    with pytest.raises(UserError, match="not their neighbours: no window"):
        ShardDataset(small, delta_timestamps={IMAGE_KEY + "head": [-1 / 30, 0.0]})
    with pytest.raises(UserError, match="expected no frames"):
        ShardDataset(small, frames=(0, 1000))


def test_a_longer_run_adds_what_is_missing(b1k_root: Path, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(small, out)
    before, digest = fingerprint(out), ShardDataset(out).digest
    for shorter in (RUN, AskedRun(3, 8, SEED), AskedRun(5, 16, SEED)):
        assert run_here(b1k_root, out, for_run=shorter, **SMALL).num_new_images == 0
    assert fingerprint(out) == before
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"for_run": AskedRun(10, 8, 43)}, "seed=42, asked for steps=10 global-batch=8 seed=43"),
        ({}, "made for --for-run steps=10 global-batch=8 seed=42, asked for every sample"),
        ({"for_run": RUN, "stride": 2}, "--stride: the output has 1, asked for 2"),
        ({"for_run": RUN, "tasks": "0"}, "holds 2 episodes that were not asked for"),
    ]
    for other, message in refusals:
        with pytest.raises(UserError, match=message):
            run_here(b1k_root, out, **{**SMALL, **other})
    assert fingerprint(out) == before

    done = run_here(b1k_root, out, for_run=AskedRun(30, 8, SEED), **SMALL)
    assert done.num_new_images == 160
    after = fingerprint(out)
    assert {path: after[path] for path in before if path.startswith(("data", "lowdim"))} == {
        path: own for path, own in before.items() if path.startswith(("data", "lowdim"))
    }
    assert [len(g.lowdim) > 0 for g in done.manifest.generations] == [True, False]
    assert done.manifest.totals.num_samples == 240 == len(members(out)) / 2
    dataset = ShardDataset(out)
    assert ids(dataset, ORDER[:240]) == ORDER[:240]
    assert dataset.digest == digest  # so that a run that was begun before goes on
    assert dataset[ORDER[239]]["action"].shape == (23,)
    drawn = verify_here(b1k_root, out, num_random=30)
    assert (drawn.status, drawn.findings) == ("proven", [])


def test_several_epochs_end_with_every_sample(b1k_root: Path, tmp_path: Path) -> None:
    words = {**SMALL, "episodes": "00000010", "stride": 7}  # frames 0, 7, … 119: 18 samples
    done = run_here(b1k_root, tmp_path / "a", for_run=AskedRun(3, 5, 1), **words)
    order = [GlobalOrder(18, seed=1).sample(p) for p in range(15)]
    dataset = ShardDataset(tmp_path / "a")
    assert (len(dataset), done.manifest.totals.num_samples) == (18, 15)
    assert [int(i["frame_index"]) for i in dataset.__getitems__(order)] == [7 * s for s in order]
    run_here(b1k_root, tmp_path / "a", for_run=AskedRun(9, 5, 1), **words)
    scope = load_manifest(tmp_path / "a").run_scope
    assert scope
    assert (scope.is_whole, scope.num_stored) == (True, 18)
    assert ids(ShardDataset(tmp_path / "a"), list(range(18))) == list(range(18))
    with pytest.raises(UserError, match="with its seed|every sample"):
        run_here(b1k_root, tmp_path / "a", for_run=AskedRun(9, 5, 2), **words)
    more = {**words, "episodes": "00000010,00000020"}
    with pytest.raises(UserError, match="1 more are selected"):
        run_here(b1k_root, tmp_path / "a", for_run=AskedRun(9, 5, 1), **more)


def test_a_lost_episode_is_stood_in_for_then_repaired(
    own_root: Path, small: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    video = own_root / episode_path(VIDEO_PATH, 20, video_key("rgb", "head"))
    whole = video.read_bytes()
    place = whole.index(b"mdat") + 4
    broken = bytearray(whole)
    broken[place + 1000 :] = b"\xff" * (len(whole) - place - 1000)
    if whole.index(b"moov") > place:
        broken[whole.index(b"moov") - 4 :] = whole[whole.index(b"moov") - 4 :]
    video.write_bytes(broken)
    done = run_here(own_root, out, for_run=RUN, **SMALL)
    (missing,) = done.manifest.missing
    assert missing.episode_index == 20
    lost = [s for s in ORDER[:80] if FRAMES[s][0] == 20]
    dataset = ShardDataset(out)
    assert (dataset.num_holes, len(dataset)) == (len(lost), NUM_SAMPLES)
    expected, ring = [], ORDER[:80] * 2
    for position, sample in enumerate(ORDER[:80]):
        later = ring[position:] if sample in lost else [sample]
        expected.append(next(s for s in later if s not in lost))
    assert ids(dataset, ORDER[:80]) == expected
    assert 1 < len(lost) < 80
    # An extension leaves the episode alone; a retry brings all that the run now sees of it.
    run_here(own_root, out, for_run=AskedRun(12, 8, SEED), **SMALL)
    assert {s for s in ids(ShardDataset(out), ORDER[:96]) if FRAMES[s][0] == 20} == set()
    assert structure_here(own_root, out) == []
    video.write_bytes(whole)
    assert retry_here(own_root, out).manifest.complete
    dataset = ShardDataset(out)
    assert (dataset.num_holes, ids(dataset, ORDER[:96])) == (0, ORDER[:96])
    assert structure_here(own_root, out) == []
    assert all(members(out)[name] == data for name, data in members(small).items())


def test_an_episode_refused_before_the_run_is_no_part_of_it(own_root: Path, tmp_path: Path) -> None:
    video = own_root / episode_path(VIDEO_PATH, 10, video_key("rgb", "head"))
    kept = video.read_bytes()
    video.write_bytes(b"")
    done = run_here(own_root, tmp_path / "out", for_run=RUN, **SMALL)
    assert done.manifest.run_scope
    assert done.manifest.run_scope.num_samples == NUM_SAMPLES - 120
    video.write_bytes(kept)
    with pytest.raises(UserError, match="episodes 00000010 were at fault before the run .* 1592"):
        retry_here(own_root, tmp_path / "out")


def test_dropped_episodes_are_stood_in_for(b1k_root: Path, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(small, out)
    with pytest.raises(UserError, match="no --rewrite"):  # nor is there a mask
        drop_here(out, 40, rewrite=True)
    drop_here(out, 40)
    dataset = ShardDataset(out)
    gone = sum(FRAMES[s][0] == 40 for s in ORDER[:80])
    assert dataset.num_holes == gone > 20
    served = ids(dataset, ORDER[:80])
    assert not any(FRAMES[s][0] == 40 for s in served)
    assert [a for a, b in zip(served, ORDER, strict=False) if a == b] == [
        s for s in ORDER[:80] if FRAMES[s][0] != 40
    ]
    run_here(b1k_root, out, for_run=AskedRun(12, 8, SEED), **SMALL)
    assert not any(FRAMES[s][0] == 40 for s in ids(ShardDataset(out), ORDER[:96]))
    assert structure_here(b1k_root, out) == []


def test_an_interrupted_run_and_extension_end_with_the_same_bytes(
    b1k_root: Path, small: Path, tmp_path: Path
) -> None:
    out, longer = tmp_path / "out", AskedRun(12, 8, SEED)
    shutil.copytree(small, out)
    run_here(b1k_root, out, for_run=longer, **SMALL)
    expected = fingerprint(out)
    shutil.rmtree(out)
    shutil.copytree(small, out)
    (out / ".predecode/manifest.json").unlink()
    (receipt, *_) = sorted((out / ".predecode/receipts").glob("*train*"))
    receipt.unlink()
    run_here(b1k_root, out, for_run=longer, **SMALL)
    assert fingerprint(out) == expected


def test_verify_finds_a_plan_of_other_frames(b1k_root: Path, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(small, out)
    (plan,) = load_plans(out)
    first = plan.episodes[0]
    frames = list(first.stored_frames(1))
    other = next(f for f in range(120) if f not in frames)
    changed = msgspec.structs.replace(first, run_frames=encode_frames(sorted([*frames[1:], other])))
    plan = msgspec.structs.replace(plan, episodes=[changed, *plan.episodes[1:]])
    plan = msgspec.structs.replace(plan, digest=plan_digest(plan))
    (out / plan_path(0)).write_bytes(encode_json(plan))
    for path in (out / ".predecode/receipts").iterdir():
        receipt = json.loads(path.read_text())
        path.write_text(json.dumps({**receipt, "plan_digest": plan.digest}))
    assert len(finished_at(out, b1k_root)) == 1
    found = [f for f in verify_here(b1k_root, out, num_random=0).findings if f.kind == "run"]
    assert [(f.where, f.got) for f in found] == [
        ("episode 00000010", "1 of them missing, 1 others")
    ]


def test_an_index_of_the_other_kind_is_refused(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(small, out)
    manifest = json.loads((out / ".predecode/manifest.json").read_text())
    del manifest["run_scope"]
    (out / ".predecode/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="an index of one run's samples, the manifest says"):
        ShardDataset(out)


def test_inspect_shows_the_stored_frames_alone(scoped: Path) -> None:
    wanted = sorted(frame for e, frame in (FRAMES[s] for s in ORDER[:80]) if e == 40)
    with opened(str(scoped)) as output:
        found = inspect_output(output)
        episode = inspect_episode(output, 40)
        assert list(output.frames(output.episodes[40])) == wanted
        first = min(set(range(751)) - set(wanted))
        with pytest.raises(UserError, match=f"frame {first} is not stored; the nearest is ep0000"):
            output.sample(f"ep00000040_f{first:06d}")
        page = page_content(output, found)
    assert sum(row.num_samples for row in found.episodes) == 80
    assert (episode.num_samples, episode.first_frame) == (len(wanted), wanted[0])
    assert {e.episode.span.episode_index: list(e.frames) for e in page.episodes}[40] == wanted


def test_the_command_says_what_is_saved(b1k_root: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["run", "--src", "b1k", "--root", b1k_root, "--out", tmp_path / "out"]
    words += ["--episodes", "00000010", "--cameras", "head", "--size", "64", "--num-cpus", "1"]
    done = command_here(*words, "--for-run", "steps=2", "global-batch=8", "seed=1")
    assert done.returncode == 0, done.stderr
    assert "16 of 120 samples, 86.7% of the images are not stored" in done.stderr
    assert load_manifest(tmp_path / "out").totals.num_samples == 16
