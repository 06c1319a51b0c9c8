"""The ledger file: literal layout, numpy as the foreign reader, refusals."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray

from train_shards.errors import DataError
from train_shards.ledger import decode_ledger, encode_ledger, ledger_dtype


def two_rows() -> NDArray[np.void]:
    rows = np.zeros(2, ledger_dtype(3, 2))
    rows[0] = (10, 1, 0, (512, 2048, 3072), (700, 512, 90), (1, 2, 3), (4, 5))
    rows[1] = (70010, 7, 4096, (512, 2048, 3072), (701, 513, 91), (6, 7, 2**64 - 1), (8, 9))
    return rows


def test_a_row_is_packed_and_little_endian() -> None:
    dtype = ledger_dtype(3, 2)
    assert dtype.itemsize == 8 + 4 + 8 + 3 * 4 + 3 * 4 + 3 * 8 + 2 * 8
    assert two_rows()[:1].tobytes()[:20].hex() == "0a00000000000000010000000000000000000000"


def test_numpy_reads_a_ledger_without_us() -> None:
    rows = np.load(io.BytesIO(encode_ledger(two_rows())), allow_pickle=False)
    assert rows["episode_index"].tolist() == [10, 70010]
    assert rows["data_bytes"].tolist() == [[700, 512, 90], [701, 513, 91]]
    assert rows["member_xxh3"][1].tolist() == [6, 7, 2**64 - 1]


def test_decoding_returns_the_rows() -> None:
    rows = decode_ledger(encode_ledger(two_rows()), 3, 2, where="x")
    assert rows.tobytes() == two_rows().tobytes()
    assert len(decode_ledger(encode_ledger(two_rows()[:0]), 3, 2, where="x")) == 0


@pytest.mark.parametrize(("num_members", "num_images"), [(2, 2), (3, 1), (4, 2)])
def test_rows_of_other_members_are_refused(num_members: int, num_images: int) -> None:
    with pytest.raises(DataError, match="ledger/a.npy: ledger rows of .*, expected "):
        decode_ledger(encode_ledger(two_rows()), num_members, num_images, where="ledger/a.npy")


def test_an_array_of_two_dimensions_is_refused() -> None:
    with pytest.raises(DataError, match="a.npy: ledger rows of "):
        decode_ledger(encode_ledger(two_rows().reshape(2, 1)), 3, 2, where="a.npy")


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_cut_ledger_is_refused(keep: int) -> None:
    with pytest.raises(DataError, match="a.npy: not a ledger: "):
        decode_ledger(encode_ledger(two_rows())[:keep], 3, 2, where="a.npy")


@pytest.mark.filterwarnings("ignore")  # numpy warns of odd types before it refuses them
def test_a_damaged_header_is_a_data_error_or_harmless() -> None:
    data = encode_ledger(two_rows())
    length = len(data) - two_rows().nbytes
    refused = 0
    for position in range(length):
        for bit in (1, 16, 64):
            damaged = bytearray(data)
            damaged[position] ^= bit
            try:
                assert len(decode_ledger(bytes(damaged), 3, 2, where="a.npy")) == 2
            except DataError:
                refused += 1
    assert refused > length


def test_pickled_objects_are_never_read() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="a.npy: ledger rows of object, expected"):
        decode_ledger(buffer.getvalue(), 3, 2, where="a.npy")
