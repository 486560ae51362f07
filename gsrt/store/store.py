"""The store as the loop sees it: operations go in, and what came of them comes out when the disk has it."""

from __future__ import annotations

import os

from gsrt.store.batches import Batches, Job
from gsrt.store.errors import StoreError
from gsrt.store.transaction import Transaction
from gsrt.worker import SWITCH_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from gsrt.log import Log
    from gsrt.store.batches import Done

__all__ = ["Store", "StoreError", "Transaction"]

CLOSE_SECONDS = 10.0  # what waits is written within this time when the server ends; a disk that takes longer hangs


class Store:
    """One database, with a thread that does every read and write. Operations are plain functions `operation(tx,
    *arguments)`; they are performed in the order they come in, and what came of them is handed over on the loop's
    thread: register this object with a selector and call `deliver` when it is readable."""

    __slots__ = (
        "_batches",
        "_connection",
        "_descriptor",
        "_done",
        "_jobs",
        "_lock",
        "_lock_file",
        "_log",
        "_open_jobs",
        "_refused",
        "_thread",
        "_trouble",
        "_troubled",
        "_waiting_max",
        "on_announce",
        "path",
    )

    def __init__(
        self,
        path: str,
        *,
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
        log: Log,
        batch_seconds: float,
        batch_writes: int,
        waiting_max: int,
    ) -> None:
        """Opens the database at PATH, or makes it; its folder may be missing, the folder around that may not. `wall()`
        gives seconds since 1970, `entropy(n)` n random bytes; both are called on the store's thread.

        What was changed is written when it is BATCH_SECONDS old or has BATCH_WRITES changes. At most WAITING_MAX
        operations wait.

        Raises StoreError, which says what to do."""
        import sys
        import threading
        from queue import SimpleQueue

        from gsrt.store.database import open_database

        self.path = path
        self.on_announce: Callable[[str, dict[str, Any]], None] | None = None
        self._log = log
        self._waiting_max = waiting_max
        self._open_jobs = 0
        self._refused = 0
        self._trouble: str | None = None  # what the thread has met since the loop last looked
        self._troubled = False
        self._done: list[Job] = []
        self._lock = threading.Lock()  # over _done, _trouble and the descriptor's life
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()  # None: the end
        self._connection, self._lock_file = open_database(path)
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._batches = Batches(
            self._connection,
            self._hand_over,
            wall=wall,
            entropy=entropy,
            seconds=batch_seconds,
            writes_max=batch_writes,
        )
        sys.setswitchinterval(SWITCH_SECONDS)
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Operations whose results were not handed over yet."""
        return self._open_jobs

    def fileno(self) -> int:
        """The descriptor that is readable when there are results; -1 once closed."""
        return self._descriptor

    def submit(self, operation: Callable[..., object], arguments: Sequence[object], done: Done) -> None:
        """Has `operation(tx, *arguments)` done on the thread, and then `done(result, None)` or `done(None, error)`
        called by `deliver`.

        Raises StoreError when too many operations wait, or the store is closed."""
        if self._descriptor < 0:
            raise StoreError("the server is shutting down")
        if self._open_jobs >= self._waiting_max:
            self._refused += 1
            raise StoreError(f"{self._open_jobs} operations wait for the disk already: try again in a moment")
        self._open_jobs += 1
        self._jobs.put(Job(operation, arguments, done))

    def deliver(self) -> None:
        """Hands over the results there are, in the order of their operations."""
        if self._descriptor < 0:
            return
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            pass
        with self._lock:
            jobs, self._done = self._done, []
            trouble, self._trouble = self._trouble, None
        if trouble is not None:
            self._troubled = True
            self._log.limited("error", "store", "nothing can be written", file=self.path, reason=trouble)
        for job in jobs:
            self._open_jobs -= 1
            self._tell(job)

    def _tell(self, job: Job) -> None:
        try:
            job.done(job.result, job.error)
            if self.on_announce is not None:
                for player_id, message in job.announcements:
                    self.on_announce(player_id, message)
        except Exception as error:
            self._log.limited(
                "error", "store result", "a result was not taken", reason=f"{type(error).__name__}: {error}"
            )

    def close(self) -> None:
        """Has all that waits done, written and handed over, within a bounded time."""
        if self._descriptor < 0:
            return
        self._jobs.put(None)
        self._thread.join(CLOSE_SECONDS)
        self.deliver()
        with self._lock:
            os.close(self._descriptor)
            self._descriptor = -1

    def figures(self) -> dict[str, float]:
        """What it has done so far."""
        return {
            **self._batches.counters,
            "store_refused": self._refused,
            "store_waiting": self._open_jobs,
            "store_commit_worst_ms": self._batches.commit_seconds_worst * 1000,
        }

    def _hand_over(self, jobs: list[Job], trouble: str | None) -> None:
        """On the thread: JOBS can be told."""
        with self._lock:
            if self._descriptor < 0:
                return
            self._done += jobs
            self._trouble = trouble or self._trouble
            os.eventfd_write(self._descriptor, 1)

    def _run(self) -> None:
        """The thread."""
        from queue import Empty
        from time import monotonic

        batches, jobs = self._batches, self._jobs
        while True:
            try:
                job = jobs.get() if batches.due is None else jobs.get(timeout=max(batches.due - monotonic(), 0.0))
            except Empty:
                batches.commit()
                continue
            if job is None:
                break
            batches.perform(job)
            del job  # waiting for the next one, the thread keeps nothing of this one
        batches.commit()
        self._connection.close()
        self._lock_file.release()
