"""The calls of a program: the commands' options, types and errors."""

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import predecode
from predecode import cli
from predecode.api.option import fields_of, flag_of
from predecode.errors import UserError
from tests.unit.predecode.test_b1k_source import EPISODES, INFO, TASKS, lines

CALLS = ("drop", "plan", "retry", "run", "sample", "verify")
ONLY_SAID = {"json", "quiet", "verbose", "config", "help"}
"""Options that say how a command speaks, and where options come from."""
COMMANDS: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_the_options_of_its_command(name: str) -> None:
    of_call = inspect.signature(getattr(predecode, name)).parameters
    flags = {opt: one for one in COMMANDS[name].params for opt in one.opts if opt[:2] == "--"}
    assert {flag_of(option) for option in of_call} == set(flags) - set(map(flag_of, ONLY_SAID))
    for option, parameter in of_call.items():
        is_needed = flags[flag_of(option)].required or (
            option == "out" and name in ("drop", "retry")
        )
        assert (parameter.default is parameter.empty) == is_needed, option
        if flags[flag_of(option)].default is not None:
            assert str(flags[flag_of(option)].default) == str(parameter.default), option
        assert parameter.annotation is not parameter.empty


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_documented_and_returns_what_it_says(name: str) -> None:
    call = getattr(predecode, name)
    assert call.__name__ == name
    assert "Raises:" in call.__doc__
    returned = inspect.signature(call).return_annotation
    assert returned.__module__.startswith("predecode.")
    assert returned.__doc__


def test_each_option_stands_under_a_heading_and_has_a_text() -> None:
    names = ("drop", "retry", "run", "plan", "sample", "verify")
    modules = {name: "run" if name == "plan" else name for name in names}
    for name, module in modules.items():
        options = getattr(
            sys.modules[f"predecode.api.{module}_options"], f"{name.capitalize()}Options"
        )
        fields = list(fields_of(options))
        assert len(fields) == len(dataclasses.fields(options)) > 2
        for field in fields:
            assert field.option.help.endswith(".")
            assert field.option.group


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"stride": "2"}, r"--stride '2': expected int, got str\."),
        ({"num_cpus": 0}, r"--num-cpus 0: expected 1 or more\."),
        ({"hang_limit_s": float("nan")}, r"--hang-limit-s nan: expected 1 or more\."),
        ({"for_run": ("steps=5",)}, r"--for-run \('steps=5',\): expected array of length 3"),
        ({"root": 3}, "--root 3: expected str"),
        ({"wandb": "yes"}, "--wandb 'yes': expected bool, got str"),
        ({"codec": "jpg"}, "--codec jpg: expected one of .* Did you mean 'jpeg'"),
        ({"src": "b2k"}, "--src b2k: expected one of b1k, lerobot, videos"),
    ],
)
def test_a_wrong_value_is_refused_as_on_the_command_line(
    words: dict[str, Any], said: str, tmp_path: Path
) -> None:
    root = tmp_path / "b1k"
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(INFO))
    (root / "meta/tasks.jsonl").write_text(lines(TASKS))
    (root / "meta/episodes.jsonl").write_text(lines(EPISODES))
    with pytest.raises(UserError, match=said):
        predecode.run(**{"src": "b1k", "root": root, "out": tmp_path / "new", **words})
    assert not (tmp_path / "new").exists()


def test_a_misspelt_option_is_pythons_error() -> None:
    with pytest.raises(TypeError, match="strid"):
        predecode.run(src="b1k", out="shards", strid=2)  # type: ignore[call-arg]
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        predecode.runn  # type: ignore[attr-defined]  # noqa: B018


def test_every_name_of_the_package_is_there() -> None:
    for name in predecode.__all__:
        assert getattr(predecode, name) is not None
    assert issubclass(predecode.InfraError, Exception)


def test_the_package_is_light_until_a_call_is_used() -> None:
    script = (
        "import sys, predecode\n"
        "print(sorted({'av', 'numpy', 'pyarrow', 'ray', 'rich', 'typer'} & set(sys.modules)))\n"
        "predecode.run\n"
        "print(sorted({'av', 'numpy', 'ray', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )  # fmt: skip
    # Ray is imported when there is a task, Typer for the command line alone.
    assert done.stdout == "[]\n['av', 'numpy']\n"
