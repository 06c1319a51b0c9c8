"""Checks the pages: links, code blocks, and what is made of the code; writes the latter on request.

python docs/check.py            say what is wrong; exit status 1 if anything is
python docs/check.py --write    write docs/commands.md and the tables of docs/format.md, then check
"""

import argparse
import ast
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token
from typer.main import get_command

from predecode.cli import USAGE_ERROR, app

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # as a program this file has its own folder there

from docs.format_tables import TABLES  # noqa: E402

REFERENCE = ROOT / "docs/commands.md"
FORMAT = ROOT / "docs/format.md"
_WIDTH = 98
_HEAD = """# Commands

Written by `make docs` from what `--help` says: change the commands, not this page. The reading
side's own commands are in [launch.md](launch.md) (`python -m train_shards.launch`) and in
[train.md](train.md) (`python -m train_shards.train` and `norm_stats`).
"""
_REGION = re.compile(r"<!-- from the code: (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)
_SHELLS = ("", "sh", "bash", "shell", "console")
_MARKDOWN = MarkdownIt("commonmark").enable("table")


def pages() -> list[Path]:
    """Returns every page of the project."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def faults(page: Path) -> Iterator[str]:
    """Yields what is wrong with a page: line, what, expected and got."""
    for token in _MARKDOWN.parse(page.read_text()):
        line = token.map[0] + 1 if token.map else 0
        for child in token.children or ():
            target = child.attrs.get("href", child.attrs.get("src"))
            if target is not None and not _is_there(page, unquote(str(target))):
                yield f"{line}: link {target}: expected a file and a heading of it, got none"
        if token.type == "fence":
            for said in _faults_of_block(token.info.partition(" ")[0], token.content):
                yield f"{line}: {said}"


def reference() -> str:
    """Returns the page of commands: what ``--help`` prints of each, in the order of the first."""
    group = _commands()
    texts = [_HEAD, f"```\n{_help(group, 'predecode')}\n```\n"]
    for name, command in group.commands.items():
        texts.append(f"## predecode {name}\n\n```\n{_help(command, f'predecode {name}')}\n```\n")
    return "\n".join(texts)


def with_tables(page: str) -> str:
    """Returns a page with its marked regions as the code has them now.

    Raises:
        ValueError: regions that are not those of ``TABLES``, each once and in their order.
    """
    names = _REGION.findall(page)
    if [name for name, _ in names] != list(TABLES):
        raise ValueError(f"marked regions: expected {list(TABLES)}, got {[n for n, _ in names]}")
    return _REGION.sub(
        lambda found: f"<!-- from the code: {found[1]} -->\n{TABLES[found[1]]()}\n<!-- end -->",
        page,
    )


def _is_there(page: Path, target: str) -> bool:
    if re.match(r"[a-z]+:", target):
        return True  # outside of the project: nothing here can tell
    name, _, heading = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    return path.exists() and (not heading or heading in _anchors(path))


def _anchors(page: Path) -> set[str]:
    """What a link may name in a page: its headings in small letters, blanks as hyphens."""
    tokens: list[Token] = _MARKDOWN.parse(page.read_text())
    headings = (after.content for token, after in pairwise(tokens) if token.type == "heading_open")
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def _faults_of_block(language: str, text: str) -> Iterator[str]:
    if language == "python":
        try:
            ast.parse(text)
        except SyntaxError as error:
            yield f"Python block: {error}"
    elif language in _SHELLS:
        for line in text.replace("\\\n", " ").splitlines():
            words = _words(line)
            if words[:1] == ["predecode"]:
                try:
                    _parse(words[1:])
                except USAGE_ERROR as error:
                    yield f"{line.strip()}: {error.format_message()}"


def _words(line: str) -> list[str]:
    """Words of a command up to where the shell would begin another one; none of other text."""
    try:
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
    except ValueError:  # prose with an apostrophe, as a picture of the flow has
        return []
    stops = (n for n, word in enumerate(words) if word in ("|", "&&", ";", "&", ">", "2>&1", "||"))
    return words[: next(stops, len(words))]


def _parse(words: list[str]) -> None:
    """Takes words as the command line does, without running anything.

    Raises:
        USAGE_ERROR: no such option or value.
    """
    if words and not words[0].startswith("-"):
        group = _commands()
        command = group.commands.get(words[0]) or group.resolve_command(_context(group, ""), words)
        # A settings file of an example is not there; what it sets is what a run must be given.
        read = patch("predecode.api.settings_file.read_settings", return_value={"src": "b1k"})
        if "--help" not in words:
            with read:
                command.make_context(words[0], list(words[1:]))


def _commands() -> Any:
    """The group of all commands; of click's class as Typer carries it, under another name."""
    return get_command(app)


def _context(command: Any, name: str) -> Any:
    return command.context_class(
        command, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH
    )


def _help(command: Any, name: str) -> str:
    return str(command.get_help(_context(command, name))).rstrip()


def main() -> int:
    """Checks all pages; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what is made of the code anew")
    made = {REFERENCE: reference(), FORMAT: with_tables(FORMAT.read_text())}
    if parser.parse_args().write:
        for page, text in made.items():
            page.write_text(text)
    said = [f"{page.relative_to(ROOT)}:{fault}" for page in pages() for fault in faults(page)]
    for page, text in made.items():
        if not page.is_file() or page.read_text() != text:
            name = page.relative_to(ROOT)
            said.append(f"{name}: not what is made of the code now. Write it anew: make docs")
    print("\n".join(said) or f"{len(pages())} pages: links, code blocks and commands are right")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
