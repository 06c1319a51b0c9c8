"""Tasks of some threads and the caller: each done once, errors where they are met."""

import threading
from functools import partial

import pytest

from train_shards.shared_work import SharedWork


@pytest.mark.parametrize("num_threads", [2, 3])
def test_every_task_is_done_once(num_threads: int) -> None:
    work, done = SharedWork(num_threads), list[int]()
    tasks = [work.submit(partial(done.append, number)) for number in range(200)]
    for task in tasks:
        task.finish()
    assert sorted(done) == list(range(200))
    tasks[0].finish()  # again: nothing is left to do
    assert len(done) == 200


def test_the_caller_does_what_waits_while_a_thread_is_busy() -> None:
    work, free, begun = SharedWork(2), threading.Event(), threading.Event()
    by: dict[int, str] = {}

    def busy() -> None:
        begun.set()
        assert free.wait(timeout=60)

    def note(number: int) -> None:
        by[number] = threading.current_thread().name

    first = work.submit(busy)
    assert begun.wait(timeout=60)
    others = [work.submit(partial(note, number)) for number in range(5)]
    # More than two are not left to wait.
    assert list(by) == [0, 1, 2]
    others[4].finish()
    assert list(by) == [0, 1, 2, 3, 4]
    assert set(by.values()) == {threading.current_thread().name}
    free.set()
    first.finish()


def test_an_error_is_raised_where_its_task_is_waited_for() -> None:
    work, done = SharedWork(2), list[int]()

    def fail() -> None:
        raise ValueError("of the second")

    tasks = [work.submit(partial(done.append, 1)), work.submit(fail)]
    tasks.append(work.submit(partial(done.append, 3)))
    tasks[0].finish()
    tasks[2].finish()
    for _ in range(2):
        with pytest.raises(ValueError, match="of the second"):
            tasks[1].finish()
    assert done == [1, 3]


def test_ctrl_c_in_the_callers_own_work_ends_it() -> None:
    work, free, begun = SharedWork(2), threading.Event(), threading.Event()

    def busy() -> None:
        begun.set()
        assert free.wait(timeout=60)

    def interrupted() -> None:
        raise KeyboardInterrupt

    first = work.submit(busy)
    assert begun.wait(timeout=60)
    task = work.submit(interrupted)
    with pytest.raises(KeyboardInterrupt):
        task.finish()
    free.set()
    first.finish()
