"""A report as lines for the terminal."""

from collections.abc import Iterator

from predecode.display import format_bytes
from predecode.page.wording import num, percent
from predecode.verification.backend_matrix import matrix_lines
from predecode.verification.report import (
    CameraFigures,
    FramesLevel,
    Report,
    SamplesLevel,
    SourceSurvey,
)
from predecode.verification.wording import level, psnr, ssim

__all__ = ["report_lines"]

_MOST_FINDINGS = 100
_MOST_GAPS = 4


def report_lines(report: Report) -> Iterator[str]:
    """Yields levels, findings and the verdict, which is the last line."""
    if report.structure is not None:
        read = report.structure
        yield (
            f"structure: {num(read.num_shards, 'shard')}, {num(read.num_tables, 'table')}, "
            f"{num(read.num_samples, 'sample')}, {format_bytes(read.num_bytes)}"
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


def _frames(frames: FramesLevel) -> Iterator[str]:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in frames.chosen.items())
    yield f"frames: {frames.num_samples:,} samples decoded again by {frames.backend} ({reasons})"
    for camera, figures in frames.cameras.items():
        yield f"  {camera}: {_figures(figures)}"


def _figures(figures: CameraFigures) -> str:
    if not figures.num_images:
        return "no image decoded again"
    if figures.num_equal_images == figures.num_images:
        return f"{num(figures.num_images, 'image')}, all equal"
    return (
        f"{num(figures.num_images, 'image')}, {figures.num_equal_images:,} equal, "
        f"{percent(figures.equal_pixels)} of pixels equal, largest difference {figures.largest}, "
        f"mean {level(figures.mean)}, PSNR mean {psnr(figures.psnr_mean_db, equal=False)}, worst "
        f"{psnr(figures.psnr_worst_db, equal=False)}, SSIM mean {ssim(figures.ssim_mean)}, worst "
        f"{ssim(figures.ssim_worst)}"
    )


def _samples(samples: SamplesLevel) -> Iterator[str]:
    """Parts of items that are as they must be; how many, where not all items have them."""
    parts = [
        name if count == samples.num_samples else f"{name} ({count:,})"
        for name, count in samples.equal.items()
    ]
    yield (
        f"samples: {samples.num_samples:,} items as on line in {', '.join(parts) or 'nothing'}; "
        f"tables of {samples.num_episodes:,} episodes, {samples.num_rows:,} rows"
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
    read, frames = report.structure, report.frames
    if report.source is not None:
        return f"{report.subject}: nothing at fault in {report.source.num_episodes:,} episodes"
    parts = []
    if read is not None:
        parts.append(f"{num(read.num_shards, 'shard')}, {num(read.num_samples, 'sample')}")
    if frames is not None:
        num_images = sum(figures.num_images for figures in frames.cameras.values())
        parts.append(f"{num(num_images, 'image')} decoded again")
    else:
        parts.append("bytes only")
    if report.quarantined:
        parts.append(f"{len(report.quarantined)} episodes are missing")
    return f"{report.subject}: proven: {', '.join(parts)}"
