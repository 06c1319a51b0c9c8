"""Stored pictures of one shard against the source decoded anew.

Owns what the parts of a shard's verification share: the job, the finding, the shard itself.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from predecode.errors import DataError, EpisodeError
from predecode.images.stored import pixel_format, stored_image
from predecode.pipeline import ShardJob, decoded_pictures, frames_of, planned_ids
from predecode.planning import PlannedEpisode, sample_order
from predecode.verification.image_difference import ImageDifference
from predecode.video.backends import load_backend
from predecode.video.kept_open import KeptOpen
from train_shards.format import format_key
from train_shards.images import StoredImage, decode_stored
from train_shards.ledger import decode_ledger
from train_shards.manifest import ShardEntry

__all__ = [
    "PICTURE_KINDS",
    "VerifiedShard",
    "VerifyJob",
    "both_pictures",
    "check_pictures",
    "fresh_pictures",
    "member_bytes",
    "stored_picture",
]


PICTURE_KINDS = frozenset({"picture", "pixels", "psnr", "decode"})
"""Kinds of findings about pictures."""


class VerifyJob(msgspec.Struct, frozen=True, kw_only=True):
    """One shard to verify."""

    shard: ShardJob
    entry: ShardEntry
    absent: list[int]
    """Episodes that the shard leaves out because they were at fault in its task."""
    masked: list[int]
    """Those that readers are not served: at fault in any task, whose source may have been repaired
    since, or dropped, whose source may be gone."""
    samples: dict[str, list[tuple[int, int]]] | None
    """Reason -> samples ``(episode_index, frame_index)`` to decode again, among them some that the
    shard need not hold; None for all."""
    backend: str
    pythons: dict[str, str]
    """As ``load_backend`` takes them."""
    min_psnr_db: float

    @property
    def name(self) -> str:
        """For messages."""
        return f"verify {self.shard.name}"

    def expected_samples(self) -> list[tuple[int, int]]:
        """Returns the samples that the shard must hold, in order."""
        return sample_order(self._planned_samples(), self.shard.settings)

    def _planned_samples(self) -> Iterator[tuple[int, int]]:
        planned = {p.episode.episode_index: p for p in self.shard.episodes}
        for number, pieces in itertools.groupby(
            self.shard.task.pieces, key=lambda piece: piece.episode_index
        ):
            if number not in self.absent:
                for frame in frames_of(pieces, planned[number], self.shard.settings):
                    yield number, frame

    def holds(self, sample: tuple[int, int]) -> bool:
        """Whether the plan gives the shard this ``(episode_index, frame_index)``."""
        return sample in self._planned_samples()

    def chosen(self, stored: Sequence[tuple[int, int]]) -> dict[str, list[tuple[int, int]]]:
        """Returns reason -> samples to decode again, of those that are stored and served."""
        masked = set(self.masked)
        served = [sample for sample in stored if sample[0] not in masked]
        if self.samples is None:
            return {"all": served}
        known = set(served)
        return {
            reason: [sample for sample in samples if sample in known]
            for reason, samples in self.samples.items()
        }


class VerifiedShard(NamedTuple):
    """A shard under verification."""

    job: VerifyJob
    path: Path
    order: list[tuple[int, int]]
    """Samples that it must hold, in order."""
    found: Callable[[str, str, object, object], None]


def check_pictures(
    shard: VerifiedShard, rows: NDArray[np.void], report: Callable[[int], None]
) -> dict[str, ImageDifference]:
    """Stored pictures against the source decoded anew: before encoding, and after decoding.

    Returns the figures of each camera.
    """
    job, cameras = shard.job, shard.job.shard.settings.camera_names
    row_of = dict(zip(shard.order, rows, strict=True))
    wanted: dict[int, list[int]] = {}
    for samples in job.chosen(shard.order).values():
        for episode_index, frame in samples:
            wanted.setdefault(episode_index, []).append(frame)
    differences = {camera: ImageDifference() for camera in cameras}
    open_video = load_backend(job.backend, job.pythons)
    # Episodes of one file stand next to each other: it is opened once.
    with shard.path.open("rb") as file, KeptOpen(open_video, len(cameras)) as videos:
        for planned, camera in itertools.product(job.shard.episodes, cameras):
            episode_index = planned.episode.episode_index
            frames = sorted(wanted.get(episode_index, ()))
            try:
                for frame, fresh in fresh_pictures(job, planned, camera, frames, videos):
                    row = row_of[episode_index, frame]
                    _compare(shard, file.fileno(), row, camera, fresh, differences[camera])
                    report(1)
            except EpisodeError as error:
                key = format_key(episode_index, frames[0])
                shard.found("decode", key, "the pictures that the plan names", error)
    return differences


def fresh_pictures(
    job: VerifyJob,
    planned: PlannedEpisode,
    camera: str,
    frames: list[int],
    videos: KeptOpen,
) -> Iterator[tuple[int, StoredImage]]:
    """Yields ``(frame_index, image)`` as it should be stored, decoded now.

    Raises:
        EpisodeError: the video does not hold what the plan says.
        InfraError: it is no longer the file that was planned.
    """
    if frames:
        root, settings = Path(job.shard.root), job.shard.settings
        ids = planned_ids(root, planned, camera)
        for frame, picture in decoded_pictures(
            root, planned, camera, frames, videos, pixel_format(settings, camera)
        ):
            yield frame, stored_image(picture, settings, camera, ids)


def both_pictures(
    job: VerifyJob, sample: tuple[int, int], camera: str
) -> tuple[StoredImage, StoredImage]:
    """Returns one sample's picture as stored and as decoded now, ``(h, w, 3)`` each.

    Raises:
        DataError: either cannot be read.
        InfraError: as ``fresh_pictures``.
    """
    episode_index, frame = sample
    planned = next(p for p in job.shard.episodes if p.episode.episode_index == episode_index)
    with KeptOpen(load_backend(job.backend, job.pythons), 1) as videos:
        ((_, fresh),) = fresh_pictures(job, planned, camera, [frame], videos)
    settings, entry = job.shard.settings, job.entry
    ledger = (Path(job.shard.out) / entry.ledger).read_bytes()
    rows = decode_ledger(ledger, len(settings.fields), len(settings.cameras), where=entry.ledger)
    (row,) = rows[(rows["episode_index"] == episode_index) & (rows["frame_index"] == frame)]
    with (Path(job.shard.out) / entry.path).open("rb") as file:
        return stored_picture(job, file.fileno(), row, camera, fresh.shape[:2]), fresh


def stored_picture(
    job: VerifyJob, descriptor: int, row: np.void, camera: str, shape: tuple[int, int]
) -> StoredImage:
    """Returns an image ``(h, w, …)`` of the open shard, by the row of its ledger.

    Raises:
        DataError: its bytes are no picture of this shape.
    """
    settings = job.shard.settings
    member = settings.fields.index(settings.field_of(camera))
    return decode_stored(member_bytes(descriptor, row, member), settings, camera, shape)


def member_bytes(descriptor: int, row: np.void, member: int) -> bytes:
    """Returns the content of one member, from where the ledger says that it is."""
    start = int(row["offset_bytes"]) + int(row["data_offset_bytes"][member])
    return os.pread(descriptor, int(row["data_bytes"][member]), start)


def _compare(
    shard: VerifiedShard,
    descriptor: int,
    row: np.void,
    camera: str,
    fresh: StoredImage,
    difference: ImageDifference,
) -> None:
    job, settings = shard.job, shard.job.shard.settings
    key = format_key(int(row["episode_index"]), int(row["frame_index"]))
    position = settings.camera_names.index(camera)
    pixel_xxh3 = int(row["pixel_xxh3"][position])
    # Other decoders may make other pixels: the ledger's are those of the one that made the shard.
    if job.backend == job.shard.backend and xxhash.xxh3_64_intdigest(fresh.data) != pixel_xxh3:
        shard.found(
            "pixels", key, f"{camera}: the pixels of a fresh decode",
            "others were given to the encoder",
        )  # fmt: skip
    try:
        stored = stored_picture(job, descriptor, row, camera, fresh.shape[:2])
    except DataError as error:
        shard.found("picture", key, f"{camera}: a picture in {settings.field_of(camera)}", error)
        return
    figures = difference.measure(key, stored, fresh)
    if figures.largest and settings.is_lossless(camera):
        shard.found(
            "pixels", key, f"{camera}: equal pixels", f"a difference of up to {figures.largest}"
        )
    elif figures.psnr_db < job.min_psnr_db:
        shard.found(
            "psnr", key, f"{camera}: at least {job.min_psnr_db:g} dB", f"{figures.psnr_db:.1f} dB"
        )
