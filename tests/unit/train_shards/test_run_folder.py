"""Where a run's checkpoints are, and at which step it goes on."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from train_shards.errors import UserError
from train_shards.run_folder import RunFolder, planned_steps

WORDS = ("pi05_b1k", "--exp_name", "first")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checkpoints(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (WORDS, "checkpoints/pi05_b1k/first"),
        (("c", "--exp-name=x", "--checkpoint_base_dir", "/runs"), "/runs/c/x"),
        (("--exp_name", "x", "--checkpoint-base-dir=/runs"), "/runs/x"),
        (("c", "--batch_size", "8"), None),
        ((), None),
    ],
)
def test_a_new_runs_folder_follows_from_its_words(
    here: Path, words: tuple[str, ...], path: str | None
) -> None:
    del here
    assert RunFolder.of(words) == RunFolder(None if path is None else Path(path), resume=False)


@pytest.mark.parametrize("where", ["checkpoints/pi05_b1k/first", "outputs/checkpoints/first"])
def test_an_existing_folder_is_found_in_either_trainers_place(here: Path, where: str) -> None:
    checkpoints(here / where, "5")
    folder = RunFolder.of((*WORDS, "--resume"))
    assert folder == RunFolder(Path(where), resume=True)
    assert folder.start_step(None) == 5


def test_two_folders_that_fit_are_refused(here: Path) -> None:
    checkpoints(here / "checkpoints/pi05_b1k/first", "5")
    checkpoints(here / "outputs/checkpoints/first", "9")
    with pytest.raises(UserError, match=r"--exp_name first: expected one folder, got .* run_dir="):
        RunFolder.of((*WORDS, "--resume"))


def test_the_trainers_own_configuration_counts_before_its_words(here: Path) -> None:
    config = SimpleNamespace(checkpoint_dir=here / "own", resume=True)
    assert RunFolder.of(WORDS, config=config) == RunFolder(here / "own", resume=True)
    assert RunFolder.of((*WORDS, "--resume", "--no-resume")).resume is False
    given = RunFolder.of((*WORDS, "--resume"), run_dir="given")
    assert given == RunFolder(Path("given"), resume=True)


def test_only_complete_checkpoints_count_and_the_largest_number_wins(tmp_path: Path) -> None:
    checkpoints(tmp_path, "9", "10", "tmp_11", "12.orbax-checkpoint-tmp-3", "assets")
    (tmp_path / "13").write_text("a file")
    folder = RunFolder(tmp_path, resume=True)
    assert folder.latest_step() == 10
    assert folder.start_step(None) == folder.start_step(10) == 10
    # A run that does not resume starts anew, whatever is there, unless it is told otherwise.
    assert RunFolder(tmp_path, resume=False).start_step(None) == 0
    assert RunFolder(tmp_path, resume=False).start_step(7) == 7


def test_a_step_that_disagrees_with_the_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(checkpoints(tmp_path, "9"), resume=True)
    with pytest.raises(UserError, match=r"resume_step=8: the trainer resumes from .*/9\."):
        folder.start_step(8)
    with pytest.raises(UserError, match="resume_step=0: the trainer resumes"):
        folder.start_step(0)


def test_resuming_from_nothing_is_refused_unless_the_step_is_told(tmp_path: Path) -> None:
    empty = RunFolder(tmp_path, resume=True)
    with pytest.raises(UserError, match=r"--resume: no checkpoint in .* resume_step="):
        empty.start_step(None)
    with pytest.raises(UserError, match="--resume: no checkpoint in an unknown folder"):
        RunFolder(None, resume=True).start_step(None)
    assert empty.start_step(12) == 12


def test_checkpoints_that_count_otherwise_are_refused(tmp_path: Path) -> None:
    checkpoints(tmp_path / "9", "train_state", "params")
    with pytest.raises(UserError, match="checkpoint 9 is one of the JAX trainer"):
        RunFolder(tmp_path, resume=True).start_step(None)


@pytest.mark.parametrize(
    ("words", "config", "steps"),
    [
        ([], None, None),
        (["pi05", "--num-train-steps", "7"], None, 7),
        (["--num_train_steps=7"], SimpleNamespace(num_train_steps=9), 9),
        (["--steps=5"], SimpleNamespace(), 5),
        (["--steps=many"], None, None),
    ],
)
def test_the_steps_of_a_run_are_told_by_its_configuration_or_words(
    words: list[str], config: object, steps: int | None
) -> None:
    assert planned_steps(words, config) == steps
