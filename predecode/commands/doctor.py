"""predecode doctor: what this machine can do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from predecode.api.option import OUTPUT, AnyPath, BackendPythonOption, Option
from predecode.commands.options import Reported
from predecode.commands.words import with_options
from predecode.errors import EXIT_DONE, EXIT_INCOMPLETE

__all__ = ["doctor"]


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """The options of ``doctor``."""

    out: Annotated[AnyPath, Option("Where shards are to be written.", OUTPUT)] = Path("shards")
    backend_python: BackendPythonOption = None


@with_options
def doctor(options: DoctorOptions, reported: Reported) -> None:
    """Say what this machine can do, and the command that mends what it cannot.

    Exit status: 0 when all that 'predecode run' needs is there, else 1.

    Examples:
        predecode doctor
        predecode doctor --out /data/shards --json
    """
    from predecode.doctor import examine, fact_lines
    from predecode.machine_limits import machine_limits
    from predecode.video.backends import parse_backend_python

    pythons = parse_backend_python(options.backend_python or [])
    facts = examine(machine_limits(), Path(options.out), pythons)
    is_lacking = any(fact.is_needed and not fact.is_fine for fact in facts)
    reported.show(facts, fact_lines(facts), EXIT_INCOMPLETE if is_lacking else EXIT_DONE)
