"""``predecode inspect`` on an output of the sample, against readers that are not ours."""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import xxhash
from PIL import Image

from tests.support.html_page import Page
from tests.support.inspected import inspect_here, inspected_output
from tests.support.s3 import S3, serve_s3, use_server
from train_shards.node_cache import Cache

pytestmark = pytest.mark.slow

KEY = "ep00000020_f000123"
CapSys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def running() -> Iterator[S3]:
    yield from serve_s3()


def as_json(capsys: CapSys, *words: str | Path) -> Any:
    status, said, error = inspect_here(capsys, *words, "--json")
    assert (status, error) == (0, "")
    return json.loads(said)


def members_of(out: Path, shard: str) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(out / shard) as tar:
        for member in tar:
            yield member, tar.extractfile(member).read()  # type: ignore[union-attr]


def packet_times(video: Path) -> list[int]:
    """The pts of a video's packets in display order, by ffprobe."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts", "-of",
         "csv=p=0", str(video)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted(int(line.strip(",")) for line in done.stdout.split())


def test_a_sample_is_what_other_readers_find(
    b1k_root: Path, jpeg_shards: Path, tmp_path: Path, capsys: CapSys
) -> None:
    path = tmp_path / "sample.png"
    found = as_json(capsys, jpeg_shards, "--key", KEY, "--picture", path)
    own = {
        member.name.removeprefix(f"{KEY}."): (member, data)
        for member, data in members_of(jpeg_shards, found["shard"])
        if member.name.startswith(KEY)
    }
    assert [m["field"] for m in found["members"]] == list(own)
    assert len(own) == 4
    for told in found["members"]:
        member, data = own[told["field"]]
        assert (told["offset_bytes"], told["num_bytes"]) == (member.offset_data, member.size)
        assert told["xxh3"] == xxhash.xxh3_64_hexdigest(data)
    assert found["offset_bytes"] == own["head.jpg"][0].offset
    assert found["num_bytes"] == sum(member.size for member, _ in own.values())
    assert json.loads(own["json"][1])["task"] == found["task"]

    table = pq.read_table(b1k_root / "data/task-0000/episode_00000020.parquet")
    columns = {column["name"]: column for column in found["columns"]}
    state = np.array(table["observation.state"][123].as_py(), np.float32)
    assert columns["observation.state"]["values"] == pytest.approx(state[:8].tolist())
    assert columns["observation.state"]["high"] == pytest.approx(float(state.max()))
    assert columns["observation.state"]["shape"] == [256]
    assert columns["timestamp"]["values"] == [pytest.approx(123 / 30)]

    assert [source["image"] for source in found["sources"]] == ["head", "left_wrist", "right_wrist"]
    for source in found["sources"]:
        video = Path(found["root"], source["path"])
        times = packet_times(video)
        assert (source["rank"], source["pts"], len(times)) == (123, times[123], 250)
        assert source["pts"] * Fraction(source["time_base"]) == Fraction(123, 30)
        assert (source["num_bytes"], source["note"]) == (video.stat().st_size, "")
    assert (found["skill"], found["decoder"]) == ("pick up from", "pyav")

    picture = np.asarray(Image.open(path)).astype(int)
    for number, camera in enumerate(("head", "left_wrist", "right_wrist")):
        left = 12 + number * (224 + 12)
        expected = np.asarray(Image.open(io.BytesIO(own[f"{camera}.jpg"][1]))).astype(int)
        difference = np.abs(picture[44 : 44 + 224, left : left + 224] - expected)
        assert difference.mean() < 1  # Pillow's own libjpeg


def test_an_episode_is_what_the_tars_and_the_annotation_hold(
    jpeg_shards: Path, capsys: CapSys
) -> None:
    found = as_json(capsys, jpeg_shards, "--episode", "00000040")
    shards: dict[str, list[int]] = {}
    fields: dict[str, list[int]] = {}
    for tar in sorted((jpeg_shards / "data/train").glob("*.tar")):
        for member, data in members_of(jpeg_shards, f"data/train/{tar.name}"):
            if member.name.startswith("ep00000040_"):
                shards.setdefault(f"data/train/{tar.name}", []).append(len(data))
                fields.setdefault(member.name.partition(".")[2], []).append(len(data))
    assert len(shards) > 1
    assert found["shards"] == [
        {"shard": name, "num_samples": len(sizes) // 4, "num_bytes": sum(sizes)}
        for name, sizes in shards.items()
    ]
    assert {m["field"]: (m["total"], m["least"], m["most"]) for m in found["members"]} == {
        field: (sum(sizes), min(sizes), max(sizes)) for field, sizes in fields.items()
    }
    assert (found["num_frames"], found["num_samples"], found["last_frame"]) == (751, 751, 750)
    assert [(s["start"], s["stop"], s["skill"]) for s in found["skills"]] == [
        (0, 240, "move to"), (240, 300, "pick up from"), (360, 420, "pick up from"),
        (420, 751, "press"),
    ]  # fmt: skip


def test_a_url_says_what_a_folder_says(
    tmp_path: Path, running: S3, monkeypatch: pytest.MonkeyPatch, capsys: CapSys
) -> None:
    use_server(running, monkeypatch, read_timeout_s=20)
    monkeypatch.setattr(Cache.__new__, "__defaults__", (tmp_path / "cache", 1 << 30))
    out = inspected_output(tmp_path / "out")
    url = running.upload(out, "some/shards")
    for words in (("--key", "ep00000010_f000005"), ("--episode", "20"), ()):
        here, there = (as_json(capsys, place, *words) for place in (out, url))
        assert (here.pop("out"), there.pop("out")) == (str(out), url)
        assert here == there
    running.downloads.clear()
    for name, place in (("here", out), ("there", url)):
        assert inspect_here(capsys, place, "--html", tmp_path / f"{name}.html")[0] == 0
    page = (tmp_path / "there.html").read_text()
    assert (tmp_path / "here.html").read_text().replace(str(out), url) == page
    asked = running.downloads_of(".tar")
    assert 0 < len(asked) <= 18 + 16
    assert all("bytes" in name for name in asked)  # never a whole shard
    status, said, error = inspect_here(capsys, f"{url}-gone")
    assert (status, said) == (2, "")
    assert "no .predecode/manifest.json" in error


def test_the_same_output_gives_the_same_page_and_it_is_small(
    jpeg_shards: Path, tmp_path: Path, capsys: CapSys
) -> None:
    for name in ("a.html", "b.html"):
        assert inspect_here(capsys, jpeg_shards, "--html", tmp_path / name)[0] == 0
    data = (tmp_path / "a.html").read_bytes()
    assert data == (tmp_path / "b.html").read_bytes()
    assert len(data) < 1_500_000
    page = Page(data.decode())
    assert page.count("img") == 2 * 3 * 4 + 5 * 8
    assert page.count("polyline") == 5 * 2 * 8
    assert "Incomplete" not in page.text("header")
