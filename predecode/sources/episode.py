"""What a source says of its episodes; plain data that travels to tasks and into the plan."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from predecode.errors import EpisodeFault, UserError
from train_shards.depth import DepthScale

__all__ = [
    "AnnotatedSource",
    "Episode",
    "IdList",
    "Source",
    "TableSpan",
    "VideoSpan",
    "annotated_source",
    "with_images",
]


class IdList(msgspec.Struct, frozen=True, kw_only=True):
    """Where a JSON file lists the instances that a segmentation video's colours stand for."""

    path: str
    """File, relative to the source's root, with ``/``."""
    key: str
    """Of the list; an id's position in it is that of its colour in the palette."""


class VideoSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One image's pictures of one episode: a run of pictures in a video file."""

    key: str
    """The source's own name of the image."""
    path: str
    """File, relative to the source's root, with ``/``."""
    start: int = 0
    """Rank of the episode's first picture among the file's pictures in display order."""
    stream_index: int | None = None
    """Stream in the file; None takes libav's best video stream."""
    ends_file: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether a file that episodes share must end with this one's pictures; unset where the file is
    this episode's alone."""
    ids: IdList | msgspec.UnsetType = msgspec.UNSET
    """Of a segmentation video."""
    codes: str | msgspec.UnsetType = msgspec.UNSET
    """Of a depth video: ``pixel_format`` of the ``DepthScale`` that its codes have."""
    column: str | msgspec.UnsetType = msgspec.UNSET
    """The file is a parquet file that has the pictures in this column, one a row; else unset."""


class TableSpan(msgspec.Struct, frozen=True, kw_only=True):
    """The low-dimensional rows of one episode: a run of rows in a parquet file."""

    path: str
    """File, relative to the source's root, with ``/``."""
    start: int = 0
    """First row of the episode in the file."""
    ends_file: bool | msgspec.UnsetType = msgspec.UNSET
    """As for a video, of rows. Those of a shared file carry their ``episode_index``."""
    keeps_types: bool | msgspec.UnsetType = msgspec.UNSET
    """Set for LeRobot's own tables, of any columns: values keep their types and shapes, and each
    row names its frame and its task."""


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded run, as the source's metadata describe it; nothing of it is checked yet."""

    episode_index: int
    """The source's own id."""
    task_index: int
    task: str
    """The instruction, a sentence; ``""`` where the source has none."""
    task_name: str = ""
    """Short name of the task, where the source has one."""
    num_frames: int | None
    """Length as the metadata say; None where only the video knows."""
    fps: tuple[int, int] | None
    """Numerator and denominator; frame ``i`` is at ``i / fps`` s. None: the video's own times."""
    videos: dict[str, VideoSpan]
    """Image (``head``, ``head_depth``, ``head_seg``) -> its pictures."""
    table: TableSpan | None
    """None where the source has no low-dimensional data."""
    faults: tuple[EpisodeFault, ...] | msgspec.UnsetType = msgspec.UNSET
    """What is wrong with the metadata themselves; the source check refuses an episode with a fault
    of what is asked for. Unset, as ``ends_file``, leaves no trace in a plan, so that older plans
    keep their digests."""
    other_tasks: tuple[tuple[int, str], ...] | msgspec.UnsetType = msgspec.UNSET
    """``task_index`` and sentence of further tasks, ascending, where the rows of an episode have
    several; unset where they have one."""

    @property
    def tasks(self) -> dict[int, str]:
        """``task_index`` -> sentence of all tasks."""
        return {self.task_index: self.task, **dict(self.other_tasks or ())}


class Source(Protocol):
    """A data set to decode."""

    kind: str
    """The word after ``--src``."""
    root: Path
    cameras: dict[str, str]
    """Camera -> the source's own key of its RGB image, sorted by camera."""
    modalities: dict[str, dict[str, str]]
    """Further modalities that the source has: image -> the source's own key, sorted by image."""
    left_out: dict[str, str]
    """Name, and key, of an image that the source has and that cannot be stored -> why."""
    depth: DepthScale | None
    """What depth codes mean; None where there is no depth."""
    episodes: list[Episode]
    """Sorted by ``episode_index``, which is unique."""
    state_layout: str
    """As ``Settings.state_layout``."""
    task_names: dict[str, int]
    """Short name of a task -> ``task_index``."""

    def metadata_files(self, episodes: Iterable[Episode]) -> list[str]:
        """Returns what training needs of the source's metadata, as paths relative to the root."""
        ...


@runtime_checkable
class AnnotatedSource(Source, Protocol):
    """A data set whose episodes may have annotations, which say what is done in which frames."""

    def annotation_path(self, episode_index: int) -> str | None:
        """Returns where an episode's annotation lies, relative to the root, whether it does or not.

        None where the data set names no place for it.
        """
        ...


def annotated_source(source: Source) -> AnnotatedSource:
    """Returns the source, which has annotations.

    Raises:
        UserError: it is of a kind that has none.
    """
    if not isinstance(source, AnnotatedSource):
        raise UserError(
            f"--annotated-only: --src {source.kind} has no annotations; expected a source whose "
            "frames are labelled, such as b1k. Leave --annotated-only out."
        )
    return source


def with_images(episode: Episode, images: Collection[str]) -> Episode:
    """Returns an episode as if it had no other images, and no faults of others."""
    faults = tuple(f for f in episode.faults or () if f.camera is None or f.camera in images)
    return msgspec.structs.replace(
        episode,
        videos={image: span for image, span in episode.videos.items() if image in images},
        faults=faults or msgspec.UNSET,
    )
