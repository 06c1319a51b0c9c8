"""How ``--help`` looks: options under headings, examples last; no library but Typer's own."""

import inspect
from collections.abc import Callable
from typing import Any, TypedDict

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group", "Help", "help_of"]

_LAST = "Other"


class Help(TypedDict):
    """What ``--help`` says beside the options."""

    help: str
    epilog: str
    """The examples."""


def help_of(command: Callable[..., object]) -> Help:
    """Returns a command's help and, as its end, the examples: both from its documentation."""
    text, _, examples = inspect.getdoc(command).partition("\n\nExamples:\n")  # type: ignore[union-attr]
    return {"help": text, "epilog": inspect.cleandoc(examples)}


class Command(TyperCommand):
    """One command."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments and options, each under its heading, the required ones first."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in sorted(self.get_params(ctx), key=lambda one: not one.required):
            if (record := parameter.get_help_record(ctx)) is not None:
                is_option = parameter.param_type_name == "option"
                panel = getattr(parameter, "rich_help_panel", None) or _LAST
                groups.setdefault(panel if is_option else "Arguments", []).append(record)
        for name in sorted(groups, key=lambda name: name == _LAST):
            with formatter.section(name):
                formatter.write_dl(groups[name])

    def format_epilog(self, _ctx: Any, formatter: Any) -> None:
        """Writes the examples as they stand."""
        _write_examples(self.epilog, formatter)


class Group(TyperGroup):
    """All commands."""

    def format_epilog(self, _ctx: Any, formatter: Any) -> None:
        """Writes the examples as they stand."""
        _write_examples(self.epilog, formatter)


def _write_examples(examples: str | None, formatter: Any) -> None:
    with formatter.section("Examples"):
        for line in (examples or "").splitlines():
            formatter.write(f"  {line}\n")
