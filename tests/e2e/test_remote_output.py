"""Outputs on an object store: the bytes of a folder's, whatever happens on the way."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import fsspec.config
import numpy as np
import pytest

from predecode.cli import main
from predecode.errors import EXIT_REFUSED, InfraError, UserError
from predecode.lock import LOCK_PATH, myself
from predecode.places import Place
from predecode.remote_lock import RemoteLock
from predecode.remote_place import place_of, readable
from predecode.status import status_of
from predecode.verification.levels import verify_bytes
from tests.support.jobs import (
    Silent,
    command,
    digests,
    fingerprint,
    retry_here,
    run_here,
    verify_here,
)
from tests.support.kill_anywhere import OPTIONS
from tests.support.processes import parent_of
from tests.support.s3 import BUCKET, KEYS, S3, Fault, serve_s3, use_server
from train_shards.dataset import ShardDataset
from train_shards.format import MANIFEST_PATH, plan_path, receipt_path
from train_shards.node_cache import Cache
from train_shards.remote_folder import RemoteFolder

pytestmark = [pytest.mark.slow, pytest.mark.faults]

TAR = "data/train/b1k-train-000000.tar"
MANY = {**OPTIONS, "stride": 1, "codec": "png", "shard_size": 256}


@pytest.fixture(scope="module")
def running() -> Iterator[S3]:
    yield from serve_s3()


@pytest.fixture
def server(running: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server, with an empty bucket and short waits between attempts."""
    use_server(running, monkeypatch, read_timeout_s=20)
    monkeypatch.setattr(Cache.__new__, "__defaults__", (tmp_path / "cache", 1 << 30))
    yield running
    running.faults.clear()
    running.on_write, running.heeds_conditions = None, True
    client = boto3.client("s3", endpoint_url=running.endpoint, **KEYS)
    for name in stored(running, ""):
        client.delete_object(Bucket=BUCKET, Key=name)
    client.close()


@pytest.fixture
def url(server: S3) -> str:
    assert stored(server, "") == {}
    return f"s3://{BUCKET}/some/shards"


@pytest.fixture
def place(url: str, tmp_path: Path) -> Iterator[Place]:
    with place_of(url, tmp_path / "staging") as place:
        yield place
    assert not list((tmp_path / "staging").rglob("*"))


def stored(server: S3, prefix: str = "some/shards/") -> dict[str, str]:
    """Name behind the prefix -> as ``fingerprint``, by a client that is not ours."""
    client = boto3.client("s3", endpoint_url=server.endpoint, **KEYS)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    bodies = {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
    client.close()
    return digests({key.removeprefix(prefix): data for key, data in bodies.items()})


def put(server: S3, name: str, data: bytes) -> None:
    client = boto3.client("s3", endpoint_url=server.endpoint, **KEYS)
    client.put_object(Bucket=BUCKET, Key=f"some/shards/{name}", Body=data)
    client.close()


@pytest.fixture(scope="module")
def wanted(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run to a folder makes."""
    out = tmp_path_factory.mktemp("folder") / "shards"
    run_here(b1k_root, out, **OPTIONS)
    return fingerprint(out)


def ray_tasks() -> list[int]:
    """Ray workers with a task, of a driver that this process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_task = (folder / "cmdline").read_bytes().startswith(b"ray::_call")
            process_id = int(folder.name)
            while is_task and process_id > 1:
                process_id = parent_of(process_id)
                if process_id == os.getpid():
                    found.append(int(folder.name))
                    break
        except OSError:
            continue  # gone meanwhile
    return found


def test_a_ray_worker_killed_while_it_uploads_is_replaced_and_the_output_proven(
    server: S3, url: str, b1k_root: Path, tmp_path: Path
) -> None:
    variables: dict[str, Any] = {
        "FSSPEC_S3_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret", "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }  # fmt: skip
    killed: list[int] = []

    def on_write(path: str) -> None:
        if path.endswith(TAR) and not killed:
            killed.extend(ray_tasks())
            for process_id in killed:
                os.kill(process_id, signal.SIGKILL)

    server.on_write = on_write
    words: list[str | Path] = [
        "run",
        "--src",
        "b1k",
        "--root",
        b1k_root,
        "--out",
        url,
        "--num-cpus",
        "2",
    ]
    words += ["--tasks", "49", "--size", "32", "--cameras", "head", "--codec", "png"]
    done = command(*words, "--val-episodes", "00490040", "--shard-size", "256", **variables)
    assert done.returncode == 0, done.stderr
    assert f"{url}: 2 episodes, 591 samples, 591 images in 2 shards" in done.stdout
    assert killed
    folder = tmp_path / "shards"
    run_here(b1k_root, folder, **MANY)
    assert stored(server) == fingerprint(folder)

    with place_of(url, tmp_path / "staging") as place:
        assert run_here(b1k_root, place, **MANY).num_new_images == 0
    assert stored(server) == fingerprint(folder)

    remote, local = ShardDataset(url), ShardDataset(folder)
    assert len(remote) == len(local) == 501
    for ours, theirs in ((remote[i], local[i]) for i in (0, 250, 500)):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)

    with readable(url) as standing:
        told = status_of(standing)
        assert (told.state, told.num_samples_done, told.output) == ("complete", 591, url)
        assert told.last is not None
        assert told.last.num_images == 591
        report = verify_here(b1k_root, standing, num_random=10)
        assert (report.status, report.subject, report.findings) == ("proven", url, [])
        assert verify_bytes(standing, Silent()).status == "proven"
    tar = bytearray((folder / TAR).read_bytes())
    tar[700] ^= 1
    put(server, TAR, bytes(tar))
    put(server, "data/train/stray.tar", b"")
    with readable(url) as standing:
        found = verify_here(b1k_root, standing, num_random=10).findings
        (bytes_alone,) = verify_bytes(standing, Silent()).findings
    assert {(f.kind, f.where) for f in found} >= {
        ("bytes", "b1k-train-000000"), ("unknown-file", "data/train/stray.tar"),
    }  # fmt: skip
    assert (bytes_alone.kind, bytes_alone.where) == ("bytes", TAR)


def test_killed_at_any_upload_the_same_command_finishes(
    server: S3, b1k_root: Path, wanted: dict[str, str], tmp_path: Path
) -> None:
    """The driver, which does the tasks itself here, dies just before the N-th object is put."""
    writes: list[str] = []
    victim, moment, is_known = [0], [-1], threading.Event()

    def on_write(path: str) -> None:
        is_known.wait()
        if path == f"/{BUCKET}":
            return  # removes some
        writes.append(path)
        if len(writes) == moment[0]:
            os.kill(victim[0], signal.SIGKILL)

    words = [sys.executable, "-m", "tests.support.kill_remote", b1k_root, tmp_path / "staging"]
    variables = {
        "FSSPEC_S3_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }  # fmt: skip
    server.on_write = on_write
    with subprocess.Popen(
        list(map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **variables},
    ) as program:  # fmt: skip
        assert program.stdin
        assert program.stdout

        def run(prefix: str) -> int:
            assert program.stdin
            assert program.stdout
            writes.clear()
            is_known.clear()
            program.stdin.write(f"s3://{BUCKET}/{prefix}\n")
            program.stdin.flush()
            victim[0] = int(program.stdout.readline())
            is_known.set()
            return int(program.stdout.readline())

        assert run("whole") == 0
        names = [path.partition("/whole/")[2] for path in writes]
        assert stored(server, "whole/") == wanted
        last = len(names)
        assert names[-1] == MANIFEST_PATH
        of_shard = names.index(receipt_path("b1k-train-000000"))
        assert of_shard > names.index(TAR) > names.index(plan_path(0)) == 2  # behind the lock
        moments = [3, names.index(TAR) + 1, of_shard + 1, last]
        for number in moments:
            prefix = f"killed-{number}"
            moment[0] = number
            assert run(prefix) == -9, number
            assert MANIFEST_PATH not in stored(server, f"{prefix}/") or number == last
            moment[0] = -1
            assert run(prefix) == 0, prefix
            assert stored(server, f"{prefix}/") == wanted, prefix
        program.stdin.close()


def test_a_second_writer_is_refused_with_the_first_ones_host_process_and_start(
    url: str, place: Place, b1k_root: Path
) -> None:
    holder = json.loads(myself())
    with RemoteLock(RemoteFolder(url)), pytest.raises(UserError) as refused:
        run_here(b1k_root, place, **OPTIONS)
    assert f"host {holder['host']}, process {os.getpid()}, since 20" in str(refused.value)


def test_a_dead_ones_lock_is_taken_over_and_anothers_reported(
    server: S3, url: str, place: Place, b1k_root: Path, wanted: dict[str, str]
) -> None:
    dead = {**json.loads(myself()), "process_start": "1"}
    put(server, LOCK_PATH, json.dumps({**dead, "host": "elsewhere"}).encode())
    with pytest.raises(UserError, match=rf"host elsewhere, process \d+.*remove {url}/{LOCK_PATH}"):
        run_here(b1k_root, place, **OPTIONS)
    put(server, LOCK_PATH, b"")
    with pytest.raises(UserError, match="lock without a holder"):
        run_here(b1k_root, place, **OPTIONS)
    put(server, LOCK_PATH, json.dumps(dead).encode())
    run_here(b1k_root, place, **OPTIONS)
    assert stored(server) == wanted


def test_a_store_that_cannot_lock_is_refused(server: S3, place: Place, b1k_root: Path) -> None:
    server.heeds_conditions = False
    with pytest.raises(UserError, match="does not heed If-None-Match"):
        run_here(b1k_root, place, **OPTIONS)
    assert stored(server) == {}


def test_faults_for_a_while_cost_nothing(
    server: S3, place: Place, b1k_root: Path, wanted: dict[str, str]
) -> None:
    server.faults += [Fault("error", part, 2, "PUT") for part in (TAR, "receipts", "manifest")]
    server.faults += [Fault("cut", ".predecode", 1), Fault("hang", "ledger", 1, "PUT")]
    run_here(b1k_root, place, **OPTIONS)
    assert [fault.times for fault in server.faults] == [0] * len(server.faults)
    assert stored(server) == wanted


@pytest.mark.parametrize(("kind", "part"), [("error", TAR), ("denied", "index"), ("error", "lock")])
def test_faults_for_ever_publish_nothing_and_another_machine_finishes(
    kind: str, part: str, server: S3, url: str, place: Place, b1k_root: Path,
    wanted: dict[str, str], tmp_path: Path,
) -> None:  # fmt: skip
    server.faults.append(Fault(kind, part, method="PUT"))
    with pytest.raises(InfraError, match=f"s3://.*{part}.*the same command goes on"):
        run_here(b1k_root, place, **OPTIONS)
    left = stored(server)
    assert not {name for name in left if part in name or name == MANIFEST_PATH}
    server.faults.clear()
    with place_of(url, tmp_path / "elsewhere") as other:
        run_here(b1k_root, other, **OPTIONS)
    assert stored(server) == wanted


def test_uploads_in_parts_are_whole_or_not_there_and_leave_no_parts(
    server: S3, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train_shards.remote_folder._PART_BYTES", 5 << 20)
    data = io.BytesIO()
    data.write(bytes(range(256)) * (3 << 14))  # 12 MB: three parts
    file = tmp_path / "large"
    file.write_bytes(data.getvalue())
    client = boto3.client("s3", endpoint_url=server.endpoint, **KEYS)
    begun = client.create_multipart_upload(Bucket=BUCKET, Key="some/shards/data/begun")
    files = RemoteFolder(url)
    writes: list[str] = []
    server.on_write = writes.append
    files.put({"data/large": file})
    assert len(writes) == 5  # begun, three parts, completed
    assert stored(server) == {"data/large": hashlib.sha256(data.getvalue()).hexdigest()}
    assert begun["UploadId"]
    files.abort_uploads()
    assert "Uploads" not in client.list_multipart_uploads(Bucket=BUCKET)
    client.close()


def test_it_grows_is_retried_and_begun_anew_as_a_folder_is(
    server: S3, place: Place, own_root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shards"
    video = next(p for p in own_root.rglob("episode_00490040.mp4") if ".head" in str(p))
    sound = video.read_bytes()
    video.write_bytes(sound[: len(sound) // 2])
    for out in (folder, place):
        run_here(own_root, out, **{**OPTIONS, "episodes": "00490010"})
        run_here(own_root, out, **OPTIONS)
    rows = (folder / ".predecode/quarantine.jsonl").read_text()
    assert str(folder) in rows
    assert_equal(server, folder)
    video.write_bytes(sound)
    for out in (folder, place):
        assert retry_here(own_root, out).manifest.complete
    assert_equal(server, folder)
    other = {**OPTIONS, "stride": 20}
    with pytest.raises(UserError, match=rf"--out {place.name}: made with other settings"):
        run_here(own_root, place, **other)
    for out in (folder, place):
        run_here(own_root, out, **other, overwrite=True)
    assert_equal(server, folder)


def assert_equal(server: S3, folder: Path) -> None:
    """Equal but for the command in the quarantine list, which names the output."""
    named = {".predecode/quarantine.jsonl"}
    there, here = stored(server), fingerprint(folder)
    assert {n for n, digest in there.items() if here.get(n) != digest} <= named
    assert set(there) == set(here)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("s3://no-such-bucket/shards", "bucket does not exist. Make the bucket"),
        ("memory://shards", "begins with s3:// or s3a://"),
        ("nothing://shards", "begins with s3:// or s3a://"),
    ],
)
def test_what_cannot_be_written_is_refused(
    out: str, message: str, server: S3, b1k_root: Path, tmp_path: Path
) -> None:
    assert server.port
    with (
        pytest.raises(UserError, match=rf"--out {out}: .*{message}"),
        place_of(out, tmp_path) as place,
    ):
        run_here(b1k_root, place, **OPTIONS)


def test_strangers_keys_and_folders_are_refused(
    server: S3, place: Place, b1k_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(server, "notes.txt", b"mine")
    with pytest.raises(UserError, match=r"not an output of predecode \(notes.txt\)"):
        run_here(b1k_root, place, **OPTIONS)
    assert list(stored(server)) == ["notes.txt"]
    with pytest.raises(UserError, match="is a folder"), place_of("shards", tmp_path):
        pass
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": server.endpoint})
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with (
        pytest.raises(UserError, match="Unable to locate credentials. Give keys"),
        place_of(place.name, tmp_path) as keyless,
    ):
        run_here(b1k_root, keyless, **OPTIONS)


def test_a_drop_is_refused_before_anything_is_asked(
    server: S3, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    server.on_write = asked.append
    before = len(server.downloads)
    with pytest.raises(SystemExit) as ended:
        main(["drop", f"s3://{BUCKET}/some/shards", "--episodes", "00490010"])
    assert ended.value.code == EXIT_REFUSED
    assert "a drop works on a folder" in capsys.readouterr().err
    assert (asked, len(server.downloads)) == ([], before)
