"""Episodes taken out of an output: masked, removed from files, in outputs that grow."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from predecode.errors import UserError
from predecode.shard_writer import iter_members
from predecode.sources.barcode import read
from predecode.sources.sample import make_sample
from tests.support import kill_drop
from tests.support.jobs import (
    command_here,
    drop_here,
    fingerprint,
    retry_here,
    run_here,
    structure_here,
    verify_here,
)
from tests.support.mounts import mounted, remount
from train_shards.codec import decode_image
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.manifest import load_manifest

pytestmark = pytest.mark.slow

OPTIONS: dict[str, Any] = {
    "size": "64", "cameras": "head", "stride": 2, "shard_size": 256, "codec": "png",
    "val_episodes": "00490040", "embed_lowdim": True,
}  # fmt: skip
LENGTHS = {10: 60, 20: 125, 40: 376, 490010: 251}
"""Samples of each episode of the train split."""
GOLDEN = [Path(__file__).parents[1] / "golden" / name for name in ("v1.0", "v1.1")]


@pytest.fixture(scope="module")
def whole(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "shards"
    run_here(b1k_root, out, **OPTIONS)
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "out"))


@pytest.fixture(scope="module")
def golden_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the golden outputs, and one more episode."""
    root = tmp_path_factory.mktemp("golden") / "b1k"
    make_sample(root, episode_indices=[490010, 490040], modalities=("rgb",))
    return root


def served(out: Path, split: str = "train") -> list[int]:
    """The episodes of a new data set, in order, each as its own pictures say."""
    dataset = ShardDataset(out, split=split)
    episodes = []
    for span in dataset.spans():
        items = dataset.__getitems__([span.start, span.start + span.num_samples - 1])
        assert {read(item[IMAGE_KEY + "head"]).episode_index for item in items} == {
            span.episode_index
        }
        episodes.append(span.episode_index)
    return episodes


def data_files(out: Path) -> dict[str, str]:
    return {k: v for k, v in fingerprint(out).items() if k.startswith(("data/", "lowdim/"))}


def traces(out: Path, episode: int) -> set[str]:
    """Files in which anything of an episode is left: by key, by name, by picture, by row."""
    found = set()
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_file() or name == ".predecode/dropped.json":
            continue
        data = path.read_bytes()
        words = [f"ep{episode:08d}_", f"episode_{episode:08d}"]
        if name != ".predecode/manifest.json":  # it lists what was dropped
            words.append(f'"episode_index": {episode},')
        if f"{episode:08d}" in name or any(word.encode() in data for word in words):
            found.add(name)
        if path.suffix == ".tar":
            for member in iter_members(path):
                if member.name.endswith(".png"):
                    start = member.data_offset_bytes
                    png = data[start : start + member.num_bytes]
                    if read(decode_image(memoryview(png), "png", None)).episode_index == episode:
                        found.add(name)
        if path.suffix == ".arrow":
            table = pa.ipc.open_file(path).read_all()
            if pc.any(pc.equal(table["episode_index"], episode)).as_py():
                found.add(name)
    return found


def test_masked_episodes_are_left_out_and_no_shard_changes(out: Path, b1k_root: Path) -> None:
    before = data_files(out)
    assert served(out) == [10, 20, 40, 490010]
    dropped = drop_here(out, 20, 490040)
    assert served(out) == [10, 40, 490010]
    assert data_files(out) == before
    manifest = load_manifest(out)
    assert (manifest.complete, manifest.missing) == (True, [])
    assert [(d.episode_index, d.task_index) for d in manifest.dropped] == [(20, 0), (490040, 49)]
    assert manifest.totals == dropped.manifest.totals
    assert (manifest.totals.num_episodes, manifest.totals.num_samples) == (3, 687)
    indexes = sorted(path.name for path in (out / ".predecode/index").iterdir())
    assert indexes == ["train-000000-d1.idx", "val-000000-d1.idx"]
    assert "2 dropped episodes still stand in shards" in (out / "README.md").read_text()
    report = verify_here(b1k_root, out, num_random=20)
    assert (report.status, report.findings) == ("proven", [])


def test_verification_finds_a_mask_that_is_gone(out: Path, b1k_root: Path) -> None:
    unmasked = out / ".predecode/index/train-000000.idx"
    data = unmasked.read_bytes()
    drop_here(out, 20)
    masked = out / ".predecode/index/train-000000-d1.idx"
    masked.write_bytes(data)
    assert [(f.kind, f.where) for f in structure_here(b1k_root, out)] == [
        ("index", ".predecode/index/train-000000-d1.idx")
    ]


def test_verification_finds_a_list_that_is_gone(out: Path, b1k_root: Path) -> None:
    drop_here(out, 20)
    (out / ".predecode/dropped.json").unlink()
    kinds = {(f.kind, f.where.partition(".")[0]) for f in structure_here(b1k_root, out)}
    assert ("manifest", "dropped") in kinds
    assert ("index", "") in kinds


@pytest.mark.parametrize(
    ("episodes", "left"),
    [((40,), {"train": [10, 20, 490010], "val": [490040]}),
     ((10, 490040), {"train": [20, 40, 490010]})],
)  # fmt: skip
def test_rewritten_files_are_those_that_a_run_would_make(
    out: Path, b1k_root: Path, tmp_path: Path, episodes: tuple[int, ...], left: dict[str, list[int]]
) -> None:
    before = data_files(out)
    assert all(len(traces(out, episode)) >= 5 for episode in episodes)
    done = drop_here(out, *episodes, rewrite=True)
    assert done.num_cut > 1
    assert [traces(out, episode) for episode in episodes] == [set() for _ in episodes]
    assert {split: served(out, split) for split in left} == left
    kept = set(before) & set(data_files(out))
    assert kept
    assert {name: before[name] for name in kept} == {n: data_files(out)[n] for n in kept}
    manifest = load_manifest(out)
    assert [g.generation for g in manifest.generations] == [1]
    assert (out / "b1k-val.json").exists() == ("val" in left)

    # Made again from the source by the new plan, every byte is the same.
    again = Path(shutil.copytree(out, tmp_path / "again"))
    for path in [*again.glob("data/*/*.tar"), *again.glob("lowdim/*"),
                 *again.glob(".predecode/ledger/*")]:  # fmt: skip
        path.unlink()
    assert run_here(b1k_root, again, **OPTIONS).num_new_images > 0
    assert fingerprint(again) == fingerprint(out)

    report = verify_here(b1k_root, out, num_random=20)
    assert (report.status, report.findings) == ("proven", [])


def test_no_source_is_needed_and_run_has_nothing_to_do_afterwards(
    out: Path, own_root: Path, b1k_root: Path
) -> None:
    shutil.rmtree(own_root)
    drop_here(out, 20)
    assert run_here(b1k_root, out, **OPTIONS).num_new_images == 0
    drop_here(out, rewrite=True)
    before = fingerprint(out)
    again = run_here(b1k_root, out, **OPTIONS)
    assert (again.num_new_images, again.faults) == (0, {})
    assert drop_here(out, 20, rewrite=True).removed == []
    assert fingerprint(out) == before


def test_positions_of_other_episodes_stay_as_upstream_counts_them(out: Path) -> None:
    def third(out: Path) -> set[int]:
        dataset = ShardDataset(out, tasks=[0], episodes=[2])
        return {span.episode_index for span in dataset.spans()}

    assert third(out) == {40}
    drop_here(out, 10)
    assert third(out) == {40}
    drop_here(out, rewrite=True)
    assert third(out) == {40}


@pytest.mark.faults
def test_a_data_set_that_is_open_reads_on_and_a_new_one_sees_the_mask(out: Path) -> None:
    dataset = ShardDataset(out)
    assert int(dataset[60]["episode_index"]) == 20
    drop_here(out, 20)
    item = dataset[61]
    assert (int(item["episode_index"]), read(item[IMAGE_KEY + "head"]).frame_index) == (20, 2)
    assert len(dataset) == sum(LENGTHS.values())
    assert len(ShardDataset(out)) == sum(LENGTHS.values()) - 125
    dataset.close()  # as a worker that is spawned later: it opens what is there now
    with pytest.raises(UserError, match="changed since this data set was opened: episodes were"):
        dataset[61]


def test_what_grows_behind_an_open_data_set_does_no_harm(b1k_root: Path, tmp_path: Path) -> None:
    run_here(b1k_root, tmp_path, tasks="0", size="64", stride=30, cameras="head")
    dataset = ShardDataset(tmp_path)
    length = len(dataset)
    run_here(b1k_root, tmp_path, size="64", stride=30, cameras="head")
    dataset.close()
    assert int(dataset[length - 1]["episode_index"]) == 40
    assert len(ShardDataset(tmp_path)) > length


def test_growth_after_a_drop_and_drops_after_growth(b1k_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = {**OPTIONS, "val_episodes": "", "stride": 10}
    run_here(b1k_root, out, tasks="0", **options)
    drop_here(out, 20, rewrite=True)
    names = set(data_files(out))
    run_here(b1k_root, out, **options)
    assert served(out) == [10, 40, 490010, 490040]
    assert [g.generation for g in load_manifest(out).generations] == [1, 2]
    assert names < set(data_files(out))
    assert traces(out, 20) == set()  # also metadata, which the growth copied again

    drop_here(out, 490010, 10)
    assert served(out) == [40, 490040]
    drop_here(out, rewrite=True)
    # Each new generation stands in the place of the one that it replaces.
    assert [g.generation for g in load_manifest(out).generations] == [3, 4]
    assert served(out) == [40, 490040]
    assert traces(out, 10) == traces(out, 490010) == set()
    assert verify_here(b1k_root, out, num_random=20).status == "proven"

    drop_here(out, 40, rewrite=True)  # all that its generation had
    assert [g.generation for g in load_manifest(out).generations] == [4]
    assert served(out) == [490040]
    assert verify_here(b1k_root, out, num_random=20).status == "proven"
    before = fingerprint(out)
    assert run_here(b1k_root, out, **options).num_new_images == 0
    assert fingerprint(out) == before


def test_a_number_is_never_given_twice(b1k_root: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "val_episodes": "", "stride": 10, "shard_size": 256, "layout": "episode"}
    out = tmp_path / "out"
    run_here(b1k_root, out, tasks="0", episodes="0", **options)
    run_here(b1k_root, out, tasks="0", **options)
    drop_here(out, 20, 40, rewrite=True)  # the whole of generation 1
    assert [p.name for p in (out / "data/train").iterdir()] == ["b1k-train-000000.tar"]
    run_here(b1k_root, out, **options)
    assert sorted(p.name for p in (out / "data/train").iterdir()) == [
        "b1k-train-000000.tar", "b1k-train-000002.tar",
    ]  # fmt: skip
    assert [g.generation for g in load_manifest(out).generations] == [0, 2]


def test_a_quarantined_episode_that_is_dropped_is_missing_no_more(
    own_root: Path, tmp_path: Path
) -> None:
    video = "videos/task-0000/observation.images.rgb.head/episode_00000020.mp4"
    (own_root / video).unlink()
    out = tmp_path / "out"
    assert sorted(run_here(own_root, out, **OPTIONS).faults) == [20]
    assert drop_here(out, 20).manifest.complete
    assert (out / ".predecode/quarantine.jsonl").read_text() == ""
    assert run_here(own_root, out, **OPTIONS).faults == {}
    with pytest.raises(UserError, match="no episode is quarantined"):
        retry_here(own_root, out, {20})
    drop_here(out, rewrite=True)
    assert traces(out, 20) == set()
    assert verify_here(own_root, out, num_random=20).status == "proven"


def test_a_retried_episode_stays_where_it_is_when_an_older_generation_is_rewritten(
    own_root: Path, tmp_path: Path
) -> None:
    """The fault of a generation that is rewritten does not become the newest word."""
    video = own_root / "videos/task-0000/observation.images.rgb.head/episode_00000020.mp4"
    data = video.read_bytes()
    video.unlink()
    out = tmp_path / "out"
    run_here(own_root, out, **OPTIONS)
    video.write_bytes(data)
    assert retry_here(own_root, out).faults == {}
    drop_here(out, 10, rewrite=True)
    manifest = load_manifest(out)
    assert [g.generation for g in manifest.generations] == [2, 1]
    assert (manifest.complete, served(out)) == (True, [40, 490010, 20])
    assert verify_here(own_root, out, num_random=20).status == "proven"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of webdataset 1.0.2 itself
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_finds_no_key_of_a_removed_episode(out: Path) -> None:
    import webdataset

    def keys(split: str = "train") -> list[str]:
        tars = [str(path) for path in sorted((out / "data" / split).glob("*.tar"))]
        dataset = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False)
        return [sample["__key__"] for sample in dataset]

    drop_here(out, 40)
    assert sum(key.startswith("ep00000040_") for key in keys()) == 376  # a mask is ours alone
    drop_here(out, rewrite=True)
    assert len(keys()) == sum(LENGTHS.values()) - 376
    assert not any(key.startswith("ep00000040_") for key in keys())
    listed = json.loads((out / "b1k.json").read_text())["shardlist"]
    assert sorted(shard["url"] for shard in listed) == sorted(
        path.relative_to(out).as_posix() for path in (out / "data/train").iterdir()
    )


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_outputs_of_older_formats_lose_episodes_too(
    golden: Path, golden_root: Path, tmp_path: Path
) -> None:
    root, out = golden_root, Path(shutil.copytree(golden, tmp_path / "out"))
    options: dict[str, Any] = {"size": "64", "stride": 30, "quality": 85, "embed_lowdim": True}
    with pytest.raises(UserError, match="no episode with samples would be left"):
        drop_here(out, 490040)
    run_here(root, out, **options)
    grown = Path(shutil.copytree(out, tmp_path / "grown"))
    drop_here(out, 490040)
    assert {span.episode_index for span in ShardDataset(out).spans()} == {490010}
    drop_here(out, rewrite=True)
    assert len(ShardDataset(out)) == 17
    assert traces(out, 490040) == set()
    assert verify_here(root, out, num_random=5).status == "proven"

    drop_here(grown, 490010, rewrite=True)  # the old generation stays as it is
    assert [g.generation for g in load_manifest(grown).generations] == [0]
    assert len(ShardDataset(grown)) == 3
    assert traces(grown, 490010) == set()
    assert data_files(grown) == data_files(golden)


def test_depth_and_segmentation_are_cut_like_pictures(tmp_path: Path) -> None:
    root, out = tmp_path / "b1k", tmp_path / "out"
    make_sample(root, episode_indices=[10, 20])
    options: dict[str, Any] = {
        "size": "64",
        "stride": 40,
        "modalities": "rgb,depth,seg_instance_id",
    }
    run_here(root, out, **options)
    assert drop_here(out, 10, rewrite=True).num_cut == 2  # the shard and the table
    assert traces(out, 10) == set()
    dropped = fingerprint(out)
    next(out.glob("data/train/*.tar")).unlink()
    assert run_here(root, out, **options).num_new_images == 7 * 9  # of 250 frames
    assert fingerprint(out) == dropped


def test_of_the_2026_edition_rows_and_the_annotation_go(
    shards_2026: Path, root_2026: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    out = Path(shutil.copytree(shards_2026, tmp_path / "out"))
    tables = sorted((out / "meta/episodes").rglob("*.parquet"))
    rows = [row for table in tables for row in pq.read_table(table).to_pylist()]
    annotated = next(row for row in rows if row["annotation_path"])
    episode, path = annotated["episode_index"], annotated["annotation_path"]
    assert (out / "meta" / path.removeprefix("meta/")).is_file()
    others = {p for p in (out / "meta").rglob("*.json") if not p.as_posix().endswith(path)}
    drop_here(out, episode, rewrite=True)
    assert not (out / "meta" / path.removeprefix("meta/")).exists()
    assert set((out / "meta").rglob("*.json")) == others
    left = [row for table in tables for row in pq.read_table(table).to_pylist()]
    assert left == [row for row in rows if row["episode_index"] != episode]
    assert structure_here(root_2026, out) == []


@pytest.mark.faults
def test_killed_at_40_changes_it_is_read_and_the_same_command_finishes(
    b1k_root: Path, tmp_path: Path
) -> None:
    run_here(b1k_root, tmp_path / "whole", **kill_drop.OPTIONS)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.kill_drop", b1k_root, tmp_path / "whole", tmp_path,
         "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(trials) == kill_drop.NUM_STEPS == 40
    assert {t["first"] for t in trials} == {-signal.SIGKILL}
    assert [t for t in trials if t["second"] != 0 or t["wrong"]] == []
    # Killed early it serves all, later the rest, and never anything else.
    assert {tuple(t["between"]) for t in trials} == {(10, 20, 40, 490010), (20, 40)}


@pytest.mark.faults
def test_damage_is_not_copied(out: Path) -> None:
    tar = out / "data/train/b1k-train-000000.tar"
    names = {member.name[:11] for member in iter_members(tar)}
    assert {"ep00000010_", "ep00000040_"} <= names
    member = next(m for m in iter_members(tar) if m.name.startswith("ep00000040_"))
    with tar.open("r+b") as file:
        file.seek(member.data_offset_bytes)
        file.write(b"rot")
    before = fingerprint(out)
    done = command_here("drop", out, "--episodes", "00000010", "--rewrite")
    assert done.returncode == 2
    assert f"b1k-train-000000.tar, key {member.name.partition('.')[0]}, member" in done.stderr
    assert "the ledger says" in done.stderr
    shards = {name: digest for name, digest in before.items() if name.startswith("data/")}
    assert {n: d for n, d in fingerprint(out).items() if n.startswith("data/")} == shards
    assert [span.episode_index for span in ShardDataset(out).spans()] == [20, 40, 490010]  # masked


@pytest.mark.faults
def test_on_a_full_disk_it_goes_on_after_room_is_made(
    whole: Path, out: Path, tmp_path: Path
) -> None:
    drop_here(out, 40, rewrite=True)
    num_bytes = sum(-(-p.stat().st_size // 4096) * 4096 for p in whole.rglob("*") if p.is_file())
    with mounted(tmp_path / "disk", f"size={num_bytes + 150_000}") as disk:
        full = Path(shutil.copytree(whole, disk / "out"))
        words: list[str | Path] = ["drop", full, "--episodes", "40", "--rewrite"]
        done = command_here(*words)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "No space left on device" in done.stderr
        assert served(full) == [10, 20, 490010]
        remount(disk, "size=64m")
        done = command_here(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert fingerprint(full) == fingerprint(out)


def test_through_the_command_line(out: Path, b1k_root: Path) -> None:
    for words, message in (
        (["--episodes", "00000021"], "not in "),
        (["--episodes", "00000021"], "the nearest is 00000020, it has 5: 00000010, 00000020, 0000"),
        (["--rewrite"], "nothing is dropped yet"),
        ([], "expected --episodes, or --rewrite"),
        (["--episodes", "ten"], "--episodes ten: expected ids"),
        (["--episodes", "10,20,40,490010,490040"], "no episode with samples would be left"),
    ):
        before = fingerprint(out)
        done = command_here("drop", out, *words)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
        assert fingerprint(out) == before
    done = command_here("drop", out, "--episodes", "00000040")
    assert done.returncode == 0, done.stderr
    assert "1 episodes dropped now, 1 in all; left are 4 episodes" in done.stdout
    assert "their bytes still stand" in done.stdout
    done = command_here("drop", out, "--rewrite")
    assert done.returncode == 0, done.stderr
    assert "shards and tables made anew" in done.stdout
    assert traces(out, 40) == set()
    assert not {"lock", "tmp"} & {path.name for path in (out / ".predecode").iterdir()}
    done = command_here("verify", out, "--root", b1k_root, "--sample", "20")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_unfinished_run_and_a_strange_folder_are_refused(out: Path, tmp_path: Path) -> None:
    next((out / "data/train").iterdir()).unlink()
    with pytest.raises(UserError, match="1 tasks have not run yet or lost their file"):
        drop_here(out, 20)
    with pytest.raises(UserError, match=r"no \.predecode/manifest\.json"):
        drop_here(tmp_path, 20)
    assert not (tmp_path / ".predecode").exists()
