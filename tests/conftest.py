"""Data sets and outputs that many tests read and none changes."""

import fcntl
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from predecode.sources import sample_damaged
from predecode.sources.sample import make_sample
from predecode.sources.sample_2026 import make_sample_2026
from predecode.sources.sample_damaged import make_damaged_sample
from predecode.sources.sample_rft import make_sample_rft
from tests.support.damaged import copying
from tests.support.jobs import command, run_here

# Examples that are the same everywhere, and no clock: the machine may be busy.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

SAMPLE_EPISODES = (10, 20, 40, 490010, 490040)
"""Lengths 120, 250, 751, 501 and 90; 40 has a scene cut, 490040 is a rollout without poses."""


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Returns a path below which ``make`` wrote, for the first of pytest's processes that asks."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once" / name
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.with_suffix(".made").exists():
            shutil.rmtree(folder, ignore_errors=True)  # what one that failed has left
            folder.mkdir()
            make(folder / name)
            folder.with_suffix(".made").touch()
    return folder / name


@pytest.fixture(scope="session")
def b1k_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in the 2025 layout, rgb only."""
    return made_once(
        tmp_path_factory,
        "b1k",
        partial(make_sample, episode_indices=SAMPLE_EPISODES, modalities=("rgb",)),
    )


@pytest.fixture(scope="session")
def jpeg_shards(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default output of ``b1k_root``, in several shards."""
    return made_once(tmp_path_factory, "shards", partial(run_here, b1k_root))


@pytest.fixture(scope="session")
def modal_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes in the 2025 layout with depth and segmentation, of 120 and 250 frames."""
    make = partial(make_sample, episode_indices=(10, 20), num_processes=2)
    return made_once(tmp_path_factory, "modal", make)


@pytest.fixture(scope="session")
def modal_shards(modal_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every modality of ``modal_root`` in the sample's own size."""
    make = partial(run_here, modal_root, modalities="rgb,depth,seg_instance_id", size="native")
    return made_once(tmp_path_factory, "modal_shards", make)


@pytest.fixture(scope="session")
def root_2026(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in the 2026 layout, rgb only."""
    make = partial(make_sample_2026, modalities=("rgb",), num_processes=2)
    return made_once(tmp_path_factory, "b1k_2026", make)


@pytest.fixture(scope="session")
def depth_root_2026(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in the 2026 layout, depth only."""
    make = partial(make_sample_2026, modalities=("depth",), num_processes=2)
    return made_once(tmp_path_factory, "depth_2026", make)


@pytest.fixture(scope="session")
def shards_2026(root_2026: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default output of ``root_2026``, in two shards."""
    return made_once(tmp_path_factory, "shards_2026", partial(run_here, root_2026))


@pytest.fixture(scope="session")
def damaged_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The damaged set of the 2025 layout, made by the command line."""

    def make(root: Path) -> None:
        done = command("sample", "--damaged", "--out", root)
        assert done.returncode == 0, done.stderr
        (root.parent / "planted.txt").write_text(done.stdout)

    return made_once(tmp_path_factory, "damaged", make)


@pytest.fixture(scope="session")
def damaged_root_2026(root_2026: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The damaged set of the 2026 layout, of a sound one that is there already."""

    def make(root: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sample_damaged, "build_sample_2026", copying(root_2026))
            make_damaged_sample(root, edition="2026")

    return made_once(tmp_path_factory, "damaged_2026", make)


@pytest.fixture(scope="session")
def rft_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set of rollouts."""
    return made_once(tmp_path_factory, "rft", partial(make_sample_rft, num_processes=2))


@pytest.fixture(scope="session")
def rft_shards(rft_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default output of ``rft_root``."""
    return made_once(tmp_path_factory, "shards_rft", partial(run_here, rft_root))


@pytest.fixture
def own_root_2026(root_2026: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may break."""
    return Path(shutil.copytree(root_2026, tmp_path / "b1k_2026"))


@pytest.fixture
def own_root(b1k_root: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may break."""
    return Path(shutil.copytree(b1k_root, tmp_path / "b1k"))


@pytest.fixture
def own_shards(jpeg_shards: Path, tmp_path: Path) -> Path:
    """A copy of the output that a test may break."""
    return Path(shutil.copytree(jpeg_shards, tmp_path / "shards"))
