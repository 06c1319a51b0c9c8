"""What each level of ``verify`` sees, and says of what it cannot see."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

import predecode.pipeline
from predecode.errors import episode_error
from predecode.verification.report import Report
from tests.support.jobs import command_here, run_here, structure_here, verify_here
from train_shards.npy import encode_npy
from train_shards.storage import sha256_of_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def png_shards(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every third frame of two episodes, 84 and 30, at the trainer's size without loss."""
    out = tmp_path_factory.mktemp("png") / "shards"
    run_here(b1k_root, out, episodes="00000020,00490040", codec="png", stride=3)
    return out


def test_lossless_shards_are_what_the_trainer_would_see_on_line(
    png_shards: Path, b1k_root: Path
) -> None:
    report = verify_here(b1k_root, png_shards)
    assert (report.status, report.findings) == ("proven", [])
    assert report.frames is not None
    assert report.frames.is_lossless
    assert report.frames.chosen == {"all": 114}
    for figures in report.frames.cameras.values():
        assert (figures.num_images, figures.num_equal_images) == (114, 114)
        assert (figures.equal_pixels, figures.largest) == (1.0, 0)
        assert figures.histogram == [114 * 224 * 224 * 3] + [0] * 255
    assert report.samples is not None
    assert report.samples.num_samples == 114
    assert report.samples.num_rows == 340
    names = ("observation.state", "action", "action_is_pad", "prompt", "timestamp")
    images = [f"observation.images.rgb.{c}" for c in ("head", "left_wrist", "right_wrist")]
    assert {name: report.samples.equal[name] for name in (*names, *images)} == dict.fromkeys(
        (*names, *images), 114
    )
    # One of the two is a rollout, which has no camera poses.
    assert report.samples.equal["observation.cam_rel_poses"] == 84


def test_a_draw_looks_at_ends_keyframes_and_some_more(jpeg_shards: Path, b1k_root: Path) -> None:
    report = verify_here(b1k_root, jpeg_shards, num_random=100)
    assert report.status == "proven"
    assert report.frames is not None
    assert report.frames.chosen["ends"] == 10  # five episodes
    assert 90 <= report.frames.chosen["random"] <= 100
    assert report.frames.chosen["keyframes"] >= 5
    head = report.frames.cameras["head"]
    assert 30 < head.psnr_worst_db <= head.psnr_mean_db < 99
    assert 0.9 < head.ssim_worst <= head.ssim_mean < 1
    assert head.psnr_worst_db == head.worst[0].psnr_db
    assert sum(head.histogram) == head.num_images * 224 * 224 * 3
    assert report.samples is not None
    assert report.samples.num_samples == 64  # 10 ends and 54 others
    assert report.samples.num_episodes == 5


def test_the_command_reports_in_json_and_on_a_page(
    jpeg_shards: Path, b1k_root: Path, tmp_path: Path
) -> None:
    words: list[str | Path] = ["verify", jpeg_shards, "--root", b1k_root, "--sample", "5"]
    done = command_here(*words, "--json", "--report", tmp_path / "proof")
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout, type=Report)
    assert report.status == "proven"
    assert (tmp_path / "proof/report.json").read_text() == done.stdout
    page = (tmp_path / "proof/report.html").read_text()
    assert report.frames is not None
    for figures in report.frames.cameras.values():
        assert len(figures.worst) == 4
        assert all(image.key in page for image in figures.worst)


def test_bytes_alone_need_no_source(own_shards: Path) -> None:
    done = command_here("verify", own_shards, "--fast", "--root", own_shards / "nowhere")
    assert done.returncode == 0, done.stderr
    assert "5 shards, 1,712 samples, bytes only" in done.stdout
    for name in ("data/train/b1k-train-000003.tar", "lowdim/b1k-lowdim-000000.arrow"):
        data = bytearray((own_shards / name).read_bytes())
        data[len(data) // 3] ^= 1
        (own_shards / name).write_bytes(data)
    (own_shards / ".predecode/ledger/b1k-train-000002.npy").unlink()
    done = command_here("verify", own_shards, "--fast")
    assert done.returncode == 1
    assert "data/train/b1k-train-000003.tar: bytes: expected SHA-256 " in done.stdout
    assert "lowdim/b1k-lowdim-000000.arrow: bytes: expected SHA-256 " in done.stdout
    assert ".predecode/ledger/b1k-train-000002.npy: missing-file: " in done.stdout
    assert "3 faults; not proven" in done.stdout


def test_a_source_that_changed_cannot_prove_anything(own_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    run_here(own_root, out, episodes="00490040", size="64")
    (video,) = own_root.glob("videos/*/observation.images.rgb.head/episode_00490040.mp4")
    with video.open("ab") as file:
        file.write(b"more")
    done = command_here("verify", out, "--root", own_root)
    assert done.returncode == 2
    assert "not checked: " in done.stdout
    assert f"{video.name}: changed since the plan was made" in done.stdout


def test_a_decoder_that_is_not_here_cannot_prove_anything(own_shards: Path, b1k_root: Path) -> None:
    done = command_here("verify", own_shards, "--root", b1k_root, "--backends", "video_reader")
    assert done.returncode == 2
    assert "decoder 'video_reader': cannot be loaded" in done.stderr


def other_pictures(
    real: Callable[..., Any], camera_of: dict[str, str], episode_of: dict[int, int]
) -> Callable[..., Any]:
    """A decoder that takes pictures from another camera's or another episode's file."""
    known: dict[int, Any] = {}

    def pictures(
        root: Path, planned: Any, camera: str, frames: list[int], *more: Any
    ) -> Iterator[Any]:
        known[planned.episode.episode_index] = planned
        other = known.get(episode_of.get(planned.episode.episode_index, -1), planned)
        yield from real(root, other, camera_of.get(camera, camera), frames, *more)

    return pictures


SWAPPED = {"left_wrist": "right_wrist", "right_wrist": "left_wrist"}


@pytest.mark.parametrize(
    ("camera_of", "episode_of", "wrong_cameras", "wrong_episodes"),
    [
        (SWAPPED, {}, {"left_wrist", "right_wrist"}, {"ep00490040"}),
        ({}, {490040: 490010}, {"head", "left_wrist", "right_wrist"}, {"ep00490040"}),
    ],
    ids=["swapped cameras", "wrong episode"],
)
def test_wrong_pictures_in_consistent_files_are_found(
    b1k_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    camera_of: dict[str, str],
    episode_of: dict[int, int],
    wrong_cameras: set[str],
    wrong_episodes: set[str],
) -> None:
    """Tar, ledger, index and manifest agree with each other; only the source tells."""
    fake = other_pictures(predecode.pipeline.decoded_pictures, camera_of, episode_of)
    monkeypatch.setattr(predecode.pipeline, "decoded_pictures", fake)
    chosen = "00490010,00490040" if episode_of else "00490040"
    run_here(b1k_root, tmp_path, episodes=chosen, codec="png", size="64", layout="episode")
    monkeypatch.undo()
    report = verify_here(b1k_root, tmp_path, num_random=0)
    assert report.status == "different"
    assert {f.kind for f in report.findings} >= {"pixels"}
    assert {f.level for f in report.findings} == {"frames", "samples"}
    named = [f for f in report.findings if f.kind == "pixels"]
    assert {f.expected.split(":")[0] for f in named} == wrong_cameras
    assert {f.key.split("_")[0] for f in named} == wrong_episodes
    items = [f for f in report.findings if f.level == "samples"]
    assert {f.expected.split(" ")[0].rpartition(".")[2] for f in items} == wrong_cameras


@pytest.fixture(scope="module")
def few(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few small pictures of all episodes, for what only rows and texts show."""
    out = tmp_path_factory.mktemp("few") / "shards"
    run_here(b1k_root, out, cameras="head", size="64", stride=9)
    return out


@pytest.fixture
def own_few(few: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(few, tmp_path / "few"))


def change_state(out: Path, episode_index: int, frame: int) -> None:
    """One value of one row, and every digest that would tell."""
    path = out / "lowdim/b1k-lowdim-000001.arrow"
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    sizes = [len(batch) for batch in table.to_batches()]
    rows = np.array(table["observation.state"].combine_chunks().flatten()).reshape(-1, 256)
    places = np.array(table["episode_index"]) == episode_index
    rows[np.flatnonzero(places)[frame], 193] += 1
    states = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 256)
    names = table.schema.names
    table = table.set_column(names.index("observation.state"), "observation.state", states)
    with pa.ipc.new_file(str(path), table.schema) as writer:
        start = 0
        for size in sizes:
            writer.write_batch(table.slice(start, size).combine_chunks().to_batches()[0])
            start += size
    text = (out / ".predecode/manifest.json").read_text()
    (receipt,) = (out / ".predecode").rglob("b1k-lowdim-000001.json")
    old = json.loads(text)["generations"][0]["lowdim"][1]
    for file in (out / ".predecode/manifest.json", receipt):
        changed = file.read_text().replace(old["sha256"], sha256_of_file(path))
        changed = changed.replace(f": {old['num_bytes']}", f": {path.stat().st_size}")
        file.write_text(changed.replace(f":{old['num_bytes']}", f":{path.stat().st_size}"))


def test_a_changed_state_under_right_digests_is_found(own_few: Path, b1k_root: Path) -> None:
    change_state(own_few, 490040, 7)
    report = verify_here(b1k_root, own_few, num_random=0)
    rows = [f for f in report.findings if f.kind == "rows"]
    assert [(f.where, f.key) for f in rows] == [
        ("lowdim/b1k-lowdim-000001.arrow", "ep00490040_f000007")
    ]
    assert "observation.state" in rows[0].expected


def test_a_wrong_prompt_is_found_in_items(own_few: Path, b1k_root: Path) -> None:
    path = own_few / ".predecode/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tasks"]["49"] += " Quickly."
    path.write_text(json.dumps(manifest))
    report = verify_here(b1k_root, own_few, num_random=0)
    kinds = {(f.level, f.kind, f.expected.split(" ")[0]) for f in report.findings}
    assert ("samples", "item", "prompt") in kinds
    assert ("structure", "manifest") in {kind[:2] for kind in kinds}


def test_embedded_rows_are_compared_with_the_source(
    b1k_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        predecode.pipeline,
        "encode_npy",
        lambda values: encode_npy(values + (values[0] == values[0])),
    )
    run_here(b1k_root, tmp_path, episodes="00490040", size="64", embed_lowdim=True)
    monkeypatch.undo()
    findings = structure_here(b1k_root, tmp_path)
    assert {f.kind for f in findings} == {"state", "more"}  # 90 states, then 90 actions
    assert {f.where for f in findings} == {"b1k-train-000000"}


def test_quarantined_episodes_are_in_the_report(own_root: Path, tmp_path: Path) -> None:
    (video,) = own_root.glob("videos/*/observation.images.rgb.head/episode_00000020.mp4")
    video.unlink()
    out = tmp_path / "shards"
    run_here(own_root, out, tasks="0", size="64")
    shutil.rmtree(tmp_path / "nothing", ignore_errors=True)
    report = verify_here(own_root, out, num_random=10)
    assert report.status == "proven"
    assert [fault.episode_index for fault in report.quarantined] == [20]


def test_masked_samples_are_not_compared_with_a_repaired_source(
    own_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One piece of an episode fails; the others are stored, but nobody is served them."""
    real = predecode.pipeline.decoded_pictures

    def failing(
        root: Path, planned: Any, camera: str, frames: list[int], *more: Any
    ) -> Iterator[Any]:
        for frame, picture in real(root, planned, camera, frames, *more):
            if planned.episode.episode_index == 40 and frame >= 700:
                raise episode_error(40, "x.mp4", "broken", "a picture", "none", camera)
            yield frame, picture

    monkeypatch.setattr(predecode.pipeline, "decoded_pictures", failing)
    out = tmp_path / "shards"
    options: dict[str, Any] = {"cameras": "head", "size": "64", "shard_size": 256}
    outcome = run_here(own_root, out, tasks="0", layout="episode", **options)
    monkeypatch.undo()
    assert list(outcome.faults) == [40]
    stored = sum(s.num_samples for g in outcome.manifest.generations for s in g.shards)
    assert stored > outcome.manifest.totals.num_samples == 370
    for path in (*own_root.glob("videos/*/*/episode_00000040.mp4"),
                 *own_root.glob("data/*/episode_00000040.parquet")):  # fmt: skip
        path.write_bytes(b"another file")
    report = verify_here(own_root, out)
    assert (report.status, report.findings, report.unchecked) == ("proven", [], "")
    assert report.frames is not None
    assert report.frames.num_samples == 370
    assert [fault.episode_index for fault in report.quarantined] == [40]
