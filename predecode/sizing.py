"""How large a few of a plan's samples and tables are once they are encoded; nothing is stored.

A task of its own, so that native code that dies over one of them ends no run.
"""

import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from predecode.errors import EpisodeError, EpisodeFault, disk_errors_of
from predecode.images.resize_native import resize_natively
from predecode.images.stored import pixel_format, stored_image
from predecode.injection import reach
from predecode.pipeline import planned_ids, planned_table, row_members, video_errors_of
from predecode.planning import Piece, PlannedEpisode, seeded_rank
from predecode.shard_writer import bytes_in_tar
from predecode.source_check import check_unchanged
from predecode.sources.instances import id_list_path, read_instances
from predecode.sources.tables import read_rows
from predecode.video.backends import STORING_BACKEND, load_backend
from predecode.video.kept_open import KeptOpen
from train_shards.images import encode_stored
from train_shards.lowdim import write_lowdim
from train_shards.manifest import Settings, encode_json

__all__ = [
    "EpisodeSize",
    "Look",
    "SampleSize",
    "SizeJob",
    "SizeReceipt",
    "episode_size",
    "run_size_task",
]


class Look(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A place at which one frame of every image is encoded."""

    piece: Piece
    number: int
    """How many times the piece is looked at before: each time at another frame."""


class SizeJob(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Places of a plan to look at, and the tables of their episodes."""

    root: str
    settings: Settings
    looks: list[Look]
    episodes: list[PlannedEpisode]
    """Those of the pieces."""
    backend: str = STORING_BACKEND

    @property
    def name(self) -> str:
        """For messages."""
        return f"sizes from episode {self.looks[0].piece.episode_index:08d}"


class SampleSize(msgspec.Struct, frozen=True, array_like=True):
    """One sample as a tar would hold it."""

    images_bytes: int
    """All of its images, encoded."""
    rest_bytes: int
    """All else: headers, padding, members that are no image."""


class EpisodeSize(msgspec.Struct, frozen=True, array_like=True):
    """What one episode would take outside the tars."""

    num_rows: int
    table_bytes: int
    instances_bytes: int
    """Of the names of its segmentation's instances."""


class SizeReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    samples: list[SampleSize] = []
    episodes: list[EpisodeSize] = []
    faults: list[EpisodeFault] = []
    """Of episodes that could not be looked at; their own tasks will say so again."""


def run_size_task(job: SizeJob, report: Callable[[int], None]) -> SizeReceipt:
    """Encodes what a job names as its tasks will; ``report`` is called after each sample.

    Raises:
        InfraError: the source changed since it was planned.

    Cost: decodes one keyframe a piece and image, reads the table of each episode.
    """
    planned = {p.episode.episode_index: p for p in job.episodes}
    samples: list[SampleSize] = []
    episodes: list[EpisodeSize] = []
    faults: list[EpisodeFault] = []
    num_open = len(job.settings.cameras)
    with disk_errors_of(job.root), KeptOpen(load_backend(job.backend), num_open) as videos:
        for look in job.looks:
            try:
                samples.append(_sample_size(job, planned[look.piece.episode_index], look, videos))
            except EpisodeError as error:
                faults.append(error.fault)
            report(0)
        for one in job.episodes:
            try:
                episodes.append(episode_size(job.root, job.settings, one))
            except EpisodeError as error:
                faults.append(error.fault)
            report(0)
    return SizeReceipt(samples=samples, episodes=episodes, faults=faults)


def _sample_size(job: SizeJob, planned: PlannedEpisode, look: Look, videos: KeptOpen) -> SampleSize:
    rows = row_members(Path(job.root), job.settings, planned, [look.piece.start])
    images = [
        _image_bytes(job, planned, look, camera, videos) for camera in job.settings.camera_names
    ]
    all_bytes = [*images, *(len(data) for _, _, data in rows)]
    total = sum(bytes_in_tar(num_bytes) for num_bytes in all_bytes)
    return SampleSize(images_bytes=sum(images), rest_bytes=total - sum(images))


def _image_bytes(
    job: SizeJob, planned: PlannedEpisode, look: Look, camera: str, videos: KeptOpen
) -> int:
    """Length of the member that a keyframe of the piece becomes."""
    root, settings = Path(job.root), job.settings
    episode, span = planned.episode, planned.episode.videos[camera]
    ids = planned_ids(root, planned, camera)
    with video_errors_of(root, planned, camera):
        table = planned_table(root, planned, camera)
        ranks = table.keyframe_ranks - span.start
        inside = ranks[(ranks >= look.piece.start) & (ranks < look.piece.stop)].tolist()
        frame = _drawn(job, look, inside or [look.piece.start])
        reach(stage="size", episode=episode.episode_index, camera=camera, frame=frame)
        with videos(root / span.path, table, pixel_format(settings, camera)) as decoder:
            ((_, picture),) = decoder.pictures([span.start + frame])
            image = np.array(stored_image(picture, settings, camera, ids, resize_natively))
    return len(encode_stored(image, settings, camera))


def _drawn(job: SizeJob, look: Look, frames: list[int]) -> int:
    """One of some frames: by the seed, another one for each time that the piece comes."""
    rank = seeded_rank(job.settings.seed, "size", look.piece.episode_index, look.piece.start)
    return frames[(rank + look.number) % len(frames)]


def episode_size(folder: str, settings: Settings, planned: PlannedEpisode) -> EpisodeSize:
    """Returns what one episode of the source in ``folder`` takes outside the tars.

    Raises:
        EpisodeError: its table or list of instances does not hold what the plan says.
        InfraError: the source changed since it was planned.

    Cost: reads the table and encodes it.
    """
    root, file = Path(folder), io.BytesIO()
    if planned.episode.table is not None:
        check_unchanged(root, planned.inputs[0])
    table = read_rows(root, planned.episode, planned.num_frames, None, task_info=settings.task_info)
    write_lowdim(file, [table])
    instances = b""
    if id_list_path(planned.episode) is not None:
        instances = encode_json(read_instances(root, planned.episode))
    return EpisodeSize(
        num_rows=table.num_rows,
        table_bytes=len(file.getvalue()),
        instances_bytes=len(instances),
    )
