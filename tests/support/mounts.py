"""Small disks in memory, for tests of what disks do to a run; needs root, as CI has."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs for the time of a ``with`` block.

    Skips where mounting is not allowed, unless PREDECODE_REQUIRE_MEDIA forbids it.
    """
    folder.mkdir()
    done = _mount("-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    if done.returncode and not os.environ.get("PREDECODE_REQUIRE_MEDIA"):
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    try:
        yield folder
    finally:
        if os.path.ismount(folder):  # a test may have taken it away
            unmount(folder)


def remount(folder: Path, options: str) -> None:
    done = _mount("-o", f"remount,{options}", str(folder))
    assert done.returncode == 0, done.stderr


def unmount(folder: Path) -> None:
    """As a server that goes away: open files stay with their processes, the folder is empty."""
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
