"""Work that would keep the loop waiting, such as compiling a script, done on a thread of its own."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from threading import Lock
    from typing import Any, Protocol, TypeVar

    class Results(Protocol):
        """What another thread has done: a Worker's, or a Store's."""

        def fileno(self) -> int: ...
        def deliver(self) -> None: ...

    Result = TypeVar("Result")
    Done = Callable[[Any, BaseException | None], None]
    Job = tuple[Callable[[], Any], Done]

JOBS_MAX = 64  # waiting or not delivered yet
LOOK_SECONDS = 0.25  # between two looks whether what is waited for has come about otherwise
SWITCH_SECONDS = 0.0005  # the longest that the loop, waking up, waits for the thread to let go of the interpreter


class WorkerError(Exception):
    """The worker does not take a job; the message says why."""


class Worker:
    """One thread, started with the first job. Jobs are done one after the other, and their results are handed over on
    the loop's thread: register this object with a selector and call `deliver` when it is readable."""

    __slots__ = ("_descriptor", "_done", "_jobs", "_jobs_max", "_lock", "_on_error", "_open_jobs")

    def __init__(self, on_error: Callable[[BaseException], None], jobs_max: int = JOBS_MAX) -> None:
        """ON_ERROR is told, on the loop's thread, what a `done` raised."""
        self._on_error = on_error
        self._jobs_max = jobs_max
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._jobs: SimpleQueue[Job | None] | None = None  # None in it: the end
        self._done: list[tuple[Done, Any, BaseException | None]] = []
        self._lock: Lock | None = None  # over _done and the descriptor's life
        self._open_jobs = 0

    @property
    def waiting(self) -> int:
        """Jobs whose results were not handed over yet."""
        return self._open_jobs

    def fileno(self) -> int:
        """The descriptor that is readable when there are results; -1 once closed."""
        return self._descriptor

    def submit(self, work: Callable[[], Result], done: Callable[[Result | None, BaseException | None], None]) -> None:
        """Has `work()` done on the thread, and then `done(result, None)` or `done(None, error)` called by `deliver`.

        Raises WorkerError when too many jobs wait, no thread can be had, or the worker is closed."""
        if self._descriptor < 0:
            raise WorkerError("the server is shutting down")
        if self._open_jobs >= self._jobs_max:
            raise WorkerError(f"{self._open_jobs} jobs are waiting already: try again in a moment")
        jobs = self._jobs or self._start()
        self._open_jobs += 1
        jobs.put((work, done))

    def deliver(self) -> None:
        """Hands over the results there are, in the order of their jobs."""
        if self._descriptor < 0 or self._lock is None:
            return
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            pass
        with self._lock:
            results, self._done = self._done, []
        for done, result, error in results:
            self._open_jobs -= 1
            if self._descriptor < 0:  # closed by the one before
                return
            try:
                done(result, error)
            except Exception as raised:
                self._on_error(raised)

    def close(self) -> None:
        """Nothing is handed over any more. The thread ends with the job it is at; nobody waits for it."""
        if self._descriptor < 0:
            return
        if self._jobs is None or self._lock is None:
            self._close_descriptor()
            return
        with self._lock:
            self._close_descriptor()
        self._jobs.put(None)

    def _close_descriptor(self) -> None:
        """The thread looks under the lock whether it is still open: the number may soon be another file's."""
        os.close(self._descriptor)
        self._descriptor = -1
        self._done = []

    def _start(self) -> SimpleQueue[Job | None]:
        import sys
        import threading  # as late as this, for most servers never have such work
        from queue import SimpleQueue

        sys.setswitchinterval(SWITCH_SECONDS)
        self._lock = threading.Lock()
        jobs: SimpleQueue[Job | None] = SimpleQueue()
        thread = threading.Thread(target=self._run, args=(jobs, self._lock), name="worker", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise WorkerError(f"no thread for it: {error}") from None
        self._jobs = jobs
        return jobs

    def _run(self, jobs: SimpleQueue[Job | None], lock: Lock) -> None:
        """The thread."""
        while (job := jobs.get()) is not None and self._descriptor >= 0:
            work, done = job
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:  # whatever it is: the one who asked has to hear of it
                error = raised
            with lock:
                if self._descriptor < 0:
                    return
                self._done.append((done, result, error))
                os.eventfd_write(self._descriptor, 1)
            del job, work, done, result, error  # waiting for the next one, the thread keeps nothing of this one


def deliver_until(is_done: Callable[[], bool], results: Results, seconds: float, clock: Callable[[], float]) -> bool:
    """Before the loop runs: hands over RESULTS as they come. False where it `is_done()` not within SECONDS. That is
    looked at several times a second, for a signal may be what has brought it about."""
    from select import select

    until = clock() + seconds
    while not is_done():
        left = until - clock()
        if left <= 0:
            return False
        if select([results], [], [], min(left, LOOK_SECONDS))[0]:
            results.deliver()
    return True
