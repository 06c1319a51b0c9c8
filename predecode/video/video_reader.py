"""The decoder on torchvision's ``video_reader``, in a worker process under a Python that has it.

Few Pythons have it: the wheels on PyPI were built without it, and from torchvision 0.26 on the
class is gone. Debian's ``python3-torchvision`` has it. This file imports neither torch nor
torchvision.
"""

import contextlib
import functools
import itertools
import json
import math
import os
import subprocess
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predecode.errors import MediaError
from predecode.video.decoder import SequentialDecoder, rank_at
from predecode.video.packets import FrameTable

__all__ = ["CONVERSION", "VideoReaderDecoder", "WorkerError", "start_worker", "worker_versions"]

CONVERSION = (
    "torchvision's sws_scale with SWS_AREA, never told a matrix or a range: BT.601, full range in "
    "the formats yuvj… only"
)
"""Source: torchvision, ``csrc/io/decoder``: video_stream.cpp, video_sampler.cpp."""

RESOLUTION_S = Fraction(1, 10**6)
"""torchvision counts time in microseconds. Source: its ``video.cpp``, pts times 1e-6."""

MAX_SEEKS = 4
"""Seeks tried before the file is read from its start."""

WIDTH_STEP_PX = 16
"""Other widths are refused: torchvision 0.14.1 then writes beyond the picture's memory (168, 170,
184, 200 pixels), which ends the worker at best, or leaves the last columns empty."""

STOP_TIMEOUT_S = 5
_NO_HANDLE = -1
_WORKER = Path(__file__).with_name("video_reader_worker.py")


class WorkerError(Exception):
    """A worker that cannot start, or has ended; ``args`` is ``(message,)``."""


class _RefusedError(Exception):
    """What the worker's library says against a request; the worker goes on."""


class Worker:
    """A process of another Python that holds open videos, for all decoders of this process."""

    def __init__(self, python: str) -> None:
        """Starts it.

        Raises:
            WorkerError: no such interpreter, or it has no ``video_reader``.
        """
        self._numbers = itertools.count()
        self._process_id = os.getpid()
        # -I: neither this file's folder nor our own environment is on its path. torchvision logs
        # each seek and more, unless told not to.
        try:
            self._process = subprocess.Popen(
                [python, "-I", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "GLOG_minloglevel": "3"},
            )
        except OSError as error:
            raise WorkerError(f"{python}: {error.strerror}") from error
        self._stop = weakref.finalize(self, _stop, self._process)
        try:
            self._read()
        except _RefusedError as error:
            self._stop()
            raise WorkerError(f"{python}: {error}") from error

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked, which no process but its parent may."""
        return self._process_id == os.getpid() and self._process.poll() is None

    def new_handle(self) -> int:
        """Returns a number for an open file."""
        return next(self._numbers)

    def ask(self, do: str, handle: int, **arguments: Any) -> tuple[dict[str, Any], bytes]:
        """Returns the answer to one request, and pixels.

        Raises:
            _RefusedError: the library cannot do it.
            WorkerError: the worker has ended.
        """
        line = json.dumps({"do": do, "handle": handle, **arguments}).encode() + b"\n"
        pipe = self._process.stdin
        if pipe is None or not self.is_alive:
            raise WorkerError(f"the worker has ended with status {self._process.returncode}")
        try:
            pipe.write(line)
            pipe.flush()
        except OSError as error:
            raise WorkerError(f"the worker has ended: {error.strerror}") from error
        return self._read()

    def _read(self) -> tuple[dict[str, Any], bytes]:
        pipe = self._process.stdout
        line = b"" if pipe is None else pipe.readline()
        if pipe is None or not line.endswith(b"\n"):
            self._stop()
            status = self._process.returncode
            raise WorkerError(f"the worker ended with status {status} (negative: a signal)")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise _RefusedError(answer["error"])
        return answer, pipe.read(answer["num_bytes"])


@functools.cache
def _worker_of(python: str, process_id: int) -> list[Worker]:  # noqa: ARG001 - a fork has its own
    """A place for the worker of one interpreter in one process."""
    return []


def start_worker(python: str) -> Worker:
    """Returns this process's worker under an interpreter, started where it is not alive.

    Raises:
        WorkerError: as ``Worker``.

    Cost: about 1.5 s the first time.
    """
    place = _worker_of(python, os.getpid())
    if not place or not place[0].is_alive:
        place[:] = [Worker(python)]
    return place[0]


def worker_versions(python: str) -> dict[str, str]:
    """Returns the versions of an interpreter and of what decodes in it.

    Raises:
        WorkerError: as ``start_worker``.
    """
    answer, _ = start_worker(python).ask("versions", _NO_HANDLE)
    versions: dict[str, str] = answer["versions"]
    return versions


class VideoReaderDecoder(SequentialDecoder[int]):
    """A ``Decoder`` on ``video_reader``; damage that FFmpeg conceals goes unnoticed.

    Its conversion to RGB takes every video for BT.601, whatever the file says; see ``CONVERSION``.
    """

    backend = "video_reader"

    def __init__(self, python: str, path: Path, table: FrameTable | None = None) -> None:
        """Opens the file in this process's worker, as ``Decoder`` says.

        Args:
            python: The interpreter that has ``video_reader``.
            path: A local video file.
            table: The file's frame table if it is known; None reads it.

        Raises:
            MediaError: as ``Decoder``, or a width that the library cannot decode.
            WorkerError: the worker cannot start.
        """
        super().__init__(path, table)
        if self._table.width % WIDTH_STEP_PX:
            raise MediaError(
                "video_reader cannot decode this width safely",
                f"a multiple of {WIDTH_STEP_PX} pixels",
                str(self._table.width),
            )
        self._worker = start_worker(python)
        self._handle = self._worker.new_handle()
        self._open()

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        if not self._is_closed and self._worker.is_alive:
            with contextlib.suppress(WorkerError):
                self._worker.ask("close", self._handle)
        super().close()

    def _open(self) -> None:
        """Open the file, in place of an open one, and stand at its start."""
        self._ask("open", path=str(self._path.absolute()), stream_index=self._table.stream_index)
        self._is_at_start = True

    def _decode_from(self, key: int) -> Iterator[tuple[int, int]]:
        """Yield ``(rank, rank)``; the worker holds the picture.

        Leading pictures of the keyframe, and what comes before it where a seek lands early, are
        dropped. FFmpeg 5.1 loses the very last picture of an H.264 file with open GOPs after a seek
        to its last keyframe; after a seek to the one before, it comes.
        """
        expected = int(self._table.keyframe_ranks[key])
        for first in (key, max(key - 1, 0)):
            for rank in self._ranks_from(first):
                if rank < expected:
                    continue
                if rank != expected:
                    raise self._missing(expected, self._name(int(self._table.pts[rank])))
                yield rank, rank
                expected += 1
            if expected == len(self._table):
                return

    def _ranks_from(self, key: int) -> Iterator[int]:
        """Return the ranks of all pictures from keyframe ``key`` on, or from an earlier one on.

        Seeks prove nothing: FFmpeg searches mp4 files by dts, and may land after the time asked
        for. The time of the first picture says where.
        """
        start = int(self._table.keyframe_ranks[key])
        if key > 0 or not self._is_at_start:
            self._is_at_start = False
            earlier = self._table.keyframe_ranks[: key + 1][::-1][:MAX_SEEKS]
            for rank in earlier.tolist():
                ticks = int(self._table.pts[rank])
                # Up to the next microsecond, lest it be taken for the time before the keyframe.
                time_s = math.ceil(ticks * self._table.time_base * 10**6) / 10**6
                try:
                    self._ask("seek", time_s=time_s)
                except MediaError:
                    continue
                first = self._next()
                if first is not None and first <= start:
                    return itertools.chain([first], iter(self._next, None))
            self._open()
        self._is_at_start = False
        return iter(self._next, None)

    def _next(self) -> int | None:
        """The rank of the next decoded picture; None at the end."""
        answer, _ = self._ask("next")
        time_s = answer["time_s"]
        if time_s is None:
            return None
        rank = rank_at(self._table, time_s, RESOLUTION_S)
        if rank is None:
            raise MediaError(
                "picture is not in the frame table", "a time of the table", f"{time_s} s"
            )
        return rank

    def _pixels(self, frame: int) -> NDArray[np.uint8]:
        answer, pixels = self._ask("pixels")
        height, width = answer["height"], answer["width"]
        self._check_size(self._name(int(self._table.pts[frame])), width, height)
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)

    def _ask(self, do: str, **arguments: Any) -> tuple[dict[str, Any], bytes]:
        try:
            return self._worker.ask(do, self._handle, **arguments)
        except (_RefusedError, WorkerError) as error:
            raise MediaError(f"video_reader fails to {do}", "a picture", str(error)) from error


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends a worker, which goes when its pipe is closed; in a fork nothing but copies are."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
