"""What a call takes: each option once, for keyword arguments, the command line and settings files.

A call's options are the fields of a frozen dataclass, each annotated with an ``Option``. The
command line calls a field ``embed_lowdim`` ``--embed-lowdim``; a field that is not keyword-only is
an argument.
"""

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple, ParamSpec, TypeVar, get_args

import msgspec

from predecode.display import SILENT, Display
from predecode.errors import UserError

__all__ = [
    "OUTPUT",
    "SOURCE",
    "TASKS",
    "AddressOption",
    "AnyPath",
    "BackendPythonOption",
    "Field",
    "HangLimitOption",
    "MaxFailuresOption",
    "MemoryLimitOption",
    "NodeWaitOption",
    "NumCpusOption",
    "Option",
    "RootOption",
    "SrcOption",
    "StagingOption",
    "WandbOption",
    "as_call",
    "checked_value",
    "fields_of",
    "flag_of",
]

P = ParamSpec("P")
O = TypeVar("O")  # noqa: E741 - options
R = TypeVar("R")

AnyPath = str | os.PathLike[str]

SOURCE = "Source"
OUTPUT = "Output"
TASKS = "Tasks and where they run"


class Option(NamedTuple):
    """What is said of an option."""

    help: str
    group: str
    """Heading under which ``--help`` lists it."""
    metavar: str | None = None
    least: float | None = None
    """The least number that it may be."""
    is_local: bool = True
    """Of a path: whether it can be no URL."""


class Field(NamedTuple):
    """An option of a call."""

    name: str
    type: Any
    option: Option
    default: Any
    """``dataclasses.MISSING`` where it must be given."""
    is_argument: bool

    @property
    def is_path(self) -> bool:
        """Whether it names a file or folder."""
        return os.PathLike[str] in get_args(self.type)


def fields_of(options: type[Any]) -> Iterator[Field]:
    """Yields the options of a call in their order."""
    for field in dataclasses.fields(options):
        kind, option = get_args(field.type)
        yield Field(field.name, kind, option, field.default, not field.kw_only)


def flag_of(name: str) -> str:
    """Returns what the command line calls an option.

    >>> flag_of("embed_lowdim")
    '--embed-lowdim'
    """
    return f"--{name.replace('_', '-')}"


def checked_value(field: Field, value: object, where: str) -> Any:
    """Returns a value that an option can be.

    Raises:
        UserError: it is of another type, or below the least; the message begins with ``where``.
    """
    if field.is_path and isinstance(value, os.PathLike):
        return value
    kind = str | None if field.is_path else field.type
    try:
        found: Any = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # msgspec's words are "Expected `int`, got `str`"; also of an item, "- at `$[0]`".
        said = str(error).replace("Expected", "expected", 1).replace("`", "")
        raise UserError(f"{where} {value!r}: {said}.") from None
    if field.option.least is not None and found is not None and not found >= field.option.least:
        raise UserError(f"{where} {value!r}: expected {field.option.least:g} or more.")
    return found


def as_call(options: Callable[P, O], call: Callable[[O, Display], R]) -> Callable[P, R]:
    """Returns a call that takes the fields of ``options`` as arguments and shows nothing.

    Its documentation is that of ``call``, whose errors it passes on.

    Raises:
        UserError: a value of another type, or too small a number; nothing is done.
    """
    fields = list(fields_of(options))  # type: ignore[arg-type]

    def called(*arguments: P.args, **words: P.kwargs) -> R:
        given = options(*arguments, **words)
        for field in fields:
            value = getattr(given, field.name)
            if value is not field.default:
                checked_value(field, value, flag_of(field.name))
        return call(given, SILENT)

    signature = inspect.signature(options)
    parameters = [
        parameter.replace(annotation=get_args(parameter.annotation)[0])
        for parameter in signature.parameters.values()
    ]
    called.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=inspect.signature(call).return_annotation
    )
    called.__name__ = called.__qualname__ = call.__name__.removesuffix("_with")
    called.__module__, called.__doc__ = call.__module__, call.__doc__
    return called


SrcOption = Annotated[str, Option("Kind of source: b1k, lerobot, videos.", SOURCE)]
RootOption = Annotated[
    AnyPath | None,
    Option("Folder of the source's data. Default: $B1K_ROOT, else data/b1k.", SOURCE),
]
StagingOption = Annotated[
    AnyPath | None,
    Option(
        "Folder on each node for what is not uploaded yet, where the output is a URL. Default: "
        "staging in the node's cache.",
        TASKS,
    ),
]
AddressOption = Annotated[
    str | None, Option("An existing Ray cluster. Default: an embedded local Ray.", TASKS)
]
NumCpusOption = Annotated[
    int | None, Option("Tasks at a time. Default: one a CPU.", TASKS, least=1)
]
HangLimitOption = Annotated[
    float,
    Option("Seconds without progress after which a task counts as dead.", TASKS, least=1),
]
MemoryLimitOption = Annotated[
    int,
    Option(
        "MB of memory that a task asks a node for, and beyond which its process is ended.",
        TASKS,
        least=256,
    ),
]
NodeWaitOption = Annotated[
    float,
    Option("Seconds to wait where no node of the cluster can take a task.", TASKS, least=0),
]
BackendPythonOption = Annotated[
    list[str] | None, Option("Where a decoder lives: video_reader=/usr/bin/python3.", TASKS)
]
MaxFailuresOption = Annotated[
    int, Option("Exit with 0 while at most this many episodes are missing.", OUTPUT, least=0)
]
WandbOption = Annotated[
    bool,
    Option(
        "Figures also as a run in wandb, by WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE; offline "
        "without a key.",
        OUTPUT,
    ),
]
