"""Every low-dimensional column of whole episodes: Arrow IPC files, memory-mapped.

One record batch an episode, at the source's full rate. Vectors are fixed-size lists, arrays of more
dimensions fixed-size lists of such; a column that an episode lacks is null throughout its batch and
absent from its rows.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from train_shards.errors import DataError

__all__ = ["LowdimTables", "column_views", "row_value", "write_lowdim"]

_OPEN_TABLES = 256
_CACHED_BATCHES = 16384
"""A batch's views cost about 2 kB; the largest known set has 20,000 episodes."""


def write_lowdim(
    file: BinaryIO, tables: Iterable[pa.Table], names: Sequence[str] | None = None
) -> int:
    """Writes one record batch a table and returns their number.

    The file's schema is the union of the tables' columns, in order of first appearance, or those
    of ``names`` that a table has.

    Raises:
        DataError: one column has two types.
    """
    tables = list(tables)
    try:
        schema = pa.unify_schemas([table.schema.remove_metadata() for table in tables])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"low-dimensional columns do not fit together: {error}") from error
    if names is not None:
        schema = pa.schema([schema.field(name) for name in names if name in schema.names])
    with pa.ipc.new_file(file, schema) as writer:
        for table in tables:
            columns = [
                table[name].combine_chunks()
                if name in table.column_names
                else pa.nulls(table.num_rows, schema.field(name).type)
                for name in schema.names
            ]
            arrays = [c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in columns]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return len(tables)


def column_views(batch: pa.RecordBatch) -> dict[str, Any]:
    """Returns an episode's columns as read-only arrays ``(T,)`` or ``(T, ...)``, not copied.

    A column that is null throughout is absent; what is neither number nor bool stays Arrow.
    """
    return {
        name: _to_numpy(column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        if column.null_count < len(column) or len(column) == 0
    }


def row_value(column: Any, frame_index: int) -> Any:
    """Returns a column's value at one frame: a numpy scalar, or a fresh array.

    Raises:
        IndexError: the episode has no such frame.
    """
    value = column[frame_index]
    if isinstance(value, np.ndarray):
        return value.copy()  # shares no memory with the mapped file
    return value.as_py() if isinstance(value, pa.Scalar) else value


class LowdimTables:
    """Columns of episodes from the table files of one generation; opens files lazily."""

    def __init__(self, path_of: Callable[[int], Path]) -> None:
        """Takes what gives the path of a table, numbered as in the manifest; opens none."""
        self._path_of = path_of
        self._files: OrderedDict[int, Any] = OrderedDict()
        self._batches: OrderedDict[tuple[int, int], dict[str, Any]] = OrderedDict()

    def columns(self, table: int, batch: int) -> dict[str, Any]:
        """Returns an episode's columns as read-only arrays ``(T,)`` or ``(T, ...)``, not copied.

        Raises:
            DataError: the file is not what the writer made.
        """
        views = self._batches.get((table, batch))
        if views is None:
            path = self._path_of(table)
            try:
                record_batch = self._file(table).get_batch(batch)
                # Offsets of texts are read by whoever reads these: they must lie in the file.
                record_batch.validate(full=True)
                views = column_views(record_batch)
            except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
                raise DataError(
                    f"{path}: not an Arrow table file: batch {batch}: {error}"
                ) from error
            self._batches[table, batch] = views
            if len(self._batches) > _CACHED_BATCHES:
                self._batches.popitem(last=False)
        return views

    def _file(self, table: int) -> Any:
        file = self._files.get(table)
        if file is None:
            path = self._path_of(table)
            file = pa.ipc.open_file(pa.memory_map(str(path)))
            self._files[table] = file
            if len(self._files) > _OPEN_TABLES:
                self._files.popitem(last=False)
        return file


def _to_numpy(column: pa.Array) -> Any:
    """Numbers and bools as ``(T,)`` or ``(T, ...)``, views where Arrow has bytes of them.

    Other types stay Arrow arrays.
    """
    shape, values = [len(column)], column
    while pa.types.is_fixed_size_list(values.type):
        shape.append(values.type.list_size)
        values = values.flatten()
    kind = values.type
    if pa.types.is_boolean(kind):
        return values.to_numpy(zero_copy_only=False).reshape(shape)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if values.null_count:
            return values.to_numpy(zero_copy_only=False).reshape(shape)
        view = np.from_dlpack(values)  # to_numpy imports pandas where it is installed: 0.5 s
        view.flags.writeable = False
        return view.reshape(shape)
    return column
