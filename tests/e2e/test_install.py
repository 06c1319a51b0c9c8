"""A clean install with only one extra works: no development tool hides a missing dependency."""

import subprocess
import sys
from pathlib import Path

import pytest

from predecode.sources.sample import make_sample

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def install(folder: Path, what: str) -> Path:
    """Makes an environment with the package from this tree; returns its programs' folder."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin/pip"), "install", "-q", "--disable-pip-version-check"]
    constraints = ["-c", str(ROOT / ".constraints.txt")]
    subprocess.run([*pip, *constraints, what], check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
    return folder / "bin"


def test_a_user_with_data_needs_the_run_extra_and_one_command(tmp_path: Path) -> None:
    bin_run = install(tmp_path / "run", ".[run]")
    root = tmp_path / "data/b1k"
    make_sample(root, episode_indices=[490040], modalities=("rgb",))
    done = subprocess.run(
        [str(bin_run / "predecode"), "run", "--src", "b1k", "--out", "shards/"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 episodes, 90 samples, 270 images in 1 shards" in done.stdout

    # Its templates are no Python files.
    script = (
        "from predecode.verification import page, report\n"
        "print(page.render_page(report.Report(written_by='x', subject='x', status='proven',"
        " findings=[], num_faults=0), [])[:15])"
    )
    page = subprocess.run(
        [str(bin_run / "python"), "-c", script],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert page.stdout == "<!doctype html>\n", page.stderr

    # The reading side needs none of that.
    bin_read = install(tmp_path / "read", ".")
    script = (
        "import sys; from train_shards.dataset import ShardDataset\n"
        "print(len(ShardDataset('shards')), ShardDataset('shards')[89]['frame_index'])\n"
        "print(sorted({'av', 'ray', 'torch', 'predecode', 'typer'} & set(sys.modules)))"
    )
    read = subprocess.run(
        [str(bin_read / "python"), "-c", script],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert read.stdout.split("\n")[:2] == ["90 89", "[]"], read.stderr
    packages = subprocess.run(
        [str(bin_read / "pip"), "list", "--format=freeze"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "av==" not in packages
    assert "ray==" not in packages
