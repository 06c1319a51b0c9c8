"""The choice of a decoder for reading on line: which library, and under which Python.

A library is loaded when it is chosen, so that PyAV needs no torch. The job asks nobody: what it
stores is PyAV's.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

from predecode.errors import UserError
from predecode.video import pyav, video_reader
from predecode.video.decoder import RGB, Decoder
from predecode.video.image_column import ImageColumnDecoder, ImageTable
from predecode.video.packets import FrameTable
from predecode.video.probe import library_versions
from predecode.video.pyav import PyavDecoder
from predecode.video.video_reader import VideoReaderDecoder, WorkerError, start_worker

__all__ = [
    "BACKENDS",
    "STORING_BACKEND",
    "OpenDecoder",
    "backend_versions",
    "choose_backend",
    "choose_backends",
    "load_backend",
    "open_in_format",
    "parse_backend_python",
]

STORING_BACKEND = "pyav"
"""What the job stores is decoded by it."""
BACKENDS = ("pyav", "torchcodec", "video_reader")
VARIABLE = "B1K_VIDEO_BACKEND"
_REMOTE = "video_reader"

OpenDecoder: TypeAlias = Callable[[Path, FrameTable | None], Decoder]
"""Opens a local video file; None reads its frame table."""

_HELP_TORCHCODEC = (
    "It needs torch, a release of torchcodec that fits it (0.13 goes with torch 2.13), and "
    "FFmpeg's shared libraries (Debian: apt install ffmpeg): pip install 'predecode[torchcodec]'."
)
_HELP_VIDEO_READER = (
    "PyPI's wheels of torchvision do not contain video_reader, and from 0.26 on its class is gone. "
    "Debian's package has it: apt install python3-torchvision, then "
    "--backend-python video_reader=/usr/bin/python3 "
    "(in Python: backend_python={'video_reader': '/usr/bin/python3'})."
)


def choose_backend(name: str | None = None) -> str:
    """Returns the decoder to use: ``name``, else ``$B1K_VIDEO_BACKEND``, else ``pyav``.

    Raises:
        UserError: not one of ``BACKENDS``.
    """
    asked = os.environ.get(VARIABLE) if name is None else name
    chosen = asked or STORING_BACKEND
    if chosen not in BACKENDS:
        origin = f" (${VARIABLE})" if name is None else ""
        raise UserError(
            f"decoder {chosen!r}{origin}: not known. Use one of: {', '.join(BACKENDS)}."
        )
    return chosen


def choose_backends(names: str | None = None) -> tuple[str, ...]:
    """Returns the decoders in a comma-separated list, none twice; as ``choose_backend`` for None.

    Raises:
        UserError: one of them is not known.

    >>> choose_backends("torchcodec,pyav,torchcodec")
    ('torchcodec', 'pyav')
    """
    if names is None:
        return (choose_backend(),)
    return tuple(dict.fromkeys(choose_backend(name.strip()) for name in names.split(",")))


def parse_backend_python(words: Iterable[str]) -> dict[str, str]:
    """Returns interpreters by decoder, from words ``<decoder>=<python>``.

    Raises:
        UserError: another form, or a decoder that runs under no other Python.

    >>> parse_backend_python(["video_reader=/usr/bin/python3"])
    {'video_reader': '/usr/bin/python3'}
    """
    pythons = {}
    for word in words:
        name, _, python = word.partition("=")
        if not python:
            raise UserError(f"--backend-python {word}: expected {_REMOTE}=<path of a python>.")
        pythons[name] = python
    _check_pythons(pythons)
    return pythons


def load_backend(name: str, pythons: Mapping[str, str] | None = None) -> OpenDecoder:
    """Returns what opens a file with a decoder, which is loaded now.

    A column of pictures, by its table, is opened with Pillow whatever the decoder.

    Args:
        name: one of ``BACKENDS``.
        pythons: ``video_reader`` -> the interpreter that has it; without one, this one.

    Raises:
        UserError: the decoder is not known or cannot be loaded; the message says why and what
            would help.
    """
    pythons = pythons or {}
    _check_pythons(pythons)
    name = choose_backend(name)
    try:
        if name == "torchcodec":
            from predecode.video.torchcodec import TorchcodecDecoder

            return partial(_open_file, TorchcodecDecoder)
        if name == "video_reader":
            python = pythons.get(name, sys.executable)
            start_worker(python)
            return partial(_open_file, partial(VideoReaderDecoder, python))
    except (ImportError, RuntimeError, OSError, WorkerError) as error:
        # torchcodec tells at length of each FFmpeg that it tried: the first line is enough.
        reason = str(error).strip().split("\n", 1)[0].rstrip(".")
        advice = _HELP_TORCHCODEC if name == "torchcodec" else _HELP_VIDEO_READER
        raise UserError(f"decoder {name!r}: cannot be loaded: {reason}. {advice}") from error
    return partial(_open_file, PyavDecoder)


def _open_file(open_video: OpenDecoder, path: Path, table: FrameTable | None) -> Decoder:
    if isinstance(table, ImageTable):
        return ImageColumnDecoder(path, table)
    return open_video(path, table)


def open_in_format(
    open_video: OpenDecoder, path: Path, table: FrameTable, pixel_format: str
) -> Decoder:
    """Returns an open video: by the decoder asked for, or by PyAV where codes are wanted.

    Of the three PyAV alone gives integer codes; BEHAVIOR-1K's own readers take it for depth, too.

    Raises:
        MediaError: as the decoder's class.
    """
    if pixel_format == RGB:
        return open_video(path, table)
    return PyavDecoder(path, table, pixel_format)


def backend_versions(
    name: str, pythons: Mapping[str, str] | None = None
) -> tuple[dict[str, str], str]:
    """Returns the versions of what decodes in a backend, and its conversion to RGB in words.

    Raises:
        UserError: as ``load_backend``.
    """
    load_backend(name, pythons)
    if name == "torchcodec":
        from predecode.video import torchcodec

        return torchcodec.torchcodec_versions(), torchcodec.CONVERSION
    if name == "video_reader":
        python = (pythons or {}).get(name, sys.executable)
        return video_reader.worker_versions(python), video_reader.CONVERSION
    return library_versions(), pyav.CONVERSION


def _check_pythons(pythons: Mapping[str, str]) -> None:
    strangers = sorted(set(pythons) - {_REMOTE})
    if strangers:
        raise UserError(
            f"backend_python {strangers[0]!r}: only {_REMOTE} runs under another Python."
        )
