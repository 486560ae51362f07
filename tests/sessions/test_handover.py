"""A server that hands over to its successor while it is played: nobody is told, nothing is lost or comes twice."""

from __future__ import annotations

import os
import queue
import resource
import signal
import socket
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from gsrt.client import Intent, Session
from gsrt.protocol.link import SUITE_CHACHA20_POLY1305, ClientHandshake, Established
from tests.doubles.base import Double
from tests.doubles.driver import Driver
from tests.doubles.writers import Intent as DoubleIntent
from tests.sessions.match import Match
from tests.sessions.player import DEADLINE, linked_players
from tests.support import wire
from tests.support.server import ServerProcess, until
from tests.support.wire import Packet

LISTENS = "info listening "
NUMBERED = 5
FAST = 6
TIMES = 3  # in a row: what was handed over once can be handed over again


class YieldingServer(ServerProcess):
    """A server whose place is taken by its successor."""

    def __enter__(self) -> YieldingServer:
        self.start()
        return self

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
        yield server


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
    doubles = match.all_ready(kinds, pace=1.0)  # an SDK's own patience with a ping
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


def test_links_go_on(server: YieldingServer) -> None:
    with linked_players(server.create(2), server) as players:
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


def test_a_handshake_of_the_link_goes_on(server: YieldingServer) -> None:
    (seat,) = server.create(1).seats
    handshake = ClientHandshake(seat.token, SUITE_CHACHA20_POLY1305, os.urandom)
    handshake.start(time.monotonic())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(DEADLINE)
        client.connect((server.host, server.port))
        for is_old in (True, False):
            for datagram in handshake.datagrams_to_send():
                client.send(datagram)
            handshake.receive(client.recv(2048), time.monotonic())
            if is_old:
                server.hand_over()
                until(lambda: "info handed over " in server.log(), server)  # what is sent now is the new one's

    assert isinstance(handshake.outcome, Established)
    until(server.has_arrived, server)
    counters = server.counters()
    assert (counters["link_entries"], counters["link_refused_cookie"]) == (1, 0)
    server.hand_over()
    until(server.has_arrived, server)
    assert server.control({"do": "status"})["links"] == 1  # it is waited for


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


# What may come at a bad moment.


def test_who_is_about_to_log_in_goes_along_and_few_descriptors_are_enough(driver: Driver) -> None:
    others = 24
    with YieldingServer(open_files=others + 26) as server:  # far from two for each
        match = Match(server, driver, 2)
        here = match.ready("cs-plain", 1)
        coming = match.probe("ws", "coming")
        half = match.probe("tcp", "half")
        secret = wire.encode_login(match.token(2).encode())
        login = wire.frame(wire.encode_packet(Packet(wire.OP_LOGIN, payload=secret)))
        half.send(login[:9])
        crowd = [match.probe("tcp", f"other {index}") for index in range(others - 3)]
        until(lambda: server.control({"do": "status"})["connections"] == others, server)

        play_on_through(match, server, [here], count())
        half.send(login[9:])
        driver.run_until(lambda: bool(half.login_results()), "the login")
        coming.log_in(match.token(2))
        driver.run_until(lambda: bool(coming.login_results()), "the login that takes its place")

        assert [each.ended for each in crowd] == [None] * len(crowd)
        assert (here.told("player disconnect"), here.logins) == ([], 1)


def test_signals_that_come_meanwhile_do_no_harm(server: YieldingServer, driver: Driver) -> None:
    match = Match(server, driver, 2)
    doubles = match.all_ready(("cs-plain", "js-ws"))

    server.hand_over()

    def arrived() -> bool:
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP):
            server.process.send_signal(number)
        return server.has_arrived()

    driver.run_until(arrived, "the hand-over", DEADLINE, longest_wait=0.005)
    match.barrier()

    assert [(each.told("player disconnect"), each.logins) for each in doubles] == [([], 1)] * 2


@pytest.mark.parametrize("wait", [0.0, 0.03, 0.1], ids=["at once", "soon", "later"])
def test_a_stop_that_comes_meanwhile_is_heeded(wait: float) -> None:
    with YieldingServer() as server:
        server.create(1)
        server.hand_over()
        time.sleep(wait)  # into this or that part of it
        assert server.terminate() == 0
        assert server.log_path.read_text().splitlines()[-1] == "info stopped"
        server.start()


def test_where_it_cannot_be_told_who_is_in_the_sessions_live_on(driver: Driver) -> None:
    with YieldingServer(overrides={"grace_seconds": 20}) as server:
        server.allowed_errors = ("error players have to come back by themselves",)
        match = Match(server, driver, 3)
        doubles = match.all_ready(("cs-plain", "cs-plain"))
        match.logged_in(3)
        for _ in range(40):
            doubles[0].send(NUMBERED, payload=bytes(1000))  # held for the one who is not ready
        match.barrier()
        least = 30_000  # bytes of any file: the log and the sessions have room, what is held has not
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (least, least))

        server.hand_over()
        driver.run_until(server.has_arrived, "the next program", DEADLINE)
        driver.run_until(lambda: all(each.logins == 2 and each.ready for each in doubles), "the return")
        match.barrier(doubles)

        assert server.session_ids() == [match.table.session_id]


def test_a_hand_over_leaves_nothing_open(server: YieldingServer, driver: Driver) -> None:
    match = Match(server, driver, 2)
    match.all_ready(("cs-plain", "js-ws"))

    def descriptors() -> list[str]:
        folder = Path(f"/proc/{server.process.pid}/fd")
        return sorted(os.readlink(each).partition(":[")[0] for each in list(folder.iterdir()))

    open_then = []
    for _ in range(TIMES):
        server.hand_over()
        driver.run_until(server.has_arrived, "the hand-over", DEADLINE)
        match.barrier()
        open_then.append(descriptors())

    assert open_then == [open_then[0]] * TIMES


def test_a_demo_goes_on_and_says_nothing(certificate: tuple[str, str]) -> None:
    with YieldingServer(certificate=certificate, arguments=("--demo", "red,blue")) as server:
        sessions = server.session_ids()
        server.hand_over()
        until(server.has_arrived, server)

        assert server.session_ids() == sessions
        assert server.log_path.read_text().count("A session is open.") == 1


class SixServer(YieldingServer):
    """At an address of IPv6."""

    host = "::1"


def test_a_contained_server_of_ipv6(certificate: tuple[str, str]) -> None:
    with SixServer(certificate=certificate, arguments=("--contain",)) as server:
        table = server.create(2)
        packets: queue.Queue[object] = queue.Queue()
        told: queue.Queue[bool] = queue.Queue()
        players = [
            Session(server.host, server.port, seat.token, on_ready=told.put, on_data=packets.put, link=link)
            for seat, link in zip(table.seats, (True, False), strict=True)
        ]
        try:
            for player in players:
                player.start_background()
                assert told.get(timeout=DEADLINE)
            for number in range(1, TIMES + 1):
                server.hand_over()
                until(server.has_arrived, server)
                assert server.control({"do": "status"})["handOver"]["players"] == 2
                for player in players:
                    player.send(number, peers=[3 - (player.peer_id or 0)])
                    packets.get(timeout=DEADLINE)
            assert told.empty() and packets.empty()
            filters = Path(f"/proc/{server.process.pid}/status").read_text().partition("Seccomp_filters:\t")[2]
            assert int(filters.split()[0]) <= 1  # it is contained as before, not each time once more
        finally:
            for player in players:
                player.stop()
