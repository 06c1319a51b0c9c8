"""The map-style data set: position -> item, without a video decoder in the process."""

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, SupportsIndex

from numpy.typing import NDArray

from train_shards.ahead import FirstOfBatch, ItemsAhead
from train_shards.allocator import keep_freed_memory
from train_shards.b1k_state import StateChoice
from train_shards.errors import DataError, UserError
from train_shards.images import decode_stored
from train_shards.instances import SkillInstances
from train_shards.items import IMAGE_KEY, ItemDataset, ItemOptions, checked_position
from train_shards.manifest import Manifest, load_manifest
from train_shards.metadata_files import MetadataFiles
from train_shards.node_cache import Cache
from train_shards.reader import Place, ShardReader
from train_shards.selection import Selection, Span
from train_shards.shared_work import SharedWork, Task

__all__ = ["IMAGE_KEY", "ShardDataset"]

_LOG = logging.getLogger(__name__)
_SAMPLES_A_PART = 4
"""What a thread is handed at once: more, and one of them would be idle at the end of a batch."""


class ShardDataset(ItemDataset):
    """Items of one split of an output, by position.

    An item is a dict of
        ``observation.images.rgb.<camera>``: ``(h, w, 3)`` or ``(3, h, w)`` RGB, uint8 or float32
        in [0, 1];
        ``observation.images.depth.<camera>``, where stored: ``(h, w)`` float32 metres;
        ``observation.images.seg_instance_id.<camera>``, where stored: ``(h, w)`` int64 ids;
        every low-dimensional column of the source under its own name: numpy scalars and fresh
        ``(n,)`` arrays (``observation.state``, ``action``, ``timestamp``, ``index``, …);
        ``sample_index`` (position among all samples of the split, whatever is selected),
        ``episode_index``, ``frame_index``, ``task_index``: int64 scalars;
        ``task``: the instruction, a str.
    A key of ``delta_timestamps`` is a window ``(H, …)`` instead; ``<key>_is_pad``, ``(H,)`` bool,
    says which of it lies outside the episode.

    Positions are in source order: by generation, episode, frame. Of an output that holds the
    samples of one run alone (``run_scope``) they are those of the data set's whole output: a
    sampler goes over the same ones, and only the run's have an item.

    Files are opened when a process first reads; a pickled data set carries none of them. Fits
    torch's DataLoader, whose workers take whole batches through ``__getitems__``; safe under fork
    and spawn.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        split: str = "train",
        tasks: Sequence[int | str] | None = None,
        episodes: Sequence[int] | None = None,
        frames: tuple[int, int] | None = None,
        cameras: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        image_layout: Literal["HWC", "CHW"] = "HWC",
        image_dtype: Literal["uint8", "float32"] = "uint8",
        image_transforms: Callable[[NDArray[Any]], Any] | None = None,
        num_threads: int | None = None,
        check_index: bool = False,
        check_members: bool = False,
        cache: Cache | None = None,
        whole_shards: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
        state: StateChoice = "as_stored",
        seg_instance: bool = False,
    ) -> None:
        """Opens an output.

        Args:
            out: the folder that ``predecode run`` wrote, or a URL of it.
            split: ``train`` or ``val``.
            tasks: indices or short names; None for all.
            episodes: positions within each task's episodes, sorted by id, as upstream counts them
                (missing episodes count); None for all.
            frames: ``[start, stop)`` of each episode; None for all.
            cameras: images to decode, such as ``head``, ``head_depth``, ``head_seg``; None for all.
            columns: low-dimensional columns to serve; None for all that an item's episode has. Name
                those that all have where a collate function wants equal keys.
            delta_timestamps: key -> seconds from the item's frame, as in LeRobot: the values of
                these frames are stacked; beyond the episode its first or last frame repeats. Of an
                output of labelled frames only, images end where these do, and repeat and pad there;
                the other columns go on: an action chunk reaches into frames that have no image.
            image_layout: order of the axes of images.
            image_dtype: ``float32`` divides by 255.
            image_transforms: applied to each RGB picture, or to a window's, stacked.
            num_threads: threads that decode the pictures of a batch, the caller's one of them; None
                for 2, and for 1 in a DataLoader's worker, where torch too works with one.
            check_index: check each block of the index when it is first touched.
            check_members: check the hash of each picture that is read.
            cache: where the node keeps files of a URL, and how many bytes; None for
                ``~/.cache/predecode`` and 100 GiB. Indexes and tables must fit.
            whole_shards: for a URL, download shards whole into the cache, for orders that stay in
                a shard for long; otherwise each batch reads just its pictures, many ranges at once.
            on_error: ``skip`` serves the next sample for a damaged one, logs it, and raises after
                100 of them in one process.
            state: ``as_2025`` serves ``observation.state`` of BEHAVIOR-1K's 2026 edition (61
                numbers) in the 256 places of the 2025 edition, for a trainer that expects these:
                zeros where 2026 has nothing, no number converted (see ``state_as_2025``).
            seg_instance: beside each segmentation, ``observation.images.seg_instance.<camera>``: 1
                for the first object of the frame's skill, 2 for the second, …, 0 elsewhere.

        Raises:
            UserError: no output here, no such split, task, camera or column, nothing selected, a
                value that is not allowed, or a selection or windows of images where one run's
                samples alone are stored.
            DataError: manifest or index damaged, or of a higher format version.
            StorageError: a remote storage does not answer as it should.
        """
        self.out = out
        manifest = load_manifest(out)
        settings = manifest.settings
        self.split = split
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
        super().__init__(options, settings, manifest.fps)
        self._selection = Selection.of(
            tasks, episodes, frames, known=manifest.tasks, names=manifest.task_names
        )
        self._num_threads = num_threads
        self._reading: dict[str, Any] = {
            "check_index": check_index, "check_members": check_members, "cache": cache,
            "whole_shards": whole_shards,
        }  # fmt: skip
        self._fields = tuple(map(settings.field_of, self.cameras))
        self._picture_size = settings.picture_size
        self._reader: ShardReader | None = None
        self._known: list[str] = []
        self._work: SharedWork | None = None
        self._process = -1
        self._ahead: ItemsAhead | None = None
        reader = self.open_reader(manifest)
        self._num_samples, self.run_scope = len(reader), reader.run_scope
        if not self._num_samples:
            raise UserError(f"{self.out}: tasks, episodes and frames select no sample.")
        self.first_position: int = reader.first_position
        """The lowest position that has an item: 0, unless only one run's samples are stored."""
        self._check_columns(reader.columns(reader.locate(self.first_position)))
        if self.run_scope is not None:
            self._check_run_windows()
            _LOG.info("%s: the samples of one run: %s", self.out, self.run_scope)
        if reader.num_holes:
            _LOG.warning(
                "%s: %d of the run's %d samples are missing (quarantined or dropped): the next "
                "ones in the order are served in their place",
                self.out, reader.num_holes, reader.run_scope.num_stored if reader.run_scope else 0,
            )  # fmt: skip

    def _skill_instances(self) -> SkillInstances:
        return SkillInstances(MetadataFiles(self.out), "meta/")

    def __len__(self) -> int:
        """Number of samples that can be read."""
        return self._num_samples

    @property
    def digest(self) -> str:
        """Names the samples and their order, for ``ResumableSampler`` to refuse others."""
        return self.open_reader().digest()

    def spans(self) -> list[Span]:
        """Returns where each episode's samples stand. Cost: in proportion to the episodes."""
        return self.open_reader().spans()

    @property
    def num_holes(self) -> int:
        """Samples of the ``run`` that are missing, in whose place others are served."""
        return self.open_reader().num_holes

    def close(self) -> None:
        """Closes every file; reading opens them again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = self._ahead = None

    def __getitem__(self, position: SupportsIndex) -> dict[str, Any]:
        """Returns the item at ``position``; negative positions count from the end.

        Of a ``FirstOfBatch``, which ``ResumableSampler`` gives, the batch's other items are read
        and decoded in the threads, a little ahead of being asked for, one after the other.

        Raises:
            IndexError: no such position.
            DataError: damaged data; the message says where.
        """
        if isinstance(position, FirstOfBatch):
            wanted = [checked_position(one, len(self)) for one in position.batch]
            self._ahead = ItemsAhead(wanted, self._each(wanted))
        item = None if self._ahead is None else self._ahead.take(position)
        return super().__getitem__(position) if item is None else item

    def _each(self, positions: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The same items as ``_items``, a part of them at a time."""
        reader, left = self.open_reader(), iter(positions)
        most_ahead = 2 * (self._num_threads or 2)  # more would grow cold
        begun: deque[_Begun] = deque()
        while part := list(islice(left, max(_SAMPLES_A_PART, reader.num_ranges))):
            begun.append(self._begin(reader, part))
            if not begun[-1].decoding or len(begun) > most_ahead:
                yield from self._complete(reader, begun.popleft())
        for one in begun:
            yield from self._complete(reader, one)

    def _items(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """One batch: reads that lie close to each other are joined, pictures decoded in threads."""
        reader = self.open_reader()
        return self._complete(reader, self._begin(reader, positions))

    def _complete(self, reader: ShardReader, begun: "_Begun") -> list[dict[str, Any]]:
        items = [self._rows(reader, place) for place in begun.places]  # while threads decode
        for decoding in begun.decoding:
            decoding.finish()
        for item, place, stack in zip(items, begun.places, begun.stacks, strict=True):
            item.update(self._finished(place, stack))
        return items

    def _rows(self, reader: ShardReader, place: Place) -> dict[str, Any]:
        """Everything of an item but its images."""
        columns = reader.columns(place)
        item = self._values(place, columns, reader.sample_index(place))
        task_index = self._task_index(place, columns)
        try:
            item["task"] = reader.manifest.tasks[task_index]
        except KeyError as error:
            raise DataError(
                f"{reader.where(place)}: task {task_index} is not in the manifest"
            ) from error
        return item

    def _next_position(self, position: int) -> int:
        """In the place of a sample of one run stands the next one that the run sees."""
        if self.run_scope is None:
            return super()._next_position(position)
        return next(self.run_scope.stand_ins(position), position)

    def _check_run_windows(self) -> None:
        """Refuses windows of images: a run's samples have no neighbours."""
        for key in self.image_keys.values():
            if self.windows.get(key, [0]) != [0]:
                raise UserError(
                    f"{self.out}: holds the samples of one run, {self.run_scope}, and not their "
                    f"neighbours: no window of {key!r}, got frames {self.windows[key][:10]}."
                )

    def _begin(self, reader: ShardReader, positions: Sequence[int]) -> "_Begun":
        """Reads all, and decodes what is not left to threads."""
        places = [reader.locate(position) for position in positions]
        stacks: list[dict[str, list[Any]]] = [{} for _ in places]
        sources: dict[tuple[int, int], tuple[Place, list[_Shown]]] = {}
        for place, stack in zip(places, stacks, strict=True):
            for camera in self.cameras:
                frames = self._image_frames(place, camera)
                stack[camera] = pictures = [None] * len(frames)
                for number, frame in enumerate(frames):
                    source = reader.neighbour(place, frame)
                    found = sources.setdefault((source.generation, source.row), (source, []))
                    found[1].append((camera, pictures, number))
        jobs = self._jobs(reader, list(sources.values()))
        # A raw picture is not decoded: threads would only hand it to and fro.
        work = None if len(sources) < 2 or self.settings.codec == "raw" else self._shared_work()
        if work is None:
            self._decode(reader, jobs)
            return _Begun(places, stacks, ())
        decoding = []
        while part := list(islice(jobs, _SAMPLES_A_PART)):
            decoding.append(work.submit(partial(self._decode, reader, part)))
        return _Begun(places, stacks, decoding)

    def _jobs(
        self, reader: ShardReader, sources: list[tuple[Place, list["_Shown"]]]
    ) -> Iterator["_Job"]:
        """Reads one sample after another, as they lie on disk."""
        for number, members in reader.read_each([place for place, _ in sources], self._fields):
            place, shown = sources[number]
            yield place, dict(zip(self.cameras, members, strict=True)), shown

    def _shared_work(self) -> SharedWork | None:
        """What threads share, as libjpeg works outside the GIL; None where the caller is alone."""
        if self._process != os.getpid():  # threads do not survive a fork
            num_threads = self._num_threads or (1 if _in_worker() else 2)
            self._work = SharedWork(num_threads) if num_threads > 1 else None
            self._process = os.getpid()
        return self._work

    def _decode(self, reader: ShardReader, jobs: Iterable["_Job"]) -> None:
        """Puts the pictures of samples where they are shown."""
        for place, data, shown in jobs:
            for camera, pictures, number in shown:
                try:
                    image = decode_stored(data[camera], self.settings, camera, self._picture_size)
                    pictures[number] = self._arranged(image, camera)
                except DataError as error:
                    field = self.settings.field_of(camera)
                    raise DataError(f"{reader.where(place)}, member {field}: {error}") from error
                data[camera] = data[camera].toreadonly()  # a second picture of it is a copy

    def open_reader(self, manifest: Manifest | None = None) -> ShardReader:
        """Returns the reader of this process, opened when first asked for.

        Raises:
            UserError: the output holds other samples than when the data set was made; new ones
                behind them do no harm.
        """
        if self._reader is None:
            keep_freed_memory()
            reader = ShardReader(
                self.out, self.split, self._selection, manifest=manifest, **self._reading
            )
            digests = reader.generation_digests()
            if digests[: len(self._known)] != self._known:
                raise UserError(
                    f"{self.out}: changed since this data set was opened: episodes were dropped, "
                    "or it was made anew, so that positions name other samples. Open it again, "
                    "and begin a new order."
                )
            self._reader, self._known = reader, self._known or digests
        return self._reader

    def __getstate__(self) -> dict[str, Any]:
        """Leaves open files and threads behind."""
        return {**self.__dict__, "_reader": None, "_work": None, "_process": -1, "_ahead": None}


def _in_worker() -> bool:
    """Whether this process is a DataLoader's worker; one has imported torch."""
    torch_data = sys.modules.get("torch.utils.data")
    return torch_data is not None and torch_data.get_worker_info() is not None


class _Begun(NamedTuple):
    """A batch, or a part of one, whose pictures are read."""

    places: list[Place]
    stacks: list[dict[str, list[Any]]]
    """Of each item its pictures by camera."""
    decoding: Sequence[Task]
    """What still puts some of them there."""


_Shown = tuple[str, list[Any], int]
"""Camera of a picture, and the list and the place in it where an item shows it."""
_Job = tuple[Place, dict[str, memoryview], list[_Shown]]
"""A sample, the content of its members by camera, and where they are shown."""
