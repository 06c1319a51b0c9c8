"""What a verification found: the structures of its JSON report, ``docs/verify.md`` says each field.

Only figures and words, no picture: a report of a whole data set stays small.
"""

from typing import Literal

import msgspec

from predecode.errors import EpisodeFault

__all__ = [
    "EQUAL_PSNR_DB",
    "MOST_FINDINGS",
    "BackendPair",
    "Backends",
    "CameraFigures",
    "CameraSurvey",
    "Finding",
    "Fingerprint",
    "FramesLevel",
    "ImageFigures",
    "Report",
    "SamplesLevel",
    "SourceSurvey",
    "StreamFormat",
    "StructureLevel",
    "capped",
]

REPORT_VERSION = 1
"""Grows when a field changes its meaning or goes; new fields may come without."""

EQUAL_PSNR_DB = 99.0
"""Stands for equal images, in means too; nothing is given more."""
MOST_FINDINGS = 20
"""Of one job: a shard that is wrong throughout needs no 8192 lines."""

Level = Literal["structure", "frames", "samples", "backends", "source"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be."""

    kind: str
    """A stable word: ``missing-file``, ``bytes``, ``keys``, ``pixels``, …"""
    where: str
    """Shard or other file, relative to what is verified."""
    key: str = ""
    """Sample, ``""`` where the finding concerns the whole file."""
    expected: str
    got: str
    level: Level = "structure"
    is_fault: bool = True
    """False for a remark: worth knowing, but nothing of ours is wrong by it."""

    def __str__(self) -> str:
        """One line: where, what, expected and got."""
        key = f", key {self.key}" if self.key else ""
        remark = "" if self.is_fault else "remark: "
        return f"{self.where}{key}: {remark}{self.kind}: expected {self.expected}, got {self.got}"


class ImageFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One stored image against the fresh one."""

    key: str
    psnr_db: float
    ssim: float
    largest: int
    mean: float


class CameraFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How far stored images of one camera are from fresh ones."""

    num_images: int
    num_equal_images: int
    equal_pixels: float
    """Share of pixels whose three channels are all equal, 0 to 1."""
    largest: int
    """Largest difference of a channel of a pixel, in levels of 0 to 255; so ``mean``."""
    mean: float
    psnr_mean_db: float
    """Equal images count with 99 dB."""
    psnr_worst_db: float
    ssim_mean: float
    ssim_worst: float
    histogram: list[int]
    """256 counts: how many channel values differ by so many levels."""
    worst: list[ImageFigures]
    """The worst images by PSNR, worst first; equal ones are not listed."""


class StructureLevel(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of the stored bytes."""

    num_shards: int
    num_tables: int
    num_samples: int
    num_bytes: int
    """Read and hashed."""


class FramesLevel(msgspec.Struct, frozen=True, kw_only=True):
    """Stored images against a fresh decode."""

    backend: str
    is_lossless: bool
    min_psnr_db: float
    num_samples: int
    """Whose images were decoded anew."""
    chosen: dict[str, int]
    """Why a sample was looked at -> how many: ``ends``, ``keyframes``, ``random``, ``all``."""
    cameras: dict[str, CameraFigures]


class SamplesLevel(msgspec.Struct, frozen=True, kw_only=True):
    """Items of the shards against items decoded on line, after the trainer's own operations."""

    num_samples: int
    equal: dict[str, int]
    """What of an item -> in how many items it is equal to the bit: ``state``, ``action``, …"""
    num_episodes: int
    """Whose low-dimensional tables were compared with the source's, row by row."""
    num_rows: int


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """What decoded, and how it makes RGB of a decoded picture."""

    backend: str
    versions: dict[str, str]
    conversion: str
    """Library and flags of the conversion to RGB, in words."""


class StreamFormat(msgspec.Struct, frozen=True, kw_only=True):
    """A camera's videos as they say of themselves what their numbers mean."""

    camera: str
    num_videos: int
    codec_name: str
    pix_fmt: str
    color_range: str
    """``limited``, ``full`` or ``untagged``."""
    color_matrix: str
    """Such as ``bt709``; ``untagged`` where the stream names none."""


class BackendPair(msgspec.Struct, frozen=True, kw_only=True):
    """Two decoders on one camera's images, at the video's own size."""

    camera: str
    left: str
    right: str
    num_images: int
    num_equal_images: int
    equal_values: float
    """Share of channel values, 0 to 1."""
    largest: int
    mean: float
    psnr_worst_db: float
    why: str
    """What explains a difference, ``""`` where there is none."""


class Backends(msgspec.Struct, frozen=True, kw_only=True):
    """Decoders against each other."""

    names: list[str]
    pairs: list[BackendPair]
    fingerprints: list[Fingerprint]
    formats: list[StreamFormat]


class CameraSurvey(msgspec.Struct, frozen=True, kw_only=True):
    """A camera's videos, from headers and packet tables."""

    num_videos: int
    num_frames: int
    num_bytes: int
    keyframe_gaps: dict[int, int]
    """Frames from a keyframe to the next -> how often; the last of a video counts to its end."""
    largest_jitter_ticks: int
    """Farthest that a picture stands from ``i / fps`` after the first, in ticks of its video."""


class SourceSurvey(msgspec.Struct, frozen=True, kw_only=True):
    """A data set before any decoding."""

    kind: str
    num_episodes: int
    num_frames: int
    num_bytes: int
    cameras: dict[str, CameraSurvey]


class Report(msgspec.Struct, kw_only=True):
    """A verification from first to last; ``None`` for a level that was not asked for."""

    version: int = REPORT_VERSION
    written_by: str
    subject: str
    """The output's or the source's folder, as given."""
    status: Literal["proven", "different", "unchecked"]
    findings: list[Finding]
    """Faults first."""
    num_faults: int
    structure: StructureLevel | None = None
    frames: FramesLevel | None = None
    samples: SamplesLevel | None = None
    backends: Backends | None = None
    source: SourceSurvey | None = None
    quarantined: list[EpisodeFault] = []
    """Episodes that the output lacks, and why."""
    unchecked: str = ""
    """Why not all that was asked for could be looked at."""


def capped(findings: list[Finding]) -> list[Finding]:
    """Returns the first findings of one job, and in place of too many others how many they are."""
    kept, rest = findings[:MOST_FINDINGS], findings[MOST_FINDINGS:]
    if rest:
        more = Finding(
            kind="more",
            where=rest[0].where,
            expected="none",
            got=f"{len(rest)} more like these",
            level=rest[0].level,
            is_fault=any(finding.is_fault for finding in rest),
        )
        kept = [*kept, more]
    return kept
