"""Atomic publication: all or nothing, whatever happens inside the block."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from train_shards.storage import atomic_file, fsync_folder, sha256_of_file, write_atomic


def files_under(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def write_half(path: Path, temporary_folder: Path, error: BaseException) -> None:
    with atomic_file(path, temporary_folder) as file:
        file.write(b"new")
        raise error


def test_a_file_stands_whole_and_nothing_else_does(tmp_path: Path) -> None:
    write_atomic(tmp_path / "data/train/a.tar", b"abc", tmp_path / "tmp")
    assert files_under(tmp_path) == ["data/train/a.tar"]
    assert (tmp_path / "data/train/a.tar").read_bytes() == b"abc"


def test_nothing_stands_under_the_name_while_the_block_runs(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a.tar", tmp_path / "tmp") as file:
        file.write(b"abc")
        file.flush()
        assert not (tmp_path / "a.tar").exists()
        assert Path(file.name).parent == tmp_path / "tmp"
        assert str(os.getpid()) in file.name
    assert (tmp_path / "a.tar").read_bytes() == b"abc"


def test_an_error_leaves_neither_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        write_half(tmp_path / "a.tar", tmp_path / "tmp", RuntimeError("half way"))
    assert files_under(tmp_path) == []


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "a.tar", tmp_path / "tmp", KeyboardInterrupt())
    assert (tmp_path / "a.tar").read_bytes() == b"old"
    assert files_under(tmp_path) == ["a.tar"]


def test_a_second_write_replaces_the_first(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"old and longer", tmp_path / "tmp")
    write_atomic(tmp_path / "a", b"new", tmp_path / "tmp")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_killed_process_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from train_shards.storage import atomic_file\n"
        "out = Path(sys.argv[1])\n"
        "with atomic_file(out / 'data/a.tar', out / 'tmp') as file:\n"
        "    file.write(b'abc')\n"
        "    file.flush()\n"
        "    os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert done.returncode == 9
    left = files_under(tmp_path)
    assert len(left) == 1
    assert left[0].startswith("tmp/a.tar.")
    assert left[0].endswith(".tmp")


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"a file, not a folder")
    with pytest.raises(OSError, match="data"):
        write_atomic(tmp_path / "data/a.tar", b"abc", tmp_path / "tmp")
    assert files_under(tmp_path) == ["data"]


def test_a_folder_can_be_synced_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    fsync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        fsync_folder(tmp_path / "none")


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        # Source: FIPS 180-4's own examples, and its million letters a.
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"a" * 1_000_000,
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        ),
    ],
    ids=["empty", "abc", "million"],
)
def test_sha256_of_a_file(tmp_path: Path, content: bytes, digest: str) -> None:
    (tmp_path / "x").write_bytes(content)
    assert sha256_of_file(tmp_path / "x") == digest


def test_sha256_reads_beyond_one_block(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(3 << 20))
    said = subprocess.run(
        ["sha256sum", tmp_path / "x"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert sha256_of_file(tmp_path / "x") == said
