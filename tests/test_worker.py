"""The worker thread: results in order on the caller's thread, errors, bounds, the end."""

from __future__ import annotations

import gc
import os
import selectors
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from gsrt.worker import Worker, WorkerError, deliver_until

DEADLINE_SECONDS = 20.0


class Loop:
    """A loop around one worker, turned by the test."""

    def __init__(self, **limits: Any) -> None:
        self.errors: list[BaseException] = []
        self.results: list[tuple[Any, BaseException | None]] = []
        self.worker = Worker(self.errors.append, **limits)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.worker, selectors.EVENT_READ)

    def done(self, result: Any, error: BaseException | None) -> None:
        self.results.append((result, error))

    def turn(self, timeout: float = 0.0) -> bool:
        if not self.selector.select(timeout):
            return False
        self.worker.deliver()
        return True

    def until_results(self, count: int) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(self.results) < count:
            assert time.monotonic() < deadline, "it never came"
            self.turn(0.1)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.selector.close()
    loop.worker.close()


def until_no_threads_but(before: set[threading.Thread]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not before.issuperset(threading.enumerate()):
        assert time.monotonic() < deadline, "the thread goes on"
        time.sleep(0.001)


def test_results_come_in_order_on_the_loops_thread_and_work_is_done_on_another(loop: Loop) -> None:
    threads: list[int] = []

    def done(result: int | None, error: BaseException | None) -> None:
        threads.append(threading.get_ident())
        loop.done(result, error)

    for number in range(20):
        loop.worker.submit(lambda number=number: (number, threading.get_ident()), done)  # type: ignore[misc]
    loop.until_results(20)
    assert [result[0] for result, _ in loop.results] == list(range(20))
    workers = {result[1] for result, _ in loop.results}
    assert len(workers) == 1
    assert workers.isdisjoint(threads)
    assert set(threads) == {threading.get_ident()}
    assert loop.worker.waiting == 0


def test_nothing_is_handed_over_but_by_deliver_and_then_it_is_readable_no_more(loop: Loop) -> None:
    loop.worker.submit(lambda: 1, loop.done)
    assert loop.selector.select(DEADLINE_SECONDS)
    assert loop.results == []
    assert loop.worker.waiting == 1
    loop.worker.deliver()
    assert loop.results == [(1, None)]
    assert not loop.turn()
    loop.worker.deliver()
    assert loop.results == [(1, None)]


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, MemoryError])
def test_an_error_of_the_work_is_its_result_and_the_thread_goes_on(loop: Loop, kind: type[BaseException]) -> None:
    def work() -> None:
        raise kind("no")

    loop.worker.submit(work, loop.done)
    loop.worker.submit(lambda: "next", loop.done)
    loop.until_results(2)
    (result, error), (next_result, next_error) = loop.results
    assert result is None
    assert type(error) is kind
    assert (next_result, next_error) == ("next", None)
    assert loop.errors == []


def test_an_error_of_the_one_who_gets_a_result_is_told_and_the_others_get_theirs(loop: Loop) -> None:
    def broken(result: object, error: BaseException | None) -> None:
        raise KeyError("mine")

    loop.worker.submit(lambda: 1, broken)
    loop.worker.submit(lambda: 2, loop.done)
    loop.until_results(1)
    assert [repr(error) for error in loop.errors] == ["KeyError('mine')"]
    assert loop.results == [(2, None)]


def test_a_job_may_be_submitted_by_the_one_who_gets_a_result(loop: Loop) -> None:
    def again(result: object, error: BaseException | None) -> None:
        loop.done(result, error)
        loop.worker.submit(lambda: "second", loop.done)

    loop.worker.submit(lambda: "first", again)
    loop.until_results(2)
    assert loop.results == [("first", None), ("second", None)]


def test_too_many_jobs_are_refused_until_results_were_handed_over() -> None:
    loop = Loop(jobs_max=2)
    go = threading.Event()
    try:
        loop.worker.submit(lambda: go.wait(DEADLINE_SECONDS), loop.done)
        loop.worker.submit(lambda: 2, loop.done)
        with pytest.raises(WorkerError, match="2 jobs are waiting already: try again in a moment"):
            loop.worker.submit(lambda: 3, loop.done)
        go.set()
        loop.until_results(2)
        loop.worker.submit(lambda: 4, loop.done)
        loop.until_results(3)
        assert loop.results[2] == (4, None)
    finally:
        go.set()
        loop.worker.close()
        loop.selector.close()


def test_the_thread_starts_with_the_first_job(loop: Loop) -> None:
    before = set(threading.enumerate())
    loop.worker.submit(lambda: 1, loop.done)
    assert len(set(threading.enumerate()) - before) == 1
    loop.until_results(1)


def test_the_thread_keeps_nothing_of_a_job_that_is_done(loop: Loop) -> None:
    class Thing:
        pass

    thing = Thing()
    alive = weakref.ref(thing)
    loop.worker.submit(lambda thing=thing: thing, lambda result, error: loop.done(None, error))  # type: ignore[misc]
    del thing
    loop.until_results(1)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while alive() is not None:
        assert time.monotonic() < deadline, "still held"
        gc.collect()


def test_close_before_any_job_and_twice_leaves_nothing_open() -> None:
    worker = Worker(print)
    descriptor = worker.fileno()
    worker.close()
    worker.close()
    worker.deliver()
    assert worker.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(WorkerError, match="the server is shutting down"):
        worker.submit(lambda: 1, lambda result, error: None)


def test_close_during_a_job_hands_nothing_over_and_touches_no_file_opened_since() -> None:
    before = set(threading.enumerate())
    loop = Loop()
    started, go = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        go.wait(DEADLINE_SECONDS)

    later: list[int] = []
    loop.worker.submit(work, loop.done)
    loop.worker.submit(lambda: later.append(1), loop.done)
    assert started.wait(DEADLINE_SECONDS)
    loop.selector.close()
    descriptor = loop.worker.fileno()
    loop.worker.close()
    other = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        assert other == descriptor  # the kernel gives the lowest free number
        go.set()
        until_no_threads_but(before)
        with pytest.raises(BlockingIOError):
            os.eventfd_read(other)
    finally:
        os.close(other)
    loop.worker.deliver()
    assert loop.results == []
    assert later == []


def test_close_by_the_one_who_gets_a_result_ends_the_handing_over() -> None:
    before = set(threading.enumerate())
    loop = Loop()
    go = threading.Event()
    loop.worker.submit(lambda: go.wait(DEADLINE_SECONDS), lambda result, error: loop.worker.close())
    loop.worker.submit(lambda: 2, loop.done)
    go.set()
    loop.selector.close()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while loop.worker.fileno() >= 0:
        assert time.monotonic() < deadline
        loop.worker.deliver()
    until_no_threads_but(before)
    assert loop.results == []


def test_no_thread_to_be_had_is_an_error_that_says_so_and_the_next_try_may_succeed(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(WorkerError, match="no thread for it: can't start new thread"):
            loop.worker.submit(lambda: 1, loop.done)
    assert loop.worker.waiting == 0
    loop.worker.submit(lambda: 1, loop.done)
    loop.until_results(1)


def test_a_server_without_such_work_loads_no_threads_and_one_at_work_can_end() -> None:
    program = (
        "import sys, gsrt.worker\n"
        "worker = gsrt.worker.Worker(print)\n"
        "assert 'threading' not in sys.modules and 'queue' not in sys.modules\n"
        "import threading\n"
        "worker.submit(threading.Event().wait, print)\n"
        "print('end')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert (run.returncode, run.stdout, run.stderr) == (0, "end\n", "")


def test_results_are_handed_over_before_there_is_a_loop(loop: Loop) -> None:
    for number in range(3):
        loop.worker.submit(lambda number=number: number, loop.done)  # type: ignore[misc]
    assert deliver_until(lambda: not loop.worker.waiting, loop.worker, DEADLINE_SECONDS, time.monotonic)
    assert loop.results == [(0, None), (1, None), (2, None)]


def test_waiting_for_results_ends_with_what_a_signal_has_brought_about(loop: Loop) -> None:
    let_on = threading.Event()
    loop.worker.submit(let_on.wait, loop.done)
    looks = iter((False, False, True))
    assert deliver_until(lambda: next(looks), loop.worker, DEADLINE_SECONDS, time.monotonic)
    assert loop.results == []
    let_on.set()


def test_waiting_for_results_has_an_end(loop: Loop) -> None:
    let_on = threading.Event()
    loop.worker.submit(let_on.wait, loop.done)
    times = iter((5.0, 6.0))  # when the waiting begins, and ends
    assert not deliver_until(lambda: False, loop.worker, 1.0, lambda: next(times))
    assert loop.results == []
    let_on.set()
