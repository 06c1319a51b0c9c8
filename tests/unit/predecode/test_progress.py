"""What the operator sees, line by line, with a clock of our own."""

import sys
import threading
from types import SimpleNamespace

import pytest

import predecode.progress
from predecode.display import format_bytes
from predecode.progress import JobProgress


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(predecode.progress, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_550_000, "1.6 MB"),
        (130_000_000_000, "130.0 GB"),
        (4_800_000_000_000, "4.8 TB"),
        (5_300_000_000_000_000, "5300.0 TB"),
    ],
)
def test_bytes_for_people(num_bytes: int, text: str) -> None:
    assert format_bytes(num_bytes) == text


def test_a_phase_ends_with_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with JobProgress() as progress:
        progress.phase("decoding", "frames", 2000, parts_per_step=2)
        clock.now_s += 4
        progress.advance(4000, 0)
        progress.advance(0, 5_000_000)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "decoding: 2,000 of 2,000 frames, 500.0 frames/s, 5.0 MB\n"


def test_a_line_comes_every_ten_seconds_with_the_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with JobProgress() as progress:
        progress.phase("decoding", "frames", 100)
        clock.now_s += 9
        progress.advance(9, 0)
        assert capsys.readouterr().err == ""
        clock.now_s += 1
        progress.advance(1, 0)
        line = "decoding: 10 of 100 frames, 1.0 frames/s, 90 s left\n"
        assert capsys.readouterr().err == line
        progress.advance(1, 0)
        assert capsys.readouterr().err == ""


def test_parts_of_a_step_count_when_all_are_there(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with JobProgress() as progress:
        progress.phase("decoding", "frames", 10, parts_per_step=3)
        clock.now_s += 10
        progress.advance(8, 0)
        assert capsys.readouterr().err.startswith("decoding: 2 of 10 frames")


def test_parts_told_twice_do_not_run_past_the_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with JobProgress() as progress:
        progress.phase("decoding", "frames", 10)
        clock.now_s += 2
        progress.advance(17, 0)
    assert capsys.readouterr().err == "decoding: 10 of 10 frames, 5.0 frames/s\n"


def test_a_new_phase_ends_the_one_before_and_counts_from_zero(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with JobProgress() as progress:
        progress.phase("checking the source", "episodes", 5)
        clock.now_s += 1
        progress.advance(5, 100)
        progress.phase("decoding", "frames", 4)
        clock.now_s += 1
        progress.advance(1, 0)
    assert capsys.readouterr().err.splitlines() == [
        "checking the source: 5 of 5 episodes, 5.0 episodes/s, 100 B",
        "decoding: 1 of 4 frames, 1.0 frames/s, 3 s left",
    ]


def test_a_phase_without_steps_says_nothing(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with JobProgress() as progress:
        progress.phase("decoding", "frames", 0)
        clock.now_s += 60
    assert capsys.readouterr().err == ""


def test_a_note_is_printed_as_it_is(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert clock.now_s == 1000
    text = "quarantined: episode 00000010, a [red]b[/red].mp4: " + "long " * 60 + "end"
    with JobProgress() as progress:
        progress.note(text)
    assert capsys.readouterr().err == text + "\n"


def test_a_terminal_gets_a_bar_that_stops(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    before = set(threading.enumerate())
    with JobProgress() as progress:
        progress.phase("decoding", "frames", 10)
        (painter,) = set(threading.enumerate()) - before
        progress.advance(5, 1000)
        progress.note("quarantined: one")
        progress.advance(5, 1000)
    painter.join(timeout=10)
    assert not painter.is_alive()
    shown = capsys.readouterr().err
    assert "quarantined: one" in shown
    assert "decoding: 10 of 10 frames" in shown
