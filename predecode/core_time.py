"""How long one core would take over a plan, by what a few of its pieces took. Pure.

Seconds are of the processor of the machine that measured.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from predecode.estimate import mean_and_error
from predecode.for_run import Decoding
from predecode.piece_costs import MeasureReceipt, PieceCost
from predecode.planning import Plan
from predecode.tasks import CHECK_BATCH

__all__ = ["CoreTime", "Load", "ReadTime", "Stage", "core_time", "decoded_per_sample", "read_time"]


class Load(NamedTuple):
    """What the tasks of a plan do, in numbers."""

    num_samples: int
    num_visits: int
    """Episodes in each shard, summed: so often are an episode's files opened."""
    num_shards: int
    num_rows: int
    """Of tables."""
    num_tables: int
    num_episodes: int
    stride: int
    decoded_per_sample: float | None = None
    """Where it was counted: for one training run. None: by the stride."""

    @classmethod
    def of(cls, plan: Plan, decoding: Decoding | None = None) -> "Load":
        """Returns the load of a plan; ``decoding`` is what was counted for one training run."""
        return cls(
            num_samples=sum(shard.num_samples for shard in plan.shards),
            num_visits=sum(
                len({piece.episode_index for piece in shard.pieces}) for shard in plan.shards
            ),
            num_shards=len(plan.shards),
            num_rows=sum(planned.num_frames for planned in plan.episodes),
            num_tables=len(plan.tables),
            num_episodes=len(plan.episodes),
            stride=plan.settings.stride,
            decoded_per_sample=None
            if decoding is None
            else decoding.decoded_frames / max(decoding.stored_frames, 1),
        )

    def passed(self, gop: float) -> float:
        """Returns over how many pictures a decode goes for a stored one, with such GOPs."""
        if self.decoded_per_sample is not None:
            return self.decoded_per_sample
        return decoded_per_sample(self.stride, gop)


class Stage(NamedTuple):
    """One kind of work."""

    name: str
    core_s: float


class CoreTime(NamedTuple):
    """All work of a plan."""

    stages: tuple[Stage, ...]
    error_s: float
    """Of the sum, that the draw makes; the true sum lies within it in 95 of 100 draws."""
    shard_s: float
    """Of the sum, what the shards' tasks take."""

    @property
    def core_s(self) -> float:
        """The sum."""
        return sum(stage.core_s for stage in self.stages)

    def wall_s(self, load: Load, cores: int) -> float:
        """Returns how long so many cores take: the shards' tasks in rounds, the rest spread."""
        rounds = math.ceil(load.num_shards / cores) / max(load.num_shards, 1)
        return self.shard_s * rounds + (self.core_s - self.shard_s) / cores


class ReadTime(NamedTuple):
    """What a training's processor takes for one sample; without copies, batches and the network."""

    shard_s: float
    in_order_s: float
    """On line, by a reader that goes through an episode frame by frame."""
    at_random_s: float
    """On line, from the keyframe that governs a frame drawn at random."""


def decoded_per_sample(stride: int, gop: float) -> float:
    """Returns over how many pictures a decode goes for a stored one, of videos with such GOPs.

    Up to a GOP's length over each; from two on, half a GOP for each stored picture, as the
    GOPs between are skipped; in between a share of either.

    >>> decoded_per_sample(6, 250.0), decoded_per_sample(10, 1.0), decoded_per_sample(3, 2.0)
    (6.0, 1.0, 2.25)
    """
    alone = (gop + 1) / 2
    share = min(max(stride / gop - 1, 0.0), 1.0)
    return (1 - share) * stride + share * min(alone, stride)


def core_time(
    load: Load, receipts: Sequence[MeasureReceipt], choice: int | None = None
) -> CoreTime:
    """Returns what a plan takes.

    Args:
        load: its numbers.
        receipts: what was measured: at least one piece.
        choice: another way to encode than the settings': its place in a job's list.
    """
    pieces = [piece for receipt in receipts for piece in receipt.pieces]
    tables = [table for receipt in receipts for table in receipt.tables]
    opened = _mean([_open_s(piece) for piece in pieces])
    per_row = _mean([table.table_s / max(table.size.num_rows, 1) for table in tables])
    per_check = _mean([table.check_s for table in tables])
    start_s = _mean([receipt.start_s for receipt in receipts if receipt.pieces])
    num_checks = math.ceil(load.num_episodes / CHECK_BATCH)
    decode, resize, encode, write = _samples(pieces, load.passed, choice)
    each = [sum(values) for values in zip(decode, resize, encode, write, strict=True)]
    stages = (
        Stage("decode", load.num_samples * _mean(decode)),
        Stage("resize", load.num_samples * _mean(resize)),
        Stage("encode", load.num_samples * _mean(encode)),
        Stage("write", load.num_samples * _mean(write)),
        Stage("open", load.num_visits * opened),
        Stage("tables", load.num_rows * per_row),
        Stage("check", load.num_episodes * per_check),
        Stage("processes", (load.num_shards + load.num_tables + num_checks) * start_s),
    )
    return CoreTime(
        stages=stages,
        error_s=load.num_samples * mean_and_error(each)[1],
        shard_s=sum(stage.core_s for stage in stages[:5]) + load.num_shards * start_s,
    )


def read_time(receipts: Sequence[MeasureReceipt], stride: int) -> ReadTime:
    """Returns what a sample takes to read in training, by the same measurements."""
    pieces = [piece for receipt in receipts for piece in receipt.pieces]
    in_order = at_random = 0.0
    for camera in pieces[0].cameras:
        cost = _picture_cost(pieces, camera)
        decode_s, gop = _mean(cost.decode_s), _mean([p.cameras[camera].gop for p in pieces])
        in_order += decoded_per_sample(stride, gop) * decode_s + cost.convert_s
        at_random += (gop + 1) / 2 * decode_s + cost.convert_s
    resize_s = _mean(_samples(pieces, lambda gop: decoded_per_sample(stride, gop), None)[1])
    stored = [sum(c.read_s for c in p.cameras.values()) / p.num_frames for p in pieces]
    return ReadTime(
        shard_s=_mean(stored), in_order_s=in_order + resize_s, at_random_s=at_random + resize_s
    )


def _samples(
    pieces: Sequence[PieceCost], passed: Callable[[float], float], choice: int | None
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Seconds of a sample to decode, resize, encode and write, in each piece that was drawn."""
    decode: list[float] = []
    by_camera = {camera: _picture_cost(pieces, camera) for camera in pieces[0].cameras}
    for number, piece in enumerate(pieces):
        decode.append(
            sum(
                cost.sample_s(number, passed(piece.cameras[camera].gop))
                for camera, cost in by_camera.items()
            )
        )
    if choice is None:
        resize = [sum(c.resize_s for c in p.cameras.values()) / p.num_frames for p in pieces]
        encode = [sum(c.encode_s for c in p.cameras.values()) / p.num_frames for p in pieces]
        write = [(p.write_s + p.rows_s) / p.num_frames for p in pieces]
    else:
        resize = [p.choices[choice].resize_s / p.num_draws for p in pieces]
        encode = [p.choices[choice].encode_s / p.num_draws for p in pieces]
        write = [
            p.rows_s / p.num_frames
            + p.write_s / p.tar_bytes * p.choices[choice].images_bytes / p.num_draws
            for p in pieces
        ]
    weights = [piece.num_draws for piece in pieces]
    return (
        _repeated(decode, weights), _repeated(resize, weights),
        _repeated(encode, weights), _repeated(write, weights),
    )  # fmt: skip


class _PictureCost(NamedTuple):
    """One camera's pictures."""

    decode_s: list[float]
    """Of each, in each piece, where none is left out."""
    convert_s: float
    spared: float
    """Share of that time that pictures take which are left out unless they are wanted."""

    def sample_s(self, piece: int, passed: float) -> float:
        """Seconds to come over so many pictures to a wanted one, and to convert it."""
        unwanted = max(passed - 1, 0)
        return self.decode_s[piece] * (passed - self.spared * unwanted) + self.convert_s


def _picture_cost(pieces: Sequence[PieceCost], camera: str) -> _PictureCost:
    """What is told apart by runs of which most pictures are converted, few, and some left out."""
    costs = [piece.cameras[camera] for piece in pieces]
    decoded_a, converted_a, a_s = (sum(c.sparse[i] for c in costs) for i in range(3))
    decoded_b, converted_b, b_s = (sum(c.dense[i] for c in costs) for i in range(3))
    determinant = decoded_a * converted_b - decoded_b * converted_a
    convert_s = 0.0
    if determinant > 0:
        convert_s = max(0.0, (decoded_a * b_s - decoded_b * a_s) / determinant)
    decode = [
        max(0.0, c.sparse[2] + c.dense[2] - convert_s * (c.sparse[1] + c.dense[1]))
        / (c.sparse[0] + c.dense[0])
        for c in costs
    ]
    # As they would take without anything left out, by each piece's own pictures.
    whole_s = sum(s * (c.spared[0] - c.spared[1]) for s, c in zip(decode, costs, strict=True))
    taken_s = sum(
        c.spared[2] - s * c.spared[1] - convert_s * c.spared[1]
        for s, c in zip(decode, costs, strict=True)
    )
    spared = min(max(1 - taken_s / whole_s, 0.0), 1.0) if whole_s > 0 else 0.0
    return _PictureCost(decode, convert_s, spared)


def _open_s(piece: PieceCost) -> float:
    return piece.open_rows_s + sum(cost.open_s for cost in piece.cameras.values())


def _repeated(values: Sequence[float], times: Sequence[int]) -> list[float]:
    return [value for value, count in zip(values, times, strict=True) for _ in range(count)]


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0
