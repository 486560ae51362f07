"""The store: what is written together, who is told when, what an operation may do, bounds, the end."""

from __future__ import annotations

import gc
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.backend.call import Failure
from gsrt.store.store import StoreError, Transaction
from tests.store.rig import DEADLINE_SECONDS, NEVER, WALL, Loop, names, put, store_threads


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "game.sqlite"


@pytest.fixture
def loop(path: Path) -> Iterator[Loop]:
    with Loop(path) as loop:
        yield loop


# What is written together


def test_changes_wait_until_the_batch_is_full_and_are_one_transaction(path: Path) -> None:
    with Loop(path, batch_seconds=NEVER, batch_writes=3) as loop:
        loop.submit(put, "a")
        loop.submit(put, "b")
        loop.until_performed(2)
        assert loop.outcomes == []
        assert loop.store.figures()["store_batches"] == 0
        loop.submit(put, "c")
        assert loop.until_outcomes(3) == [("a", None), ("b", None), ("c", None)]
        assert loop.store.figures()["store_batches"] == 1
        assert loop.store.figures()["store_writes"] == 3


def test_changes_wait_until_the_batch_is_old_enough(path: Path) -> None:
    with Loop(path, batch_seconds=0.05, batch_writes=1000) as loop:
        began = time.monotonic()
        loop.submit(put, "a")
        loop.until_outcomes(1)
        assert time.monotonic() - began >= 0.05
        loop.submit(put, "b")
        loop.until_outcomes(2)
        assert loop.store.figures()["store_batches"] == 2


def test_a_batch_as_short_as_can_be_is_every_change_on_its_own(path: Path) -> None:
    with Loop(path, batch_seconds=0.0, batch_writes=1000) as loop:
        for name in "abc":
            loop.submit(put, name)
        loop.until_outcomes(3)
        assert loop.store.figures()["store_batches"] == 3


def test_what_only_reads_is_told_at_once(path: Path) -> None:
    with Loop(path, batch_seconds=NEVER, batch_writes=1000) as loop:
        assert loop.ask(names) == []
        assert loop.ask(lambda tx: tx.one("SELECT 1")) == (1,)
        assert loop.store.figures()["store_batches"] == 0


def test_what_has_read_an_unwritten_change_waits_for_it(path: Path) -> None:
    with Loop(path, batch_seconds=NEVER, batch_writes=2) as loop:
        loop.submit(names)
        loop.submit(put, "a")
        loop.submit(names)
        loop.until_performed(3)
        assert loop.outcomes == [([], None)]
        loop.submit(put, "b")
        assert loop.until_outcomes(4)[1:] == [("a", None), (["a"], None), ("b", None)]


def test_a_change_of_nothing_waits_for_nothing(path: Path) -> None:
    with Loop(path, batch_seconds=NEVER, batch_writes=1000) as loop:
        assert loop.ask(lambda tx: tx.execute("DELETE FROM documents").rowcount) == 0
        with pytest.raises(Failure):
            loop.ask(put_and_fail, Failure(USERNAME="TAKEN"))
        assert loop.store.figures()["store_batches"] == 0


def test_an_idle_store_does_not_poll(path: Path) -> None:
    with Loop(path, batch_seconds=0.001, batch_writes=1000) as loop:
        loop.ask(put, "a")
        (thread,) = store_threads()
        status = Path(f"/proc/self/task/{thread.native_id}/status")

        def switches() -> int:
            return sum(int(line.split()[1]) for line in status.read_text().splitlines() if "ctxt_switches" in line)

        loop.until(lambda: Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rsplit(") ")[1][0] == "S")
        before = switches()
        time.sleep(0.2)
        assert switches() - before <= 2  # on its way to sleep, perhaps; a poll would be two hundred


# An operation


def put_and_fail(tx: Transaction, error: BaseException) -> None:
    put(tx, "undone")
    tx.announce("anna", {"undone": True})
    raise error


def test_operations_are_done_in_order_on_the_stores_thread_and_told_on_the_loops(loop: Loop) -> None:
    threads = []

    def operation(tx: Transaction, number: int) -> tuple[int, int]:
        return number, threading.get_ident()

    def done(result: tuple[int, int], error: BaseException | None) -> None:
        threads.append(threading.get_ident())
        loop.done(result, error)

    for number in range(20):
        loop.store.submit(operation, (number,), done)
    loop.until_outcomes(20)
    assert [result[0] for result, _ in loop.outcomes] == list(range(20))
    (stores,) = {result[1] for result, _ in loop.outcomes}
    assert set(threads) == {threading.get_ident()} != {stores}


@pytest.mark.parametrize("error", [Failure(USERNAME="TAKEN"), KeyError("bug"), SystemExit(), RecursionError()])
def test_an_error_undoes_its_own_operation_and_no_other(path: Path, error: BaseException) -> None:
    with Loop(path, batch_seconds=NEVER, batch_writes=2) as loop:
        loop.submit(put, "a")
        loop.submit(put_and_fail, error)
        loop.submit(put, "b")
        outcomes = loop.until_outcomes(3)
        assert outcomes == [("a", None), (None, error), ("b", None)]
        assert loop.ask(names) == ["a", "b"]
        assert loop.store.figures()["store_operations_failed"] == 1


def test_an_error_that_follows_from_an_unwritten_change_waits_for_it(path: Path) -> None:
    with Loop(path, batch_seconds=NEVER, batch_writes=2) as loop:
        loop.submit(put, "a")
        loop.submit(put, "a")
        loop.until_performed(2)
        assert loop.outcomes == []
        loop.submit(put, "b")
        (_, first), (_, second), (_, third) = loop.until_outcomes(3)
        assert first is third is None
        assert isinstance(second, sqlite3.IntegrityError)


def test_an_operation_may_go_on_after_a_constraint_has_stopped_it(loop: Loop) -> None:
    def twice(tx: Transaction) -> str:
        put(tx, "a")
        try:
            put(tx, "a")
        except sqlite3.IntegrityError:
            return put(tx, "b")
        raise AssertionError

    assert loop.ask(twice) == "b"
    assert loop.ask(names) == ["a", "b"]


def test_what_an_operation_has(loop: Loop) -> None:
    def operation(tx: Transaction) -> None:
        loop.now += 1
        assert tx.now == WALL
        first, second = tx.new_id(), tx.new_id()
        assert first != second
        assert all(len(each) == 24 and set(each) <= set("0123456789abcdef") for each in (first, second))
        assert tx.one("SELECT 1 WHERE 0") is None
        assert tx.one("SELECT ?, ?", (1, "b")) == (1, "b")
        assert tx.one("SELECT :name", {"name": 5}) == (5,)
        assert tx.all("SELECT 1 UNION SELECT 2") == [(1,), (2,)]
        assert tx.execute("SELECT 1").fetchone() == (1,)

    loop.ask(operation)
    assert loop.ask(lambda tx: tx.now) == WALL + 1


def test_a_row_that_a_change_returns_is_a_change(loop: Loop) -> None:
    def operation(tx: Transaction) -> tuple[str, ...] | None:
        return tx.one("INSERT INTO documents VALUES ('', 'test', 'a', '', 1, 0) RETURNING id")

    assert loop.ask(operation) == ("a",)
    assert loop.store.figures()["store_writes"] == 1
    assert loop.ask(names) == ["a"]


def test_a_query_left_half_read_keeps_nobody_from_writing(path: Path) -> None:
    with Loop(path) as loop:
        for name in "abc":
            loop.ask(put, name)
        kept = []

        def half(tx: Transaction) -> None:
            cursor = tx.execute("SELECT id FROM documents")
            cursor.fetchone()
            kept.append(cursor)
            put(tx, "d")

        loop.ask(half)
        loop.ask(put, "e")
        kept.clear()
    with Loop(path) as loop:
        assert loop.ask(names) == list("abcde")


def test_a_transaction_outlives_no_operation(loop: Loop) -> None:
    kept: list[Transaction] = []
    loop.ask(kept.append)

    def late(tx: Transaction) -> None:
        kept[0].execute("SELECT 1")

    with pytest.raises(StoreError, match="over"):
        loop.ask(late)


def test_foreign_keys_are_kept(loop: Loop) -> None:
    def operation(tx: Transaction) -> None:
        tx.execute("INSERT INTO balances VALUES ('nobody', 'gold', 1)")

    with pytest.raises(sqlite3.IntegrityError):
        loop.ask(operation)


def test_an_error_holds_nothing_of_the_threads(loop: Loop) -> None:
    class Large:
        pass

    seen: list[weakref.ref[Large]] = []

    def operation(tx: Transaction) -> None:
        large = Large()
        seen.append(weakref.ref(large))
        try:
            raise KeyError(1)
        except KeyError as inner:
            raise ValueError from inner

    gc.disable()
    try:
        loop.submit(operation)
        ((_, error),) = loop.until_outcomes(1)
        assert isinstance(error, ValueError)
        assert error.__traceback__ is error.__context__ is error.__cause__ is None
        assert seen[0]() is None
    finally:
        gc.enable()


def test_the_waiting_thread_keeps_nothing_of_the_last_operation(loop: Loop) -> None:
    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    loop.ask(lambda tx, given: None, argument)
    del argument
    loop.until(lambda: gone() is None)


# Announcements


def announce(tx: Transaction, name: str) -> str:
    tx.announce("anna", {"name": name})
    tx.announce("ben", {"name": name})
    return put(tx, name)


def test_announcements_come_after_the_commit_each_after_its_operation(path: Path) -> None:
    with Loop(path, batch_seconds=NEVER, batch_writes=2) as loop:
        loop.submit(announce, "a")
        loop.submit(put_and_fail, KeyError())
        loop.until_performed(2)
        assert loop.events == []
        loop.submit(announce, "b")
        loop.until_outcomes(3)
        loop.events[3] = "undone"
        assert loop.events == [
            *[("a", None), ("anna", {"name": "a"}), ("ben", {"name": "a"})],
            "undone",
            *[("b", None), ("anna", {"name": "b"}), ("ben", {"name": "b"})],
        ]


def test_without_anybody_to_tell_announcements_go_nowhere(loop: Loop) -> None:
    loop.store.on_announce = None
    loop.ask(announce, "a")
    assert loop.events == []


# Bounds and the end


def test_no_more_than_so_many_wait(path: Path) -> None:
    with Loop(path, batch_seconds=NEVER, batch_writes=3, waiting_max=3) as loop:
        for name in "abc":
            loop.submit(put, name)
        with pytest.raises(StoreError, match="3 operations wait"):
            loop.submit(put, "d")
        assert loop.store.waiting == 3
        loop.until_outcomes(3)
        assert loop.store.waiting == 0
        loop.submit(names)
        loop.until_outcomes(4)
        assert loop.store.figures()["store_refused"] == 1
        assert loop.ask(names) == ["a", "b", "c"]


def test_closing_writes_and_tells_what_waits(path: Path) -> None:
    loop = Loop(path, batch_seconds=NEVER, batch_writes=1000)
    loop.submit(announce, "a")
    loop.submit(names)
    loop.close()
    assert loop.outcomes == [("a", None), (["a"], None)]
    assert ("ben", {"name": "a"}) in loop.events
    assert loop.store.waiting == 0
    assert loop.store.fileno() == -1
    assert store_threads() == []
    assert sorted(each.name for each in path.parent.iterdir()) == ["game.sqlite", "game.sqlite.lock"]
    with Loop(path) as again:
        assert again.ask(names) == ["a"]


def test_a_closed_store_takes_nothing_and_says_why(loop: Loop) -> None:
    refusals: list[str] = []

    def done(result: object, error: BaseException | None) -> None:
        try:
            loop.submit(names)
        except StoreError as refused:
            refusals.append(str(refused))

    loop.store.submit(names, (), done)
    loop.close()
    assert refusals == ["the server is shutting down"]
    with pytest.raises(StoreError, match="shutting down"):
        loop.submit(names)
    with pytest.raises(StoreError, match="shutting down"):
        loop.backup("/nowhere")
    loop.store.deliver()
    loop.store.close()
    assert loop.store.figures()["store_operations"] == 1


def test_a_disk_that_hangs_does_not_keep_the_server_from_ending(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gsrt.store.store.CLOSE_SECONDS", 0.01)
    hanging = threading.Event()
    loop = Loop(path)
    loop.submit(lambda tx: hanging.wait() and None)
    loop.close()
    (thread,) = store_threads()
    assert loop.outcomes == []
    assert "operations=1" in loop.stream.getvalue()
    hanging.set()
    thread.join()
    loop.store.deliver()
    assert loop.outcomes == []


def test_who_cannot_take_a_result_is_named_in_the_log_and_the_others_get_theirs(loop: Loop) -> None:
    def broken(result: object, error: BaseException | None) -> None:
        raise ZeroDivisionError("bug")

    loop.store.submit(names, (), broken)
    loop.submit(names)
    loop.until_outcomes(1)
    assert "ZeroDivisionError: bug" in loop.stream.getvalue()
    assert loop.store.waiting == 0


def test_a_loop_woken_for_nothing_is_no_harm(loop: Loop) -> None:
    loop.store.deliver()
    assert loop.outcomes == []


def test_figures(loop: Loop) -> None:
    loop.ask(put, "a")
    loop.ask(names)
    figures = loop.store.figures()
    assert figures["store_operations"] == 2
    assert figures["store_writes"] == figures["store_batches"] == 1
    assert figures["store_commit_worst_ms"] > 0
    assert figures["store_written_bytes"] % 4096 == 0
    assert figures["store_failures"] == figures["store_refused"] == figures["store_waiting"] == 0


def test_where_there_is_no_thread_nothing_stays_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", no_thread)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(StoreError, match="no thread for it"):
            Loop(path)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    with Loop(path) as loop:
        assert loop.ask(names) == []


def test_a_turn_may_take_some_results_and_leave_the_others(path: Path) -> None:
    with Loop(path, batch_seconds=NEVER, batch_writes=3) as loop:
        for name in "abc":
            loop.submit(put, name)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not loop.outcomes:
            assert time.monotonic() < deadline, "it never came"
            loop.store.deliver(lambda: True)
        assert loop.outcomes == [("a", None)]
        assert loop.store.has_more
        assert loop.store.waiting == 2
        loop.store.deliver()
        assert loop.outcomes == [("a", None), ("b", None), ("c", None)]
        assert not loop.store.has_more


def test_nothing_is_loaded_before_a_store_is_opened() -> None:
    code = "import sys, gsrt.store.store, gsrt.store.errors; assert 'sqlite3' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
