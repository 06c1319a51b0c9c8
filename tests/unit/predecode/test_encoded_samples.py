"""Members in any order in, sample by sample out."""

from pathlib import Path

import pytest

import predecode.encoded_samples
from predecode.encoded_samples import EncodedSamples

FIELDS = ("head.jpg", "json", "left_wrist.jpg")


def filled() -> EncodedSamples:
    """Two episodes, three samples, camera by camera as a task adds them."""
    samples = EncodedSamples(("head", "left_wrist"))
    ids = [(10, 0), (10, 3), (20, 0)]
    for number, sample in enumerate(ids):
        samples.add_member(sample, "json", b'{"n":%d}' % number)
    for camera, start in (("left_wrist", 100), ("head", 2**63)):
        for number, sample in enumerate(ids):
            data = f"{camera} {number}".encode() * (number + 1)
            samples.add_image(sample, camera, f"{camera}.jpg", data, start + number)
    return samples


def test_members_come_back_in_the_order_of_the_fields() -> None:
    with filled() as samples:
        assert samples.members((10, 3), FIELDS) == [
            ("head.jpg", b"head 1head 1"),
            ("json", b'{"n":1}'),
            ("left_wrist.jpg", b"left_wrist 1left_wrist 1"),
        ]
        assert samples.members((10, 0), FIELDS[::-1])[0] == ("left_wrist.jpg", b"left_wrist 0")
        assert sorted(samples.ids()) == [(10, 0), (10, 3), (20, 0)]


def test_hashes_stand_in_the_order_of_the_cameras() -> None:
    with filled() as samples:
        assert samples.pixel_hashes((20, 0)).tolist() == [2**63 + 2, 102]


def test_reading_and_adding_may_alternate() -> None:
    with filled() as samples:
        samples.members((10, 0), FIELDS)
        samples.add_member((30, 0), "json", b"late")
        assert samples.members((30, 0), ("json",)) == [("json", b"late")]
        assert samples.members((20, 0), ("json",)) == [("json", b'{"n":2}')]


def test_a_dropped_episode_is_gone_and_the_others_stay() -> None:
    with filled() as samples:
        samples.drop(10)
        assert samples.ids() == [(20, 0)]
        assert samples.members((20, 0), ("json",)) == [("json", b'{"n":2}')]
        with pytest.raises(KeyError):
            samples.pixel_hashes((10, 0))
        samples.drop(99)  # nothing of it is held


def test_a_sample_short_of_a_member_is_a_bug() -> None:
    with filled() as samples, pytest.raises(KeyError, match="right_wrist"):
        samples.members((10, 0), (*FIELDS, "right_wrist.jpg"))


def test_an_unknown_camera_is_a_bug() -> None:
    with filled() as samples, pytest.raises(KeyError, match="top"):
        samples.add_image((10, 0), "top", "top.jpg", b"", 0)


def test_an_empty_member_is_kept() -> None:
    with EncodedSamples(()) as samples:
        samples.add_member((1, 1), "json", b"")
        assert samples.members((1, 1), ("json",)) == [("json", b"")]


def test_much_goes_to_a_file_of_the_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(predecode.encoded_samples, "_MEMORY_BYTES", 50)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with filled() as samples:
        for number in range(100):
            samples.add_member((99, number), "json", bytes([number]) * 37)
        assert samples.members((10, 3), ("head.jpg",)) == [("head.jpg", b"head 1head 1")]
        assert samples.members((99, 70), ("json",)) == [("json", b"F" * 37)]
    assert list(tmp_path.iterdir()) == []
