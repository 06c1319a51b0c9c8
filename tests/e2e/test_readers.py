"""What was stored is read back: by our data set against the source, and by foreign readers."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from predecode.sources.barcode import Identity, read
from predecode.sources.sample import make_sample
from tests.support.jobs import run_here
from train_shards.codec import decode_image
from train_shards.dataset import IMAGE_KEY, ShardDataset

pytestmark = pytest.mark.slow

CAMERAS = ("head", "left_wrist", "right_wrist")


def source_rows(root: Path, task: int, episode_index: int) -> list[dict[str, Any]]:
    table = pq.read_table(root / f"data/task-{task:04d}/episode_{episode_index:08d}.parquet")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_every_column_of_every_row_is_the_source_s(jpeg_shards: Path, b1k_root: Path) -> None:
    dataset = ShardDataset(jpeg_shards, cameras=["head"])
    start = 0
    for task, episode_index in ((0, 10), (0, 20), (0, 40), (49, 490010)):
        rows = source_rows(b1k_root, task, episode_index)
        for frame in (0, 1, len(rows) // 2, len(rows) - 1):
            item, row = dataset[start + frame], rows[frame]
            assert set(row) - {"observation.task_info"} == set(item) - {
                "frame_index", "sample_index", "task", IMAGE_KEY + "head",
            }  # fmt: skip
            for name, shape in (
                ("observation.state", 256), ("observation.cam_rel_poses", 21), ("action", 23),
            ):  # fmt: skip
                assert item[name].dtype == np.float32
                assert item[name].shape == (shape,)
                assert np.array_equal(item[name], np.array(row[name], np.float32))
            for name in ("index", "episode_index", "task_index", "timestamp"):
                assert item[name] == row[name]
                assert item[name].dtype == (np.float64 if name == "timestamp" else np.int64)
            assert item["sample_index"] == start + frame
        start += len(rows)


def test_items_are_fresh_arrays(jpeg_shards: Path) -> None:
    """Trainers' transforms write into them."""
    dataset = ShardDataset(jpeg_shards)
    before = dataset[5]["action"].copy()
    dataset[5]["action"][:] = 7
    assert np.array_equal(dataset[5]["action"], before)


def test_an_episode_without_poses_has_no_such_key(jpeg_shards: Path) -> None:
    item = ShardDataset(jpeg_shards)[-1]
    assert item["episode_index"] == 490040
    assert "observation.cam_rel_poses" not in item
    assert item["observation.state"].shape == (256,)


def test_a_double_state_is_stored_as_float32_and_task_info_on_request(tmp_path: Path) -> None:
    root = tmp_path / "b1k"
    make_sample(root, episode_indices=[10, 490020], modalities=("rgb",))
    run_here(root, tmp_path / "out", size="64", stride=50, task_info=True)
    dataset = ShardDataset(tmp_path / "out")
    assert len(dataset) == 3 + 21
    for position, task, episode_index, frame in ((1, 0, 10, 50), (4, 49, 490020, 50)):
        row = source_rows(root, task, episode_index)[frame]
        item = dataset[position]
        assert np.array_equal(
            item["observation.state"], np.array(row["observation.state"], np.float32)
        )
        assert np.array_equal(
            item["observation.task_info"], np.array(row["observation.task_info"], np.float32)
        )


def test_the_task_is_the_sentence(jpeg_shards: Path, b1k_root: Path) -> None:
    tasks = {
        row["task_index"]: row["task"]
        for row in map(json.loads, (b1k_root / "meta/tasks.jsonl").read_text().splitlines())
    }
    dataset = ShardDataset(jpeg_shards)
    for position in (0, 500, 1200, 1711):
        assert dataset[position]["task"] == tasks[int(dataset[position]["task_index"])]
    assert {int(dataset[p]["task_index"]) for p in (0, 1711)} == {0, 49}


def test_metadata_for_training_is_copied(jpeg_shards: Path, b1k_root: Path) -> None:
    for name in ("info.json", "tasks.jsonl", "episodes.jsonl", "episodes_stats.jsonl"):
        assert (jpeg_shards / "meta" / name).read_bytes() == (b1k_root / "meta" / name).read_bytes()
    annotation = "annotations/task-0000/episode_00000040.json"
    assert (jpeg_shards / "meta" / annotation).read_bytes() == (b1k_root / annotation).read_bytes()


def check_foreign(key: str, row: dict[str, Any], pictures: dict[str, Any]) -> None:
    """A foreign reader's sample tells the same identity in key, json and every picture."""
    assert key == f"ep{row['episode_index']:08d}_f{row['frame_index']:06d}"
    for camera, picture in pictures.items():
        assert read(np.asarray(picture)) == Identity(
            row["episode_index"], row["frame_index"], camera
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of webdataset 1.0.2 itself
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_plain_webdataset_reads_the_tars(jpeg_shards: Path) -> None:
    import webdataset

    tars = sorted(str(p) for p in (jpeg_shards / "data/train").glob("*.tar"))
    assert len(tars) == 5
    dataset = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode("rgb8")
    keys, episodes_of_first = set(), set()
    for number, sample in enumerate(dataset):
        keys.add(sample["__key__"])
        if number < 64:
            episodes_of_first.add(sample["json"]["episode_index"])
        if number % 20 == 0:
            check_foreign(
                sample["__key__"], sample["json"], {c: sample[f"{c}.jpg"] for c in CAMERAS}
            )
    assert len(keys) == 1712
    # ``mixed``: a sequential reader's first batch already spans episodes.
    assert len(episodes_of_first) >= 2


@pytest.mark.filterwarnings("ignore")  # a foreign library's own, of many kinds
def test_hugging_face_datasets_reads_the_tars(jpeg_shards: Path, tmp_path: Path) -> None:
    import datasets

    files = {"train": str(jpeg_shards / "data/train/*.tar")}
    loaded = datasets.load_dataset(
        "webdataset", data_files=files, split="train", cache_dir=str(tmp_path)
    )
    assert len(loaded) == 1712
    for number in range(0, 1712, 100):
        sample = loaded[number]
        check_foreign(sample["__key__"], sample["json"], {c: sample[f"{c}.jpg"] for c in CAMERAS})


@pytest.mark.filterwarnings("ignore")
def test_the_card_lets_the_hub_find_the_splits(b1k_root: Path, tmp_path: Path) -> None:
    import datasets

    out = tmp_path / "out"
    run_here(b1k_root, out, tasks="0", size="64", stride=25, val_episodes="00000020")
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 5 + 31, "val": 10}


def test_the_wids_index_lists_the_shards(jpeg_shards: Path) -> None:
    import hashlib

    index = json.loads((jpeg_shards / "b1k.json").read_text())
    assert (index["__kind__"], index["wids_version"]) == ("wids-shard-index-v1", 1)
    assert sum(shard["nsamples"] for shard in index["shardlist"]) == 1712
    for shard in index["shardlist"]:
        data = (jpeg_shards / shard["url"]).read_bytes()
        assert (shard["filesize"], shard["md5sum"]) == (len(data), hashlib.md5(data).hexdigest())


def test_embedded_state_and_action_are_the_tables(b1k_root: Path, tmp_path: Path) -> None:
    import tarfile

    run_here(b1k_root, tmp_path, episodes="00490040", size="64", embed_lowdim=True, codec="webp")
    rows = source_rows(b1k_root, 49, 490040)
    with tarfile.open(next((tmp_path / "data/train").glob("*.tar"))) as tar:
        names = tar.getnames()
        assert len(names) == 90 * 6
        assert [name.split(".", 1)[1] for name in names[:6]] == [
            "action.npy", "head.webp", "json", "left_wrist.webp", "right_wrist.webp", "state.npy",
        ]  # fmt: skip
        for frame in (0, 89):
            key = f"ep00490040_f{frame:06d}"
            for part, column in (("state", "observation.state"), ("action", "action")):
                file = tar.extractfile(f"{key}.{part}.npy")
                assert file is not None
                stored = np.load(io.BytesIO(file.read()), allow_pickle=False)
                assert np.array_equal(stored, np.array(rows[frame][column], np.float32))
            picture = tar.extractfile(f"{key}.head.webp")
            assert picture is not None
            identity = read(decode_image(picture.read(), "webp", (64, 64)))
            assert identity == Identity(490040, frame, "head")
