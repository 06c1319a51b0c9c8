"""Low-dimensional columns of one episode with the types in which they are stored.

B1K's own tables: vectors become fixed-size lists of float32 (real files hold variable-size lists,
some of double); scalars keep their type, so that timestamps stay float64. LeRobot's, whatever they
hold: see ``typed_column``.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from predecode.errors import DataError

__all__ = [
    "TIME_TOLERANCE_FRAMES",
    "ColumnError",
    "fixed_column",
    "is_pictures",
    "seconds",
    "typed_column",
]

TIME_TOLERANCE_FRAMES = 0.1
"""How far a row's time may be from its frame's."""
_UNITS = (1, 1_000, 1_000_000, 1_000_000_000)
"""Of integer timestamps, in a second."""
_PICTURE_FIELDS = ({"bytes", "path"}, {"path", "timestamp"})
"""Source: the features ``Image`` of datasets and ``VideoFrame`` of LeRobot before 2.0."""


class ColumnError(DataError):
    """A table that does not hold what is asked; ``args`` is ``(problem, expected, got)``."""


def is_pictures(kind: pa.DataType) -> bool:
    """Whether cells of this type are pictures, or say where pictures lie."""
    return pa.types.is_struct(kind) and {field.name for field in kind} in _PICTURE_FIELDS


def fixed_column(name: str, column: pa.ChunkedArray) -> pa.Array | None:
    """Returns a column with its final type, list<float|double> -> fixed_size_list<float32>[n].

    None for vectors of length 0, which some sets write where they have nothing.

    Raises:
        ColumnError: empty cells in vectors, or vectors of several lengths.
    """
    array = _one_array(column)
    if not _is_list(array.type):
        return array
    values, shape = _unnested(name, array, depth=1)
    if shape[0] == 0:
        return None
    return pa.FixedSizeListArray.from_arrays(values.cast(pa.float32()), shape[0])


def typed_column(name: str, column: pa.ChunkedArray) -> pa.Array | None:
    """Returns a column as it is stored of a LeRobot data set, None for arrays without a value.

    Scalars keep their type. Vectors, and arrays of more dimensions, become fixed-size lists (of
    fixed-size lists): of float32 for any float, as LeRobot serves them; integers and bools keep
    their type.

    Raises:
        ColumnError: empty cells in arrays, arrays of several shapes, or a type that has no place in
            an item.
    """
    array = _one_array(column)
    if not _is_list(array.type):
        if pa.types.is_nested(array.type) or isinstance(array.type, pa.BaseExtensionType):
            raise ColumnError(
                f"column {name} has a type that items cannot hold",
                "numbers, bools, texts, or arrays of numbers or bools", str(array.type),
            )  # fmt: skip
        return array
    values, shape = _unnested(name, array)
    kind = values.type
    if pa.types.is_floating(kind):
        values = values.cast(pa.float32())
    elif not (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise ColumnError(
            f"column {name} has arrays that items cannot hold", "numbers or bools", str(kind)
        )
    if 0 in shape:
        return None
    for length in reversed(shape):
        values = pa.FixedSizeListArray.from_arrays(values, length)
    return values


def seconds(column: pa.Array, fps: tuple[int, int] | None) -> pa.Array:
    """Returns timestamps in seconds: floats as they are; integers as float64, by their unit.

    The unit is the one, of s, ms, us and ns, by which row ``i`` is at ``i / fps``.

    Raises:
        ColumnError: neither floats nor integers, or integers of no such unit.
    """
    if pa.types.is_floating(column.type):
        return column
    if not pa.types.is_integer(column.type) or column.null_count or fps is None:
        raise ColumnError("timestamps", "floats, or integers", str(column.type))
    ticks = column.to_numpy().astype(np.float64)
    frames = np.arange(len(ticks))
    for unit in _UNITS:
        off = np.abs(ticks / unit * (fps[0] / fps[1]) - frames)
        if (off < TIME_TOLERANCE_FRAMES).all():
            return pa.array(ticks / unit)
    raise ColumnError(
        "integer timestamps", "i / fps in row i, in s, ms, us or ns",
        f"{', '.join(f'{tick:.0f}' for tick in ticks[:5])}, … at {fps[0] / fps[1]:g} fps",
    )  # fmt: skip


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # no rows at all
        array = pa.array([], column.type)
    # Where datasets is imported, pyarrow gives arrays of several dimensions a type of its own.
    if isinstance(array, pa.ExtensionArray) and _is_list(array.type.storage_type):
        return array.storage
    return array


def _is_list(kind: pa.DataType) -> bool:
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(kind) for is_kind in is_list)


def _unnested(
    name: str, array: pa.Array, depth: int | None = None
) -> tuple[pa.Array, Sequence[int]]:
    """The values of all rows one after the other, and the shape that every row has.

    ``depth`` is the most dimensions that are taken apart.
    """
    shape: list[int] = []
    while _is_list(array.type) and len(shape) != depth:
        values = array.flatten()
        if empty := array.null_count + values.null_count:
            raise ColumnError(f"column {name} has empty cells", "0", str(empty))
        shape.append(_length(name, array))
        array = values
    return array, shape


def _length(name: str, array: pa.Array) -> int:
    if pa.types.is_fixed_size_list(array.type):
        return int(array.type.list_size)
    lengths = np.unique(array.value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) > 1:
        raise ColumnError(
            f"column {name} has vectors of several lengths", "one length", str(lengths[:10])
        )
    return int(lengths[0]) if len(lengths) else 0
