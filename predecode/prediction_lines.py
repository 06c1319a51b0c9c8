"""A prediction as lines for people."""

from collections.abc import Iterator, Sequence

from predecode.display import format_bytes
from predecode.prediction import BreakEven, Choice, Prediction

__all__ = ["prediction_lines"]

_MOST_DISTANCES = 5
_NAME_COLUMNS = 13


def prediction_lines(found: Prediction) -> Iterator[str]:
    """Yields what a run would take, what the other choices would, and which fit a budget."""
    yield (
        f"{found.num_episodes:,} episodes, {found.num_frames:,} frames to store of "
        f"{found.num_source_frames:,}, {found.num_images:,} images in {found.num_shards:,} shards"
    )
    yield (
        f"headers of {found.num_checked:,} episodes read ({found.num_faulty:,} at fault), "
        f"{found.num_sampled_frames:,} frames decoded and encoded"
    )
    yield ""
    yield f"bytes           {_bytes_and_interval(found.total_bytes, found.total_bytes_interval)}"
    parts = sorted(found.parts.items(), key=lambda part: -part[1])
    yield "  of these      " + ", ".join(f"{name} {format_bytes(size)}" for name, size in parts)
    width = max(_NAME_COLUMNS, *map(len, found.cameras))
    for camera, one in found.cameras.items():
        yield (
            f"  {camera:<{width}} {one.codec}, {_bytes_and_interval(one.num_bytes, one.interval)}, "
            f"{format_bytes(one.bytes_per_image)} an image"
        )
    least, most = found.core_hours_interval
    yield (
        f"core-hours      {_number(found.core_hours)} ({_number(least)} to {_number(most)}) "
        "of this machine's processor"
    )
    stages = sorted(found.stages.items(), key=lambda stage: -stage[1])
    total = max(sum(found.stages.values()), 1e-12)
    yield "  of these      " + ", ".join(f"{name} {hours / total:.0%}" for name, hours in stages)
    yield f"wall time       {_hours(found.wall_hours)} on {found.cores:,} cores"
    yield f"disk read       {format_bytes(found.disk_read_bytes)}"
    yield f"keyframes every {_distances(found.keyframe_distances)}"
    yield f"break-even      in order: {_break_even(found.break_even_in_order)}"
    yield f"                at random: {_break_even(found.break_even_at_random)}"
    yield ""
    yield from _table(found.choices)
    if found.budget_bytes is not None:
        yield ""
        yield from _budget_lines(found, found.budget_bytes)


def _budget_lines(found: Prediction, budget_bytes: int) -> Iterator[str]:
    name = f"budget {format_bytes(budget_bytes)}"
    if found.fits:
        sure = (
            ""
            if found.total_bytes_interval[1] <= budget_bytes
            else ", but its interval ends beyond"
        )
        yield f"{name}: it fits{sure}"
        return
    yield f"{name}: it does not fit: {format_bytes(found.total_bytes - budget_bytes)} too much"
    fitting = sorted((c for c in found.choices if c.fits), key=lambda c: -c.total_bytes)
    for choice in fitting:
        yield f"  fits: {_words(choice)} ({format_bytes(choice.total_bytes)})"
    if not fitting:
        share = budget_bytes / found.total_bytes
        yield f"  no choice above fits; about {share:.1%} of the episodes would, see --episodes"


def _table(choices: Sequence[Choice]) -> Iterator[str]:
    """One row for each encoding, one column for each stride."""
    strides = sorted({choice.stride for choice in choices})
    rows: dict[str, dict[int, Choice]] = {}
    for choice in choices:
        rows.setdefault(_encoding(choice), {})[choice.stride] = choice
    width = max(len(name) for name in rows)
    cells = [f"{f'stride {stride}':<24}" for stride in strides]
    yield f"{'choice':<{width}}  {''.join(cells)}".rstrip()
    for name, by_stride in rows.items():
        cells = [f"{_cell(by_stride[stride]):<24}" for stride in strides]
        yield f"{name:<{width}}  {''.join(cells)}".rstrip()
    yield "* as asked" + ("; ! over the budget" if any(c.fits is False for c in choices) else "")


def _cell(choice: Choice) -> str:
    marks = ("*" if choice.is_asked else "") + ("!" if choice.fits is False else "")
    return f"{format_bytes(choice.total_bytes)}, {_number(choice.core_hours)} h{marks}"


def _encoding(choice: Choice) -> str:
    quality = "" if choice.quality is None else f" {choice.quality}"
    lossless = " lossless" if choice.codec == "webp" and choice.quality is None else ""
    return f"{_size(choice)} {choice.codec}{quality}{lossless}"


def _words(choice: Choice) -> str:
    """The options that ask for a choice."""
    quality = "" if choice.quality is None else f" --quality {choice.quality}"
    return f"--size {_size(choice)} --codec {choice.codec}{quality} --stride {choice.stride}"


def _size(choice: Choice) -> str:
    width, _, height = choice.size.partition("x")
    return width if width == height else choice.size


def _distances(distances: dict[int, int]) -> str:
    total = sum(distances.values())
    if not total:
        return "episode's first frame alone"
    common = sorted(distances, key=lambda d: (-distances[d], d))[:_MOST_DISTANCES]
    shown = ", ".join(f"{distance} ({distances[distance] / total:.0%})" for distance in common)
    others = f", … {min(distances)} to {max(distances)}" if len(distances) > len(common) else ""
    return f"{shown}{others} frames"


def _break_even(found: BreakEven) -> str:
    each = f"a sample {found.online_ms:.1f} ms on line, {found.shard_ms:.1f} ms from shards"
    if found.samples is None or found.epochs is None:
        return f"never, {each}"
    return f"after {found.samples:,} samples ({_number(found.epochs)} epochs), {each}"


def _bytes_and_interval(num_bytes: int, interval: tuple[int, int]) -> str:
    least, most = interval
    return f"{format_bytes(num_bytes)} ({format_bytes(least)} to {format_bytes(most)})"


def _number(value: float) -> str:
    """Three digits at least, none after the point from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{_number(hours)} h"
    return f"{_number(hours * 60)} min" if hours * 60 >= 1 else f"{_number(hours * 3600)} s"
