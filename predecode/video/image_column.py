"""Pictures that stand in a column of a parquet file, one a row: their table, and their decoder.

To the rest of the program such a column is one more video, every picture of which is a keyframe.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from predecode.errors import MediaError
from predecode.parquet_footer import read_footer
from predecode.stages import stage
from predecode.video.decoder import Decoder
from predecode.video.packets import FrameTable
from train_shards.errors import DataError
from train_shards.format import check_relative_path

__all__ = ["ImageColumnDecoder", "ImageTable", "image_table_of"]

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""What Pillow may take a picture for."""
_BATCH_ROWS = 8
"""Rows read at a time: pictures of several MB each must not fill the memory."""
_UNREADABLE = (
    pa.ArrowException, OSError, ValueError, SyntaxError, Image.DecompressionBombError,
)  # fmt: skip
"""What pyarrow and Pillow raise on damage."""


@dataclass(frozen=True, eq=False)
class ImageTable(FrameTable):
    """The pictures of a column, in the order of the rows; a rank is a row, a tick is a frame.

    ``digest`` is of the file's footer and the column's name, and of the sizes of the pictures where
    they are files of their own. The codec is that of the first picture.
    """

    column: str
    root: Path
    """Folder in which pictures lie that are files of their own."""
    group_starts: NDArray[np.int64]
    """``(g + 1,)`` first row of each row group, and the number of rows."""


def image_table_of(root: Path, path: str, column: str, fps: tuple[int, int] | None) -> ImageTable:
    """Returns the table of a column; what the file tells, from memory if it was read just before.

    Args:
        root: folder of the data set.
        path: parquet file, relative to the root.
        column: cells of ``bytes`` and ``path``, as datasets writes pictures.
        fps: numerator and denominator of the rate at which rows follow each other.

    Raises:
        MediaError: no parquet file with such a column, no row, a first picture that cannot be read,
            or one that is missing where pictures are files of their own.

    Cost: reads the footer and the first picture; where that is a file of its own, each time the
    column, and asks for the size of every picture.
    """
    try:
        stat = (root / path).stat()
    except OSError as error:
        raise _unreadable(error) from error
    state = stat.st_size, stat.st_ino, stat.st_mtime_ns
    table, is_outside = _kept_table(root, path, column, fps, state)
    return _with_sizes(table, root / path) if is_outside else table


@lru_cache(maxsize=8)
def _kept_table(
    root: Path, path: str, column: str, fps: tuple[int, int] | None, _state: tuple[int, ...]
) -> tuple[ImageTable, bool]:
    """The table as far as the file tells it, and whether pictures are files of their own."""
    try:
        with pq.ParquetFile(root / path) as file:
            _check_column(file, column)
            rows = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            first = next(_cells(file, column, range(len(rows)), batch_rows=1), None)
            if first is None:
                raise MediaError("no rows", "at least one picture", "none")
            digest = xxhash.xxh3_128(read_footer(root / path, file.metadata))
            digest.update(f":{column}:".encode())
        with _opened(root, first) as picture:
            (width, height), codec = picture.size, (picture.format or "").lower()
    except _UNREADABLE as error:
        raise _unreadable(error) from error
    starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    ranks = np.arange(starts[-1], dtype=np.int64)
    for array in (starts, ranks):
        array.flags.writeable = False
    table = ImageTable(
        pts=ranks, keyframe_ranks=ranks, keyframe_dts=ranks,
        time_base=1 / Fraction(*(fps or (1, 1))), stream_index=0, width=width, height=height,
        codec_name=codec, pix_fmt="rgb24", digest=digest.hexdigest(),
        column=column, root=root, group_starts=starts,
    )  # fmt: skip
    return table, first["bytes"] is None


def _with_sizes(table: ImageTable, path: Path) -> ImageTable:
    """The table with a digest that tells when one of its pictures' files is another."""
    digest = xxhash.xxh3_128(table.digest.encode())
    try:
        with pq.ParquetFile(path) as file:
            for cell in _cells(file, table.column, range(file.num_row_groups)):
                outside = cell["bytes"] is None
                num_bytes = _outside(table.root, cell).stat().st_size if outside else -1
                digest.update(f"{num_bytes},".encode())
    except _UNREADABLE as error:
        raise _unreadable(error) from error
    return replace(table, digest=digest.hexdigest())


class ImageColumnDecoder(Decoder):
    """A ``Decoder`` of such a column, on Pillow.

    Cost: reads from the begin of a row group up to a picture, and goes on from there.
    """

    backend = "images"

    def __init__(self, path: Path, table: ImageTable) -> None:
        """Opens the file, as ``Decoder`` says."""
        super().__init__(path, table)
        self._images = table
        self._group, self._next_row = -1, 0
        self._rows: Iterator[dict[str, Any]] = iter(())
        try:
            self._file = pq.ParquetFile(path)
        except _UNREADABLE as error:
            raise _unreadable(error) from error

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        super().close()
        self._file.close()

    def _picture(self, rank: int) -> NDArray[np.uint8]:
        try:
            with stage("read"):
                cell = self._cell(rank)
            with stage("decode"), _opened(self._images.root, cell) as opened:
                self._check_size(self._name(rank), *opened.size)
                if opened.mode != "RGB":
                    raise MediaError(f"{self._name(rank)} is not RGB", "mode RGB", opened.mode)
                return np.asarray(opened)
        except _UNREADABLE as error:
            raise MediaError(f"{self._name(rank)} cannot be read", "a picture", error) from error

    def _cell(self, rank: int) -> dict[str, Any]:
        """The cell of one row: what is left of a row group serves the rows that follow."""
        starts = self._images.group_starts
        group = int(np.searchsorted(starts, rank, side="right")) - 1
        if group != self._group or rank < self._next_row:
            self._group, self._next_row = group, int(starts[group])
            self._rows = _cells(self._file, self._images.column, [group])
        for cell in self._rows:
            self._next_row += 1
            if self._next_row == rank + 1:
                return cell
        self._group = -1
        raise self._missing(rank, "end of the row group")


def _check_column(file: pq.ParquetFile, column: str) -> None:
    field = file.schema_arrow.field(column) if column in file.schema_arrow.names else None
    expected = f"a column {column} of pictures"
    if field is None:
        raise MediaError("no such column", expected, ", ".join(file.schema_arrow.names))
    if not pa.types.is_struct(field.type) or {f.name for f in field.type} != {"bytes", "path"}:
        raise MediaError("column without pictures", expected, str(field.type))


def _cells(
    file: pq.ParquetFile, column: str, groups: Any, *, batch_rows: int = _BATCH_ROWS
) -> Iterator[dict[str, Any]]:
    """The cells of some row groups."""
    for batch in file.iter_batches(batch_rows, row_groups=list(groups), columns=[column]):
        for cell in batch.column(column):
            yield cell.as_py() or {"bytes": None, "path": None}


def _opened(root: Path, cell: dict[str, Any]) -> Image.Image:
    """A picture, turned upright as datasets turns it; the caller closes it."""
    data = cell["bytes"]
    image = Image.open(_outside(root, cell) if data is None else io.BytesIO(data), formats=_FORMATS)
    if image.getexif().get(ExifTags.Base.Orientation) is not None:
        return ImageOps.exif_transpose(image)
    return image


def _outside(root: Path, cell: dict[str, Any]) -> Path:
    """Where a picture lies that is a file of its own."""
    if not cell["path"]:
        raise MediaError("a cell is empty", "a picture", "neither bytes nor path")
    try:
        return root / check_relative_path(cell["path"], what="picture")
    except MediaError:
        raise
    except DataError as error:
        raise MediaError("a picture's path", "one inside the data set", cell["path"]) from error


def _unreadable(error: Exception) -> MediaError:
    return MediaError("cannot be read", "a parquet file with pictures", str(error))
