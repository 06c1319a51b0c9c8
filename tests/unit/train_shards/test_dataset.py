"""Items by position, in and out of torch's DataLoader, and what damage says."""

import os
import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.stored import (
    CAMERAS,
    StoredEpisode,
    painted,
    settings_of,
    tiny_output,
    write_generation,
    write_manifest,
    write_table,
)
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.errors import DataError, UserError

LIVE = [(10, 0), (10, 1), (10, 2), (70010, 0), (70010, 1), (70010, 2), (70010, 3)]
HEAD, LEFT = "observation.images.rgb.head", "observation.images.rgb.left_wrist"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    tiny_output(tmp_path / "shards")
    return tmp_path / "shards"


def pictures_of(item: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
    return {name: value for name, value in item.items() if name.startswith(IMAGE_KEY)}


def test_an_item_holds_what_its_docstring_says(out: Path) -> None:
    dataset = ShardDataset(out)
    item = dataset[4]
    assert sorted(item) == sorted(
        [HEAD, LEFT, "observation.state", "timestamp", "sample_index", "episode_index",
         "frame_index", "task_index", "task"]
    )  # fmt: skip
    assert {name: (p.shape, p.dtype.name) for name, p in pictures_of(item).items()} == {
        HEAD: ((16, 24, 3), "uint8"),
        LEFT: ((16, 24, 3), "uint8"),
    }
    ids = [item[name] for name in ("sample_index", "episode_index", "frame_index", "task_index")]
    assert ids == [4, 70010, 1, 7]
    assert {type(value) for value in ids} == {np.int64}
    assert item["task"] == "close the drawer"
    assert item["observation.state"].tolist() == [70010, 1, 0.5]
    assert item["timestamp"] == 1 / 30
    dataset.close()


def test_every_position_is_its_own_frame_in_every_camera(out: Path) -> None:
    dataset = ShardDataset(out, check_index=True)
    assert len(dataset) == 7
    for position, sample in enumerate(LIVE):
        item = dataset[position]
        assert np.array_equal(item[HEAD], painted(*sample, camera="head"))
        assert np.array_equal(item[LEFT], painted(*sample, camera="left_wrist"))
    dataset.close()


def test_a_masked_episode_is_not_served(out: Path) -> None:
    dataset = ShardDataset(out)
    served = [(int(item["episode_index"]), int(item["frame_index"])) for item in iterate(dataset)]
    assert served == LIVE
    dataset.close()


def iterate(dataset: ShardDataset) -> list[dict[str, Any]]:
    return list(dataset)  # type: ignore[call-overload, no-any-return]  # by __getitem__ alone


def test_negative_positions_count_from_the_end(out: Path) -> None:
    dataset = ShardDataset(out)
    assert dataset[-1]["sample_index"] == 6
    assert dataset[-7]["sample_index"] == 0
    sampled: Any = np.int64(3)  # as samplers hand it out
    assert dataset[sampled]["sample_index"] == 3
    dataset.close()


@pytest.mark.parametrize("position", [7, -8, 10**12, -(10**12)])
def test_a_position_outside_is_an_index_error(out: Path, position: int) -> None:
    dataset = ShardDataset(out)
    with pytest.raises(IndexError, match="expected 0 to 6"):
        dataset[position]
    dataset.close()


@pytest.mark.parametrize("position", [1.0, "1", None, slice(0, 2)])
def test_a_position_that_is_no_integer_is_a_type_error(out: Path, position: Any) -> None:
    dataset = ShardDataset(out)
    with pytest.raises(TypeError):
        dataset[position]
    dataset.close()


def test_chw_is_hwc_with_its_axes_moved(out: Path) -> None:
    hwc, chw = ShardDataset(out)[2], ShardDataset(out, image_layout="CHW")[2]
    assert chw[HEAD].shape == (3, 16, 24)
    assert chw[HEAD].flags.c_contiguous
    for row, column, channel in ((0, 0, 0), (15, 23, 2), (3, 7, 1)):
        assert chw[HEAD][channel, row, column] == hwc[HEAD][row, column, channel]
    assert chw[HEAD][:, 0, 0].tolist() == [10, 20, 100]  # episode, 10 * frame, camera


def test_some_cameras_are_decoded_alone_and_in_the_order_asked(out: Path) -> None:
    assert list(pictures_of(ShardDataset(out, cameras=["left_wrist"])[0])) == [LEFT]
    both = ShardDataset(out, cameras=("left_wrist", "head"))
    assert both.cameras == ("left_wrist", "head")
    assert np.array_equal(both[0][HEAD], painted(10, 0, "head"))


def test_items_are_the_caller_s_own(out: Path) -> None:
    dataset = ShardDataset(out)
    first = dataset[0]
    first[HEAD][:] = 0
    first["observation.state"][:] = 0
    assert dataset[0][HEAD].any()
    assert dataset[0]["observation.state"].tolist() == [10, 0, 0.5]


@pytest.mark.parametrize(("codec", "quality"), [("jpeg", 95), ("webp", None), ("raw", None)])
def test_other_codecs(tmp_path: Path, codec: str, quality: int | None) -> None:
    tiny_output(tmp_path, codec=codec, quality=quality)
    picture = ShardDataset(tmp_path)[6][HEAD].astype(int)
    limit = 3 if codec == "jpeg" else 0
    assert np.abs(picture - painted(70010, 3, "head")).max() <= limit


def test_native_size_is_served_as_it_is(tmp_path: Path) -> None:
    tiny_output(tmp_path, size="native")
    assert ShardDataset(tmp_path)[0][HEAD].shape == (16, 24, 3)


def test_the_val_split_is_its_own(tmp_path: Path) -> None:
    settings = settings_of()
    train = write_generation(tmp_path, settings, [StoredEpisode(10, 1)], [[(10, 0)]])
    val = write_generation(
        tmp_path, settings, [StoredEpisode(20, 2)], [[(20, 1), (20, 0)]], generation=1, split="val"
    )
    write_manifest(tmp_path, settings, [train, val])
    dataset = ShardDataset(tmp_path, split="val")
    assert [int(item["episode_index"]) for item in iterate(dataset)] == [20, 20]
    assert len(ShardDataset(tmp_path)) == 1


# --- refusals -------------------------------------------------------------------------------------


def test_a_camera_that_is_not_stored_is_refused(out: Path) -> None:
    with pytest.raises(
        UserError, match=r"cameras \['head', 'top'\]: expected some of \['head', 'left_wrist'\]"
    ):
        ShardDataset(out, cameras=["head", "top"])
    with pytest.raises(UserError, match=r"cameras \[\]: expected some of \['head'"):
        ShardDataset(out, cameras=[])


def test_an_unknown_layout_is_refused(out: Path) -> None:
    with pytest.raises(UserError, match="image_layout 'NHWC': expected one of 'HWC', 'CHW'"):
        ShardDataset(out, image_layout="NHWC")  # type: ignore[arg-type]


def test_no_output_and_no_split_are_refused(out: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no .predecode/manifest.json"):
        ShardDataset(tmp_path)
    with pytest.raises(UserError, match="no split 'val'; it has train"):
        ShardDataset(out, split="val")


# --- damage ---------------------------------------------------------------------------------------


def test_a_damaged_picture_names_shard_key_and_member(tmp_path: Path) -> None:
    tiny_output(tmp_path, codec="jpeg", quality=90)
    shard = tmp_path / "data/train/tiny-train-000000.tar"
    data = bytearray(shard.read_bytes())
    start = data.index(b"\xff\xd8\xff")  # the first JPEG: head camera of (70010, 2)
    data[start : start + 2] = b"\0\0"
    shard.write_bytes(data)
    dataset = ShardDataset(tmp_path)
    with pytest.raises(
        DataError,
        match="tiny-train-000000.tar, key ep00070010_f000002, member head.jpg: "
        "not a readable jpeg picture of ",
    ):
        dataset[5]
    assert len(ShardDataset(tmp_path, cameras=["left_wrist"])[5]) == 8  # the other camera is whole


def test_a_picture_of_another_size_names_shard_key_and_member(out: Path) -> None:
    manifest = out / ".predecode/manifest.json"
    manifest.write_text(manifest.read_text().replace('"24x16"', '"16x24"'))
    with pytest.raises(
        DataError,
        match="tiny-train-000000.tar, key ep00000010_f000000, member head.png: "
        ".*expected 24x16 pixels, got 16x24",
    ):
        ShardDataset(out)[0]


def test_a_cut_shard_names_shard_and_key(out: Path) -> None:
    os.truncate(out / "data/train/tiny-train-000000.tar", 700)
    with pytest.raises(
        DataError, match="tiny-train-000000.tar, key ep00000010_f000000: .*the shard is cut"
    ):
        ShardDataset(out)[0]


def test_a_table_shorter_than_its_episodes_is_no_quiet_end(out: Path) -> None:
    # An IndexError out of __getitem__ would end a for loop as if the data set were read through.
    short = [StoredEpisode(10, 1), StoredEpisode(20, 2), StoredEpisode(70010, 4)]
    write_table(out / "lowdim/tiny-lowdim-000000.arrow", short)
    with pytest.raises(DataError, match="ep00000010_f000000: .* 1 rows, the episode has 3 frames"):
        iterate(ShardDataset(out))


def test_a_table_with_fewer_episodes_names_the_key(out: Path) -> None:
    write_table(out / "lowdim/tiny-lowdim-000000.arrow", [StoredEpisode(10, 3)])
    with pytest.raises(DataError, match="ep00070010_f000000"):
        ShardDataset(out)[3]


def test_a_missing_table_names_the_key(out: Path) -> None:
    (out / "lowdim/tiny-lowdim-000000.arrow").unlink()
    with pytest.raises(DataError, match="ep00000010_f000000"):
        ShardDataset(out)[0]


@pytest.mark.parametrize("offset", [8, 16], ids=["shard", "episode"])
def test_a_damaged_index_record_is_no_quiet_end(out: Path, offset: int) -> None:
    # Records are 24 + 3 * 8 bytes after the header (128) and three episodes (56 each); not checked
    # on first touch, so that the numbers in it may be anything.
    path = out / ".predecode/index/train-000000.idx"
    data = bytearray(path.read_bytes())
    data[128 + 3 * 56 + 48 + offset] = 0x7F  # row 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="train-000000.idx"):
        iterate(ShardDataset(out))


def test_a_task_that_the_manifest_does_not_name_is_a_data_error(tmp_path: Path) -> None:
    manifest = tiny_output(tmp_path)
    write_manifest(tmp_path, manifest.settings, manifest.generations, tasks={0: "open the drawer"})
    with pytest.raises(DataError, match="task 7"):
        ShardDataset(tmp_path)[3]


# --- processes ------------------------------------------------------------------------------------


def test_a_pickled_data_set_is_small_and_works(out: Path) -> None:
    dataset = ShardDataset(out, cameras=["head"], image_layout="CHW")
    dataset[0]
    data = pickle.dumps(dataset)
    assert len(data) < 100_000
    copy = pickle.loads(data)
    assert len(copy) == 7
    assert np.array_equal(copy[3][HEAD], dataset[3][HEAD])


def test_a_pickled_data_set_of_many_shards_stays_small(tmp_path: Path) -> None:
    manifest = tiny_output(tmp_path)
    generation = manifest.generations[0]
    many = [generation.shards[0]] * 20_000
    write_manifest(tmp_path, manifest.settings, [msgspec.structs.replace(generation, shards=many)])
    assert len(pickle.dumps(ShardDataset(tmp_path))) < 100_000


def test_a_closed_data_set_opens_again(out: Path) -> None:
    dataset = ShardDataset(out)
    dataset.close()
    dataset.close()
    assert dataset[0]["sample_index"] == 0


def same(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A collate function that a spawned worker can import."""
    return items


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, about pin_memory and resource trackers
@pytest.mark.parametrize("num_workers", [0, 2])
def test_torch_loads_the_same_items_in_workers(out: Path, num_workers: int) -> None:
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        ShardDataset(out),  # type: ignore[arg-type]
        batch_size=3,
        num_workers=num_workers,
        multiprocessing_context="spawn" if num_workers else None,
        collate_fn=same,
    )
    items = [item for batch in loader for item in batch]
    assert [(int(i["episode_index"]), int(i["frame_index"])) for i in items] == LIVE
    for item, sample in zip(items, LIVE, strict=True):
        assert np.array_equal(item[LEFT], painted(*sample, camera="left_wrist"))


@pytest.mark.slow
def test_torch_s_own_collate_takes_the_items(out: Path) -> None:
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(ShardDataset(out), batch_size=7)  # type: ignore[arg-type]
    (batch,) = loader
    assert tuple(batch[HEAD].shape) == (7, 16, 24, 3)
    assert batch["frame_index"].tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert batch["task"][3] == "close the drawer"


@pytest.mark.parametrize("codec", ["png", "raw"])
def test_no_two_items_share_memory(tmp_path: Path, codec: str) -> None:
    tiny_output(tmp_path / "out", codec=codec)
    dataset = ShardDataset(tmp_path / "out")
    items = dataset.__getitems__([0, 1, 1, 0, 2])
    images = [item[f"observation.images.rgb.{camera}"] for item in items for camera in CAMERAS]
    assert len(images) == 10
    for image in images:
        image[:] = 255  # each is writable
        assert sum(np.shares_memory(image, other) for other in images) == 1
    assert dataset[0]["observation.images.rgb.head"].max() < 255


def test_columns_make_items_of_equal_keys(tmp_path: Path) -> None:
    tiny_output(tmp_path / "out")
    dataset = ShardDataset(tmp_path / "out", columns=["timestamp"], cameras=["head"])
    ids = {"sample_index", "episode_index", "frame_index", "task_index", "task"}
    assert set(dataset[0]) == {"timestamp", "observation.images.rgb.head", *ids}
    windows = {"observation.state": [0, 1 / 30]}
    dataset = ShardDataset(tmp_path / "out", columns=[], cameras=["head"], delta_timestamps=windows)
    assert set(dataset[0]) == {
        "observation.state", "observation.state_is_pad", "observation.images.rgb.head", *ids,
    }  # fmt: skip
    with pytest.raises(UserError, match=r"columns: no 'states'; known: \['observation.state', "):
        ShardDataset(tmp_path / "out", columns=["states"])


@pytest.mark.slow
def test_rollouts_and_demonstrations_collate_where_columns_are_named(jpeg_shards: Path) -> None:
    """The rollout 490040 has no camera poses."""
    dataset: Any = ShardDataset(jpeg_shards, columns=["observation.state", "action", "timestamp"])
    (batch,) = torch.utils.data.DataLoader(dataset, batch_size=6, sampler=[0, 9, 1700, 3, -1, 5])
    assert batch["observation.state"].shape == (6, 256)
    assert batch["episode_index"].tolist() == [10, 10, 490040, 10, 490040, 10]
    dataset = ShardDataset(jpeg_shards, columns=["observation.cam_rel_poses"])
    assert dataset[0]["observation.cam_rel_poses"].shape == (21,)
    with pytest.raises(DataError, match="episode 00490040: no column 'observation.cam_rel_poses'"):
        dataset[-1]
