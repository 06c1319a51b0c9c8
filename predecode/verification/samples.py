"""Items of the shards against items decoded on line, after what the trainer does to both.

The frames level proves pictures one by one; here the whole way is compared: index, tables, windows,
texts, pictures, as training would see them.
"""

import contextlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from predecode.errors import DataError, UserError
from predecode.images.resize import resize_with_pad
from predecode.online import OnlineDataset
from predecode.sources.tables import TASK_INFO
from predecode.verification.image_difference import ImageDifference
from predecode.verification.report import Finding, capped
from train_shards.b1k_state import SOURCE_STATE_DIM, policy_state
from train_shards.codec import is_lossless
from train_shards.dataset import ShardDataset
from train_shards.format import format_key
from train_shards.manifest import Settings

__all__ = ["SamplesJob", "SamplesVerdict", "trainer_view", "verify_samples"]

ACTION_HORIZON = 32
"""Source: ``action_horizon`` of openpi-comet's configurations for BEHAVIOR-1K."""
TRAINER_SIZE = 224, 224
"""``(h, w)``. Source: ``ResizeImages(224, 224)`` of the model transforms of both trainers."""
_BATCH = 16
_STATE, _ACTION = "observation.state", "action"


class SamplesJob(msgspec.Struct, frozen=True, kw_only=True):
    """Some samples of one split, to be read both ways."""

    name: str
    out: str
    root: str
    settings: Settings
    fps: tuple[int, int] | None
    split: str
    samples: list[tuple[int, int]]
    """``(episode_index, frame_index)`` of stored ones."""
    backend: str
    pythons: dict[str, str]
    min_psnr_db: float


class SamplesVerdict(msgspec.Struct, kw_only=True):
    """What was found in them."""

    findings: list[Finding]
    num_samples: int = 0
    equal: dict[str, int] = {}
    """What of an item -> in how many items it is as it must be."""


def verify_samples(job: SamplesJob, report: Callable[[int], None]) -> SamplesVerdict:
    """Compares samples; differences become findings. Reports one step a sample."""
    verdict = SamplesVerdict(findings=[])
    try:
        shards, online = _open(job)
    except (DataError, UserError) as error:
        verdict.findings.append(_finding(job, "", "shards and source that can be read", error))
        return verdict
    with contextlib.closing(shards), contextlib.closing(online):
        known = [_positions(dataset, job.samples) for dataset in (shards, online)]
        pairs = []
        for sample, ours, theirs in zip(job.samples, *known, strict=True):
            if ours is None or theirs is None:
                side = "shards" if ours is None else "source"
                key = format_key(*sample)
                verdict.findings.append(_finding(job, key, "this sample", f"none in the {side}"))
            else:
                pairs.append((ours, theirs))
        for start in range(0, len(pairs), _BATCH):
            batch = pairs[start : start + _BATCH]
            try:
                both = _items(shards, online, batch)
            except (DataError, UserError) as error:  # or of a frame that its run never sees
                verdict.findings.append(_finding(job, "", "items of shards and source", error))
                continue
            for stored, fresh in both:
                _compare(job, stored, fresh, verdict)
                report(1)
    verdict.findings = capped(verdict.findings)
    return verdict


def _open(job: SamplesJob) -> tuple[ShardDataset, OnlineDataset]:
    deltas_s: dict[str, list[float]] = {}
    plain = ShardDataset(job.out, split=job.split)
    if job.fps is not None and _ACTION in plain[plain.first_position]:
        numerator, denominator = job.fps
        deltas_s[_ACTION] = [i * denominator / numerator for i in range(ACTION_HORIZON)]
    shards = ShardDataset(job.out, split=job.split, delta_timestamps=deltas_s, check_members=True)
    online = OnlineDataset(
        job.root,
        src=job.settings.source,
        backend=job.backend,
        backend_python=job.pythons,
        size=job.settings.size,
        stride=job.settings.stride,
        modalities=sorted({job.settings.modality_of(image) for image in job.settings.cameras}),
        only={episode_index for episode_index, _ in job.samples},
        cameras=job.settings.camera_names,
        delta_timestamps=deltas_s,
    )
    return shards, online


def _items(
    shards: ShardDataset, online: OnlineDataset, pairs: Sequence[tuple[int, int]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    stored = shards.__getitems__([ours for ours, _ in pairs])
    fresh = online.__getitems__([theirs for _, theirs in pairs])
    return list(zip(stored, fresh, strict=True))


def trainer_view(item: dict[str, Any], pictures: Collection[str]) -> dict[str, Any]:
    """Returns an item as the policy gets it; ``pictures`` are the keys of its RGB images.

    State of 256 numbers as the policy's 23; pictures as uint8 ``(224, 224, 3)``; the action chunk
    and its pad mask; the prompt; everything else as it is. ``sample_index`` is left out: it counts
    other samples on line.

    Source: the transforms of openpi's BEHAVIOR-1K policy, up to its normalisation.
    """
    view = {name: value for name, value in item.items() if name not in ("sample_index", TASK_INFO)}
    state = view.get(_STATE)
    if state is not None and state.shape == (SOURCE_STATE_DIM,):
        view[_STATE] = policy_state(state)
    for name in pictures:
        view[name] = resize_with_pad(view[name], TRAINER_SIZE)
    view["prompt"] = view.pop("task")
    return view


def _compare(
    job: SamplesJob, stored: dict[str, Any], fresh: dict[str, Any], verdict: SamplesVerdict
) -> None:
    key = format_key(int(fresh["episode_index"]), int(fresh["frame_index"]))
    settings = job.settings
    pictures = {settings.item_key(i) for i in settings.cameras if settings.is_rgb(i)}
    left, right = trainer_view(stored, pictures), trainer_view(fresh, pictures)
    verdict.num_samples += 1
    for name in sorted({*left, *right}):
        ours, theirs = left.get(name), right.get(name)
        if name in pictures and ours is not None and theirs is not None:
            problem = _image_problem(job, ours, theirs)
        else:
            problem = None if _is_same(ours, theirs) else _shown(ours)
        if problem is None:
            verdict.equal[name] = verdict.equal.get(name, 0) + 1
        else:
            expected = "as on line" if name in pictures else _shown(theirs)
            verdict.findings.append(_finding(job, key, f"{name} {expected}", problem))


def _image_problem(
    job: SamplesJob, stored: NDArray[np.uint8], fresh: NDArray[np.uint8]
) -> str | None:
    """What is wrong with a stored picture; None where it is within the codec's bound."""
    if stored.shape != fresh.shape:
        return f"shape {stored.shape} for {fresh.shape}"
    figures = ImageDifference().measure("", stored, fresh)
    if is_lossless(job.settings.codec, job.settings.quality):
        return f"a difference of up to {figures.largest}" if figures.largest else None
    return f"{figures.psnr_db:.1f} dB" if figures.psnr_db < job.min_psnr_db else None


def _is_same(left: Any, right: Any) -> bool:
    """Equal to the bit, types included."""
    if isinstance(left, np.ndarray | np.generic) and isinstance(right, np.ndarray | np.generic):
        is_alike = (left.dtype, left.shape) == (right.dtype, right.shape)
        return is_alike and left.tobytes() == right.tobytes()
    return type(left) is type(right) and bool(left == right)


def _positions(
    dataset: ShardDataset | OnlineDataset, samples: Sequence[tuple[int, int]]
) -> list[int | None]:
    """Where samples stand in a data set; None for those that it lacks."""
    spans = {span.episode_index: span for span in dataset.spans()}
    found: list[int | None] = []
    for episode_index, frame in samples:
        span = spans.get(episode_index)
        rows, rest = divmod(frame - span.first_frame, span.stride) if span else (-1, 0)
        is_there = span is not None and rest == 0 and 0 <= rows < span.num_samples
        found.append(span.start + rows if span is not None and is_there else None)
    return found


def _shown(value: Any) -> str:
    return "nothing" if value is None else np.array2string(np.asarray(value), threshold=8)


def _finding(job: SamplesJob, key: str, expected: str, got: object) -> Finding:
    return Finding(
        level="samples",
        kind="item",
        where=Path(job.out).name if not key else f"item of {job.split}",
        key=key,
        expected=expected,
        got=str(got),
    )
