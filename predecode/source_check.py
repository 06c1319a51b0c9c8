"""Headers, packet tables and metadata of one episode against each other, before any planning.

No picture is decoded. An episode that fails never enters the plan: ``check_episode`` stops at its
first fault. A survey of the whole data set takes the single steps and goes on after each.
"""

from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from predecode.errors import EpisodeError, InfraError, MediaError, episode_error, episode_error_of
from predecode.frame_times import nearest_step, time_deviation
from predecode.parquet_footer import read_footer
from predecode.sources.depth_formats import check_depth_format
from predecode.sources.episode import Episode, TableSpan, VideoSpan
from predecode.sources.id_lists import read_ids
from predecode.sources.instances import read_instances
from predecode.sources.pictures import picture_table
from predecode.sources.tables import check_frame_ids, check_row_ids
from predecode.video.packets import FrameTable

__all__ = [
    "EMPTY_FILE",
    "NO_FILE",
    "CheckedEpisode",
    "InputFile",
    "check_count",
    "check_episode",
    "check_root",
    "check_rows",
    "check_unchanged",
    "read_table_header",
    "read_video",
]

NO_FILE = "no such file"
"""A fault's ``problem`` where nothing stands under the path."""
EMPTY_FILE = "empty file"
"""A fault's ``problem`` where a file of 0 bytes stands."""


_START_TOLERANCE = Fraction(1, 10)
"""Of a frame, between a shared file's metadata and its pictures: the files that were joined may
each have been rounded to a tick."""


class InputFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file as it was when the plan was made."""

    path: str
    """Relative to the source's root."""
    num_bytes: int
    digest: str
    """xxh3-128 of a video's packet table, of a parquet file's footer, or of a list's bytes; of a
    column of pictures see ``ImageTable``."""
    column: str | msgspec.UnsetType = msgspec.UNSET
    """As in ``VideoSpan``."""


class CheckedEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """An episode whose files agree with its metadata and with each other."""

    episode: Episode
    num_frames: int
    keyframes: list[int]
    """Frames, counted in the episode, at which the first camera has a keyframe; ascending."""
    inputs: list[InputFile]
    """The table if there is one, lists of instances, then each camera's video, cameras sorted."""


def check_episode(root: Path, episode: Episode, cameras: tuple[str, ...]) -> CheckedEpisode:
    """Returns the checked episode.

    Raises:
        EpisodeError: the metadata contradict themselves, a file is missing, empty or unreadable,
            counts disagree, depth is not this edition's, a picture's time is not the one that the
            data set gives its frame, or an episode does not begin at a keyframe or at its own rows
            of a shared file.
        InfraError: the root itself cannot be reached.

    Cost: reads headers; a whole video only where its header does not tell the pictures' times. A
    file that episodes share is read once for those checked one after the other.
    """
    for fault in episode.faults or ():
        if fault.camera is None or fault.camera in cameras:
            raise EpisodeError(fault)
    try:
        num_frames = episode.num_frames
        inputs: list[InputFile] = []
        if episode.table is not None:
            metadata, table = read_table_header(root, episode)
            check_rows(episode, metadata.num_rows)
            inputs.append(table)
            check_row_ids(root, episode)
            check_frame_ids(root, episode)
        inputs += _id_lists(root, episode, cameras)
        keyframes: list[int] = []
        for camera in cameras:
            frames, video = read_video(root, episode, camera)
            check_depth_format(episode, camera, frames.pix_fmt)
            num_frames = len(frames.pts) if num_frames is None else num_frames
            check_count(episode, camera, frames, num_frames)
            _check_start(episode, camera, frames)
            _check_times(episode, camera, frames, num_frames)
            if camera == cameras[0]:
                span_start = episode.videos[camera].start
                ranks = frames.keyframe_ranks - span_start
                keyframes = ranks[(ranks >= 0) & (ranks < num_frames)].tolist()
            inputs.append(video)
    except EpisodeError:
        check_root(root)
        raise
    return CheckedEpisode(
        episode=episode, num_frames=num_frames or 0, keyframes=keyframes, inputs=inputs
    )


def check_unchanged(root: Path, planned: InputFile, *, digest: str | None = None) -> None:
    """Passes when an input is still what it was when the plan was made.

    Raises:
        InfraError: the file is gone, or its size or digest differs; the episode is not to blame.
    """
    path = root / planned.path
    try:
        num_bytes = path.stat().st_size
    except OSError as error:
        raise InfraError(
            f"{path}: was there when the plan was made, now: {error.strerror}. Make the source "
            "reachable again, then the same command goes on."
        ) from error
    if num_bytes != planned.num_bytes or digest not in (None, planned.digest):
        raise InfraError(
            f"{path}: changed since the plan was made: expected {planned.num_bytes} bytes and "
            f"digest {planned.digest}, got {num_bytes} bytes and {digest or 'the same digest'}. "
            "Restore the source, or start anew with --overwrite."
        )


def check_root(root: Path) -> None:
    """Passes while the source's folder is there: a vanished mount is no episode's fault.

    Raises:
        InfraError: it is gone, or empty as the place of a mount that is gone.
    """
    if not root.is_dir() or not any(root.iterdir()):
        raise InfraError(
            f"{root}: the source's folder is {'empty' if root.is_dir() else 'gone'}. Make the "
            "source reachable again, then the same command goes on."
        )


def read_table_header(root: Path, episode: Episode) -> tuple[pq.FileMetaData, InputFile]:
    """Returns what the footer of the episode's parquet file says, and the file as it is now.

    Raises:
        EpisodeError: the file is missing, empty or not parquet.
        ValueError: the source has no tables.

    Cost: reads the footer.
    """
    span = episode.table
    if span is None:
        raise ValueError("episode without a table")
    path = root / span.path
    num_bytes = _check_file(path, span.path, episode, None, "a parquet file")
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise episode_error(
            episode.episode_index, span.path, "not readable", "a parquet file", error
        ) from error
    digest = xxhash.xxh3_128_hexdigest(read_footer(path, metadata))
    return metadata, InputFile(path=span.path, num_bytes=num_bytes, digest=digest)


def check_rows(episode: Episode, num_rows: int) -> None:
    """Passes when the episode's table, of a file of ``num_rows``, is as long as the metadata say.

    Raises:
        EpisodeError: it is not.
    """
    span, num_frames = episode.table, episode.num_frames
    if span is None or num_frames is None:
        return
    if not _is_count(num_rows, span, num_frames):
        raise episode_error(
            episode.episode_index, span.path, "rows disagree with the metadata",
            f"{num_frames} rows", f"{num_rows - span.start} rows",
        )  # fmt: skip


def read_video(root: Path, episode: Episode, camera: str) -> tuple[FrameTable, InputFile]:
    """Returns the pictures of a camera's video, and the file as it is now.

    Raises:
        EpisodeError: the file is missing, empty, cut short or unreadable.

    Cost: that of ``picture_table``.
    """
    span = episode.videos[camera]
    path = root / span.path
    num_bytes = _check_file(path, span.path, episode, camera, "a video")
    try:
        frames = picture_table(root, episode, camera)
    except MediaError as error:
        raise episode_error_of(error, episode.episode_index, span.path, camera) from error
    return frames, InputFile(
        path=span.path, num_bytes=num_bytes, digest=frames.digest, column=span.column
    )


def _id_lists(root: Path, episode: Episode, cameras: tuple[str, ...]) -> list[InputFile]:
    """The files that say what the colours of the segmentations among ``cameras`` mean.

    Raises:
        EpisodeError: a file is missing or lacks a list.
    """
    found: dict[str, InputFile] = {}
    for camera in cameras:
        ids = episode.videos[camera].ids
        if ids is not msgspec.UNSET:
            read_ids(root, episode, camera, ids)
            data = (root / ids.path).read_bytes()
            digest = xxhash.xxh3_128_hexdigest(data)
            found[ids.path] = InputFile(path=ids.path, num_bytes=len(data), digest=digest)
    if found:
        read_instances(root, episode)
    return list(found.values())


def _check_file(path: Path, name: str, episode: Episode, camera: str | None, expected: str) -> int:
    try:
        num_bytes = path.stat().st_size
    except OSError as error:
        raise episode_error(
            episode.episode_index, name, NO_FILE, expected, error.strerror, camera
        ) from error
    if num_bytes == 0:
        raise episode_error(episode.episode_index, name, EMPTY_FILE, expected, "0 bytes", camera)
    return num_bytes


def check_count(episode: Episode, camera: str, frames: FrameTable, num_frames: int) -> None:
    """Passes when a camera's video has a picture for each of ``num_frames`` frames and no other.

    Raises:
        EpisodeError: it has not.
    """
    span = episode.videos[camera]
    pictures = len(frames.pts) - span.start
    if not _is_count(len(frames.pts), span, num_frames):
        raise episode_error(
            episode.episode_index, span.path, "pictures disagree with the frames of the episode",
            f"{num_frames} pictures", f"{pictures} pictures", camera,
        )  # fmt: skip


def _is_count(num_stored: int, span: VideoSpan | TableSpan, num_frames: int) -> bool:
    """Whether a file's pictures or rows are those of the episode.

    A file with one episode has its pictures and no others; in a shared file others may follow.
    """
    stop = span.start + num_frames
    return num_stored >= stop if span.ends_file is False else num_stored == stop


def _check_start(episode: Episode, camera: str, frames: FrameTable) -> None:
    """In a shared file an episode begins at a keyframe, and where the metadata say."""
    span = episode.videos[camera]
    if span.ends_file is msgspec.UNSET:
        return
    name = f"picture {span.start} of the file, the episode's first,"
    if span.start not in frames.keyframe_ranks:
        key = frames.keyframe_ranks[frames.keyframe_ranks < span.start]
        raise episode_error(
            episode.episode_index, span.path, f"{name} is not a keyframe", "a keyframe there",
            f"one at picture {int(key[-1])} before it" if len(key) else "none before it", camera,
        )  # fmt: skip
    if episode.fps is not None:
        time_s = int(frames.pts[span.start] - frames.pts[0]) * frames.time_base
        if abs(time_s * Fraction(*episode.fps) - span.start) > _START_TOLERANCE:
            raise episode_error(
                episode.episode_index, span.path, f"{name} is not at its time",
                f"{float(span.start / Fraction(*episode.fps)):.6f} s after the file's first",
                f"{float(time_s):.6f} s", camera,
            )  # fmt: skip


def _check_times(episode: Episode, camera: str, frames: FrameTable, num_frames: int) -> None:
    """Every picture must stand within one tick of ``i / fps`` after the first; integers only."""
    if episode.fps is None:
        return
    span = episode.videos[camera]
    ticks = frames.pts[span.start : span.start + num_frames]
    step = nearest_step(episode.fps, frames.time_base, ticks)
    wrong = np.flatnonzero(np.abs(time_deviation(ticks, step)) > step.denominator)
    if len(wrong):
        frame = int(wrong[0])
        raise episode_error(
            episode.episode_index, span.path, f"picture {frame} is not at its frame's time",
            f"{float(frame * step):g} ticks after the first picture",
            f"{int(ticks[frame] - ticks[0])} ticks", camera,
        )  # fmt: skip
