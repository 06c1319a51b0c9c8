"""What the calls that wrote an output did, a line each: ``.predecode/log``.

Lines are only ever added. They tell of how an output was made, not of what it holds: no file
depends on them. Of an episode they name its number alone: a dropped one leaves nothing more.
"""

import os
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import xxhash

from predecode.display import CHECKING, Display, Ended, one_line
from predecode.errors import EpisodeFault, disk_errors_of, exit_status_of
from predecode.lock import command_line
from predecode.probe import environment
from train_shards.manifest import Settings

__all__ = ["LOG_PATH", "RunLog"]

LOG_PATH = ".predecode/log"


class RunLog:
    """A display that shows all on another one, and keeps what is told of a call.

    Nothing is written before work begins, so that a call that is refused leaves nothing.
    """

    def __init__(self, shown: Display, folder: Path, settings: Settings) -> None:
        """Writes nothing yet.

        Args:
            shown: what the operator sees.
            folder: of the output, as the job sees it.
            settings: of the output.
        """
        self._shown, self._path = shown, folder / LOG_PATH
        self._who = f"{platform.node()}:{os.getpid()}"
        self._begun_s = time.monotonic()
        self._is_ended = False
        encoded = msgspec.json.encode(settings, order="sorted")
        versions = ", ".join(f"{name} {value}" for name, value in environment().items())
        self._waiting: list[str] | None = []
        """Lines of before work began; None afterwards."""
        self._line(f"begin: {command_line()}")
        self._line(f"versions: {versions}")
        self._line(f"settings {xxhash.xxh3_64_hexdigest(encoded)}: {encoded.decode()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        if error is None or self._waiting is not None or self._is_ended:
            return
        with suppress(OSError):  # a full disk: what is told is why the call ends, and that is error
            self._line(f"error: {error}" if str(error) else f"error: {type(error).__name__}")
            self._end(exit_status_of(error))

    def note(self, text: str) -> None:
        """Shows and keeps one line."""
        self._shown.note(text)
        self._line(text)

    def detail(self, text: str) -> None:
        """Shows one line to whoever asks for more."""
        self._shown.detail(text)

    def quarantined(self, fault: EpisodeFault) -> None:
        """Shows a fault; keeps whose it is."""
        self._shown.quarantined(fault)
        self._line(f"quarantined: episode {fault.episode_index:08d}, see quarantine.jsonl")

    def phase(self, what: str, unit: str, total: int, *, parts_per_step: int = 1) -> None:
        """Starts a phase; the first one that writes begins the log."""
        self._shown.phase(what, unit, total, parts_per_step=parts_per_step)
        if what != CHECKING:
            self._begin()
        self._line(f"{what}: {total:,} {unit}")

    def advance(self, parts: int, num_bytes: int) -> None:
        """Shows finished parts of the phase."""
        self._shown.advance(parts, num_bytes)

    def ended(self, task: Ended) -> None:
        """Shows a finished task."""
        self._shown.ended(task)

    def result(self, summary: object, exit_status: int) -> None:
        """Keeps what the call ends with.

        Raises:
            InfraError: the disk refuses.
        """
        with disk_errors_of(str(self._path)):
            self._begin()
            self._line(str(summary))
            self._end(exit_status)

    def _begin(self) -> None:
        if self._waiting is not None:
            lines, self._waiting = self._waiting, None
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._append("".join(lines))

    def _end(self, exit_status: int) -> None:
        self._is_ended = True
        self._line(f"end: exit status {exit_status}, {time.monotonic() - self._begun_s:,.1f} s")

    def _line(self, text: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f"{now} {self._who} {one_line(text)}\n"
        if self._waiting is None:
            self._append(line)
        else:
            self._waiting.append(line)

    def _append(self, lines: str) -> None:
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(lines)
