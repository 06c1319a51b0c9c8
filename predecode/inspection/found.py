"""What is in an output: the structures of ``predecode inspect --json``.

Only figures and words. A field keeps its meaning; new ones may come.
"""

import msgspec

from predecode.inspection.opened import Quarantined
from train_shards.manifest import Manifest

__all__ = [
    "Column",
    "EpisodeFound",
    "EpisodeInShard",
    "EpisodeRow",
    "Image",
    "ImageBytes",
    "Instance",
    "Member",
    "OutputFound",
    "SampleFound",
    "Skill",
    "SourceImage",
    "SplitFigures",
    "TaskFigures",
]


class SplitFigures(msgspec.Struct, kw_only=True):
    """One split; episodes and samples that readers are served."""

    num_episodes: int = 0
    num_samples: int = 0
    num_shards: int = 0
    num_shard_bytes: int = 0


class TaskFigures(msgspec.Struct, kw_only=True):
    """One task, by the episodes that readers are served."""

    task_index: int
    name: str
    """Short name, ``""`` where the source has none."""
    task: str
    num_episodes: int = 0
    num_samples: int = 0


class EpisodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One episode that readers are served."""

    episode_index: int
    task_index: int
    split: str
    num_samples: int


class OutputFound(msgspec.Struct, frozen=True, kw_only=True):
    """A whole output."""

    out: str
    manifest: Manifest
    """Settings, versions, totals, generations with their shards, missing and dropped episodes."""
    splits: dict[str, SplitFigures]
    tasks: list[TaskFigures]
    episodes: list[EpisodeRow]
    quarantined: list[Quarantined]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a sample, whose bytes have the hash that the ledger names."""

    field: str
    offset_bytes: int
    """Of its content, counted from the start of the shard."""
    num_bytes: int
    xxh3: str


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance in a segmentation."""

    id: int
    name: str
    """Of the object that it is a part of, ``""`` where the metadata name none."""
    num_pixels: int


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One stored image, decoded."""

    name: str
    modality: str
    width: int
    height: int
    pixel_xxh3: str
    """Of its pixels before encoding, by the ledger."""
    range_m: tuple[float, float] | None = None
    """Least and greatest distance of a depth image."""
    instances: list[Instance] = []
    """Of a segmentation, largest first."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A low-dimensional value in short."""

    name: str
    type: str
    shape: list[int]
    values: list[bool | int | float | str]
    """The first of them, in C order."""
    low: float | None = None
    """Of all numbers of an array; so ``high``."""
    high: float | None = None


class SourceImage(msgspec.Struct, frozen=True, kw_only=True):
    """The picture that a stored image was made of."""

    image: str
    key: str
    """The source's own name of the image."""
    path: str
    """File, relative to the source's root."""
    column: str | None
    """Of a parquet file that holds the pictures."""
    rank: int
    """Position among the file's pictures in display order."""
    pts: int | None
    """In ticks of ``time_base``; None where the source is not at hand."""
    time_base: str | None
    """Seconds a tick, a fraction."""
    num_bytes: int
    """Of the file when it was planned; so ``digest``."""
    digest: str
    note: str
    """Why there is no pts, else ``""``."""


class SampleFound(msgspec.Struct, frozen=True, kw_only=True):
    """One sample."""

    out: str
    key: str
    episode_index: int
    frame_index: int
    num_frames: int
    """Of the episode."""
    split: str
    generation: int
    shard: str
    shard_sha256: str
    offset_bytes: int
    """Of the sample's first tar header."""
    num_bytes: int
    """Of all contents."""
    members: list[Member]
    images: list[Image]
    lowdim: str
    """The table, and which of its record batches; so ``lowdim_batch``."""
    lowdim_batch: int
    columns: list[Column]
    task_index: int
    task: str
    prompt: str
    skill: str | None
    root: str
    """Where the source lay; so all that follow tell of the making."""
    sources: list[SourceImage]
    decoder: str
    environment: dict[str, str]
    plan_digest: str


class EpisodeInShard(msgspec.Struct, kw_only=True):
    """What one shard has of an episode."""

    shard: str
    num_samples: int = 0
    num_bytes: int = 0
    """Contents of its members."""


class ImageBytes(msgspec.Struct, frozen=True, kw_only=True):
    """Stored bytes of one member of an episode's samples."""

    field: str
    total: int
    mean: float
    least: int
    most: int


class Skill(msgspec.Struct, frozen=True, kw_only=True):
    """Frames ``[start, stop)`` that an annotation gives to a skill."""

    start: int
    stop: int
    skill: str


class EpisodeFound(msgspec.Struct, frozen=True, kw_only=True):
    """One episode."""

    out: str
    episode_index: int
    split: str
    generation: int
    task_index: int
    task: str
    prompt: str
    """At the first stored frame."""
    num_frames: int
    num_samples: int
    first_frame: int
    """The first that is stored; so ``last_frame``."""
    last_frame: int
    stride: int
    shards: list[EpisodeInShard]
    members: list[ImageBytes]
    skills: list[Skill]
    lowdim: str
    lowdim_batch: int
    columns: dict[str, str]
    """Column -> type and shape of a row."""
    root: str
    inputs: list[tuple[str, int, str]]
    """File, bytes and digest of what it was made of, when it was planned."""
