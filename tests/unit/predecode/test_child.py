"""A disposable process: its answer, or how it died; limits that end it; nothing left behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from predecode.child import Died, Limits, run_child

LIMITS = Limits(hang_s=20, memory_bytes=500_000_000)


def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, limits: Limits = LIMITS
) -> tuple[bytes | Died, list[int]]:
    """Runs ``code`` as a module; returns how it ended and what it reported."""
    (tmp_path / "childs_code.py").write_text(
        "import os, signal, sys, time\ndef say(text):\n    print(text, flush=True)\n" + code
    )
    monkeypatch.syspath_prepend(tmp_path)
    numbers: list[int] = []
    return run_child("childs_code", b"the input", limits, numbers.append), numbers


def test_its_last_line_is_the_answer_and_numbers_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "say(3); say(0); say(4); say('{\"got\": \"' + sys.stdin.read() + '\"}')"
    answer, numbers = run(tmp_path, monkeypatch, code)
    assert answer == b'{"got": "the input"}'
    assert sum(numbers) == 7


def test_a_long_answer_comes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, _ = run(tmp_path, monkeypatch, "say('{' + 'x' * 300_000 + '}')")
    assert answer == b"{" + b"x" * 300_000 + b"}"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("os._exit(7)", "exit status 7"),
        ("os._exit(0)", "exit status 0"),
    ],
    ids=["segv", "abort", "kill", "exit 7", "exit 0"],
)
def test_a_death_has_a_reason_a_place_and_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    words = "say(5); sys.stderr.write('\\n'.join(['old'] * 30 + ['at 0x7f00ab', 'z' * 900, '']))\n"
    died, _ = run(tmp_path, monkeypatch, words + "sys.stderr.flush()\n" + code)
    assert isinstance(died, Died)
    assert (died.reason, died.num_done) == (reason, 5)
    assert len(died.stderr) == 20
    assert "z" * 200 in died.stderr
    assert "at 0x…" in died.stderr


def test_without_progress_it_is_ended_and_tells_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "def stuck():\n    time.sleep(60)\nsay(2)\nstuck()"
    died, _ = run(tmp_path, monkeypatch, code, Limits(hang_s=1))
    assert isinstance(died, Died)
    assert (died.reason, died.num_done) == ("hang", 2)
    assert any("in stuck" in line for line in died.stderr)


@pytest.mark.slow
def test_signs_of_life_keep_it_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "for _ in range(20):\n    say(0); time.sleep(0.2)\nsay('{}')"
    assert run(tmp_path, monkeypatch, code, Limits(hang_s=2))[0] == b"{}"


def test_beyond_its_memory_it_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "kept = [bytearray(b'x' * 300_000_000) for _ in range(2)]\ntime.sleep(60)"
    died, _ = run(tmp_path, monkeypatch, code)
    assert isinstance(died, Died)
    assert died.reason == "memory"


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "childs_code.py").write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from predecode.child import die_with_parent\n"
        "die_with_parent(int(sys.argv[1]))\n"
        f"Path({str(tmp_path / 'id')!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from predecode.child import Limits, run_child\n"
        "run_child('childs_code', b'', Limits(), print)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, tmp_path])
    while not (tmp_path / "id").exists() or not (tmp_path / "id").read_text():
        assert parent.poll() is None
        time.sleep(0.01)
    child = Path("/proc") / (tmp_path / "id").read_text()
    assert child.exists()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline_s = time.monotonic() + 20
    while child.exists() and "\nState:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
