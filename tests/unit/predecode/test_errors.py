"""Errors cross process borders with their message, and disks are told from bugs."""

import errno
import pickle

import msgspec
import pytest

from predecode.errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    DataError,
    Death,
    EpisodeError,
    EpisodeFault,
    InfraError,
    MediaError,
    UserError,
    disk_errors_of,
    episode_error,
)

FAULT = EpisodeFault(
    episode_index=10041,
    path="videos/a.mp4",
    problem="file is cut short",
    expected="9000 bytes",
    got="8000 bytes",
    camera="left_wrist",
)
FAULT_TEXT = (
    "episode 00010041, camera left_wrist, videos/a.mp4: file is cut short; "
    "expected 9000 bytes, got 8000 bytes"
)


def test_the_exit_statuses_of_the_design() -> None:
    statuses = (EXIT_DONE, EXIT_INCOMPLETE, EXIT_REFUSED, EXIT_BUG, EXIT_INTERRUPTED)
    assert statuses == (0, 1, 2, 3, 130)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DataError("a.tar: cut"), "a.tar: cut"),
        (UserError("--size 7: no"), "--size 7: no"),
        (InfraError("disk full"), "disk full"),
        (MediaError("stream is empty", "a packet", 0), "stream is empty; expected a packet, got 0"),
        (EpisodeError(FAULT), FAULT_TEXT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_survives_pickling_with_its_message(error: Exception, text: str) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.args == error.args
    assert str(copy) == str(error) == text


def test_the_fault_survives_too() -> None:
    assert pickle.loads(pickle.dumps(EpisodeError(FAULT))).fault == FAULT


def test_a_fault_without_a_camera_names_none() -> None:
    error = episode_error(20, "data/a.parquet", "too few rows", 1200, [7])
    assert str(error) == ("episode 00000020, data/a.parquet: too few rows; expected 1200, got [7]")
    assert error.fault.camera is None
    assert (error.fault.expected, error.fault.got) == ("1200", "[7]")


def test_a_fault_without_a_death_is_written_as_ever_and_one_with_a_death_comes_back() -> None:
    old = b'{"episode_index":20,"path":"a","problem":"b","expected":"c","got":"d","camera":null}'
    fault = msgspec.json.decode(old, type=EpisodeFault)
    assert msgspec.json.encode(fault) == old
    death = Death(
        reason="SIGSEGV", task="b1k-train-000000", stderr=["last words"],
        decoder={"backend": "pyav"}, others={"torchcodec": "decodes it"},
    )  # fmt: skip
    dead = msgspec.structs.replace(fault, death=death)
    assert msgspec.json.decode(msgspec.json.encode(dead), type=EpisodeFault) == dead
    assert pickle.loads(pickle.dumps(EpisodeError(dead))).fault == dead
    assert pickle.loads(pickle.dumps(EpisodeError(fault))).fault.death is msgspec.UNSET


def test_what_costs_an_episode_is_data_and_what_stops_the_job_is_not() -> None:
    assert issubclass(EpisodeError, DataError)
    assert issubclass(MediaError, DataError)
    assert not issubclass(InfraError, DataError)
    assert not issubclass(UserError, DataError)


def test_a_full_disk_is_infrastructure_and_says_what_to_do() -> None:
    with (
        pytest.raises(
            InfraError,
            match="/out/a.tar: No space left on device. Nothing was published .* goes on",
        ) as caught,
        disk_errors_of("/out"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device", "/out/a.tar")
    assert isinstance(caught.value.__cause__, OSError)


def test_a_disk_error_without_a_name_names_the_output() -> None:
    with pytest.raises(InfraError, match="/out: something odd"), disk_errors_of("/out"):
        raise OSError("something odd")


@pytest.mark.parametrize("error", [KeyError("x"), DataError("x"), KeyboardInterrupt()])
def test_other_errors_pass_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, disk_errors_of("/out"):
        raise error
    assert caught.value is error
