"""Which decoder is chosen, what a missing one says, and how a float time names a picture."""

import dataclasses
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from predecode.errors import UserError
from predecode.video.backends import (
    BACKENDS,
    choose_backend,
    load_backend,
    parse_backend_python,
)
from predecode.video.decoder import rank_at
from predecode.video.packets import read_frame_table
from tests.support.backends import loaded

MakeMedia = Callable[[str], Path]


def test_the_choice_of_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("B1K_VIDEO_BACKEND", raising=False)
    assert choose_backend() == "pyav"
    monkeypatch.setenv("B1K_VIDEO_BACKEND", "torchcodec")
    assert choose_backend() == "torchcodec"
    assert choose_backend("video_reader") == "video_reader"
    monkeypatch.setenv("B1K_VIDEO_BACKEND", "")
    assert choose_backend() == "pyav"
    monkeypatch.setenv("B1K_VIDEO_BACKEND", "nvdec")
    message = r"decoder 'nvdec'%s: not known\. Use one of: pyav, torchcodec, video_reader\."
    with pytest.raises(UserError, match=message % r" \(\$B1K_VIDEO_BACKEND\)"):
        choose_backend()
    with pytest.raises(UserError, match=message % ""):
        load_backend("nvdec")


def test_each_decoder_is_what_its_name_says(media: MakeMedia) -> None:
    kinds = []
    for backend in BACKENDS:
        with loaded(backend)(media("h264"), None) as decoder:
            kinds.append(type(decoder).__name__)
    assert kinds == ["PyavDecoder", "TorchcodecDecoder", "VideoReaderDecoder"]


def test_interpreters_for_decoders() -> None:
    assert parse_backend_python([]) == {}
    assert parse_backend_python(["video_reader=/opt/a=b"]) == {"video_reader": "/opt/a=b"}
    with pytest.raises(UserError, match="--backend-python video_reader: expected video_reader="):
        parse_backend_python(["video_reader"])
    with pytest.raises(UserError, match="'pyav': only video_reader runs under another Python"):
        load_backend("pyav", {"pyav": "/usr/bin/python3"})


def test_a_missing_torchcodec_says_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "predecode.video.torchcodec", raising=False)
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    with pytest.raises(UserError, match=r"'torchcodec': cannot be loaded: .*apt install ffmpeg"):
        load_backend("torchcodec")


@pytest.mark.parametrize(
    ("pythons", "reason"),
    [
        ({}, "No module named 'torchvision'"),  # this environment
        ({"video_reader": "/nowhere/python3"}, "/nowhere/python3: No such file or directory"),
        ({"video_reader": "/bin/true"}, "the worker ended with status 0"),
    ],
)
def test_a_missing_video_reader_says_what_would_help(pythons: dict[str, str], reason: str) -> None:
    with pytest.raises(UserError, match=rf"{reason}.*0\.26.*video_reader=/usr/bin/python3"):
        load_backend("video_reader", pythons)


def test_a_time_names_one_picture_or_none(media: MakeMedia) -> None:
    table = dataclasses.replace(
        read_frame_table(media("hevc")),
        pts=np.array([-512, 0, 1, 512]),
        time_base=Fraction(1, 15360),
    )
    near = Fraction(1, 10**6)
    assert [rank_at(table, s, near) for s in (-1 / 30, 0.0, 1 / 15360, 1 / 30)] == [0, 1, 2, 3]
    assert rank_at(table, 0.0333330, near) == 3  # 1/30 s in whole microseconds
    assert rank_at(table, 0.0333, near) is None
    assert rank_at(table, 0.00003, Fraction(1, 15360)) is None  # two are as near
    assert rank_at(table, float("nan"), near) is None
