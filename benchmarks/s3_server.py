"""An output behind moto's S3 server, in a process of its own, for ``benchmarks.slow``."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import fsspec.config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from benchmarks.slow_storage import Line
from tests.support.s3 import S3, Quiet

__all__ = ["s3_server"]

_PART_BYTES = 1 << 18
"""Of an answer; others' come in between."""


@contextmanager
def s3_server(out: Path, line: Line) -> Iterator[str]:
    """Yields the URL of a copy of ``out``; s3 URLs mean the server, also in forked processes."""
    own, its = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(its, line), daemon=True)
    process.start()
    server = S3(own.recv())
    fsspec.config.conf["s3"] = {"endpoint_url": server.endpoint, "key": "key", "secret": "secret"}
    try:
        server.make_bucket()
        yield server.upload(out, "shards")
    finally:
        process.kill()
        process.join()


class _Slow:
    """Passes requests on; all downloads share one line, and each begins after a time."""

    def __init__(self, application: Any, line: Line) -> None:
        self._application, self._line = application, line
        self._lock, self._free_s = threading.Lock(), 0.0

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        begin_s = time.monotonic() + self._line.wait_s
        body = b"".join(self._application(environ, start_response))
        return self._parts(body, begin_s) if environ["REQUEST_METHOD"] == "GET" else [body]

    def _parts(self, body: bytes, begin_s: float) -> Iterator[bytes]:
        for start in range(0, len(body), _PART_BYTES):
            part = body[start : start + _PART_BYTES]
            with self._lock:
                begin_s = max(begin_s, self._free_s)
                self._free_s = end_s = begin_s + len(part) / self._line.bytes_per_s
            time.sleep(max(0.0, end_s - time.monotonic()))
            yield part


def _serve(port: Connection, line: Line) -> None:
    application = _Slow(DomainDispatcherApplication(create_backend_app), line)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    port.send(server.server_port)
    server.serve_forever()
