"""What upstream's readers of BEHAVIOR-1K do for each item, restated: on-line streaming and random.

Source: the measured facts of BEHAVIOR-1K's ``BehaviorLeRobotDataset``, its video loaders, and the
PyAV path of LeRobot's ``decode_video_frames``. Left out is what costs no time: prompts by segment.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.utils.data

from predecode.sources.episode import Episode
from train_shards.items import IMAGE_KEY

__all__ = ["RUN_FRAMES", "RandomReader", "StreamingReader"]

RUN_FRAMES = 250
"""Frames that upstream reads with one set of decoders."""
_FPS = 30
_SEED = 42
_FRAMES_BEFORE_A_RUN = 5
"""A run's decoders start this much before it, so that they never start after it."""
_SECONDS_BEFORE_AN_ITEM = 5.0
"""The same for an item read at random."""


class _Reader(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows and action chunks by selection; a subclass adds the pictures."""

    def __init__(
        self, root: Path, episodes: Sequence[Episode], *, action_horizon: int, num_threads: int
    ) -> None:
        """Opens nothing yet.

        Args:
            root: the data set.
            episodes: of it; their frames follow one another.
            action_horizon: rows of an item's action.
            num_threads: of each decoder; 0 is PyAV's default, one for each processor.
        """
        self._root, self._episodes, self._action_horizon = root, episodes, action_horizon
        self._num_threads = num_threads
        self._starts = np.cumsum([0, *(episode.num_frames or 0 for episode in episodes)])
        self._rows: Any = None

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _low_dim(self, episode: int, frame: int) -> dict[str, Any]:
        """Everything but pictures, of a frame of the episode at a place of the list."""
        if self._rows is None:
            paths = [self._root / one.table.path for one in self._episodes if one.table]
            rows = datasets.Dataset(pa.concat_tables([pq.read_table(path) for path in paths]))
            rows.set_transform(_tensors)
            self._rows = rows
        start, stop = int(self._starts[episode]), int(self._starts[episode + 1])
        item: dict[str, Any] = self._rows[start + frame]
        wanted = np.arange(start + frame, start + frame + self._action_horizon)
        selected = self._rows.select(np.minimum(wanted, stop - 1).tolist())
        item["action"] = torch.stack(list(selected["action"]))
        item["action_is_pad"] = torch.from_numpy(wanted >= stop)
        item["task"] = self._episodes[episode].task
        return item

    def _opened(self, path: str) -> tuple[Any, Any]:
        container = av.open(str(self._root / path))
        stream = container.streams.video[0]
        stream.codec_context.thread_count = self._num_threads
        return container, stream


def _tensors(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {
        key: [value if isinstance(value, str) else torch.tensor(value) for value in values]
        for key, values in columns.items()
    }


def _picture(frame: Any) -> torch.Tensor:
    """``(3, h, w)`` uint8, a view of the converted picture."""
    return torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)


class StreamingReader(_Reader):
    """Gives the next frame of its worker's runs, whatever the index.

    Runs are dealt to workers in turns, shuffled once and then repeated. Runs at an episode's
    beginning, whose decoders start for nothing, and shorter ones at its end are left out: of the
    published episodes, which are 48 runs long on average, they are a small part.
    """

    def __init__(self, root: Path, episodes: Sequence[Episode], **options: int) -> None:
        """As ``_Reader``."""
        super().__init__(root, episodes, **options)
        self._items: Iterator[dict[str, Any]] | None = None

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns the next item."""
        if self._items is None:
            self._items = self._endless()
        return next(self._items)

    def runs(self) -> list[tuple[int, int]]:
        """Returns place of the episode and first frame of each run."""
        return [
            (place, start)
            for place, episode in enumerate(self._episodes)
            for start in range(RUN_FRAMES, (episode.num_frames or 0) - RUN_FRAMES + 1, RUN_FRAMES)
        ]

    def runs_of(self, index: int, num_workers: int) -> list[tuple[int, int]]:
        """Returns a worker's runs in the order in which it reads them, again and again."""
        own = self.runs()[index::num_workers]
        random = np.random.default_rng(_SEED + index)
        random.shuffle(own)
        position = int(random.integers(0, len(own)))
        return own[position:] + own[:position]

    def _endless(self) -> Iterator[dict[str, Any]]:
        worker = torch.utils.data.get_worker_info()
        index, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for run in itertools.cycle(self.runs_of(index, num_workers)):
            yield from self._run(*run)

    def _run(self, place: int, start: int) -> Iterator[dict[str, Any]]:
        videos = self._episodes[place].videos
        opened = {camera: self._opened(video.path) for camera, video in videos.items()}
        for container, stream in opened.values():
            _at(container, stream, start)  # upstream's loader seeks when it is made,
        frames = {camera: _at(*both, start) for camera, both in opened.items()}  # and when read
        for frame in range(start, start + RUN_FRAMES):
            item = self._low_dim(place, frame)
            for camera, pictures in frames.items():
                item[IMAGE_KEY + camera] = _picture(next(pictures))
            yield item
        for container, _ in opened.values():
            container.close()


def _at(container: Any, stream: Any, start: int) -> Iterator[Any]:
    """Returns the frames from ``start`` on; those before are decoded and dropped."""
    target = int(max(start - _FRAMES_BEFORE_A_RUN, 0) / _FPS / stream.time_base)
    container.seek(target, stream=stream)
    frames: Iterator[Any] = container.decode(stream)
    while start and round(next(frames).pts * stream.time_base * _FPS) != start - 1:
        pass
    return frames


class RandomReader(_Reader):
    """Gives the item at an index: each camera's video is opened, and read from 5 s before it."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns the item; images are float32 in [0, 1]."""
        place = int(np.searchsorted(self._starts, index, side="right")) - 1
        frame = index - int(self._starts[place])
        item = self._low_dim(place, frame)
        for camera, video in self._episodes[place].videos.items():
            item[IMAGE_KEY + camera] = self._nearest(video.path, frame / _FPS)
        return item

    def _nearest(self, path: str, timestamp_s: float) -> torch.Tensor:
        """Every frame on the way is made a picture, as torchvision's reader does."""
        container, stream = self._opened(path)
        with container:
            start_s = max(timestamp_s - _SECONDS_BEFORE_AN_ITEM, 0)
            container.seek(round(start_s / stream.time_base), stream=stream)
            best_s, best = float("inf"), None
            for frame in container.decode(stream):
                picture, time_s = _picture(frame), float(frame.pts * stream.time_base)
                if abs(time_s - timestamp_s) < best_s:
                    best_s, best = abs(time_s - timestamp_s), picture
                if time_s >= timestamp_s:
                    break
        if best is None:
            raise ValueError(f"{path}: no frame at {timestamp_s} s")
        return best.to(torch.float32) / 255
