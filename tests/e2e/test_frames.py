"""Every stored picture is the right frame with the right pixels."""

import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from predecode.sources.barcode import Identity, read
from tests.conftest import SAMPLE_EPISODES
from tests.support.jobs import run_here
from tests.support.media import NASA_MP4
from tests.unit.video.reference import require_nasa
from train_shards.dataset import IMAGE_KEY, ShardDataset

pytestmark = pytest.mark.slow

CAMERAS = ("head", "left_wrist", "right_wrist")
LENGTHS = {10: 120, 20: 250, 40: 751, 490010: 501, 490040: 90}


def test_every_jpeg_tells_its_own_episode_frame_and_camera(jpeg_shards: Path) -> None:
    dataset = ShardDataset(jpeg_shards)
    assert len(dataset) == sum(LENGTHS.values()) == 1712
    seen = set()
    for item in map(dataset.__getitem__, range(len(dataset))):
        identity = (int(item["episode_index"]), int(item["frame_index"]))
        for camera in CAMERAS:
            assert read(item[IMAGE_KEY + camera]) == Identity(*identity, camera)
        assert item["index"] == identity[1]
        assert item["timestamp"] == identity[1] / 30.0
        seen.add(identity)
    assert seen == {(e, f) for e in SAMPLE_EPISODES for f in range(LENGTHS[e])}


def online_pictures(path: Path) -> list[np.ndarray]:
    """What an on-line reader gets: a plain sequential decode in display order."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def trainer_resize(picture: np.ndarray) -> np.ndarray:
    """The trainer's operation for a square picture: Pillow BILINEAR to 224, nothing to pad."""
    return np.asarray(Image.fromarray(picture).resize((224, 224), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(("codec", "stride"), [("png", 3), ("webp", 15), ("raw", 3)])
def test_lossless_shards_equal_on_line_decoding_and_the_trainers_resize(
    b1k_root: Path, tmp_path: Path, codec: str, stride: int
) -> None:
    """Lossless WebP takes ten times as long as PNG: fewer frames of it."""
    run_here(b1k_root, tmp_path, codec=codec, episodes="00000010,00000040", stride=stride)
    dataset = ShardDataset(tmp_path)
    counts = {3: (40, 251), 15: (8, 51)}[stride]
    assert len(dataset) == sum(counts)
    for camera in CAMERAS:
        for start, episode_index, count in ((0, 10, counts[0]), (counts[0], 40, counts[1])):
            folder = f"videos/task-0000/observation.images.rgb.{camera}"
            pictures = online_pictures(b1k_root / folder / f"episode_{episode_index:08d}.mp4")
            assert len(pictures) == LENGTHS[episode_index]
            for number in range(count):
                stored = dataset[start + number][IMAGE_KEY + camera]
                assert np.array_equal(stored, trainer_resize(pictures[stride * number]))


def test_native_size_keeps_each_cameras_own_pixels(b1k_root: Path, tmp_path: Path) -> None:
    run_here(b1k_root, tmp_path, codec="png", size="native", episodes="00490040")
    item = ShardDataset(tmp_path, image_layout="CHW")[89]
    assert item[IMAGE_KEY + "head"].shape == (3, 240, 240)
    assert item[IMAGE_KEY + "left_wrist"].shape == (3, 160, 160)
    folder = "videos/task-0049/observation.images.rgb.head"
    expected = online_pictures(b1k_root / folder / "episode_00490040.mp4")[89]
    assert np.array_equal(item[IMAGE_KEY + "head"].transpose(1, 2, 0), expected)


def test_foreign_video_matches_the_ffmpeg_command_line(tmp_path: Path) -> None:
    """480x270 H.264 at 30000/1001 fps, beside a second, smaller stream and audio."""
    require_nasa()
    (tmp_path / "films").mkdir()
    shutil.copy(NASA_MP4, tmp_path / "films")
    run_here(tmp_path / "films", tmp_path / "out", src="videos", codec="png", size="native")
    dataset = ShardDataset(tmp_path / "out")
    assert len(dataset) == 390
    for frame in (0, 1, 2, 29, 30, 111, 112, 200, 249, 250, 388, 389):
        # yuv420p planes of the command line, converted by the same library as the decoder's own
        raw = subprocess.run(
            ["ffmpeg", "-v", "error", "-i", str(NASA_MP4), "-map", "0:3",
             "-vf", f"select=eq(n\\,{frame})", "-vsync", "0", "-frames:v", "1",
             "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"],
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        planes = np.frombuffer(raw, np.uint8).reshape(270 * 3 // 2, 480)
        reference = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        # The file is tagged BT.709 and limited range; raw bytes carry no tags.
        reference.colorspace, reference.color_range = 1, 1
        item = dataset[frame]
        assert np.array_equal(item[IMAGE_KEY + "video"], reference.to_ndarray(format="rgb24"))
        assert item["timestamp"] == pytest.approx(frame * 1001 / 30000, abs=1e-12)
