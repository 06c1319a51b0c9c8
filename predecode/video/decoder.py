"""What a decoder is to the rest of the program, and what all of them share.

A decoder hands out pictures by rank in the file's frame table; which library decodes them is known
only to the file that wraps it. A picture whose time is not that of its rank is an error.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from predecode.errors import MediaError
from predecode.video.packets import FrameTable, read_frame_table

__all__ = ["RGB", "Decoder", "Picture", "SequentialDecoder", "rank_at"]

RGB = "rgb24"
"""libav's name of the pixels that every decoder gives unless another format is asked for."""
Picture: TypeAlias = NDArray[Any]
"""``(H, W, 3)`` uint8 RGB, or ``(H, W)`` uint16 codes."""

F = TypeVar("F")


class Decoder(ABC):
    """An open video file that decodes chosen pictures; a context manager that closes it.

    Not for several threads.
    """

    backend: ClassVar[str]
    """The decoder's name, as ``video.backends`` knows it."""

    def __init__(self, path: Path, table: FrameTable | None = None) -> None:
        """Takes the file.

        Args:
            path: A local video file.
            table: The file's frame table if it is known; None reads it.

        Raises:
            MediaError: the file cannot be opened, or its table cannot be read.
        """
        self._path = path
        self._table = read_frame_table(path) if table is None else table
        self._is_closed = False
        # All that the call under way asks for.
        self._wanted: frozenset[int] = frozenset()
        self._last_wanted = -1
        self.spares = True
        """Whether pictures that nothing needs may be left out; measurements want each."""

    @property
    def table(self) -> FrameTable:
        """The frame table whose ranks ``pictures`` takes."""
        return self._table

    def pictures(self, ranks: Sequence[int]) -> Iterator[tuple[int, Picture]]:
        """Yield ``(rank, picture)`` for each rank, in order.

        A picture is ``(H, W, 3)`` uint8 RGB, of the table's height and width, by the library's own
        colour conversion; PyAV also gives codes, ``(H, W)`` uint16. Pixels of a row are adjacent,
        rows need not be. It is to be read only, and is valid until the next step of the iteration:
        copy it to keep it.

        Args:
            ranks: Positions in ``table.pts``, strictly ascending.

        Raises:
            MediaError: a picture cannot be decoded, is missing, or is not one of the table.
            ValueError: ranks that do not ascend or lie outside the table, or a closed decoder.

        Cost:
            Decodes from the keyframe that governs a rank up to it, and goes on from there for the
            next rank unless a whole GOP can be skipped; a later call goes on in the same way. PyAV
            leaves out pictures before the last rank that nothing needs (``spare_packets``).
        """
        wanted = [int(rank) for rank in ranks]
        is_ascending = all(a < b for a, b in itertools.pairwise(wanted))
        if not is_ascending or (wanted and not 0 <= wanted[0] <= wanted[-1] < len(self._table)):
            raise ValueError(
                f"ranks of {self._path.name}: expected ascending ones in [0, {len(self._table)}), "
                f"got {wanted[:10]} (at most 10 of {len(wanted)})"
            )
        every = frozenset(wanted)
        return ((rank, self._open_picture(rank, every, wanted[-1])) for rank in wanted)

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._is_closed = True

    def __enter__(self) -> Self:
        """Return the decoder itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def _open_picture(self, rank: int, wanted: frozenset[int], last: int) -> Picture:
        if self._is_closed:
            raise ValueError(f"decoder of {self._path.name} is closed")
        self._wanted, self._last_wanted = wanted, last
        return self._picture(rank)

    @abstractmethod
    def _picture(self, rank: int) -> Picture:
        """Return the picture of one rank, proven by its pts and of the table's size."""

    def _name(self, pts: int | None) -> str:
        """A picture as messages name it, by rank and pts."""
        rank = None if pts is None else self._table.rank_of(pts)
        return f"picture {rank} (pts {pts})"

    def _missing(self, rank: int, got: str) -> MediaError:
        return MediaError("picture missing", self._name(int(self._table.pts[rank])), got)

    def _check_size(self, name: str, width: int, height: int) -> None:
        expected = (self._table.width, self._table.height)
        if (width, height) != expected:
            raise MediaError(
                f"{name} has another size", "{}x{}".format(*expected), f"{width}x{height}"
            )


class SequentialDecoder(Decoder, Generic[F]):
    """A decoder whose library gives one picture after the other from a keyframe on.

    ``F`` is what the library gives for a decoded picture. Interleaved iterations are exact, but
    seek at each step.
    """

    def __init__(self, path: Path, table: FrameTable | None = None) -> None:
        """Takes the file, as ``Decoder`` does."""
        super().__init__(path, table)
        # The decode under way and the rank that it gave last; None: start at a keyframe.
        self._frames: Iterator[tuple[int, F]] | None = None
        self._rank = -1
        # What that decode was spared: ranks that it will not give, nor have given.
        self._spared: set[int] = set()

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._frames = None
        super().close()

    @abstractmethod
    def _decode_from(self, key: int) -> Iterator[tuple[int, F]]:
        """Yield ``(rank, frame)`` of the ``key``-th keyframe and of each picture shown after it."""

    @abstractmethod
    def _pixels(self, frame: F) -> Picture:
        """Return the pixels of a decoded picture, as ``pictures`` says."""

    def _picture(self, rank: int) -> Picture:
        frames = self._frames_before(rank)
        self._frames = None  # If the picture does not come, the next one needs a fresh start.
        for decoded, frame in frames:
            if decoded == rank:
                self._frames, self._rank = frames, rank
                return self._pixels(frame)
        raise self._missing(rank, "end of the stream")

    def _frames_before(self, wanted: int) -> Iterator[tuple[int, F]]:
        """Return a decode that has yet to give ``wanted``, the one under way if that costs no GOP.

        Going on into the next GOP decodes nothing that a start at its keyframe would skip, but the
        rest of the present one.
        """
        frames = self._frames if wanted not in self._spared else None
        if frames is not None and wanted == self._rank + 1:
            return frames
        key = self._table.governing_keyframe(wanted)
        if frames is not None and self._rank < wanted:
            present = self._table.governing_keyframe(self._rank)
            if key <= present + 1:
                return frames
        self._frames = None
        self._spared = set()
        return self._decode_from(key)


def rank_at(table: FrameTable, time_s: float, resolution_s: Fraction) -> int | None:
    """Return the rank of the picture whose time a library tells in seconds, None without one.

    Args:
        table: The file's frame table.
        time_s: What the library says: an integer number of ticks, as a float.
        resolution_s: How far that may be from ``pts * time_base``, for what was rounded away; no
            two pictures may be as near.
    """
    if not math.isfinite(time_s):
        return None
    ticks, tolerance = Fraction(time_s) / table.time_base, resolution_s / table.time_base
    first = int(np.searchsorted(table.pts, math.ceil(ticks - tolerance)))
    stop = int(np.searchsorted(table.pts, math.floor(ticks + tolerance), side="right"))
    return first if stop - first == 1 else None
