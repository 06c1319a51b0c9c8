"""Decoders that stay open from one episode to the next of the same file."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from predecode.video.backends import OpenDecoder, open_in_format
from predecode.video.decoder import RGB, Decoder
from predecode.video.packets import FrameTable

__all__ = ["KeptOpen"]


class KeptOpen:
    """Opens videos as a decoder's class does, but closes only those used longest ago.

    A context manager that closes them all. Not for several threads.
    """

    def __init__(self, open_video: OpenDecoder, num_open: int) -> None:
        """Opens nothing yet.

        Args:
            open_video: what opens a file.
            num_open: most files that stay open.
        """
        self._open_video, self._num_open = open_video, num_open
        self._decoders: OrderedDict[tuple[Path, int, str, str], Decoder] = OrderedDict()

    @contextmanager
    def __call__(self, path: Path, table: FrameTable, pixel_format: str = RGB) -> Iterator[Decoder]:
        """Hands out the file's decoder; it stays open unless the block ends by an exception.

        Raises:
            MediaError: as the decoder's class.
        """
        # Another table is another file.
        key = (path, table.stream_index, table.digest, pixel_format)
        decoder = self._decoders.pop(key, None)
        if decoder is None:
            decoder = open_in_format(self._open_video, path, table, pixel_format)
        is_whole = False
        try:
            yield decoder
            is_whole = True
        finally:
            if not is_whole:
                decoder.close()
        self._decoders[key] = decoder
        if len(self._decoders) > self._num_open:
            self._decoders.popitem(last=False)[1].close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes every file."""
        for decoder in self._decoders.values():
            decoder.close()
        self._decoders.clear()
