"""A report as lines for the terminal."""

from collections.abc import Iterator

from predecode.progress import format_bytes
from predecode.verification.backend_matrix import matrix_lines
from predecode.verification.image_difference import EQUAL_PSNR_DB
from predecode.verification.report import (
    CameraFigures,
    FramesLevel,
    Report,
    SamplesLevel,
    SourceSurvey,
)

__all__ = ["report_lines"]

_MOST_FINDINGS = 100
_MOST_GAPS = 4


def report_lines(report: Report) -> Iterator[str]:
    """Yields levels, findings and the verdict, which is the last line."""
    if report.structure is not None:
        level = report.structure
        yield (
            f"structure: {level.num_shards} shards, {level.num_tables} tables, "
            f"{level.num_samples:,} samples, {format_bytes(level.num_bytes)}"
        )
    if report.frames is not None:
        yield from _frames(report.frames)
    if report.samples is not None:
        yield from _samples(report.samples)
    if report.source is not None:
        yield from _source(report.source)
    if report.backends is not None:
        yield from matrix_lines(report.backends)
    for finding in report.findings[:_MOST_FINDINGS]:
        yield str(finding)
    if len(report.findings) > _MOST_FINDINGS:
        yield f"… {len(report.findings)} findings in all"
    if report.unchecked:
        yield f"not checked: {report.unchecked}"
    yield _verdict(report)


def _frames(level: FramesLevel) -> Iterator[str]:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in level.chosen.items())
    yield f"frames: {level.num_samples:,} samples decoded again by {level.backend} ({reasons})"
    for camera, figures in level.cameras.items():
        yield f"  {camera}: {_figures(figures)}"


def _figures(figures: CameraFigures) -> str:
    if not figures.num_images:
        return "no image decoded again"
    if figures.num_equal_images == figures.num_images:
        return f"{figures.num_images:,} images, all equal"
    return (
        f"{figures.num_images:,} images, {figures.num_equal_images:,} equal, "
        f"{figures.equal_pixels:.1%} of pixels equal, largest difference {figures.largest}, "
        f"mean {figures.mean:.3f}, PSNR mean {_db(figures.psnr_mean_db)}, worst "
        f"{_db(figures.psnr_worst_db)}, SSIM mean {figures.ssim_mean:.4f}, worst "
        f"{figures.ssim_worst:.4f}"
    )


def _db(psnr_db: float) -> str:
    return "equal" if psnr_db == EQUAL_PSNR_DB else f"{psnr_db:.1f} dB"


def _samples(level: SamplesLevel) -> Iterator[str]:
    whole = [name for name, count in level.equal.items() if count == level.num_samples]
    yield (
        f"samples: {level.num_samples:,} items as on line in {', '.join(whole) or 'nothing'}; "
        f"tables of {level.num_episodes:,} episodes, {level.num_rows:,} rows"
    )


def _source(survey: SourceSurvey) -> Iterator[str]:
    yield (
        f"source: {survey.kind}, {survey.num_episodes:,} episodes, {survey.num_frames:,} frames, "
        f"{format_bytes(survey.num_bytes)}"
    )
    for camera, figures in survey.cameras.items():
        gaps = sorted(figures.keyframe_gaps.items(), key=lambda gap: (-gap[1], gap[0]))
        shown = ", ".join(f"{frames:,} x{count:,}" for frames, count in gaps[:_MOST_GAPS])
        yield (
            f"  {camera}: {figures.num_videos:,} videos, {figures.num_frames:,} frames, "
            f"{format_bytes(figures.num_bytes)}; frames from keyframe to keyframe: {shown}"
            f"{', …' if len(gaps) > _MOST_GAPS else ''}; jitter of at most "
            f"{figures.largest_jitter_ticks} ticks"
        )


def _verdict(report: Report) -> str:
    if report.status == "different":
        return f"{report.subject}: {report.num_faults:,} faults; not proven"
    if report.status == "unchecked":
        return f"{report.subject}: could not be checked; not proven"
    level, frames = report.structure, report.frames
    if report.source is not None:
        return f"{report.subject}: nothing at fault in {report.source.num_episodes:,} episodes"
    parts = [] if level is None else [f"{level.num_shards} shards, {level.num_samples:,} samples"]
    if frames is not None:
        num_images = sum(figures.num_images for figures in frames.cameras.values())
        parts.append(f"{num_images:,} images decoded again")
    else:
        parts.append("bytes only")
    if report.quarantined:
        parts.append(f"{len(report.quarantined)} episodes are missing")
    return f"{report.subject}: proven: {', '.join(parts)}"
