"""predecode --version: the package, and the libraries that make its bytes."""

from typing import Annotated

import typer

__all__ = ["version"]


def _print(is_asked: bool) -> None:
    if is_asked:
        from predecode.probe import environment

        for library, number in environment().items():
            print(f"{library} {number}")
        raise typer.Exit


def version(
    shown: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print,
            is_eager=True,
            help="Print the versions of this and its libraries.",
        ),
    ] = False,
) -> None:
    """Decode robot-learning video once, offline, into WebDataset shards."""
