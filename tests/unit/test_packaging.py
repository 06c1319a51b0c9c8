"""What the package declares is what its files import, extra by extra; slow installs are in e2e."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.unit.test_architecture import ROOT, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULE_OF = {"pillow": "PIL", "hydra-core": "hydra"}
ONLY_BY_NAME = {"s3fs"}
"""fsspec imports it where a URL begins with ``s3:``."""
OF_HYDRA = {"omegaconf"}
"""What an extra's library brings and is used with it."""
ASKED_FOR = {"torchvision", "torch"}
"""Of a decoder that the command line names; its error says how to install it."""


def declared(*extras: str) -> set[str]:
    """Names of modules that an install with these extras may import."""
    lines = [*PROJECT["dependencies"]]
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    names = [re.split(r"[<>=\[ ]", line)[0] for line in lines]
    return {MODULE_OF.get(name, name) for name in names} | (
        OF_HYDRA if "train" in extras else set()
    )


def imports(path: Path, *, at_once: bool) -> set[str]:
    """Modules that a file imports, also in functions unless ``at_once``; not for types alone."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if is_for_types or (at_once and isinstance(node, ast.FunctionDef)):
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        todo += ast.iter_child_nodes(node)
    return names


def loaded(*starts: str, at_once: bool) -> set[str]:
    """Libraries that are imported with some modules of ours."""
    known, libraries = modules(), set[str]()
    seen, todo = set[str](), [*starts]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for imported in imports(known[name], at_once=at_once):
            if imported in known:
                todo.append(imported)
            elif (root := imported.split(".")[0]) not in ("predecode", "train_shards"):
                libraries.add(root)
    assert len(seen) > 10
    return libraries - set(sys.stdlib_module_names)


def test_every_library_is_declared_and_every_declared_one_is_used() -> None:
    extras = [extra for extra in PROJECT["optional-dependencies"] if extra not in ("all", "dev")]
    assert extras == ["run", "train", "torchcodec", "wandb", "s3"]
    used = loaded(*modules(), at_once=False)
    assert used - declared(*extras) == {"torchvision"}
    assert declared(*extras) - used == ONLY_BY_NAME
    assert PROJECT["optional-dependencies"]["all"] == [f"predecode[{','.join(extras)}]"]


@pytest.mark.parametrize(
    ("starts", "extras"),
    [
        (["train_shards.__main__", "train_shards.dataset"], []),
        (["train_shards.launch", "train_shards.norm_stats"], []),
        (["train_shards.train", "train_shards.behavior", "train_shards.stream"], ["train"]),
    ],
)
def test_the_reading_side_imports_what_its_extra_brings(
    starts: list[str], extras: list[str]
) -> None:
    assert loaded(*starts, at_once=True) <= declared(*extras)


def test_the_writing_side_imports_what_its_extra_brings() -> None:
    names = [name for name in modules() if name.startswith(("predecode.commands", "predecode.api"))]
    assert len(names) > 25
    libraries = loaded("predecode.cli", *names, at_once=False)
    asked = {"torch", "torchvision", "torchcodec", "wandb"}
    assert libraries - asked <= declared("run")
    assert loaded("predecode.cli", *names, at_once=True) <= declared("run")


def test_the_project_says_which_pythons_it_takes() -> None:
    """Source: each library of [run] and the core has wheels for these."""
    found = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert (PROJECT["requires-python"], found) == (">=3.11", ["3.11", "3.12", "3.13", "3.14"])
    assert "Typing :: Typed" in PROJECT["classifiers"]
    for package in ("predecode", "train_shards"):
        assert (ROOT / package / "py.typed").is_file()
