"""Processes that write, killed at a random moment: what they had acknowledged has to be there afterwards, and nothing
by halves.

`until_killed` is for any program that says on its standard output, a line each, what it acknowledges. Run as a program
itself (`python -m tests.store.killing PATH SEED`), this module writes to a store as a game does and says so; `check`
knows what has to be there then.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gsrt.store.store import Store, Transaction

DEADLINE_SECONDS = 60.0
CURRENCY, GOOD = "gold", "hat"
FIRST_GIFT, PRICE = 100, 7


class Died(AssertionError):
    """The program has ended by itself; str() says how."""


def until_killed(command: Sequence[str], chance: random.Random, *, lines: int, seconds: float = 0.05) -> list[str]:
    """Runs COMMAND until it has said up to LINES lines and some time more, up to SECONDS, kills it with SIGKILL, and
    gives every whole line it has said. Raises Died where it ends before that."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    os.set_blocking(descriptor, False)
    said = bytearray()
    wanted, pause = chance.randint(1, lines), chance.random() * seconds
    deadline = time.monotonic() + DEADLINE_SECONDS
    kill_at = deadline
    try:
        while (now := time.monotonic()) < kill_at:
            assert now < deadline, f"it said {said.count(10)} lines only"
            if process.poll() is not None:
                raise Died(f"{' '.join(command)}: exit status {process.returncode}")
            if kill_at == deadline and said.count(b"\n") >= wanted:
                kill_at = now + pause
            said += _read(descriptor)
            time.sleep(0.001)
        assert kill_at < deadline, f"it said {said.count(10)} lines only"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.set_blocking(descriptor, True)
        said += process.stdout.read()
        process.stdout.close()
    return bytes(said[: said.rfind(b"\n") + 1]).decode().splitlines()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


# What is written: each operation touches several tables.


def register(tx: Transaction, number: int) -> str:
    player = f"p{number}"
    tx.execute(
        "INSERT INTO players(id, display_name, user_name, created, seen) VALUES (?, ?, ?, ?, ?)",
        (player, player, player, tx.now, tx.now),
    )
    tx.execute("INSERT INTO balances VALUES (?, ?, ?)", (player, CURRENCY, FIRST_GIFT))
    _enter(tx, player, "currency", CURRENCY, FIRST_GIFT, FIRST_GIFT, number)
    return f"register {number}"


def buy(tx: Transaction, number: int, player: str) -> str | None:
    row = tx.one("SELECT amount FROM balances WHERE player = ? AND currency = ?", (player, CURRENCY))
    assert row is not None, f"{player} was never registered"
    left = row[0] - PRICE
    if left < 0:
        return None
    tx.execute("UPDATE balances SET amount = ? WHERE player = ? AND currency = ?", (left, player, CURRENCY))
    _enter(tx, player, "currency", CURRENCY, -PRICE, left, number)
    row = tx.one(
        "INSERT INTO goods VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET quantity = quantity + 1 RETURNING quantity",
        (player, GOOD),
    )
    assert row is not None
    _enter(tx, player, "good", GOOD, 1, row[0], number)
    return f"buy {number}"


def _enter(tx: Transaction, player: str, kind: str, code: str, delta: int, balance: int, number: int) -> None:
    tx.execute(
        "INSERT INTO ledger(player, kind, code, delta, balance, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (player, kind, code, delta, balance, str(number), tx.now),
    )


def check(path: Path | str, acknowledged: Iterable[str]) -> int:
    """Asserts that the database at PATH holds all that was ACKNOWLEDGED, and nothing by halves. Gives the number of
    operations it holds."""
    from gsrt.store.database import open_database

    connection, lock = open_database(str(path))
    try:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            return connection.execute(sql).fetchall()

        assert rows("PRAGMA integrity_check") == [("ok",)]
        assert rows("PRAGMA foreign_key_check") == []
        entries: dict[str, list[str]] = {}
        for number, kind in rows("SELECT reason, kind FROM ledger ORDER BY id"):
            entries.setdefault(number, []).append(kind)
        players = {player for (player,) in rows("SELECT id FROM players")}
        registered = {number for number in entries if f"p{number}" in players}
        assert {f"p{number}" for number in registered} == players, "a player without the first gift"
        for number, kinds in entries.items():
            expected = ["currency"] if number in registered else ["currency", "good"]
            assert kinds == expected, f"operation {number} is there by halves: {kinds}"
        for line in acknowledged:
            what, number = line.split()
            assert number in entries, f"{line!r} was acknowledged, and is lost"
            assert (what == "register") == (number in registered)
        sums = "SELECT player, code, sum(delta) FROM ledger WHERE kind = '{}' GROUP BY player, code ORDER BY 1, 2"
        assert rows("SELECT * FROM balances ORDER BY 1, 2") == rows(sums.format("currency")), "balances"
        assert rows("SELECT * FROM goods ORDER BY 1, 2") == rows(sums.format("good")), "goods"
        return len(entries)
    finally:
        connection.close()
        lock.release()


def main() -> None:
    """Writes to the store at PATH without end, as random as SEED, and says what was acknowledged."""
    import select

    from gsrt.log import Log

    path, seed = sys.argv[1], sys.argv[2]
    chance = random.Random(seed)
    store = Store(
        path,
        wall=time.time,
        entropy=chance.randbytes,
        log=Log(sys.stderr, time.monotonic),
        batch_seconds=chance.choice([0.0, 0.001, 0.02]),
        batch_writes=chance.choice([1, 5, 256]),
        waiting_max=100,
    )
    first = time.time_ns()  # a number of its own for each operation of each run
    players: list[str] = []

    def registered(line: str, error: BaseException | None) -> None:
        tell(line, error)
        players.append(f"p{line.split()[1]}")

    def tell(line: str | None, error: BaseException | None) -> None:
        assert error is None, error
        if line is not None:
            os.write(1, f"{line}\n".encode())

    number = first
    while True:
        while store.waiting < 50:
            number += 1
            if players and chance.random() < 0.8:
                store.submit(buy, (number, chance.choice(players)), tell)
            else:
                store.submit(register, (number,), registered)
        select.select([store], [], [])
        store.deliver()


if __name__ == "__main__":
    main()
