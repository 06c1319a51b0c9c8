"""A storage of a known speed, for ``benchmarks.slow``: files of this machine behind ``slow://``.

One line is shared by all processes that are forked after ``set_line``. Two models:

* an object store: answers to several requests may be on their way at once, each begins after a
  time, and the line carries so many bytes a second of all of them;
* a spinning disk: one request after the other, and each that does not begin where the one before
  ended first moves the head.
"""

import asyncio
import multiprocessing
import os
import time
import zlib
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
from fsspec.asyn import AsyncFileSystem

__all__ = ["DISK", "OBJECTS", "PROTOCOL", "Line", "set_line"]

PROTOCOL = "slow"
_PART_BYTES = 1 << 22
"""Of a whole file; others' requests come in between."""


class Line(NamedTuple):
    """What limits a storage."""

    wait_s: float
    """Before an answer begins, or of the head's way."""
    bytes_per_s: float
    has_head: bool
    """Whether it is a spinning disk."""


OBJECTS = Line(0.030, 25e6, has_head=False)
"""30 ms to the first byte, as public object stores answer; the line is slow, so that two cores can
use it up: 670 samples/s of 37 kB."""
DISK = Line(0.008, 150e6, has_head=True)
"""8 ms a seek and 150 MB/s: a 7,200 rpm disk."""

_free_s: "Synchronized[float]" = multiprocessing.Value("d", 0.0)
"""When the line is free, by the monotonic clock; its lock guards the head too."""
_head: "Synchronized[int]" = multiprocessing.Value("q", 0)
_lines: list[Line] = [OBJECTS]


def set_line(line: Line) -> None:
    """Has the storage be like this from now on, in this process and those forked from it."""
    _lines[:] = [line]
    _free_s.value, _head.value = 0.0, 0


class _SlowFiles(AsyncFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Local files over the line."""

    protocol = PROTOCOL
    cachable = False

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        own = Path(self._strip_protocol(path))
        first, stop = start or 0, min(end or own.stat().st_size, own.stat().st_size)
        end_s = _end_s(path, first, stop - first)
        with own.open("rb") as file:
            file.seek(first)
            data = file.read(stop - first)
        await asyncio.sleep(end_s - time.monotonic())
        return data

    async def _get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        with Path(self._strip_protocol(rpath)).open("rb") as file, Path(lpath).open("wb") as copy:
            num_bytes = os.fstat(file.fileno()).st_size
            for start in range(0, num_bytes, _PART_BYTES):
                end_s = _end_s(rpath, start, min(_PART_BYTES, num_bytes - start))
                copy.write(file.read(_PART_BYTES))
                await asyncio.sleep(end_s - time.monotonic())

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        own = Path(self._strip_protocol(path))
        kind = "directory" if own.is_dir() else "file"
        return {"name": path, "size": own.stat().st_size, "type": kind}


def _end_s(path: str, start: int, num_bytes: int) -> float:
    """Asks for bytes of a file; returns when the line will have brought them."""
    line, now_s = _lines[0], time.monotonic()
    with _free_s.get_lock():
        is_next = _head.value == _mark(path, start)
        _head.value = _mark(path, start + num_bytes)
        if line.has_head:
            begin_s = max(now_s, _free_s.value) + (0 if is_next else line.wait_s)
        else:
            begin_s = max(now_s + (0 if is_next else line.wait_s), _free_s.value)
        _free_s.value = end_s = begin_s + num_bytes / line.bytes_per_s
    return end_s


def _mark(path: str, position: int) -> int:
    """A file and a place in it as one number."""
    return zlib.crc32(path.encode()) << 31 ^ position


fsspec.register_implementation(PROTOCOL, _SlowFiles, clobber=True)
