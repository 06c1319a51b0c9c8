"""How the command line behaves: help, completion, what it loads."""

import os
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer

from docs.check import ROOT, reference
from predecode import cli

COMMANDS: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
HEAVY = {
    "av", "fsspec", "jinja2", "numpy", "pandas", "PIL", "pyarrow", "ray", "rich", "simplejpeg",
    "torch", "torchcodec", "wandb",
}  # fmt: skip


def section(name: str) -> str:
    """What ``--help`` prints of a command."""
    return reference().partition(f"## predecode {name}\n\n```\n")[2].partition("\n```")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_headings_and_examples_of_the_command(name: str) -> None:
    text = section(name)
    assert text.startswith(f"Usage: predecode {name} ")
    headings = re.findall(r"^([A-Z][\w ]+):$", text, re.MULTILINE)
    assert headings[-2:] == ["Other", "Examples"]
    assert "Options" not in headings
    assert len(headings) == len(set(headings)) >= 4
    examples = text.partition("\nExamples:\n")[2].splitlines()
    assert 2 <= len(examples) <= 4
    for example in examples:
        assert shlex.split(example)[:2] == ["predecode", name]


def test_options_of_run_stand_under_their_headings() -> None:
    text = section("run")
    order = ["\nSource:", "--src", "\nOutput:", "--out", "--overwrite", "\nSelection:", "--stride",
             "\nWhat is stored:", "--codec", "\nTasks and where they run:", "--num-cpus",
             "\nWhat is said:", "--quiet"]  # fmt: skip
    found = [text.index(word) for word in order]
    assert found == sorted(found)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_out_and_json(name: str) -> None:
    opts = {opt for one in COMMANDS[name].params for opt in one.opts}
    assert {"-o", "--out", "--json"} <= opts
    is_long = {"-q", "--quiet", "-v", "--verbose"} <= opts
    assert is_long == (name not in ("status", "inspect", "doctor"))


def loaded(words: str, **variables: str) -> tuple[str, set[str]]:
    """What a command prints, and which heavy modules it has loaded."""
    script = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr))\n"
        f"from predecode.cli import main; main({words.split()!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, **variables},
    )  # fmt: skip
    return done.stdout, set(re.findall(r"'(\w+)'", done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("words", ["--help", "run --help", "--show-completion bash"])
def test_help_and_completion_load_no_heavy_library(words: str) -> None:
    # typer asks the processes above which shell this is; there need not be one.
    out, heavy = loaded(words, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert len(out) > 200
    assert heavy == set()


def test_status_of_a_folder_loads_what_it_reads_with() -> None:
    out, heavy = loaded(f"status {ROOT / 'tests/golden/v1.1'}")
    assert ": complete\n" in out
    assert heavy & {"fsspec", "jinja2", "pandas", "ray", "rich", "torch", "wandb"} == set()


def test_the_shell_completes_commands_and_options() -> None:
    """Typer's protocol: what the script of ``--show-completion bash`` calls."""
    variables = {"_PREDECODE_COMPLETE": "complete_bash", "COMP_WORDS": "predecode run --s"}
    out, heavy = loaded("", **variables, COMP_CWORD="2")
    assert out.split() == [
        "--src", "--stride", "--size", "--shard-size", "--seed", "--staging"
    ]  # fmt: skip
    assert heavy == set()


def test_bash_takes_the_completion_script() -> None:
    script = (
        f'predecode() {{ "{sys.executable}" -m predecode "$@"; }}\n'
        'eval "$(predecode --show-completion bash)"\n'
        "complete -p predecode\n"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "complete -o default -F _predecode_completion predecode\n", done.stderr
