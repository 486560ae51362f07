"""The store as the loop sees it: operations go in, and what came of them comes out when the disk has it."""

from __future__ import annotations

import os
from collections import deque
from queue import Empty, SimpleQueue
from time import monotonic

from gsrt.log import error_text
from gsrt.store.batches import Backup, Batches, Job
from gsrt.store.errors import StoreError
from gsrt.store.precedence import Precedence
from gsrt.store.transaction import Transaction
from gsrt.worker import SWITCH_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from gsrt.log import Log
    from gsrt.store.batches import Done

__all__ = ["Store", "StoreError", "Transaction"]

BETWEEN_SECONDS = 0.02  # for operations, between two steps of a backup that take about as long
CLOSE_SECONDS = 10.0  # what waits is written within this time when the server ends; a disk that takes longer hangs


class Store:
    """One database, with a thread that does every read and write. Operations are plain functions `operation(tx,
    *arguments)`; they are performed in the order they come in, and what came of them is handed over on the loop's
    thread: register this object with a selector and call `deliver` when it is readable."""

    __slots__ = (
        "_backing_up",
        "_batches",
        "_closing",
        "_connection",
        "_descriptor",
        "_done",
        "_ended",
        "_jobs",
        "_lock",
        "_lock_file",
        "_log",
        "_open_jobs",
        "_ready",
        "_refused",
        "_thread",
        "_trouble",
        "_waiting_max",
        "on_announce",
        "path",
        "precedence",
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

        from gsrt.store.database import open_database

        self.path = path
        self.on_announce: Callable[[str, dict[str, Any]], None] | None = None
        self._log = log
        self._waiting_max = waiting_max
        self._open_jobs = 0
        self._refused = 0
        self._backing_up = False
        self._closing = False  # on the loop's thread: nothing more is taken
        self._ended = False  # on the store's: nothing more will come
        self._trouble: str | None = None  # what the thread has met since the loop last looked
        self._ready: deque[Job] = deque()  # results the loop has, to be handed over
        self._done: list[Job] = []
        self._lock = threading.Lock()  # over _done, _trouble and the descriptor's life
        self.precedence = Precedence()
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
        try:
            self._thread.start()
        except RuntimeError as error:
            os.close(self._descriptor)
            self._connection.close()
            self._lock_file.release()
            raise StoreError(f"no thread for it: {error}") from None

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
        if self._open_jobs >= self._waiting_max:
            self._refused += 1
            raise StoreError(f"{self._open_jobs} operations wait for the disk already: try again in a moment")
        self._put(Job(operation, arguments, done))

    def backup(self, path: str, done: Callable[[int | None, BaseException | None], None]) -> None:
        """Has the database copied to the file at PATH, where everything acknowledged until then is in it, while
        operations go on; then `done(bytes, None)` or `done(None, error)` is called by `deliver`.

        Raises StoreError when a backup is under way, or the store is closed."""
        if self._backing_up:
            raise StoreError("a backup is being taken already: wait until it is done")

        def finished(size: int | None, error: BaseException | None) -> None:
            self._backing_up = False
            done(size, error)

        self._put(Backup(path, finished))
        self._backing_up = True

    def _put(self, job: Job) -> None:
        if self._closing:
            raise StoreError("the server is shutting down")
        self._open_jobs += 1
        self._jobs.put(job)

    @property
    def has_more(self) -> bool:
        """Whether `deliver` has left something."""
        return bool(self._ready)

    def deliver(self, enough: Callable[[], bool] | None = None) -> None:
        """Hands over the results there are, in the order of their operations, until `enough()`: the next call goes on
        with the rest."""
        if self._descriptor < 0:
            return
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            pass
        with self._lock:
            self._ready += self._done
            self._done.clear()
            trouble, self._trouble = self._trouble, None
        if trouble is not None:
            self._log.limited("error", "store", "nothing can be written", file=self.path, reason=trouble)
        while self._ready:
            self._open_jobs -= 1
            self._tell(self._ready.popleft())
            if enough is not None and enough():
                return

    def _tell(self, job: Job) -> None:
        try:
            job.done(job.result, job.error)
            if self.on_announce is not None:
                for player_id, message in job.announcements:
                    self.on_announce(player_id, message)
        except Exception as error:
            self._log.limited("error", "store result", "a result was not taken", reason=error_text(error))

    def close(self) -> None:
        """Has all that waits done, written and handed over, within a bounded time."""
        if self._closing:
            return
        self._closing = True
        self._jobs.put(None)
        self._thread.join(CLOSE_SECONDS)
        self.deliver()
        if self._open_jobs:
            self._log.error("the disk hangs: what it was not given is lost", operations=self._open_jobs)
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
            "store_written_bytes": self.written_bytes,
        }

    @property
    def written_bytes(self) -> int:
        """What it has had the kernel write to disks so far."""
        return _written_bytes(self._thread.native_id)

    def gather(self, seconds: float) -> None:
        """From the next change on, what was changed is written when it is so old."""
        self._batches.seconds = seconds

    def _hand_over(self, jobs: list[Job], reason: str | None) -> None:
        """On the thread: JOBS can be told. REASON: why the disk does not have them."""
        with self._lock:
            if self._descriptor < 0:
                return
            self._done += jobs
            self._trouble = reason or self._trouble
            os.eventfd_write(self._descriptor, 1)

    def _run(self) -> None:
        """The thread."""
        while not self._ended:
            try:
                self._turn()
            except Exception as error:  # a fault of ours: whoever waits is to hear of it, and the thread goes on
                self._batches.give_up(error)
        self._batches.commit()
        self._connection.close()
        self._lock_file.release()

    def _turn(self) -> None:
        """Waits for the next operation, or until what was changed has to be written. Nothing else wakes the thread."""
        batches = self._batches
        try:
            if batches.due is None:
                job = self._jobs.get()
            else:
                job = self._jobs.get(timeout=max(batches.due - monotonic(), 0.0))
        except Empty:
            batches.commit()
            return
        if job is None:
            self._ended = True
        elif isinstance(job, Backup):
            self._back_up(job)
        else:
            self.precedence.give_way()
            batches.perform(job)

    def _back_up(self, job: Backup) -> None:
        from gsrt.store.copying import back_up

        self._batches.commit()
        try:
            job.result = back_up(self._connection, job.path, self._between)
        except Exception as error:
            job.fail(error)
        self._hand_over([job], None)

    def _between(self) -> None:
        """Between two steps of a backup: does what waits, but not for ever, so that either goes on."""
        batches = self._batches
        until = monotonic() + BETWEEN_SECONDS
        while batches.due is not None or not self._jobs.empty():
            self._turn()
            if monotonic() >= until:
                break
        batches.commit()
        if self._closing:
            raise StoreError("the server is shutting down: there is no backup")


def _written_bytes(thread: int | None) -> int:
    """What THREAD has had the kernel write to disks so far, in whole pages; 0 where the kernel does not count (proc(5),
    "/proc/pid/io": a page counts when it becomes dirty)."""
    try:
        with open(f"/proc/self/task/{thread}/io", "rb") as file:
            for line in file:
                if line.startswith(b"write_bytes:"):
                    return int(line.split()[1])
    except OSError:  # the thread has ended, or the kernel was built without
        pass
    return 0
