"""A run's folder is opened or refused, its newest checkpoint found or its fault told."""

from pathlib import Path

import pytest
import torch

from train_shards.checkpoint import load_newest_checkpoint, open_run_folder, save_checkpoint
from train_shards.errors import DataError, UserError
from train_shards.ranks import Ranks

ALONE = Ranks(0, 1, torch.device("cpu"))


def open_new(folder: Path) -> Path:
    open_run_folder(folder, ALONE, resume=False, overwrite=False)
    return folder


def test_a_new_run_gets_its_folder_and_no_second_run_the_same(tmp_path: Path) -> None:
    folder = open_new(tmp_path / "runs/first")
    assert folder.is_dir()
    with pytest.raises(UserError, match=r"exists already. Give resume=true .* overwrite=true"):
        open_new(folder)


def test_overwrite_deletes_a_run(tmp_path: Path) -> None:
    folder = open_new(tmp_path / "first")
    save_checkpoint(folder, 3, {})
    open_run_folder(folder, ALONE, resume=False, overwrite=True)
    assert load_newest_checkpoint(folder) is None
    open_run_folder(tmp_path / "new", ALONE, resume=False, overwrite=True)  # nothing to delete


def test_overwrite_deletes_nothing_but_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1.tex").write_text("…")
    with pytest.raises(UserError, match=r"not a run of this trainer; overwrite=true does not"):
        open_run_folder(tmp_path / "thesis", ALONE, resume=False, overwrite=True)
    assert (tmp_path / "thesis/chapter1.tex").exists()


@pytest.mark.parametrize("name", ["nowhere", "other"])
def test_only_a_run_is_resumed(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="no run to resume here"):
        open_run_folder(tmp_path / name, ALONE, resume=True, overwrite=False)


def test_a_run_without_a_checkpoint_is_resumed_from_its_beginning(tmp_path: Path) -> None:
    folder = open_new(tmp_path / "first")
    open_run_folder(folder, ALONE, resume=True, overwrite=False)
    assert load_newest_checkpoint(folder) is None


def test_the_highest_step_is_found_whatever_else_lies_there(tmp_path: Path) -> None:
    names = [
        save_checkpoint(tmp_path, step, {"model": {"w": torch.full((2,), step)}}).name
        for step in (9, 100_000_000, 10)
    ]
    assert names[::2] == ["checkpoint-00000009.pt", "checkpoint-00000010.pt"]
    (tmp_path / "checkpoint-999999999.pt.host.1.tmp").write_bytes(b"half")
    (tmp_path / "checkpoint-final.pt").write_bytes(b"foreign")
    state = load_newest_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 100_000_000
    assert state["model"]["w"].tolist() == [100_000_000] * 2


def test_a_crash_while_writing_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, 1, {})

    def crash(_: object, file: object) -> None:
        file.write(b"half of it")  # type: ignore[attr-defined]
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", crash)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path, 2, {})
    state = load_newest_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1


@pytest.mark.parametrize("num_bytes", [0, 10, 300])
def test_a_cut_checkpoint_is_named(tmp_path: Path, num_bytes: int) -> None:
    path = save_checkpoint(tmp_path, 1, {"w": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(DataError, match=r"checkpoint-00000001.pt: cannot be read.* Delete it"):
        load_newest_checkpoint(tmp_path)


def test_a_checkpoint_under_another_name_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {}).rename(tmp_path / "checkpoint-00000002.pt")
    with pytest.raises(DataError, match="expected step 2 of a run, format version 1"):
        load_newest_checkpoint(tmp_path)
