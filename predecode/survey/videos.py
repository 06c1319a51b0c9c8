"""One camera's video of one episode, from its header and packet table: figures and findings.

Kinds of findings; a fault (F) keeps the episode out of an output, a remark (R) does not:

=================== = ==========================================================================
missing-file        F nothing under the path that the metadata name
empty-file          F a file of 0 bytes
unreadable-video    F cut short, no video, no decoder for it, two packets of one pts, …
pictures            F more or fewer pictures than the episode has frames
first-keyframe      F no keyframe at or before the first picture, so it cannot be decoded
pts-gap             F a picture comes two frames or more after the one before it;
                    R where the pictures' own times are the frames' (no frame rate in the metadata),
                      or where the tolerance of one tick covers it
pts-jitter          F a picture further than one tick from its frame's time, gaps left aside
=================== = ==========================================================================

A keyframe grid of any kind, a first pts other than 0 and jitter within a tick are no findings: the
figures tell them.
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from predecode.errors import EpisodeError, MediaError
from predecode.frame_times import nearest_step, time_deviation
from predecode.source_check import check_count, read_video
from predecode.sources.episode import Episode
from predecode.survey.findings import counted, fault_finding, noting
from predecode.verification.report import CameraSurvey, Finding
from predecode.video.packets import FrameTable

__all__ = ["SurveyedVideo", "merge_cameras", "survey_video"]

_LISTED_GAPS = 3


class SurveyedVideo(NamedTuple):
    """What one video is."""

    figures: CameraSurvey
    digest: str
    """Of the packet table, see ``FrameTable``; of a shared file with the place in it."""


def survey_video(
    root: Path, episode: Episode, camera: str
) -> tuple[SurveyedVideo | None, list[Finding]]:
    """Returns a video's figures, None where it cannot be read, and every finding.

    Cost: that of ``read_frame_table``: 1 ms for a header of 1,000 frames; a file whose header does
    not tell the pictures' times is read whole.
    """
    try:
        frames, file = read_video(root, episode, camera)
    except EpisodeError as error:
        return None, [fault_finding("unreadable-video", error.fault)]
    span = episode.videos[camera]
    stop, digest = len(frames.pts), file.digest
    if span.ends_file is not msgspec.UNSET and episode.num_frames is not None:
        stop, digest = min(stop, span.start + episode.num_frames), f"{digest}:{span.start}"
    if span.start >= stop:
        got = f"{len(frames.pts)} pictures in the file"
        note = noting(span.path, episode)
        return None, [note(kind="pictures", expected=f"one at {span.start}", got=got)]
    times = _times(episode, frames.pts[span.start : stop], frames.time_base)
    findings = [
        *_check_keyframe(episode, camera, frames),
        *_check_count(episode, camera, frames, int(times.missing.sum())),
        *_check_times(episode, camera, times),
    ]
    largest = Fraction(int(np.abs(times.deviation).max()), times.step.denominator)
    is_first = span.start == 0  # a shared file counts with its first episode
    figures = CameraSurvey(
        num_videos=int(is_first),
        num_frames=len(times.ticks),
        # A column's bytes are the table's.
        num_bytes=file.num_bytes if is_first and span.column is msgspec.UNSET else 0,
        keyframe_gaps=_keyframe_gaps(frames, span.start, stop),
        largest_jitter_ticks=-(-largest.numerator // largest.denominator),
    )
    return SurveyedVideo(figures, digest), findings


def merge_cameras(left: CameraSurvey, right: CameraSurvey) -> CameraSurvey:
    """Returns the figures of two sets of videos as one."""
    gaps = Counter(left.keyframe_gaps) + Counter(right.keyframe_gaps)
    return CameraSurvey(
        num_videos=left.num_videos + right.num_videos,
        num_frames=left.num_frames + right.num_frames,
        num_bytes=left.num_bytes + right.num_bytes,
        keyframe_gaps=dict(sorted(gaps.items())),
        largest_jitter_ticks=max(left.largest_jitter_ticks, right.largest_jitter_ticks),
    )


class _Times(NamedTuple):
    """When the pictures of an episode are shown; arrays ``(n,)``, one element a picture."""

    ticks: NDArray[np.int64]
    step: Fraction
    """Ticks a frame of the grid that pictures are held against."""
    deviation: NDArray[np.int64]
    """See ``time_deviation``."""
    missing: NDArray[np.int64]
    """How many frames have no picture between this picture and the one before it."""


def _times(episode: Episode, ticks: NDArray[np.int64], time_base: Fraction) -> _Times:
    """Without a frame rate the grid runs evenly to the last picture; a frame is a median step."""
    if episode.fps is not None:
        step = usual_step = nearest_step(episode.fps, time_base, ticks)
    elif len(ticks) > 1:
        step = Fraction(int(ticks[-1] - ticks[0]), len(ticks) - 1)
        usual_step = Fraction(float(np.median(np.diff(ticks))))
    else:
        step = usual_step = Fraction(1)
    halves = 2 * np.diff(ticks, prepend=ticks[:1]) * usual_step.denominator
    rounded = (halves + usual_step.numerator) // (2 * usual_step.numerator)
    return _Times(ticks, step, time_deviation(ticks, step), np.maximum(rounded - 1, 0))


def _keyframe_gaps(frames: FrameTable, start: int, stop: int) -> dict[int, int]:
    ranks = frames.keyframe_ranks
    ranks = ranks[(ranks >= start) & (ranks < stop)]
    gaps = np.diff(ranks, append=stop)
    return dict(sorted(Counter(gaps.tolist()).items()))


def _check_keyframe(episode: Episode, camera: str, frames: FrameTable) -> Iterator[Finding]:
    span = episode.videos[camera]
    try:
        frames.governing_keyframe(span.start)
    except MediaError as error:
        _, expected, got = error.args
        yield noting(span.path, episode)(kind="first-keyframe", expected=expected, got=got)


def _check_count(
    episode: Episode, camera: str, frames: FrameTable, num_in_gaps: int
) -> Iterator[Finding]:
    span = episode.videos[camera]
    if episode.num_frames is None:
        return
    try:
        check_count(episode, camera, frames, episode.num_frames)
    except EpisodeError as error:
        at_end = episode.num_frames - (len(frames.pts) - span.start) - num_in_gaps
        places = [f"{num_in_gaps} missing in gaps"] if num_in_gaps else []
        places += [f"{at_end} missing at the end"] if at_end > 0 else []
        got = ", ".join([error.fault.got, *places])
        yield noting(span.path, episode)(kind="pictures", expected=error.fault.expected, got=got)


def _check_times(episode: Episode, camera: str, times: _Times) -> Iterator[Finding]:
    """Gaps, and what is off the grid beside them; one tick off is within tolerance."""
    ticks, step, deviation, missing = times
    has_grid = episode.fps is not None
    note = noting(episode.videos[camera].path, episode)
    gaps = np.flatnonzero(missing).tolist()
    if gaps:
        places = [
            f"{missing[rank] + 1} frames from picture {rank - 1} to {rank}"
            for rank in gaps[:_LISTED_GAPS]
        ]
        more = [f"{len(gaps) - _LISTED_GAPS} more"] if len(gaps) > _LISTED_GAPS else []
        yield note(
            kind="pts-gap",
            expected="a picture at each frame's time",
            got=f"{counted(len(gaps), 'gap')}: {', '.join([*places, *more])}",
            is_fault=has_grid and bool((np.abs(deviation) > step.denominator).any()),
        )
    off = np.abs(deviation - np.cumsum(missing) * step.numerator) > step.denominator
    if has_grid and off.any():
        first = int(np.argmax(off))
        frame = first + int(missing[: first + 1].sum())
        yield note(
            kind="pts-jitter",
            expected=f"picture {first} {float(frame * step):g} ticks after the first",
            got=f"{int(ticks[first] - ticks[0])} ticks; "
            f"{counted(int(off.sum()), 'picture')} further than a tick from the frame's time",
        )
