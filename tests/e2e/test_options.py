"""Options of ``run`` and what they change in the output."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from predecode.sources.sample_build import encode_videos
from predecode.sources.sample_video import VideoJob
from tests.support.jobs import command, command_here, run_here
from train_shards.dataset import IMAGE_KEY, ShardDataset
from train_shards.errors import UserError

pytestmark = pytest.mark.slow


def ids(dataset: ShardDataset) -> list[tuple[int, int]]:
    return [
        (int(item["episode_index"]), int(item["frame_index"]))
        for item in map(dataset.__getitem__, range(len(dataset)))
    ]


def test_stride_stores_every_nth_frame_and_all_rows(b1k_root: Path, tmp_path: Path) -> None:
    run_here(b1k_root, tmp_path, episodes="0,00490040", size="64", stride=7)
    dataset = ShardDataset(tmp_path)
    assert ids(dataset) == [
        (episode_index, frame)
        for episode_index, length in ((10, 120), (490010, 501), (490040, 90))
        for frame in range(0, length, 7)
    ]
    reader = dataset.open_reader()
    columns = reader._tables[0].columns(0, 0)
    assert columns["action"].shape == (120, 23)  # low-dimensional data stay at full rate


def test_cameras_and_size(b1k_root: Path, tmp_path: Path) -> None:
    run_here(b1k_root, tmp_path, episodes="00490040", cameras="right_wrist,head", size="96x64")
    item = ShardDataset(tmp_path)[3]
    images = {name: value.shape for name, value in item.items() if name.startswith(IMAGE_KEY)}
    assert images == {IMAGE_KEY + "head": (64, 96, 3), IMAGE_KEY + "right_wrist": (64, 96, 3)}
    # A square picture is scaled to 64 and stands between black borders of 16.
    picture = item[IMAGE_KEY + "head"]
    assert picture[:, :12].max() < 12
    assert picture[:, 84:].max() < 12
    assert picture[:, 16:80].mean() > 40


def test_held_out_episodes_go_to_val(b1k_root: Path, tmp_path: Path) -> None:
    run_here(b1k_root, tmp_path, size="64", stride=10, val_episodes="1")
    assert {e for e, _ in ids(ShardDataset(tmp_path))} == {10, 40, 490010}
    assert {e for e, _ in ids(ShardDataset(tmp_path, split="val"))} == {20, 490040}
    assert (tmp_path / "data/val/b1k-val-000000.tar").is_file()
    assert (tmp_path / "b1k-val.json").is_file()


def test_episode_layout_keeps_the_order(b1k_root: Path, tmp_path: Path) -> None:
    import tarfile

    run_here(b1k_root, tmp_path, tasks="turning_on_radio", size="64", layout="episode")
    keys = []
    for tar_path in sorted((tmp_path / "data/train").glob("*.tar")):
        with tarfile.open(tar_path) as tar:
            keys += [name.split(".")[0] for name in tar.getnames() if name.endswith(".json")]
    assert len(keys) == 120 + 250 + 751
    assert keys == sorted(keys)


def test_seed_changes_the_order_and_nothing_else(b1k_root: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "a", tmp_path / "b"]
    for seed, out in enumerate(outs):
        run_here(b1k_root, out, episodes="00000020", size="64", seed=seed)
    tars = [next((out / "data/train").glob("*.tar")).read_bytes() for out in outs]
    assert tars[0] != tars[1]
    first, second = (ShardDataset(out) for out in outs)
    for position in (0, 100, 249):
        assert np.array_equal(
            first[position][IMAGE_KEY + "head"], second[position][IMAGE_KEY + "head"]
        )


def test_quality_of_webp_makes_it_lossy(b1k_root: Path, tmp_path: Path) -> None:
    sizes = {}
    for quality in (None, 50):
        out = tmp_path / str(quality)
        done = run_here(b1k_root, out, episodes="00490040", codec="webp", quality=quality)
        sizes[quality] = done.manifest.totals.num_shard_bytes
    assert sizes[50] < sizes[None] / 3


def test_embedding_needs_a_source_with_tables(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not read")
    with pytest.raises(UserError, match="--embed-lowdim: --src videos has no state"):
        run_here(tmp_path, tmp_path / "out", src="videos", embed_lowdim=True)


def test_sample_command_makes_what_run_needs(
    b1k_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two commands of the design, verbatim, in an empty folder (that of the README).

    Videos that other tests have made are copied, and depth and segmentation, which this run does
    not read, are left out: they are most of a minute of encoding.
    """

    def encode_rest(jobs: Sequence[VideoJob], num_processes: int) -> None:
        left = []
        for job in (job for job in jobs if job.modality == "rgb"):
            known = b1k_root.joinpath(*job.path.parts[-4:])
            if known.exists():
                job.path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(known, job.path)
            else:
                left.append(job)
        assert len(left) == 3  # of one episode
        encode_videos(left, num_processes)

    monkeypatch.setattr("predecode.sources.sample.encode_videos", encode_rest)
    made = command_here("sample", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "6 episodes, 2,715 frames" in made.stdout
    run = command("run", "--src", "b1k", "--out", "shards/", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "6 episodes, 2,715 samples, 8,145 images in 1 shards" in run.stdout
    assert command_here("sample", cwd=tmp_path).returncode == 2
