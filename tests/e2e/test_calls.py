"""The tutorial, the page of the calls, and what the commands say: one output for all of it."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from predecode.cluster import Cluster, InProcess
from predecode.run_log import LOG_PATH
from tests.support.guide import blocks_of
from tests.support.jobs import command, fingerprint, run_here

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
SAID = """\
plan: 1449 images, about 7.3 MB
run: here/shards: 5 episodes, 483 samples, 1,449 images in 1 shards, 6.4 MB + 559.0 kB tables; complete
verify: proven
read: 483 items; head (64, 64, 3) uint8; Turn on the radio receiver that's on the table in the living room.
"""  # noqa: E501


@pytest.fixture(scope="module")
def place(rft_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tutorial has run on a sample that stood there already."""
    place = tmp_path_factory.mktemp("tutorial")
    (place / "here").mkdir()
    (place / "here/b1k").symlink_to(rft_root)
    (place / "data").mkdir()
    (place / "data/b1k").symlink_to(rft_root)
    done = subprocess.run(
        [sys.executable, str(DOCS / "examples/tutorial.py"), "here"],
        capture_output=True, text=True, check=False, cwd=place, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == SAID
    assert done.stderr == ""  # a call shows nothing
    return place


def test_the_tutorial_makes_what_the_job_makes(place: Path, rft_root: Path, tmp_path: Path) -> None:
    run_here(rft_root, tmp_path / "shards", size="64", shard_size=8192)
    made = fingerprint(tmp_path / "shards")
    assert len(made) > 15
    assert fingerprint(place / "here/shards") == made
    log = (place / "here/shards" / LOG_PATH).read_text()
    assert "begin: " in log
    assert log.rstrip().splitlines()[-1].split(maxsplit=2)[2].startswith("end: exit status 0, ")


@contextmanager
def here(*_: object, **__: object) -> Iterator[Cluster]:
    yield InProcess()


def test_the_pages_examples_run_as_they_stand(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr("predecode.api.work.RayCluster", here)
    (place / "shards").symlink_to("here/shards")
    (place / "run.toml").write_text((place / "here/run.toml").read_text())
    names: dict[str, object] = {}
    blocks = [block.text for block in blocks_of(DOCS / "api.md") if block.info == "python"]
    assert len(blocks) == 3
    for block in blocks:
        exec(block, names)
    said = capsys.readouterr()
    assert said.err == ""
    told, stored, report, refused, again = said.out.splitlines()
    assert re.fullmatch(r"1449 \d{7} True", told)
    assert stored == "True 483 []"
    assert report == "proven []"
    assert "made with other settings: --stride: the output has 1, asked for 2" in refused
    assert again == "64 0"


def test_a_command_by_file_quiet_verbose_and_as_json(place: Path, rft_root: Path) -> None:
    """A second output of one episode, stored by a settings file whose size a flag changes."""
    text = (place / "here/run.toml").read_text()
    (place / "one.toml").write_text(text + 'episodes = "00000010"\n')
    words = ("run", "--config", "one.toml", "--out", "one", "--size", "32", "--num-cpus", "1")
    done = command(*words, "--verbose", cwd=place)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^b1k-train-000000: 60 samples, .* s of CPU", done.stderr, re.MULTILINE)
    run_here(rft_root, place / "own", size="32", episodes="00000010", shard_size=8192)
    assert len(fingerprint(place / "own")) > 10
    assert fingerprint(place / "one") == fingerprint(place / "own")

    quiet = command(*words, "--quiet", cwd=place)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    told = command(*words, "--json", cwd=place)
    found = json.loads(told.stdout)
    assert (found["output"], found["complete"], found["quarantined"]) == ("one", True, [])
    assert (found["num_new_images"], found["totals"]["num_samples"]) == (0, 60)

    log = (place / "one" / LOG_PATH).read_text()
    begins = re.findall(r" begin: (.*)", log)
    assert begins == [
        f"predecode {' '.join(words)} {last}" for last in ("--verbose", "--quiet", "--json")
    ]
    assert len(re.findall(r" end: exit status 0, ", log)) == 3
    assert len(set(re.findall(r" settings ([0-9a-f]{16}): ", log))) == 1
    before = (place / "one" / LOG_PATH).read_bytes()
    verified = command("verify", "--out", "one", "--fast", "--json", cwd=place)
    assert json.loads(verified.stdout)["status"] == "proven"
    assert (place / "one" / LOG_PATH).read_bytes() == before
    refused = command(*words[:-4], "--stride", "3", "--quiet", cwd=place)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.match(r"error: --out \S+/one: made with other settings: .*\n$", refused.stderr)
    assert (place / "one" / LOG_PATH).read_bytes() == before


def test_what_is_wrong_is_said_quietly_too(place: Path) -> None:
    shard = next((place / "one/data/train").glob("*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1024] + b"\1" + whole[-1023:])
    done = command("verify", "one", "--fast", "--quiet", cwd=place)
    shard.write_bytes(whole)
    assert done.returncode == 1
    assert "b1k-train-000000.tar" in done.stdout
    assert done.stderr == ""


def on_a_terminal(*words: str | Path, cwd: Path, **variables: str) -> bytes:
    """All that a command writes where its standard output and error are a terminal."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(cwd)
        os.environ.update(variables)
        os.execv(sys.executable, [sys.executable, "-m", "predecode", *map(str, words)])
    said = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # how a terminal says that nobody is left
            break
        if not data:
            break
        said += data
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    return said


def test_elsewhere_there_are_lines_alone(place: Path) -> None:
    done = command("verify", "one", "--fast", cwd=place, TERM="xterm-256color")
    assert re.fullmatch(r"hashing: 3 of 3 files, [\d,.]+ files/s\n", done.stderr)
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("variables", "has_bar", "has_colour"),
    [
        ({"TERM": "xterm-256color"}, True, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_bars_and_colours_are_for_terminals(
    place: Path, variables: dict[str, str], has_bar: bool, has_colour: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    said = on_a_terminal("verify", "one", "--fast", cwd=place, **variables)
    assert b"one: proven: 1 shard, 60 samples, bytes only" in said
    assert ("━".encode() in said) == has_bar
    assert bool(re.search(rb"\x1b\[[\d;]*m", said)) == has_colour
