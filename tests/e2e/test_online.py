"""The on-line data set against stored samples of the same data, and against the pictures' names."""

import logging
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from predecode.errors import UserError
from predecode.online import OnlineDataset
from predecode.sources.barcode import CAMERAS, Identity, read
from predecode.video import pyav
from tests.support.backends import PYTHONS, require
from tests.support.jobs import run_here
from tests.support.media import make
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.errors import DataError

pytestmark = pytest.mark.slow

Item = dict[str, Any]
HEAD, STATE, POSES = IMAGE_KEY + "head", "observation.state", "observation.cam_rel_poses"
SIZE = "112"
NUM_SAMPLES = 120 + 250 + 751 + 501 + 90
ALIKE: list[dict[str, Any]] = [
    {"tasks": ["make_pizza"], "image_layout": "CHW"},
    {"episodes": [1], "frames": (100, 300), "image_dtype": "float32"},
    {"cameras": ["right_wrist"], "image_transforms": np.mean},
    {"delta_timestamps": {"action": [0.0, 1 / 30, 2 / 30], HEAD: [-2 / 30, 0.0, 1 / 30]}},
]


@pytest.fixture(scope="module")
def png_shards(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("png") / "shards"
    run_here(b1k_root, out, codec="png", size=SIZE)
    return out


def assert_same(online: Item, stored: Item) -> None:
    """Every key with the same type, dtype, shape and bits."""
    assert sorted(online) == sorted(stored)
    for key, value in stored.items():
        assert type(online[key]) is type(value), key
        if isinstance(value, np.ndarray | np.generic):
            assert (online[key].dtype, online[key].shape) == (value.dtype, value.shape), key
            assert online[key].tobytes() == value.tobytes(), key
        else:
            assert online[key] == value, key


def assert_named(item: Item, cameras: tuple[str, ...] = CAMERAS) -> None:
    """That the pictures are those of the item's frame, as they themselves say."""
    for camera in cameras:
        name = Identity(int(item["episode_index"]), int(item["frame_index"]), camera)
        assert read(item[IMAGE_KEY + camera]) == name


@contextmanager
def count_pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collects the rank of every picture that PyAV decodes, wanted or not."""
    ranks: list[int] = []
    genuine = pyav.PyavDecoder._identify

    def counted(self: pyav.PyavDecoder, frame: Any) -> int:
        ranks.append(genuine(self, frame))
        return ranks[-1]

    with monkeypatch.context() as patch:
        patch.setattr(pyav.PyavDecoder, "_identify", counted)
        yield ranks


def test_every_item_is_the_stored_one(
    b1k_root: Path, png_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online, stored = OnlineDataset(b1k_root, size=SIZE), ShardDataset(png_shards)
    assert len(online) == len(stored) == NUM_SAMPLES
    assert online.fps == stored.fps == (30, 1)
    with count_pictures(monkeypatch) as decoded:
        for position in range(NUM_SAMPLES):
            assert_same(online[position], stored[position])
    assert len(decoded) == 3 * NUM_SAMPLES  # in order, each picture once
    online.close()
    stored.close()


@pytest.mark.parametrize("options", ALIKE, ids=",".join)
def test_options_mean_the_same(b1k_root: Path, png_shards: Path, options: dict[str, Any]) -> None:
    online = OnlineDataset(b1k_root, size=SIZE, **options)
    stored = ShardDataset(png_shards, **options)
    assert len(online) == len(stored)
    assert online.cameras == stored.cameras
    step = len(stored) // 40
    positions = [0, -1, *range(0, len(stored), step)]
    for one, other in zip(
        online.__getitems__(positions), stored.__getitems__(positions), strict=True
    ):
        assert_same(one, other)
    online.close()
    stored.close()


def test_stride_and_size_mean_the_same(b1k_root: Path, tmp_path: Path) -> None:
    run_here(b1k_root, tmp_path / "out", codec="raw", size="80x64", stride=7)
    options: dict[str, Any] = {
        "delta_timestamps": {HEAD: [-7 / 30, 0.0], STATE: [1 / 30]}, "frames": (3, 500),
    }  # fmt: skip
    online = OnlineDataset(b1k_root, size="80x64", stride=7, **options)
    stored = ShardDataset(tmp_path / "out", **options)
    assert len(online) == len(stored) == 17 + 35 + 71 + 71 + 12
    for position in range(len(stored)):
        assert_same(online[position], stored[position])
    with pytest.raises(UserError, match="expected multiples of 7 frames"):
        OnlineDataset(b1k_root, stride=7, delta_timestamps={HEAD: [1 / 30]})
    online.close()


def test_a_plain_folder_of_videos(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("hevc", "h264_open_gop"):
        make(name, tmp_path / "videos")
    run_here(tmp_path / "videos", tmp_path / "out", src="videos", codec="raw", size="native")
    online = OnlineDataset(tmp_path / "videos", src="videos", size="native")
    stored = ShardDataset(tmp_path / "out")
    assert len(online) == len(stored) == 300
    for position in [*range(0, 300, 9), *range(140, 160)]:
        assert_same(online[position], stored[position])
    online.close()


# --- the three decoders ---------------------------------------------------------------------------

BORDERS = (
    # episode 20 has one GOP; 40 has a cut at 120 in head, so 370 there and 250 in the wrists.
    [("20", f) for f in (0, 246, 247, 248, 249)]
    + [("40", f) for f in (116, 119, 120, 246, 247, 248, 249, 250, 251, 366, 369, 370, 750)]
    + [("490010", f) for f in (246, 249, 250, 496, 497, 498, 499, 500)]
    + [("490040", f) for f in (0, 89)]
)
STARTS = {"10": 0, "20": 120, "40": 370, "490010": 1121, "490040": 1622}


@pytest.mark.parametrize("backend", ["pyav", "torchcodec", "video_reader"])
def test_pictures_at_the_borders_of_gops_are_right_and_equal(
    b1k_root: Path, png_shards: Path, backend: str
) -> None:
    require(backend)
    online = OnlineDataset(b1k_root, backend=backend, backend_python=PYTHONS, size=SIZE)
    stored = ShardDataset(png_shards)
    positions = [STARTS[episode] + frame for episode, frame in BORDERS]
    order = np.random.default_rng(0).permutation(len(positions))
    for number in order.tolist():  # each after a seek
        item = online[positions[number]]
        assert (str(item["episode_index"]), item["frame_index"]) == BORDERS[number]
        assert_named(item)
        assert_same(item, stored[positions[number]])  # to the bit, whichever library decodes
    online.close()


def test_the_environment_chooses_a_decoder(b1k_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B1K_VIDEO_BACKEND", "torchcodec")
    online = OnlineDataset(b1k_root, cameras=["head"], size="64")
    online[0]
    (stream,) = online._open()._streams.values()
    assert type(stream.decoder).__name__ == "TorchcodecDecoder"
    online.close()
    monkeypatch.setenv("B1K_VIDEO_BACKEND", "torchvision")
    with pytest.raises(
        UserError,
        match=r"'torchvision' \(\$B1K_VIDEO_BACKEND\): .*pyav, torchcodec, video_reader",
    ):
        OnlineDataset(b1k_root)
    monkeypatch.setenv("B1K_VIDEO_BACKEND", "video_reader")
    with pytest.raises(UserError, match=r"torchvision.*apt install python3-torchvision"):
        OnlineDataset(b1k_root)  # not in this environment


# --- what is decoded ------------------------------------------------------------------------------


@pytest.mark.parametrize("offsets", [[-2, 0], [-30, 0], [0, 3], [0, 30], [-5, 0, 5]], ids=str)
@pytest.mark.parametrize("batch_size", [1, 16])
def test_windows_in_order_decode_each_picture_once(
    b1k_root: Path, monkeypatch: pytest.MonkeyPatch, offsets: list[int], batch_size: int
) -> None:
    online = OnlineDataset(
        b1k_root, size="32", episodes=[1], tasks=[0], cameras=["left_wrist"],
        delta_timestamps={IMAGE_KEY + "left_wrist": [offset / 30 for offset in offsets]},
    )  # fmt: skip
    with count_pictures(monkeypatch) as decoded:
        for start in range(0, 250, batch_size):
            online.__getitems__(range(start, min(start + batch_size, 250)))
    assert decoded == list(range(250))
    online.close()


def test_a_batch_decodes_each_gop_once(b1k_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    online = OnlineDataset(b1k_root, size="32", cameras=["left_wrist"])
    frames = [600, 30, 10, 700, 10, 650, 31]  # keyframes of episode 40: 0, 250, 500, 750
    with count_pictures(monkeypatch) as decoded:
        items = online.__getitems__([STARTS["40"] + frame for frame in frames])
    assert [int(item["frame_index"]) for item in items] == frames
    # What lies between and is referred to by nothing is left out: half of it, in this structure.
    assert decoded == sorted(set(decoded))
    assert set(frames) <= set(decoded) <= {*range(32), *range(500, 701)}
    assert len(decoded) < 0.7 * (32 + 201)
    online.close()


def test_a_random_picture_costs_its_gop_up_to_it(
    b1k_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = OnlineDataset(b1k_root, size="32", cameras=["left_wrist"])
    with count_pictures(monkeypatch) as decoded:
        online[STARTS["40"] + 505]
        online[STARTS["490010"] + 2]
        online[STARTS["40"] + 507]  # goes on in the decoder left open
        online[STARTS["40"] + 507]  # is there still
    # Of the pictures before, those that are referred to; behind the wanted one, each.
    first, second = decoded.index(505) + 1, decoded.index(2) + 1
    assert decoded[0] == 500
    assert decoded[:first] == sorted(set(decoded[:first]))
    assert decoded[first:second] in ([0, 2], [0, 1, 2])
    assert decoded[second:] == [506, 507]
    online.close()


def test_open_files_are_bounded(b1k_root: Path) -> None:
    from predecode import open_episodes

    online = OnlineDataset(b1k_root, size="32")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for start in STARTS.values():
        online[start]
    opened = online._open()
    assert len(opened._streams) == 3 * open_episodes.OPEN_EPISODES == 12
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 12
    assert all(len(stream.recent) == 1 for stream in opened._streams.values())
    online.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert online[0]["sample_index"] == 0  # opens again
    online.close()


def test_items_are_the_caller_s_own(b1k_root: Path) -> None:
    online = OnlineDataset(b1k_root, cameras=["head"], size="native")
    first, second = online.__getitems__([3, 3])
    first[HEAD][:] = 0
    first[STATE][:] = 0
    for item in (second, online[3]):
        assert_named(item, ("head",))
        assert item[STATE].any()
    online.close()


# --- faults ---------------------------------------------------------------------------------------


def video(root: Path, episode_index: int, camera: str) -> Path:
    (path,) = root.glob(f"videos/*/*rgb.{camera}/episode_{episode_index:08d}.mp4")
    return path


def test_a_broken_episode_is_left_out_as_a_job_leaves_it_out(
    own_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.truncate(video(own_root, 20, "left_wrist"), 5000)
    run_here(own_root, tmp_path / "out", codec="raw", size="32")
    with caplog.at_level(logging.WARNING):
        online = OnlineDataset(own_root, size="32")
        online[0]
    assert [r.getMessage()[:41] for r in caplog.records] == [
        "left out: episode 00000020, camera left_w"
    ]
    assert [fault.episode_index for fault in online.faults] == [20]
    stored = ShardDataset(tmp_path / "out")
    assert len(online) == len(stored) == NUM_SAMPLES - 250
    for position in [0, 119, 120, 121, *range(200, len(stored), 150)]:
        assert_same(online[position], stored[position])
    options: dict[str, Any] = {"episodes": [2], "frames": (5, 9)}  # the third of its task, still
    assert_same(
        OnlineDataset(own_root, size="32", **options)[0],
        ShardDataset(tmp_path / "out", **options)[0],
    )
    online.close()


@pytest.fixture
def damaged_root(own_root: Path) -> Path:
    """A data set in which one packet of episode 10 is unreadable, which no header tells."""
    path = video(own_root, 10, "head")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
        packet = sorted(packets, key=lambda p: p.pts or 0)[60]
        assert packet.pos is not None
        start = packet.pos
    data = bytearray(path.read_bytes())
    data[start : start + 8] = bytes(byte ^ 0xFF for byte in data[start : start + 8])
    path.write_bytes(data)
    return own_root


def test_damage_in_a_video_names_episode_and_camera(damaged_root: Path) -> None:
    online = OnlineDataset(damaged_root, size="32")
    assert online.faults == []
    with pytest.raises(DataError, match="episode 00000010, camera head, videos/.*00000010.mp4: "):
        online[60]
    assert_named(OnlineDataset(damaged_root)[120])  # the next episode is whole
    online.close()


def test_skipping_serves_the_next_sample(
    damaged_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    online = OnlineDataset(damaged_root, on_error="skip", size="32")
    with caplog.at_level(logging.WARNING):
        items = online.__getitems__([117, 130])
    assert [int(item["sample_index"]) for item in items] == [120, 130]
    assert [r.getMessage()[:18] for r in caplog.records] == [
        f"sample {n} skipped" for n in (117, 118, 119)
    ]
    online.close()


def test_a_video_that_changed_meanwhile_is_an_error(own_root: Path) -> None:
    online = OnlineDataset(own_root, size="32")
    shutil.copy(video(own_root, 20, "left_wrist"), video(own_root, 40, "left_wrist"))
    with pytest.raises(DataError, match="episode 00000040, camera left_wrist.*file changed since"):
        online[STARTS["40"]]
    online.close()


def test_rows_out_of_order_are_an_error(own_root: Path) -> None:
    import pyarrow.parquet as pq

    path = own_root / "data/task-0000/episode_00000020.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0, *range(2, 250)]), path)
    online = OnlineDataset(own_root, size="32")
    with pytest.raises(DataError, match="episode 00000020, .*: timestamp of row 0"):
        online[STARTS["20"]]
    online.close()


def test_a_window_of_what_an_episode_lacks_is_an_error(b1k_root: Path) -> None:
    online = OnlineDataset(b1k_root, size="32", delta_timestamps={POSES: [0.0]})
    assert online[0][POSES].shape == (1, 21)
    with pytest.raises(DataError, match="episode 00490040: no column 'observation.cam_rel_poses'"):
        online[STARTS["490040"]]
    online.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": ["top"]}, r"cameras \['top'\]: expected some of \['head', 'left_wrist'"),
        ({"tasks": ["fly"]}, "no task 'fly' here; expected some of make_pizza, turning_on_radio"),
        ({"episodes": [7]}, "select no sample"),
        ({"size": "big"}, "--size big: expected 'native'"),
        ({"stride": 0}, "stride 0: expected 1 or more"),
        ({"src": "rlds"}, "expected one of b1k, lerobot, videos"),
        ({"delta_timestamps": {"reward": [0.0]}}, "no column 'reward'; known: .*observation.state"),
        ({"backend_python": {"torchcodec": "/x"}}, "only video_reader runs under another Python"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_refused(
    b1k_root: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        OnlineDataset(b1k_root, **options)


def test_the_digest_names_what_is_in_the_files(b1k_root: Path, own_root: Path) -> None:
    digest = OnlineDataset(b1k_root).digest
    assert len(digest) == 32
    assert OnlineDataset(own_root, cameras=["head"], size="32").digest == digest  # another root
    others: list[dict[str, Any]] = [{"tasks": [0]}, {"frames": (0, 9)}, {"stride": 2}]
    digests = {OnlineDataset(b1k_root, **options).digest for options in others}
    shutil.copy(video(own_root, 20, "left_wrist"), video(own_root, 20, "right_wrist"))
    digests.add(OnlineDataset(own_root).digest)
    assert len(digests | {digest}) == 5


# --- processes ------------------------------------------------------------------------------------


def keep(items: list[Item]) -> list[Item]:
    """A collate function that a spawned worker can import."""
    return items


@pytest.mark.filterwarnings("ignore")  # torch's own, about pin_memory and resource trackers
@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("backend", ["pyav", "video_reader"])
def test_workers_serve_the_same_items(b1k_root: Path, method: str, backend: str) -> None:
    import torch.utils.data

    require(backend)
    online = OnlineDataset(
        b1k_root, episodes=[0], cameras=["left_wrist"], backend=backend, backend_python=PYTHONS
    )
    online[5]  # read in the parent first: open decoders must not trouble the workers
    assert len(pickle.dumps(online)) < 10_000
    loader: Any = torch.utils.data.DataLoader(
        online,  # type: ignore[arg-type]
        batch_size=64, num_workers=2, collate_fn=keep, multiprocessing_context=method,
    )  # fmt: skip
    items = [item for batch in loader for item in batch]
    assert [int(item["sample_index"]) for item in items] == [*range(120), *range(1121, 1622)]
    for item in items[::23]:
        assert_named(item, ("left_wrist",))
    assert online[6]["sample_index"] == 6  # the parent's own goes on
    online.close()
