"""The options of a call as a command takes them: Typer reads them from a function's signature."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from predecode.api.option import Field, fields_of, flag_of
from predecode.errors import UserError

__all__ = ["with_options"]

_SHORT = {"out": "-o", "quiet": "-q", "verbose": "-v"}


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Has a command take the fields of its parameters that are dataclasses, in their place.

    An output that is an argument may also be named by ``--out``, as where it is made.
    """
    taken: list[inspect.Parameter] = []
    groups: dict[str, tuple[type[Any], list[Field]]] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind: type[Any] = parameter.annotation
        if hasattr(kind, "__dataclass_fields__"):
            fields = list(fields_of(kind))
            groups[parameter.name] = (kind, fields)
            taken += [one for field in fields for one in _parameters(field)]
        else:
            taken.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    is_argument_needed = any(
        field.is_argument and field.default is dataclasses.MISSING
        for _, fields in groups.values()
        for field in fields
    )

    @functools.wraps(command)
    def call(**words: Any) -> None:
        if "argument" in words:
            argument, option = words.pop("argument"), words["out"]
            if argument is not None and option is not None:
                raise UserError(f"--out {option}: {argument} is given already. Leave one out.")
            words["out"] = option if argument is None else argument
            if is_argument_needed and words["out"] is None:
                name = f"predecode {command.__name__}"
                raise UserError(f"{name}: Missing argument 'out'. See '{name} --help'.")
        for name, (options, fields) in groups.items():
            words[name] = options(**{field.name: words.pop(field.name) for field in fields})
        command(**words)

    signature = inspect.signature(command)
    call.__signature__ = signature.replace(parameters=taken)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in taken}
    return call


def _parameters(field: Field) -> list[inspect.Parameter]:
    """A field as Typer takes it; an argument also as an option."""
    said = field.option
    kind = field.type
    if field.is_path:
        kind = Path if said.is_local else str
        kind = kind | None if type(None) in get_args(field.type) else kind
    names = [flag_of(field.name)]
    if field.name in _SHORT:
        names.append(_SHORT[field.name])
    option = typer.Option(
        *names, help=said.help, metavar=said.metavar, min=said.least, rich_help_panel=said.group
    )
    default = field.default
    if default is dataclasses.MISSING:
        default = inspect.Parameter.empty
    if not field.is_argument:
        return [_parameter(field.name, kind, option, default)]
    kind = kind | None
    option.help = "The same, by name."
    argument = typer.Argument(metavar=field.name, help=said.help, show_default=False)
    return [
        _parameter("argument", kind, argument, None),
        _parameter(field.name, kind, option, None),
    ]


def _parameter(name: str, kind: Any, said: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, said]
    )
