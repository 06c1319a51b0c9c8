"""Where tasks run: Ray, embedded or a cluster, or this process. The only file that knows Ray.

Tasks are plain functions of one plain argument; no picture and no table passes through Ray's
object store.
"""

import atexit
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from predecode.errors import ExhaustedError, InfraError, UserError
from predecode.head_watch import HeadWatch, knock_at, leave
from predecode.node_sizes import TaskSize, narrow_note, num_slots, sizes_of, too_small

__all__ = ["NODE_WAIT_S", "Cluster", "InProcess", "RayCluster", "RayMetrics"]

NODE_WAIT_S = 60.0
"""So long a run waits for a node that could take a task."""

_TRIES = 3
"""A task that lost its node, or met a disk that refused, is tried this often."""
_PAUSE_S = 2.0
_POLL_S = 0.5
_LOOK_S = 2.0
_LAST_REPORT_S = 5.0
_OBJECT_STORE_BYTES = 256_000_000
"""Of an embedded Ray: jobs and receipts pass through it, no picture. Ray's default is a third of
the free memory, which it would take from the tasks' share."""

P = TypeVar("P")
R = TypeVar("R")
Report = Callable[[int], None]
Task = Callable[[P, Report], R]


class Cluster(Protocol):
    """Runs tasks and hands out their results in the order in which they finish."""

    @property
    def slots(self) -> int:
        """Tasks that can work at a time now."""

    def run(self, task: Task[P, R], payloads: Sequence[P], report: Report) -> Iterator[tuple[P, R]]:
        """Yields ``(payload, result)``; ``report`` gets the numbers that tasks report.

        Raises:
            InfraError: a task failed for want of a disk, a node or memory, after retries.
            Exception: whatever a task raised that is none of ours: a bug, not retried.
        """
        ...


class InProcess:
    """Runs tasks here, one after the other; for tests and small jobs."""

    slots = 1

    def run(self, task: Task[P, R], payloads: Sequence[P], report: Report) -> Iterator[tuple[P, R]]:
        """Yields results in the order of the payloads; see ``Cluster``."""
        for payload in payloads:
            yield payload, task(payload, report)


class RayCluster:
    """Runs each task as a Ray task of one CPU and some memory, a bounded number in flight."""

    def __init__(
        self,
        address: str | None,
        num_cpus: int | None,
        *,
        task_memory_bytes: int = 0,
        node_wait_s: float = NODE_WAIT_S,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Starts an embedded Ray, or connects to ``address``.

        Args:
            address: of an existing cluster; None for an embedded one.
            num_cpus: CPUs of the embedded one (default: all), or the most tasks at a time there.
            task_memory_bytes: that a task asks for. An embedded Ray that has less in all runs one
                task at a time; of a cluster, only nodes that have it are used.
            node_wait_s: how long to wait where no node could ever take a task.
            note: gets a line if memory allows fewer tasks than CPUs.

        Raises:
            UserError: the cluster cannot be reached.
        """
        # Ray reads this when it starts; without it, it warns about a coming change of default.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray: Any = ray
        self._num_cpus, self._node_wait_s = num_cpus, node_wait_s
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            options |= {"address": "local", "num_cpus": num_cpus, "include_dashboard": False}
            options |= {"object_store_memory": _OBJECT_STORE_BYTES}
        else:
            options |= {"address": address}
        try:
            knock_at(address)
            ray.init(**options)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"--address {address}: no Ray cluster reached: {error}. Start one with "
                "'ray start --head'; if it runs and asks for a token, set RAY_AUTH_MODE=token; or "
                "leave --address out for an embedded one."
            ) from error
        self._nodes, self._looked_s = sizes_of(self._ray.nodes()), time.monotonic()
        self._fitted_s = self._looked_s
        if address is None:
            largest = max((node.memory_bytes for node in self._nodes), default=task_memory_bytes)
            task_memory_bytes = min(task_memory_bytes, largest)
        self._size = TaskSize(task_memory_bytes)
        if text := narrow_note(self._nodes, self._size):
            note(text)
        # On the driver's node, as another one may go.
        context = ray.get_runtime_context()
        here = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            context.get_node_id(), soft=False
        )
        keeper = self._ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(_Counter)
        self._counter = keeper.remote()
        self._taken: Any = None
        self._watch = HeadWatch(context.gcs_address)
        self._is_interrupted = self._has_run = False

    def __enter__(self) -> Self:
        """Takes over SIGINT and SIGTERM, which Ray had set its own way."""
        self._handlers = {
            number: signal.signal(number, self._interrupt)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        self._watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """Ends Ray, or the use of it.

        Raises:
            InfraError: the head is gone, though nothing is left to do on it.
        """
        if self._watch.is_lost:
            # Ray would wait for the head at the end of the process, and then end it its own way.
            atexit.register(leave)
        else:
            self._ray.shutdown()
            self._watch.__exit__()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._watch.is_lost and kind is None:
            raise InfraError(self._watch.loss)

    def _interrupt(self, *_: object) -> None:
        # An exception that is raised inside a call into native code may be lost; the mark is not.
        self._is_interrupted = True
        raise KeyboardInterrupt

    def run(self, task: Task[P, R], payloads: Sequence[P], report: Report) -> Iterator[tuple[P, R]]:
        """Yields results as tasks finish; see ``Cluster``.

        Raises:
            UserError: no node can take a task, and none ran before.
            InfraError: also where no node can take one any more, or the head is gone.
        """
        ray = self._ray
        remote = ray.remote(num_cpus=1, memory=self._size.memory_bytes, max_retries=0)(_call)
        waiting = deque((payload, 1) for payload in payloads)
        resting: deque[tuple[float, P, int]] = deque()
        flying: dict[Any, tuple[P, int]] = {}
        # Nothing is cancelled on the way out, as the end of the driver ends its tasks: a forced
        # cancel that meets a task's end makes Ray 2.60 abort this process ("task that was not
        # pending").
        while waiting or resting or flying:
            while resting and resting[0][0] <= time.monotonic():
                waiting.append(resting.popleft()[1:])
            while waiting and len(flying) < self._most_in_flight():
                payload, tries = waiting.popleft()
                flying[remote.remote(task, payload, self._counter)] = (payload, tries)
            ready = self._wait(list(flying))
            if self._is_interrupted:
                raise KeyboardInterrupt
            self._look()
            self._report(report, timeout_s=0)
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
                    resting.append((time.monotonic() + _PAUSE_S, payload, tries + 1))
                except ray.exceptions.RayTaskError as error:
                    # Ray's own class for it has the whole traceback for a message; that, with what
                    # the error came of, goes on as its cause.
                    raise _cause(error) from error
                else:
                    self._has_run = True
                    yield payload, result
        self._report(report, timeout_s=_LAST_REPORT_S)

    def _wait(self, flying: list[Any]) -> list[Any]:
        """Those of the tasks in flight that have ended, one at most; waits for half a second."""
        if not flying:
            time.sleep(_POLL_S)
            return []
        ready, _ = self._ray.wait(flying, num_returns=1, timeout=_POLL_S)
        return list(ready)

    def _report(self, report: Report, *, timeout_s: float) -> None:
        """Hands on what the counter has, if it answers; its numbers are for people only."""
        if self._taken is None:
            self._taken = self._counter.take.remote()
        ready, _ = self._ray.wait([self._taken], timeout=timeout_s)
        if ready:
            self._taken = None
            try:
                report(self._ray.get(ready[0]))
            except self._ray.exceptions.RayActorError:
                report(0)  # its process ended, and another one takes its place

    def _look(self) -> None:
        """Looks at the nodes now and then: they come and go.

        Raises:
            UserError, InfraError: as ``run``.
        """
        now_s = time.monotonic()
        if self._watch.is_lost:
            raise InfraError(self._watch.loss)
        # Ray waits for a head that is gone, and a wait inside Ray cannot be ended from here.
        if now_s - self._looked_s < _LOOK_S or not self._watch.answers_now():
            return
        self._nodes, self._looked_s = sizes_of(self._ray.nodes()), now_s
        if num_slots(self._nodes, self._size):
            self._fitted_s = now_s
        elif now_s - self._fitted_s > self._node_wait_s:
            kind = InfraError if self._has_run else UserError
            raise kind(too_small(self._nodes, self._size, now_s - self._fitted_s))

    @property
    def slots(self) -> int:
        """See ``Cluster``; ``num_cpus`` is the most."""
        slots = max(1, num_slots(self._nodes, self._size))
        return slots if self._num_cpus is None else min(self._num_cpus, slots)

    def _most_in_flight(self) -> int:
        """Two for each task that runs: the next is being handed over; never above ``num_cpus``."""
        if self.slots < num_slots(self._nodes, self._size):
            return self.slots
        return 2 * self.slots


class RayMetrics:
    """Figures as gauges among Ray's own metrics, ``predecode_<name>`` by output."""

    def __init__(self, output: str) -> None:
        """Asks nothing of Ray yet."""
        self._output = output
        self._gauges: dict[str, Any] = {}

    def set(self, values: Mapping[str, float]) -> None:
        """Sets the gauges; does nothing where this process has no Ray.

        Ray's agents hand them out on each node's metrics port; where none runs they go nowhere.
        """
        ray = sys.modules.get("ray")
        if ray is None or not ray.is_initialized():
            return
        from ray.util.metrics import Gauge

        for name, value in values.items():
            if name not in self._gauges:
                self._gauges[name] = Gauge(f"predecode_{name}", tag_keys=("output",))
            self._gauges[name].set(value, tags={"output": self._output})


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
