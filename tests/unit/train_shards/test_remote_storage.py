"""Outputs behind a URL, read from a server that speaks S3, with every fault that we know."""

import multiprocessing
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec.config
import numpy as np
import pytest
import torch

from tests.support.s3 import BUCKET, S3, Fault, serve_s3, use_server
from tests.support.stored import tiny_output
from train_shards.dataset import ShardDataset
from train_shards.errors import DataError, StorageError, UserError
from train_shards.node_cache import Cache
from train_shards.remote_storage import open_storage
from train_shards.stream import ShardStream

ALL = range(7)


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    yield from serve_s3()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("remote") / "shards"
    tiny_output(out)
    return out


@pytest.fixture(scope="module")
def stored_url(server: S3, local: Path) -> str:
    return server.upload(local, "tiny/shards")


@pytest.fixture
def url(server: S3, stored_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The output on the server, with short waits between attempts."""
    use_server(server, monkeypatch, read_timeout_s=0.4)
    server.faults.clear()
    server.downloads.clear()
    yield stored_url
    server.faults.clear()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 10_000_000)


def assert_equal(items: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    assert len(items) == len(others) > 0
    for item, other in zip(items, others, strict=True):
        assert item.keys() == other.keys()
        for key, value in item.items():
            assert np.array_equal(value, other[key]), key


@pytest.fixture
def expected(local: Path) -> list[dict[str, Any]]:
    return ShardDataset(local).__getitems__(ALL)


@pytest.mark.parametrize("whole_shards", [False, True])
def test_items_are_those_of_the_folder(
    url: str, cache: Cache, expected: list[dict[str, Any]], whole_shards: bool
) -> None:
    dataset = ShardDataset(url, cache=cache, whole_shards=whole_shards)
    assert_equal(dataset.__getitems__(ALL), expected)
    assert_equal([dataset[position] for position in ALL], expected)
    dataset.close()


def test_http_serves_the_same(
    url: str, server: S3, cache: Cache, expected: list[dict[str, Any]]
) -> None:
    over_http = url.replace("s3://", f"{server.endpoint}/")
    assert_equal(ShardDataset(over_http, cache=cache).__getitems__(ALL), expected)


def test_a_batch_is_one_read_a_shard(url: str, server: S3, cache: Cache) -> None:
    dataset = ShardDataset(url, cache=cache)
    dataset[0]
    server.downloads.clear()
    dataset.__getitems__(ALL)
    assert len(server.downloads) == 2
    assert all(re.search(r"\.tar bytes=\d+-\d+$", name) for name in server.downloads)


def test_whole_shards_are_asked_for_once(url: str, server: S3, cache: Cache) -> None:
    for _ in range(2):
        dataset = ShardDataset(url, cache=cache, whole_shards=True)
        for position in ALL:
            dataset[position]
        dataset.close()
    assert [name.rsplit("/", 1)[-1] for name in sorted(server.downloads_of(".tar"))] == [
        "tiny-train-000000.tar", "tiny-train-000001.tar",
    ]  # fmt: skip
    assert len(server.downloads_of(".arrow")) == 1
    assert len(server.downloads_of("index/")) == 1


def test_a_stream_downloads_each_shard_once_and_ahead(
    url: str, server: S3, cache: Cache, expected: list[dict[str, Any]]
) -> None:
    dataset = ShardDataset(url, cache=cache, whole_shards=True)
    stream = ShardStream(dataset, batch_size=2, rank=0, world_size=1, tail="pad", lanes=1)
    items: Any = iter(stream)
    first = next(items)
    items._pool.submit(int).result()  # all before it is done
    assert len(server.downloads_of(".tar")) == 2
    rest = list(items)
    by_place = {int(item["sample_index"]): item for item in [first, *rest]}
    assert_equal([by_place[position] for position in ALL], expected)
    assert len(server.downloads_of(".tar")) == 2


def test_a_stream_skips_what_its_read_ahead_could_not_download(
    url: str, server: S3, cache: Cache, caplog: Any
) -> None:
    server.faults.append(Fault("wrong", "000001.tar"))
    dataset = ShardDataset(url, cache=cache, whole_shards=True, on_error="skip")
    stream = ShardStream(dataset, batch_size=1, rank=0, world_size=1, lanes=1)
    keys = {(int(item["episode_index"]), int(item["frame_index"])) for item in stream}
    assert keys == {(70010, 2), (10, 0), (10, 2)}  # of the first shard, some of them twice
    assert "read-ahead: " in caplog.text
    assert "what came is damaged" in caplog.text


def _read_all(url: str, cache: Cache, conf: dict[str, Any]) -> int:
    fsspec.config.conf["s3"] = conf
    return len(ShardDataset(url, cache=cache, whole_shards=True).__getitems__(ALL))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "num"), [("fork", 4), ("spawn", 2)])
def test_many_processes_download_once(
    url: str, server: S3, cache: Cache, method: str, num: int
) -> None:
    server.faults.append(Fault("slow", ".tar"))  # so that all ask before one has it
    with multiprocessing.get_context(method).Pool(num) as pool:
        jobs = [(url, cache, fsspec.config.conf["s3"])] * num
        assert pool.starmap(_read_all, jobs, chunksize=1) == [7] * num
        pool.close()
        pool.join()
    assert len(server.downloads_of(".tar")) == 2
    assert len(server.downloads_of(".arrow")) == 1


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_loader_workers_read_what_the_parent_opened(
    url: str,
    cache: Cache,
    method: str,
    expected: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = fsspec.config.conf["s3"]
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", options["endpoint_url"])  # for spawned ones
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    dataset = ShardDataset(url, cache=cache)
    dataset[0]  # an event loop runs in this process now
    loader: Any = torch.utils.data.DataLoader(
        dataset,  # type: ignore[arg-type]  # map-style by its methods, not by its class
        batch_size=2,
        num_workers=2,
        multiprocessing_context=method,
        collate_fn=list,
    )
    assert_equal([item for batch in loader for item in batch], expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "error", "wrong", "slow", "hang"])
@pytest.mark.parametrize("whole_shards", [False, True])
def test_a_fault_that_passes_is_survived(
    url: str,
    server: S3,
    cache: Cache,
    expected: list[dict[str, Any]],
    kind: str,
    whole_shards: bool,
) -> None:
    for path in ("000000.tar", ".arrow", "index/", "ledger/", "manifest.json"):
        if not (kind == "wrong" and path in ("ledger/", "manifest.json")):
            server.faults.append(Fault(kind, path, times=1 if kind == "slow" else 2))
    dataset = ShardDataset(url, cache=cache, whole_shards=whole_shards, check_members=True)
    assert_equal(dataset.__getitems__(ALL), expected)
    assert [fault for fault in server.faults if fault.times] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "error", "denied"])
@pytest.mark.parametrize("whole_shards", [False, True])
def test_a_fault_that_stays_names_the_file(
    url: str, server: S3, cache: Cache, kind: str, whole_shards: bool
) -> None:
    dataset = ShardDataset(url, cache=cache, whole_shards=whole_shards, on_error="skip")
    server.faults.append(Fault(kind, "000000.tar"))
    with pytest.raises(
        StorageError, match=rf"s3://{BUCKET}/tiny/shards/data/train/tiny-train-000000.tar: .*Check"
    ):
        dataset.__getitems__(ALL)
    tries = len(server.downloads_of("000000.tar"))
    assert (tries == 1) if kind == "denied" else (tries >= 6)
    assert not list((cache.folder / "unfinished").iterdir())


def test_wrong_bytes_that_stay_are_damage(url: str, server: S3, cache: Cache) -> None:
    server.faults.append(Fault("wrong", ".tar"))
    whole = ShardDataset(url, cache=cache, whole_shards=True)
    with pytest.raises(
        DataError,
        match=r"00000\d.tar: what came is damaged: SHA-256 \w{64}, the manifest says \w{64}",
    ):
        whole[0]
    ranges = ShardDataset(url, cache=cache, check_members=True)
    with pytest.raises(DataError, match=r"00000\d.tar, key ep\w+, member .*the ledger says"):
        ranges.__getitems__(ALL)


@pytest.mark.parametrize("path", ["index/", ".arrow"])
def test_a_wrong_index_or_table_is_never_used(
    url: str, server: S3, cache: Cache, path: str
) -> None:
    server.faults.append(Fault("wrong", path))
    with pytest.raises(DataError, match=r"digest|SHA-256|damaged"):
        ShardDataset(url, cache=cache)
    assert not [file for file in (cache.folder / "files").iterdir() if path == "index/"]


def test_a_shard_that_is_gone_is_damage(
    server: S3, url: str, local: Path, tmp_path: Path, cache: Cache
) -> None:
    assert url
    copy = Path(shutil.copytree(local, tmp_path / "copy"))
    (copy / "data/train/tiny-train-000001.tar").unlink()
    broken = server.upload(copy, "gone")
    for whole_shards in (False, True):
        dataset = ShardDataset(broken, cache=cache, whole_shards=whole_shards)
        with pytest.raises(DataError, match=r"tiny-train-000001.tar: gone"):
            dataset.__getitems__(ALL)


def test_a_full_cache_reads_shards_by_ranges(
    url: str, local: Path, cache: Cache, expected: list[dict[str, Any]], caplog: Any
) -> None:
    files = [*local.glob("lowdim/*"), *local.glob(".predecode/index/*")]
    bound = sum(file.stat().st_size for file in files) + 100
    dataset = ShardDataset(url, cache=cache._replace(max_bytes=bound), whole_shards=True)
    assert_equal(dataset.__getitems__(ALL), expected)
    assert "tar is read by ranges" in caplog.text


def test_a_cache_too_small_for_the_index_is_refused(url: str, cache: Cache) -> None:
    with pytest.raises(UserError, match=r"index.*do not fit beside 0 in use.*bound is 10"):
        ShardDataset(url, cache=cache._replace(max_bytes=10))


def test_what_no_package_serves_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nonsense://x: .*Install the package"):
        open_storage("nonsense://x", Cache(tmp_path))


def test_a_url_without_an_output_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=f"s3://{BUCKET}/nothing: no .predecode/manifest.json"):
        ShardDataset(f"s3://{BUCKET}/nothing")
    assert url
