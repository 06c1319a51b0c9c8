"""The pages: their links, their code blocks, and the command reference as ``--help`` prints it."""

from pathlib import Path

import pytest

from docs.check import REFERENCE, faults, pages, reference

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_is_right(page: Path) -> None:
    assert list(faults(page)) == []


def test_the_reference_is_what_help_prints() -> None:
    assert REFERENCE.read_text() == reference(), "write it anew: make docs"
    for word in ("predecode run", "--annotated-only", "predecode doctor", "--backend-python"):
        assert word in reference()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](other.md)", "1: link other.md: expected a file"),
        ("![a](other.png)", "1: link other.png: expected a file"),
        ("| a |\n|---|\n| [b](gone.md) |", "3: link gone.md"),
        ("[a](#two)\n\n# One", "1: link #two"),
        ("# One\n\n[a](page.md#one-and-more)", "3: link page.md#one-and-more"),
        ("```python\na = (\n```", "1: Python block"),
        ("```\npredecode rum --src b1k\n```", "1: predecode rum --src b1k: No such command 'rum'"),
        ("```sh\npredecode run --src b1k --out a --strid 2\n```", "No such option: --strid"),
        ("```\npredecode run \\\n    --src b1k\n```", "Missing option '--out'"),
        (
            "```\npredecode run --src b1k --out a --stride two  # b\n```",
            "Invalid value for '--stride'",
        ),
    ],
)
def test_a_fault_of_a_page_is_found(tmp_path: Path, text: str, said: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    (found,) = faults(page)
    assert said in found


def test_what_is_right_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One, `two` and 3\n\n[a](page.md) [b](#one-two-and-3) [c](https://example.org/x)\n\n"
        "`[no](link.md)`\n\n```python\na = 1\n```\n\n```yaml\na: (\n```\n\n```\n"
        "$ predecode run --src b1k --out shards/ && predecode verify\npredecode --version\n"
        "predecode verify shards/ | tail -n 1\nit's prose\n```\n"
    )
    assert list(faults(page)) == []
