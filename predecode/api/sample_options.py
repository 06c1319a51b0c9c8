"""The options of ``sample``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from predecode.api.option import (
    AnyPath,
    Option,
)

__all__ = ["SampleOptions"]

_MADE = "What is made"


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """The options of ``sample``."""

    out: Annotated[AnyPath, Option("Folder for the data set.", _MADE)] = Path("data/b1k")
    edition: Annotated[
        str,
        Option(
            "2025: a file an episode. 2026: files of several episodes. rft: rollouts in the layout "
            "of 2025, RGB.",
            _MADE,
        ),
    ] = "2025"
    full_size: Annotated[
        bool, Option("Pictures of 720 and 480 pixels (default: small).", _MADE)
    ] = False
    damaged: Annotated[
        bool, Option("Short RGB episodes of 2025 or 2026, nearly all at fault.", _MADE)
    ] = False
