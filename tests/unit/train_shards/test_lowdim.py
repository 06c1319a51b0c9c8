"""Low-dimensional tables: pyarrow as the foreign reader, values, and refusals."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from train_shards.errors import DataError
from train_shards.lowdim import LowdimTables, row_value, write_lowdim


def vectors(*rows: list[float]) -> pa.Array:
    return pa.array(rows, pa.list_(pa.float32(), len(rows[0])))


FIRST = pa.table(
    {
        "state": vectors([1, 2], [3, 4], [5, 6]),
        "timestamp": pa.array([0.0, 1 / 3, 2 / 3]),
        "index": pa.array([7, 8, 9], pa.int64()),
        "done": pa.array([False, False, True]),
        "note": pa.array(["a", "b", "c"]),
    }
)
SECOND = pa.table({"timestamp": pa.array([0.5]), "reward": pa.array([2.5], pa.float32())})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "b1k-lowdim-000000.arrow"
    with path.open("wb") as file:
        assert write_lowdim(file, [FIRST, SECOND]) == 2
    return path


def test_arrow_reads_one_batch_an_episode_without_us(table: Path) -> None:
    file = pa.ipc.open_file(str(table))
    assert file.num_record_batches == 2
    assert file.schema.names == ["state", "timestamp", "index", "done", "note", "reward"]
    assert file.get_batch(0).column("state").to_pylist() == [[1, 2], [3, 4], [5, 6]]
    assert file.get_batch(0).column("reward").to_pylist() == [None, None, None]
    assert file.get_batch(1).to_pylist() == [
        {"state": None, "timestamp": 0.5, "index": None, "done": None, "note": None, "reward": 2.5}
    ]


def test_columns_may_be_named_in_another_order_and_fewer(tmp_path: Path) -> None:
    path = tmp_path / "named.arrow"
    with path.open("wb") as file:
        write_lowdim(file, [FIRST, SECOND], ["reward", "timestamp", "nothing has it"])
    file = pa.ipc.open_file(str(path))
    assert file.schema.names == ["reward", "timestamp"]
    assert file.get_batch(1).to_pylist() == [{"reward": 2.5, "timestamp": 0.5}]


def test_columns_are_views_with_their_types(table: Path) -> None:
    columns = LowdimTables([table].__getitem__).columns(0, 0)
    assert list(columns) == ["state", "timestamp", "index", "done", "note"]
    assert columns["state"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert (columns["state"].dtype, columns["state"].shape) == (np.float32, (3, 2))
    assert (columns["timestamp"].dtype, columns["index"].dtype) == (np.float64, np.int64)
    assert columns["done"].tolist() == [False, False, True]
    for name in ("state", "timestamp", "index"):
        assert not columns[name].flags.owndata
        assert not columns[name].flags.writeable


def test_a_column_that_an_episode_lacks_is_absent(table: Path) -> None:
    columns = LowdimTables([table].__getitem__).columns(0, 1)
    assert {name: column[0] for name, column in columns.items()} == {
        "timestamp": 0.5, "reward": 2.5,
    }  # fmt: skip


def test_a_value_is_a_scalar_or_a_fresh_vector(table: Path) -> None:
    columns = LowdimTables([table].__getitem__).columns(0, 0)
    timestamp, index = row_value(columns["timestamp"], 1), row_value(columns["index"], 1)
    assert timestamp == 1 / 3
    assert isinstance(timestamp, np.float64)
    assert isinstance(index, np.int64)
    assert row_value(columns["note"], 1) == "b"
    row_value(columns["state"], 1)[:] = 0
    assert row_value(columns["state"], 1).tolist() == [3, 4]


def test_a_frame_beyond_the_episode_is_an_index_error(table: Path) -> None:
    with pytest.raises(IndexError):
        row_value(LowdimTables([table].__getitem__).columns(0, 0)["index"], 3)


def test_a_table_without_rows_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    with path.open("wb") as file:
        write_lowdim(file, [FIRST.slice(0, 0), SECOND])
    assert LowdimTables([path].__getitem__).columns(0, 0)["state"].shape == (0, 2)
    assert LowdimTables([path].__getitem__).columns(0, 1)["reward"][0] == 2.5


def test_a_column_in_several_chunks_becomes_one_batch(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    with path.open("wb") as file:
        write_lowdim(file, [pa.concat_tables([FIRST, FIRST])])
    assert pa.ipc.open_file(str(path)).num_record_batches == 1
    assert LowdimTables([path].__getitem__).columns(0, 0)["index"].tolist() == [7, 8, 9, 7, 8, 9]


def test_a_column_that_is_null_throughout_one_episode_is_absent_there(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    with path.open("wb") as file:
        write_lowdim(file, [SECOND, pa.table({"reward": pa.nulls(2), "index": [1, 2]})])
    assert {n: c[1] for n, c in LowdimTables([path].__getitem__).columns(0, 1).items()} == {
        "index": 2
    }


def test_same_tables_same_bytes(table: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.arrow"
    with again.open("wb") as file:
        write_lowdim(file, [FIRST.replace_schema_metadata({"who": "someone"}), SECOND])
    assert again.read_bytes() == table.read_bytes()


def test_one_column_of_two_types_is_refused(tmp_path: Path) -> None:
    other = pa.table({"timestamp": pa.array(["noon"])})
    with (
        (tmp_path / "x.arrow").open("wb") as file,
        pytest.raises(DataError, match="low-dimensional columns do not fit together: .*timestamp"),
    ):
        write_lowdim(file, [FIRST, other])


@pytest.mark.parametrize("num_bytes", [0, 3, 100, 1000])
def test_a_cut_table_is_refused_with_its_name(table: Path, num_bytes: int) -> None:
    table.write_bytes(table.read_bytes()[:num_bytes])
    with pytest.raises(DataError, match="b1k-lowdim-000000.arrow: not an Arrow table file: "):
        LowdimTables([table].__getitem__).columns(0, 0)


def test_a_damaged_batch_is_refused_with_its_name(table: Path) -> None:
    data = bytearray(table.read_bytes())
    batch = data.index(b"\xff\xff\xff\xff", 8 + 8)  # the second message: the first record batch
    data[batch + 4] = 0xFF  # its length
    data[batch + 7] = 0x7F
    table.write_bytes(data)
    with pytest.raises(DataError, match="b1k-lowdim-000000.arrow: not an Arrow table file: "):
        LowdimTables([table].__getitem__).columns(0, 0)


def test_a_batch_that_is_not_there_is_refused_with_the_file_s_name(table: Path) -> None:
    with pytest.raises(DataError, match=r"b1k-lowdim-000000.arrow: .*(batch|Batch).* 2"):
        LowdimTables([table].__getitem__).columns(0, 2)


def test_a_missing_table_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.arrow: "):
        LowdimTables([tmp_path / "none.arrow"].__getitem__).columns(0, 0)
