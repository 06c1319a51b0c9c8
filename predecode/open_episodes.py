"""Episodes open for reading in one process: rows and pictures by frame, decoded when asked for.

Owns the bounds on what is held: decoders, decoded pictures, tables.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET

from predecode.errors import MediaError, episode_error_of
from predecode.images.stored import pixel_format, stored_image
from predecode.sources.episode import Episode, VideoSpan
from predecode.sources.id_lists import read_ids
from predecode.sources.pictures import picture_table
from predecode.sources.tables import check_timestamps, read_rows
from predecode.video.backends import OpenDecoder, open_in_format
from predecode.video.decoder import Decoder
from train_shards.images import StoredImage
from train_shards.lowdim import column_views
from train_shards.manifest import Settings

__all__ = ["KnownEpisode", "OpenEpisodes"]

OPEN_EPISODES = 4
"""Whose decoders stay open, one a camera: PyAV's hold 9 MB for 720 pixels and 4 MB for 480."""
TABLES = 16
"""Whose rows stay in memory: about 1.2 kB a frame."""


class KnownEpisode(NamedTuple):
    """An episode that passed the source check."""

    episode: Episode
    num_frames: int
    digests: Mapping[str, str]
    """Camera -> the first hex digits of its frame table's digest at that time."""


class _Stream(NamedTuple):
    """One video file: its decoder, and the pictures decoded last, by rank in the file."""

    decoder: Decoder
    recent: OrderedDict[int, StoredImage]
    ids: list[int] | None
    """Of a segmentation, in the order of its palette."""


class OpenEpisodes:
    """Rows and pictures of episodes; forgets those used longest ago."""

    def __init__(
        self,
        root: Path,
        open_video: OpenDecoder,
        *,
        settings: Settings,
        num_cameras: int,
        num_recent: int,
    ) -> None:
        """Opens nothing yet.

        Args:
            root: folder of the data set.
            open_video: what ``load_backend`` returned.
            settings: of an output that would hold these pictures.
            num_cameras: decoders that one episode needs.
            num_recent: pictures of each open video that are kept.
        """
        self._root, self._open_video, self._settings = root, open_video, settings
        self._num_recent = num_recent
        self._num_streams = OPEN_EPISODES * num_cameras
        self._streams: OrderedDict[tuple[str, int | None, str], _Stream] = OrderedDict()
        self._tables: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def columns(self, known: KnownEpisode) -> dict[str, Any]:
        """Returns an episode's columns as read-only arrays ``(T,)`` or ``(T, n)``.

        Raises:
            EpisodeError: the table cannot be read, or its rows are not those of the frames.

        Cost: reads the episode's table, unless it is held.
        """
        episode = known.episode
        columns = self._tables.get(episode.episode_index)
        if columns is None:
            table = read_rows(self._root, episode, known.num_frames, None, task_info=False)
            if "timestamp" in table.column_names:
                check_timestamps(episode, table["timestamp"].to_numpy())
            (batch,) = table.combine_chunks().to_batches()
            columns = column_views(batch)
            self._tables[episode.episode_index] = columns
            if len(self._tables) > TABLES:
                self._tables.popitem(last=False)
        self._tables.move_to_end(episode.episode_index)
        return columns

    def pictures(
        self, known: KnownEpisode, camera: str, frames: Sequence[int]
    ) -> dict[int, StoredImage]:
        """Returns one camera's images at some frames as they would be stored, not to be changed.

        Args:
            known: the episode.
            camera: one of its cameras.
            frames: strictly ascending.

        Raises:
            EpisodeError: the video is not what it was, or a picture cannot be decoded.

        Cost: as ``Decoder.pictures``; each GOP is decoded at most once, and not again where a later
            call goes on in it.
        """
        span = known.episode.videos[camera]
        try:
            stream = self._stream(known, camera)
            ranks = [span.start + frame for frame in frames]
            found = {rank: stream.recent[rank] for rank in ranks if rank in stream.recent}
            for rank, picture in stream.decoder.pictures([r for r in ranks if r not in found]):
                # A copy: a native picture may be the decoder's own memory.
                image = stored_image(picture, self._settings, camera, stream.ids)
                found[rank] = stream.recent[rank] = np.array(image)
                if len(stream.recent) > self._num_recent:
                    stream.recent.popitem(last=False)
        except MediaError as error:
            self._drop(known, camera)
            raise episode_error_of(error, known.episode.episode_index, span.path, camera) from error
        return {rank - span.start: image for rank, image in found.items()}

    def close(self) -> None:
        """Closes every file."""
        for stream in self._streams.values():
            stream.decoder.close()
        self._streams.clear()
        self._tables.clear()

    def _stream(self, known: KnownEpisode, camera: str) -> _Stream:
        span = known.episode.videos[camera]
        key = _file_of(span)
        stream = self._streams.get(key)
        if stream is None:
            path = self._root / span.path
            table = picture_table(self._root, known.episode, camera)
            if not table.digest.startswith(known.digests[camera]):
                raise MediaError(
                    "file changed since the data set was opened",
                    f"digest {known.digests[camera]}…",
                    table.digest,
                )
            ids = None
            if span.ids is not UNSET:
                ids = read_ids(self._root, known.episode, camera, span.ids)
            wanted = pixel_format(self._settings, camera)
            decoder = open_in_format(self._open_video, path, table, wanted)
            stream = _Stream(decoder, OrderedDict(), ids)
            self._streams[key] = stream
            if len(self._streams) > self._num_streams:
                self._streams.popitem(last=False)[1].decoder.close()
        self._streams.move_to_end(key)
        return stream

    def _drop(self, known: KnownEpisode, camera: str) -> None:
        span = known.episode.videos[camera]
        stream = self._streams.pop(_file_of(span), None)
        if stream is not None:
            stream.decoder.close()


def _file_of(span: VideoSpan) -> tuple[str, int | None, str]:
    """What one decoder reads: a stream of a video, or a column of pictures."""
    return span.path, span.stream_index, span.column or ""
