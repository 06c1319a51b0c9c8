"""Packets that no other picture needs: what is left out never changes a picture that is wanted."""

import random
import subprocess
from pathlib import Path

import av
import pytest

from predecode.video.pyav import PyavDecoder
from predecode.video.spare_packets import SparePackets
from tests.support.media import X265_RATE_30, painted
from tests.unit.video.reference import check

NUM_PICTURES = 90
# Of each structure by x265's parameters: the share of packets that are spare, [least, most].
STRUCTURES = {
    "as published": ("keyint=250", 0.45, 0.60),
    "no pyramid": ("keyint=30:bframes=4:b-pyramid=0", 0.55, 0.85),
    "closed GOPs": ("keyint=20:open-gop=0", 0.40, 0.60),
    "many B frames": ("keyint=60:bframes=8:b-adapt=0", 0.60, 0.85),
    "P frames only": ("keyint=30:bframes=0", 0.0, 0.0),
    # Names of types speak of one layer only: pictures of the higher one may need any of the lower.
    "temporal layers": ("keyint=40:temporal-layers=1", 0.0, 0.0),
    # Parameter sets that may say something else than the header.
    "repeated headers": ("keyint=20:repeat-headers=1", 0.0, 0.0),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, made = tmp_path_factory.mktemp("structures"), {}
    pictures = painted(NUM_PICTURES).tobytes()
    for name, (params, _, _) in STRUCTURES.items():
        made[name] = folder / f"{name}.mp4"
        command = [*X265_RATE_30, "-x265-params", f"{params}:log-level=none", str(made[name])]
        subprocess.run(command, input=pictures, check=True, capture_output=True)
    return made


def share_of_spare(path: Path) -> float:
    with av.open(str(path)) as container:
        spare = SparePackets(container.streams.video[0])
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return sum(spare.has(packet) for packet in packets) / len(packets)


@pytest.mark.parametrize("name", STRUCTURES)
def test_as_many_packets_are_spare_as_the_structure_has(videos: dict[str, Path], name: str) -> None:
    _, least, most = STRUCTURES[name]
    assert least <= share_of_spare(videos[name]) <= most


@pytest.mark.parametrize("name", STRUCTURES)
def test_what_is_wanted_is_as_in_a_whole_decode(videos: dict[str, Path], name: str) -> None:
    path, draw = videos[name], random.Random(name)
    with PyavDecoder(path) as decoder:
        for step in (2, 3, 7, 30):
            check(decoder, path, list(range(step // 2, NUM_PICTURES, step)))
        for _ in range(6):
            check(decoder, path, sorted(draw.sample(range(NUM_PICTURES), draw.randint(1, 20))))


def test_what_was_left_out_is_decoded_when_a_later_or_other_call_wants_it(
    videos: dict[str, Path],
) -> None:
    path = videos["as published"]
    with PyavDecoder(path) as decoder:
        check(decoder, path, [0, 40])
        check(decoder, path, [41, 42, 43])
        every_third = decoder.pictures(range(0, NUM_PICTURES, 3))
        for _ in range(5):
            next(every_third)
        for rank in range(13, 60):
            check(decoder, path, [rank])
            next(every_third, None)


def test_fewer_pictures_are_decoded(
    videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    identify = PyavDecoder._identify

    def counted(self: PyavDecoder, frame: av.VideoFrame) -> int:
        decoded.append(identify(self, frame))
        return decoded[-1]

    monkeypatch.setattr(PyavDecoder, "_identify", counted)
    with PyavDecoder(videos["as published"]) as decoder:
        check(decoder, videos["as published"], [0, 80])
        assert 30 < len(decoded) < 55  # of 81
        decoded.clear()
        check(decoder, videos["as published"], list(range(NUM_PICTURES)))
        assert decoded == list(range(NUM_PICTURES))


def test_a_stream_of_another_codec_or_form_has_none(
    tmp_path: Path, videos: dict[str, Path]
) -> None:
    raw = tmp_path / "codes.h265"
    copy = ["ffmpeg", "-v", "error", "-i", str(videos["as published"]), "-c", "copy", str(raw)]
    subprocess.run(copy, check=True)
    assert share_of_spare(raw) == 0


@pytest.mark.parametrize("cut", [0, 1, 22, 23, 26, 40, 60])
def test_a_header_that_ends_early_has_none(videos: dict[str, Path], cut: int) -> None:
    with av.open(str(videos["as published"])) as container:
        stream = container.streams.video[0]
        whole = stream.codec_context.extradata
        assert whole is not None
        stream.codec_context.extradata = whole[:cut]
        packets = [packet for packet in container.demux(stream) if packet.size]
        spare = SparePackets(stream)
        assert not any(spare.has(packet) for packet in packets)
