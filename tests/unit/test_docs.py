"""The pages: their links, their code blocks, what of them is made of the code, what CI runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs.check import FORMAT, REFERENCE, faults, pages, reference, with_tables
from docs.readme import Block, blocks, missing_line, script

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


def test_tables_of_the_format_are_those_of_the_code() -> None:
    page = FORMAT.read_text()
    assert with_tables(page) == page, "write it anew: make docs"
    for row in (  # literal: offsets and sizes that files of 1.0 already had
        "| `data_offset_bytes` | uint32 x m |",
        "| samples | 24 + 8 m each |",
        "| `<camera>.jpg` | `jpeg` |",
        "| `base_qvel` | 253:256 | 0:3 |",
        "| `first_frame` | uint32 |",
        "  .predecode/index/<split>-000000-d2.idx ",
        "| `ranges` | list[tuple[Count, Count]] | Missing frames, `[start, stop)`;",
    ):
        assert row in page


def test_a_table_that_was_changed_by_hand_or_left_out_is_found() -> None:
    page = FORMAT.read_text()
    changed = page.replace("| 24 + 8 m each |", "| 32 + 8 m each |")
    assert with_tables(changed) == page != changed
    with pytest.raises(ValueError, match="marked regions: expected"):
        with_tables(page.replace("<!-- from the code: ledger -->", ""))


def test_the_readme_runs_all_but_what_needs_the_trainer_and_the_tests_last() -> None:
    found = blocks((ROOT / "README.md").read_text())
    assert [block.kind for block in found] == ["bash", "bash", "python", "bash trainer", "bash"]
    assert found[0].text.startswith("make setup ")
    assert "6 episodes, 2,715 samples, 8,145 images" in found[0].promised
    assert found[-1].text.split("#")[0].strip() == "make test"
    design = ("predecode run ", "predecode verify ", "python -m train_shards.train data=shards ")
    lines = found[1].text.splitlines()[1:]
    assert [line.startswith(start) for line, start in zip(lines, design, strict=True)] == [True] * 3


PAGE = """```text
a picture
```
```bash
A='$x y'
```
```python
print("a")
```
```text
a
```
```bash
echo "$A"; false
echo never
```
"""


def test_blocks_of_a_readme_run_in_one_shell_up_to_the_first_that_fails() -> None:
    found = blocks(PAGE)
    assert [block.promised for block in found] == ["", "a\n", ""]
    text = f'python() {{ {sys.executable} "$@"; }}\n{script(found)}'
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line[:3] != "==="] == ["a", "$x y"]
    assert done.stdout.count("=== README, block") == 3


def test_a_block_of_a_readme_that_is_of_no_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="block 'yaml': expected bash"):
        blocks("```yaml\na: b\n```\n")
    assert blocks("```bash trainer\na\n```\n") == [Block("bash trainer", "a\n", "")]


@pytest.mark.parametrize(
    ("printed", "missing"),
    [
        ("run\n3 shards, 2.25 MB, x y\nend\n", None),
        ("3 shards, 2.25 MB, x y\n", "end"),
        ("end\n3 shards, 2.25 MB, x y\n", "end"),
        ("4 shards, 2.25 MB, x y\nend\n", "3 shards, 17.5 MB, …"),
        ("more than 3 shards, 2.25 MB, x y\nend\n", "3 shards, 17.5 MB, …"),
    ],
)
def test_what_a_readme_promises_must_come_in_its_order(printed: str, missing: str | None) -> None:
    assert missing_line("3 shards, 17.5 MB, …\nend\n", printed) == missing
