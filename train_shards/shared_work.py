"""Small pieces of work for some threads, the caller's one of them."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["SharedWork", "Task"]


class SharedWork:
    """Tasks, begun in the order in which they came.

    Whoever waits for one does others meanwhile: a thread that sleeps and wakes for each would cost
    more than it brings. For one caller, in the process that made it.
    """

    def __init__(self, num_threads: int) -> None:
        """Starts no thread yet.

        Args:
            num_threads: that work, the caller's included: 2 or more.
        """
        self._num_threads = num_threads
        self._waiting: deque[Task] = deque()
        self._pool = ThreadPoolExecutor(num_threads - 1, "predecode")

    def submit(self, work: Callable[[], None]) -> "Task":
        """Has ``work`` done by and by; where much waits, some of it now."""
        task = Task(work, self.do_one)
        self._waiting.append(task)
        self._pool.submit(self.do_one)
        if len(self._waiting) > self._num_threads:
            self.do_one()
        return task

    def do_one(self) -> bool:
        """Does what has waited longest; False if nothing waits."""
        try:
            task = self._waiting.popleft()
        except IndexError:
            return False
        task.run()
        return True


class Task:
    """One of them."""

    def __init__(self, work: Callable[[], None], do_another: Callable[[], bool]) -> None:
        """Takes what is to be done, and what does one of those that wait."""
        self._work, self._do_another = work, do_another
        self._future: Future[None] = Future()

    def run(self) -> None:
        """Does the work; keeps what it raises for ``finish``."""
        try:
            self._work()
        except BaseException as error:
            self._future.set_exception(error)
            if not isinstance(error, Exception):
                raise  # the caller's Ctrl-C
        else:
            self._future.set_result(None)

    def finish(self) -> None:
        """Returns when the work is done; raises what it raised."""
        while not self._future.done() and self._do_another():
            pass
        self._future.result()
