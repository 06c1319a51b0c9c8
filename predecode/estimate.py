"""How many bytes a plan, or what is left of one, will take: parts with their error. Pure.

What follows from the plan is exact; pictures, rows and tables are extrapolated from a few that were
encoded.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from predecode.piece_costs import PieceLook
from predecode.planning import Piece, seeded_rank
from predecode.selection import selected_frames
from predecode.sizing import EpisodeSize, Look, SampleSize
from train_shards.manifest import Settings

__all__ = [
    "LIKELY",
    "SURE",
    "Amount",
    "Estimate",
    "Part",
    "choose_looks",
    "draw_pieces",
    "estimate",
    "mean_and_error",
    "most_bytes",
]

MOST_PICTURES = 24
"""Pictures that are decoded for an estimate: keyframes, a second or two of one core."""
_FEWEST_SAMPLES = 4
_KEYFRAME_ERROR = 0.05
"""Share by which pictures between keyframes may be larger or smaller once they are encoded again.
Source: measured on the sample data set, see ``tests/e2e/test_free_space.py``."""
SURE = {2: 63.7, 3: 9.92, 4: 5.84, 5: 4.60, 6: 4.03, 8: 3.50, 12: 3.11, 24: 2.81}
"""Number of values -> standard errors on each side of a mean that hold the true one in 99 of 100
draws. Source: Student's t for one degree of freedom fewer; of numbers between, the one before."""
LIKELY = {2: 12.8, 3: 4.31, 4: 3.19, 5: 2.78, 6: 2.58, 8: 2.37, 12: 2.21, 24: 2.07, 40: 2.03}
"""The same of 95 in 100."""
FRAMES_PER_DRAW = 5
"""Frames that are encoded of a piece that is drawn once: it is decoded whole for its time."""
_END_BYTES = 6144
_END_ERROR_BYTES = 5120
"""The end of a tar: 1,024 zeros, then up to a multiple of 10,240 bytes."""
_RECORD_BYTES = 2048
"""A task's receipt, its entries in the manifest and in wids' list: about 1.5 kB."""
_BLOCK_BYTES = 4096
"""What the last block of a file may waste."""
_MOST_PER_PIXEL = 4
_MOST_PER_MEMBER = 8192
_MOST_PER_ROW = 16_384
_MOST_PER_PARQUET_BYTE = 20


class Amount(NamedTuple):
    """What is still to be written, in numbers that the plan tells."""

    num_samples: int
    num_shards: int
    num_rows: int
    """Of tables."""
    num_tables: int
    num_episodes: int
    """Whose instances are named: of an output with segmentation, else 0."""
    parquet_bytes: int
    """Of the source's tables."""
    ledger_bytes: int
    index_bytes: int
    metadata_bytes: int
    """Copies of the source's metadata."""
    plan_bytes: int


class Part(NamedTuple):
    """One kind of bytes; the true number lies within the error in so many of 100 draws as asked."""

    name: str
    num_bytes: float
    error_bytes: float = 0.0


class Estimate(NamedTuple):
    """All parts."""

    parts: tuple[Part, ...]

    @property
    def num_bytes(self) -> float:
        """The sum."""
        return sum(part.num_bytes for part in self.parts)

    @property
    def error_bytes(self) -> float:
        """Of the sum; the parts' errors are taken for independent."""
        return math.hypot(*(part.error_bytes for part in self.parts))


def choose_looks(pieces: Iterable[Piece], settings: Settings) -> list[Look]:
    """Returns where a sample is looked at: by the seed, in as many episodes as can be.

    A piece is looked at several times where there are too few.

    Cost: hashes every piece, 1 us each.
    """
    num_samples = max(_FEWEST_SAMPLES, MOST_PICTURES // len(settings.cameras))
    first: dict[int, Piece] = {}
    seed = settings.seed
    ranked = sorted(
        pieces, key=lambda p: (seeded_rank(seed, "estimate", p.episode_index, p.start), p)
    )
    others = [p for p in ranked if first.setdefault(p.episode_index, p) is not p]
    chosen = [*first.values(), *others][:num_samples]
    looks = [
        Look(chosen[number % len(chosen)], number // len(chosen))
        for number in range(num_samples if chosen else 0)
    ]
    return sorted(looks)


def draw_pieces(
    pieces: Iterable[Piece], tasks: Mapping[int, int], settings: Settings, num_frames: int
) -> list[PieceLook]:
    """Returns the pieces that a draw falls on, and which of their frames are encoded.

    Samples stand in a line, by task, then by position in their episode; the draws fall on it at
    equal distances, so that each sample is as likely as any other, and tasks, positions and
    episodes have their share.

    Args:
        pieces: to draw from.
        tasks: ``episode_index`` -> task.
        settings: whose seed places the first draw, and whose stride says what is stored.
        num_frames: about how many frames are to be encoded.

    Cost: hashes every piece, 1 us each.
    """
    seed = settings.seed
    ordered = sorted(
        pieces,
        key=lambda p: (
            tasks[p.episode_index],
            p.start,
            seeded_rank(seed, "draw", p.episode_index, p.start),
            p,
        ),
    )
    total = sum(piece.num_samples for piece in ordered)
    num_draws = min(total, math.ceil(num_frames / FRAMES_PER_DRAW))
    offset = seeded_rank(seed, "draw", 0, 0) % max(total, 1)
    places = iter([(number * total + offset) // num_draws for number in range(num_draws)])
    looks: list[PieceLook] = []
    stop, place = 0, next(places, total)
    for piece in ordered:
        stop += piece.num_samples
        hits = 0
        while place < stop:
            hits, place = hits + 1, next(places, total)
        if hits:
            stored = selected_frames(piece.start, piece.stop, settings.stride)
            count = hits * min(FRAMES_PER_DRAW, len(stored) // hits)
            start = seeded_rank(seed, "frame", piece.episode_index, piece.start) % len(stored)
            frames = [stored[(number * len(stored) + start) // count] for number in range(count)]
            looks.append(PieceLook(piece, hits, frames))
    return sorted(looks, key=lambda look: look.piece)


def estimate(
    amount: Amount,
    samples: Sequence[SampleSize],
    episodes: Sequence[EpisodeSize],
    *,
    is_sized: bool,
    student: Mapping[int, float] = SURE,
) -> Estimate:
    """Returns what an amount takes by what was measured of it.

    Args:
        amount: what is to be written.
        samples: those that were encoded; some, unless the amount has none.
        episodes: likewise, of its tables.
        is_sized: whether samples are for all frames, as drawn ones are, or as raw ones, whose
            size the plan tells; and not keyframes alone.
        student: how sure the errors are: ``SURE`` or ``LIKELY``.
    """
    rows = [episode.table_bytes / max(episode.num_rows, 1) for episode in episodes]
    names = [float(episode.instances_bytes) for episode in episodes]
    images = _scaled(
        "pictures", amount.num_samples, [float(s.images_bytes) for s in samples], student
    )
    if not is_sized:
        error = math.hypot(images.error_bytes, _KEYFRAME_ERROR * images.num_bytes)
        images = images._replace(error_bytes=min(error, images.num_bytes))
    rest = _scaled(
        "rows, headers", amount.num_samples, [float(s.rest_bytes) for s in samples], student
    )
    num_files = 3 * amount.num_shards + 2 * amount.num_tables
    return Estimate((
        images,
        rest,
        Part("ends of tars", amount.num_shards * _END_BYTES, amount.num_shards * _END_ERROR_BYTES),
        _scaled("tables", amount.num_rows, rows, student),
        Part("ledgers", amount.ledger_bytes),
        Part("index", amount.index_bytes),
        _scaled("instances", amount.num_episodes, names, student),
        Part("metadata", amount.metadata_bytes),
        Part("plan, receipts", _record_bytes(amount), 0.5 * _record_bytes(amount)),
        Part("blocks", num_files * _BLOCK_BYTES / 2, num_files * _BLOCK_BYTES / 2),
    ))  # fmt: skip


def most_bytes(amount: Amount, settings: Settings) -> int | None:
    """Returns more than an amount can take, None where pictures are of any size.

    An image is reckoned at four bytes a pixel, a row of a table at 16 kB, or all tables at 20 times
    their parquet files if that is more.
    """
    size = settings.picture_size
    if size is None:
        return None
    num_images = len(settings.cameras)
    image_bytes = size[0] * size[1] * _MOST_PER_PIXEL + _MOST_PER_MEMBER
    other_bytes = _MOST_PER_MEMBER + (_MOST_PER_ROW if settings.embed_lowdim else 0)
    table_bytes = max(
        amount.num_rows * _MOST_PER_ROW, amount.parquet_bytes * _MOST_PER_PARQUET_BYTE
    )
    if amount.num_episodes:  # names of instances come from files of any size
        return None
    return (
        amount.num_samples * (num_images * image_bytes + other_bytes)
        + table_bytes
        + amount.ledger_bytes
        + amount.index_bytes
        + amount.metadata_bytes
        + 2 * _record_bytes(amount)
        + (amount.num_shards + amount.num_tables) * 10 * _BLOCK_BYTES
    )


def _record_bytes(amount: Amount) -> int:
    return amount.plan_bytes + (amount.num_shards + amount.num_tables) * _RECORD_BYTES


def _scaled(name: str, count: int, values: Sequence[float], student: Mapping[int, float]) -> Part:
    """So many times the mean of some values."""
    mean, error = mean_and_error(values, student)
    return Part(name, count * mean, count * error)


def mean_and_error(
    values: Sequence[float], student: Mapping[int, float] = LIKELY
) -> tuple[float, float]:
    """Returns the mean of values and its error, as large as itself where they are too few.

    >>> mean_and_error([1.0, 3.0])[0], mean_and_error([7.0]), mean_and_error([])
    (2.0, (7.0, 7.0), (0.0, 0.0))
    """
    if not values:
        return 0.0, 0.0
    mean = statistics.fmean(values)
    if len(values) == 1:
        return mean, mean
    factor = student[max(number for number in student if number <= len(values))]
    return mean, min(mean, factor * statistics.stdev(values) / math.sqrt(len(values)))
