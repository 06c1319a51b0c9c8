"""Does an output hold what its plan promised, and does the source still decode to it?

One task a shard: the tar against manifest, plan and ledger, then stored pictures against a fresh
decode. The rest (manifest, tables, index, coverage) is checked once, in the driver.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from predecode.errors import DataError, EpisodeError, InfraError
from predecode.images.resize import resize_with_pad
from predecode.pipeline import ShardJob, decoded_pictures, frames_of
from predecode.planning import PlannedEpisode, sample_order
from predecode.shard_writer import list_members
from predecode.sources.tables import read_rows
from train_shards.codec import decode_image, is_lossless
from train_shards.format import JSON_FIELD, format_key
from train_shards.ledger import decode_ledger
from train_shards.manifest import ShardEntry
from train_shards.storage import sha256_of_file

__all__ = ["CameraDifference", "Finding", "ShardVerdict", "VerifyJob", "verify_shard"]

_MOST_FINDINGS = 20
"""A shard that is wrong throughout needs no 8192 lines."""
_MOST_PSNR_DB = 99.0
"""Stands for equal pictures in means."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be."""

    kind: str
    """A stable word: ``missing-file``, ``bytes``, ``members``, ``keys``, ``pixels``, …"""
    where: str
    """Shard or other file."""
    key: str
    """Sample, ``""`` where the finding concerns the whole file."""
    expected: str
    got: str

    def __str__(self) -> str:
        """One line: where, what, expected and got."""
        key = f", key {self.key}" if self.key else ""
        return f"{self.where}{key}: {self.kind}: expected {self.expected}, got {self.got}"


class CameraDifference(msgspec.Struct, kw_only=True):
    """How far stored pictures of one camera are from fresh ones."""

    num_images: int = 0
    num_equal: int = 0
    largest: int = 0
    """Largest difference of one channel of one pixel, 0 to 255."""
    worst_psnr_db: float = _MOST_PSNR_DB
    sum_psnr_db: float = 0.0
    """Of all images; equal ones count with 99 dB."""

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


class ShardVerdict(msgspec.Struct, kw_only=True):
    """What was found in one shard."""

    findings: list[Finding]
    cameras: dict[str, CameraDifference]


class _Shard(NamedTuple):
    """A shard under verification."""

    job: VerifyJob
    path: Path
    order: list[tuple[int, int]]
    """Samples that it must hold, in order."""
    found: Callable[[str, str, object, object], None]


def verify_shard(job: VerifyJob, report: Callable[[int], None]) -> ShardVerdict:
    """Checks one shard; damage becomes findings, never an exception.

    Raises:
        InfraError: the source cannot be reached or changed, so nothing can be said of the pictures.
    """
    findings: list[Finding] = []

    def found(kind: str, key: str, expected: object, got: object) -> None:
        findings.append(
            Finding(kind=kind, where=job.entry.name, key=key, expected=str(expected), got=str(got))
        )

    shard = _Shard(job, Path(job.shard.out) / job.entry.path, _expected_samples(job), found)
    cameras: dict[str, CameraDifference] = {}
    rows = _check_ledger(shard)
    if shard.path.is_file():
        has_members = _check_members(shard, rows)
        # Behind a missing or extra member every offset is off: no use in comparing there.
        _check_bytes(shard, rows if has_members else None)
        if rows is not None:
            _check_json(shard, rows)
            cameras = _check_pictures(shard, rows, report)
    else:
        found("missing-file", "", f"{job.entry.num_bytes} bytes", "no file")
    return ShardVerdict(findings=findings[:_MOST_FINDINGS], cameras=cameras)


def _expected_samples(job: VerifyJob) -> list[tuple[int, int]]:
    absent = set(job.absent)
    return sample_order(
        (
            (piece.episode_index, frame)
            for piece in job.shard.task.pieces
            if piece.episode_index not in absent
            for frame in frames_of(iter([piece]), job.shard.settings)
        ),
        job.shard.settings,
    )


def _check_ledger(shard: _Shard) -> NDArray[np.void] | None:
    """The ledger's rows, if it is the one of the manifest and lists what the plan says."""
    entry, settings = shard.job.entry, shard.job.shard.settings
    path = Path(shard.job.shard.out) / entry.ledger
    if not path.is_file():
        shard.found("ledger", "", entry.ledger, "no file")
        return None
    digest = sha256_of_file(path)
    if digest != entry.ledger_sha256:
        shard.found("ledger", "", f"SHA-256 {entry.ledger_sha256}", digest)
        return None
    rows = decode_ledger(
        path.read_bytes(), len(settings.fields), len(settings.cameras), where=entry.ledger
    )
    listed = list(zip(rows["episode_index"].tolist(), rows["frame_index"].tolist(), strict=True))
    for sample in sorted(set(shard.order) - set(listed))[:_MOST_FINDINGS]:
        shard.found("keys", format_key(*sample), "in the shard, as planned", "not in its ledger")
    for sample in sorted(set(listed) - set(shard.order))[:_MOST_FINDINGS]:
        shard.found("keys", format_key(*sample), "not in this shard's plan", "in its ledger")
    return rows if listed == shard.order else None


def _check_bytes(shard: _Shard, rows: NDArray[np.void] | None) -> None:
    """Size and digest of the tar; on a difference, the members whose bytes are not the ledger's."""
    entry, fields = shard.job.entry, shard.job.shard.settings.fields
    num_bytes = shard.path.stat().st_size
    if num_bytes != entry.num_bytes:
        shard.found("size", "", f"{entry.num_bytes} bytes", f"{num_bytes} bytes")
    digest = sha256_of_file(shard.path)
    if digest == entry.sha256:
        return
    shard.found("bytes", "", f"SHA-256 {entry.sha256}", digest)
    if rows is None:
        return
    with shard.path.open("rb") as file:
        for row in rows:
            for member, field in enumerate(fields):
                data = _member_bytes(file.fileno(), row, member)
                if xxhash.xxh3_64_intdigest(data) != int(row["member_xxh3"][member]):
                    key = format_key(int(row["episode_index"]), int(row["frame_index"]))
                    shard.found(
                        "bytes",
                        key,
                        f"member {field} with xxh3 {int(row['member_xxh3'][member]):016x}",
                        f"{xxhash.xxh3_64_hexdigest(data)} of {len(data)} bytes",
                    )


def _check_members(shard: _Shard, rows: NDArray[np.void] | None) -> bool:
    """Names and order of the members, by a tar reader that knows nothing of the ledger.

    Returns whether they are as planned.
    """
    expected = [
        f"{format_key(*sample)}.{field}"
        for sample in shard.order
        for field in shard.job.shard.settings.fields
    ]
    try:
        members = list_members(shard.path)
    except DataError as error:
        shard.found("tar", "", "a whole tar", error)
        return False
    names = [member.name for member in members]
    if names != expected:
        for name, count in sorted((Counter(names) - Counter(expected)).items()):
            kind = "duplicate-member" if name in expected else "extra-member"
            shard.found(
                kind, name.split(".")[0], "each planned member once", f"{count} more {name}"
            )
        missing = Counter(expected) - Counter(names)
        for name in [name for name in expected if name in missing][:_MOST_FINDINGS]:
            shard.found("missing-member", name.split(".")[0], name, "nothing")
        if Counter(names) == Counter(expected):
            first = next(i for i, name in enumerate(names) if name != expected[i])
            shard.found("order", expected[first].split(".")[0], expected[first], names[first])
        return False
    if rows is not None:
        sizes = [member.num_bytes for member in members]
        if sizes != rows["data_bytes"].reshape(-1).tolist():
            shard.found("ledger", "", "the sizes in the tar's headers", "other sizes")
    return True


def _check_json(shard: _Shard, rows: NDArray[np.void]) -> None:
    """Ids, task and time in each ``json`` member against the plan and the source's table."""
    settings = shard.job.shard.settings
    member = settings.fields.index(JSON_FIELD)
    planned = {p.episode.episode_index: p for p in shard.job.shard.episodes}
    times = _Times(Path(shard.job.shard.root))
    with shard.path.open("rb") as file:
        for row in rows:
            episode_index, frame = int(row["episode_index"]), int(row["frame_index"])
            episode = planned[episode_index].episode
            expected = {
                "episode_index": episode_index,
                "frame_index": frame,
                "task": episode.task,
                "task_index": episode.task_index,
                "timestamp": times.of(planned[episode_index])[frame],
            }
            try:
                got = msgspec.json.decode(_member_bytes(file.fileno(), row, member))
            except msgspec.DecodeError as error:
                got = error
            if got != expected:
                shard.found("json", format_key(episode_index, frame), expected, got)


class _Times:
    """Timestamps of the source's episodes, each table read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[int, list[float]] = {}

    def of(self, planned: PlannedEpisode) -> list[float]:
        episode_index = planned.episode.episode_index
        if episode_index not in self._known:
            try:
                table = read_rows(
                    self._root, planned.episode, planned.num_frames, ["timestamp"], task_info=False
                )
            except EpisodeError as error:
                raise InfraError(f"the source cannot be read for comparison: {error}") from error
            self._known[episode_index] = table["timestamp"].to_pylist()
        return self._known[episode_index]


def _check_pictures(
    shard: _Shard, rows: NDArray[np.void], report: Callable[[int], None]
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
    shard: _Shard,
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
    member = [f.split(".")[0] for f in settings.fields].index(camera)
    try:
        stored = decode_image(
            _member_bytes(descriptor, row, member), settings.codec, fresh.shape[:2]
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


def _member_bytes(descriptor: int, row: np.void, member: int) -> bytes:
    start = int(row["offset_bytes"]) + int(row["data_offset_bytes"][member])
    return os.pread(descriptor, int(row["data_bytes"][member]), start)
