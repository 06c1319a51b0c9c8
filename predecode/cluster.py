"""Where tasks run: Ray, embedded or a cluster, or this process. The only file that knows Ray.

Tasks are plain functions of one plain argument; no picture and no table passes through Ray's
object store.
"""

import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, Self, TypeVar

from predecode.errors import ExhaustedError, InfraError, UserError

__all__ = ["Cluster", "InProcess", "RayCluster"]

_TRIES = 3
"""A task that lost its node, or met a disk that refused, is tried this often."""
_PAUSE_S = 2.0
_POLL_S = 0.5
_CONNECT_S = 5.0

P = TypeVar("P")
R = TypeVar("R")
Report = Callable[[int], None]
Task = Callable[[P, Report], R]


class Cluster(Protocol):
    """Runs tasks and hands out their results in the order in which they finish."""

    def run(self, task: Task[P, R], payloads: Sequence[P], report: Report) -> Iterator[tuple[P, R]]:
        """Yields ``(payload, result)``; ``report`` gets the numbers that tasks report.

        Raises:
            InfraError: a task failed for want of a disk, a node or memory, after retries.
            Exception: whatever a task raised that is none of ours: a bug, not retried.
        """
        ...


class InProcess:
    """Runs tasks here, one after the other; for tests and small jobs."""

    def run(self, task: Task[P, R], payloads: Sequence[P], report: Report) -> Iterator[tuple[P, R]]:
        """Yields results in the order of the payloads; see ``Cluster``."""
        for payload in payloads:
            yield payload, task(payload, report)


class RayCluster:
    """Runs each task as a Ray task of one CPU, a bounded number in flight."""

    def __init__(self, address: str | None, num_cpus: int | None) -> None:
        """Starts an embedded Ray, or connects to ``address``.

        Args:
            address: of an existing cluster; None for an embedded one.
            num_cpus: CPUs of the embedded one (default: all), or the most tasks at a time there.

        Raises:
            UserError: the cluster cannot be reached.
        """
        # Ray reads this when it starts; without it, it warns about a coming change of default.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray: Any = ray
        self._num_cpus = num_cpus
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            options |= {"address": "local", "num_cpus": num_cpus, "include_dashboard": False}
        else:
            options |= {"address": address}
        try:
            _knock(address)
            ray.init(**options)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"--address {address}: no Ray cluster reached: {error}. Start one with "
                "'ray start --head'; if it runs and asks for a token, set RAY_AUTH_MODE=token; or "
                "leave --address out for an embedded one."
            ) from error
        actor: Any = ray.remote(num_cpus=0)(_Counter)
        self._counter = actor.remote()
        self._is_interrupted = False

    def __enter__(self) -> Self:
        """Takes over SIGINT and SIGTERM, which Ray had set its own way."""
        self._handlers = {
            number: signal.signal(number, self._interrupt)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, *_: object) -> None:
        # An exception that is raised inside a call into native code may be lost; the mark is not.
        self._is_interrupted = True
        raise KeyboardInterrupt

    def run(self, task: Task[P, R], payloads: Sequence[P], report: Report) -> Iterator[tuple[P, R]]:
        """Yields results as tasks finish; see ``Cluster``."""
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=0)(_call)
        waiting = deque((payload, 1) for payload in payloads)
        flying: dict[Any, tuple[P, int]] = {}
        # Nothing is cancelled on the way out, as the end of the driver ends its tasks: a forced
        # cancel that meets a task's end makes Ray 2.60 abort this process ("task that was not
        # pending").
        while waiting or flying:
            while waiting and len(flying) < self._most_in_flight():
                payload, tries = waiting.popleft()
                flying[remote.remote(task, payload, self._counter)] = (payload, tries)
            ready, _ = ray.wait(list(flying), num_returns=1, timeout=_POLL_S)
            if self._is_interrupted:
                raise KeyboardInterrupt
            report(ray.get(self._counter.take.remote()))
            for reference in ready:
                payload, tries = flying.pop(reference)
                try:
                    result: R = ray.get(reference)
                except ExhaustedError as error:
                    raise _cause(error) from error
                except (
                    ray.exceptions.WorkerCrashedError,
                    ray.exceptions.NodeDiedError,
                    ray.exceptions.OutOfMemoryError,
                    ray.exceptions.ObjectLostError,
                    InfraError,
                ) as error:
                    if tries == _TRIES:
                        raise InfraError(_give_up(payload, error)) from error
                    time.sleep(_PAUSE_S)
                    waiting.append((payload, tries + 1))
                except ray.exceptions.RayTaskError as error:
                    # Ray's own class for it has the whole traceback for a message; that, with what
                    # the error came of, goes on as its cause.
                    raise _cause(error) from error
                else:
                    yield payload, result
        report(ray.get(self._counter.take.remote()))

    def _most_in_flight(self) -> int:
        """Two tasks a CPU: one runs while the next is being handed over."""
        cpus = int(self._ray.cluster_resources().get("CPU", 1))
        return 2 * max(1, min(cpus, self._num_cpus or cpus))


def _knock(address: str | None) -> None:
    """Fails within seconds where nobody listens; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()


class _Counter:
    """Sums what tasks report until the driver takes it; a Ray actor."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, number: int) -> None:
        self._sum += number

    def take(self) -> int:
        taken, self._sum = self._sum, 0
        return taken


def _call(task: Task[P, R], payload: P, counter: Any) -> R:
    """Runs a task in a Ray worker; its reports go to the counter without waiting."""
    return task(payload, counter.add.remote)


def _cause(error: Exception) -> Exception:
    """The error as the task raised it; Ray's own class for it adds a traceback to the message."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _give_up(payload: object, error: Exception) -> str:
    name = getattr(payload, "name", type(payload).__name__)
    cause = _cause(error)
    # Of Ray's own errors the last line says what happened.
    text = str(cause).strip() if cause is not error else _last_line(error)
    return (
        f"task {name}: failed {_TRIES} times, at last with {type(cause).__name__}: {text} "
        "The same command again goes on from what is finished."
    )
