"""THE STORY: one shard task -> decode -> resize -> hash -> encode -> write -> receipt.

A task is a pure function of its job: the same job gives the same bytes on every node, whatever ran
before it. A fault costs its episode only; every file stands under its final name whole or not at
all, and the receipt is written last.
"""

import hashlib
import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from predecode.encoded_samples import EncodedSamples
from predecode.errors import (
    EpisodeError,
    EpisodeFault,
    MediaError,
    disk_errors_of,
    episode_error,
    episode_error_of,
)
from predecode.images.resize_native import resize_natively
from predecode.images.stored import check_edges, pixel_format, stored_image
from predecode.injection import reach
from predecode.planning import Piece, PlannedEpisode, ShardTask, sample_order
from predecode.probe import check_probe
from predecode.receipts import TEMPORARY_FOLDER, ShardReceipt, write_receipt
from predecode.shard_writer import ShardWriter
from predecode.source_check import check_unchanged
from predecode.sources.id_lists import read_ids
from predecode.sources.pictures import picture_table
from predecode.sources.tables import check_timestamps, read_rows
from predecode.stages import stage
from predecode.video.backends import STORING_BACKEND, load_backend
from predecode.video.decoder import RGB, Decoder, Picture
from predecode.video.kept_open import KeptOpen
from predecode.video.packets import FrameTable
from train_shards.allocator import keep_freed_memory
from train_shards.format import (
    JSON_FIELD,
    format_key,
    ledger_path,
    shard_name,
    shard_path,
)
from train_shards.images import encode_stored
from train_shards.ledger import encode_ledger, ledger_dtype
from train_shards.lowdim import column_views
from train_shards.manifest import Settings, ShardEntry
from train_shards.npy import encode_npy
from train_shards.storage import atomic_file, write_atomic

__all__ = [
    "SampleContents",
    "ShardJob",
    "decoded_pictures",
    "encode_samples",
    "frames_of",
    "planned_ids",
    "planned_table",
    "row_members",
    "run_shard_task",
    "video_errors_of",
    "write_shard",
]


class SampleContents(Protocol):
    """The members of one shard's samples, wherever they come from."""

    def ids(self) -> list[tuple[int, int]]:
        """Returns ``(episode_index, frame_index)`` of each sample, in any order."""

    def members(self, sample: tuple[int, int], fields: Sequence[str]) -> list[tuple[str, bytes]]:
        """Returns ``(field, content)`` in the order of ``fields``."""

    def pixel_hashes(self, sample: tuple[int, int]) -> NDArray[np.uint64]:
        """Returns xxh3-64 of each image's pixels before encoding."""


class ShardJob(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All that a node needs to make one shard, or to decode it again."""

    out: str
    root: str
    settings: Settings
    plan_digest: str
    probe: str
    task: ShardTask
    episodes: list[PlannedEpisode]
    backend: str = STORING_BACKEND
    """The decoder that makes the pictures."""
    quarantined: list[EpisodeFault] = []
    """Episodes that are left alone: they end the process that works on them."""

    @property
    def name(self) -> str:
        """The shard's base name, also the receipt's."""
        return shard_name(self.settings.name, self.task.split, self.task.shard_index)


def run_shard_task(job: ShardJob, report: Callable[[int], None]) -> ShardReceipt:
    """Makes one shard, its ledger and its receipt; calls ``report`` with numbers of new images.

    Raises:
        InfraError: the node makes other bytes, the source changed, or a disk refuses.
    """
    keep_freed_memory()
    check_probe(job.settings, job.probe, job.backend)
    with disk_errors_of(job.out), EncodedSamples(job.settings.camera_names) as samples:
        faults = encode_samples(job, samples, report)
        with stage("write"):
            entry = write_shard(job, samples, report)
            receipt = ShardReceipt(plan_digest=job.plan_digest, entry=entry, faults=faults)
            write_receipt(Path(job.out), job.name, receipt)
    return receipt


def encode_samples(
    job: ShardJob, samples: EncodedSamples, report: Callable[[int], None]
) -> list[EpisodeFault]:
    """Adds every sample of a job to ``samples``, which holds none of the returned episodes.

    Images come episode by episode, camera by camera, frame by frame; ``report`` gets each.

    Raises:
        InfraError: the source changed.
    """
    planned = {p.episode.episode_index: p for p in job.episodes}
    given = {fault.episode_index: fault for fault in job.quarantined}
    faults: list[EpisodeFault] = []
    cameras = job.settings.camera_names
    # Episodes of one file stand next to each other: it is opened once.
    with KeptOpen(load_backend(job.backend), len(cameras)) as videos:
        for episode_index, pieces in itertools.groupby(
            job.task.pieces, key=lambda piece: piece.episode_index
        ):
            if episode_index in given:
                faults.append(given[episode_index])
                continue
            frames = frames_of(pieces, planned[episode_index], job.settings)
            try:
                for frame, field, data in row_members(
                    Path(job.root), job.settings, planned[episode_index], frames
                ):
                    samples.add_member((episode_index, frame), field, data)
                for camera in cameras:
                    own = planned[episode_index]
                    pictures = decoded_pictures(
                        Path(job.root), own, camera, frames, videos,
                        pixel_format(job.settings, camera),
                    )  # fmt: skip
                    _add_images(job, own, camera, pictures, samples, report)
            except EpisodeError as error:
                samples.drop(episode_index)
                faults.append(error.fault)
    return faults


def frames_of(pieces: Iterable[Piece], planned: PlannedEpisode, settings: Settings) -> list[int]:
    """Returns the frames to store of one episode's pieces, ascending."""
    stored = planned.stored_frames(settings.stride)
    return [
        frame
        for piece in pieces
        for frame in stored[bisect_left(stored, piece.start) : bisect_left(stored, piece.stop)]
    ]


def decoded_pictures(
    root: Path,
    planned: PlannedEpisode,
    camera: str,
    frames: list[int],
    open_video: Callable[[Path, FrameTable, str], AbstractContextManager[Decoder]],
    pixels: str = RGB,
) -> Iterator[tuple[int, Picture]]:
    """Yields ``(frame_index, picture)`` of one camera, from the file that was planned.

    Pictures are ``(H, W, 3)`` uint8 RGB, or ``(H, W)`` uint16 in another format of ``pixels``, and
    valid until the next step. What is stored comes from PyAV; a verification may open the video
    with another decoder.

    Raises:
        EpisodeError: the video does not hold what the plan says.
        InfraError: it is no longer the file that was planned.
    """
    span = planned.episode.videos[camera]
    with video_errors_of(root, planned, camera):
        with stage("read"):
            table = planned_table(root, planned, camera)
        with open_video(root / span.path, table, pixels) as decoder:
            for rank, picture in decoder.pictures([span.start + frame for frame in frames]):
                frame = rank - span.start
                reach(
                    stage="decode", backend=decoder.backend, camera=camera, frame=frame,
                    episode=planned.episode.episode_index,
                )  # fmt: skip
                yield frame, picture


@contextmanager
def video_errors_of(root: Path, planned: PlannedEpisode, camera: str) -> Iterator[None]:
    """Turns what a camera's video lacks inside the block into an ``EpisodeError``.

    Raises:
        InfraError: it is no longer the file that was planned.
    """
    try:
        yield
    except MediaError as error:
        # A vanished file is not a broken one.
        check_unchanged(root, planned.video_input(camera))
        episode = planned.episode
        raise episode_error_of(
            error, episode.episode_index, episode.videos[camera].path, camera
        ) from error


def row_members(
    root: Path, settings: Settings, planned: PlannedEpisode, frames: list[int]
) -> Iterator[tuple[int, str, bytes]]:
    """Yields ``(frame_index, field, content)`` of each member that is no picture.

    Raises:
        EpisodeError: the episode's table does not hold what the plan says.
        InfraError: it is no longer the file that was planned.
    """
    episode = planned.episode
    vectors = {"state.npy": "observation.state", "action.npy": "action"}
    names = ["timestamp", *vectors.values()] if settings.embed_lowdim else ["timestamp"]
    if episode.other_tasks:
        names.append("task_index")
    if episode.table is not None:
        check_unchanged(root, planned.inputs[0])
    with stage("read"):
        table = read_rows(root, episode, planned.num_frames, names, task_info=False)
    timestamps_s = table["timestamp"].to_numpy()
    check_timestamps(episode, timestamps_s)
    tasks = table["task_index"].to_pylist() if episode.other_tasks else None
    for frame in frames:
        task_index = episode.task_index if tasks is None else tasks[frame]
        if task_index not in episode.tasks:
            raise episode_error(
                episode.episode_index, episode.table.path if episode.table else "",
                f"task_index of row {frame}", f"one of {list(episode.tasks)}", task_index,
            )  # fmt: skip
        row = {
            "episode_index": episode.episode_index,
            "frame_index": frame,
            "timestamp": float(timestamps_s[frame]),
            "task_index": task_index,
            "task": episode.tasks[task_index],
        }
        yield frame, JSON_FIELD, msgspec.json.encode(row, order="sorted")
    if settings.embed_lowdim:
        for field, name in vectors.items():
            (batch,) = table.select([name]).combine_chunks().to_batches()
            values = column_views(batch)[name].astype(np.float32).reshape(len(table), -1)  # (T, n)
            for frame in frames:
                yield frame, field, encode_npy(values[frame])


def planned_table(root: Path, planned: PlannedEpisode, camera: str) -> FrameTable:
    """Returns the frame table of one camera's video, which is still the file that was planned.

    Raises:
        MediaError: it cannot be read.
        InfraError: it is no longer the file that was planned.
    """
    planned_input = planned.video_input(camera)
    check_unchanged(root, planned_input)
    table = picture_table(root, planned.episode, camera)
    check_unchanged(root, planned_input, digest=table.digest)
    return table


def planned_ids(root: Path, planned: PlannedEpisode, camera: str) -> list[int] | None:
    """Returns the instances of a segmentation's palette, None for another image.

    Raises:
        EpisodeError: their list cannot be read.
        InfraError: it is no longer the one that was planned.
    """
    ids = planned.episode.videos[camera].ids
    if ids is msgspec.UNSET:
        return None
    check_unchanged(root, planned.input_at(ids.path))
    return read_ids(root, planned.episode, camera, ids)


def _add_images(
    job: ShardJob,
    planned: PlannedEpisode,
    camera: str,
    pictures: Iterable[tuple[int, Picture]],
    samples: EncodedSamples,
    report: Callable[[int], None],
) -> None:
    """Stores the ``(frame_index, picture)`` of one camera of one episode."""
    settings, episode_index = job.settings, planned.episode.episode_index
    field, ids = settings.field_of(camera), planned_ids(Path(job.root), planned, camera)
    for frame, picture in pictures:
        with stage("resize"):
            image = stored_image(picture, settings, camera, ids, resize_natively)
        check_edges(image, episode_index, planned.episode.videos[camera].path, camera)
        with stage("encode"):
            pixel_xxh3 = xxhash.xxh3_64_intdigest(image.data)
            data = encode_stored(image, settings, camera)
        samples.add_image((episode_index, frame), camera, field, data, pixel_xxh3)
        report(1)


def write_shard(
    job: ShardJob, samples: SampleContents, report: Callable[[int], None]
) -> ShardEntry:
    """Writes the tar, then the ledger; returns what the manifest will say of them.

    Raises:
        OSError: the disk refuses.
    """
    settings, fields, out = job.settings, job.settings.fields, Path(job.out)
    path = shard_path(settings.name, job.task.split, job.task.shard_index)
    order = sample_order(samples.ids(), settings)
    rows = np.zeros(len(order), ledger_dtype(len(fields), len(settings.cameras)))
    num_bytes, sha256, md5 = 0, "", ""
    if order:
        with atomic_file(out / path, out / TEMPORARY_FOLDER) as file:
            writer = ShardWriter(file)
            for row, sample in zip(rows, order, strict=True):
                members = samples.members(sample, fields)
                offset_bytes, data_offsets = writer.add(format_key(*sample), members)
                row["episode_index"], row["frame_index"] = sample
                row["offset_bytes"] = offset_bytes
                row["data_offset_bytes"] = data_offsets
                row["data_bytes"] = [len(data) for _, data in members]
                row["member_xxh3"] = [xxhash.xxh3_64_intdigest(data) for _, data in members]
                row["pixel_xxh3"] = samples.pixel_hashes(sample)
                reach(stage="write", episode=sample[0])
                report(0)  # a slow disk is no hang
            num_bytes, sha256, md5 = writer.close()
    ledger = encode_ledger(rows)
    write_atomic(out / ledger_path(job.name), ledger, out / TEMPORARY_FOLDER)
    return ShardEntry(
        path=path,
        split=job.task.split,
        num_samples=len(order),
        num_bytes=num_bytes,
        sha256=sha256,
        md5=md5,
        ledger=ledger_path(job.name),
        ledger_sha256=hashlib.sha256(ledger).hexdigest(),
    )
