"""The options of ``drop``."""

from dataclasses import dataclass, field
from typing import Annotated

from predecode.api.option import (
    OUTPUT,
    AnyPath,
    Option,
)

__all__ = ["DropOptions"]


@dataclass(frozen=True, kw_only=True)
class DropOptions:
    """The options of ``drop``."""

    out: Annotated[
        AnyPath, Option("An output of predecode run: a folder.", OUTPUT, is_local=False)
    ] = field(kw_only=False)
    episodes: Annotated[
        str | None, Option("Ids of episodes to take out: 00490010,00490020.", OUTPUT)
    ] = None
    rewrite: Annotated[
        bool,
        Option(
            "Also remove what dropped episodes have in files: their shards and tables are made "
            "anew without them, by copying.",
            OUTPUT,
        ),
    ] = False
