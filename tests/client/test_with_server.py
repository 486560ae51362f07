"""The Python client against the real server: over the link, over TCP with UDP, and over TLS."""

from __future__ import annotations

import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gsrt._core import Packet
from gsrt.client import Data, Intent, Session
from tests.client.scripted_server import DEADLINE
from tests.client.terminal import Terminal
from tests.support.server import Seat, ServerProcess, Table


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(overrides={"grace_seconds": 10}) as server:
        yield server


class Player:
    """A session in the background whose callbacks land in a queue."""

    def __init__(self, seat: Seat, port: int, *, tls: bool = False, link: bool | None = None) -> None:
        self.told: queue.Queue[tuple[str, object]] = queue.Queue()
        self.packets: queue.Queue[Packet] = queue.Queue()
        self.session = Session(
            "127.0.0.1",
            port,
            seat.token,
            on_ready=lambda ready: self.told.put(("ready", ready)),
            on_data=self.packets.put,
            on_player_connect=lambda peer_id: self.told.put(("connect", peer_id)),
            on_player_disconnect=lambda peer_id: self.told.put(("disconnect", peer_id)),
            tls=tls,
            link=link,
        )
        self.session.start_background()

    def expect(self, *told: object) -> None:
        assert self.told.get(timeout=DEADLINE) == told

    def packet(self) -> Packet:
        return self.packets.get(timeout=DEADLINE)


Join = Callable[..., Player]


@pytest.fixture
def join() -> Iterator[Join]:
    players: list[Player] = []

    def join(seat: Seat, port: int, **options: bool) -> Player:
        players.append(Player(seat, port, **options))
        return players[-1]

    yield join
    for player in players:
        player.session.stop()


@pytest.fixture
def table(server: ServerProcess) -> Iterator[Table]:
    table = server.create(3)
    yield table
    if table.session_id in server.session_ids():
        server.end(table)


LEGS = {"link": {"link": True}, "tcp": {"link": False}, "tls": {"tls": True}}
every_leg = pytest.mark.parametrize("leg", LEGS)
link_and_legacy = pytest.mark.parametrize("leg", ["link", "tcp"])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def joined(join: Join, table: Table, count: int, port: int = 0, **options: bool) -> list[Player]:
    """The first `count` players, one after the other, all of them told of each other."""
    players: list[Player] = []
    for seat in table.seats[:count]:
        player = join(seat, port or table.port, **options)
        player.expect("ready", True)
        for other in players:
            other.expect("connect", seat.peer_id)
        players.append(player)
    return players


@every_leg
def test_every_intent_between_two(join: Join, table: Table, leg: str) -> None:
    red, blue = joined(join, table, 2, **LEGS[leg])
    assert red.session.leg.startswith(leg)
    assert (red.session.peer_id, blue.session.peer_id) == (1, 2)
    assert sorted(red.session.active_peers) == sorted(blue.session.active_peers) == [1, 2]
    data = Data({1: "text", 2: 2.5, 3: (1.0, 2.0), 4: Data({5: -1})})
    for op_code, intent in enumerate(Intent, start=10):
        assert red.session.send(op_code, intent, data=data, payload=b"payload") > 0
        packet = blue.packet()
        assert (packet.op_code, packet.sender, packet.data, packet.payload) == (op_code, 1, data, b"payload")
    blue.session.send(20, peers=[1])
    assert (red.packet().op_code, blue.packets.empty()) == (20, True)


@link_and_legacy
def test_targets_and_the_server_alone(join: Join, table: Table, leg: str) -> None:
    first, second, third = joined(join, table, 3, **LEGS[leg])
    first.session.send(5, peers=[3])
    first.session.send(6, peers=[0])
    first.session.send(7)
    assert [third.packet().op_code for _ in range(2)] == [5, 7]
    assert second.packet().op_code == 7
    assert (first.packets.empty(), second.packets.empty()) == (True, True)


@link_and_legacy
def test_many_in_order_and_large_ones(join: Join, table: Table, leg: str) -> None:
    red, blue = joined(join, table, 2, **LEGS[leg])
    for number in range(50):
        red.session.send(1 + number, payload=bytes([number]) * 8_000)
        time.sleep(0.005)  # below the rate that the server allows
    for number in range(50):
        packet = blue.packet()
        assert (packet.op_code, packet.payload) == (1 + number, bytes([number]) * 8_000)
    assert red.session.send(60, Intent.UNRELIABLE, payload=b"x" * 2_000)  # too large for a datagram
    assert blue.packet().op_code == 60


@link_and_legacy
def test_leaving_is_told_at_once_and_coming_back_too(join: Join, table: Table, leg: str) -> None:
    red, blue = joined(join, table, 2, **LEGS[leg])
    blue.session.send(5)
    blue.session.stop()
    assert red.packet().op_code == 5
    red.expect("disconnect", 2)
    assert red.session.active_peers == (1,)
    blue.session.start_background()
    blue.expect("ready", True)
    red.expect("connect", 2)
    assert blue.session.peer_id == 2


def test_a_loss_within_the_grace_period_goes_unnoticed(server: ServerProcess, join: Join, table: Table) -> None:
    [red] = joined(join, table, 1)
    with Tunnel(table.port) as tunnel:
        blue = join(table.seats[1], tunnel.port, link=False)
        blue.expect("ready", True)  # without UDP, for which the tunnel has no room
        red.expect("connect", 2)
        tunnel.hold = True
        tunnel.cut()
        blue.expect("ready", False)
        until(lambda: server.player_state(table, 2) == "absent")  # what is sent before that is lost on the way
        for number in range(20):
            red.session.send(1 + number)
        tunnel.hold = False
        blue.expect("ready", True)
        assert [blue.packet().op_code for _ in range(20)] == list(range(1, 21))
        blue.session.send(30)
        assert red.packet().op_code == 30
        assert red.told.empty()
        blue.session.stop()


@link_and_legacy
def test_a_wrong_token_and_a_kicked_player(server: ServerProcess, join: Join, table: Table, leg: str) -> None:
    stranger = join(Seat("nobody", 0, "x" * 40), table.port, **LEGS[leg])
    until(lambda: stranger.session.refusals > 0)
    assert stranger.told.empty()
    red, blue = joined(join, table, 2, **LEGS[leg])
    server.kick(table, table.seats[1])
    blue.expect("ready", False)
    red.expect("disconnect", 2)
    until(lambda: blue.session.refusals > 0)
    assert red.session.active_peers == (1,)


@link_and_legacy
def test_update_every_frame(table: Table, leg: str) -> None:
    heard: list[int] = []
    sessions = [
        Session(
            "127.0.0.1",
            table.port,
            seat.token,
            on_data=lambda packet: heard.append(packet.op_code),
            link=leg == "link",
        )
        for seat in table.seats[:2]
    ]
    for session in sessions:
        session.start()

    def frame() -> None:
        for session in sessions:
            session.update()
        time.sleep(0.001)

    deadline = time.monotonic() + DEADLINE
    while not all(session.ready and len(session.active_peers) == 2 for session in sessions):
        assert time.monotonic() < deadline
        frame()
    sessions[0].send(5)
    sessions[1].send(6, Intent.UNRELIABLE)
    while sorted(heard) != [5, 6]:
        assert time.monotonic() < deadline
        frame()
    for session in sessions:
        session.stop()


@pytest.mark.parametrize(
    ("option", "words"),
    [("--link", "the link"), ("--legacy", "TCP and UDP"), ("--tls", "TLS and UDP"), (None, "the link")],
)
def test_two_terminals(table: Table, option: str | None, words: str) -> None:
    terminals = []
    try:
        for seat in table.seats[:2]:
            terminals.append(Terminal("127.0.0.1", str(table.port), seat.token, *([option] if option else [])))
            terminals[-1].expect("* connecting")
            terminals[-1].expect(f"* ready over {words}: you are peer")
        red, blue = terminals
        red.expect("* peer 2 connected; here: 1, 2")
        red.type("hello")
        blue.expect('< opCode 1 from peer 1, data {"1": "hello"}')
        blue.type("/channel 3 /op 5 quick")
        red.expect('< opCode 5 from peer 2, data {"1": "quick"}')
        blue.type("/quality")
        blue.expect("* round trip" if words == "the link" else "* only the link measures")
        blue.type("/quit")
        assert blue.status() == 0
        red.expect("* peer 2 disconnected; here: 1")
        red.end_input()
        assert red.status() == 0
    finally:
        for terminal in terminals:
            terminal.end()


class Tunnel:
    """A TCP way to the server that can be cut in disorder, both ends at once; while `hold`, new ones are cut too."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.hold = False
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Tunnel:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            end.close()
        for thread in self._threads:
            thread.join(DEADLINE)

    def cut(self) -> None:
        """Reset what is open."""
        for end in self._ends:
            if end.fileno() >= 0:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()
        self._ends.clear()

    def _run(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.hold:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                near.close()
                continue
            far = socket.create_connection(self._target, DEADLINE)
            for end in (near, far):
                end.settimeout(0.05)
                self._ends.append(end)
            self._run(self._carry, near, far)
            self._run(self._carry, far, near)

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        while True:
            try:
                received = source.recv(65_536)
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                if not received:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(received)
            except OSError:
                return
