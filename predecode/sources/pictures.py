"""The table of one camera's pictures of one episode, whether in a video or in a column."""

from pathlib import Path

from msgspec import UNSET

from predecode.sources.episode import Episode
from predecode.video.image_column import image_table_of
from predecode.video.packets import FrameTable, frame_table_of

__all__ = ["picture_table"]


def picture_table(root: Path, episode: Episode, camera: str) -> FrameTable:
    """Returns the frame table of the file that holds a camera's pictures.

    Raises:
        MediaError: the file cannot be read or has no such pictures.

    Cost: that of ``frame_table_of`` or ``image_table_of``.
    """
    span = episode.videos[camera]
    if span.column is UNSET:
        return frame_table_of(root / span.path, span.stream_index)
    return image_table_of(root, span.path, span.column, episode.fps)
