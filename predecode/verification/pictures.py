"""Stored pictures of one shard against the source decoded anew.

Owns what the parts of a shard's verification share: the job, the finding, the shard itself.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from predecode.errors import DataError, EpisodeError
from predecode.images.resize import resize_with_pad
from predecode.pipeline import ShardJob, decoded_pictures
from predecode.planning import PlannedEpisode
from train_shards.codec import decode_image, is_lossless
from train_shards.format import format_key, image_field
from train_shards.manifest import ShardEntry

__all__ = [
    "CameraDifference",
    "VerifiedShard",
    "VerifyJob",
    "check_pictures",
    "member_bytes",
]

_MOST_PSNR_DB = 99.0
"""Stands for equal pictures in means."""


class CameraDifference(msgspec.Struct, kw_only=True):
    """How far stored pictures of one camera are from fresh ones."""

    num_images: int = 0
    num_equal: int = 0
    largest: int = 0
    """Largest difference of one channel of one pixel, 0 to 255."""
    worst_psnr_db: float = _MOST_PSNR_DB
    sum_psnr_db: float = 0.0
    """Of all images; equal ones count with 99 dB."""

    def __str__(self) -> str:
        """One line for the operator."""
        if not self.num_images:
            return "no image decoded again"
        if self.num_equal == self.num_images:
            return f"{self.num_images:,} images, all equal"
        mean_psnr_db = self.sum_psnr_db / self.num_images
        return (
            f"{self.num_images:,} images, {self.num_equal:,} equal, PSNR mean "
            f"{mean_psnr_db:.1f} dB, worst {self.worst_psnr_db:.1f} dB, largest difference "
            f"{self.largest}"
        )

    def add(self, other: "CameraDifference") -> None:
        """Adds another set of images."""
        self.num_images += other.num_images
        self.num_equal += other.num_equal
        self.largest = max(self.largest, other.largest)
        self.worst_psnr_db = min(self.worst_psnr_db, other.worst_psnr_db)
        self.sum_psnr_db += other.sum_psnr_db


class VerifyJob(msgspec.Struct, frozen=True, kw_only=True):
    """One shard to verify."""

    shard: ShardJob
    entry: ShardEntry
    absent: list[int]
    """Episodes that the shard leaves out because they were at fault in its task."""
    positions: list[int] | None
    """Samples to decode again, as positions in the shard; None for all."""
    min_psnr_db: float

    @property
    def name(self) -> str:
        """For messages."""
        return f"verify {self.shard.name}"


class VerifiedShard(NamedTuple):
    """A shard under verification."""

    job: VerifyJob
    path: Path
    order: list[tuple[int, int]]
    """Samples that it must hold, in order."""
    found: Callable[[str, str, object, object], None]


def check_pictures(
    shard: VerifiedShard, rows: NDArray[np.void], report: Callable[[int], None]
) -> dict[str, CameraDifference]:
    """Stored pictures against the source decoded anew: before encoding, and after decoding."""
    job, settings = shard.job, shard.job.shard.settings
    positions = range(len(rows)) if job.positions is None else job.positions
    row_of = {shard.order[p]: rows[p] for p in positions if p < len(rows)}
    differences = {camera: CameraDifference() for camera in settings.camera_names}
    with shard.path.open("rb") as file:
        for planned, camera, frames in _runs(job, row_of):
            try:
                pictures = decoded_pictures(Path(job.shard.root), planned, camera, frames)
                for frame, picture in pictures:
                    sample = (planned.episode.episode_index, frame)
                    fresh = resize_with_pad(picture, settings.picture_size)
                    _compare(
                        shard, file.fileno(), row_of[sample], camera, fresh, differences[camera]
                    )
                    report(1)
            except EpisodeError as error:
                key = format_key(planned.episode.episode_index, frames[0])
                shard.found("source", key, "the pictures that the plan names", error)
    return differences


def _runs(
    job: VerifyJob, row_of: dict[tuple[int, int], np.void]
) -> Iterator[tuple[PlannedEpisode, str, list[int]]]:
    """Which frames of which camera to decode, one file after the other."""
    for planned in job.shard.episodes:
        frames = sorted(f for e, f in row_of if e == planned.episode.episode_index)
        for camera in job.shard.settings.camera_names if frames else ():
            yield planned, camera, frames


def _compare(
    shard: VerifiedShard,
    descriptor: int,
    row: np.void,
    camera: str,
    fresh: NDArray[np.uint8],
    difference: CameraDifference,
) -> None:
    settings = shard.job.shard.settings
    key = format_key(int(row["episode_index"]), int(row["frame_index"]))
    position = settings.camera_names.index(camera)
    if xxhash.xxh3_64_intdigest(fresh.data) != int(row["pixel_xxh3"][position]):
        shard.found(
            "pixels", key, f"{camera}: the pixels of a fresh decode",
            "others were given to the encoder",
        )  # fmt: skip
    member = settings.fields.index(image_field(camera, settings.codec))
    try:
        stored = decode_image(
            member_bytes(descriptor, row, member), settings.codec, fresh.shape[:2]
        )
    except DataError as error:
        shard.found("picture", key, f"{camera}: a {settings.codec} picture", error)
        return
    psnr_db, largest = _distance(stored, fresh)
    lossless = is_lossless(settings.codec, settings.quality)
    if largest and lossless:
        shard.found("pixels", key, f"{camera}: equal pixels", f"a difference of up to {largest}")
    elif psnr_db < shard.job.min_psnr_db:
        shard.found(
            "psnr", key, f"{camera}: at least {shard.job.min_psnr_db:g} dB", f"{psnr_db:.1f} dB"
        )
    difference.add(
        CameraDifference(
            num_images=1,
            num_equal=int(largest == 0),
            largest=largest,
            worst_psnr_db=psnr_db,
            sum_psnr_db=psnr_db,
        )
    )


def _distance(stored: NDArray[np.uint8], fresh: NDArray[np.uint8]) -> tuple[float, int]:
    """Peak signal-to-noise ratio in dB over all channels, and the largest difference."""
    difference = stored.astype(np.int16) - fresh
    largest = int(np.abs(difference).max(initial=0))
    if largest == 0:
        return _MOST_PSNR_DB, 0
    mean_square = float(np.mean(np.square(difference, dtype=np.int32)))
    return min(10 * float(np.log10(255**2 / mean_square)), _MOST_PSNR_DB), largest


def member_bytes(descriptor: int, row: np.void, member: int) -> bytes:
    """Returns the content of one member, from where the ledger says that it is."""
    start = int(row["offset_bytes"]) + int(row["data_offset_bytes"][member])
    return os.pread(descriptor, int(row["data_bytes"][member]), start)
