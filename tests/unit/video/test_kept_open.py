"""Which decoders stay open, by a decoder that only counts."""

from pathlib import Path

import pytest

from predecode.errors import MediaError
from predecode.video.decoder import Decoder
from predecode.video.kept_open import KeptOpen
from predecode.video.packets import FrameTable, frame_table_of, read_frame_table
from tests.support.media import make

A, B, C = Path("a.mp4"), Path("b.mp4"), Path("c.mp4")


class Counted(Decoder):
    log: list[str]

    def __init__(self, path: Path, table: FrameTable | None = None) -> None:
        super().__init__(path, table)
        self.log.append(f"open {path.stem}")

    def close(self) -> None:
        super().close()
        self.log.append(f"close {self._path.stem}")

    def _picture(self, rank: int) -> None:  # type: ignore[override]
        raise MediaError(f"picture {rank}", "whole", "damaged")


@pytest.fixture
def log() -> list[str]:
    Counted.log = []
    return Counted.log


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> FrameTable:
    return read_frame_table(make("hevc_short_gops", tmp_path_factory.mktemp("media")))


def test_files_stay_open_up_to_the_bound(log: list[str], table: FrameTable) -> None:
    with KeptOpen(Counted, 2) as videos:
        for path in (A, B, A, B, C, B, A):
            with videos(path, table):
                pass
        assert log == ["open a", "open b", "open c", "close a", "open a", "close c"]
        log.clear()
    assert sorted(log) == ["close a", "close b"]


def test_a_decoder_that_failed_is_not_used_again(log: list[str], table: FrameTable) -> None:
    with KeptOpen(Counted, 2) as videos:
        with pytest.raises(MediaError, match="picture 3"), videos(A, table) as decoder:
            next(decoder.pictures([3]))
        assert log == ["open a", "close a"]
        with videos(A, table):
            pass
        assert log == ["open a", "close a", "open a"]


def test_a_frame_table_is_kept_until_its_file_changes(tmp_path: Path) -> None:
    path = make("hevc_short_gops", tmp_path)
    first = frame_table_of(path)
    assert frame_table_of(path) is first
    path.write_bytes(make("hevc", tmp_path).read_bytes())
    assert len(frame_table_of(path)) == 150 != len(first)
    path.unlink()
    with pytest.raises(MediaError, match="cannot be opened"):
        frame_table_of(path)
