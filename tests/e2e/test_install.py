"""A clean install with only one extra works: no development tool hides a missing dependency.

``tests/unit/test_packaging.py`` compares what every file imports with what each extra brings.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from predecode.sources.sample import make_sample

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NUMPY_1 = ("numpy==1.26.4", "pyarrow<21")
"""What the trainer's own environment has; newer pyarrow refuses it, see README."""


def environment(folder: Path, *what: str, constraints: Path | None) -> Path:
    """Makes an environment with some packages; returns its programs' folder."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin/pip"), "install", "-q", "--no-compile", "--disable-pip-version-check"]
    limits = [] if constraints is None else ["-c", str(constraints)]
    subprocess.run([*pip, *limits, *what], check=True, stderr=subprocess.DEVNULL)
    return folder / "bin"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is made of the sdist that is made of this tree."""
    place = tmp_path_factory.mktemp("dist")
    tools = environment(place / "tools", "hatchling", constraints=None)
    build = [str(tools / "python"), "-m", "hatchling", "build", "-d", str(place), "-t"]
    subprocess.run([*build, "sdist"], check=True, cwd=ROOT, capture_output=True)
    (sdist,) = place.glob("predecode-*.tar.gz")
    with tarfile.open(sdist) as tar:
        tar.extractall(place, filter="data")
    (tree,) = place.glob("predecode-*/")
    for name in ("Makefile", ".constraints.txt", "tests/conftest.py", "docs/api.md", "benchmarks"):
        assert (tree / name).exists(), name
    subprocess.run([*build, "wheel"], check=True, cwd=tree, capture_output=True)
    (made,) = place.glob("*.whl")
    return made


def test_the_wheel_holds_what_no_python_file_imports(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        path.relative_to(ROOT).as_posix()
        for package in ("predecode", "train_shards")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len([name for name in ours if not name.endswith(".py")]) > 8
    assert names - {name for name in names if ".dist-info/" in name} == ours


def test_a_user_with_data_needs_the_run_extra_and_one_command(wheel: Path, tmp_path: Path) -> None:
    limits = ROOT / ".constraints.txt"
    bin_run = environment(tmp_path / "run", f"{wheel}[run]", constraints=limits)
    root = tmp_path / "data/b1k"
    make_sample(root, episode_indices=[490040], modalities=("rgb",))
    done = subprocess.run(
        [str(bin_run / "predecode"), "run", "--src", "b1k", "--out", "shards/"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 episodes, 90 samples, 270 images in 1 shards" in done.stdout

    # Its templates are no Python files; the calls need no more than the command.
    script = (
        "import predecode\n"
        "print(predecode.verify('shards', fast=True, report='proof').status)\n"
        "print(open('proof/report.html').read(15))"
    )
    page = subprocess.run(
        [str(bin_run / "python"), "-c", script],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert page.stdout == "proven\n<!doctype html>\n", page.stderr

    # The reading side needs none of that, and takes the trainer's own numpy.
    bin_read = environment(tmp_path / "read", f"{wheel}[s3]", *NUMPY_1, constraints=None)
    script = (
        "import sys; from train_shards.dataset import ShardDataset\n"
        "print(len(ShardDataset('shards')), ShardDataset('shards')[89]['frame_index'])\n"
        "print(sorted({'av', 'ray', 'torch', 'predecode', 'typer'} & set(sys.modules)))\n"
        "import numpy, s3fs; print(numpy.__version__)"
    )
    read = subprocess.run(
        [str(bin_read / "python"), "-c", script],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert read.stdout.splitlines() == ["90 89", "[]", "1.26.4"], read.stderr
    packages = subprocess.run(
        [str(bin_read / "pip"), "list", "--format=freeze"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "s3fs==" in packages
    for name in ("av", "ray", "torch", "typer", "hydra-core", "wandb"):
        assert f"\n{name}==" not in packages
    refused = subprocess.run(
        [str(bin_read / "predecode"), "run"], capture_output=True, text=True, check=False
    )
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "No module named 'typer'" in refused.stderr
    assert "pip install 'predecode[run]'" in refused.stderr
