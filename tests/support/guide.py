"""The fenced blocks of a Markdown page, by what its fences say of them."""

from pathlib import Path
from typing import NamedTuple

from docs.readme import fenced

__all__ = ["GUIDES", "Block", "blocks_of"]

_DOCS = Path(__file__).parents[2] / "docs"
GUIDES = (_DOCS / "train-guide.md", _DOCS / "train-guide.zh.md")


class Block(NamedTuple):
    """What stands between two fences."""

    info: str
    """``bash run``, ``bash trainer`` or ``text``."""
    text: str


def blocks_of(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page in their order."""
    return [Block(*found) for found in fenced(page.read_text())]
