"""Whether the head of a Ray cluster answers: asked before a run, and watched from beside one.

Ray 2.60 itself waits up to minutes for a head, and where one stays away for 60 s it ends the
process that asked, with status 1 and no word to it. Knows sockets and threads, not Ray.
"""

import os
import socket
import sys
import threading
import time
from typing import Self

from predecode.errors import EXIT_BUG

__all__ = ["HeadWatch", "host_and_port", "knock", "knock_at", "leave"]

_CONNECT_S = 5.0
_PAUSE_S = 1.0
_LOST_S = 20.0
"""A head that has not answered for so long is lost; Ray's own limit is 60 s."""
_GRACE_S = 15.0
"""For what is left to do after that; it may wait for the head inside Ray, which nothing ends."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of gRPC begins: preface and empty SETTINGS. Source: RFC 9113, sections 3.4, 6.5."""
_SETTINGS_TYPE = 4
_FRAME_HEADER_BYTES = 9


def host_and_port(address: str) -> tuple[str, int] | None:
    """Returns where to knock; None where an address names no port.

    >>> host_and_port("ray://head:10001")
    ('head', 10001)
    >>> host_and_port("auto")
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdigit() else None


def knock(host: str, port: int, timeout_s: float = _CONNECT_S) -> None:
    """Returns when a server of gRPC has answered there; with ``RAY_USE_TLS``, when one listens.

    Raises:
        OSError: nobody listens, or who listens does not answer so in time.
    """
    with socket.create_connection((host, port), timeout=timeout_s) as client:
        if os.environ.get("RAY_USE_TLS", "0") not in ("", "0", "false"):
            return
        client.sendall(_PREFACE)
        answer = b""
        deadline_s = time.monotonic() + timeout_s
        while len(answer) < _FRAME_HEADER_BYTES:
            client.settimeout(max(deadline_s - time.monotonic(), 0.001))
            block = client.recv(_FRAME_HEADER_BYTES - len(answer))
            if not block:
                raise ConnectionError(f"{host}:{port} hung up")
            answer += block
    if answer[3] != _SETTINGS_TYPE:
        raise ConnectionError(f"what listens at {host}:{port} is no Ray")


def knock_at(address: str | None) -> None:
    """Knocks where an address of Ray leads, ``auto`` by ``RAY_ADDRESS``; None leads nowhere.

    Raises:
        OSError: as ``knock``.
    """
    named = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    place = host_and_port(named or "")
    if place is not None:
        knock(*place)


def leave() -> None:
    """Ends the process at once with the status of lost infrastructure, what it has said written."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_BUG)


class HeadWatch:
    """Knocks at a head every second from a thread; ends the process if that is the only way out."""

    def __init__(self, address: str) -> None:
        """Watches nothing yet. ``address`` is of the head's GCS, ``host:port``."""
        self._address, self._place = address, host_and_port(address)
        self._answered_s = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="head watch", daemon=True)

    def __enter__(self) -> Self:
        """Starts to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Watches no more."""
        self._stopped.set()

    def answers_now(self) -> bool:
        """Knocks; returns whether there was an answer within a second."""
        if self._place is None:
            return True
        try:
            knock(*self._place, timeout_s=_PAUSE_S)
        except OSError:
            return False
        return True

    @property
    def is_lost(self) -> bool:
        """Whether the head has not answered for 20 s."""
        return self._silent_s > _LOST_S

    @property
    def loss(self) -> str:
        """What to say of a head that is lost."""
        return (
            f"the head of the Ray cluster, {self._address}, has not answered for {_LOST_S:.0f} s. "
            "What is finished stays; the same command goes on, on this cluster or a new one."
        )

    @property
    def _silent_s(self) -> float:
        return time.monotonic() - self._answered_s

    def _watch(self) -> None:
        while self._place is not None and not self._stopped.wait(_PAUSE_S):
            try:
                knock(*self._place)
            except OSError:
                if self._silent_s > _LOST_S + _GRACE_S:
                    sys.stderr.write(f"error: {self.loss}\n")
                    leave()
            else:
                self._answered_s = time.monotonic()
