"""Samples by position: locate in the index, pread from the tar, and tell what was read."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from train_shards.bounds import MAX_MEMBER_BYTES
from train_shards.errors import DataError, UserError
from train_shards.format import SPLITS, format_key
from train_shards.index import NOT_STORED, Index, row_of_position, stored_range
from train_shards.ledger import check_extents, decode_ledger
from train_shards.lowdim import LowdimTables
from train_shards.manifest import GenerationEntry, Manifest, ShardEntry, load_manifest
from train_shards.node_cache import Cache
from train_shards.remote_storage import open_storage
from train_shards.run_rows import RunRows
from train_shards.run_scope import RunScope
from train_shards.selection import (
    EVERYTHING,
    Runs,
    Selection,
    Span,
    positions_in_tasks,
    selected_runs,
    selects_all,
    spans_of_runs,
)
from train_shards.storage import ByteRange, Storage, StoredFile, sha256_of_file

__all__ = ["Place", "ShardReader"]

_LEDGERS = 128


class Place(NamedTuple):
    """Where a sample is and what it is."""

    generation: int
    """Position in the manifest's list of generations that hold this split."""
    row: int
    """In that generation's index."""
    shard: int
    offset_bytes: int
    members: tuple[tuple[int, int], ...]
    """For each field ``(start, num_bytes)`` of its content, counted from ``offset_bytes``."""
    episode_index: int
    frame_index: int
    task_index: int
    num_frames: int
    """Length of the episode."""
    stored: tuple[int, int]
    """Frames ``[start, stop)`` from the first that is stored of the episode to the last."""
    lowdim_generation: int
    """Where the episode's low-dimensional rows are, which an extended run does not store again."""
    lowdim_table: int
    lowdim_batch: int

    @property
    def key(self) -> str:
        """The sample's key."""
        return format_key(self.episode_index, self.frame_index)

    @property
    def stop_bytes(self) -> int:
        """End of the sample's last content in its shard."""
        return self.offset_bytes + max(start + num_bytes for start, num_bytes in self.members)


class ShardReader:
    """The selected samples of one split of an output; holds open files of this process only."""

    def __init__(
        self,
        out: str | Path,
        split: str,
        selection: Selection = EVERYTHING,
        *,
        manifest: Manifest | None = None,
        check_index: bool = False,
        check_members: bool = False,
        cache: Cache | None = None,
        whole_shards: bool = False,
    ) -> None:
        """Opens manifest and indexes; no tar.

        Args:
            out: the output's folder or URL.
            split: ``train`` or ``val``.
            selection: which samples to serve.
            manifest: of the output, where it is read already.
            check_index: check each block of the index on first touch.
            check_members: check the hash of each member that is read.
            cache: the node's cache for a URL; None for the default one.
            whole_shards: for a URL, read shards through the cache instead of by ranges.

        Raises:
            UserError: no output here, it has no such split, the cache is too small for indexes, or
                a selection of an output that holds one run's samples.
            DataError: manifest or index damaged or of a higher version.
            StorageError: a remote storage does not answer as it should.
        """
        self._storage = open_storage(out, cache, whole_shards=whole_shards)
        self._split = split
        try:
            self._open(out, manifest or load_manifest(out), check_index=check_index)
        except FileNotFoundError as error:
            # Episodes were dropped since the manifest was read: a new one names other indexes.
            try:
                self._open(out, load_manifest(out), check_index=check_index)
            except FileNotFoundError:
                raise DataError(f"{error.filename}: an index of the manifest is gone.") from error
        self._run_rows = self._open_run(out, selection)
        self._live = [index.live_runs() for index in self._indexes]
        self._live_before = list(accumulate((b[-1] for _, b in self._live), initial=0))
        positions = {} if selection.episodes is None else self._positions_in_tasks()
        self._runs = [
            selected_runs(index.episodes, selection, positions, self.settings.stride)
            for index in self._indexes
        ]
        self._before = list(accumulate((runs.before[-1] for runs in self._runs), initial=0))
        self._shards = [[_shard_file(shard) for shard in g.shards] for g in self._held]
        self._tables = [LowdimTables(_table_paths(self._storage, g)) for g in self._held]
        self._episodes: dict[tuple[int, int], _EpisodeFacts] = {}
        self._checks_members = check_members
        self._ledgers: OrderedDict[tuple[int, int], NDArray[np.void]] = OrderedDict()

    def _open(self, out: str | Path, manifest: Manifest, *, check_index: bool) -> None:
        self.manifest, self.settings = manifest, manifest.settings
        self.fields = self.settings.fields
        self._held = [g for g in manifest.generations if self._split in g.indexes]
        if self._split not in SPLITS or not self._held:
            known = sorted({s for g in manifest.generations for s in g.indexes})
            raise UserError(
                f"{out}: no split {self._split!r}; it has {', '.join(known) or 'none'}."
            )
        self._indexes = [self._index(g, self._split, check_blocks=check_index) for g in self._held]

    def _open_run(self, out: str | Path, selection: Selection) -> RunRows | None:
        scope = self.manifest.run_scope
        is_run = scope is not msgspec.UNSET and self._split == "train"
        if wrong := [i for i in self._indexes if i.is_run != is_run]:
            raise DataError(
                f"{wrong[0].path}: an index of {'all' if is_run else 'one run'}'s samples, the "
                "manifest says otherwise."
            )
        if scope is msgspec.UNSET or not is_run:
            return None
        universe = self._indexes[0].episodes
        if selection != EVERYTHING:
            positions = {} if selection.episodes is None else self._positions_in_tasks()
            if selection.frames is not None or not selects_all(universe, selection, positions):
                raise UserError(
                    f"{out}: holds the samples of one run, {scope}, of all its episodes: expected "
                    "no frames, and tasks and episodes that leave none out, got others. The run "
                    "would see other samples: store them with such a selection in 'predecode run'."
                )
        return RunRows(scope, self._indexes, self.settings.stride, where=str(out))

    def __len__(self) -> int:
        """Number of selected live samples; where one run's are stored, that of its universe."""
        return self._before[-1] if self._run_rows is None else len(self._run_rows)

    @property
    def run_scope(self) -> RunScope | None:
        """The run whose samples are stored; None where all are."""
        return None if self._run_rows is None else self._run_rows.scope

    @property
    def num_holes(self) -> int:
        """Samples of the run that are missing, in whose place others are served."""
        return 0 if self._run_rows is None else self._run_rows.num_holes

    @property
    def num_live(self) -> int:
        """Number of all live samples of the split, selected or not."""
        return self._live_before[-1] if self._run_rows is None else len(self._run_rows)

    @property
    def first_position(self) -> int:
        """The lowest position whose sample is stored."""
        return 0 if self._run_rows is None else self._run_rows.first_sample()

    def digest(self) -> str:
        """Returns what names these samples in this order: 32 hex digits of xxh3-128.

        Over each generation's index digest and selected rows; cameras and windows have no part.
        Where one run's samples are stored, over their universe: more of them change no order.
        """
        if self._run_rows is not None:
            return xxhash.xxh3_128_hexdigest(f"run:{self._run_rows.scope.universe}".encode())
        return xxhash.xxh3_128("".join(self._generation_texts()).encode()).hexdigest()

    def generation_digests(self) -> list[str]:
        """Returns the same for each generation: what is read of an output may only be added to."""
        return [xxhash.xxh3_64(text.encode()).hexdigest() for text in self._generation_texts()]

    def _generation_texts(self) -> list[str]:
        return [
            f"{index.header_xxh3}:{runs.starts}:{runs.before};"
            for index, runs in zip(self._indexes, self._runs, strict=True)
        ]

    def spans(self) -> list[Span]:
        """Returns where each episode's selected samples stand, in the order of positions."""
        if self._run_rows is not None:
            return self._run_rows.spans()
        return [
            span
            for index, runs, start in zip(self._indexes, self._runs, self._before, strict=False)
            for span in spans_of_runs(index.episodes, runs, self.settings.stride, start)
        ]

    def stored_frames(self, span: Span) -> Sequence[int]:
        """Returns the frames of a span that are stored: of one run's samples not all are.

        Cost: a pread of the episode's rows, where one run's samples are stored.
        """
        if self._run_rows is not None:
            return self._run_rows.frames(span.episode_index)
        stop = span.first_frame + (span.num_samples - 1) * span.stride + 1
        return range(span.first_frame, stop, span.stride)

    def num_stored(self, span: Span) -> int:
        """Returns how many samples of a span are stored."""
        return (
            span.num_samples
            if self._run_rows is None
            else self._run_rows.num_stored(span.episode_index)
        )

    def locate(self, position: int) -> Place:
        """Returns where the ``position``-th selected sample is. Cost: one small pread.

        Where one run's samples are stored, one of the episode's rows more (12 us where it has 320);
        where this one is missing, another one's place.

        Raises:
            IndexError: not in ``[0, len)``.
            UserError: the run whose samples are stored never sees it.
            DataError: a damaged index.
        """
        if not 0 <= position < len(self):
            raise IndexError(f"sample {position}: expected 0 to {len(self) - 1}")
        if self._run_rows is not None:
            return self._place(*self._run_rows.locate(position))
        generation = bisect_right(self._before, position) - 1
        row = row_of_position(position - self._before[generation], *self._runs[generation])
        return self._place(generation, row)

    def neighbour(self, place: Place, frame_index: int) -> Place:
        """Returns another frame of the same episode, selected or not.

        Raises:
            DataError: a damaged index, or a frame that is not stored.
        """
        if frame_index == place.frame_index:
            return place
        row = place.row + (frame_index - place.frame_index) // self.settings.stride
        found = self._place(place.generation, row)
        if (found.episode_index, found.frame_index) != (place.episode_index, frame_index):
            raise DataError(f"{self.where(place)}: frame {frame_index} of it is not stored")
        return found

    def sample_index(self, place: Place) -> int:
        """Returns a sample's position among all live samples of the split, selected or not."""
        if self._run_rows is not None:
            return self._run_rows.sample_index(place.episode_index, place.frame_index)
        starts, before = self._live[place.generation]
        run = bisect_right(starts, place.row) - 1
        return self._live_before[place.generation] + before[run] + place.row - starts[run]

    def read(self, places: Sequence[Place], fields: Sequence[str]) -> list[list[memoryview]]:
        """Returns the content of some members of some samples, in the order of ``places``.

        Raises:
            As ``read_each``.
        """
        contents: list[list[memoryview]] = [[] for _ in places]
        for number, members in self.read_each(places, fields):
            contents[number] = members
        return contents

    def read_each(
        self, places: Sequence[Place], fields: Sequence[str]
    ) -> Iterator[tuple[int, list[memoryview]]]:
        """Yields positions in ``places`` with the content of some members, as they lie on disk.

        Of a local storage nothing is read before it is its turn. Samples that lie close to each
        other are read at once, and then share memory.

        Raises:
            DataError: a shard is gone or shorter than the index says; with ``check_members`` also
                a member whose hash is not the ledger's.
            StorageError: a remote storage does not answer as it should.
        """
        members = [self.fields.index(field) for field in fields]
        groups: list[list[_Wanted]] = []
        for one in sorted(_Wanted.of(n, place, members) for n, place in enumerate(places)):
            if groups and groups[-1][0].fits(groups[-1][-1], one, self._storage):
                groups[-1].append(one)
            else:
                groups.append([one])
        for first in range(0, len(groups), self._storage.num_ranges):
            yield from self._read_groups(groups[first : first + self._storage.num_ranges], members)

    def _read_groups(
        self, groups: list[list["_Wanted"]], members: list[int]
    ) -> Iterable[tuple[int, list[memoryview]]]:
        ranges = [self._range(group) for group in groups]
        contents: dict[int, list[memoryview]] = {}  # by number: a group may be handed over again

        def take(number: int, data: memoryview) -> None:
            start, group = ranges[number].start, groups[number]
            if len(data) != ranges[number].stop - start:
                raise DataError(
                    f"{self.where(group[-1].place)}: {ranges[number].stop - start} bytes expected "
                    f"at {start}, got {len(data)}: the shard is cut."
                )
            for one in group:
                contents[one.number] = self._members(one.place, data, start, members)

        self._storage.read_ranges(ranges, take)
        return contents.items()

    @property
    def num_ranges(self) -> int:
        """How many samples are best read together."""
        return self._storage.num_ranges

    @property
    def num_prefetches(self) -> int:
        """How many calls of ``prefetch`` at a time make best use of the storage."""
        return self._storage.num_prefetches

    def prefetch(self, first: Place, last: Place) -> None:
        """Has at hand what lies from one sample to another; may run in other threads.

        Raises:
            DataError, StorageError: a remote shard cannot be downloaded.
        """
        begin = (first.generation, first.shard)
        end = (last.generation, last.shard)
        for generation, entry in enumerate(self._held):
            for shard, shard_entry in enumerate(entry.shards):
                if begin <= (generation, shard) <= end and shard_entry.split == self._split:
                    file = self._shards[generation][shard]
                    start = first.offset_bytes if (generation, shard) == begin else 0
                    stop = last.stop_bytes if (generation, shard) == end else file.num_bytes
                    self._storage.prefetch(ByteRange(file, start, stop))

    def stored_runs(self) -> list[tuple[Index, Runs]]:
        """Returns index and selected rows of each generation, in the order of positions."""
        return list(zip(self._indexes, self._runs, strict=True))

    def episode_columns(self, span: Span) -> tuple[int, Callable[[], dict[str, Any]]]:
        """Returns an episode's number of frames and what reads its ``columns``.

        Where one run's samples are stored, also of an episode that has none of them.

        Raises:
            DataError: a damaged index.
        """
        if self._run_rows is None:
            place = self.locate(span.start)
        else:
            generation, episode = self._run_rows.with_table(span.episode_index)
            table, batch = int(episode["lowdim_table"]), int(episode["lowdim_batch"])
            place = Place(
                generation, 0, 0, 0, (), span.episode_index, span.first_frame, span.task_index,
                int(episode["num_frames"]), (0, 0), generation, table, batch,
            )  # fmt: skip
        return place.num_frames, partial(self.columns, place)

    def columns(self, place: Place) -> dict[str, Any]:
        """Returns all rows of a sample's episode by column, ``(T,)`` or ``(T, n)``, not copied.

        Raises:
            DataError: a table that is damaged or gone.
        """
        tables = self._tables[place.lowdim_generation]
        try:
            columns = tables.columns(place.lowdim_table, place.lowdim_batch)
            first = next(iter(columns), None)  # they are of one length: those of a record batch
            if first is not None and len(columns[first]) != place.num_frames:
                raise DataError(
                    f"column {first!r}: {len(columns[first])} rows, the episode has "
                    f"{place.num_frames} frames"
                )
        except DataError as error:
            raise DataError(f"{self.where(place)}: low-dimensional row: {error}") from error
        return columns

    def generation(self, place: Place) -> GenerationEntry:
        """Returns the manifest's entry of the generation that holds a sample."""
        return self._held[place.generation]

    def shard(self, place: Place) -> ShardEntry:
        """Returns the manifest's entry of the shard that holds a sample."""
        return self._held[place.generation].shards[place.shard]

    def ledger_row(self, place: Place) -> np.void:
        """Returns a sample's row of its shard's ledger; see ``ledger_dtype``.

        Raises:
            DataError: the ledger is damaged, or has no such sample.

        Cost: reads the ledger, about 100 bytes a sample, unless it is one of those used last.
        """
        rows = self._ledger(place)
        found = int(np.searchsorted(rows["offset_bytes"], place.offset_bytes))
        if found == len(rows) or int(rows["offset_bytes"][found]) != place.offset_bytes:
            raise DataError(
                f"{self.where(place)}: no sample at {place.offset_bytes} in "
                f"{self.shard(place).ledger}: index or ledger is damaged."
            )
        row: np.void = rows[found]
        return row

    def where(self, place: Place) -> str:
        """Returns shard and key, for messages."""
        return f"{self.shard(place).name}.tar, key {place.key}"

    def close(self) -> None:
        """Closes every file."""
        for index in self._indexes:
            index.close()
        self._storage.close()

    def _index(self, generation: GenerationEntry, split: str, *, check_blocks: bool) -> Index:
        entry = generation.indexes[split]
        num_members = len(self.fields)

        def check(path: Path) -> None:
            downloaded = Index(path, num_members)
            downloaded.check_all_blocks()
            downloaded.close()

        path = self._storage.local_file(
            StoredFile(entry.path, entry.num_bytes, entry.header_xxh3, check)
        )
        index = Index(path, num_members, check_blocks=check_blocks)
        if index.header_xxh3 != entry.header_xxh3:
            raise DataError(
                f"{index.path}: digest {index.header_xxh3}, the manifest says "
                f"{entry.header_xxh3}. Finish or repeat the run that wrote it."
            )
        return index

    def _positions_in_tasks(self) -> dict[int, int]:
        """``episode_index`` -> position among its task's episodes; what is not there counts too."""
        pairs = [(missing.task_index, missing.episode_index) for missing in self.manifest.missing]
        pairs += [(dropped.task_index, dropped.episode_index) for dropped in self.manifest.dropped]
        for generation in self.manifest.generations:
            for split in generation.indexes:
                episodes = self._index(generation, split, check_blocks=False).episodes
                pairs += episodes[["task_index", "episode_index"]].tolist()
        return positions_in_tasks(pairs)

    def _place(self, generation: int, row: int) -> Place:
        index, shards = self._indexes[generation], self._shards[generation]
        shard, offset_bytes, frame_index, episode, members = index.location(row)
        if shard >= len(shards) or episode >= len(index.episodes):
            raise DataError(
                f"{index.path}: row {row} names shard {shard} and episode {episode}, which do not "
                "exist: the index is damaged."
            )
        stop, largest = offset_bytes, 0
        for start, num_bytes in members:
            stop, largest = max(stop, offset_bytes + start + num_bytes), max(largest, num_bytes)
        if stop > shards[shard].num_bytes or largest > MAX_MEMBER_BYTES:
            raise DataError(
                f"{index.path}: row {row} names bytes to {stop} of a shard of "
                f"{shards[shard].num_bytes}, a member of {largest}: the index is damaged."
            )
        facts = self._episodes.get((generation, episode))
        if facts is None:
            facts = self._episodes[generation, episode] = self._episode(
                generation, index.episodes[episode]
            )
        return Place(
            generation, row, shard, offset_bytes, members, facts[0], frame_index, *facts[1:]
        )

    def _episode(self, generation: int, episode: np.void) -> "_EpisodeFacts":
        """What a ``Place`` says of its episode, in its order."""
        table_generation, with_table = generation, episode
        if self._run_rows is not None and int(episode["lowdim_table"]) == NOT_STORED:
            table_generation, with_table = self._run_rows.with_table(int(episode["episode_index"]))
        return (
            int(episode["episode_index"]),
            int(episode["task_index"]),
            int(episode["num_frames"]),
            stored_range(episode, self.settings.stride),
            table_generation,
            int(with_table["lowdim_table"]),
            int(with_table["lowdim_batch"]),
        )

    def _range(self, group: list["_Wanted"]) -> ByteRange:
        """The bytes of samples of one shard that are read together."""
        first = group[0]
        shard = self._shards[first.generation][first.shard]
        return ByteRange(shard, first.start, max(one.stop for one in group))

    def _members(
        self, place: Place, data: memoryview, start: int, members: list[int]
    ) -> list[memoryview]:
        """Cuts one sample's members out of the bytes that begin at ``start`` of its shard."""
        base = place.offset_bytes - start
        contents = []
        for member in members:
            first, num_bytes = place.members[member]
            contents.append(data[base + first : base + first + num_bytes])
            if self._checks_members:
                self._check_member(place, member, contents[-1])
        return contents

    def _check_member(self, place: Place, member: int, content: memoryview) -> None:
        """Compares a member's hash with the ledger's."""
        expected = int(self.ledger_row(place)["member_xxh3"][member])
        got = xxhash.xxh3_64_intdigest(content)
        if got != expected:
            raise DataError(
                f"{self.where(place)}, member {self.fields[member]} ({len(content)} bytes at "
                f"{place.offset_bytes + place.members[member][0]}): xxh3 {got:016x}, the ledger "
                f"says {expected:016x}."
            )

    def _ledger(self, place: Place) -> NDArray[np.void]:
        key = (place.generation, place.shard)
        rows = self._ledgers.get(key)
        if rows is None:
            entry = self.shard(place)
            try:
                data = self._storage.read_file(entry.ledger)
            except FileNotFoundError as error:
                raise DataError(f"{entry.ledger}: a ledger of the manifest is gone.") from error
            num_images = len(self.settings.cameras)
            rows = decode_ledger(data, len(self.fields), num_images, where=entry.ledger)
            check_extents(rows, entry.num_bytes, where=entry.ledger)
            self._ledgers[key] = rows
            if len(self._ledgers) > _LEDGERS:
                self._ledgers.popitem(last=False)
        return rows


_EpisodeFacts = tuple[int, int, int, tuple[int, int], int, int, int]


class _Wanted(NamedTuple):
    """The bytes of one sample that a batch asks for; sorts by place in the shards."""

    generation: int
    shard: int
    start: int
    stop: int
    number: int
    """Which of the batch's samples it is."""
    place: Place

    @classmethod
    def of(cls, number: int, place: Place, members: list[int]) -> "_Wanted":
        """From the first to the last byte of some members."""
        start, stop = place.stop_bytes, 0
        for member in members:
            first, num_bytes = place.members[member]
            start = min(start, first)
            stop = max(stop, first + num_bytes)
        offset = place.offset_bytes
        return cls(place.generation, place.shard, offset + start, offset + stop, number, place)

    def fits(self, last: "_Wanted", other: "_Wanted", storage: Storage) -> bool:
        """Whether another one is read together with those from this to ``last``."""
        return (
            self.shard == other.shard
            and self.generation == other.generation
            and other.start - last.stop <= storage.gap_bytes
            and other.stop - self.start <= storage.most_bytes
        )


def _shard_file(shard: ShardEntry) -> StoredFile:
    return StoredFile(shard.path, shard.num_bytes, shard.sha256, _check_sha256(shard.sha256))


def _table_paths(storage: Storage, generation: GenerationEntry) -> Callable[[int], Path]:
    def path(table: int) -> Path:
        if table >= len(generation.lowdim):
            raise DataError(f"table {table} of {len(generation.lowdim)}: the index is damaged.")
        entry = generation.lowdim[table]
        return storage.local_file(
            StoredFile(entry.path, entry.num_bytes, entry.sha256, _check_sha256(entry.sha256))
        )

    return path


def _check_sha256(expected: str) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        got = sha256_of_file(path)
        if got != expected:
            raise DataError(f"SHA-256 {got}, the manifest says {expected}")

    return check
