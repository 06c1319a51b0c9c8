"""The native resize: Pillow's pixels, no byte beyond the picture, and Pillow where it cannot be."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from predecode.images import resize_native
from predecode.images.resize import inner_size, resize_with_pad
from predecode.images.resize_native import native_state, resize_natively
from train_shards.node_cache import Cache

EDGES = st.integers(1, 96)
HAS_AVX2 = "avx2" in Path("/proc/cpuinfo").read_text()


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A process that has built nothing, with a cache of its own and no compiler on its path."""
    cache = Cache(tmp_path / "cache")
    monkeypatch.setattr(resize_native, "Cache", lambda: cache)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    resize_native._built.cache_clear()
    resize_native._THREAD.__dict__.clear()
    yield tmp_path / "bin"
    resize_native._built.cache_clear()
    resize_native._THREAD.__dict__.clear()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )


def is_native(source: tuple[int, int], size: tuple[int, int]) -> bool:
    inner = inner_size(source, size)
    return resize_native._proven(source, inner) is not None


def test_native_code_is_built_here() -> None:
    """Else the tests below would compare Pillow with itself; other processors have Pillow."""
    assert (native_state() == "native code, proven against Pillow") == HAS_AVX2


@pytest.mark.parametrize("source", [(720, 720), (480, 480), (360, 640), (1080, 1920), (240, 240)])
def test_the_sizes_of_real_cameras_are_pillow_s_and_native(source: tuple[int, int]) -> None:
    picture = noise(*source)
    picture[:40] = 255
    picture[40:80] = 0
    got = resize_natively(picture, (224, 224))
    inner_height = 224 * source[0] // source[1] if source[1] > source[0] else 224
    wanted = Image.fromarray(picture).resize((224, inner_height), Image.Resampling.BILINEAR)
    top = (224 - inner_height) // 2
    assert np.array_equal(got[top : top + inner_height], np.asarray(wanted))
    assert not got[:top].any()
    assert not got[top + inner_height :].any()
    assert is_native(source, (224, 224)) == HAS_AVX2


@given(EDGES, EDGES, EDGES, EDGES, st.integers(0, 7))
def test_any_size_is_pillow_s(height: int, width: int, h: int, w: int, padding: int) -> None:
    rows = noise(height, width + padding)
    picture = rows[:, :width]  # rows stand further apart than they are long, as libav has them
    assert np.array_equal(resize_natively(picture, (h, w)), resize_with_pad(picture, (h, w)))


@pytest.mark.parametrize(("height", "width"), [(33, 31), (16, 16), (5, 7), (48, 64)])
def test_nothing_before_or_behind_the_picture_is_touched(height: int, width: int) -> None:
    """The picture ends where readable memory ends; a read behind it would end the process."""
    code = f"""
import ctypes, mmap, numpy as np
from predecode.images.resize import resize_with_pad
from predecode.images.resize_native import resize_natively
size, page = {height * width * 3}, mmap.PAGESIZE
room = mmap.mmap(-1, -(-size // page) * page + page)
whole = np.frombuffer(room, np.uint8)
end = len(whole) - page
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mprotect(ctypes.c_void_p(whole.ctypes.data + end), page, 0) == 0
picture = whole[end - size : end].reshape({height}, {width}, 3)
picture[:] = np.random.default_rng(1).integers(0, 256, picture.shape, dtype=np.uint8)
assert np.array_equal(resize_natively(picture, (24, 24)), resize_with_pad(picture, (24, 24)))
import os; os._exit(7)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr


def test_other_layouts_go_to_pillow() -> None:
    picture = noise(30, 40)
    for view in (picture[:, ::2], picture.transpose(1, 0, 2), picture[:, :, ::-1]):
        assert np.array_equal(resize_natively(view, (20, 20)), resize_with_pad(view, (20, 20)))


def test_each_thread_has_its_own_scratch() -> None:
    from concurrent.futures import ThreadPoolExecutor

    pictures = [noise(120 + number, 160) for number in range(4)] * 8
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda picture: resize_natively(picture, (64, 64)), pictures))
    for picture, one in zip(pictures, got, strict=True):
        assert np.array_equal(one, resize_with_pad(picture, (64, 64)))


def test_a_result_that_is_not_pillow_s_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def off_by_one(function: Any, source: tuple[int, int], inner: tuple[int, int]) -> Any:
        real = make(function, source, inner)

        def resize(picture: np.ndarray, out: np.ndarray) -> None:
            real(picture, out)
            out[0, 0, 0] ^= 1

        return resize

    make = resize_native._resize
    monkeypatch.setattr(resize_native, "_resize", off_by_one)
    monkeypatch.setattr(resize_native, "_THREAD", type("Empty", (), {})())
    picture = noise(50, 50)
    assert np.array_equal(resize_natively(picture, (20, 20)), resize_with_pad(picture, (20, 20)))
    assert not is_native((50, 50), (20, 20))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "Pillow: no compiler, one of cc, gcc, clang"),
        ("#!/bin/sh\necho bad flag >&2\nexit 1\n", "fails: bad flag"),
        ('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho no library > "$2"\n', "Pillow: "),
    ],
)
def test_without_native_code_pillow_does_it(unbuilt: Path, script: str | None, said: str) -> None:
    if script is not None:
        (unbuilt / "cc").write_text(script)
        (unbuilt / "cc").chmod(0o755)
    assert said in native_state()
    assert native_state().startswith("Pillow: ")
    picture = noise(50, 50)
    assert np.array_equal(resize_natively(picture, (20, 20)), resize_with_pad(picture, (20, 20)))


def test_a_cache_that_cannot_be_written_is_said(
    unbuilt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = unbuilt / "file"
    file.write_text("")
    monkeypatch.setattr(resize_native, "Cache", lambda: Cache(file / "cache"))
    monkeypatch.setenv("PATH", os.defpath)
    assert native_state().startswith("Pillow: [Errno 20] Not a directory")
