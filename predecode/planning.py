"""Selected frames -> pieces -> shard tasks, and the plan's digest. Pure: bytes are no input."""

import hashlib
import itertools
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import xxhash

from predecode.config import PIECE_FRAMES
from predecode.errors import EpisodeFault
from predecode.frame_lists import decode_frames, encode_frames
from predecode.selection import selected_frames
from predecode.source_check import CheckedEpisode, InputFile
from predecode.sources.episode import Episode
from predecode.video.backends import STORING_BACKEND
from train_shards.bounds import Count
from train_shards.format import RUN_MAJOR, SPLITS
from train_shards.manifest import FormatVersion, Settings
from train_shards.run_scope import RunScope

__all__ = [
    "LowdimTask",
    "Piece",
    "Plan",
    "PlannedEpisode",
    "RunPart",
    "ShardTask",
    "cut_pieces",
    "deal_pieces",
    "make_plan",
    "plan_digest",
    "sample_order",
    "seeded_rank",
]

MAX_TASK_FRAMES = 50_000
"""A task is closed here too, so that sparse selections do not make tasks of hours."""
LOWDIM_EPISODES = 64
"""Episodes in one table file: 20,000 episodes stay below 400 files."""


class Piece(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Consecutive frames ``[start, stop)`` of one episode."""

    episode_index: Count
    start: Count
    stop: Count
    num_samples: Count


class ShardTask(msgspec.Struct, frozen=True, kw_only=True):
    """What one shard holds; the unit of work, retry and verification."""

    shard_index: Count
    """Number within its split, over all generations."""
    split: str
    pieces: list[Piece]
    made_for: str | msgspec.UnsetType = msgspec.UNSET
    """Digest of the plan that it was made for, where another one has taken that one's place."""

    @property
    def num_samples(self) -> int:
        """Samples of all pieces, before any fault."""
        return sum(piece.num_samples for piece in self.pieces)


class LowdimTask(msgspec.Struct, frozen=True, kw_only=True):
    """What one table file holds."""

    table_index: Count
    """Number over all generations."""
    episodes: list[Count]
    """``episode_index`` of each record batch."""
    made_for: str | msgspec.UnsetType = msgspec.UNSET
    """As of a shard."""
    columns: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Those of the file in their order, where it was cut out of one; else the sources' order."""


class PlannedEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """An episode as planned: what a task needs to decode it."""

    episode: Episode
    num_frames: Count
    split: str
    inputs: list[InputFile]
    frames: tuple[Count, Count] | msgspec.UnsetType = msgspec.UNSET
    """The frames ``[start, stop)`` that are asked for; unset, and then not in the file, for all."""
    run_frames: str | msgspec.UnsetType = msgspec.UNSET
    """Of these, the ones that one training run sees and that no earlier generation has, as a text
    of ``frame_lists``; unset, and then not in the file, where all are stored."""

    @property
    def asked(self) -> tuple[int, int]:
        """The frames ``[start, stop)`` that are asked for."""
        return (0, self.num_frames) if self.frames is msgspec.UNSET else self.frames

    def selected_frames(self, stride: int) -> range:
        """Returns the frames that are asked for, on the grid of the stride."""
        return selected_frames(*self.asked, stride)

    def stored_frames(self, stride: int) -> Sequence[int]:
        """Returns the frames that are to be stored, ascending."""
        if self.run_frames is msgspec.UNSET:
            return self.selected_frames(stride)
        return decode_frames(self.run_frames)

    def video_input(self, camera: str) -> InputFile:
        """Returns a camera's video as it was when the plan was made."""
        span = self.episode.videos[camera]
        return self.input_at(span.path, span.column)

    def input_at(self, path: str, column: str | msgspec.UnsetType = msgspec.UNSET) -> InputFile:
        """Returns a file, or a column of pictures in it, as it was when the plan was made."""
        wanted = (path, column)
        return next(given for given in self.inputs if (given.path, given.column) == wanted)


class RunPart(NamedTuple):
    """What one generation stores of a training run's samples."""

    scope: RunScope
    """All of the run."""
    frames: Mapping[int, Sequence[int]]
    """``episode_index`` of each episode that goes to ``train`` -> frames to store, ascending."""
    without_table: Collection[int] = ()
    """Episodes whose low-dimensional rows an earlier generation has."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One generation: what should be made."""

    format: FormatVersion
    generation: Count
    settings: Settings
    root: str
    """Where the source lay; not part of the digest."""
    probe: str
    environment: dict[str, str]
    """Versions when the plan was made; the probe stands for them in the digest."""
    episodes: list[PlannedEpisode]
    failed: list[Episode]
    """Episodes that the source check refused; they are in no task."""
    faults: list[EpisodeFault]
    """Why, in the same order."""
    shards: list[ShardTask]
    tables: list[LowdimTask]
    backend: str | msgspec.UnsetType = msgspec.UNSET
    """The decoder that makes the pictures; not in the file where it is PyAV."""
    replaces: Count | msgspec.UnsetType = msgspec.UNSET
    """The generation in whose place this one stands, without episodes that were dropped."""
    run_scope: RunScope | msgspec.UnsetType = msgspec.UNSET
    """The training run whose samples alone are stored, with those of earlier generations."""
    digest: str = ""
    """SHA-256 of all of the above but root and environment."""

    @property
    def storing_backend(self) -> str:
        """The decoder that makes the pictures."""
        return self.backend or STORING_BACKEND

    @property
    def place(self) -> int:
        """Where its samples stand among those of other generations."""
        return self.generation if self.replaces is msgspec.UNSET else self.replaces

    @property
    def all_episodes(self) -> list[Episode]:
        """Every episode that it speaks of, planned or refused."""
        return [*(planned.episode for planned in self.episodes), *self.failed]


def make_plan(
    *,
    generation: int,
    settings: Settings,
    root: str,
    probe: str,
    environment: dict[str, str],
    checked: Sequence[CheckedEpisode],
    failed: Sequence[tuple[Episode, EpisodeFault]],
    held_out: set[int],
    first_shards: dict[str, int],
    first_table: int,
    backend: str = STORING_BACKEND,
    labelled: Mapping[int, tuple[int, int]] | None = None,
    run: RunPart | None = None,
) -> Plan:
    """Returns the plan of one generation.

    Args:
        generation: its number.
        settings: identity of the output.
        root: the source's folder.
        probe: hash of the probe picture.
        environment: library versions.
        checked: episodes that passed, in any order.
        failed: episodes that did not, and why.
        held_out: ``episode_index`` of those that go to ``val``.
        first_shards: split -> first free shard number.
        first_table: first free table number.
        backend: the decoder that makes the pictures.
        labelled: ``episode_index`` -> the frames ``[start, stop)`` that are asked for of it; of
            episodes that are not in it, all.
        run: what of one training run is to be stored; None for every selected frame.
    """
    labelled, run_frames = labelled or {}, {} if run is None else run.frames
    checked = sorted(checked, key=lambda c: c.episode.episode_index)
    failed = sorted(failed, key=lambda f: f[0].episode_index)
    shards: list[ShardTask] = []
    for split in SPLITS:
        mine = [c for c in checked if (c.episode.episode_index in held_out) == (split == "val")]
        pieces = [
            piece
            for c in mine
            for piece in cut_pieces(
                c,
                settings.stride,
                labelled.get(c.episode.episode_index),
                run_frames.get(c.episode.episode_index),
            )
        ]
        dealt = deal_pieces(pieces, settings)
        shards += [
            ShardTask(shard_index=first_shards[split] + number, split=split, pieces=group)
            for number, group in enumerate(dealt)
        ]
    without_table = () if run is None else run.without_table
    tabled = [c for c in checked if c.episode.episode_index not in without_table]
    plan = Plan(
        format=FormatVersion() if run is None else FormatVersion(RUN_MAJOR, 0),
        generation=generation,
        settings=settings,
        root=root,
        probe=probe,
        environment=environment,
        episodes=[
            PlannedEpisode(
                episode=c.episode,
                num_frames=c.num_frames,
                split="val" if c.episode.episode_index in held_out else "train",
                inputs=c.inputs,
                frames=_unless_all(labelled.get(c.episode.episode_index), c.num_frames),
                run_frames=_text_of(run_frames.get(c.episode.episode_index)),
            )
            for c in checked
        ],
        failed=[episode for episode, _ in failed],
        faults=[fault for _, fault in failed],
        shards=shards,
        tables=[
            LowdimTask(table_index=first_table + number, episodes=group)
            for number, group in enumerate(_group_tables(tabled))
        ],
        run_scope=msgspec.UNSET if run is None else run.scope,
        backend=msgspec.UNSET if backend == STORING_BACKEND else backend,
    )
    return msgspec.structs.replace(plan, digest=plan_digest(plan))


def cut_pieces(
    checked: CheckedEpisode,
    stride: int,
    frames: tuple[int, int] | None = None,
    stored: Sequence[int] | None = None,
) -> list[Piece]:
    """Returns an episode's pieces in order; they cover every selected frame once.

    A piece is the shortest run of whole GOPs of the first camera with at least ``PIECE_FRAMES``
    frames; what is left at the end joins the last one. A piece without a frame to store is left
    out.

    Args:
        checked: the episode.
        stride: every how manieth frame is selected.
        frames: those ``[start, stop)`` that are asked for: the first and last piece begin and end
            with them instead, inside a GOP. None for all.
        stored: those of the selected frames that are stored, ascending; None for all.
    """
    first, last = frames or (0, checked.num_frames)
    if stored is None:
        stored = selected_frames(first, last, stride)
    cuts = [first]
    for keyframe in checked.keyframes:
        if keyframe - cuts[-1] >= PIECE_FRAMES and last - keyframe >= PIECE_FRAMES:
            cuts.append(keyframe)
    cuts.append(last)
    return [
        Piece(checked.episode.episode_index, start, stop, num_samples)
        for start, stop in itertools.pairwise(cuts)
        if (num_samples := bisect_left(stored, stop) - bisect_left(stored, start))
    ]


def deal_pieces(pieces: Iterable[Piece], settings: Settings) -> list[list[Piece]]:
    """Returns the pieces of each shard.

    ``mixed`` deals them in an order drawn from the seed, so that one shard holds many episodes and
    tasks; ``episode`` keeps their order. A shard is closed before the piece that would take it
    beyond ``shard_size`` samples or ``MAX_TASK_FRAMES`` source frames; only a single piece may be
    larger. Within a shard pieces stand by episode, so that each file is opened once.
    """
    ordered = list(pieces)
    if settings.layout == "mixed":
        ordered.sort(
            key=lambda p: (seeded_rank(settings.seed, "piece", p.episode_index, p.start), p)
        )
    groups: list[list[Piece]] = []
    samples = frames = 0
    for piece in ordered:
        samples += piece.num_samples
        frames += piece.stop - piece.start
        if not groups or samples > settings.shard_size or frames > MAX_TASK_FRAMES:
            groups.append([])
            samples, frames = piece.num_samples, piece.stop - piece.start
        groups[-1].append(piece)
    return [sorted(group, key=lambda p: (p.episode_index, p.start)) for group in groups]


def sample_order(samples: Iterable[tuple[int, int]], settings: Settings) -> list[tuple[int, int]]:
    """Returns ``(episode_index, frame_index)`` pairs in the order in which a shard holds them."""
    if settings.layout == "episode":
        return sorted(samples)
    return sorted(samples, key=lambda s: (seeded_rank(settings.seed, "sample", *s), s))


def _text_of(frames: Sequence[int] | None) -> str | msgspec.UnsetType:
    return msgspec.UNSET if frames is None else encode_frames(frames)


def _unless_all(
    frames: tuple[int, int] | None, num_frames: int
) -> tuple[int, int] | msgspec.UnsetType:
    """Frames as a plan names them: not at all where they are the whole episode."""
    return msgspec.UNSET if frames in (None, (0, num_frames)) else frames


def seeded_rank(seed: int, what: str, episode_index: int, frame_index: int) -> int:
    """Returns a place in a shuffled order, of 64 bits, that depends on its arguments alone.

    A hash and not a random generator: numpy's streams may change between releases.
    """
    return xxhash.xxh3_64_intdigest(f"{seed}:{what}:{episode_index}:{frame_index}".encode())


def _group_tables(checked: Sequence[CheckedEpisode]) -> list[list[int]]:
    """Consecutive episodes of one task, at most ``LOWDIM_EPISODES``: their columns are alike."""
    groups: list[list[int]] = []
    last_task: int | None = None
    for c in checked:
        task = c.episode.task_index
        if not groups or task != last_task or len(groups[-1]) == LOWDIM_EPISODES:
            groups.append([])
        groups[-1].append(c.episode.episode_index)
        last_task = task
    return groups


def plan_digest(plan: Plan) -> str:
    """Returns the SHA-256 of all of a plan but root, environment, deaths and the digest itself."""
    faults = [msgspec.structs.replace(fault, death=msgspec.UNSET) for fault in plan.faults]
    bare = msgspec.structs.replace(plan, root="", environment={}, digest="", faults=faults)
    return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()
