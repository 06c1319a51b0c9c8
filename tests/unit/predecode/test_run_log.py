"""What stands in an output's log, and when nothing does."""

import re
from pathlib import Path

import pytest

from predecode.display import CHECKING, Ended
from predecode.errors import EpisodeFault, InfraError, UserError
from predecode.run_log import LOG_PATH, RunLog
from predecode.stages import Spent
from tests.support.jobs import Silent
from tests.unit.predecode.test_config import settings

SETTINGS = settings()
FAULT = EpisodeFault(
    episode_index=490010, path="alice.mp4", problem="cut", expected="9 bytes", got="8"
)


def lines(out: Path) -> list[str]:
    """Without time, host and process, which each line begins with."""
    read = (out / LOG_PATH).read_text().splitlines()
    matches = [
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [\w.-]+:\d+ (.*)", line) for line in read
    ]
    assert all(matches)
    return [match[1] for match in matches if match]


def test_a_call_from_begin_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/predecode", "run", "--out", "my shards"])
    shown = Silent()
    for status in (0, 1):
        with RunLog(shown, tmp_path, SETTINGS) as log:
            log.note("left out: a\ncamera\x1b[2J")
            assert (tmp_path / LOG_PATH).exists() == bool(status)
            log.phase("decoding", "frames", 1234)
            log.quarantined(FAULT)
            log.advance(3, 0)
            log.ended(Ended(Spent(), 1, frozenset()))
            log.result("shards: 5 episodes", status)
    one = lines(tmp_path)[:8]
    assert one[0] == "begin: predecode run --out 'my shards'"
    assert re.search(r"^versions: .*av \d.*numpy \d", one[1])
    assert re.match(r'settings [0-9a-f]{16}: \{"cameras":\{.*"size":"224x224"', one[2])
    assert one[3:7] == [
        "left out: a?camera?[2J",
        "decoding: 1,234 frames",
        "quarantined: episode 00490010, see quarantine.jsonl",
        "shards: 5 episodes",
    ]
    assert re.fullmatch(r"end: exit status 0, 0\.\d s", one[7])
    assert lines(tmp_path)[8:15] == one[:7]
    assert lines(tmp_path)[15].startswith("end: exit status 1, ")
    assert (shown.notes[2], shown.parts, len(shown.tasks)) == (f"quarantined: {FAULT}", 6, 2)
    # What an episode's files are called goes with the episode.
    assert "alice" not in (tmp_path / LOG_PATH).read_text()


def end_with(error: BaseException, out: Path, *, is_begun: bool) -> None:
    with RunLog(Silent(), out, SETTINGS) as log:
        log.note("one")
        log.phase(CHECKING, "episodes", 1)
        if is_begun:
            log.phase("decoding", "frames", 1)
        raise error


@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        (InfraError("the disk is full"), "error: the disk is full", 3),
        (UserError("no episode"), "error: no episode", 2),
        (KeyboardInterrupt(), "error: KeyboardInterrupt", 130),
        (ZeroDivisionError("x"), "error: x", 3),
    ],
)
def test_an_error_ends_the_log_with_its_status(
    tmp_path: Path, error: BaseException, said: str, status: int
) -> None:
    with pytest.raises(type(error)):
        end_with(error, tmp_path, is_begun=True)
    assert lines(tmp_path)[-2] == said
    assert lines(tmp_path)[-1].startswith(f"end: exit status {status}, ")


def test_a_call_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        end_with(UserError("locked"), tmp_path, is_begun=False)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / ".predecode/log").mkdir(parents=True)
    with (
        pytest.raises(InfraError, match="Is a directory"),
        RunLog(Silent(), tmp_path, SETTINGS) as log,
    ):
        log.result("shards", 0)
