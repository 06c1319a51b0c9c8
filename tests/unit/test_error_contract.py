"""Every error class of both packages crosses a process border as it is; each has its status."""

import importlib
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from predecode import cli
from predecode.cluster import RayCluster
from predecode.errors import DataError, Death, EpisodeError, EpisodeFault, InfraError, UserError
from train_shards.errors import EXIT_STATUS, StorageError

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
NEEDS_ANOTHER_PYTHON = {"predecode.video.video_reader_worker", "predecode.__main__"}
NOTE = "seen on node 7"
CAUSE = "the disk said no"

FAULT = EpisodeFault(
    episode_index=10041, path="videos/a.mp4", problem="cut", expected="9 bytes", got="8",
    camera="head",
    death=Death(reason="hang", task="t", stderr=["x"], decoder={"backend": "pyav"}, others={}),
)  # fmt: skip
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "EpisodeError": (FAULT,), "MediaError": ("stream is empty", "a packet", 0),
    "ColumnError": ("column 'x'", "numbers", "a list"),
}  # fmt: skip
"""Of those that take more than a message."""


def own_errors() -> Iterator[type[BaseException]]:
    """Every exception class that a module of either package defines, private ones too."""
    for package in ("predecode", "train_shards"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            if "Error" not in path.read_text() or name in NEEDS_ANOTHER_PYTHON:
                continue
            for value in vars(importlib.import_module(name)).values():
                if (
                    isinstance(value, type)
                    and issubclass(value, BaseException)
                    and value.__module__ == name
                ):
                    yield value


ERRORS = list(own_errors())


def made(kind: type[BaseException]) -> BaseException:
    return kind(*ARGUMENTS.get(kind.__name__, ("a.tar: what, and what to do",)))


def raise_it(kind: type[BaseException]) -> None:
    """Raises an error that came of another one, and has a note."""
    try:
        raise OSError(CAUSE)
    except OSError as error:
        mine = made(kind)
        mine.add_note(NOTE)
        raise mine from error


def task(kind: type[BaseException], _: object) -> None:
    raise_it(kind)


def expected_status(kind: type[BaseException]) -> int:
    """Source: docs/reliability.md, exit status."""
    return 2 if issubclass(kind, (UserError, DataError)) else 3


def status_of(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """How the command line ends where a command raises this."""

    def command(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", command)
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_classes_are_found_by_themselves() -> None:
    names = {kind.__name__ for kind in ERRORS}
    assert {"UserError", "DataError", "StorageError", "EpisodeError", "MediaError"} <= names
    assert {"InfraError", "ExhaustedError", "ColumnError", "WorkerError", "NoRoomError"} <= names
    assert len(ERRORS) == len(set(ERRORS)) >= 12


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind: type[BaseException]) -> None:
    with pytest.raises(kind) as caught:
        raise_it(kind)
    error = caught.value
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))
        assert type(copy) is kind
        assert copy.args == error.args
        assert str(copy) == str(error) == str(made(kind))
        assert copy.__notes__ == [NOTE]
        again = pickle.loads(pickle.dumps(copy))
        assert (again.args, str(again)) == (error.args, str(error))


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_ends_the_command_line_with_its_status(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = made(kind)
    assert status_of(error, monkeypatch) == expected_status(kind)
    said = capsys.readouterr().err
    assert str(error) in said
    is_told = issubclass(kind, (UserError, DataError, InfraError, StorageError))
    assert ("Traceback" not in said) == is_told
    assert ("this is a bug" in said) == (not is_told)


@pytest.mark.parametrize(
    ("error", "status"), [(KeyError("x"), 3), (MemoryError(), 3), (KeyboardInterrupt(), 130)]
)
def test_bugs_and_interrupts(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status_of(error, monkeypatch) == status


def test_commands_of_the_training_side_have_a_status_for_each_of_their_errors() -> None:
    assert {UserError: 2, DataError: 1, StorageError: 3} == EXIT_STATUS


@pytest.mark.slow
def test_through_ray_every_error_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predecode.cluster._PAUSE_S", 0.0)
    with RayCluster(None, 1) as cluster:
        for kind in [*ERRORS, ZeroDivisionError]:
            with pytest.raises(kind) as caught:
                list(cluster.run(task, [kind], lambda _: None))
            error, mine = caught.value, made(kind)
            if kind is InfraError:  # tried three times; the job says so and quotes the last one
                assert str(mine) in str(error)
                assert str(error).startswith("task type: failed 3 times, at last with InfraError")
                assert status_of(error, monkeypatch) == 3
                continue
            assert type(error) is kind
            assert error.args == mine.args
            assert str(error) == str(mine)
            assert error.__notes__ == [NOTE]
            assert CAUSE in "".join(traceback.format_exception(error))
            if isinstance(error, EpisodeError):
                assert error.fault == FAULT
            assert status_of(error, monkeypatch) == expected_status(kind)
