"""The decoders that the tests compare, and what they need."""

import functools
import os
import subprocess

import pytest

from predecode.video.backends import OpenDecoder, load_backend

__all__ = ["DEBIAN_PYTHON", "PYTHONS", "loaded", "require"]

DEBIAN_PYTHON = "/usr/bin/python3"
"""Has ``video_reader`` where Debian's ``python3-torchvision`` is installed."""
PYTHONS = {"video_reader": DEBIAN_PYTHON}


@functools.cache
def _debian_has_torchvision() -> bool:
    done = subprocess.run(
        [DEBIAN_PYTHON, "-c", "import torchvision"], check=False, capture_output=True
    )
    return done.returncode == 0


def require(backend: str) -> None:
    """Skips where a decoder is not installed, unless PREDECODE_REQUIRE_MEDIA forbids it."""
    if os.environ.get("PREDECODE_REQUIRE_MEDIA") or backend != "video_reader":
        return
    if not _debian_has_torchvision():
        pytest.skip("apt install python3-torchvision; PREDECODE_REQUIRE_MEDIA=1: a failure")


def loaded(backend: str) -> OpenDecoder:
    """What opens a file with a decoder."""
    require(backend)
    return load_backend(backend, PYTHONS)
