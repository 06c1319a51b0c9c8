"""The node's cache: bound, order of removal, one download, and what a killed process leaves."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from train_shards.errors import UserError
from train_shards.node_cache import Cache, NodeCache, NoRoomError


def filled(data: bytes) -> Callable[[Path], None]:
    def fill(path: Path) -> None:
        path.write_bytes(data)

    return fill


def refused(path: Path) -> None:
    raise AssertionError(f"{path} was downloaded again")


def names(cache: NodeCache) -> list[str]:
    return sorted(path.name for path in (cache.folder / "files").iterdir())


def put(cache: NodeCache, name: str, num_bytes: int) -> None:
    os.close(cache.hold(name, num_bytes, filled(b"x" * num_bytes)))


@pytest.fixture
def cache(tmp_path: Path) -> NodeCache:
    return NodeCache(Cache(tmp_path / "cache", 100))


def test_a_file_is_downloaded_once_and_found_again(cache: NodeCache) -> None:
    descriptor = cache.hold("a", 5, filled(b"apple"))
    assert os.pread(descriptor, 9, 0) == b"apple"
    assert cache.path("a").read_bytes() == b"apple"
    again = NodeCache(Cache(cache.folder, 100)).hold("a", 5, refused)
    assert os.pread(again, 9, 0) == b"apple"
    os.close(descriptor)
    os.close(again)


def test_what_was_used_longest_ago_goes_first(cache: NodeCache) -> None:
    for name in ("a", "b", "c"):
        put(cache, name, 30)
        time.sleep(0.01)
    os.close(cache.hold("a", 30, refused))  # used again
    put(cache, "d", 30)
    assert names(cache) == ["a", "c", "d"]
    put(cache, "e", 70)
    assert names(cache) == ["d", "e"]
    put(cache, "f", 100)
    assert names(cache) == ["f"]


def test_a_held_file_stays(cache: NodeCache) -> None:
    held = cache.hold("a", 60, filled(b"x" * 60))
    put(cache, "b", 40)
    put(cache, "c", 40)
    assert names(cache) == ["a", "c"]
    with pytest.raises(NoRoomError, match=r"50 bytes do not fit beside 60 in use.*bound is 100"):
        cache.hold("d", 50, filled(b"x" * 50))
    os.close(held)
    put(cache, "d", 50)
    assert names(cache) == ["d"]


def test_a_failed_download_leaves_nothing(cache: NodeCache) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        cache.hold("a", 5, fail)
    assert names(cache) == []
    assert list((cache.folder / "unfinished").iterdir()) == []
    put(cache, "a", 5)


def _hold_and_count(folder: Path, log: Path) -> None:
    def fill(path: Path) -> None:
        with log.open("a") as file:
            file.write("x")
        time.sleep(0.2)
        path.write_bytes(b"apple")

    assert os.pread(NodeCache(Cache(folder, 100)).hold("a", 5, fill), 9, 0) == b"apple"


def test_processes_that_ask_together_download_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    processes = [
        fork.Process(target=_hold_and_count, args=(tmp_path / "cache", log)) for _ in range(6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    assert log.read_text() == "x"


KILLED = """
import os, signal, sys
from pathlib import Path
from train_shards.node_cache import Cache, NodeCache
def fill(path):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
NodeCache(Cache(Path(sys.argv[1]), 100)).hold("a", 70, fill)
"""


def test_what_a_killed_download_left_is_removed(cache: NodeCache) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(cache.folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((cache.folder / "unfinished").iterdir())) == 1
    put(cache, "b", 80)  # fits only without the 70 of the dead one
    assert names(cache) == ["b"]
    assert list((cache.folder / "unfinished").iterdir()) == []


def test_a_download_counts_before_its_bytes_are_there(cache: NodeCache) -> None:
    def fill(path: Path) -> None:
        with pytest.raises(NoRoomError, match="40 bytes do not fit beside 70 in use"):
            NodeCache(Cache(cache.folder, 100)).hold("b", 40, refused)
        path.write_bytes(b"x" * 70)

    os.close(cache.hold("a", 70, fill))
    assert names(cache) == ["a"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cache cannot be made: .*cache=Cache"):
        NodeCache(Cache(tmp_path / "file" / "cache", 100)).hold("a", 5, refused)
