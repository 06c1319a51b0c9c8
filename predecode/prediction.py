"""What a run would take: bytes, core-hours, shards, and what other choices would. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from predecode.core_time import CoreTime, Load, core_time, read_time
from predecode.errors import EpisodeFault
from predecode.estimate import LIKELY, Amount, Estimate, estimate, mean_and_error
from predecode.header_sample import keyframe_distances
from predecode.piece_costs import MeasureReceipt
from predecode.planning import Plan
from predecode.source_check import CheckedEpisode
from predecode.sources.episode import Episode
from train_shards.manifest import Settings

__all__ = [
    "BreakEven",
    "CameraBytes",
    "Choice",
    "Measured",
    "Planned",
    "Prediction",
    "make_prediction",
]

_HOUR_S = 3600


class CameraBytes(msgspec.Struct, frozen=True, kw_only=True):
    """What one camera's images take, without headers and padding of the tar."""

    codec: str
    """``npz`` for codes and ids."""
    num_bytes: int
    interval: tuple[int, int]
    bytes_per_image: int


class BreakEven(msgspec.Struct, frozen=True, kw_only=True):
    """When decoding once has paid for itself against decoding on line, by processor time."""

    online_ms: float
    """Of one core, for one sample with all its images."""
    shard_ms: float
    samples: int | None
    """A training that reads so many samples; None where on-line decoding takes no longer."""
    epochs: float | None
    """The same in passes over the stored samples."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One way to store."""

    size: str
    codec: str
    quality: int | None
    stride: int
    total_bytes: int
    core_hours: float
    is_asked: bool
    """Whether it is the one asked for."""
    fits: bool | None
    """Whether it is within the budget; None without one."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What a run with these settings would take. Intervals hold the truth in 95 of 100 draws."""

    settings: Settings
    num_episodes: int
    num_checked: int
    """Episodes whose headers were read; of the others the metadata are believed."""
    num_faulty: int
    """Of the checked, those that a run would leave out."""
    num_source_frames: int
    num_frames: int
    """That are stored: samples."""
    num_images: int
    num_shards: int
    num_tables: int
    total_bytes: int
    """Of every file of the output."""
    total_bytes_interval: tuple[int, int]
    parts: dict[str, int]
    """Kind of bytes -> how many of them."""
    cameras: dict[str, CameraBytes]
    core_hours: float
    """Of this machine's processor."""
    core_hours_interval: tuple[float, float]
    stages: dict[str, float]
    """Kind of work -> core-hours."""
    cores: int
    wall_hours: float
    """With so many cores."""
    disk_read_bytes: int
    """Of the source, each file once."""
    keyframe_distances: dict[int, int]
    """Frames between keyframes of the first camera -> how often."""
    break_even_in_order: BreakEven
    break_even_at_random: BreakEven
    budget_bytes: int | None
    fits: bool | None
    """Whether ``total_bytes`` is within the budget; None without one."""
    choices: list[Choice]
    num_sampled_frames: int
    """That were decoded and encoded."""


class Planned(NamedTuple):
    """One stride's plan in numbers."""

    plan: Plan
    amount: Amount
    load: Load


class Measured(NamedTuple):
    """What a sample took."""

    receipts: list[MeasureReceipt]
    choices: list[Settings]
    """The other ways to encode, in the order of the receipts."""


def make_prediction(
    settings: Settings,
    planned: dict[int, Planned],
    measured: Measured,
    checked: Sequence[CheckedEpisode],
    failed: Sequence[tuple[Episode, EpisodeFault]],
    cores: int,
    budget_bytes: int | None,
) -> Prediction:
    """Returns what a run would take.

    Args:
        settings: those asked for.
        planned: a plan for each stride that is compared, that of the settings among them.
        measured: what a sample took: at least one piece.
        checked: episodes whose headers were read.
        failed: those of them that are at fault.
        cores: for the wall time.
        budget_bytes: that choices are compared with, if any.
    """
    plan, amount, load = planned[settings.stride]
    receipts = measured.receipts
    found, taken = _bytes(amount, receipts), core_time(load, receipts)
    read = read_time(receipts, settings.stride)
    inputs = {given.path: given.num_bytes for p in plan.episodes for given in p.inputs}
    least, most = found.num_bytes - found.error_bytes, found.num_bytes + found.error_bytes
    return Prediction(
        settings=settings,
        num_episodes=len(plan.episodes),
        num_checked=len(checked) + len(failed),
        num_faulty=len(failed),
        num_source_frames=load.num_rows,
        num_frames=load.num_samples,
        num_images=load.num_samples * len(settings.cameras),
        num_shards=load.num_shards,
        num_tables=load.num_tables,
        total_bytes=round(found.num_bytes),
        total_bytes_interval=(round(least), round(most)),
        parts={part.name: round(part.num_bytes) for part in found.parts if part.num_bytes},
        cameras={
            camera: _camera_bytes(settings, camera, load.num_samples, receipts)
            for camera in settings.camera_names
        },
        core_hours=taken.core_s / _HOUR_S,
        core_hours_interval=(
            (taken.core_s - taken.error_s) / _HOUR_S,
            (taken.core_s + taken.error_s) / _HOUR_S,
        ),
        stages={stage.name: stage.core_s / _HOUR_S for stage in taken.stages},
        cores=cores,
        wall_hours=taken.wall_s(load, cores) / _HOUR_S,
        disk_read_bytes=sum(inputs.values()),
        keyframe_distances=dict(sorted(keyframe_distances(checked).items())),
        break_even_in_order=_break_even(taken, load, read.in_order_s, read.shard_s),
        break_even_at_random=_break_even(taken, load, read.at_random_s, read.shard_s),
        budget_bytes=budget_bytes,
        fits=_fits(found.num_bytes, budget_bytes),
        choices=_choices(settings, planned, measured, budget_bytes),
        num_sampled_frames=sum(piece.num_frames for r in receipts for piece in r.pieces),
    )


def _bytes(amount: Amount, receipts: Sequence[MeasureReceipt]) -> Estimate:
    samples = [draw for r in receipts for piece in r.pieces for draw in piece.draws]
    episodes = [table.size for r in receipts for table in r.tables]
    return estimate(amount, samples, episodes, is_sized=True, student=LIKELY)


def _camera_bytes(
    settings: Settings, camera: str, num_samples: int, receipts: Sequence[MeasureReceipt]
) -> CameraBytes:
    values = [v for r in receipts for piece in r.pieces for v in piece.image_bytes[camera]]
    mean, error = mean_and_error(values)
    return CameraBytes(
        codec=settings.codec if settings.is_rgb(camera) else "npz",
        num_bytes=round(num_samples * mean),
        interval=(round(num_samples * (mean - error)), round(num_samples * (mean + error))),
        bytes_per_image=round(mean),
    )


def _break_even(taken: CoreTime, load: Load, online_s: float, shard_s: float) -> BreakEven:
    samples = round(taken.core_s / (online_s - shard_s)) if online_s > shard_s else None
    return BreakEven(
        online_ms=online_s * 1000,
        shard_ms=shard_s * 1000,
        samples=samples,
        epochs=None if samples is None else samples / load.num_samples,
    )


def _choices(
    settings: Settings,
    planned: dict[int, Planned],
    measured: Measured,
    budget_bytes: int | None,
) -> list[Choice]:
    """Every way to encode at every stride: as the one asked for, with other images."""
    pieces = [piece for receipt in measured.receipts for piece in receipt.pieces]
    num_draws = sum(piece.num_draws for piece in pieces)
    ways = [settings, *measured.choices]
    images_bytes = [
        sum(piece.choices[number].images_bytes for piece in pieces) / num_draws
        for number in range(len(ways))
    ]
    found: list[Choice] = []
    for number, way in enumerate(ways):
        for stride, (_, amount, load) in planned.items():
            more = load.num_samples * (images_bytes[number] - images_bytes[0])
            total_bytes = round(_bytes(amount, measured.receipts).num_bytes + more)
            taken = core_time(load, measured.receipts, number or None)
            found.append(
                Choice(
                    size=way.size,
                    codec=way.codec,
                    quality=way.quality,
                    stride=stride,
                    total_bytes=total_bytes,
                    core_hours=taken.core_s / _HOUR_S,
                    is_asked=number == 0 and stride == settings.stride,
                    fits=_fits(total_bytes, budget_bytes),
                )
            )
    return found


def _fits(num_bytes: float, budget_bytes: int | None) -> bool | None:
    return None if budget_bytes is None else num_bytes <= budget_bytes
