"""Pictures in a column of a parquet file, against the pictures that were put there."""

import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from predecode.errors import MediaError
from predecode.video.backends import load_backend
from predecode.video.image_column import ImageColumnDecoder, ImageTable, image_table_of
from tests.support.lerobot_v21 import cell_of, picture_of

COLUMN = "observation.images.top"
NAME = "rows.parquet"
CELLS = pa.struct({"bytes": pa.binary(), "path": pa.string()})
NUM_ROWS = 25


def write(root: Path, cells: Iterable[Any], name: str = COLUMN, **options: Any) -> ImageTable:
    """A file with two columns of pictures; the table of the first."""
    column = pa.array(list(cells), CELLS)
    other = pa.array([cell_of(0, 0)] * len(column), CELLS)
    pq.write_table(
        pa.table({name: column, "other": other}), root / NAME, row_group_size=10, **options
    )
    return image_table_of(root, NAME, COLUMN, (15, 1))


def saved(mode: str, size: tuple[int, int] = (160, 96), **options: Any) -> dict[str, Any]:
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG", **options)
    return {"bytes": file.getvalue(), "path": "a.png"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write(folder, (cell_of(1, frame) for frame in range(NUM_ROWS)))
    return folder


def test_a_column_is_a_video_of_keyframes_at_the_rows_rate(root: Path) -> None:
    table = image_table_of(root, NAME, COLUMN, (15, 1))
    assert (len(table), table.time_base) == (NUM_ROWS, Fraction(1, 15))
    assert table.pts.tolist() == table.keyframe_ranks.tolist() == list(range(NUM_ROWS))
    assert (table.width, table.height, table.codec_name) == (160, 96, "png")
    assert table.group_starts.tolist() == [0, 10, 20, 25]
    assert image_table_of(root, NAME, "other", (15, 1)).digest != table.digest


@pytest.mark.parametrize("backend", ["pyav", "torchcodec"])
def test_whatever_decodes_videos_a_column_is_read_row_by_row(root: Path, backend: str) -> None:
    table = image_table_of(root, NAME, COLUMN, (15, 1))
    with load_backend(backend)(root / NAME, table) as decoder:
        for ranks in (range(NUM_ROWS), [3], [3, 4, 19], [0, 9, 10, 24], [24], range(0, 25, 7)):
            found = list(decoder.pictures(list(ranks)))
            assert [rank for rank, _ in found] == list(ranks)
            for rank, picture in found:
                assert np.array_equal(picture, picture_of(1, rank)), rank


def test_reading_on_reads_no_row_twice(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[list[int]] = []
    genuine = pq.ParquetFile.iter_batches

    def counted(self: Any, rows: int, **options: Any) -> Any:
        starts.append(options["row_groups"])
        return genuine(self, rows, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    table = image_table_of(root, NAME, COLUMN, (15, 1))
    starts.clear()
    with ImageColumnDecoder(root / NAME, table) as decoder:
        for rank in (1, 2, 8, 9, 12, 11, 24):
            list(decoder.pictures([rank]))
    assert starts == [[0], [1], [1], [2]]


def test_pictures_that_are_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cells = [{"bytes": None, "path": f"images/{frame}.png"} for frame in range(12)]
    for frame, cell in enumerate(cells):
        (tmp_path / str(cell["path"])).write_bytes(cell_of(2, frame)["bytes"])
    table = write(tmp_path, cells)
    with ImageColumnDecoder(tmp_path / NAME, table) as decoder:
        found = [picture.copy() for _, picture in decoder.pictures(range(12))]
    assert np.array_equal(found, [picture_of(2, frame) for frame in range(12)])
    # Another size of a picture is another column, although the table is the same file.
    with (tmp_path / "images/7.png").open("ab") as file:
        file.write(b"\0")
    assert write(tmp_path, cells).digest != table.digest
    (tmp_path / "images/7.png").unlink()
    with pytest.raises(MediaError, match=r"7\.png"):
        write(tmp_path, cells)


def test_pictures_are_turned_upright_as_datasets_turns_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    file = io.BytesIO()
    Image.fromarray(picture_of(0, 5)).transpose(Image.Transpose.ROTATE_90).save(
        file, "PNG", exif=exif
    )
    table = write(tmp_path, [{"bytes": file.getvalue(), "path": None}])
    with ImageColumnDecoder(tmp_path / NAME, table) as decoder:
        ((_, picture),) = decoder.pictures([0])
    assert np.array_equal(picture, picture_of(0, 5))


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        (saved("L"), "picture 1 .* is not RGB; expected mode RGB, got L"),
        (saved("RGBA"), "is not RGB; expected mode RGB, got RGBA"),
        (saved("P"), "is not RGB; expected mode RGB, got P"),
        (saved("RGB", (80, 96)), "has another size; expected 160x96, got 80x96"),
        ({"bytes": cell_of(0, 1)["bytes"][:-600], "path": ""}, "picture 1 .* cannot be read"),
        ({"bytes": b"no picture", "path": ""}, "picture 1 .* cannot be read"),
        ({"bytes": None, "path": None}, "a cell is empty"),
        (None, "a cell is empty"),
        ({"bytes": None, "path": "../a.png"}, "a picture's path; expected one inside"),
        ({"bytes": None, "path": "/etc/passwd"}, "a picture's path; expected one inside"),
        ({"bytes": None, "path": "images/no.png"}, "picture 1 .* cannot be read"),
    ],
)
def test_a_cell_that_is_no_such_picture_is_refused(tmp_path: Path, cell: Any, problem: str) -> None:
    table = write(tmp_path, [cell_of(0, 0), cell, cell_of(0, 2)])
    with ImageColumnDecoder(tmp_path / NAME, table) as decoder:
        with pytest.raises(MediaError, match=problem):
            list(decoder.pictures([1]))
        ((_, after),) = decoder.pictures([2])
        assert np.array_equal(after, picture_of(0, 2))


def test_bytes_that_changed_in_place_are_no_picture(tmp_path: Path) -> None:
    table = write(tmp_path, [cell_of(0, frame) for frame in range(5)], compression="none")
    data = bytearray((tmp_path / NAME).read_bytes())
    place = data.index(cell_of(0, 3)["bytes"])
    data[place + 200] ^= 0xFF
    (tmp_path / NAME).write_bytes(data)
    with ImageColumnDecoder(tmp_path / NAME, table) as decoder:
        assert len(list(decoder.pictures([0, 1, 2, 4]))) == 4
        with pytest.raises(MediaError, match="picture 3"):
            list(decoder.pictures([3]))


def test_a_file_without_such_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be read"):
        image_table_of(tmp_path, NAME, COLUMN, (15, 1))
    (tmp_path / NAME).write_bytes(b"no parquet")
    with pytest.raises(MediaError, match="cannot be read"):
        image_table_of(tmp_path, NAME, COLUMN, (15, 1))
    with pytest.raises(MediaError, match=f"no such column; expected a column {COLUMN}"):
        write(tmp_path, [cell_of(0, 0)], name="elsewhere")
    with pytest.raises(MediaError, match="no rows"):
        write(tmp_path, [])
    pq.write_table(pa.table({COLUMN: [1, 2]}), tmp_path / NAME)
    with pytest.raises(MediaError, match="column without pictures; .* got int64"):
        image_table_of(tmp_path, NAME, COLUMN, (15, 1))
