"""The storage of a known speed: its bytes are the files', its times those of the model."""

import time
from pathlib import Path

import fsspec
import pytest

from benchmarks import slow_storage
from benchmarks.slow_storage import Line, set_line


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> object:
    """Asks at the moment 100 s; returns seconds from then."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    return lambda *asked: round(slow_storage._end_s(*asked) - 100, 6)


def test_answers_of_an_object_store_wait_side_by_side_and_share_the_line(ends: object) -> None:
    set_line(Line(0.5, 1000, has_head=False))
    assert callable(ends)
    assert ends("a", 0, 100) == 0.6
    assert ends("b", 0, 100) == 0.7  # its wait went on beside the first one's
    assert ends("b", 100, 100) == 0.8  # goes on where that ended
    assert ends("c", 0, 1000) == 1.8


def test_a_disk_s_head_moves_for_each_request_that_does_not_follow(ends: object) -> None:
    set_line(Line(0.5, 1000, has_head=True))
    assert callable(ends)
    assert ends("a", 0, 100) == 0.6
    assert ends("a", 100, 100) == 0.7
    assert ends("b", 0, 100) == 1.3
    assert ends("a", 200, 100) == 1.9


def test_files_come_as_they_are(tmp_path: Path) -> None:
    set_line(Line(0.0, 1e9, has_head=False))
    data = bytes(range(256)) * 40_000  # more than two parts
    (tmp_path / "a").write_bytes(data)
    files, root = fsspec.core.url_to_fs(f"slow://{tmp_path}")
    assert files.cat_file(f"{root}/a") == data
    assert files.cat_ranges([f"{root}/a"] * 2, [3, 255], [5, 258]) == [data[3:5], data[255:258]]
    files.get_file(f"{root}/a", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == data
