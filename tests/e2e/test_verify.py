"""``verify`` proves a whole output, and names shard and key for each kind of damage."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import predecode.pipeline
from predecode.verification.report import Finding
from tests.support.jobs import command, command_here, run_here, structure_here, verify_here
from train_shards.format import parse_key

pytestmark = pytest.mark.slow

SHARD = "b1k-train-000001"


def tar_of(out: Path) -> Path:
    return out / f"data/train/{SHARD}.tar"


def members_of(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(info, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]


def write_members(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    import io

    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def middle_key(out: Path) -> str:
    """A sample in the middle of the shard; a sample has four members."""
    names = [info.name for info, _ in members_of(tar_of(out))]
    return names[len(names) // 8 * 4].split(".")[0]


def flip_bit(out: Path, key: str) -> None:
    with tarfile.open(tar_of(out)) as tar:
        offset = tar.getmember(f"{key}.head.jpg").offset_data
    data = bytearray(tar_of(out).read_bytes())
    data[offset + 900] ^= 1
    tar_of(out).write_bytes(data)


def cut_tar_at_a_member(out: Path, key: str) -> None:
    with tarfile.open(tar_of(out)) as tar:
        offset = tar.getmember(f"{key}.head.jpg").offset
    tar_of(out).write_bytes(tar_of(out).read_bytes()[:offset])


def damaged_header(out: Path, key: str) -> None:
    with tarfile.open(tar_of(out)) as tar:
        offset = tar.getmember(f"{key}.head.jpg").offset
    data = bytearray(tar_of(out).read_bytes())
    data[offset + 150] ^= 0xFF  # inside the header's own checksum
    tar_of(out).write_bytes(data)


def missing_member(out: Path, key: str) -> None:
    write_members(
        tar_of(out), [m for m in members_of(tar_of(out)) if m[0].name != f"{key}.left_wrist.jpg"]
    )


def extra_member(out: Path, key: str) -> None:
    members = members_of(tar_of(out))
    extra = tarfile.TarInfo(f"{key}.tail.jpg")
    write_members(tar_of(out), [*members, (extra, b"x")])


def duplicate_key(out: Path, key: str) -> None:
    members = members_of(tar_of(out))
    write_members(tar_of(out), members + [m for m in members if m[0].name.startswith(key)])


def swapped_cameras(out: Path, key: str) -> None:
    members = members_of(tar_of(out))
    contents = {info.name: data for info, data in members}
    left, right = f"{key}.left_wrist.jpg", f"{key}.right_wrist.jpg"
    swapped = {**contents, left: contents[right], right: contents[left]}
    write_members(tar_of(out), [(info, swapped[info.name]) for info, _ in members])


def missing_shard(out: Path, key: str) -> None:  # noqa: ARG001
    tar_of(out).unlink()


def unknown_shard(out: Path, key: str) -> None:  # noqa: ARG001
    shutil.copy(tar_of(out), out / "data/train/b1k-train-000099.tar")


def damaged_ledger(out: Path, key: str) -> None:  # noqa: ARG001
    path = out / f".predecode/ledger/{SHARD}.npy"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def damaged_index(out: Path, key: str) -> None:  # noqa: ARG001
    path = out / ".predecode/index/train-000000.idx"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)


def changed_state(out: Path, key: str) -> None:  # noqa: ARG001
    path = out / "lowdim/b1k-lowdim-000000.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def changed_manifest(out: Path, key: str) -> None:  # noqa: ARG001
    path = out / ".predecode/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["totals"]["num_samples"] += 1
    path.write_text(json.dumps(manifest))


def changed_plan(out: Path, key: str) -> None:  # noqa: ARG001
    path = out / ".predecode/plan-000000.json"
    plan = json.loads(path.read_text())
    plan["shards"][0]["pieces"].pop()
    path.write_text(json.dumps(plan))


def foreign_version(out: Path, key: str) -> None:  # noqa: ARG001
    path = out / ".predecode/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["format"]["major"] = 3
    path.write_text(json.dumps(manifest))


DAMAGE: list[tuple[Callable[[Path, str], None], str, str, bool]] = [
    (flip_bit, "bytes", SHARD, True),
    (cut_tar_at_a_member, "tar", SHARD, True),
    (damaged_header, "tar", SHARD, True),
    (missing_member, "missing-member", SHARD, True),
    (extra_member, "extra-member", SHARD, True),
    (duplicate_key, "duplicate-member", SHARD, True),
    (swapped_cameras, "bytes", SHARD, True),
    (missing_shard, "missing-file", SHARD, False),
    (unknown_shard, "unknown-file", "data/train/b1k-train-000099.tar", False),
    (damaged_ledger, "ledger", SHARD, False),
    (damaged_index, "index", ".predecode/index/train-000000.idx", False),
    (changed_state, "table", "lowdim/b1k-lowdim-000000.arrow", False),
    (changed_manifest, "manifest", "totals.num_samples", False),
    (changed_plan, "plan", "plan of generation 0", False),
]


def test_a_whole_output_is_proven_by_the_command(b1k_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    run_here(b1k_root, out, stride=6, shard_size=256)  # 20, 42, 126, 84 and 15 samples
    done = command("verify", out, "--root", b1k_root, "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "frames: 287 samples decoded again by pyav (287 all)" in done.stdout
    assert "samples: 287 items as on line in action, action_is_pad, " in done.stdout
    assert "proven: 2 shards, 287 samples, 861 images decoded again" in done.stdout
    assert "head: 287 images, " in done.stdout
    assert "PSNR mean " in done.stdout


def test_a_sample_of_it_is_decoded_again(jpeg_shards: Path, b1k_root: Path) -> None:
    done = command_here("verify", jpeg_shards, "--root", b1k_root, "--sample", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "samples decoded again by pyav (10 ends, " in done.stdout
    assert " 20 random)" in done.stdout


@pytest.mark.parametrize(
    ("damage", "kind", "where", "has_key"), DAMAGE, ids=[d[0].__name__ for d in DAMAGE]
)
def test_damage_is_found_and_named(
    own_shards: Path,
    b1k_root: Path,
    damage: Callable[[Path, str], None],
    kind: str,
    where: str,
    has_key: bool,
) -> None:
    key = middle_key(own_shards)
    damage(own_shards, key)
    findings = structure_here(b1k_root, own_shards)
    assert any(f.kind == kind and f.where == where for f in findings), findings
    if has_key:
        assert any(f.kind == kind and f.where == where and f.key == key for f in findings), findings


def test_the_command_prints_findings_and_exits_with_1(own_shards: Path, b1k_root: Path) -> None:
    key = middle_key(own_shards)
    flip_bit(own_shards, key)
    done = command_here("verify", own_shards, "--root", b1k_root, "--sample", "0")
    assert done.returncode == 1
    assert f"{SHARD}, key {key}: bytes: expected member head.jpg" in done.stdout
    assert "not proven" in done.stdout


def test_a_later_format_is_refused(own_shards: Path, b1k_root: Path) -> None:
    foreign_version(own_shards, "")
    done = command_here("verify", own_shards, "--root", b1k_root)
    assert done.returncode == 1
    assert "format version 3, this reader knows up to 2" in done.stdout


def test_an_index_of_energon_beside_a_tar_is_no_damage(own_shards: Path, b1k_root: Path) -> None:
    tar_of(own_shards).with_suffix(".tar.idx").write_bytes(b"theirs")
    assert structure_here(b1k_root, own_shards) == []


def test_a_plan_that_cannot_be_read_is_damage(own_shards: Path, b1k_root: Path) -> None:
    (own_shards / ".predecode/plan-000000.json").write_text("{")
    done = command_here("verify", own_shards, "--root", b1k_root)
    assert done.returncode == 1
    assert "plan-000000.json: not a plan of this version" in done.stdout


def test_a_missing_source_means_could_not_check(own_shards: Path, tmp_path: Path) -> None:
    done = command_here("verify", own_shards, "--root", tmp_path / "gone")
    assert done.returncode == 2
    assert "say where it is with --root" in done.stderr


def shifted(real: Callable[..., Any], shift: int, camera_wanted: str) -> Callable[..., Any]:
    """A decoder that hands out other frames under the right numbers, consistently."""

    def pictures(root: Path, planned: Any, camera: str, frames: list[int], *more: Any) -> Any:
        last = planned.num_frames - 1
        asked = [min(frame + shift, last) for frame in frames]
        by_frame = {
            f: np.array(p) for f, p in real(root, planned, camera, sorted({*frames, *asked}), *more)
        }
        for frame, other in zip(frames, asked, strict=True):
            yield frame, by_frame[other if camera == camera_wanted else frame]

    return pictures


def test_frames_shifted_by_one_are_found(
    b1k_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tar, ledger, index and manifest agree with each other; only the source tells."""
    real = predecode.pipeline.decoded_pictures
    monkeypatch.setattr(predecode.pipeline, "decoded_pictures", shifted(real, 1, "left_wrist"))
    run_here(b1k_root, tmp_path, episodes="00490040", codec="png", size="native")
    monkeypatch.undo()
    findings: list[Finding] = verify_here(b1k_root, tmp_path).findings
    assert {f.kind for f in findings} == {"pixels", "more", "item"}
    named = [f for f in findings if f.kind != "more"]
    assert {parse_key(f.key)[0] for f in named} == {490040}
    assert all("left_wrist" in f.expected for f in named)


def test_wrong_rows_are_found(
    b1k_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ids in the tar say what the source says."""
    real = msgspec.json.encode

    def encode(row: Any, **options: Any) -> bytes:
        if isinstance(row, dict) and row.get("frame_index") == 7:
            row = {**row, "timestamp": row["timestamp"] + 1 / 30}
        return bytes(real(row, **options))

    monkeypatch.setattr("predecode.pipeline.msgspec.json.encode", encode)
    run_here(b1k_root, tmp_path, episodes="00490040", codec="png", size="64")
    monkeypatch.undo()
    findings = structure_here(b1k_root, tmp_path)
    assert [(f.kind, f.key) for f in findings] == [("json", "ep00490040_f000007")]
