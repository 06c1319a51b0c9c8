"""Nothing in either package turns data into code: no pickle, no eval, no yaml."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for name in ("predecode", "train_shards") for path in (ROOT / name).rglob("*.py")
)

MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__"}
LOADERS = {"torch.load": "weights_only", "np.load": "allow_pickle", "numpy.load": "allow_pickle"}
"""What reads pickles unless told otherwise -> how it is told."""


def problems(source: str) -> Iterator[str]:
    """Every place that could run what a file says."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            yield from _problems_of_call(node)


def _problems_of_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    options = {keyword.arg: keyword.value for keyword in node.keywords}
    allowed = options.get("allow_pickle")
    if allowed is not None and not (isinstance(allowed, ast.Constant) and allowed.value is False):
        yield f"{name}(allow_pickle={ast.unparse(allowed)})"
    if name in CALLS:
        yield name
    if name in LOADERS:
        told = options.get(LOADERS[name])
        if not (isinstance(told, ast.Constant) and told.value is (name == "torch.load")):
            yield name


def test_both_packages_are_looked_at() -> None:
    assert len(FILES) > 150
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == {"predecode", "train_shards"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_makes_code_of_data(path: Path) -> None:
    assert list(problems(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "def f():\n    from marshal import loads", "import yaml", "eval('1')",
        "np.load(f)", "read_array(f, allow_pickle=True)", "read_array(f, allow_pickle=flag)",
        "torch.load(f)", "torch.load(f, weights_only=False)", "import joblib.numpy_pickle",
    ],
)  # fmt: skip
def test_each_of_these_would_be_found(source: str) -> None:
    assert len(list(problems(source))) == 1
