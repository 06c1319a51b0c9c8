"""One writer on one output: taken, refused, taken over, given back."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from predecode.lock import OutputLock
from train_shards.errors import UserError


def holder(out: Path, **fields: object) -> Path:
    """A lock file as another process would have left it."""
    path = out / ".predecode/lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    usual = {
        "host": platform.node(),
        "pid": 1,
        "process_start": "1",
        "since": "2025-01-02 03:04:05",
    }
    path.write_text(json.dumps({**usual, **fields}))
    return path


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lock_names_its_holder_and_is_given_back(tmp_path: Path) -> None:
    with OutputLock(tmp_path / "shards"):
        held = json.loads((tmp_path / "shards/.predecode/lock").read_text())
        assert (held["host"], held["pid"]) == (platform.node(), os.getpid())
        assert held["process_start"].isdigit()
    assert not (tmp_path / "shards/.predecode/lock").exists()


def test_an_error_gives_it_back_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="inside"), OutputLock(tmp_path):
        raise RuntimeError("inside")
    with OutputLock(tmp_path):
        pass


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with (
        OutputLock(tmp_path),
        pytest.raises(
            UserError,
            match=rf"another run writes here: host {platform.node()}, process {os.getpid()}, "
            r"since \d{4}-.*Wait for it, or, if it is dead, remove .*\.predecode/lock",
        ),
        OutputLock(tmp_path),
    ):
        pass
    assert not (tmp_path / ".predecode/lock").exists()


def test_a_refused_run_leaves_the_holder_s_lock(tmp_path: Path) -> None:
    with OutputLock(tmp_path):
        with pytest.raises(UserError, match="another run"), OutputLock(tmp_path):
            pass
        assert (tmp_path / ".predecode/lock").exists()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    path = holder(tmp_path, pid=dead_process())
    with OutputLock(tmp_path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_reused_process_number_does_not_hold_a_lock(tmp_path: Path) -> None:
    path = holder(tmp_path, pid=os.getpid(), process_start="1")
    with OutputLock(tmp_path):
        assert json.loads(path.read_text())["process_start"] != "1"


def test_a_killed_process_does_not_block_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from predecode.lock import OutputLock\n"
        "OutputLock(Path(sys.argv[1])).__enter__()\n"
        "os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert done.returncode == 9
    assert (tmp_path / ".predecode/lock").exists()
    with OutputLock(tmp_path):
        pass


def test_a_killed_process_whose_end_nobody_has_noticed_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from predecode.lock import OutputLock\n"
        "OutputLock(Path(sys.argv[1])).__enter__()\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UserError, match="another run writes here"), OutputLock(tmp_path):
            pass
        process.kill()
        process.stdout.read()  # it has ended, and nobody has asked how
        stat = Path(f"/proc/{process.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        with OutputLock(tmp_path):
            pass


def test_a_lock_of_another_host_cannot_be_judged(tmp_path: Path) -> None:
    path = holder(tmp_path, host="node-7", pid=dead_process())
    with (
        pytest.raises(
            UserError, match="host node-7, process .*, since 2025-01-02 03:04:05. .*remove"
        ) as caught,
        OutputLock(tmp_path),
    ):
        pass
    assert str(path) in str(caught.value)
    assert path.exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"{}", b'{"host": "x"}', b'{"host": "x", "pid": "y"}', bytes(80),
     b"\xff\xfe"],
    ids=["empty", "cut", "list", "null", "object", "no pid", "pid", "zeros", "no utf-8"],
)  # fmt: skip
def test_a_lock_without_a_holder_says_what_to_do(tmp_path: Path, data: bytes) -> None:
    path = holder(tmp_path)
    path.write_bytes(data)
    with (
        pytest.raises(
            UserError, match="a lock without a holder, .*If no other run writes here, remove this"
        ) as caught,
        OutputLock(tmp_path),
    ):
        pass
    assert str(path) in str(caught.value)
    assert path.exists()
