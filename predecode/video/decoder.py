"""What a decoder is to the rest of the program, and the choice of one.

A decoder hands out pictures by rank in the file's frame table; which library decodes them is known
only to the file that wraps it.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from predecode.errors import UserError
from predecode.video.packets import FrameTable
from predecode.video.pyav import PyavDecoder

__all__ = ["BACKENDS", "Decoder", "open_decoder"]


class Decoder(Protocol):
    """An open video file that decodes chosen pictures; a context manager that closes it."""

    @property
    def table(self) -> FrameTable:
        """The frame table whose ranks ``pictures`` takes."""
        ...

    def pictures(self, ranks: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield ``(rank, picture)`` for each rank, in order.

        A picture is ``(H, W, 3)`` uint8 RGB, of the table's height and width, read-only. Pixels of
        a row are adjacent, rows need not be. It is valid until the next step of the iteration:
        copy it to keep it.

        Args:
            ranks: Positions in ``table.pts``, strictly ascending.

        Raises:
            MediaError: a picture cannot be decoded, is missing, or is not one of the table.
            ValueError: ranks that do not ascend or lie outside the table, or a closed decoder.

        Cost:
            Decodes from the keyframe that governs a rank up to it, and goes on from there for the
            next rank unless a whole GOP can be skipped; a later call goes on in the same way.
        """
        ...

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        ...

    def __enter__(self) -> Self:
        """Return the decoder itself."""
        ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        ...


BACKENDS: dict[str, Callable[[Path, FrameTable | None], Decoder]] = {"pyav": PyavDecoder}
"""Decoders by the name that a setting gives."""


def open_decoder(path: Path, *, backend: str = "pyav", table: FrameTable | None = None) -> Decoder:
    """Open the video at ``path`` for decoding.

    Args:
        path: A local video file.
        backend: A name of ``BACKENDS``.
        table: The file's frame table if it is known; None reads it.

    Raises:
        UserError: ``backend`` is not known.
        MediaError: the file cannot be opened, or its table cannot be read.
    """
    if backend not in BACKENDS:
        known = ", ".join(sorted(BACKENDS))
        raise UserError(f"decoder {backend!r}: not known. Use one of: {known}.")
    return BACKENDS[backend](path, table)
