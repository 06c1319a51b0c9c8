"""Depth codes and instance ids in ``.npz``, against numpy's and zipfile's own readers."""

import io
import tracemalloc
import zipfile
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from train_shards.codec import decode_codes, encode_codes
from train_shards.errors import DataError

Name = Literal["codes", "ids"]


def picture(dtype: type[np.unsignedinteger[Any]] = np.uint16) -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (11, 17), dtype)


def archive(**arrays: NDArray[Any]) -> bytes:
    """What ``numpy.savez_compressed`` writes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stubs
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "dtype"), [("codes", np.uint16), ("ids", np.uint16), ("ids", np.uint32)]
)
def test_every_number_comes_back(name: Name, dtype: type[np.unsignedinteger[Any]]) -> None:
    data = encode_codes(picture(dtype), name)
    decoded = decode_codes(data, name, (11, 17))
    assert decoded.dtype == dtype
    assert np.array_equal(decoded, picture(dtype))
    decoded[:] = 0  # writable, and nobody else's
    with np.load(io.BytesIO(data), allow_pickle=False) as foreign:
        assert foreign.files == [name]
        assert np.array_equal(foreign[name], picture(dtype))
    assert np.array_equal(decode_codes(memoryview(data), name, None), picture(dtype))


def test_the_bytes_hold_no_clock_and_no_machine() -> None:
    data = encode_codes(picture(), "codes")
    assert data == encode_codes(np.asfortranarray(picture()), "codes")
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        (member,) = opened.infolist()
        assert opened.testzip() is None
    assert member.date_time == (1980, 1, 1, 0, 0, 0)
    assert (member.create_system, member.external_attr) == (3, 0o644 << 16)
    assert (member.compress_type, member.extra, member.comment) == (zipfile.ZIP_DEFLATED, b"", b"")


def test_flat_pictures_become_small() -> None:
    ids = np.repeat(np.arange(28, dtype=np.uint16), 8)[None].repeat(224, 0)
    assert len(encode_codes(ids, "ids")) < 1000
    assert ids.nbytes == 100_352


def test_what_numpy_wrote_is_read() -> None:
    assert np.array_equal(decode_codes(archive(codes=picture()), "codes", (11, 17)), picture())


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 5, 1), np.uint16),
        np.zeros(4, np.uint16),
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5), np.int64),
        np.zeros((4, 5), np.uint32),
    ],
)
def test_arrays_of_another_kind_are_refused_both_ways(wrong: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"codes: expected \(h, w\) of uint16, got \(4"):
        encode_codes(wrong, "codes")
    with pytest.raises(DataError, match=r"expected \(h, w\) of uint16 in C order, got \(4"):
        decode_codes(archive(codes=wrong), "codes", None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a zip file"),
        (b"\x00" * 300, "not a zip file"),
        (encode_codes(picture(), "ids"), "expected the array 'codes' alone, got .'ids.npy'"),
        (archive(codes=picture(), ids=picture()), "alone, got .'codes.npy', 'ids.npy'"),
        (archive(codes=np.asfortranarray(picture())), "in C order"),
        (archive(codes=picture().astype(">u2")), "expected .* of uint16 in C order, got .* >u2"),
        (archive(codes=np.array([[{}]], dtype=object)), "expected .* of uint16"),
        (archive(codes=picture()[:, 1:]), "expected 11x17 pixels, got 11x16"),
    ],
)
def test_other_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"not a readable .npz of codes, {len(data)} bytes: "):
        decode_codes(data, "codes", (11, 17))
    with pytest.raises(DataError, match=message):
        decode_codes(data, "codes", (11, 17))


def npz_of(npy: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("codes.npy", npy)
    return buffer.getvalue()


def test_fewer_or_more_bytes_than_the_header_says_are_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, picture())
    for npy in (buffer.getvalue()[:-1], buffer.getvalue() + b"\0"):
        with pytest.raises(DataError, match="expected 374 bytes of codes, got"):
            decode_codes(npz_of(npy), "codes", (11, 17))


def test_a_bomb_is_not_inflated() -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<u2", "fortran_order": False, "shape": (11, 17)}
    )
    huge = header.getvalue() + bytes(200_000_000)
    bomb = npz_of(huge)
    true_size, said_size = (n.to_bytes(4, "little") for n in (len(huge), 502))
    assert header.tell() + 374 == 502
    lying = bomb.replace(true_size, said_size)  # both headers of the archive now tell a lie
    assert lying != bomb
    del huge
    tracemalloc.start()
    for data in (bomb, lying):
        with pytest.raises(DataError, match="not a readable .npz of codes"):
            decode_codes(data, "codes", (11, 17))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2_000_000


def test_a_header_that_promises_a_huge_picture_takes_no_memory() -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<u2", "fortran_order": False, "shape": (2**20, 2**20)}
    )
    with pytest.raises(DataError, match="expected at most 8192 pixels each way, got 1048576x"):
        decode_codes(npz_of(header.getvalue() + bytes(10)), "codes", None)


@pytest.mark.filterwarnings("ignore")  # numpy and zipfile warn of odd headers before they refuse
@given(st.data())
def test_damaged_bytes_give_the_picture_or_a_data_error(choices: st.DataObject) -> None:
    data = bytearray(encode_codes(picture(), "ids"))
    for _ in range(choices.draw(st.integers(1, 3))):
        position = choices.draw(st.integers(0, len(data) - 1))
        data[position] ^= choices.draw(st.integers(1, 255))
    damaged = bytes(data[: choices.draw(st.sampled_from([len(data), len(data) - 1, 40, 0]))])
    try:
        decoded = decode_codes(damaged, "ids", (11, 17))
    except DataError:
        return
    assert np.array_equal(decoded, picture())  # the damage was in a field that nobody reads


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bit", [1, 2, 4, 8, 16, 32, 64, 128])
def test_no_flipped_bit_gives_another_picture(bit: int) -> None:
    data = encode_codes(picture(), "codes")
    num_refused = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= bit
        try:
            assert np.array_equal(decode_codes(bytes(damaged), "codes", (11, 17)), picture())
        except DataError:
            num_refused += 1
    assert num_refused > 0.85 * len(data)
