"""The store's thread's side: operations, and the transactions they are written in together.

A disk takes as long for one change as for a hundred, and a card wears as much. So what is changed within a moment is
one transaction, and nobody hears of an operation before the disk has it. An operation fails alone: it is undone to its
savepoint. Where nothing was changed yet, nothing waits.
"""

from __future__ import annotations

from time import monotonic

from gsrt.store.database import empty_log
from gsrt.store.errors import StoreError, describe, trouble
from gsrt.store.transaction import Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from typing import Any

    Done = Callable[[Any, BaseException | None], None]

COUNTERS = (
    "store_operations",  # performed
    "store_operations_failed",  # undone, each on its own
    "store_writes",  # operations that have changed something, and are on the disk
    "store_batches",  # transactions they were written in
    "store_failures",  # transactions that could not be written
)


class Job:
    """An operation on its way: asked for, done, told."""

    __slots__ = ("announcements", "arguments", "done", "error", "operation", "result")

    def __init__(self, operation: Callable[..., object], arguments: Sequence[object], done: Done) -> None:
        self.operation: Callable[..., object] | None = operation
        self.arguments = arguments
        self.done = done
        self.result: Any = None
        self.error: BaseException | None = None
        self.announcements: Sequence[tuple[str, dict[str, Any]]] = ()

    def fail(self, error: BaseException) -> None:
        """ERROR in place of whatever came of it. An error's frames hold the thread's objects, so they stay behind."""
        error.__traceback__ = error.__context__ = error.__cause__ = None
        self.result, self.error, self.announcements = None, error, ()


class Backup(Job):
    """A copy of the database, to be written to the file at PATH."""

    __slots__ = ("path",)

    def __init__(self, path: str, done: Done) -> None:
        super().__init__(str, (), done)
        self.path = path


class Batches:
    """Performs jobs over one connection. `hand_over(jobs, reason)` gets those that can be told, in their order, and why
    nothing of them is on the disk (None: it is)."""

    __slots__ = (
        "_connection",
        "_entropy",
        "_hand_over",
        "_jobs",
        "_wall",
        "_writes",
        "_writes_max",
        "commit_seconds_worst",
        "counters",
        "due",
        "seconds",
    )

    def __init__(
        self,
        connection: sqlite3.Connection,
        hand_over: Callable[[list[Job], str | None], None],
        *,
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
        seconds: float,
        writes_max: int,
    ) -> None:
        self._connection = connection
        self._hand_over = hand_over
        self._wall = wall
        self._entropy = entropy
        self.seconds = seconds  # that what was changed may wait; another thread may change it
        self._writes_max = writes_max
        self._jobs: list[Job] = []  # performed, and not on the disk yet
        self._writes = 0  # operations of the batch that have changed something
        self.due: float | None = None  # when what was changed has to be written (monotonic); None: nothing was
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.commit_seconds_worst = 0.0

    def perform(self, job: Job) -> None:
        """Does JOB, and commits where it is time to."""
        self.counters["store_operations"] += 1
        self._jobs.append(job)
        connection = self._connection
        try:
            if self.due is None:
                connection.execute("BEGIN")
            connection.execute("SAVEPOINT operation")
        except Exception as error:
            self.give_up(error)
            return
        changes = connection.total_changes
        if not self._do(job):
            assert job.error is not None
            self.give_up(job.error)
            return
        if job.error is None and connection.total_changes != changes:
            self._writes += 1
            if self.due is None:
                self.due = monotonic() + self.seconds
        if self.due is None or self._writes >= self._writes_max or monotonic() >= self.due:
            self.commit()

    def _do(self, job: Job) -> bool:
        """Performs JOB's operation within its savepoint. False: the whole transaction is lost."""
        connection = self._connection
        assert job.operation is not None
        tx: Transaction | None = None
        try:
            tx = Transaction(connection, self._wall(), self._entropy)
            job.result = job.operation(tx, *job.arguments)
            connection.execute("RELEASE operation")
            job.announcements = tx.announcements
            return True
        except BaseException as raised:  # whatever it is: the one who asked has to hear of it
            job.fail(raised if trouble(raised) is None else StoreError(describe(raised)))
            self.counters["store_operations_failed"] += 1
        finally:
            if tx is not None:
                tx.end()
            job.operation, job.arguments = None, ()
        try:
            connection.execute("ROLLBACK TO operation")
            connection.execute("RELEASE operation")
        except Exception:
            return False
        return True

    def commit(self) -> None:
        """Ends the transaction, and tells what came of its operations."""
        if not self._jobs:
            return
        began = monotonic()
        try:
            self._connection.execute("COMMIT")
        except Exception as error:
            self.give_up(error)
            return
        if self._writes:
            self.commit_seconds_worst = max(self.commit_seconds_worst, monotonic() - began)
            self.counters["store_batches"] += 1
            self.counters["store_writes"] += self._writes
        self._tell(None)

    def give_up(self, error: BaseException) -> None:
        """Undoes the transaction: nothing of it is on the disk, and every operation of it hears so."""
        self.counters["store_failures"] += 1
        text = str(error) if isinstance(error, StoreError) else describe(error)
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except Exception:
                pass
        empty_log(self._connection)  # where the disk is full, this may be all the space there is
        for job in self._jobs:
            job.fail(StoreError(text))
        self._tell(text)

    def _tell(self, reason: str | None) -> None:
        jobs, self._jobs, self._writes, self.due = self._jobs, [], 0, None
        self._hand_over(jobs, reason)
