"""The examples of docs/extending.md: added to a copy of the packages, they work."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.guide import blocks_of
from tests.support.jobs import command
from tests.support.media import make

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BLOCKS = blocks_of(ROOT / "docs/extending.md")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of both packages with everything that the page adds."""
    copy = tmp_path_factory.mktemp("extended")
    for package in ("predecode", "train_shards"):
        shutil.copytree(ROOT / package, copy / package)
    files = [block for block in BLOCKS if block.info.startswith("python ")]
    assert len(files) == 2
    for block in files:
        (copy / block.info.removeprefix("python ")).write_text(block.text)
    for block in BLOCKS:
        if block.info == "diff":
            subprocess.run(
                ["git", "apply", "-C1", "-"], input=block.text, text=True, check=True, cwd=copy
            )
    return copy


def test_a_source_a_decoder_and_a_codec_of_the_page_make_proven_shards(
    extended: Path, tmp_path: Path
) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("h264", "hevc"):
        make(name, tmp_path / "videos")
    labels = 'h264.mp4,open the drawer\nhevc.mp4,"close it, gently"\n'
    (tmp_path / "videos/labels.csv").write_text(labels)
    (commands,) = (block.text for block in BLOCKS if block.info == "bash run")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(extended)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 episodes, 30 samples, 30 images in 1 shards" in done.stdout
    assert re.search(r"pyav +all \d\d equal", done.stdout)
    assert "shards: proven: 1 shard, 30 samples" in done.stdout
    for sentence in ("task: 'open the drawer'", "task: 'close it, gently'"):
        assert sentence in done.stdout
    with tarfile.open(tmp_path / "shards/data/train/labelled-train-000000.tar") as tar:
        members = tar.getnames()
        picture = tar.extractfile("ep00000001_f000010.video.avif")
        assert picture is not None
        assert picture.read(12)[4:] == b"ftypavif"
    assert sum(name.endswith(".avif") for name in members) == 30


def test_without_its_table_the_source_is_refused(extended: Path, tmp_path: Path) -> None:
    make("h264", tmp_path)
    done = command(
        "run", "--src", "labelled", "--root", ".", "--out", "shards",
        cwd=tmp_path, PYTHONPATH=str(extended),
    )  # fmt: skip
    assert done.returncode == 2
    assert "labels.csv: no such file" in done.stderr
