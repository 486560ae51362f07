"""A server that hands over to its successor while it is played: nobody is told, nothing is lost or comes twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from gsrt.client import Intent
from tests.doubles.base import Double
from tests.doubles.driver import Driver
from tests.doubles.writers import Intent as DoubleIntent
from tests.sessions.match import Match
from tests.sessions.player import DEADLINE, Player
from tests.support.server import ServerProcess

LISTENS = "info listening "
NUMBERED = 5
FAST = 6
TIMES = 3  # in a row: what was handed over once can be handed over again


class YieldingServer(ServerProcess):
    """A server whose place is taken by its successor."""

    def hand_over(self) -> None:
        """It begins; has_arrived() tells the end."""
        self.arrivals = self._count()
        self.process.send_signal(signal.SIGUSR2)

    def has_arrived(self) -> bool:
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log()}"
        return self._count() > self.arrivals

    def _count(self) -> int:
        return sum(line.startswith(LISTENS) for line in self.log_path.read_text().splitlines())


@pytest.fixture
def server(certificate: tuple[str, str]) -> Iterator[YieldingServer]:
    with YieldingServer(certificate=certificate, overrides={"grace_seconds": 20}) as server:
        yield server  # type: ignore[misc]


def numbers(double: Double, sender: int) -> list[int]:
    return [
        int.from_bytes(event.payload or b"", "big") for event in double.of_op_code(NUMBERED) if event.sender == sender
    ]


def play_on_through(match: Match, server: YieldingServer, doubles: list[Double], sent: Iterator[int]) -> int:
    """Everybody sends numbered packets to all until the server has handed over: how many each has sent in all."""
    server.hand_over()
    number = 0

    def arrived() -> bool:
        nonlocal number
        number = next(sent)
        for double in doubles:
            assert double.send(NUMBERED, payload=number.to_bytes(4, "big")) > 0, double.describe()
        return server.has_arrived()

    match.driver.run_until(arrived, "the hand-over", DEADLINE, longest_wait=0.005)
    return number


@pytest.mark.parametrize(
    "kinds",
    [("cpp-plain", "cs-plain"), ("cs-ws", "js-ws", "xbox-ws"), ("cpp-plain", "js-ws")],
    ids=["tcp+udp", "websocket", "mixed"],
)
def test_clients_notice_nothing(server: YieldingServer, driver: Driver, kinds: tuple[str, ...]) -> None:
    match = Match(server, driver, len(kinds))
    doubles = match.all_ready(kinds)
    sent = count()
    last = 0
    for _ in range(TIMES):
        last = play_on_through(match, server, doubles, sent)

    match.barrier()

    for double in doubles:
        assert double.told("player disconnect") == [], double.describe()
        assert [event for event in double.events if event.kind == "not ready"] == []
        for sender in {each.peer_id for each in doubles} - {double.peer_id}:
            assert numbers(double, sender) == list(range(last + 1))
    match.no_violations()


def test_the_udp_leg_goes_on(server: YieldingServer, driver: Driver) -> None:
    match = Match(server, driver, 2)
    one, other = match.all_ready(("cpp-plain", "cs-plain"))

    play_on_through(match, server, [one, other], count())
    before = server.counters()["udp_logins"]
    for sender, receiver in ((one, other), (other, one)):
        sender.send(FAST, DoubleIntent.UNRELIABLE, payload=b"quick")
        driver.run_until(lambda: bool(receiver.of_op_code(FAST)), "an unreliable packet")  # noqa: B023

    assert [event.leg for event in (*one.of_op_code(FAST), *other.of_op_code(FAST))] == ["datagram"] * 2
    assert server.counters()["udp_logins"] == before == 0


def until(condition: object, server: ServerProcess) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, f"it has not come about:\n{server.log()}"
        time.sleep(0.005)  # between two looks


def test_links_go_on(server: YieldingServer) -> None:
    table = server.create(2)
    players = [Player(seat, server.port) for seat in table.seats]
    try:
        for player in players:
            player.expect_ready()
            until(lambda: len(player.session.active_peers) == 2, server)  # noqa: B023
            assert player.session.leg == "link"
        number = count()
        last = 0
        for _ in range(TIMES):
            server.hand_over()
            end = time.monotonic() + DEADLINE
            while not server.has_arrived():
                assert time.monotonic() < end, server.log()
                last = next(number)
                for player in players:
                    player.send(NUMBERED, last)
                    player.session.send(FAST, Intent.UNRELIABLE_SEQUENCED, {1: last})
                time.sleep(0.005)  # a game's pace
        for player in players:
            player.send(NUMBERED + 2)
        for player in players:
            got: list[int] = []
            fast: list[int] = []
            while True:
                packet = player.packets.get(timeout=DEADLINE)
                if packet.op_code == NUMBERED + 2:
                    break
                number_sent = packet.data.get_long(1) if packet.data is not None else None
                assert number_sent is not None
                (got if packet.op_code == NUMBERED else fast).append(number_sent)
            assert got == list(range(last + 1))
            assert fast == sorted(set(fast))
            assert player.told.empty()
            assert player.session.leg == "link"
    finally:
        for player in players:
            player.session.stop()


def test_players_with_tls_come_back_unnoticed(server: YieldingServer, driver: Driver) -> None:
    match = Match(server, driver, 2)
    secure, plain = match.all_ready(("cs", "cs-plain"))

    server.hand_over()
    driver.run_until(server.has_arrived, "the hand-over", DEADLINE)
    driver.run_until(lambda: secure.logins == 2 and secure.ready, "the return", DEADLINE)
    match.barrier([secure, plain])

    assert plain.told("player disconnect") == []


def test_who_was_away_may_still_come_back(server: YieldingServer, driver: Driver) -> None:
    match = Match(server, driver, 2)
    here = match.ready("cs-plain", 1)
    away = match.ready_probe(2)
    away.stream.reset()
    match.until_state(2, "absent")
    here.send(NUMBERED, payload=b"kept")

    play_on_through(match, server, [here], count(1))
    back = match.client("cs-plain", 2)
    driver.run_until(lambda: bool(back.of_op_code(NUMBERED)), "what was held")

    assert (back.of_op_code(NUMBERED)[0].payload, here.told("player disconnect")) == (b"kept", [])


def test_a_script_begins_anew_and_knows_who_is_here(server: YieldingServer, driver: Driver, tmp_path: Path) -> None:
    script = tmp_path / "who.py"
    script.write_text(
        "def on_restore():\n    session.send(7, {1: len(session.get_players())}, reliable=True)\n"
        "@session.on_packet(8)\n"
        "def ask(packet):\n    session.send(9, {1: len(session.get_players())}, reliable=True)\n"
    )
    match = Match(server, driver, 2)
    match.table = server.create(2, script=str(script))
    one, other = match.all_ready(("cs-plain", "js-ws"))

    play_on_through(match, server, [one, other], count())
    one.send(8)
    driver.run_until(lambda: bool(one.of_op_code(9)) and bool(other.of_op_code(7)), "the script's words")

    assert {event.data for event in (*one.of_op_code(9), *other.of_op_code(7))} == {one.of_op_code(9)[0].data}
    assert one.told("player disconnect") == []
