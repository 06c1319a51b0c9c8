"""What every command says, and how much of it."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from predecode.api.option import OUTPUT, SOURCE, AnyPath, Option
from predecode.errors import EXIT_DONE

if TYPE_CHECKING:
    from predecode.display import Display

__all__ = ["ConfigOption", "Messages", "Reported", "Standing", "say"]

_MESSAGES = "What is said"


@dataclass(frozen=True)
class Standing:
    """What stands already."""

    out: Annotated[
        AnyPath, Option("An output of predecode run: a folder or a URL.", OUTPUT, is_local=False)
    ]


@dataclass(frozen=True, kw_only=True)
class Reported:
    """Of a command that tells what it found."""

    json: Annotated[bool, Option("Print the result as JSON instead of lines.", _MESSAGES)] = False

    def show(self, found: object, lines: Iterable[str], exit_status: int = EXIT_DONE) -> None:
        """Prints what was found: as JSON, or its lines, which are made only then; then ends.

        Raises:
            typer.Exit: the status is not 0.
        """
        from train_shards.manifest import encode_json

        if self.json:
            print(encode_json(found).decode(), end="")
        elif exit_status != EXIT_DONE or not self.is_quiet:
            for line in lines:
                print(line)
        if exit_status != EXIT_DONE:
            raise typer.Exit(exit_status)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is said where nothing is wrong."""
        return False


@dataclass(frozen=True, kw_only=True)
class Messages(Reported):
    """Of a command that works for long."""

    quiet: Annotated[bool, Option("Say nothing but what is wrong.", _MESSAGES)] = False
    verbose: Annotated[bool, Option("Also say how each task ended.", _MESSAGES)] = False

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is said where nothing is wrong."""
        return self.quiet

    @contextmanager
    def display(self) -> "Iterator[Display]":
        """Gives what shows how the work goes on."""
        from predecode.display import SILENT
        from predecode.progress import JobProgress

        if self.quiet:
            yield SILENT
            return
        with JobProgress(is_verbose=self.verbose) as display:
            yield display


def _read(context: typer.Context, path: str | None) -> str | None:
    """Takes a file's settings for defaults, so that words of the command line win."""
    if path is not None:
        from predecode.api.settings_file import read_settings

        context.default_map = {**(context.default_map or {}), **read_settings(path)}
    return path


ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        callback=_read,
        is_eager=True,
        metavar="<path>",
        rich_help_panel=SOURCE,
        help="A TOML file of these options, as 'predecode plan --save' writes it; words of the "
        "command line win.",
    ),
]


def say(text: str) -> None:
    """Prints to standard error."""
    print(text, file=sys.stderr)
