"""Errors of the writing side, by what the job does about them, and the exit statuses.

``UserError`` stops before any work; ``EpisodeError`` costs its episode only; ``InfraError`` is
retried, then stops the job; anything else is a bug and stops the job.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from train_shards.errors import DataError, UserError

__all__ = [
    "EXIT_BUG",
    "EXIT_DONE",
    "EXIT_INCOMPLETE",
    "EXIT_INTERRUPTED",
    "EXIT_REFUSED",
    "DataError",
    "Death",
    "EpisodeError",
    "EpisodeFault",
    "ExhaustedError",
    "InfraError",
    "MediaError",
    "UserError",
    "disk_errors_of",
    "episode_error",
    "episode_error_of",
    "exit_status_of",
]

EXIT_DONE = 0
"""All done and, for ``verify``, proven."""
EXIT_INCOMPLETE = 1
"""More quarantined than allowed, or ``verify`` found something."""
EXIT_REFUSED = 2
"""Refused before any work: bad settings, no source, locked output."""
EXIT_BUG = 3
"""Our own bug or lost infrastructure; nothing published, resumable."""
EXIT_INTERRUPTED = 130
"""Stopped by the operator; resumable."""


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended that worked on one episode alone; tells of that process, not of bytes."""

    reason: str
    """Name of the signal that ended it, ``hang``, ``memory`` or ``exit status N``."""
    task: str
    """The task whose part of the episode it worked on."""
    stderr: list[str]
    """The last lines that it wrote to standard error."""
    decoder: dict[str, str]
    """Name of the decoder as ``backend``, and versions."""
    others: dict[str, str]
    """Another decoder -> what it made of the same pictures, stored nowhere."""


class EpisodeFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why an episode cannot be stored; one row of ``quarantine.jsonl`` is made of it."""

    episode_index: int
    """The source's own id of the episode."""
    path: str
    """The guilty file, relative to the source's root."""
    problem: str
    """What is wrong, as a short clause."""
    expected: str
    got: str
    camera: str | None = None
    """The camera, where the file is a video."""
    death: Death | msgspec.UnsetType = msgspec.UNSET
    """Where the episode ended the process that worked on it; else not in the file."""

    def __str__(self) -> str:
        """The fault as one line: where, what, expected and got."""
        camera = f", camera {self.camera}" if self.camera else ""
        return (
            f"episode {self.episode_index:08d}{camera}, {self.path}: {self.problem}; "
            f"expected {self.expected}, got {self.got}"
        )


class EpisodeError(DataError):
    """An episode that cannot be stored; ``args`` is ``(fault,)``."""

    @property
    def fault(self) -> EpisodeFault:
        """The fault that this error carries."""
        fault: EpisodeFault = self.args[0]
        return fault


def episode_error(
    episode_index: int,
    path: str,
    problem: str,
    expected: object,
    got: object,
    camera: str | None = None,
) -> EpisodeError:
    """Returns the error for one fault of one episode; the fields are ``EpisodeFault``'s."""
    fault = EpisodeFault(
        episode_index=episode_index,
        path=path,
        camera=camera,
        problem=problem,
        expected=str(expected),
        got=str(got),
    )
    return EpisodeError(fault)


class MediaError(DataError):
    """A video file that does not hold what is asked; ``args`` is ``(problem, expected, got)``.

    Knows no episode: the caller, who does, turns it into an ``EpisodeError``.
    """

    def __str__(self) -> str:
        """Problem, expected and got as one clause."""
        problem, expected, got = self.args
        return f"{problem}; expected {expected}, got {got}"


def episode_error_of(error: MediaError, episode_index: int, path: str, camera: str) -> EpisodeError:
    """Returns what a video's error costs; the fields are ``EpisodeFault``'s."""
    problem, expected, got = error.args
    return episode_error(episode_index, path, problem, expected, got, camera)


class InfraError(Exception):
    """Disk, network, cluster or a node that does not fit the others; ``args`` is ``(message,)``."""


class ExhaustedError(InfraError):
    """An ``InfraError`` after all that could be tried: not retried, stops the job."""


@contextmanager
def disk_errors_of(out: str) -> Iterator[None]:
    """Turns what the disk of ``out`` refuses inside the block into an ``InfraError``."""
    try:
        yield
    except OSError as error:
        raise InfraError(
            f"{error.filename or out}: {error.strerror or error}. Nothing was published under a "
            "final name; make room or repair the disk, then the same command goes on."
        ) from error


def exit_status_of(error: BaseException) -> int:
    """Returns the exit status of a command that ends with an error."""
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return EXIT_REFUSED if isinstance(error, (UserError, DataError)) else EXIT_BUG
