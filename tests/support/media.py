"""Small test videos whose pictures show their own number, made by the ffmpeg command line.

Each asset stands with the command that makes it. A picture carries its number as 10 black and white
blocks and the inverse in a second row, so that a test can read back which picture it got, after any
codec. Around them a texture moves, and another one takes its place every 53 pictures, so that
encoders see a cut.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["HEIGHT_PX", "MEDIA", "NASA_MP4", "WIDTH_PX", "Media", "make", "painted", "read_number"]

NASA_MP4 = Path(__file__).parents[2] / "../shared/media/nasa.mp4"
"""A real film with two video streams; 390 pictures in the better one, stream 3."""

WIDTH_PX, HEIGHT_PX = 160, 96
_BLOCK_PX = 8
_BITS = 10
_SCENE = 53

FFMPEG = ("ffmpeg", "-v", "error", "-y", "-threads", "1")
PAINTED = (*FFMPEG, "-f", "rawvideo", "-pix_fmt", "gray", "-video_size", f"{WIDTH_PX}x{HEIGHT_PX}")
X265_RATE_30 = (*PAINTED, "-r", "30", "-i", "-", "-pix_fmt", "yuv420p", "-c:v", "libx265")


@dataclass(frozen=True)
class Media:
    """One test video and the command that makes it."""

    file_name: str
    command: tuple[str, ...]
    """The file is appended to it. Reads painted pictures from standard input, or a ``source``."""
    num_pictures: int
    source: str | None = None
    """Name of the asset that is repackaged; its file stands for ``{source}`` in the command."""


MEDIA = {
    # x265's own settings but for a shorter GOP: open GOPs, B pyramid, scene cuts; keyframes at
    # 0, 40, 53, 93, 106, 146.
    "hevc": Media("hevc.mp4", (*X265_RATE_30, "-x265-params", "keyint=40:log-level=none"), 150),
    "hevc_faststart": Media(
        "hevc_faststart.mp4",
        (*FFMPEG, "-i", "{source}", "-c", "copy", "-movflags", "+faststart"),
        150,
        source="hevc",
    ),
    "hevc_mkv": Media("hevc.mkv", (*FFMPEG, "-i", "{source}", "-c", "copy"), 150, source="hevc"),
    "hevc_fragments": Media(
        "hevc_fragments.mp4",
        (*FFMPEG, "-i", "{source}", "-c", "copy", "-movflags", "frag_keyframe+empty_moov"),
        150,
        source="hevc",
    ),
    # Without an edit list the pts begin at the encoder's delay.
    "hevc_late": Media(
        "hevc_late.mp4",
        (*FFMPEG, "-i", "{source}", "-c", "copy", "-use_editlist", "0"),
        150,
        source="hevc",
    ),
    # Begins with an empty edit of 2 s.
    "hevc_gap": Media(
        "hevc_gap.mp4",
        (*FFMPEG, "-i", "{source}", "-c", "copy", "-output_ts_offset", "2"),
        150,
        source="hevc",
    ),
    # An edit list hides the pictures from the keyframe before 2 s up to 2 s.
    "hevc_clip": Media(
        "hevc_clip.mp4",
        (*FFMPEG, "-ss", "2", "-i", "{source}", "-c", "copy"),
        90,
        source="hevc",
    ),
    # The layout of the 2026 recipe: many short GOPs, no B frames.
    "hevc_short_gops": Media(
        "hevc_short_gops.mp4",
        (*X265_RATE_30, "-g", "8", "-x265-params", "bframes=0:log-level=none"),
        60,
    ),
    "hevc_hashed": Media(
        "hevc_hashed.mp4", (*X265_RATE_30, "-x265-params", "keyint=20:hash=1:log-level=none"), 60
    ),
    # Steps of 512 to 896 ticks of 1/15360 s.
    "hevc_uneven": Media(
        "hevc_uneven.mp4",
        (
            *X265_RATE_30,
            *("-vf", r"settb=1/15360,setpts=N*600+mod(N*N\,7)*64", "-fps_mode", "passthrough"),
            *("-enc_time_base", "1/15360", "-video_track_timescale", "15360"),
            *("-x265-params", "keyint=40:log-level=none"),
        ),
        90,
    ),
    "h264": Media(
        "h264.mp4",
        (
            *(*PAINTED, "-r", "30000/1001", "-i", "-", "-pix_fmt", "yuv420p", "-c:v", "libx264"),
            *("-g", "40", "-bf", "3", "-movflags", "+faststart"),
        ),
        150,
    ),
    "h264_open_gop": Media(
        "h264_open_gop.mp4",
        (
            *(*PAINTED, "-r", "30", "-i", "-", "-pix_fmt", "yuv420p", "-c:v", "libx264"),
            *("-x264-params", "open-gop=1:keyint=40:bframes=3:b-pyramid=normal"),
        ),
        150,
    ),
    "av1": Media(
        "av1.mp4",
        (
            *(*PAINTED, "-r", "30", "-i", "-", "-pix_fmt", "yuv420p"),
            *("-c:v", "libsvtav1", "-preset", "10", "-g", "20"),
        ),
        50,
    ),
}


def make(name: str, directory: Path) -> Path:
    """Makes the asset of that name in ``directory`` unless it is there already."""
    media = MEDIA[name]
    path = directory / media.file_name
    if not path.exists():
        source = str(make(media.source, directory)) if media.source else ""
        command = [part.replace("{source}", source) for part in media.command]
        pictures = b"" if media.source else painted(media.num_pictures).tobytes()
        subprocess.run([*command, str(path)], input=pictures, check=True, capture_output=True)
    return path


def painted(num_pictures: int) -> NDArray[np.uint8]:
    """Paints ``(n, H, W)`` uint8 gray pictures that show the numbers 0 to n - 1."""
    numbers = np.arange(num_pictures)
    bits = (numbers[:, None] >> np.arange(_BITS)) & 1  # (n, bits), the lowest first
    rows = np.stack([bits, 1 - bits], axis=1) * 255  # (n, 2 rows of blocks, bits)
    # A texture for each scene, which moves by a pixel a picture; every other scene is dark.
    scenes = np.random.default_rng(0).integers(
        0, 256, (num_pictures // _SCENE + 1, HEIGHT_PX // 4, WIDTH_PX // 4), np.uint8
    )
    scenes[1::2] //= 3
    scenes = scenes.repeat(4, axis=1).repeat(4, axis=2)  # (scenes, H, W)
    pictures = np.stack([np.roll(scenes[number // _SCENE], number, axis=1) for number in numbers])
    blocks = rows.repeat(_BLOCK_PX, axis=1).repeat(_BLOCK_PX, axis=2)  # (n, 2 blocks high, 10 wide)
    pictures[:, : 2 * _BLOCK_PX, : _BITS * _BLOCK_PX] = blocks
    return pictures


def read_number(picture: NDArray[np.uint8]) -> int:
    """Reads the number of an ``(H, W, 3)`` or ``(H, W)`` picture; fails if its rows disagree."""
    gray = picture if picture.ndim == 2 else picture.mean(axis=2)
    middle = slice(_BLOCK_PX // 2, None, _BLOCK_PX)
    first, second = gray[middle, middle][:2, :_BITS] > 128  # two rows of blocks, (bits,) each
    assert np.array_equal(first, ~second), "the two rows of number blocks disagree"
    return int((first.astype(np.int64) << np.arange(_BITS)).sum())
