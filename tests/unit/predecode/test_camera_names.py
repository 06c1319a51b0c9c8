"""Every key of a feature has a name of its own that may stand in member names, and comes back."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.sources.camera_names import camera_name, source_key
from train_shards.errors import DataError
from train_shards.format import check_name

PREFIXES = ("observation.images.", "observation.", "")
OF_NAMES = string.ascii_letters + "-_.0"
KEYS = st.builds(
    str.__add__,
    st.sampled_from(PREFIXES),
    st.text(max_size=9) | st.text(OF_NAMES, max_size=12) | st.sampled_from(["top_depth", "_seg"]),
).filter(bool)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("observation.images.head", "head"),
        ("observation.images.exterior_image_1_left", "exterior_image_1_left"),
        ("observation.images.rgb.head", "rgb-dhead"),
        ("observation.images.camHigh", "camh-uigh"),
        ("observation.image", "image-o"),
        ("image", "image-k"),
        ("observation.images.left-cam", "left-x00002dcam"),
        ("observation.images._a", "0-s_a"),
        ("observation.images.top_depth", "top-ldepth"),
        ("observation.images.", "images-d-o"),
        ("observation.images.é", "0-s-x0000e9"),
    ],
)
def test_names_and_back(key: str, name: str) -> None:
    assert camera_name(key) == name
    assert source_key(name) == key


@given(KEYS)
def test_every_key_has_a_name_that_stands_for_it_alone(key: str) -> None:
    name = camera_name(key)
    assert check_name(name, what="camera") == name
    assert not name.endswith(("_depth", "_seg"))  # of the other modalities of a camera
    if "-h" not in name:
        assert source_key(name) == key


@given(st.text(string.ascii_lowercase + "-_09", min_size=1, max_size=12))
def test_a_text_is_a_name_of_one_key_or_of_none(name: str) -> None:
    try:
        key = source_key(name)
    except DataError:
        return
    assert camera_name(key) == name


def test_a_long_key_keeps_its_begin_and_has_a_hash_in_place_of_the_rest() -> None:
    keys = [f"observation.images.{'a' * 60}{number}" for number in range(3)]
    names = [camera_name(key) for key in keys]
    assert len({*names}) == 3
    for name in names:
        assert name.startswith("a" * 30 + "-h")
        assert check_name(name, what="camera") == name
        assert len(name) == 40
        with pytest.raises(DataError, match=r"'-h' is no escape"):
            source_key(name)
    assert camera_name(f"observation.images.{'a' * 40}") == "a" * 40


@pytest.mark.parametrize(
    "name", ["a-", "a-q", "a-x12", "a-xffffff", "A", "0-s", "-o", "9-u", "a_seg"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="camera"):
        source_key(name)
    with pytest.raises(DataError, match="key is empty"):
        camera_name("")
