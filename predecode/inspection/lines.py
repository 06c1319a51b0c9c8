"""What is in an output as lines for the terminal."""

import math
from collections.abc import Iterable, Iterator, Mapping

from predecode.display import format_bytes
from predecode.inspection.found import Column, EpisodeFound, Image, OutputFound, SampleFound
from predecode.page.wording import num
from predecode.video.backends import STORING_BACKEND
from train_shards.format import format_key
from train_shards.manifest import Settings

__all__ = ["episode_lines", "output_lines", "sample_lines", "settings_of"]

_MOST = 20
_MOST_INSTANCES = 8


def output_lines(found: OutputFound) -> Iterator[str]:
    """Yields a summary of an output; long lists are cut."""
    manifest, totals = found.manifest, found.manifest.totals
    yield (
        f"{found.out}: {num(totals.num_episodes, 'episode')}, {num(totals.num_samples, 'sample')}, "
        f"{num(totals.num_images, 'image')} in {num(totals.num_shards, 'shard')}, "
        f"{format_bytes(totals.num_shard_bytes)} + {format_bytes(totals.num_lowdim_bytes)} tables; "
        f"{'complete' if manifest.complete else 'INCOMPLETE'}"
    )
    version = f"format {manifest.format.major}.{manifest.format.minor}"
    run = f", the samples of one run: {manifest.run_scope}" if manifest.run_scope else ""
    yield f"written by {manifest.written_by}, {version}{run}"
    yield "settings: " + ", ".join(f"{n} {v}" for n, v in settings_of(manifest.settings).items())
    for split, figures in found.splits.items():
        yield (
            f"{split}: {num(figures.num_episodes, 'episode')}, {num(figures.num_samples, 'sample')}"
            f" in {num(figures.num_shards, 'shard')}, {format_bytes(figures.num_shard_bytes)}"
        )
    for entry in manifest.generations:
        yield (
            f"generation {entry.generation}: {num(len(entry.shards), 'shard')}, "
            f"{num(len(entry.lowdim), 'table')}, plan {entry.plan_digest[:12]}; by "
            f"{_made_by(entry.backend or STORING_BACKEND, entry.environment)}"
        )
    yield from _cut(
        f"task {task.task_index} {task.name or '-'}: {num(task.num_episodes, 'episode')}, "
        f"{num(task.num_samples, 'sample')}: {task.task or '(no sentence)'}"
        for task in found.tasks
    )
    yield from _cut(
        f"shard {shard.path}: {num(shard.num_samples, 'sample')}, {shard.num_bytes:,} bytes, "
        f"sha256 {shard.sha256[:12]}"
        for entry in manifest.generations
        for shard in entry.shards
    )
    yield from _cut(
        f"episode {row.episode_index:08d}: task {row.task_index}, {row.split}, "
        f"{num(row.num_samples, 'sample')}"
        for row in found.episodes
    )
    yield from _cut(
        f"quarantined {row.episode_index:08d}: {row.path}: {row.problem}; expected {row.expected}, "
        f"got {row.got}"
        for row in found.quarantined
    )
    yield from _cut(f"dropped {row.episode_index:08d}" for row in manifest.dropped)


def settings_of(settings: Settings) -> dict[str, str]:
    """Returns the identity of an output, name -> value, for people."""
    quality = "" if settings.quality is None else f" quality {settings.quality}"
    values = {
        "source": settings.source,
        "name": settings.name,
        "images": " ".join(settings.camera_names),
        "size": settings.size,
        "codec": settings.codec + quality,
        "subsampling": settings.subsampling if settings.codec == "jpeg" else "",
        "stride": str(settings.stride),
        "layout": settings.layout,
        "shard size": f"{settings.shard_size:,}",
        "held out": settings.val_episodes,
        "state layout": settings.known_state_layout,
        "seed": str(settings.seed),
        "labelled frames only": "yes" if settings.annotated_only else "",
        "state and action in the tars": "yes" if settings.embed_lowdim else "",
        "task info": "yes" if settings.task_info else "",
    }
    return {name: value for name, value in values.items() if value}


def episode_lines(found: EpisodeFound) -> Iterator[str]:
    """Yields what is in an episode."""
    yield (
        f"episode {found.episode_index:08d}: task {found.task_index}, {found.split}, generation "
        f"{found.generation}"
    )
    yield f"prompt: {_text(found.prompt)}"
    yield (
        f"{num(found.num_frames, 'frame')}, {found.num_samples:,} stored: {found.first_frame} to "
        f"{found.last_frame}, stride {found.stride}; the first is "
        f"{format_key(found.episode_index, found.first_frame)}"
    )
    for shard in found.shards:
        yield (
            f"shard {shard.shard}: {num(shard.num_samples, 'sample')}, "
            f"{format_bytes(shard.num_bytes)}"
        )
    for member in found.members:
        yield (
            f"member {member.field}: {format_bytes(member.total)}, {member.mean:,.0f} bytes each "
            f"({member.least:,} to {member.most:,})"
        )
    for skill in found.skills:
        yield f"skill {skill.start} to {skill.stop}: {_text(skill.skill)}"
    if not found.skills:
        yield "no annotated skill"
    yield f"table {found.lowdim}, batch {found.lowdim_batch}:"
    yield from (f"  {name}: {kind}" for name, kind in found.columns.items())
    yield f"made of, below {found.root}:"
    for path, num_bytes, digest in found.inputs:
        yield f"  {path}: {num_bytes:,} bytes, digest {digest}"


def sample_lines(found: SampleFound) -> Iterator[str]:
    """Yields what is in a sample."""
    yield (
        f"{found.key}: frame {found.frame_index} of {found.num_frames:,} of episode "
        f"{found.episode_index:08d}, {found.split}, generation {found.generation}"
    )
    yield (
        f"shard {found.shard} at {found.offset_bytes:,}, {found.num_bytes:,} bytes; sha256 of the "
        f"shard {found.shard_sha256}"
    )
    for member in found.members:
        yield (
            f"member {member.field}: {member.num_bytes:,} bytes at {member.offset_bytes:,}, xxh3 "
            f"{member.xxh3}, as in the ledger"
        )
    yield from map(image_line, found.images)
    yield f"task {found.task_index}: {_text(found.task)}"
    yield f"prompt: {_text(found.prompt)}"
    yield f"skill: {_text(found.skill)}"
    yield f"row {found.frame_index} of {found.lowdim}, batch {found.lowdim_batch}:"
    yield from (f"  {_column_text(column)}" for column in found.columns)
    yield f"made of, below {found.root}:"
    for source in found.sources:
        place = f"pts {source.pts} of {source.time_base} s" if source.pts is not None else "no pts"
        column = f" column {source.column}" if source.column else ""
        yield (
            f"  {source.image}: {source.path}{column}, picture {source.rank}, {place}; digest "
            f"{source.digest}"
        )
    for note in dict.fromkeys(source.note for source in found.sources if source.note):
        yield f"  {note}"
    yield f"by {_made_by(found.decoder, found.environment)}; plan {found.plan_digest}"


def image_line(image: Image) -> str:
    """Returns an image in one line."""
    more = ""
    if image.range_m is not None:
        more = f", {image.range_m[0]:.2f} to {image.range_m[1]:.2f} m"
    if image.instances:
        shown = [
            f"{i.id}{f' {i.name}' if i.name else ''}" for i in image.instances[:_MOST_INSTANCES]
        ]
        rest = len(image.instances) - len(shown)
        more = f", ids {', '.join(shown)}" + (f" and {rest} more" if rest else "")
    return f"image {image.name}: {image.modality}, {image.width} x {image.height} pixels{more}"


def _column_text(column: Column) -> str:
    values = ", ".join(f"{v:.5g}" if isinstance(v, float) else str(v) for v in column.values)
    if column.low is None:
        return f"{column.name}: {values} ({column.type})"
    is_cut = len(column.values) < math.prod(column.shape)
    shape = " x ".join(map(str, column.shape))
    return (
        f"{column.name}: {shape} {column.type}, {column.low:.5g} to {column.high:.5g}: "
        f"{values}{', …' if is_cut else ''}"
    )


def _made_by(decoder: str, environment: Mapping[str, str]) -> str:
    return f"{decoder}: " + ", ".join(f"{name} {v}" for name, v in sorted(environment.items()))


def _text(text: str | None) -> str:
    return text or "none"


def _cut(lines: Iterable[str]) -> Iterator[str]:
    """The first lines, and how many more there are."""
    rest = 0
    for number, line in enumerate(lines):
        if number < _MOST:
            yield line
        else:
            rest += 1
    if rest:
        yield f"… and {rest:,} more; --json lists all"
