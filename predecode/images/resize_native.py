"""The trainer's resize in native code, where it is Pillow's to the bit: four times as fast.

The C file beside this one is compiled on each node when it is first needed; nothing has to be there
at the install. It is used for a pair of sizes only after it has made of a picture of noise what
Pillow makes of it. Without a compiler, or on a processor without AVX2, Pillow does the work.
"""

import ctypes
import functools
import platform
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from predecode.images.resize import inner_size, pasted, resize_with_pad
from train_shards.node_cache import Cache

__all__ = ["native_state", "resize_natively"]

_SOURCE = Path(__file__).with_suffix(".c")
_FLAGS = ("-O3", "-shared", "-fPIC")
_COMPILERS = ("cc", "gcc", "clang")
_PATIENCE_S = 60
_PLACES = 22
"""Binary places of a weight. Source: Pillow, Resample.c, ``PRECISION_BITS``."""
_ROWS = 16
"""As in the C file."""
_MOST_PAIRS = 16
"""Kept at a time by a thread; a data set has one for each size of its cameras."""

_Picture = NDArray[np.uint8]
_Resize = Callable[[_Picture, _Picture], None]


class _Built(NamedTuple):
    """The compiled function, or why there is none."""

    function: Callable[..., None] | None
    about: str


def resize_natively(picture: _Picture, size: tuple[int, int] | None) -> _Picture:
    """Returns what ``resize_with_pad`` returns, by native code where that is proven.

    Cost: 0.8 ms from 720 pixels to 224, 0.4 ms from 480, in one thread; Pillow takes 3.1 and 1.7.
    The first call of a process for a pair of sizes also resizes a picture of noise in both ways.
    """
    if size is None or picture.shape[:2] == size:
        return resize_with_pad(picture, size)
    resize = _proven(picture.shape[:2], inner_size(picture.shape[:2], size))
    if resize is None or picture.strides[1:] != (3, 1):
        return resize_with_pad(picture, size)
    return pasted(functools.partial(resize, picture), picture.shape[:2], size)


def native_state() -> str:
    """Returns in words what resizes: the compiler of the native code, or why Pillow does it."""
    return _built().about


def _proven(source: tuple[int, ...], inner: tuple[int, int]) -> _Resize | None:
    """The native resize between two sizes for this thread; None where it is not Pillow's."""
    pairs = _THREAD.__dict__.setdefault("pairs", {})
    if (source, inner) not in pairs:
        if len(pairs) >= _MOST_PAIRS:
            pairs.clear()
        pairs[source, inner] = _prove(source, inner)
    found: _Resize | None = pairs[source, inner]
    return found


_THREAD = threading.local()
"""Each thread has its own scratch."""


def _prove(source: tuple[int, ...], inner: tuple[int, int]) -> _Resize | None:
    function = _built().function
    if function is None:
        return None
    resize = _resize(function, source, inner)
    noise = np.random.default_rng(0).integers(0, 256, (*source, 3), dtype=np.uint8)
    noise[: source[0] // 2] = np.where(noise[: source[0] // 2] < 128, 0, 255)  # the ends of levels
    got = np.empty((*inner, 3), np.uint8)
    resize(noise, got)
    # Pillow may take the rows first where that is less work; this code never does.
    return resize if np.array_equal(got, resize_with_pad(noise, inner)) else None


def _resize(
    function: Callable[..., None], source: tuple[int, ...], inner: tuple[int, int]
) -> _Resize:
    (height, width), (out_height, out_width) = source, inner
    x_starts, x_counts, x_weights = _weights(width, out_width)
    y_starts, y_counts, y_weights = _weights(height, out_height)
    in_row, row = (-(-3 * edge // _ROWS) * _ROWS for edge in (width, out_width))
    scratch = np.empty(_ROWS * (in_row + row) + (height + _ROWS - 1) * row, np.uint8)
    kept = x_starts, x_counts, x_weights, y_starts, y_counts, y_weights, scratch
    xs, xc, xw, ys, yc, yw, space = (array.ctypes.data for array in kept)

    def resize(picture: _Picture, out: _Picture, _kept: tuple[NDArray[Any], ...] = kept) -> None:
        function(
            picture.ctypes.data, picture.strides[0], width, height,
            out.ctypes.data, out.strides[0], out_width, out_height,
            xs, xc, xw, x_weights.shape[1], ys, yc, yw, y_weights.shape[1], space,
        )  # fmt: skip

    return resize


def _weights(
    num_from: int, num_to: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """``(num_to,)`` first pixels and their numbers, ``(num_to, taps)`` weights of 22 binary places.

    Source: Pillow, Resample.c, ``precompute_coeffs`` and ``normalize_coeffs_8bpc``, with the
    triangle of BILINEAR; sums go from left to right in double precision, as there.
    """
    scale = num_from / num_to
    support = max(scale, 1.0)
    starts, counts = np.zeros(num_to, np.int32), np.zeros(num_to, np.int32)
    weights = np.zeros((num_to, int(np.ceil(support)) * 2 + 1), np.int32)
    for place in range(num_to):
        center = (place + 0.5) * scale
        start = max(int(center - support + 0.5), 0)
        count = min(int(center + support + 0.5), num_from) - start
        shares = [
            max(1.0 - abs((pixel + start - center + 0.5) * (1.0 / support)), 0.0)
            for pixel in range(count)
        ]
        total = sum(shares)
        starts[place], counts[place] = start, count
        weights[place, :count] = [int(0.5 + share / total * (1 << _PLACES)) for share in shares]
    return starts, counts, weights


@functools.cache
def _built() -> _Built:
    """Compiles and loads, once a process; a node's cache keeps what was compiled."""
    source = _SOURCE.read_bytes()
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    name = xxhash.xxh3_128_hexdigest(source + repr((_FLAGS, platform.machine())).encode())
    library = Cache().folder.expanduser() / "native" / f"resize-{name}.so"
    try:
        if not library.exists():
            if compiler is None:
                return _Built(None, f"Pillow: no compiler, one of {', '.join(_COMPILERS)}")
            _compile(compiler, library)
        loaded = ctypes.CDLL(str(library))
        if not loaded.is_supported():
            return _Built(None, "Pillow: a processor without AVX2")
    except subprocess.CalledProcessError as error:
        said = next(iter(error.stderr.strip().splitlines()), f"status {error.returncode}")
        return _Built(None, f"Pillow: {compiler} fails: {said}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return _Built(None, f"Pillow: {error}")
    loaded.resize_rgb.restype = None
    loaded.resize_rgb.argtypes = _ARGUMENTS
    return _Built(loaded.resize_rgb, "native code, proven against Pillow")


_IMAGE = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_int32)
_PASS = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)
_ARGUMENTS = (*_IMAGE, *_IMAGE, *_PASS, *_PASS, ctypes.c_void_p)


def _compile(compiler: str, library: Path) -> None:
    """Writes a library under its name when it is whole; several processes may do so at a time."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        subprocess.run(
            [compiler, *_FLAGS, "-o", made, _SOURCE],
            check=True, capture_output=True, text=True, timeout=_PATIENCE_S,
        )  # fmt: skip
        made.replace(library)
