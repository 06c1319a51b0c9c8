"""Columns of LeRobot's tables: what keeps its type and shape, and what is refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from predecode.sources.columns import ColumnError, fixed_column, is_pictures, seconds, typed_column
from train_shards.lowdim import column_views

F32 = np.float32
BITS = [True, False, True] * 3


def view(column: pa.Array) -> Any:
    return column_views(pa.record_batch([column], names=["c"]))["c"]


def typed(values: Sequence[Any], kind: pa.DataType) -> Any:
    # Two chunks, and a slice of a longer column: what a shared file gives.
    array = pa.chunked_array([pa.array(values[:1], kind), pa.array(values[1:], kind)])
    return view(
        typed_column("c", pa.chunked_array([*array.chunks, *array.chunks]).slice(len(values)))
    )


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.float64(), [1 / 3, 2.0, 3.0], np.array([1 / 3, 2, 3])),
        (pa.int32(), [1, 2, 3], np.array([1, 2, 3], np.int32)),
        (pa.bool_(), [True, False, True], np.array([True, False, True])),
        (pa.list_(pa.float64()), [[1 / 3, 2.0]] * 3, np.array([[1 / 3, 2]] * 3, F32)),
        (pa.list_(pa.float16()), [[0.5]] * 3, np.array([[0.5]] * 3, F32)),
        (pa.list_(pa.int64(), 2), [[2**40, -1]] * 3, np.array([[2**40, -1]] * 3)),
        (pa.large_list(pa.uint8()), [[9]] * 3, np.array([[9]] * 3, np.uint8)),
        (pa.list_(pa.bool_(), 9), [BITS] * 3, np.array([BITS] * 3)),
        (
            pa.list_(pa.list_(pa.float64(), 3)),
            [np.arange(6.0).reshape(2, 3).tolist()] * 3,
            np.array([np.arange(6).reshape(2, 3)] * 3, F32),
        ),
        (
            pa.list_(pa.list_(pa.list_(pa.int16()))),
            [[[[1], [2]]], [[[3], [4]]], [[[5], [6]]]],
            np.arange(1, 7, dtype=np.int16).reshape(3, 1, 2, 1),
        ),
    ],
)  # fmt: skip
def test_types_and_shapes(kind: pa.DataType, values: list[Any], expected: Any) -> None:
    found = typed(values, kind)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(found, expected)


def test_texts_stay_texts_and_arrays_without_values_are_left_out() -> None:
    assert typed(["a", "b", "c"], pa.string()).to_pylist() == ["a", "b", "c"]
    for kind in (pa.list_(pa.int8()), pa.list_(pa.list_(pa.int8()))):
        assert typed_column("c", pa.chunked_array([[[], []]], kind)) is None


def test_b1k_s_own_vectors_are_float32_whatever_they_were() -> None:
    column = pa.chunked_array([[[1, 2], [3, 4]]], pa.list_(pa.int64()))
    found = fixed_column("c", column)
    assert found == pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2))


@pytest.mark.parametrize(
    ("values", "kind", "problem"),
    [
        ([[1, 2], [3]], pa.list_(pa.int64()), "vectors of several lengths"),
        ([[[1], [2]], [[3]]], pa.list_(pa.list_(pa.int64())), "vectors of several lengths"),
        ([[[1]], [[None]]], pa.list_(pa.list_(pa.int64())), "empty cells"),
        ([[1], None], pa.list_(pa.int64()), "empty cells"),
        ([["a"], ["b"]], pa.list_(pa.string()), "arrays that items cannot hold"),
        ([{"a": 1}, {"a": 2}], pa.struct({"a": pa.int64()}), "a type that items cannot hold"),
    ],
)
def test_what_no_item_can_hold_is_refused(values: Any, kind: pa.DataType, problem: str) -> None:
    with pytest.raises(ColumnError) as caught:
        typed_column("c", pa.chunked_array([values], kind))
    assert caught.value.args[0] == f"column c has {problem}"


def test_columns_of_pictures() -> None:
    assert is_pictures(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    assert is_pictures(pa.struct({"path": pa.string(), "timestamp": pa.float32()}))
    assert not is_pictures(pa.struct({"bytes": pa.binary()}))
    assert not is_pictures(pa.binary())


@pytest.mark.parametrize(
    ("ticks", "fps", "expected_s"),
    [
        ([0, 1, 2, 3], (1, 1), [0, 1, 2, 3]),
        ([0, 33, 67, 100], (30, 1), [0, 0.033, 0.067, 0.1]),
        ([0, 33_367, 66_733], (30000, 1001), [0, 0.033367, 0.066733]),
        ([0, 66_666_666, 133_333_333], (15, 1), [0, 0.066666666, 0.133333333]),
        ([0], (30, 1), [0]),
    ],
)
def test_integer_timestamps_become_seconds(
    ticks: list[int], fps: tuple[int, int], expected_s: list[float]
) -> None:
    found = seconds(pa.array(ticks), fps)
    assert found.type == pa.float64()
    assert found.to_pylist() == expected_s


def test_float_timestamps_are_left_alone() -> None:
    times = pa.array([0.0, 0.1], pa.float32())
    assert seconds(times, (10, 1)) is times


@pytest.mark.parametrize(
    ("ticks", "kind", "problem"),
    [
        ([0, 33, 66, 99, 132, 165], pa.int64(), "integer timestamps"),  # 30 fps: off by a tenth
        ([5, 6, 7], pa.int64(), "integer timestamps"),
        (["0", "1", "2"], pa.string(), "timestamps"),
        ([0, None, 2], pa.int64(), "timestamps"),
    ],
)
def test_other_timestamps_are_refused(ticks: Any, kind: pa.DataType, problem: str) -> None:
    with pytest.raises(ColumnError) as caught:
        seconds(pa.array(ticks, kind), (31, 1))
    assert caught.value.args[0] == problem


class Grid(pa.ExtensionType):  # type: ignore[misc]
    """As datasets registers one for arrays of two dimensions."""

    def __init__(self) -> None:
        super().__init__(pa.list_(pa.list_(pa.float64())), "test.grid")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, *_: object) -> "Grid":
        return cls()


def test_a_type_of_somebody_s_own_around_arrays_changes_nothing() -> None:
    rows = pa.array([[[1.0, 2.0], [3.0, 4.0]]] * 2, pa.list_(pa.list_(pa.float64())))
    wrapped = pa.chunked_array([pa.ExtensionArray.from_storage(Grid(), rows)])
    plain = typed_column("grid", pa.chunked_array([rows]))
    assert plain is not None
    assert plain.equals(typed_column("grid", wrapped))
