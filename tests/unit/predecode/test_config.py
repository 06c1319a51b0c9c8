"""Settings from the command line's words: literals and refusals."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from predecode.config import DEFAULT_SHARD_SIZE, PIECE_FRAMES, make_settings, settings_difference
from predecode.sources.episode import Episode, TableSpan
from tests.support.stored import settings_of
from train_shards.depth import SCALE_2025, DepthScale
from train_shards.errors import UserError
from train_shards.manifest import Settings


class Demos:
    """A source of two episodes and three cameras."""

    def __init__(self, *, has_table: bool = True, cameras: dict[str, str] | None = None) -> None:
        self.kind = "b1k"
        self.root = Path("/data")
        self.cameras = cameras or {"head": "rgb.h", "left_wrist": "rgb.l", "right_wrist": "rgb.r"}
        self.modalities = {
            "depth": {"head_depth": "depth.h", "left_wrist_depth": "depth.l"},
            "seg_instance_id": {"head_seg": "seg.h"},
        }
        self.depth: DepthScale | None = SCALE_2025
        self.left_out = dict.fromkeys(("warm", "rgb.t"), "rgb.t is thermal")
        self.state_layout = "b1k-2025-256"
        self.task_names: dict[str, int] = {}
        self.episodes = [
            Episode(
                episode_index=index,
                task_index=0,
                task="",
                num_frames=None,
                fps=None,
                videos={},
                table=TableSpan(path="a.parquet") if has_table else None,
            )
            for index in (10, 20)
        ]

    def metadata_files(self, episodes: Iterable[Episode]) -> list[str]:  # noqa: ARG002
        return []


WORDS: dict[str, Any] = {
    "cameras": None,
    "modalities": "rgb",
    "size": "224",
    "codec": "jpeg",
    "quality": None,
    "stride": 1,
    "layout": "mixed",
    "shard_size": 8192,
    "val_episodes": "",
    "embed_lowdim": False,
    "task_info": False,
    "seed": 0,
    "name": None,
}


def settings(source: Demos | None = None, **words: Any) -> Settings:
    return make_settings(source or Demos(), **{**WORDS, **words})


def test_the_defaults() -> None:
    assert (PIECE_FRAMES, DEFAULT_SHARD_SIZE) == (256, 8192)
    assert settings() == Settings(
        source="b1k",
        name="b1k",
        cameras={"head": "rgb.h", "left_wrist": "rgb.l", "right_wrist": "rgb.r"},
        size="224x224",
        codec="jpeg",
        quality=95,
        subsampling="420",
        stride=1,
        layout="mixed",
        shard_size=8192,
        val_episodes="",
        embed_lowdim=False,
        task_info=False,
        seed=0,
        state_layout="b1k-2025-256",
    )


@pytest.mark.parametrize(
    ("text", "size", "picture_size"),
    [
        ("224", "224x224", (224, 224)),
        ("320x240", "320x240", (240, 320)),
        ("0224", "224x224", (224, 224)),
        ("1", "1x1", (1, 1)),
        ("8192", "8192x8192", (8192, 8192)),
        ("native", "native", None),
    ],
)
def test_sizes(text: str, size: str, picture_size: tuple[int, int] | None) -> None:
    made = settings(size=text)
    assert (made.size, made.picture_size) == (size, picture_size)


@pytest.mark.parametrize(
    ("codec", "quality", "expected"),
    [
        ("jpeg", None, 95),
        ("jpeg", 1, 1),
        ("jpeg", 100, 100),
        ("webp", None, None),
        ("webp", 80, 80),
        ("png", None, None),
        ("raw", None, None),
    ],
)
def test_qualities(codec: str, quality: int | None, expected: int | None) -> None:
    assert settings(codec=codec, quality=quality).quality == expected


def test_cameras_are_chosen_once_and_sorted() -> None:
    made = settings(cameras="right_wrist, head,head")
    assert list(made.cameras.items()) == [("head", "rgb.h"), ("right_wrist", "rgb.r")]


def test_a_camera_is_stored_in_every_modality_asked_for() -> None:
    made = settings(cameras="head", modalities="seg_instance_id, rgb,depth")
    assert list(made.cameras.items()) == [
        ("head", "rgb.h"), ("head_depth", "depth.h"), ("head_seg", "seg.h"),
    ]  # fmt: skip
    assert made.modalities == {"head_depth": "depth", "head_seg": "seg_instance_id"}
    assert made.depth == SCALE_2025
    assert made.fields == ("head.jpg", "head_depth.npz", "head_seg.npz", "json")
    assert [made.item_key(image) for image in made.cameras] == [
        "observation.images.rgb.head",
        "observation.images.depth.head",
        "observation.images.seg_instance_id.head",
    ]


def test_a_modality_that_some_cameras_have_is_stored_of_those() -> None:
    made = settings(modalities="depth")
    assert list(made.cameras) == ["head_depth", "left_wrist_depth"]
    assert settings(modalities="seg_instance_id").depth is msgspec.UNSET


def test_rgb_alone_leaves_no_trace_of_modalities() -> None:
    stored = msgspec.json.decode(msgspec.json.encode(settings()))
    assert not {"modalities", "depth"} & set(stored)


def test_a_name_of_one_s_own() -> None:
    assert settings(name="radio-2025").name == "radio-2025"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"codec": "avif"}, "--codec avif: expected one of jpeg, png, webp, raw"),
        ({"layout": "random"}, "--layout random: expected one of mixed, episode"),
        ({"modalities": "rgb,dept"}, r"--modalities dept: .*Did you mean 'depth'\?"),
        ({"cameras": "haed"}, r"--cameras haed: .*Did you mean 'head'\?"),
        (
            {"modalities": "seg_instance_id", "cameras": "left_wrist"},
            "--cameras left_wrist: expected one of head",
        ),
        ({"stride": 0}, "--stride 0: expected 1 or more"),
        (
            {"shard_size": 255},
            r"--shard-size 255: fewer samples than one piece \(256\). Use 256 or more",
        ),
        ({"cameras": "head,top"}, "--cameras top: expected one of head, left_wrist, right_wrist"),
        ({"cameras": ""}, "--cameras : expected one of head"),
        (
            {"cameras": "head,left_wirst"},
            "--cameras left_wirst: expected .*, right_wrist. Did you mean 'left_wrist'?",
        ),
        ({"cameras": "right"}, "--cameras right: expected .*. Did you mean 'right_wrist'?"),
        ({"codec": "jpg"}, r"--codec jpg: expected .*, raw\. Did you mean 'jpeg'\?"),
        ({"size": "big"}, r"--size big: expected 'native', one number \(224\) or WxH"),
        ({"size": "224x"}, "--size 224x: expected 'native'"),
        ({"size": "-1"}, "--size -1: expected 'native'"),
        ({"size": "0"}, "--size 0: expected 1 to 8192 pixels each way"),
        ({"size": "224x8193"}, "--size 224x8193: expected 1 to 8192 pixels"),
        ({"quality": 0}, "--quality 0: expected 1 to 100"),
        ({"quality": 101}, "--quality 101: expected 1 to 100"),
        ({"codec": "webp", "quality": 101}, "--quality 101: expected 1 to 100"),
        ({"codec": "png", "quality": 9}, "--quality 9: --codec png is lossless and takes none"),
        ({"codec": "raw", "quality": 9}, "--quality 9: --codec raw is lossless and takes none"),
        ({"name": "My Set"}, "--name 'My Set': expected 1 to 40 of a-z, 0-9"),
        ({"name": "../x"}, "--name '../x': expected 1 to 40 of a-z, 0-9"),
        ({"val_episodes": "half"}, "--val-episodes half: expected positions"),
        ({"val_episodes": "100%"}, "--val-episodes 100%: a share must lie between 0 and 1"),
    ],
)
def test_a_word_that_is_not_allowed_is_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings(**words)


def test_labelled_frames_need_a_source_with_labels() -> None:
    with pytest.raises(UserError, match="--annotated-only: --src b1k has no annotations; expected"):
        settings(annotated_only=True)

    class Labelled(Demos):
        def annotation_path(self, episode_index: int) -> str | None:
            return f"annotations/{episode_index}.json"

    assert settings(Labelled(), annotated_only=True).annotated_only
    assert settings_difference(settings(Labelled(), annotated_only=True), settings()) == [
        "--annotated-only: the output has True, asked for False"
    ]


def test_state_and_action_cannot_be_embedded_where_there_are_none() -> None:
    assert settings(embed_lowdim=True).embed_lowdim
    with pytest.raises(UserError, match="--embed-lowdim: --src b1k has no state and action"):
        settings(Demos(has_table=False), embed_lowdim=True)


@pytest.mark.parametrize("camera", ["Head", "left.wrist", "a/b", "", "x" * 41])
def test_a_camera_whose_name_no_reader_would_take_is_refused_before_any_work(camera: str) -> None:
    # The manifest with it would be refused by its own reader, after all the work.
    with pytest.raises(UserError, match="expected 1 to 40 of a-z, 0-9"):
        settings(Demos(cameras={"head": "rgb.h", camera: "rgb.x"}))


def test_differences_name_the_option_and_both_values() -> None:
    stored, asked = settings_of(), settings_of(source="videos", stride=3, shard_size=512)
    assert settings_difference(stored, asked) == [
        "--src: the output has 'b1k', asked for 'videos'",
        "--stride: the output has 1, asked for 3",
        "--shard-size: the output has 8192, asked for 512",
        "--src, layout of the state: the output has 'b1k-2025-256', asked for ''",
    ]
    assert settings_difference(stored, settings_of()) == []


def test_an_output_without_a_recorded_layout_is_the_2025_editions() -> None:
    asked = settings()
    older = msgspec.structs.replace(asked, state_layout="")
    assert settings_difference(older, asked) == []
    other = msgspec.structs.replace(asked, state_layout="b1k-2026-61")
    for stored in (older, asked):
        assert settings_difference(stored, other) == [
            "--src, layout of the state: the output has 'b1k-2025-256', asked for 'b1k-2026-61'"
        ]


def test_what_says_nothing_leaves_no_trace() -> None:
    """Plans of older outputs keep their digests."""
    assert b"state_layout" not in msgspec.json.encode(
        msgspec.structs.replace(settings(), state_layout="")
    )
    assert b'"state_layout":"b1k-2025-256"' in msgspec.json.encode(settings())
    assert b"annotated_only" not in msgspec.json.encode(settings())
    assert b'"annotated_only":true' in msgspec.json.encode(settings_of(annotated_only=True))


def test_cameras_by_their_own_keys_and_those_that_cannot_be_stored() -> None:
    assert settings(cameras="rgb.l,head").camera_names == ("head", "left_wrist")
    for word in ("warm", "rgb.t"):
        with pytest.raises(UserError, match=rf"--cameras {word}: rgb.t is thermal\."):
            settings(cameras=f"head,{word}")
