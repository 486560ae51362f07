"""The link in real time: real clients, a real server, and a bad network of namespaces between them."""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gsrt._core import Packet
from gsrt.client import Intent, Session
from tests.link import c_client
from tests.link.c_client import CLink
from tests.support import network
from tests.support.network import RIGHT_ADDRESS, Namespace, Network
from tests.support.server import ServerProcess

CONDITIONS = "loss=5% loss_burst=2 delay=15ms jitter=20ms reorder=2% duplicate=2% corrupt=0.5%"
OTHER_ADDRESS = "10.77.0.9"
DEADLINE = 60.0  # seconds for all that a machine may be slow at; it takes about ten
PATIENCE = 0.005  # seconds without a datagram before clocks are looked at
OP_CODE = 7
UNORDERED = 16  # in place of a channel
STREAMS = (0, 1, 2, 15, UNORDERED)
MESSAGES = 400  # of each player
EVERY = 0.02  # seconds from one to the next of them
ROAM_AT, BLACKOUT_AT = 100, 180  # messages
HEAD = struct.Struct("<HI")  # stream, number within it


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if reason := network.why_not():
        pytest.skip(reason)
    return c_client.build(tmp_path_factory.getbasetemp() / "c_client")


def payload_of(stream: int, number: int) -> bytes:
    """Some of the messages are so long that they are cut into pieces."""
    size = 20_000 if number == 33 else 3_000 if number % 16 == 5 else 40
    return HEAD.pack(stream, number) + bytes([number % 251]) * size


class Inbox:
    """What came to one player, by sender and stream, and what it was told of the others."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[int, int], list[int]] = {}
        self.complaints: list[str] = []
        self.count = 0

    def take(self, sender: int, payload: bytes | None) -> None:
        assert payload is not None
        stream, number = HEAD.unpack_from(payload)
        if payload != payload_of(stream, number):
            self.complaints.append(f"message {number} of stream {stream} from {sender} has changed")
        self.numbers.setdefault((sender, stream), []).append(number)
        self.count += 1

    def gone(self, peer: int) -> None:
        self.complaints.append(f"told that peer {peer} has gone")

    def ready(self, whether: bool) -> None:
        if not whether:
            self.complaints.append("told that the connection is lost")


class PythonPlayer:
    """gsrt.client over the link."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self.inbox = Inbox()
        self._session = Session(
            host,
            port,
            token,
            link=True,
            on_ready=self.inbox.ready,
            on_data=lambda packet: self.inbox.take(packet.sender or 0, packet.payload),
            on_player_disconnect=self.inbox.gone,
        )
        self._session.start()

    @property
    def known(self) -> int:
        return len(self._session.active_peers) if self._session.ready else 0

    @property
    def peer_id(self) -> int:
        return self._session.peer_id

    def send(self, stream: int, payload: bytes) -> bool:
        if stream == UNORDERED:
            return bool(self._session.send(OP_CODE, Intent.RELIABLE_UNORDERED, payload=payload))
        return bool(self._session.send(OP_CODE, payload=payload, channel=stream))

    def advance(self) -> None:
        self._session.update()

    def close(self) -> None:
        self._session.stop()


class CPlayer:
    """The C client, with this class for the program around it."""

    def __init__(self, module: Any, host: str, port: int, token: str) -> None:
        self.inbox = Inbox()
        self.known = self.peer_id = 0
        self._lib = module.lib
        self._address = (host, port)
        self._link = CLink(module, token, seed=5)
        self._socket = self._opened()
        self._link.connect(time.monotonic())

    def _opened(self) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.connect(self._address)
        return opened

    def send(self, stream: int, payload: bytes) -> bool:
        kind = self._lib.GSRT_LINK_UNORDERED if stream == UNORDERED else self._lib.GSRT_LINK_ORDERED
        packet = Packet(OP_CODE, payload=payload).encode()
        channel = 0 if stream == UNORDERED else stream
        return self._link.send(packet, kind, channel, time.monotonic()) == int(self._lib.GSRT_LINK_SENT)

    def advance(self) -> None:
        now = time.monotonic()
        with contextlib.suppress(OSError):  # nothing more, or the address of the socket is no more
            while True:
                self._link.receive_datagram(self._socket.recv(2048), now)
                self._take_events()
        if self._link.next_timer() <= now:
            self._link.handle_timer(now)
            self._take_events()
        for datagram in self._link.datagrams_to_send(now):
            with contextlib.suppress(OSError):
                self._socket.send(datagram)

    def _take_events(self) -> None:
        while (event := self._link.next_event()) is not None:
            if event.type == self._lib.GSRT_LINK_EVENT_READY:
                self.peer_id = event.peer
                self.known = len(event.peers)
            elif event.type == self._lib.GSRT_LINK_EVENT_PEER_CONNECTED:
                self.known = len(event.peers)
            elif event.type == self._lib.GSRT_LINK_EVENT_MESSAGE:
                self.inbox.take(event.sender, event.payload)
            elif event.type == self._lib.GSRT_LINK_EVENT_SILENT:
                self._socket.close()
                self._socket = self._opened()
                self._link.path_changed(time.monotonic())
            elif event.type == self._lib.GSRT_LINK_EVENT_PEER_DISCONNECTED:
                self.inbox.gone(event.peer)
            else:
                self.inbox.complaints.append(f"the link ended: {event.text}")

    def close(self) -> None:
        self._link.close(int(self._lib.GSRT_LINK_CLOSE_LEFT), "", time.monotonic())
        self.advance()
        self._socket.close()


Player = PythonPlayer | CPlayer


def change_address(namespace: Namespace, address: str) -> None:
    """The namespace has another address from now on, as a computer that was taken to another network."""
    with namespace.socket(socket.SOCK_DGRAM) as any_socket:
        for request, host in ((network.SIOCSIFADDR, address), (network.SIOCSIFNETMASK, network.NETMASK)):
            value = struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(host))
            fcntl.ioctl(any_socket, request, struct.pack("16s24s", network.DEVICE, value))


def drive(players: list[Player], until: Callable[[], bool], what: str) -> None:
    """Lets time pass until the condition holds."""
    deadline = time.monotonic() + DEADLINE
    while not until():
        for player in players:
            player.advance()
        assert time.monotonic() < deadline, f"not within {DEADLINE:g} s: {what}"
        select.select([], [], [], PATIENCE)


@contextlib.contextmanager
def table(bad: Network, module: Any) -> Iterator[tuple[ServerProcess, list[Player]]]:
    """A server on the right, and two players in Python and one in C on the left, who know of each other."""
    with contextlib.ExitStack() as stack:
        with bad.right.entered():
            server = stack.enter_context(ServerProcess(arguments=("--host", "0.0.0.0")))
        stack.enter_context(bad.left.entered())
        tokens = [seat.token for seat in server.create(3).seats]
        players: list[Player] = [PythonPlayer(RIGHT_ADDRESS, server.port, token) for token in tokens[:2]]
        players.append(CPlayer(module, RIGHT_ADDRESS, server.port, tokens[2]))
        for player in players:
            stack.callback(player.close)
        drive(players, lambda: all(player.known == len(players) for player in players), "all know of each other")
        yield server, players


def test_reliable_messages_arrive_once_and_in_order_whatever_happens_to_the_way(module: Any) -> None:
    began = time.monotonic()
    with Network(CONDITIONS, seed=4) as bad, table(bad, module) as (server, players):
        traffic_began = time.monotonic()
        sent = 0

        def all_sent() -> bool:
            nonlocal sent
            while sent < MESSAGES and time.monotonic() >= traffic_began + sent * EVERY:
                stream, number = STREAMS[sent % len(STREAMS)], sent // len(STREAMS)
                for player in players:
                    assert player.send(stream, payload_of(stream, number))
                sent += 1
                if sent == ROAM_AT:
                    change_address(bad.left, OTHER_ADDRESS)
                elif sent == BLACKOUT_AT:
                    bad.change(f"{CONDITIONS} blackout=2s@{time.monotonic() - began:.1f}s")
            return sent == MESSAGES

        drive(players, all_sent, "all is sent")
        everything = MESSAGES * (len(players) - 1)
        drive(players, lambda: all(player.inbox.count >= everything for player in players), "all has come")

        for player in players:
            assert player.inbox.complaints == []
            assert player.inbox.count == everything
            for other in players:
                for stream in STREAMS:
                    numbers = player.inbox.numbers.get((other.peer_id, stream), [])
                    came = sorted(numbers) if stream == UNORDERED else numbers
                    assert came == ([] if other is player else list(range(MESSAGES // len(STREAMS))))
        assert server.counters()["link_moved"] >= len(players)
        counters = bad.counters()
        for direction in ("left", "right"):
            assert all(counters[direction][what] for what in ("lost", "blacked_out", "duplicated", "reordered"))
