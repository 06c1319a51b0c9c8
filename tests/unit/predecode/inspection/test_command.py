"""``predecode inspect`` on tiny outputs: what it says, and what it refuses."""

import io
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from predecode.inspection.pictures import id_colour
from tests.support.inspected import ROOT, inspect_here, inspected_output
from tests.support.stored import painted
from tests.support.texts import write_json
from train_shards.ledger import decode_ledger, encode_ledger
from train_shards.manifest import Manifest, encode_json, load_manifest

GOLDEN = Path(__file__).parents[3] / "golden/v1.2"
KEY = "ep00000010_f000005"
CapSys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inspected_output(tmp_path_factory.mktemp("inspected") / "out")


@pytest.fixture
def own(out: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(out, tmp_path / "out"))


def as_json(capsys: CapSys, *words: str | Path) -> Any:
    status, said, error = inspect_here(capsys, *words, "--json")
    assert (status, error) == (0, "")
    return json.loads(said)


def change_manifest(out: Path, **changes: Any) -> Manifest:
    path = out / ".predecode/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return load_manifest(out)


def test_a_sample_in_lines(out: Path, capsys: CapSys) -> None:
    status, said, _ = inspect_here(capsys, out, "--key", KEY)
    assert status == 0
    lines = said.splitlines()
    assert lines[0] == f"{KEY}: frame 5 of 12 of episode 00000010, train, generation 0"
    assert re.match(r"shard data/train/tiny-train-00000[01]\.tar at [\d,]+, \d+ bytes; ", lines[1])
    assert "image head: rgb, 24 x 16 pixels" in lines
    assert "task 0: open the drawer" in lines
    assert "prompt: Open the drawer. First find it." in lines
    assert "skill: pick up from" in lines
    assert "  observation.state: 3 float32, 0.5 to 10: 10, 5, 0.5" in lines
    assert f"made of, below {ROOT}:" in lines
    assert f"  head: head.mp4, picture 5, no pts; digest {'v' * 32}" in lines
    assert any("head.mp4: was there when the plan was made" in line for line in lines)


def test_a_sample_in_json_counts_pictures_from_the_start_of_the_file(
    out: Path, capsys: CapSys
) -> None:
    found = as_json(capsys, out, "--key", "ep00000020_f000003")
    assert [source["rank"] for source in found["sources"]] == [103, 103]
    assert [source["pts"] for source in found["sources"]] == [None, None]
    assert (found["skill"], found["prompt"]) == (None, "Open the drawer at once.")


def test_an_episode_in_lines_and_json(out: Path, capsys: CapSys) -> None:
    _, said, _ = inspect_here(capsys, out, "--episode", "00000020")
    lines = said.splitlines()
    assert lines[0] == "episode 00000020: task 0, train, generation 0"
    assert "skill 0 to 3: move to" in lines
    assert "skill 4 to 6: press" in lines
    assert "  observation.state: float32(3)" in lines
    assert f"  20.parquet: 7 bytes, digest {'t' * 32}" in lines
    found = as_json(capsys, out, "--episode", "20")
    assert (found["num_frames"], found["num_samples"], found["last_frame"]) == (6, 6, 5)
    assert sum(shard["num_samples"] for shard in found["shards"]) == 6
    assert [member["field"] for member in found["members"]] == [
        "head.png", "json", "left_wrist.png",
    ]  # fmt: skip
    for member in found["members"]:
        assert member["least"] <= member["mean"] <= member["most"]
        assert member["total"] == pytest.approx(6 * member["mean"])
    _, said, _ = inspect_here(capsys, out, "--episode", "70010")
    assert "no annotated skill" in said


def test_a_summary_in_lines_and_json(out: Path, capsys: CapSys) -> None:
    _, said, _ = inspect_here(capsys, out)
    assert "episode 00070010: task 7, train, 4 samples" in said
    assert "task 0 open_drawer: 2 episodes, 18 samples: open the drawer" in said
    assert "train: 3 episodes, 22 samples in 2 shards" in said
    assert "generation 0: 2 shards, 1 table, plan plan 0; by pyav: " in said
    found = as_json(capsys, out)
    assert found["splits"]["train"]["num_samples"] == 22
    assert [task["num_episodes"] for task in found["tasks"]] == [2, 1]
    assert [row["episode_index"] for row in found["episodes"]] == [10, 20, 70010]
    assert found["manifest"] == json.loads((out / ".predecode/manifest.json").read_text())


def test_a_picture_holds_every_image_beside_the_others(
    out: Path, tmp_path: Path, capsys: CapSys
) -> None:
    path = tmp_path / "new/sample.png"
    status, said, _ = inspect_here(capsys, out, "--key", KEY, "--picture", path)
    assert (status, said.splitlines()[-1]) == (0, f"written: {path}")
    picture = np.asarray(Image.open(path))
    for image, left in (("head", 12), ("left_wrist", 12 + 200 + 12)):
        assert np.array_equal(picture[44:60, left : left + 24], painted(10, 5, image))
    assert [file.name for file in path.parent.iterdir()] == ["sample.png"]


def test_depth_has_its_range_and_segmentation_its_names(tmp_path: Path, capsys: CapSys) -> None:
    out = Path(shutil.copytree(GOLDEN, tmp_path / "out"))
    names = {"names": {"5": "radio_89"}, "ids": {}}
    write_json(out / "meta/instances/task-0000/episode_00000010.json", names)
    path, key = tmp_path / "sample.png", "ep00000010_f000040"
    found = as_json(capsys, out, "--key", key, "--picture", path)
    with tarfile.open(out / "data/train/b1k-train-000000.tar") as tar:
        members = {
            name.removeprefix(f"{key}."): tar.extractfile(name).read()  # type: ignore[union-attr]
            for name in tar.getnames()
            if name.startswith(key)
        }
    codes = np.load(io.BytesIO(members["head_depth.npz"]))["codes"].astype(float)
    a, b = np.log(3.5), np.log(13.5)  # of the format's document, 2025
    metres = np.clip(np.exp(codes / 16383 * (b - a) + a) - 3.5, 0, 10)
    images = {image["name"]: image for image in found["images"]}
    assert images["head_depth"]["range_m"] == pytest.approx([metres.min(), metres.max()], abs=1e-5)
    areas = [one["num_pixels"] for one in images["head_seg"]["instances"]]
    assert areas == sorted(areas, reverse=True)
    ids = np.load(io.BytesIO(members["head_seg.npz"]))["ids"]
    told = {one["id"]: one["num_pixels"] for one in images["head_seg"]["instances"]}
    assert told == dict(zip(*(a.tolist() for a in np.unique(ids, return_counts=True)), strict=True))
    named = {o["id"]: o["name"] for i in found["images"] for o in i["instances"] if o["name"]}
    assert named == {5: "radio_89"}
    picture = np.asarray(Image.open(path))
    # Rows: pictures, their line, depth, its two lines, segmentation.
    top = 44 + (64 + 16 + 12) + (64 + 32 + 12)
    colours = {number: id_colour(number) for number in told}
    expected = np.array([[colours[n] for n in row] for row in ids.tolist()], np.uint8)
    assert np.array_equal(picture[top : top + 64, 12:76], expected)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "--key ep00000010_f000012",
            r"frame 12 is not stored; the nearest is ep0{6}10_f000011\.",
        ),
        ("--key ep00000011_f000000", r"episode 00000011 is not here; the nearest of 3 is 00000010"),
        ("--key head.jpg", r"--key: key 'head.jpg': expected the form 'ep00010041_f000310'\.$"),
        (
            "--episode 70000",
            r"episode 00070000 is not here; the nearest of 3 is 00070010",
        ),
    ],
)
def test_what_is_not_there_is_answered_with_the_nearest(
    out: Path, words: str, says: str, capsys: CapSys
) -> None:
    status, said, error = inspect_here(capsys, out, *words.split())
    assert (status, said, error.count("\n")) == (2, "", 1)
    assert re.search(says, error.rstrip("\n")), error


def test_why_an_episode_is_not_there_is_said(own: Path, capsys: CapSys) -> None:
    row = {
        "episode_index": 30, "camera": "head", "path": "a.mp4", "problem": "cut",
        "expected": "9 frames", "got": "8", "retry": "predecode retry out --episodes 00000030",
    }  # fmt: skip
    (own / ".predecode/quarantine.jsonl").write_text(json.dumps(row) + "\n")
    change_manifest(own, dropped=[{"episode_index": 40, "task_index": 0}])
    status, _, error = inspect_here(capsys, own, "--episode", "30")
    assert status == 2
    assert "is quarantined: a.mp4: cut; expected 9 frames, got 8. After repair: predecode" in error
    status, _, error = inspect_here(capsys, own, "--key", "ep00000040_f000000")
    assert (status, "was dropped from this output." in error) == (2, True)
    _, said, _ = inspect_here(capsys, own)
    assert "quarantined 00000030: a.mp4: cut; expected 9 frames, got 8" in said
    assert "dropped 00000040" in said


def shard_of(out: Path, capsys: CapSys) -> tuple[Path, int]:
    """Where the head's picture of ``KEY`` lies."""
    found = as_json(capsys, out, "--key", KEY)
    return out / found["shard"], found["members"][0]["offset_bytes"]


def test_a_flipped_bit_is_told_with_shard_key_and_offset(own: Path, capsys: CapSys) -> None:
    path, offset = shard_of(own, capsys)
    data = bytearray(path.read_bytes())
    data[offset + 40] ^= 1
    path.write_bytes(data)
    status, said, error = inspect_here(capsys, own, "--key", KEY)
    assert (status, said) == (1, "")
    assert f"{path.name}, key {KEY}, member head.png (95 bytes at {offset}): xxh3" in error


def test_a_page_of_a_damaged_picture_is_not_written(
    own: Path, tmp_path: Path, capsys: CapSys
) -> None:
    path, offset = shard_of(own, capsys)
    data = bytearray(path.read_bytes())
    data[offset : offset + 8] = bytes(8)
    path.write_bytes(data)
    status, said, error = inspect_here(capsys, own, "--html", tmp_path / "new/page.html")
    assert (status, said) == (1, "")
    assert f"{path.name}, key {KEY}, member head.png (95 bytes at {offset}): not a read" in error
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("words", [("--key", KEY), ("--html", "page.html")])
def test_a_cut_shard_is_told(own: Path, words: tuple[str, str], capsys: CapSys) -> None:
    path, offset = shard_of(own, capsys)
    path.write_bytes(path.read_bytes()[:600])
    status, _, error = inspect_here(capsys, own, *words)
    assert status == 1
    assert re.search(rf"{path.name}, key ep\d+_f\d+: \d+ bytes expected at \d+, got \d+: ", error)
    assert offset > 600


def test_other_damage_is_told(own: Path, capsys: CapSys) -> None:
    shard, _ = shard_of(own, capsys)
    ledger = own / f".predecode/ledger/{shard.stem}.npy"
    rows = decode_ledger(ledger.read_bytes(), 3, 2, where="x")
    ((number,),) = np.nonzero((rows["episode_index"] == 10) & (rows["frame_index"] == 5))
    assert number < len(rows) - 1
    ledger.write_bytes(encode_ledger(np.delete(rows, number)))
    status, _, error = inspect_here(capsys, own, "--key", KEY)
    assert (status, f"key {KEY}: no sample at" in error) == (1, True)
    ledger.unlink()
    status, _, error = inspect_here(capsys, own, "--key", KEY)
    assert (status, "a ledger of the manifest is gone" in error) == (1, True)
    shard.unlink()
    status, _, error = inspect_here(capsys, own, "--key", KEY)
    assert (status, f"{shard.name}: a shard of the manifest is gone" in error) == (1, True)
    (own / ".predecode/plan-000000.json").write_text("{}")
    status, _, error = inspect_here(capsys, own, "--episode", "10")
    assert (status, "plan-000000.json: not a plan of this version" in error) == (1, True)
    (own / ".predecode/plan-000000.json").unlink()
    status, _, error = inspect_here(capsys, own, "--episode", "10")
    assert (status, "plan-000000.json: not there, and the manifest names it" in error) == (1, True)


def test_texts_that_would_act_on_a_terminal_are_shown_in_letters(own: Path, capsys: CapSys) -> None:
    change_manifest(own, tasks={"0": "a\u202eb\x1b[31m", "7": ""})
    _, said, _ = inspect_here(capsys, own)
    assert "18 samples: a\\u202eb\\x1b[31m\n" in said
    assert "task 7 close_drawer: 1 episode, 4 samples: (no sentence)" in said


def test_an_output_without_videos_texts_or_tables_beyond_the_index(
    tmp_path: Path, capsys: CapSys
) -> None:
    """As ``--src videos`` makes them: no prompt, no skill, no state."""
    out = inspected_output(tmp_path / "out")
    shutil.rmtree(out / "meta")
    manifest = load_manifest(out)
    settings = json.loads(encode_json(manifest.settings)) | {"source": "videos"}
    change_manifest(out, settings=settings, tasks={"0": "", "7": ""}, task_names={})
    status, said, error = inspect_here(capsys, out, "--key", KEY)
    assert (status, error) == (0, "")
    assert "prompt: none\nskill: none" in said
    status, _, _ = inspect_here(capsys, out, "--html", tmp_path / "page.html")
    assert status == 0
    assert "No prompt." in (tmp_path / "page.html").read_text()
