"""predecode doctor: what this machine can do."""

from pathlib import Path
from typing import Annotated

import typer

from predecode.commands.options import BackendPythonOption, show
from predecode.errors import EXIT_INCOMPLETE

__all__ = ["doctor"]


def doctor(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where shards are to be written.")
    ] = Path("shards"),
    backend_python: BackendPythonOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the facts as JSON instead of lines.")
    ] = False,
) -> None:
    """Say what this machine can do, and the command that mends what it cannot.

    Exit status: 0 when all that 'predecode run' needs is there, else 1.
    """
    from predecode.doctor import examine, fact_lines
    from predecode.machine_limits import machine_limits
    from predecode.video.backends import parse_backend_python

    facts = examine(machine_limits(), out, parse_backend_python(backend_python or []))
    show(facts, fact_lines(facts), as_json=as_json)
    if any(fact.is_needed and not fact.is_fine for fact in facts):
        raise typer.Exit(EXIT_INCOMPLETE)
