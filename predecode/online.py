"""The on-line data set: the items that shards would hold, decoded now.

For proving that shards change nothing, and for reading data that nobody decoded yet.
"""

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from predecode.config import make_settings
from predecode.errors import EpisodeError, EpisodeFault, UserError
from predecode.labels import labelled_frames, unlabelled_note
from predecode.open_episodes import KnownEpisode, OpenEpisodes
from predecode.selection import selected_frames
from predecode.source_check import CheckedEpisode, check_episode
from predecode.sources.episode import Episode, Source, annotated_source, with_images
from predecode.sources.instances import read_instances
from predecode.sources.registry import open_source
from predecode.video.backends import choose_backend, load_backend
from train_shards.b1k_state import StateChoice
from train_shards.index import EPISODE_DTYPE, LIVE, row_of_position, stored_range
from train_shards.instances import Instances, SkillInstances
from train_shards.items import ItemDataset, ItemOptions
from train_shards.metadata_files import MetadataFiles
from train_shards.selection import (
    Selection,
    Span,
    positions_in_tasks,
    selected_runs,
    spans_of_runs,
)

__all__ = ["OnlineDataset"]

_LOG = logging.getLogger(__name__)
_DIGEST_DIGITS = 16


class _OnlineFrame(NamedTuple):
    """A sample by where it comes from."""

    row: int
    """Among all samples of the source."""
    episode: int
    """Among the episodes that passed the source check."""
    episode_index: int
    frame_index: int
    task_index: int
    num_frames: int
    stored: tuple[int, int]


class OnlineDataset(ItemDataset):
    """Items of a source by position, as ``train_shards.dataset.ShardDataset`` gives them.

    ``OnlineDataset(root)[i]`` equals ``ShardDataset(out)[i]`` key by key where ``out`` is a whole
    output of ``root``, in one generation and one split, at the same size, stride and labels; to the
    bit if its codec is lossless and both decode with PyAV.

    Decoders have one thread and are opened when a process first reads; a pickled data set carries
    none of them, safe under fork and spawn. Reading in order decodes each picture once; a batch
    (``__getitems__``) decodes each GOP at most once; any other picture costs its GOP up to it.

    An episode that the source check refuses is left out and logged, as a job leaves it out. A fault
    that only decoding finds raises: a job would have quarantined that episode as a whole.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        src: str = "b1k",
        backend: str | None = None,
        backend_python: Mapping[str, str] | None = None,
        size: str = "224",
        stride: int = 1,
        annotated_only: bool = False,
        only: Collection[int] | None = None,
        tasks: Sequence[int | str] | None = None,
        episodes: Sequence[int] | None = None,
        frames: tuple[int, int] | None = None,
        modalities: Sequence[str] = ("rgb",),
        cameras: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        image_layout: Literal["HWC", "CHW"] = "HWC",
        image_dtype: Literal["uint8", "float32"] = "uint8",
        image_transforms: Callable[[NDArray[Any]], Any] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        state: StateChoice = "as_stored",
        seg_instance: bool = False,
    ) -> None:
        """Reads the metadata and checks every episode, whatever is selected.

        Args:
            root: folder of the source's data.
            src: kind of source: ``b1k``, ``lerobot``, ``videos``.
            backend: decoder: ``pyav``, ``torchcodec`` or ``video_reader``; None takes
                ``$B1K_VIDEO_BACKEND``, else ``pyav``.
            backend_python: ``video_reader`` -> a Python interpreter that has it.
            size: of pictures, as ``predecode run --size``.
            stride: every ``stride``-th frame is a sample, from an episode's first.
            annotated_only: as ``predecode run --annotated-only``, by the annotations as they are
                now; an episode without a labelled frame is logged and does not count.
            only: ids of episodes; the data set is as if the source had no others, which makes it
                quick to open.
            tasks: as in ``ShardDataset``, as all that follow.
            episodes: positions within each task's episodes.
            frames: ``[start, stop)`` of each episode.
            modalities: what of each camera the items show: ``rgb``, ``depth``, ``seg_instance_id``.
            cameras: images to decode, of these modalities.
            columns: low-dimensional columns to serve.
            delta_timestamps: key -> seconds from the item's frame.
            image_layout: order of the axes of images.
            image_dtype: ``float32`` divides by 255.
            image_transforms: applied to each RGB image.
            on_error: ``skip`` serves the next sample for one that cannot be decoded.
            state: ``as_2025`` serves the 2026 edition's state in the places of the 2025 edition.
            seg_instance: numbers of the objects of the frame's skill beside each segmentation.

        Raises:
            UserError: no data here, a decoder that is not known or cannot be loaded, no such task,
                camera or column, nothing selected, or a value that is not allowed.
            DataError: the first selected episode's table cannot be read.

        Cost: opens all files of all episodes, about 10 ms an episode on a local disk.
        """
        self._backend = choose_backend(backend)
        self._backend_python = dict(backend_python or {})
        load_backend(self._backend, self._backend_python)
        source = open_source(src, Path(root))
        settings = make_settings(
            source,
            modalities=",".join(modalities),
            size=size,
            stride=stride,
            codec="raw",
            annotated_only=annotated_only,
        )
        images = settings.camera_names
        episodes_here = [
            with_images(episode, images)
            for episode in source.episodes
            if only is None or episode.episode_index in only
        ]
        labelled: dict[int, tuple[int, int]] | None = None
        if annotated_only:
            labelled = labelled_frames(annotated_source(source), episodes_here, stride)
            if note := unlabelled_note(episodes_here, labelled):
                _LOG.warning("%s", note)
            episodes_here = [e for e in episodes_here if e.episode_index in labelled]
        rates = {episode.fps for episode in episodes_here}
        options = ItemOptions(
            cameras,
            columns,
            delta_timestamps,
            image_layout,
            image_dtype,
            image_transforms,
            on_error,
            state,
            seg_instance,
        )
        self.root, self._src, self._stride = source.root, src, stride
        super().__init__(options, settings, next(iter(rates)) if len(rates) == 1 else None)
        self._tasks = dict(sorted(task for e in episodes_here for task in e.tasks.items()))
        self._task_names = {e.task_name: e.task_index for e in episodes_here if e.task_name}
        self.faults: list[EpisodeFault] = []
        """Why episodes are left out."""
        checked = self._check(source, episodes_here)
        self._episodes = _episode_rows(checked, stride, labelled or {})
        self._digests = np.array(
            [[i.digest[:_DIGEST_DIGITS] for i in c.inputs[-len(images) :]] for c in checked]
        ).reshape(-1, len(images))  # (episodes, images in sorted order)
        self._runs = selected_runs(
            self._episodes,
            Selection.of(tasks, episodes, frames, known=self._tasks, names=self._task_names),
            positions_in_tasks((e.task_index, e.episode_index) for e in episodes_here),
            stride,
        )
        self.digest = _digest(checked, stride, f"{self._runs}{labelled or ''}")
        """Names the samples and their order, by the paths in the root and what is in the files."""
        if not len(self):
            raise UserError(
                f"{self.root}: tasks, episodes and frames select no sample; "
                f"{len(self.faults)} of {len(episodes_here)} episodes are at fault."
            )
        self._opened: OpenEpisodes | None = None
        self._source: dict[int, Episode] = {}
        self._process_id = -1
        self._check_columns(self._open().columns(self._known(self._frame(0).episode)))

    def _skill_instances(self) -> SkillInstances:
        return SkillInstances(MetadataFiles(self.root), "", self._read_instances)

    def _read_instances(self, episode_index: int) -> Instances:
        self._open()
        return read_instances(
            self.root, with_images(self._source[episode_index], self.settings.cameras)
        )

    def __len__(self) -> int:
        """Number of samples that can be read."""
        return self._runs.before[-1]

    def spans(self) -> list[Span]:
        """Returns where each episode's samples stand. Cost: in proportion to the episodes."""
        return spans_of_runs(self._episodes, self._runs, self._stride, 0)

    def close(self) -> None:
        """Closes every file; reading opens them again."""
        if self._opened is not None and self._process_id == os.getpid():
            self._opened.close()
        self._opened = None

    def _check(self, source: Source, episodes: Sequence[Episode]) -> list[CheckedEpisode]:
        """The episodes that hold what their metadata say."""
        checked = []
        for episode in episodes:
            try:
                checked.append(check_episode(source.root, episode, self.settings.camera_names))
            except EpisodeError as error:
                _LOG.warning("left out: %s", error)
                self.faults.append(error.fault)
        return checked

    def _items(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """One batch, its frames grouped by video."""
        frames = [self._frame(position) for position in positions]
        items = [self._rows(frame) for frame in frames]
        images = self._images(frames)
        return [item | own for item, own in zip(items, images, strict=True)]

    def _rows(self, frame: _OnlineFrame) -> dict[str, Any]:
        """Everything of an item but its images."""
        columns = self._open().columns(self._known(frame.episode))
        item = self._values(frame, columns, frame.row)
        item["task"] = self._tasks[self._task_index(frame, columns)]
        return item

    def _images(self, frames: list[_OnlineFrame]) -> list[dict[str, Any]]:
        """The images of a batch, by key of the item."""
        wanted: dict[tuple[int, str], set[int]] = {}
        for frame in frames:
            for camera in self.cameras:
                ahead = self._frames_ahead(frame, camera)
                shown = self._image_frames(frame, camera)
                wanted.setdefault((frame.episode, camera), set()).update(shown, ahead)
        pictures = {
            (episode, camera): self._open().pictures(self._known(episode), camera, sorted(numbers))
            for (episode, camera), numbers in sorted(wanted.items())
        }
        images = []
        for frame in frames:
            stacks = {
                camera: [
                    self._arranged(pictures[frame.episode, camera][number].copy(), camera)
                    for number in self._image_frames(frame, camera)
                ]
                for camera in self.cameras
            }
            images.append(self._finished(frame, stacks))
        return images

    def _frames_ahead(self, frame: _OnlineFrame, camera: str) -> range:
        """Frames up to the end of a window that looks ahead: the next positions will want them."""
        offsets = self._offsets.get(self.image_keys[camera])
        if offsets is None or offsets.max() <= 0:
            return range(0)
        stop = min(frame.frame_index + int(offsets.max()) + 1, frame.stored[1])
        return range(frame.frame_index, stop)

    def _num_recent(self) -> int:
        """Pictures of a video that items in order use more than once, and one."""
        windows = [self._offsets.get(self.image_keys[camera]) for camera in self.cameras]
        spans = [max(int(w.max()), 0) - min(int(w.min()), 0) for w in windows if w is not None]
        return 1 + max(spans, default=0)

    def _frame(self, position: int) -> _OnlineFrame:
        row = row_of_position(position, *self._runs)
        episode = int(np.searchsorted(self._episodes["row_start"], row, side="right")) - 1
        record = self._episodes[episode]
        stored = stored_range(record, self._stride)
        return _OnlineFrame(
            row=row,
            episode=episode,
            episode_index=int(record["episode_index"]),
            frame_index=stored[0] + (row - int(record["row_start"])) * self._stride,
            task_index=int(record["task_index"]),
            num_frames=int(record["num_frames"]),
            stored=stored,
        )

    def _known(self, episode: int) -> KnownEpisode:
        self._open()
        record = self._episodes[episode]
        found = self._source[int(record["episode_index"])]
        digests = dict(
            zip(self.settings.camera_names, self._digests[episode].tolist(), strict=True)
        )
        return KnownEpisode(found, int(record["num_frames"]), digests)

    def _open(self) -> OpenEpisodes:
        """This process's open files; a fork leaves its parent's alone."""
        if self._opened is None or self._process_id != os.getpid():
            source = open_source(self._src, self.root)
            self._source = {episode.episode_index: episode for episode in source.episodes}
            self._opened = OpenEpisodes(
                self.root,
                load_backend(self._backend, self._backend_python),
                settings=self.settings,
                num_cameras=len(self.cameras),
                num_recent=self._num_recent(),
            )
            self._process_id = os.getpid()
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        """Leaves open files and the source's metadata behind."""
        return {**self.__dict__, "_opened": None, "_source": {}}


def _episode_rows(
    checked: Sequence[CheckedEpisode], stride: int, labelled: Mapping[int, tuple[int, int]]
) -> NDArray[np.void]:
    """The episodes as an index would list them, one row for each sample."""
    episodes = np.zeros(len(checked), EPISODE_DTYPE)
    row = 0
    for record, one in zip(episodes, checked, strict=True):
        asked = labelled.get(one.episode.episode_index, (0, one.num_frames))
        frames = selected_frames(*asked, stride)
        record["episode_index"] = one.episode.episode_index
        record["task_index"] = one.episode.task_index
        record["row_start"], record["num_rows"] = row, len(frames)
        record["first_frame"] = frames.start
        record["num_frames"], record["flags"] = one.num_frames, LIVE
        row += len(frames)
    return episodes


def _digest(checked: Sequence[CheckedEpisode], stride: int, runs: str) -> str:
    digest = xxhash.xxh3_128(f"online:{stride}:{runs};".encode())
    for one in checked:
        digest.update(f"{one.episode.episode_index}:{one.num_frames}:".encode())
        digest.update("".join(f"{i.path}:{i.digest};" for i in one.inputs).encode())
    return digest.hexdigest()
