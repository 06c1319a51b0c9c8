"""What a data set declares of its depth, and what is taken for depth."""

from typing import Any

import msgspec
import pytest

from predecode.errors import EpisodeError
from predecode.sources.depth_formats import check_depth_format, declared_scale
from predecode.sources.episode import Episode, VideoSpan
from train_shards.depth import SCALE_2026
from train_shards.errors import UserError

KEYS = {"head_depth": "depth.head", "left_wrist_depth": "depth.left"}


def features(head: Any, left: Any) -> dict[str, Any]:
    return {"depth.head": {"info": head}, "depth.left": left, "action": {}}


def declared(**changes: Any) -> dict[str, Any]:
    names = ("depth_min", "depth_max", "shift", "use_log")
    values = dict(zip(names, (0.01, 10.0, 3.5, True), strict=True)) | changes
    return {f"video.{name}": value for name, value in values.items()}


def test_the_editions_own_constants_or_none_give_its_scale() -> None:
    told = features(declared(), {"info": declared()})
    untold = features({"is_depth_map": True}, {})
    for found in (told, untold, features(None, {"info": declared()})):
        assert declared_scale(found, KEYS, SCALE_2026) == SCALE_2026


def test_other_constants_are_those_of_the_data_set() -> None:
    own = declared(depth_min=0, depth_max=8, use_log=False)
    scale = declared_scale(features(own, {"info": own}), KEYS, SCALE_2026)
    assert (scale.min_m, scale.max_m, scale.shift_m, scale.is_log) == (0.0, 8.0, 3.5, False)
    assert (scale.bits, scale.pixel_format, scale.precision) == (12, "gray12le", "float32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth_max": 0.0}, r"meta/info.json: depth: .*depth from 0.01 to 0.0 m"),
        ({"shift": "3.5"}, r"meta/info.json: depth: Expected `float`, got `str` - at `\$.shift_m`"),
        ({"depth_min": float("nan")}, "depth from nan to 10.0 m"),
    ],
)
def test_constants_that_make_no_scale_are_refused(changes: dict[str, Any], message: str) -> None:
    own = declared(**changes)
    with pytest.raises(UserError, match=message):
        declared_scale(features(own, {"info": own}), {"head_depth": "depth.head"}, SCALE_2026)


def test_two_scales_in_one_set_are_refused() -> None:
    found = features(declared(), {"info": declared(depth_max=20.0)})
    with pytest.raises(UserError, match=r"depth of left_wrist_depth and head_depth differ: .*20.0"):
        declared_scale(found, KEYS, SCALE_2026)


@pytest.mark.parametrize(
    ("codes", "pix_fmt", "is_right"),
    [
        ("gray16le", "yuv420p10le", True),
        ("gray16le", "yuv420p16le", True),
        ("gray16le", "yuv420p", False),
        ("gray16le", "gbrp", False),
        ("gray12le", "gray12le", True),
        ("gray12le", "yuv444p12le", False),
        ("gray12le", "gbrp", False),
        (msgspec.UNSET, "gbrp", True),
    ],
)
def test_formats_that_carry_codes(codes: Any, pix_fmt: str, is_right: bool) -> None:
    span = VideoSpan(key="k", path="a/b.mp4", codes=codes)
    episode = Episode(
        episode_index=7, task_index=0, task="", num_frames=1, fps=None, videos={"head": span},
        table=None,
    )  # fmt: skip
    if is_right:
        check_depth_format(episode, "head", pix_fmt)
        return
    with pytest.raises(EpisodeError, match=rf"a/b.mp4: not this edition's depth.*{pix_fmt} \("):
        check_depth_format(episode, "head", pix_fmt)
