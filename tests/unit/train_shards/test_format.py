"""Names, keys and versions: literals, order and refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train_shards.errors import DataError
from train_shards.format import (
    FORMAT_MAJOR,
    FORMAT_MINOR,
    IMAGE_EXTENSIONS,
    MANIFEST_PATH,
    check_name,
    check_relative_path,
    check_version,
    format_key,
    image_field,
    index_path,
    ledger_path,
    lowdim_path,
    parse_key,
    plan_path,
    receipt_path,
    sample_fields,
    shard_name,
    shard_path,
)

IDS = st.tuples(st.integers(0, 10**8 - 1), st.integers(0, 10**6 - 1))


def test_the_names_of_format_1_2() -> None:
    assert (FORMAT_MAJOR, FORMAT_MINOR) == (1, 2)
    assert format_key(10041, 310) == "ep00010041_f000310"
    assert format_key(0, 0) == "ep00000000_f000000"
    assert shard_name("b1k", "val", 17) == "b1k-val-000017"
    assert shard_path("b1k", "train", 17) == "data/train/b1k-train-000017.tar"
    assert ledger_path("b1k-train-000017") == ".predecode/ledger/b1k-train-000017.npy"
    assert receipt_path("b1k-train-000017") == ".predecode/receipts/b1k-train-000017.json"
    assert lowdim_path("b1k", 3) == "lowdim/b1k-lowdim-000003.arrow"
    assert index_path("val", 2) == ".predecode/index/val-000002.idx"
    assert plan_path(1) == ".predecode/plan-000001.json"
    assert MANIFEST_PATH == ".predecode/manifest.json"
    assert IMAGE_EXTENSIONS == {"jpeg": "jpg", "png": "png", "webp": "webp", "raw": "npy"}


def test_fields_stand_sorted_whatever_the_order_of_the_cameras() -> None:
    assert image_field("head", "raw") == "head.npy"
    images = ("right_wrist.webp", "head_depth.npz", "head.webp")
    assert sample_fields(images, embed_lowdim=False) == (
        "head.webp", "head_depth.npz", "json", "right_wrist.webp",
    )  # fmt: skip
    assert sample_fields(["right_wrist.jpg", "head.jpg"], embed_lowdim=True) == (
        "action.npy", "head.jpg", "json", "right_wrist.jpg", "state.npy",
    )  # fmt: skip


@given(IDS)
def test_parse_is_the_inverse_of_format(ids: tuple[int, int]) -> None:
    assert parse_key(format_key(*ids)) == ids


@given(IDS, IDS)
def test_text_order_is_numeric_order(left: tuple[int, int], right: tuple[int, int]) -> None:
    assert (format_key(*left) < format_key(*right)) == (left < right)


def test_ids_beyond_the_usual_digits_still_parse() -> None:
    assert parse_key("ep123456789_f1234567") == (123456789, 1234567)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ep00010041",
        "ep0010041_f000310",  # 7 digits
        "ep000010041_f000310",  # a leading zero too many
        "ep00010041_f000310.json",
        "ep00010041_f000310\n",
        " ep00010041_f000310",
        "EP00010041_F000310",
        "ep-0000001_f000000",
        "ep0001004\u0661_f000310",  # an Arabic digit
        "ep" + "1" * 5000 + "_f000000",  # more digits than int() takes
    ],
)
def test_a_foreign_key_is_refused(key: str) -> None:
    with pytest.raises(DataError, match="expected the form 'ep00010041_f000310'"):
        parse_key(key)


@pytest.mark.parametrize("name", ["b1k", "left_wrist", "0", "a-b_c", "a" * 40])
def test_a_good_name_is_returned(name: str) -> None:
    assert check_name(name, what="camera") == name


@pytest.mark.parametrize(
    "name", ["", "Head", "a.b", "a/b", "-a", "_a", "a" * 41, "a\n", "ä", "a b"]
)
def test_a_name_that_breaks_webdataset_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="camera .*: expected 1 to 40 of a-z, 0-9") as caught:
        check_name(name, what="camera")
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("path", ["a", "data/train/x.tar", ".predecode/plan-000000.json", "a/..b"])
def test_a_path_inside_the_root_is_returned(path: str) -> None:
    assert check_relative_path(path, what="path") == path


@pytest.mark.parametrize(
    "path", ["", ".", "/etc/passwd", "//host/x", "..", "../x", "a/../../x", "a\\b", "a\0b"]
)
def test_a_path_that_may_leave_the_root_is_refused(path: str) -> None:
    with pytest.raises(DataError, match="shard .*: expected a relative path without '..'"):
        check_relative_path(path, what="shard")


def test_a_higher_major_version_is_refused_and_a_lower_one_read() -> None:
    check_version(1, where="x")
    check_version(0, where="x")
    with pytest.raises(
        DataError, match="x.json: format version 3, this reader knows up to 2. Install a newer"
    ):
        check_version(3, where="x.json")
