"""A server that speaks S3 on loopback (moto's), with faults on order."""

import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import fsspec.config
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from train_shards import remote_storage

BUCKET = "predecode-tests"


@dataclass
class Fault:
    """What happens to some downloads or uploads."""

    kind: str
    """``slow``, ``hang``, ``cut``, ``error``, ``denied`` or ``wrong``."""
    path: str
    """Part of the name of the objects."""
    times: int = 10**9
    """How many requests it hits."""
    method: str = "GET"
    """``PUT`` for uploads, also in parts, and for what makes or ends one of parts."""


@dataclass
class S3:
    """A running server; the bucket ``BUCKET`` is empty at first."""

    port: int
    faults: list[Fault] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    """Name and range of each object that was asked for, in order."""
    on_write: Callable[[str], None] | None = None
    """Called with the name of each object that is to be put, before it is."""
    heeds_conditions: bool = True
    """Whether ``If-None-Match`` is listened to."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def make_bucket(self) -> None:
        client = boto3.client("s3", endpoint_url=self.endpoint, **KEYS)
        client.create_bucket(Bucket=BUCKET)
        client.close()

    def upload(self, folder: Path, prefix: str) -> str:
        """Puts every file under ``folder`` into the bucket; returns the s3 URL of the prefix."""
        client = boto3.client("s3", endpoint_url=self.endpoint, **KEYS)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        assert files
        for path in files:
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes(), ACL="public-read")
        client.close()
        return f"s3://{BUCKET}/{prefix}"

    def downloads_of(self, part: str) -> list[str]:
        return [name for name in self.downloads if part in name]


KEYS: dict[str, Any] = {
    "aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1",
}  # fmt: skip


def use_server(server: S3, monkeypatch: pytest.MonkeyPatch, *, read_timeout_s: float) -> None:
    """Has every s3 URL of this process mean the server, with short waits between attempts."""
    options = {
        "endpoint_url": server.endpoint, "key": "key", "secret": "secret",
        "config_kwargs": {"retries": {"max_attempts": 1}, "read_timeout": read_timeout_s},
    }  # fmt: skip
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    monkeypatch.setenv("AWS_DEFAULT_REGION", KEYS["region_name"])
    monkeypatch.setattr(remote_storage, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(remote_storage, "_LONGEST_WAIT_S", 0.01)
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)


class _Faulty:
    """Passes requests on to the S3 application and spoils some answers."""

    def __init__(self, application: Any, server: S3) -> None:
        self._application, self._server = application, server
        self._lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("PUT", "POST"):
            return self._write(environ, start_response)
        if environ["REQUEST_METHOD"] != "GET" or "?" in environ.get("REQUEST_URI", ""):
            answer: Iterable[bytes] = self._application(environ, start_response)
            return answer
        path = environ["PATH_INFO"]
        kind = self._fault_of(path, environ.get("HTTP_RANGE", ""))
        if kind in ("error", "denied"):
            start_response("500 Internal Server Error" if kind == "error" else "403 Forbidden", [])
            return [b""]
        if kind == "slow":
            time.sleep(0.2)
        if kind == "hang":
            time.sleep(1)

        def without_checksum(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            """S3's own checksum would find wrong bytes before our digest does."""
            kept = [pair for pair in headers if not pair[0].lower().startswith("x-amz-checksum")]
            return start_response(status, kept, *rest)

        body = b"".join(self._application(environ, without_checksum))
        if kind == "cut":
            return [body[: len(body) // 2]]
        if kind == "wrong":
            return [body[:-9] + bytes(255 - byte for byte in body[-9:])]
        return [body]

    def _write(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if self._server.on_write is not None:
            self._server.on_write(path)
        if not self._server.heeds_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        kind = self._fault_of(path, method="PUT")
        if kind in ("error", "denied"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("500 Internal Server Error" if kind == "error" else "403 Forbidden", [])
            return [b""]
        answer: Iterable[bytes] = self._application(environ, start_response)
        if kind == "hang":  # it is put, but the answer comes too late
            time.sleep(1)
        return answer

    def _fault_of(self, path: str, wanted: str = "", *, method: str = "GET") -> str:
        with self._lock:
            if method == "GET":
                self._server.downloads.append(f"{path} {wanted}".rstrip())
            for fault in self._server.faults:
                if fault.method == method and fault.path in path and fault.times > 0:
                    fault.times -= 1
                    return fault.kind
        return ""


class Quiet(WSGIRequestHandler):
    """Says nothing of each request."""

    def log(self, *_: Any) -> None:
        pass


def serve_s3() -> Iterator[S3]:
    """Yields a server with an empty bucket."""
    server = S3(0)
    application = _Faulty(DomainDispatcherApplication(create_backend_app), server)
    web = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    server.port = web.server_port
    # moto keeps what an earlier server of this process was given.
    urllib.request.urlopen(f"{server.endpoint}/moto-api/reset", data=b"").close()
    server.make_bucket()
    yield server
    web.shutdown()
    thread.join()
    web.server_close()
