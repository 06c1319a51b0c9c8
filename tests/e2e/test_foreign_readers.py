"""Readers that cannot live in our environment read the output: ``wids`` and Megatron-Energon.

Each runs in an environment of its own and prints what it got. What it should have got comes from
Python's tarfile and Pillow, not from our reader.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from predecode.sources.barcode import Identity, read
from tests.support.environments import Environment
from tests.support.jobs import fingerprint, run_here

pytestmark = pytest.mark.slow

CAMERAS = ("head", "left_wrist", "right_wrist")
NUM_SAMPLES = 430
"""Every fourth of 1712 frames."""

WIDS = Environment("wids", ("webdataset==0.2.111", "pillow==13.0.0"))
"""The last webdataset that carries wids; of it, only what ``import wids`` needs."""

ENERGON = Environment("energon", (
    "megatron-energon==7.4.1", "attrs==26.1.0", "braceexpand==0.1.7", "bracex==3.2.2",
    "cffi==2.1.1", "click==8.5.1", "deprecation==2.1.0", "filetype==1.2.0", "jsonschema==4.26.0",
    "jsonschema-specifications==2025.9.1", "lark==1.3.1", "multi-storage-client==1.3.1",
    "opentelemetry-api==1.45.2", "packaging==26.3", "pillow==13.0.0", "psutil==7.2.2",
    "python-dateutil==2.9.0.post0", "PyYAML==6.0.3", "rapidyaml==0.15.2", "referencing==0.37.0",
    "rpds-py==2026.9.1", "six==1.17.0", "tqdm==4.70.1", "wcmatch==10.2.1", "webdataset==1.0.2",
    "xattr==1.3.0",
))  # fmt: skip
"""What it imports for local files; s3fs and mfusepy, which it asks for, would add 25 packages."""

DESCRIBE = """
import hashlib, json, sys

def describe(key, low, pictures):
    digests = {
        camera: hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()
        for camera, picture in pictures.items()
    }
    return {"key": key, "ids": [low["episode_index"], low["frame_index"]], "rgb_sha256": digests}
"""

READ_BY_WIDS = """
from wids import ShardListDataset

dataset = ShardListDataset(sys.argv[1])
length = len(dataset)
assert length % 701
samples = {}
for step in range(length):
    index = step * 701 % length  # every index once, jumping between shards
    sample = dataset[index]
    pictures = {c: sample[f".{c}.jpg"] for c in sys.argv[2:]}
    samples[index] = describe(sample["__key__"], sample[".json"], pictures)
shards = [dataset[index]["__shard__"] for index in range(length)]
json.dump({"samples": [samples[index] for index in range(length)], "shards": shards}, sys.stdout)
"""

CHECK_BY_WIDS = """
import json, os, sys
from wids import ShardListDataset
from wids.wids import IndexedTarSamples, compute_file_md5sum, compute_num_samples

found = []
for shard in ShardListDataset(sys.argv[1]).shards:
    path = shard["url"]
    IndexedTarSamples(path=path, md5sum=shard["md5sum"], expected_size=shard["nsamples"])
    # These are what ``widsindex create`` writes.
    found.append([compute_num_samples(path), os.stat(path).st_size, compute_file_md5sum(path)])
json.dump(found, sys.stdout)
"""

READ_BY_ENERGON = """
import torch
from megatron.energon import (
    Cooker, DefaultTaskEncoder, SampleDecoder, WorkerConfig, get_loader, get_train_dataset,
    reraise_exception, stateless,
)
torch.set_num_threads(1)  # its threads slow each other down on pictures this small

class AsStored(DefaultTaskEncoder):
    decoder = SampleDecoder(image_decode="pilrgb")
    cookers = [Cooker(stateless(lambda sample: sample))]

def samples_of(rank, world_size, **options):
    # Without the handler, a sample that cannot be read is logged and left out.
    config = WorkerConfig(
        rank=rank, world_size=world_size, num_workers=0, global_error_handler=reraise_exception
    )
    return get_loader(get_train_dataset(
        sys.argv[1], worker_config=config, batch_size=None, shuffle_buffer_size=None,
        max_samples_per_sequence=None, repeat=False, **options,
    ))
"""

READ_ALL_BY_ENERGON = """
ranks = []
for rank in range(2):
    ranks.append([])
    for sample in samples_of(rank, 2, task_encoder=AsStored()):
        pictures = {c: sample[f"{c}.jpg"] for c in sys.argv[2:]}
        ranks[-1].append(describe(sample["__key__"], sample["json"], pictures))
json.dump(ranks, sys.stdout)
"""

READ_MAPPED_BY_ENERGON = """
found = []
for sample in samples_of(0, 1, dataset_config="captioning.yaml"):
    pixels = (sample.image * 255).round().byte().permute(1, 2, 0)  # float CHW in 0..1 to HWC
    digest = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
    found.append([sample.__key__, sample.caption, digest])
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="session")
def wids() -> Environment:
    WIDS.make()
    return WIDS


@pytest.fixture(scope="session")
def energon() -> Environment:
    ENERGON.make()
    return ENERGON


def tars(out: Path) -> list[Path]:
    return sorted((out / "data/train").glob("*.tar"))


def samples_of_tar(path: Path) -> list[dict[str, Any]]:
    """The samples of a tar in their order, as tarfile and Pillow have them."""
    samples: list[dict[str, Any]] = []
    with tarfile.open(path) as tar:
        for member in tar:
            key, field = member.name.split(".", 1)
            if not samples or samples[-1]["key"] != key:
                samples.append({"key": key, "rgb_sha256": {}})
            file = tar.extractfile(member)
            assert file is not None
            if field == "json":
                low = json.load(file)
                samples[-1]["ids"] = [low["episode_index"], low["frame_index"]]
                samples[-1]["task"] = low["task"]
            else:
                camera = field.removesuffix(".jpg")
                picture = Image.open(io.BytesIO(file.read())).convert("RGB")
                digest = hashlib.sha256(picture.tobytes()).hexdigest()
                samples[-1]["rgb_sha256"][camera] = digest
                episode_index, frame_index = int(key[2:10]), int(key[12:])
                identity = Identity(episode_index, frame_index, camera)
                assert read(np.asarray(picture)) == identity
    return samples


@pytest.fixture(scope="session")
def shards(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default output of every fourth frame, in three shards."""
    out = tmp_path_factory.mktemp("few") / "shards"
    run_here(b1k_root, out, stride=4, shard_size=256)
    return out


@pytest.fixture(scope="session")
def reference(shards: Path) -> list[dict[str, Any]]:
    """Every sample in the order of the shards; each picture was asked which one it is."""
    samples = [sample for path in tars(shards) for sample in samples_of_tar(path)]
    assert len({sample["key"] for sample in samples}) == len(samples) == NUM_SAMPLES
    digests = {digest for sample in samples for digest in sample["rgb_sha256"].values()}
    assert len(digests) == NUM_SAMPLES * len(CAMERAS)
    return samples


def as_described(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: s[name] for name in ("key", "ids", "rgb_sha256")} for s in samples]


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_wids_serves_every_index_through_the_index_file(
    wids: Environment, shards: Path, reference: list[dict[str, Any]], tmp_path: Path
) -> None:
    # It copies each shard into its cache before it opens it.
    script, index = DESCRIBE + READ_BY_WIDS, shards / "b1k.json"
    got = answer(wids.run("python", "-I", "-c", script, index, *CAMERAS, WIDS_CACHE=str(tmp_path)))
    assert got["samples"] == as_described(reference)
    assert list(dict.fromkeys(got["shards"])) == [str(path) for path in tars(shards)]
    assert len(list(tmp_path.glob("*.tar"))) == 3


def test_what_wids_counts_and_hashes_is_what_the_index_says(
    wids: Environment, shards: Path, tmp_path: Path
) -> None:
    index = shards / "b1k.json"
    found = answer(wids.run("python", "-I", "-c", CHECK_BY_WIDS, index, WIDS_CACHE=str(tmp_path)))
    listed = json.loads(index.read_text())["shardlist"]
    assert len(listed) == 3
    assert found == [[s["nsamples"], s["filesize"], s["md5sum"]] for s in listed]


def test_wids_refuses_a_shard_that_is_not_the_one_in_the_index(
    wids: Environment, shards: Path, tmp_path: Path
) -> None:
    own_shards = Path(shutil.copytree(shards, tmp_path / "shards"))
    path = tars(own_shards)[2]
    with path.open("r+b") as file:
        file.seek(-20_000, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    index = own_shards / "b1k.json"
    done = wids.run("python", "-I", "-c", CHECK_BY_WIDS, index, WIDS_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    expected = json.loads(index.read_text())["shardlist"][2]["md5sum"]
    assert f"MD5 sum mismatch: expected {expected}, got" in done.stderr


def prepare(energon: Environment, out: Path, home: Path, *words: str) -> str:
    """``energon prepare`` without questions; the folder names are the splits."""
    done = energon.run(
        "energon", "prepare", "--non-interactive", "--no-progress", "--num-workers", "2",
        "--split-parts", "train:data/train/.*", *words, out, HOME=str(home),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # A shard that it cannot read is only logged.
    assert "Skipping it" not in done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def prepared(energon: Environment, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the output, prepared as it is stored and once more with a field map."""
    home = tmp_path_factory.mktemp("energon")
    out = Path(shutil.copytree(shards, home / "shards"))
    said = prepare(energon, out, home, "--sample-type", "CrudeWebdataset")
    fields = said.split("part types in the dataset: ")[1].splitlines()[0].split(", ")
    assert sorted(fields) == ["head.jpg", "json", "left_wrist.jpg", "right_wrist.jpg"]
    prepare(
        energon, out, home, "--force-overwrite", "--dataset-yaml-name", "captioning.yaml",
        "--sample-type", "CaptioningSample",
        "--field-map", '{"image": "head.jpg", "caption": "json[task]"}',
    )  # fmt: skip
    return out


def test_energon_prepares_beside_our_files(prepared: Path, shards: Path) -> None:
    index = json.loads((shards / "b1k.json").read_text())
    info = json.loads((prepared / ".nv-meta/.info.json").read_text())
    assert info["energon_version"] == "7.4.1"
    assert info["shard_counts"] == {s["url"]: s["nsamples"] for s in index["shardlist"]}
    before, after = fingerprint(shards), fingerprint(prepared)
    assert {path: digest for path, digest in after.items() if path in before} == before
    own = {str(path.relative_to(shards)) + ".idx" for path in tars(shards)}
    assert {path for path in after if not path.startswith(".nv-meta/")} == {*before, *own}


def test_energon_serves_every_sample_once_over_two_ranks(
    energon: Environment, prepared: Path, reference: list[dict[str, Any]], tmp_path: Path
) -> None:
    script = DESCRIBE + READ_BY_ENERGON + READ_ALL_BY_ENERGON
    ranks = answer(
        energon.run("python", "-I", "-c", script, prepared, *CAMERAS, HOME=str(tmp_path))
    )
    assert [len(samples) for samples in ranks] == [NUM_SAMPLES // 2, NUM_SAMPLES // 2]
    got = sorted((s for samples in ranks for s in samples), key=lambda s: str(s["key"]))
    assert got == sorted(as_described(reference), key=lambda s: str(s["key"]))


def test_energon_s_field_map_reaches_a_camera_and_into_the_json(
    energon: Environment, prepared: Path, reference: list[dict[str, Any]], tmp_path: Path
) -> None:
    script = DESCRIBE + READ_BY_ENERGON + READ_MAPPED_BY_ENERGON
    got = answer(energon.run("python", "-I", "-c", script, prepared, HOME=str(tmp_path)))
    assert len(got) == NUM_SAMPLES
    assert sorted(got) == sorted([s["key"], s["task"], s["rgb_sha256"]["head"]] for s in reference)
