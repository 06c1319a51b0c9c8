"""The command line: errors and interrupts become an exit status; the commands are in commands/."""

import signal
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

import typer

from predecode.commands.doctor import doctor
from predecode.commands.drop import drop
from predecode.commands.help import Command, Group, help_of
from predecode.commands.inspect import inspect
from predecode.commands.options import say
from predecode.commands.plan import plan
from predecode.commands.retry import retry
from predecode.commands.run import run
from predecode.commands.sample import sample
from predecode.commands.status import status as show_status
from predecode.commands.verify import verify
from predecode.commands.version import version
from predecode.errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    DataError,
    InfraError,
    UserError,
    exit_status_of,
)
from train_shards.errors import StorageError

__all__ = ["USAGE_ERROR", "app", "main"]

app = typer.Typer(
    cls=Group,
    **help_of(version),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.callback(invoke_without_command=True)(version)
for command in (sample, plan, run, show_status, verify, inspect, retry, drop, doctor):
    app.command(cls=Command, **help_of(command))(command)

# Typer carries click under another name from one release to the next.
USAGE_ERROR: type[typer.BadParameter] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits with the status of the design."""
    # SIGTERM ends a run as Ctrl-C does: tasks are cancelled, nothing half done is published.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    status = EXIT_DONE
    try:
        # Click's own error and interrupt handling would hide which exit status is meant.
        status = app(args=arguments, prog_name="predecode", standalone_mode=False) or EXIT_DONE
    except typer.Exit as request:
        status = request.exit_code
    except (typer.Abort, KeyboardInterrupt):
        status = EXIT_INTERRUPTED
    except USAGE_ERROR as error:
        _say_usage(error, sys.argv[1:] if arguments is None else arguments)
        status = EXIT_REFUSED
    except (UserError, DataError, InfraError, StorageError) as error:
        say(f"error: {error}")
        status = exit_status_of(error)
    except Exception:  # noqa: BLE001 - the one place where a bug becomes an exit status
        traceback.print_exc()
        say("error: this is a bug in predecode; please report it with the lines above.")
        status = EXIT_BUG
    if status == EXIT_INTERRUPTED:  # Typer turns an interrupt inside a command into this status
        say("interrupted. Nothing is lost: the same command goes on from here.")
    sys.exit(status)


def _say_usage(error: typer.BadParameter, words: Sequence[str]) -> None:
    """A word that the command line does not take: which command, option and value, and why."""
    text = error.format_message()
    if "\n" in text:  # the help of a command that was given nothing
        error.show()
        return
    where = "predecode" if error.ctx is None else error.ctx.command_path
    parameter = getattr(error, "param", None)  # some usage errors are about none
    names = set(parameter.opts if parameter is not None else ())
    pairs = [*pairwise(words), *(word.split("=", 1) for word in words if "=" in word)]
    value = next((value for name, value in pairs if name in names), None)
    got = "" if value is None else f", got {value!r}"
    stop = "" if text.endswith("?") else "."
    say(f"error: {where}: {text.rstrip('.')}{got}{stop} See '{where} --help'.")
