"""The table of faults names tests that are there, and that ``make test-faults`` runs."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/reliability.md"


def table(text: str) -> list[str]:
    """The last column of each row of the table of faults."""
    section = text.split("## Faults and their tests", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [row.strip("| ").rpartition(" | ")[2] for row in rows[1:]]


def named_tests(cells: list[str]) -> list[tuple[str, str]]:
    """``(file, test)`` of each test that is named, ``""`` for all of a file.

    ``…`` is the file that was named last, or letters of a test's name.
    """
    found: list[tuple[str, str]] = []
    file = ""
    for cell in cells:
        for words in re.findall(r"`([^`]+)`", cell):
            head, _, test = words.rpartition("::") if "::" in words else ("", "", words)
            if test.endswith(".py"):
                head, test = test, ""
            file = head if head.endswith(".py") else file
            found.append((file, test))
    return found


def marked_tests(path: Path) -> dict[str, bool]:
    """Each test of a file, and whether it bears the mark ``faults``."""
    tree = ast.parse(path.read_text())
    whole = any(
        isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node.targets[0])
        and "pytest.mark.faults" in ast.unparse(node.value)
        for node in tree.body
    )  # fmt: skip
    return {
        node.name: whole or any(ast.unparse(d) == "pytest.mark.faults" for d in node.decorator_list)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def missing(cells: list[str]) -> list[tuple[str, str]]:
    """Tests that are named and not there, or not marked."""
    wrong = []
    for file, test in named_tests(cells):
        places = [path for path in (ROOT / "tests").rglob(Path(file).name) if path.match(file)]
        tests = marked_tests(places[0]) if len(places) == 1 else {}
        pattern = re.compile(".*".join(map(re.escape, test.split("…"))) if test else ".*")
        matching = [is_marked for name, is_marked in tests.items() if pattern.fullmatch(name)]
        if not matching or not all(matching):
            wrong.append((file, test))
    return wrong


def test_every_test_of_the_table_is_there_and_runs_as_a_fault() -> None:
    cells = table(DOCUMENT.read_text())
    assert len(cells) >= 20
    assert all(re.search(r"`[^`]*test_", cell) or "…" in cell for cell in cells)
    assert missing(cells) == []


@pytest.mark.parametrize(
    "cell",
    [
        "`test_disk.py::test_a_disk_that_never_was`",
        "`test_no_such_file.py`",
        "`test_run.py::test_bytes_are_the_same_with_one_cpu`",
        "`test_disk.py::test_a_read_only_output_is_refused_with_its_reason`, `…::test_nothing`",
    ],
)
def test_a_name_that_is_not_there_or_has_no_mark_is_found(cell: str) -> None:
    assert len(missing([cell])) == 1
