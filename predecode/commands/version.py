"""predecode --version: the package, and the libraries that make its bytes."""

from typing import Annotated

import typer

from predecode.errors import UserError

__all__ = ["version"]


def version(
    context: typer.Context,
    is_asked: Annotated[
        bool, typer.Option("--version", help="Print the versions of this and its libraries.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --version: JSON instead of lines.")
    ] = False,
) -> None:
    """Decode robot-learning video once, offline, into WebDataset shards.

    Examples:
        predecode sample && predecode run --src b1k --out shards/
        predecode verify shards/
        predecode run --help
    """
    if is_asked:
        from predecode.probe import environment
        from train_shards.manifest import encode_json

        versions = environment()
        if as_json:
            print(encode_json(versions).decode(), end="")
        else:
            for library, number in versions.items():
                print(f"{library} {number}")
        raise typer.Exit
    if as_json or context.invoked_subcommand is None:
        raise UserError("predecode --json: expected --version before it, or a command.")
