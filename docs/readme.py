"""Runs the README's blocks as they stand, in their order, in one shell; needs nothing but Python.

python3 docs/readme.py     in a fresh clone, as CI does, or after make clean

A block ``bash`` is run, ``python`` too, by the Python of the environment that stands by then;
``text`` after a block is what that prints: each of its lines must come, in this order, with any
digits for a number with a decimal point and anything for ``…``. A block ``bash trainer`` needs the
original trainer and is only named. The last block takes this process's place: logs end as it does.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["Block", "blocks", "fenced", "missing_line", "script"]

ROOT = Path(__file__).parents[1]
_FENCED = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "=== README, block "
_NOT_RUN = "bash trainer"


class Block(NamedTuple):
    """A block that does something, and what it promises to print."""

    kind: str
    """``bash``, ``python`` or ``bash trainer``."""
    text: str
    promised: str
    """``""`` where nothing is."""


def fenced(page: str) -> list[tuple[str, str]]:
    """Returns what stands behind the fence and the text of each fenced block of a page."""
    return _FENCED.findall(page)


def blocks(page: str) -> list[Block]:
    """Returns the blocks of a page but those of text, each with the text that follows on it.

    Raises:
        ValueError: a block of another kind.
    """
    found: list[Block] = []
    for kind, text in fenced(page):
        if kind == "text" and found:
            found[-1] = found[-1]._replace(promised=text)
        elif kind in ("bash", "python", _NOT_RUN):
            found.append(Block(kind, text, ""))
        elif kind != "text":
            raise ValueError(f"block {kind!r}: expected bash, python, bash trainer or text")
    return found


def script(run: list[Block]) -> str:
    """Returns the blocks as one text for bash, a line with the number before each."""
    parts = ["set -euo pipefail\n"]
    for number, block in enumerate(run, 1):
        is_python = block.kind == "python"
        body = f"python - <<'END OF BLOCK'\n{block.text}END OF BLOCK\n" if is_python else block.text
        parts.append(f"echo '{_MARK}{number}'\n{body}")
    return "".join(parts)


def missing_line(promised: str, printed: str) -> str | None:
    r"""Returns the first promised line that was not printed, behind those before it; None if none.

    >>> missing_line("7 of 2.5 MB\n  a: …!\n", "x\n7 of 2.75 MB\n  a: 1 b!\n")
    >>> missing_line("7 of 2.5 MB\n", "8 of 2.5 MB\n")
    '7 of 2.5 MB'
    """
    lines = iter(printed.splitlines())
    for line in promised.splitlines():
        any_decimals = re.sub(r"\d+\\\.\d+", r"\\d+[.]\\d+", re.escape(line))
        wanted = re.compile(any_decimals.replace("…", ".*"))
        if not any(map(wanted.fullmatch, lines)):
            return line
    return None


def _run(run: list[Block], variables: dict[str, str]) -> list[str]:
    """Runs blocks and returns what each printed, which is shown as it comes.

    Raises:
        SystemExit: one ended with another status than 0.
    """
    printed: list[str] = []
    with subprocess.Popen(
        ["bash", "-c", script(run)],
        cwd=ROOT, env={**os.environ, **variables}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as shell:  # fmt: skip
        started_s = time.monotonic()
        for line in shell.stdout or ():
            if line.startswith(_MARK):
                printed.append("")
                print(f"{line.rstrip()}, after {time.monotonic() - started_s:.0f} s", flush=True)
            else:
                printed[-1] += line
                print(line, end="", flush=True)
    if shell.returncode:
        sys.exit(f"README, block {len(printed)}: ended with status {shell.returncode}")
    print(f"=== README: {len(printed)} blocks, {time.monotonic() - started_s:.0f} s")
    return printed


def main() -> None:
    """Runs all blocks; does not return from the last."""
    found = blocks((ROOT / "README.md").read_text())
    for block in found:
        if block.kind == _NOT_RUN:
            print(f"=== README, not run, needs the original trainer: {block.text.rstrip()}")
    *run, last = [block for block in found if block.kind != _NOT_RUN]
    printed = _run(run, {"B1K_ROOT": "data/b1k"})
    for number, (block, output) in enumerate(zip(run, printed, strict=True), 1):
        missing = missing_line(block.promised, output)
        if missing is not None:
            sys.exit(f"README, block {number}: promises a line that did not come:\n{missing}")
    os.execvp("bash", ["bash", "-c", last.text])


if __name__ == "__main__":
    main()
