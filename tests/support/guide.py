"""The fenced blocks of a Markdown page, by what its fences say of them."""

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["GUIDES", "Block", "blocks_of"]

_DOCS = Path(__file__).parents[2] / "docs"
GUIDES = (_DOCS / "train-guide.md", _DOCS / "train-guide.zh.md")

_FENCED = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """What stands between two fences."""

    info: str
    """``bash run``, ``bash trainer`` or ``text``."""
    text: str


def blocks_of(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page in their order."""
    return [Block(*match.groups()) for match in _FENCED.finditer(page.read_text())]
