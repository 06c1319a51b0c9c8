"""Depth through the whole chain, both editions: the right frame, and the official metres."""

import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from predecode import pipeline
from predecode.images.stored import stored_image
from predecode.online import OnlineDataset
from predecode.sources.barcode import Identity
from tests.support.edition_2026 import LENGTHS
from tests.support.jobs import command_here, run_here, verify_here
from tests.support.modalities import (
    CAMERAS,
    LENGTHS_2025,
    decoded,
    identity_of,
    official_2025,
    official_2026,
    resized,
)
from train_shards.codec import decode_codes, encode_codes
from train_shards.dataset import ShardDataset
from train_shards.depth import SCALE_2025, metres

pytestmark = pytest.mark.slow

KEY = "observation.images.depth."
FAR_M = 3.0
"""Between the barcode's cells, which are 1 m and 5 m away."""


@pytest.fixture(scope="module")
def shards_2026(depth_root_2026: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("depth_2026") / "shards"
    run_here(depth_root_2026, out, modalities="depth", size="native")
    return out


def identities(dataset: ShardDataset) -> list[set[Identity]]:
    return [
        {identity_of(item[KEY + camera] > FAR_M) for camera in CAMERAS}
        for item in map(dataset.__getitem__, range(len(dataset)))
    ]


def expected(lengths: dict[int, int], stride: int = 1) -> list[set[Identity]]:
    return [
        {Identity(episode, frame, camera) for camera in CAMERAS}
        for episode, length in lengths.items()
        for frame in range(0, length, stride)
    ]


def images(*modality: str) -> list[str]:
    return [camera + suffix for suffix in modality for camera in CAMERAS]


def test_2025_every_native_picture_is_of_its_own_frame(modal_shards: Path) -> None:
    dataset = ShardDataset(modal_shards, cameras=images("_depth"))
    assert identities(dataset) == expected(LENGTHS_2025)


def test_2026_every_native_picture_is_of_its_own_frame(shards_2026: Path) -> None:
    dataset = ShardDataset(shards_2026)
    assert identities(dataset) == expected(LENGTHS)


def test_2025_pictures_of_224_are_the_nearest_pixels(modal_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    run_here(modal_root, out, modalities="depth", size="224")
    dataset = ShardDataset(out)
    assert identities(dataset) == expected(LENGTHS_2025)
    for camera in CAMERAS:
        path = f"videos/task-0000/observation.images.depth.{camera}/episode_00000010.mp4"
        codes = list(decoded(modal_root / path, "gray16le"))
        assert len(codes) == 120
        for frame in range(0, 120, 17):
            official = resized(official_2025(codes[frame]), (224, 224))
            assert np.array_equal(dataset[frame][KEY + camera], official)


def test_2026_pictures_of_224_are_the_nearest_pixels(depth_root_2026: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    run_here(depth_root_2026, out, modalities="depth", size="224", tasks="0,50")
    lengths = {episode: length for episode, length in LENGTHS.items() if episode not in (4, 5)}
    dataset = ShardDataset(out)
    assert identities(dataset) == expected(lengths)
    key = "observation.depth_linear.zed_link_camera_0"
    codes = list(decoded(depth_root_2026 / f"videos/{key}/chunk-000/file-002.mp4", "gray12le"))
    assert len(codes) == LENGTHS[2] + LENGTHS[3]
    for frame in range(0, len(codes), 23):
        official = resized(official_2026(codes[frame]), (224, 224))
        position = LENGTHS[0] + LENGTHS[1] + frame
        assert np.array_equal(dataset[position][f"{KEY}head"], official)


@pytest.mark.parametrize("camera", CAMERAS)
def test_2025_metres_are_the_loader_s_to_the_bit(
    modal_root: Path, modal_shards: Path, camera: str
) -> None:
    dataset = ShardDataset(modal_shards, cameras=[f"{camera}_depth"])
    position = 0
    for episode, length in LENGTHS_2025.items():
        path = f"videos/task-0000/observation.images.depth.{camera}/episode_{episode:08d}.mp4"
        for codes in decoded(modal_root / path, "gray16le"):
            depth_m = dataset[position][KEY + camera]
            assert depth_m.dtype == np.float32
            assert np.array_equal(depth_m, official_2025(codes))
            position += 1
        assert position == length + (120 if episode == 20 else 0)


def test_2026_metres_are_lerobot_s_to_the_bit(depth_root_2026: Path, shards_2026: Path) -> None:
    """A shared file: episodes 1 to 3 of the right wrist."""
    key = "observation.depth_linear.right_realsense_link_camera_0"
    path = depth_root_2026 / f"videos/{key}/chunk-000/file-001.mp4"
    dataset = ShardDataset(shards_2026, cameras=["right_wrist_depth"])
    num_pictures = 0
    for position, codes in enumerate(decoded(path, "gray12le"), start=LENGTHS[0]):
        depth_m = dataset[position][KEY + "right_wrist"]
        assert np.array_equal(depth_m, official_2026(codes))
        num_pictures += 1
    assert num_pictures == LENGTHS[1] + LENGTHS[2] + LENGTHS[3]


@pytest.mark.parametrize("edition", ["2025", "2026"])
def test_on_line_items_equal_stored_ones(
    edition: str,
    modal_root: Path,
    modal_shards: Path,
    depth_root_2026: Path,
    shards_2026: Path,
) -> None:
    """To the bit, windows included, at frames around the ends of episodes and files."""
    root, out, length = {
        "2025": (modal_root, modal_shards, 370),
        "2026": (depth_root_2026, shards_2026, 947),
    }[edition]
    options: dict[str, Any] = {
        "cameras": ["head_depth", "left_wrist_depth"],
        "delta_timestamps": {f"{KEY}head": [-0.1, 0.0]},
    }
    online = OnlineDataset(root, size="native", modalities=["depth"], **options)
    shards = ShardDataset(out, **options)
    assert len(online) == len(shards) == length
    for position in (0, 1, 60, 61, 62, 119, 120, 160, 161, length - 1):
        stored, fresh = shards[position], online[position]
        assert stored.keys() == fresh.keys()
        assert stored[f"{KEY}head"].shape == (2, 240, 240)
        for name, value in stored.items():
            assert np.array_equal(value, fresh[name]), name


def test_the_command_line_stores_and_proves_every_modality(
    modal_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    words = ["--episodes", "00000010", "--size", "96x96", "--stride", "3", "--num-cpus", "1"]
    modalities = ["--modalities", "rgb,depth,seg_instance_id"]
    done = command_here(
        "run", "--src", "b1k", "--root", modal_root, "--out", out, *words, *modalities
    )
    assert done.returncode == 0, done.stderr
    assert "40 samples, 360 images" in done.stdout
    proven = command_here("verify", out, "--all")
    assert proven.returncode == 0, proven.stdout + proven.stderr
    assert "proven: 1 shard, 40 samples, 360 images decoded again" in proven.stdout


@pytest.mark.parametrize("image", ["left_wrist_depth", "left_wrist_seg"])
def test_one_wrong_pixel_is_found(
    modal_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str
) -> None:
    def spoilt(picture: Any, settings: Any, name: str, *others: Any) -> Any:
        stored = np.array(stored_image(picture, settings, name, *others))
        stored[100, 50] ^= 1 if name == image else 0
        return stored

    monkeypatch.setattr(pipeline, "stored_image", spoilt)
    options: dict[str, Any] = {"modalities": "depth,seg_instance_id", "cameras": "left_wrist"}
    run_here(modal_root, tmp_path / "out", episodes="00000010", stride=60, **options)
    monkeypatch.undo()
    report = verify_here(modal_root, tmp_path / "out")
    assert report.status == "different"
    frames = [finding for finding in report.findings if finding.level == "frames"]
    assert {finding.key for finding in frames} == {"ep00000010_f000000", "ep00000010_f000060"}
    assert all(image in str(finding) for finding in frames), frames


@pytest.mark.parametrize(
    ("pix_fmt", "what"),
    [
        ("gbrp", "huecodec"),
        ("yuv444p12le", "16-bit codes"),
        ("gray12le", "as in the 2026 edition"),
        ("yuv420p", "8 bits"),
    ],
)
def test_2025_another_format_is_refused_and_named(
    modal_root: Path, tmp_path: Path, pix_fmt: str, what: str
) -> None:
    root, out = tmp_path / "b1k", tmp_path / "shards"
    shutil.copytree(modal_root, root)
    path = "videos/task-0000/observation.images.depth.left_wrist/episode_00000010.mp4"
    _encode(root / path, pix_fmt, 160)
    made = run_here(root, out, modalities="depth", cameras="left_wrist", stride=50)
    (fault,) = made.faults.values()
    assert (fault.episode_index, fault.camera, fault.path) == (10, "left_wrist_depth", path)
    assert fault.problem == "not this edition's depth"
    assert fault.expected == "pixel format yuv420p10le or yuv420p12le or yuv420p16le"
    assert fault.got.startswith(f"{pix_fmt} (")
    assert what in fault.got
    row = json.loads((out / ".predecode/quarantine.jsonl").read_text())
    assert row["retry"].startswith("predecode retry ")
    # Nobody who does not ask for depth is concerned; on line the episode is left out, too.
    assert not run_here(root, tmp_path / "rgb", cameras="left_wrist", stride=50).faults
    online = OnlineDataset(root, modalities=["depth"], cameras=["left_wrist_depth"])
    assert [fault.got for fault in online.faults] == [fault.got]


def test_2026_another_format_is_refused_and_named(depth_root_2026: Path, tmp_path: Path) -> None:
    root, key = tmp_path / "b1k", "observation.depth_linear.zed_link_camera_0"
    shutil.copytree(depth_root_2026, root)
    _encode(root / f"videos/{key}/chunk-050/file-000.mp4", "yuv420p10le", 240, LENGTHS[6])
    made = run_here(root, tmp_path / "out", modalities="depth", cameras="head", stride=50)
    (fault,) = made.faults.values()
    assert (fault.episode_index, fault.camera) == (6, "head_depth")
    assert (fault.expected, fault.got) == (
        "pixel format gray12le",
        "yuv420p10le (14-bit codes in 4:2:0 of 10 bits, as in the 2025 edition)",
    )


def test_220_distances_survive_the_recipe_of_2025(tmp_path: Path) -> None:
    """A ramp of 0 to 10 m: 14-bit codes as 10 bits of limited range (b1k-format.md 4.3)."""
    depth_m = np.linspace(0, 10, 512 * 512).reshape(512, 512)
    a, b = np.log(3.5), np.log(13.5)
    codes = np.clip(np.rint((np.log(depth_m + 3.5) - a) / (b - a) * 16383), 0, 16383)
    path = tmp_path / "ramp.mp4"
    with av.open(str(path), "w") as container:
        options = {"x265-params": "lossless=1:log-level=none"}
        stream: Any = container.add_stream("libx265", rate=30, options=options)
        stream.width = stream.height = 512
        stream.pix_fmt = "yuv420p10le"
        frame = av.VideoFrame.from_ndarray(codes.astype(np.uint16), format="gray16le")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (carried,) = decoded(path, "gray16le")
    stored = stored_metres(carried, tmp_path)
    assert len(np.unique(carried)) == len(np.unique(stored)) == 220
    error_m = stored - depth_m
    assert np.abs(error_m).mean() == pytest.approx(0.014, abs=0.002)
    assert np.abs(error_m).max() == pytest.approx(0.059, abs=0.003)
    assert error_m[depth_m > 5].mean() == pytest.approx(0.012, abs=0.002)


def stored_metres(codes: Any, folder: Path) -> Any:
    """What a reader gives for codes that were stored, through the members' own bytes."""
    path = folder / "member.npz"
    path.write_bytes(encode_codes(codes, "codes"))
    return metres(decode_codes(path.read_bytes(), "codes", (512, 512)), SCALE_2025)


def _encode(path: Path, pix_fmt: str, side_px: int, num_frames: int = 120) -> None:
    """A video of noise, of another writer."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (side_px, side_px, 3), np.uint8)
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=none", "preset": "ultrafast"}
        stream: Any = container.add_stream("libx265", rate=30, options=options)
        stream.width = stream.height = side_px
        stream.pix_fmt = pix_fmt
        for _ in range(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
