"""Names of sources, and where data are looked for."""

from pathlib import Path

import pytest

from predecode.sources.b1k import open_b1k
from predecode.sources.lerobot import LerobotSource
from predecode.sources.registry import DEFAULT_ROOT, SOURCES, find_root, open_source
from predecode.sources.videos import VideosSource
from train_shards.errors import UserError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no variable set."""
    monkeypatch.delenv("B1K_ROOT", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_the_kinds() -> None:
    assert {"b1k": open_b1k, "lerobot": LerobotSource, "videos": VideosSource} == SOURCES
    assert Path("data/b1k") == DEFAULT_ROOT


def test_root_goes_before_the_variable_and_that_before_the_default(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "work/data/b1k"):
        (elsewhere / name).mkdir(parents=True)
    assert find_root("b1k", None) == Path("data/b1k")
    monkeypatch.setenv("B1K_ROOT", str(elsewhere / "b"))
    assert find_root("b1k", None) == elsewhere / "b"
    assert find_root("b1k", elsewhere / "a") == elsewhere / "a"


def test_an_empty_variable_is_not_set(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "work/data/b1k").mkdir(parents=True)
    monkeypatch.setenv("B1K_ROOT", "")
    assert find_root("b1k", None) == Path("data/b1k")


def test_a_root_that_is_not_there_is_refused_whatever_else_is(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("B1K_ROOT", str(elsewhere))
    with pytest.raises(UserError, match="--root none: no such folder"):
        find_root("b1k", Path("none"))
    (elsewhere / "file").write_text("")
    with pytest.raises(UserError, match="file: no such folder"):
        find_root("b1k", elsewhere / "file")


def test_no_data_anywhere_says_where_it_was_looked_for_and_what_to_do() -> None:
    with pytest.raises(
        UserError,
        match=r"no data found. Looked at --root \(not given\), \$B1K_ROOT \(not set\) and "
        r"data/b1k \(no such folder\). For a small sample: predecode sample --out data/b1k",
    ):
        find_root("b1k", None)


def test_a_variable_that_names_no_folder_is_not_passed_over(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "work/data/b1k").mkdir(parents=True)
    monkeypatch.setenv("B1K_ROOT", "/no/such")
    with pytest.raises(
        UserError, match=r"\$B1K_ROOT \(/no/such: no such folder\) and data/b1k \(not looked at\)"
    ):
        find_root("b1k", None)


def test_videos_need_a_root() -> None:
    with pytest.raises(UserError, match="--src videos: needs --root, the folder of the data"):
        find_root("videos", None)


def test_an_unknown_kind_is_refused_with_the_known_ones(elsewhere: Path) -> None:
    with pytest.raises(UserError, match="--src rlds: expected one of b1k, lerobot, videos"):
        open_source("rlds", elsewhere)


def test_a_source_is_opened_at_its_root(elsewhere: Path) -> None:
    (elsewhere / "a.mp4").write_bytes(b"")
    source = open_source("videos", elsewhere)
    assert (source.kind, source.root, len(source.episodes)) == ("videos", elsewhere, 1)
    with pytest.raises(UserError, match="meta/info.json: not found"):
        open_source("b1k", elsewhere)
