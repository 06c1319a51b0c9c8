"""Debian's Chromium without a window: what a page becomes in a browser."""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

__all__ = ["dumped_dom", "require_chromium", "screenshot"]

_CHROMIUM = "/usr/bin/chromium"
_OPTIONS = (
    # A root has no sandbox of its own, and the page is ours.
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"),
)
_TIMEOUT_S = 120


def require_chromium() -> None:
    """Skips where Chromium is not installed, unless PREDECODE_REQUIRE_MEDIA forbids it."""
    if not os.environ.get("PREDECODE_REQUIRE_MEDIA") and not Path(_CHROMIUM).exists():
        pytest.skip("apt install chromium fonts-dejavu-core; PREDECODE_REQUIRE_MEDIA=1: a failure")


def dumped_dom(page: Path) -> str:
    """Returns the page as the browser understands it, written as HTML again."""
    return _chromium(page, "--dump-dom")


def screenshot(page: Path, width_px: int, height_px: int, *, dark: bool) -> NDArray[np.uint8]:
    """Returns the page's first ``height_px`` rows as ``(height, width, 3)`` uint8 RGB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "page.png")
        options = [f"--window-size={width_px},{height_px}", f"--screenshot={path}"]
        _chromium(page, *options, *(["--force-dark-mode"] if dark else []))
        return np.asarray(Image.open(path).convert("RGB"))


def _chromium(page: Path, *options: str) -> str:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [_CHROMIUM, *_OPTIONS, f"--user-data-dir={profile}", *options, page.as_uri()],
            capture_output=True, text=True, check=False, timeout=_TIMEOUT_S,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
