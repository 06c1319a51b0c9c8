"""Whether who listens is a Ray, and a head that falls silent."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from predecode import head_watch
from predecode.head_watch import HeadWatch, host_and_port, knock

SETTINGS = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 255, 255])
"""One frame of SETTINGS as gRPC servers begin: a window of 65,535. Source: RFC 9113, 6.5."""


@contextmanager
def server(answer: bytes | None) -> Iterator[str]:
    """Answers every call with ``answer`` and hangs up; None: takes none."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return  # closed: the test is over
                with client:
                    client.recv(33)
                    client.sendall(answer or b"")

        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1:6379", ("10.0.0.1", 6379)),
        ("ray://head:10001", ("head", 10001)),
        ("[::1]:6379", ("::1", 6379)),
        ("auto", None),
        ("head", None),
        ("head:port", None),
        (":6379", None),
    ],
)
def test_where_to_knock(address: str, expected: tuple[str, int] | None) -> None:
    assert host_and_port(address) == expected


def knock_at(address: str, timeout_s: float = 5.0) -> None:
    place = host_and_port(address)
    assert place is not None
    knock(*place, timeout_s=timeout_s)


def test_a_server_of_grpc_is_let_pass() -> None:
    with server(SETTINGS) as address:
        knock_at(address)


def test_a_web_server_is_no_ray() -> None:
    message = "what listens at 127.0.0.1:.* is no Ray"
    with (
        server(b"HTTP/1.1 400 Bad Request\r\n") as address,
        pytest.raises(ConnectionError, match=message),
    ):
        knock_at(address)


def test_who_hangs_up_is_no_ray() -> None:
    with server(b"") as address, pytest.raises(ConnectionError):
        knock_at(address)


def test_who_says_nothing_is_waited_for_no_longer_than_asked() -> None:
    with server(None) as address:
        started_s = time.monotonic()
        with pytest.raises(TimeoutError):
            knock_at(address, timeout_s=0.2)
        assert time.monotonic() - started_s < 3


def test_with_tls_to_be_connected_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with server(None) as address:
        knock_at(address, timeout_s=0.2)


def test_a_head_is_lost_after_a_while_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_watch, "_PAUSE_S", 0.02)
    monkeypatch.setattr(head_watch, "_LOST_S", 0.5)
    monkeypatch.setattr(head_watch, "_GRACE_S", 1000.0)
    with server(SETTINGS) as address, HeadWatch(address) as watch:
        assert watch.answers_now()
        time.sleep(1)
        assert not watch.is_lost
    with HeadWatch(address) as watch:
        assert not watch.answers_now()
        assert not watch.is_lost
        wait_for(watch, is_lost=True)
        assert f"the head of the Ray cluster, {address}, has not answered" in watch.loss
        with socket.create_server(("127.0.0.1", int(address.split(":")[1]))) as back:
            client, _ = back.accept()
            client.sendall(SETTINGS)
            wait_for(watch, is_lost=False)
            client.close()


def wait_for(watch: HeadWatch, *, is_lost: bool) -> None:
    deadline_s = time.monotonic() + 10
    while watch.is_lost is not is_lost:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_process_that_waits_for_ever_for_a_lost_head_is_ended_with_status_3() -> None:
    code = (
        "import time; from predecode import head_watch as h; h._PAUSE_S = 0.05; h._LOST_S = 0.2;"
        "h._GRACE_S = 0.2; h.HeadWatch('127.0.0.1:1').__enter__(); print('begun'); time.sleep(60)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (3, "begun\n")
    assert done.stderr.startswith("error: the head of the Ray cluster, 127.0.0.1:1, has not ans")
