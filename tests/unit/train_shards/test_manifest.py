"""The manifest: round trip, schema evolution, and refusals that name the field."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.stored import settings_of, tiny_output
from train_shards.errors import DataError, UserError
from train_shards.format import MANIFEST_PATH
from train_shards.manifest import Manifest, decode_manifest, encode_json, load_manifest

Plain = dict[str, Any]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return tiny_output(tmp_path / "shards")


@pytest.fixture
def plain(manifest: Manifest) -> Plain:
    """The manifest as Python's own json reads it."""
    loaded: Plain = json.loads(encode_json(manifest))
    return loaded


def decode(plain: Plain) -> Manifest:
    return decode_manifest(json.dumps(plain).encode(), where="m.json")


def test_decoding_returns_the_manifest(manifest: Manifest) -> None:
    assert decode_manifest(encode_json(manifest), where="x") == manifest


def test_loading_reads_the_folder(manifest: Manifest, tmp_path: Path) -> None:
    assert load_manifest(tmp_path / "shards") == manifest


def test_the_text_is_sorted_and_ends_with_a_newline(plain: Plain, manifest: Manifest) -> None:
    data = encode_json(manifest)
    assert data.endswith(b"}\n")
    assert list(plain) == sorted(plain)
    assert list(plain["settings"]) == sorted(plain["settings"])
    assert json.dumps(plain, indent=1, ensure_ascii=False).encode() + b"\n" == data


def test_numbers_as_keys_become_text(plain: Plain) -> None:
    assert plain["tasks"] == {"0": "open the drawer", "7": "close the drawer"}
    assert decode(plain).tasks == {0: "open the drawer", 7: "close the drawer"}


def test_what_settings_tell_a_reader() -> None:
    settings = settings_of(cameras={"right_wrist": "r", "head": "h"}, size="320x240")
    assert settings.camera_names == ("head", "right_wrist")
    assert settings.fields == ("head.png", "json", "right_wrist.png")
    assert settings.picture_size == (240, 320)
    assert settings_of(size="native").picture_size is None
    assert settings_of(embed_lowdim=True).fields == (
        "action.npy", "head.png", "json", "left_wrist.png", "state.npy",
    )  # fmt: skip


def test_the_name_of_a_shard_entry(manifest: Manifest) -> None:
    shards = manifest.generations[0].shards
    assert [shard.name for shard in shards] == ["tiny-train-000000", "tiny-train-000001"]


def test_unknown_fields_are_ignored(plain: Plain, manifest: Manifest) -> None:
    plain["weather"] = "rain"
    plain["settings"]["lidar"] = {"codec": "npz"}
    plain["generations"][0]["shards"][0]["crc32c"] = 7
    assert decode(plain) == manifest


def test_a_higher_minor_version_is_read(plain: Plain) -> None:
    plain["format"] = {"major": 1, "minor": 9}
    assert decode(plain).format.minor == 9


def test_a_higher_major_version_is_refused_before_anything_else() -> None:
    with pytest.raises(
        DataError, match="m.json: format version 3, this reader knows up to 2. Install a newer"
    ):
        decode({"format": {"major": 3, "minor": 0}, "settings": "something else"})


def put(*path: str | int, value: object) -> Callable[[Plain], None]:
    def change(plain: Plain) -> None:
        place: Any = plain
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def without(*path: str | int) -> Callable[[Plain], None]:
    def change(plain: Plain) -> None:
        place: Any = plain
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put("settings", "stride", value="2"),
            r"Expected `int`, got `str` - at `\$.settings.stride`",
        ),
        (put("settings", "quality", value=9.5), r"at `\$.settings.quality`"),
        (put("settings", "cameras", value=["head"]), r"got `array` - at `\$.settings.cameras`"),
        (put("complete", value=1), r"Expected `bool`, got `int` - at `\$.complete`"),
        (put("totals", "num_samples", value=None), r"at `\$.totals.num_samples`"),
        (
            put("generations", 0, "shards", 1, "sha256", value=7),
            r"Expected `str`, got `int` - at `\$.generations\[0\].shards\[1\].sha256`",
        ),
        (put("tasks", value={"zero": "x"}), r"at `key` in `\$.tasks`"),
        (without("settings"), "missing required field `settings`"),
        (without("totals", "num_images"), r"missing required field `num_images` - at `\$.totals`"),
        (without("format"), "missing required field `format`"),
    ],
)
def test_a_wrong_type_is_refused_with_the_path_of_the_field(
    plain: Plain, change: Callable[[Plain], None], message: str
) -> None:
    change(plain)
    with pytest.raises(DataError, match="m.json: not a manifest of predecode: .*" + message):
        decode(plain)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b'{"format": "\xff"}', b"[" * 100_000, b"\x00\x01"]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="m.json: not a manifest of predecode: "):
        decode_manifest(data, where="m.json")


def test_a_cut_manifest_is_refused(manifest: Manifest) -> None:
    with pytest.raises(DataError, match="m.json: not a manifest of predecode: "):
        decode_manifest(encode_json(manifest)[:-10], where="m.json")


PATHS: list[tuple[str | int, ...]] = [
    ("plan",),
    ("shards", 0, "path"),
    ("shards", 1, "ledger"),
    ("lowdim", 0, "path"),
    ("indexes", "train", "path"),
]


@pytest.mark.parametrize("place", PATHS, ids=str)
@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "data/../../x", ""])
def test_a_path_that_leaves_the_output_is_refused(
    plain: Plain, place: tuple[str | int, ...], path: str
) -> None:
    put("generations", 0, *place, value=path)(plain)
    with pytest.raises(DataError, match="m.json: path .*: expected a relative path without") as e:
        decode(plain)
    assert repr(path) in str(e.value)


@pytest.mark.parametrize("camera", ["Head", "left.wrist", "../head", "", "a/b"])
def test_a_camera_that_is_no_member_name_is_refused(plain: Plain, camera: str) -> None:
    plain["settings"]["cameras"] = {"head": "h", camera: "x"}
    with pytest.raises(DataError, match="m.json: camera .*: expected 1 to 40 of a-z") as caught:
        decode(plain)
    assert repr(camera) in str(caught.value)


def test_a_name_that_is_no_file_name_is_refused(plain: Plain) -> None:
    plain["settings"]["name"] = "../tiny"
    with pytest.raises(DataError, match="m.json: name '../tiny': expected 1 to 40 of a-z"):
        decode(plain)


def test_a_codec_that_this_reader_does_not_know_is_refused(plain: Plain) -> None:
    plain["settings"]["codec"] = "avif"
    with pytest.raises(DataError, match="m.json: .*codec 'avif'"):
        decode(plain)


@pytest.mark.parametrize("size", ["224", "", "axb", "0x224", "-1x5", "224x224x3"])
def test_a_size_that_is_none_is_refused(plain: Plain, size: str) -> None:
    plain["settings"]["size"] = size
    with pytest.raises(DataError, match=f"m.json: .*size {size!r}"):
        decode(plain)


def test_a_folder_without_a_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="no .predecode/manifest.json: not an output .*The same 'predecode run'"
    ) as caught:
        load_manifest(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_damaged_manifest_is_named_with_its_path(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "shards" / MANIFEST_PATH
    path.write_bytes(encode_json(manifest)[:100])
    with pytest.raises(DataError, match="shards/.predecode/manifest.json: not a manifest"):
        load_manifest(tmp_path / "shards")
