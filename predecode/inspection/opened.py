"""An output open for looking at: its samples by episode and frame, its plans, what is not there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from predecode.errors import UserError
from predecode.manifest import QUARANTINE_PATH
from predecode.planning import Plan, PlannedEpisode
from predecode.stored_plan import decode_plan
from train_shards.errors import DataError
from train_shards.format import SPLITS, format_key, parse_key
from train_shards.manifest import GenerationEntry, load_manifest
from train_shards.metadata_files import MetadataFiles
from train_shards.reader import Place, ShardReader
from train_shards.selection import Span

__all__ = ["OpenOutput", "Quarantined", "StoredEpisode", "opened"]


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``quarantine.jsonl``: an episode that is missing, and why."""

    episode_index: int
    camera: str | None = None
    path: str
    problem: str
    expected: str
    got: str
    retry: str = ""


class StoredEpisode(NamedTuple):
    """An episode that readers are served."""

    split: str
    span: Span
    """Where its samples stand in the split; not each of them is stored, where one run's are."""
    num_samples: int
    """That are stored."""


class OpenOutput:
    """A folder or a URL; of its shards only what is asked for is read."""

    def __init__(self, out: str, *, check_members: bool) -> None:
        """Opens manifest and indexes.

        ``check_members``: compare each member that is read with its shard's ledger.

        Raises:
            UserError: no finished output here.
            DataError: manifest or index damaged, or of a higher format version.
            StorageError: a remote storage does not answer as it should.
        """
        self.name = out
        self.manifest = load_manifest(out)
        self.settings = self.manifest.settings
        self.files = MetadataFiles(out)
        self._plans: dict[str, Plan] = {}
        self._readers = {
            split: ShardReader(out, split, manifest=self.manifest, check_members=check_members)
            for split in SPLITS
            if any(split in generation.indexes for generation in self.manifest.generations)
        }
        found = [
            StoredEpisode(split, span, num_samples)
            for split, reader in self._readers.items()
            for span in reader.spans()
            if (num_samples := reader.num_stored(span))
        ]
        self.episodes = {
            episode.span.episode_index: episode
            for episode in sorted(found, key=lambda episode: episode.span.episode_index)
        }
        """By ``episode_index``, ascending."""

    def reader(self, episode: StoredEpisode) -> ShardReader:
        """Returns what reads an episode."""
        return self._readers[episode.split]

    def frames(self, episode: StoredEpisode) -> Sequence[int]:
        """Returns the frames of an episode that are stored, ascending."""
        return self.reader(episode).stored_frames(episode.span)

    def episode(self, episode_index: int, option: str) -> StoredEpisode:
        """Returns an episode.

        Args:
            episode_index: its id.
            option: that named it, for the message.

        Raises:
            UserError: no reader is served it: unknown, quarantined or dropped.
        """
        found = self.episodes.get(episode_index)
        if found is not None:
            return found
        where = f"{self.name}: {option}: episode {episode_index:08d}"
        for row in self.quarantined():
            if row.episode_index == episode_index:
                raise UserError(
                    f"{where} is quarantined: {row.path}: {row.problem}; expected {row.expected}, "
                    f"got {row.got}. After repair: {row.retry}"
                )
        if any(gone.episode_index == episode_index for gone in self.manifest.dropped):
            raise UserError(f"{where} was dropped from this output. Choose another.")
        if self.manifest.run_scope:
            raise UserError(f"{where}: the one run that is stored sees none of its frames.")
        if not self.episodes:
            raise UserError(f"{where} is not here: no episode is.")
        nearest = min(self.episodes, key=lambda known: (abs(known - episode_index), known))
        raise UserError(
            f"{where} is not here; the nearest of {len(self.episodes):,} is {nearest:08d}. "
            f"'predecode inspect {self.name}' lists them."
        )

    def sample(self, key: str) -> tuple[StoredEpisode, Place]:
        """Returns the sample of a key.

        Raises:
            UserError: no such key, or as ``episode``.
            DataError: a damaged index.
        """
        try:
            episode_index, frame = parse_key(key)
        except DataError as error:
            raise UserError(f"--key: {error}.") from error
        episode = self.episode(episode_index, f"--key {key}")
        frames = self.frames(episode)
        if frame not in frames:
            nearest = min(frames, key=lambda known: (abs(known - frame), known))
            raise UserError(
                f"{self.name}: --key {key}: frame {frame} is not stored; the nearest is "
                f"{format_key(episode_index, nearest)}. Stored of this episode are {len(frames):,} "
                f"frames: {frames[0]} to {frames[-1]}, stride {episode.span.stride}."
            )
        return episode, self.place(episode, frame)

    def place(self, episode: StoredEpisode, frame: int) -> Place:
        """Returns where a stored frame lies.

        Raises:
            DataError: a damaged index.
        """
        return self.reader(episode).locate(episode.span.position(frame))

    def read(
        self, samples: Sequence[tuple[StoredEpisode, Place]], fields: Sequence[str]
    ) -> list[list[memoryview]]:
        """Returns members of samples of any split; see ``ShardReader.read``."""
        contents: list[list[memoryview]] = [[] for _ in samples]
        for split, reader in self._readers.items():
            own = [n for n, (episode, _) in enumerate(samples) if episode.split == split]
            found = reader.read([samples[number][1] for number in own], fields)
            for number, members in zip(own, found, strict=True):
                contents[number] = members
        return contents

    def planned(self, episode: StoredEpisode) -> tuple[Plan, PlannedEpisode]:
        """Returns what an episode was made by.

        Raises:
            DataError: the plan is not there, damaged, or does not have it.

        Cost: reads the plan of its generation, 1 kB an episode.
        """
        entry = self.reader(episode).generation(self.place(episode, self.frames(episode)[0]))
        plan, wanted = self.plan(entry), episode.span.episode_index
        for planned in plan.episodes:
            if planned.episode.episode_index == wanted:
                return plan, planned
        raise DataError(f"{self.name}/{entry.plan}: episode {wanted:08d}, which it made, is not in")

    def plan(self, entry: GenerationEntry) -> Plan:
        """Returns a generation's plan; raises and costs as ``planned``."""
        if entry.plan not in self._plans:
            data = self.files.read(entry.plan)
            if data is None:
                raise DataError(f"{self.name}/{entry.plan}: not there, and the manifest names it")
            self._plans[entry.plan] = decode_plan(data, where=f"{self.name}/{entry.plan}")
        return self._plans[entry.plan]

    def quarantined(self) -> list[Quarantined]:
        """Returns the episodes that are missing, and why.

        Raises:
            DataError: the list is damaged.
        """
        return self.files.rows(QUARANTINE_PATH, Quarantined) or []

    def close(self) -> None:
        """Closes every file."""
        for reader in self._readers.values():
            reader.close()


@contextmanager
def opened(out: str, *, check_members: bool = True) -> Iterator[OpenOutput]:
    """Yields an output open for the time of a ``with`` block; see ``OpenOutput``."""
    output = OpenOutput(out, check_members=check_members)
    try:
        yield output
    finally:
        output.close()
