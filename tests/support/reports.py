"""Reports of verifications with every part filled in, for the tests of their page."""

import numpy as np
from numpy.typing import NDArray

from predecode.errors import EpisodeFault
from predecode.verification.page import ImagePair
from predecode.verification.report import (
    BackendPair,
    Backends,
    CameraFigures,
    CameraSurvey,
    Finding,
    Fingerprint,
    FramesLevel,
    ImageFigures,
    Report,
    SamplesLevel,
    SourceSurvey,
    StreamFormat,
    StructureLevel,
)

__all__ = [
    "BACKENDS",
    "EQUAL_FIGURES",
    "FRAMES",
    "LOSSY_FIGURES",
    "SAMPLES",
    "SOURCE",
    "STRUCTURE",
    "WORST",
    "flat",
    "flat_pair",
    "full_report",
]

WORST = ImageFigures(key="ep00000040_f000311", psnr_db=31.25, ssim=0.98765, largest=37, mean=1.5)

LOSSY_FIGURES = CameraFigures(
    num_images=300,
    num_equal_images=2,
    equal_pixels=0.4321,
    largest=37,
    mean=1.23456,
    psnr_mean_db=38.16,
    psnr_worst_db=31.25,
    ssim_mean=0.99123,
    ssim_worst=0.98765,
    histogram=[6000, 3000, 900, 90, 9, 1] + 250 * [0],
    worst=[WORST],
)

EQUAL_FIGURES = CameraFigures(
    num_images=300,
    num_equal_images=300,
    equal_pixels=1.0,
    largest=0,
    mean=0.0,
    psnr_mean_db=99.0,
    psnr_worst_db=99.0,
    ssim_mean=1.0,
    ssim_worst=1.0,
    histogram=[45158400] + 255 * [0],
    worst=[],
)

STRUCTURE = StructureLevel(num_shards=3, num_tables=1, num_samples=1712, num_bytes=45_158_400)

FRAMES = FramesLevel(
    backend="pyav",
    is_lossless=False,
    min_psnr_db=25.0,
    num_samples=300,
    chosen={"ends": 10, "keyframes": 31, "random": 259},
    cameras={"head": LOSSY_FIGURES, "left_wrist": EQUAL_FIGURES},
)

SAMPLES = SamplesLevel(
    num_samples=64, equal={"action": 64, "state": 63}, num_episodes=5, num_rows=1712
)

BACKENDS = Backends(
    names=["pyav", "torchcodec", "video_reader"],
    pairs=[
        BackendPair(
            camera="head", left="pyav", right="torchcodec", num_images=36, num_equal_images=36,
            equal_values=1.0, largest=0, mean=0.0, psnr_worst_db=99.0, why="",
        ),
        BackendPair(
            camera="head", left="pyav", right="video_reader", num_images=36, num_equal_images=0,
            equal_values=0.75, largest=2, mean=0.25, psnr_worst_db=51.06,
            why="another conversion to RGB",
        ),
    ],
    fingerprints=[
        Fingerprint(
            backend="pyav", versions={"av": "18.1.0", "libavcodec": "62.11.100"},
            conversion="swscale, bicubic, accurate rounding",
        )
    ],
    formats=[
        StreamFormat(
            camera="head", num_videos=5, codec_name="hevc", pix_fmt="yuv420p",
            color_range="limited", color_matrix="untagged",
        )
    ],
)  # fmt: skip

SOURCE = SourceSurvey(
    kind="b1k",
    num_episodes=5,
    num_frames=1712,
    num_bytes=9_876_543,
    cameras={
        "head": CameraSurvey(
            num_videos=5,
            num_frames=1712,
            num_bytes=9_876_543,
            keyframe_gaps={250: 1200, 120: 1, 1: 3},
            largest_jitter_ticks=7,
        )
    },
)

FAULT = Finding(
    kind="psnr", where="b1k-train-000001", key="ep00000040_f000311", level="frames",
    expected="head: at least 32 dB", got="31.2 dB",
)  # fmt: skip
REMARK = Finding(
    kind="unknown-file", where="data/notes.txt", expected="only files of the manifest",
    got="this file", is_fault=False,
)  # fmt: skip


def full_report() -> Report:
    """A report that has every level, one fault, one remark and one quarantined episode."""
    return Report(
        written_by="predecode 0.1.0",
        subject="shards/",
        status="different",
        findings=[FAULT, REMARK],
        num_faults=1,
        structure=STRUCTURE,
        frames=FRAMES,
        samples=SAMPLES,
        backends=BACKENDS,
        source=SOURCE,
        quarantined=[
            EpisodeFault(
                episode_index=10041,
                path="videos/task-0001/episode_00010041.mp4",
                problem="fewer pictures than rows",
                expected="1200",
                got="1198",
                camera="left_wrist",
            )
        ],
    )


def flat(*colour: int, side_px: int = 224) -> NDArray[np.uint8]:
    """A picture of one colour."""
    return np.full((side_px, side_px, 3), colour, np.uint8)


def flat_pair(stored: tuple[int, int, int], fresh: tuple[int, int, int]) -> ImagePair:
    """A pair of the head camera, each picture of one colour."""
    return ImagePair("head", WORST, flat(*stored), flat(*fresh))
