"""What a few whole pieces of a plan cost and weigh: decoded as tasks do, some frames encoded.

Seconds are of the processor. A task of its own, so that native code that dies ends no prediction;
nothing is stored.
"""

import io
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import xxhash

from predecode.encoded_samples import EncodedSamples
from predecode.errors import EpisodeError, EpisodeFault, disk_errors_of
from predecode.images.resize_native import resize_natively
from predecode.images.stored import pixel_format, stored_image
from predecode.injection import reach
from predecode.piece_costs import (
    CameraCost,
    ChoiceCost,
    MeasureJob,
    MeasureReceipt,
    PieceCost,
    PieceLook,
    TableCost,
)
from predecode.pipeline import planned_ids, planned_table, row_members, video_errors_of
from predecode.planning import PlannedEpisode
from predecode.shard_writer import ShardWriter, bytes_in_tar
from predecode.sizing import SampleSize, episode_size
from predecode.source_check import check_episode
from predecode.video.backends import load_backend, open_in_format
from predecode.video.decoder import Decoder, Picture
from predecode.video.packets import FrameTable
from train_shards.format import format_key
from train_shards.images import decode_stored, encode_stored
from train_shards.manifest import Settings

__all__ = ["run_measure_task"]

_DENSE_FRAMES = 32
"""Of a piece, of which each is converted: what that costs is the difference to the others."""
_START_FRAMES = 8

T = TypeVar("T")


def run_measure_task(job: MeasureJob, report: Callable[[int], None]) -> MeasureReceipt:
    """Decodes and encodes what a job names as its tasks will; ``report`` is told of each camera.

    Raises:
        InfraError: the source changed since it was planned.

    Cost: decodes every picture of the pieces, encodes the frames in every way.
    """
    start_s = 0.0
    planned = {p.episode.episode_index: p for p in job.episodes}
    pieces: list[PieceCost] = []
    tables: list[TableCost] = []
    faults: list[EpisodeFault] = []
    with disk_errors_of(job.root):
        for look in job.looks:
            own = planned[look.piece.episode_index]
            try:
                if not pieces:
                    start_s = _start_s(job, own, look)
                pieces.append(_piece_cost(job, own, look, report))
            except EpisodeError as error:
                faults.append(error.fault)
        try:
            tables.append(_table_cost(job, planned[job.looks[0].piece.episode_index]))
        except EpisodeError as error:
            faults.append(error.fault)
    return MeasureReceipt(start_s=start_s, pieces=pieces, tables=tables, faults=faults)


def _start_s(job: MeasureJob, planned: PlannedEpisode, look: PieceLook) -> float:
    """What this process has taken once it has done a little of everything.

    What libraries do when they are first called is a matter of each process, not of each frame.
    """
    piece = look.piece
    short = msgspec.structs.replace(piece, stop=min(piece.stop, piece.start + _START_FRAMES))
    bare = msgspec.structs.replace(job, choices=[])
    _piece_cost(bare, planned, PieceLook(short, 1, [piece.start]), lambda _: None)
    return time.process_time()


class _Encoded(NamedTuple):
    """One camera's images of the frames of a look."""

    cost: CameraCost
    data: dict[int, bytes]
    """Frame -> its member."""
    hashes: dict[int, int]
    choices: list[ChoiceCost]


def _piece_cost(
    job: MeasureJob, planned: PlannedEpisode, look: PieceLook, report: Callable[[int], None]
) -> PieceCost:
    settings = job.settings
    rows = row_members(Path(job.root), settings, planned, look.frames)
    first, open_rows_s = _timed(lambda: next(rows))
    others, rows_s = _timed(lambda: list(rows))
    members = [first, *others]
    images: dict[str, _Encoded] = {}
    for camera in settings.camera_names:
        images[camera] = _camera_cost(job, planned, look, camera)
        report(0)
    tar_bytes, write_s = _timed(lambda: _write(job, look, members, images))
    groups = [look.frames[number :: look.num_draws] for number in range(look.num_draws)]
    return PieceCost(
        num_draws=look.num_draws,
        num_frames=len(look.frames),
        open_rows_s=open_rows_s,
        rows_s=rows_s,
        write_s=write_s,
        tar_bytes=tar_bytes,
        cameras={camera: encoded.cost for camera, encoded in images.items()},
        draws=[_sample_size(group, members, images) for group in groups],
        image_bytes={
            camera: [float(np.mean([len(encoded.data[frame]) for frame in g])) for g in groups]
            for camera, encoded in images.items()
        },
        choices=[
            _joined([encoded.choices[number] for encoded in images.values()])
            for number in range(1 + len(job.choices))
        ],
    )


def _camera_cost(
    job: MeasureJob, planned: PlannedEpisode, look: PieceLook, camera: str
) -> _Encoded:
    """Decodes a piece of one camera from end to end, and encodes the frames of the look."""
    root, settings = Path(job.root), job.settings
    span = planned.episode.videos[camera]
    ids = planned_ids(root, planned, camera)
    encoder = _Encoder(job, look, camera, ids)
    with video_errors_of(root, planned, camera):
        table, table_s = _timed(lambda: planned_table(root, planned, camera))
        pixels = pixel_format(settings, camera)
        decoder, open_s = _timed(
            lambda: open_in_format(load_backend(job.backend), root / span.path, table, pixels)
        )
        with decoder:
            before, dense, after = _requests(look, table, span.start)
            start = span.start + look.piece.start
            lead = start - int(table.keyframe_ranks[table.governing_keyframe(start)])
            decoder.spares = False
            first = _decode(decoder, before, span.start, encoder)
            middle = _decode(decoder, dense, span.start, encoder)
            decoder.spares = True
            last = _decode(decoder, after, span.start, encoder)
    return _Encoded(
        cost=CameraCost(
            open_s=table_s + open_s,
            gop=len(table) / max(len(table.keyframe_ranks), 1),
            sparse=(lead + _reach(before), len(before), first),
            dense=(_reach(dense), len(dense), middle),
            spared=(_reach(after), len(after), last),
            resize_s=encoder.resize_s,
            encode_s=encoder.encode_s,
            read_s=encoder.read_s,
        ),
        data=encoder.data,
        hashes=encoder.hashes,
        choices=encoder.choices(),
    )


def _requests(look: PieceLook, table: FrameTable, start: int) -> list[list[int]]:
    """Ranks of three runs that follow each other; in the second one every picture is asked for.

    In the others what is encoded, the ends, and each keyframe, so that none of them is skipped.
    """
    first, stop = start + look.piece.start, start + look.piece.stop
    middle = (first + stop) // 2
    end = middle + min(_DENSE_FRAMES, (stop - first) // 4)
    wanted = np.union1d(table.keyframe_ranks, [start + frame for frame in look.frames])

    def sparse(a: int, b: int) -> list[int]:
        inside = wanted[(wanted >= a) & (wanted < b)].tolist()
        return sorted({a, b - 1, *map(int, inside)}) if a < b else []

    return [sparse(first, middle), list(range(middle, end)), sparse(end, stop)]


def _reach(ranks: Sequence[int]) -> int:
    """Pictures from the first of a run to its last."""
    return ranks[-1] + 1 - ranks[0] if ranks else 0


def _decode(decoder: Decoder, ranks: Sequence[int], start: int, encoder: "_Encoder") -> float:
    """Hands the pictures on; returns the seconds that they took to come."""
    pictures = decoder.pictures(ranks)
    spent_s = 0.0
    for _ in ranks:
        (rank, picture), step_s = _timed(lambda: next(pictures))
        spent_s += step_s
        encoder.take(rank - start, picture)
    return spent_s


class _Encoder:
    """Encodes the frames of a look as they come, in every way, and keeps the time of each step."""

    def __init__(
        self, job: MeasureJob, look: PieceLook, camera: str, ids: list[int] | None
    ) -> None:
        self._job, self._look, self._camera, self._ids = job, look, camera, ids
        self.resize_s = self.encode_s = self.read_s = 0.0
        self.data: dict[int, bytes] = {}
        self.hashes: dict[int, int] = {}
        self._choices: list[list[ChoiceCost]] = [[] for _ in range(1 + len(job.choices))]

    def take(self, frame: int, picture: Picture) -> None:
        """Encodes a picture, if it is one of the look's frames."""
        if frame not in self._look.frames:
            return
        settings, camera = self._job.settings, self._camera
        episode = self._look.piece.episode_index
        reach(stage="size", episode=episode, camera=camera, frame=frame)
        cost, data, self.hashes[frame] = self._encoded(picture, settings)
        self.resize_s += cost.resize_s
        self.encode_s += cost.encode_s
        self.data[frame] = data
        _, read_s = _timed(lambda: decode_stored(data, settings, camera, None))
        self.read_s += read_s
        num_per_draw = len(self._look.frames) // self._look.num_draws
        if len(self.data) % num_per_draw == num_per_draw // 2:
            costs = [self._encoded(picture, choice)[0] for choice in self._job.choices]
            for found, one in zip(self._choices, [cost, *costs], strict=True):
                found.append(one)

    def choices(self) -> list[ChoiceCost]:
        """Returns what each way took."""
        return [_joined(costs) for costs in self._choices]

    def _encoded(self, picture: Picture, settings: Settings) -> tuple[ChoiceCost, bytes, int]:
        camera = self._camera
        image, resize_s = _timed(
            lambda: stored_image(picture, settings, camera, self._ids, resize_natively)
        )
        pixel_xxh3, hash_s = _timed(lambda: xxhash.xxh3_64_intdigest(image.data))
        data, encode_s = _timed(lambda: encode_stored(image, settings, camera))
        cost = ChoiceCost(
            images_bytes=bytes_in_tar(len(data)), resize_s=resize_s, encode_s=hash_s + encode_s
        )
        return cost, data, pixel_xxh3


def _write(
    job: MeasureJob,
    look: PieceLook,
    rows: list[tuple[int, str, bytes]],
    images: dict[str, _Encoded],
) -> int:
    """Does with the members what a task does between encoding and the disk; returns their bytes."""
    settings, episode = job.settings, look.piece.episode_index
    with EncodedSamples(settings.camera_names) as samples:
        for frame, field, data in rows:
            samples.add_member((episode, frame), field, data)
        for camera, encoded in images.items():
            field = settings.field_of(camera)
            for frame, data in encoded.data.items():
                sample = (episode, frame)
                samples.add_image(sample, camera, field, data, encoded.hashes[frame])
        writer = ShardWriter(io.BytesIO())
        for sample in samples.ids():
            members = samples.members(sample, settings.fields)
            writer.add(format_key(*sample), members)
            for _, data in members:
                xxhash.xxh3_64_intdigest(data)
        return writer.close()[0]


def _sample_size(
    frames: Sequence[int], rows: list[tuple[int, str, bytes]], images: dict[str, _Encoded]
) -> SampleSize:
    """The mean of some frames."""
    pictures = [len(encoded.data[frame]) for encoded in images.values() for frame in frames]
    others = [len(data) for frame, _, data in rows if frame in frames]
    total = sum(bytes_in_tar(num_bytes) for num_bytes in chain(pictures, others))
    return SampleSize(
        images_bytes=round(sum(pictures) / len(frames)),
        rest_bytes=round((total - sum(pictures)) / len(frames)),
    )


def _joined(costs: Sequence[ChoiceCost]) -> ChoiceCost:
    return ChoiceCost(
        images_bytes=sum(cost.images_bytes for cost in costs),
        resize_s=sum(cost.resize_s for cost in costs),
        encode_s=sum(cost.encode_s for cost in costs),
    )


def _table_cost(job: MeasureJob, planned: PlannedEpisode) -> TableCost:
    root = Path(job.root)
    _, check_s = _timed(lambda: check_episode(root, planned.episode, job.settings.camera_names))
    size, table_s = _timed(lambda: episode_size(job.root, job.settings, planned))
    return TableCost(size=size, table_s=table_s, check_s=check_s)


def _timed(step: Callable[[], T]) -> tuple[T, float]:
    """Returns what a step returns, and the seconds of the processor that it took."""
    start_s = time.process_time()
    result = step()
    return result, time.process_time() - start_s
