"""The network is unplugged for a while: links and TCP connections go on when it is there again, and nobody was told
that somebody had gone."""

from __future__ import annotations

import fcntl
import queue
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from gsrt._core import Packet
from gsrt.client import Intent, Session
from tests.support import network
from tests.support.network import Namespace, Network
from tests.support.server import Seat, ServerProcess

UNPLUGGED_SECONDS = 1.5
DEADLINE = 20.0
OP_COUNT = 9
WHY_NOT = network.why_not()


def plug(namespace: Namespace, whether: bool) -> None:
    """Turns the device of the namespace on, or off."""
    with namespace.socket(socket.SOCK_DGRAM) as any_socket:
        name = struct.pack("16s24x", network.DEVICE)
        (flags,) = struct.unpack_from("=H", fcntl.ioctl(any_socket, network.SIOCGIFFLAGS, name), 16)
        flags = flags | network.IFF_UP if whether else flags & ~network.IFF_UP
        fcntl.ioctl(any_socket, network.SIOCSIFFLAGS, struct.pack("16sH22x", network.DEVICE, flags))


class Server(ServerProcess):
    """A server in the right namespace."""

    host = network.RIGHT_ADDRESS

    def __init__(self, where: Namespace) -> None:
        super().__init__()
        self._where = where

    def launch(self) -> None:
        with self._where.entered():
            super().launch()


class Listener:
    """A player in a namespace, and all that it is told."""

    def __init__(self, where: Namespace, server: ServerProcess, seat: Seat, *, link: bool) -> None:
        self.ready: queue.Queue[bool] = queue.Queue()
        self.gone: list[int] = []
        self.counts: dict[int, list[int]] = {}
        self.session = Session(
            network.RIGHT_ADDRESS,
            server.port,
            seat.token,
            link=link,
            on_ready=self.ready.put,
            on_data=self._take,
            on_player_disconnect=self.gone.append,
        )
        with where.entered():
            self.session.start_background()
        assert self.ready.get(timeout=DEADLINE)

    def _take(self, packet: Packet) -> None:
        if packet.data is not None:
            self.counts.setdefault(packet.sender, []).append(int(str(packet.data.to_dict()[1])))


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)  # between two looks


@pytest.fixture
def wires() -> Iterator[Network]:
    with Network("delay=1ms", seed=1) as wires:
        yield wires


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_the_network_is_unplugged_and_plugged_in_again(wires: Network) -> None:
    with Server(wires.right) as server:
        table = server.create(3)
        places = ((wires.left, True), (wires.left, False), (wires.right, False))
        players = [
            Listener(where, server, seat, link=link) for (where, link), seat in zip(places, table.seats, strict=True)
        ]
        assert [player.session.leg for player in players[:1]] == ["link"]
        number = 0

        def everyone_says_a_number() -> None:
            nonlocal number
            number += 1
            for player in players:
                player.session.send(OP_COUNT, Intent.RELIABLE, {1: number})

        def all_came() -> bool:
            expected = list(range(1, number + 1))
            return all(
                player.counts.get(other) == expected
                for peer, player in enumerate(players, 1)
                for other in {1, 2, 3} - {peer}
            )

        for _ in range(5):
            everyone_says_a_number()
        until(all_came, "nothing comes")
        plug(wires.right, False)
        end = time.monotonic() + UNPLUGGED_SECONDS
        while time.monotonic() < end:
            everyone_says_a_number()
            time.sleep(0.1)
        assert not all_came()
        plug(wires.right, True)
        everyone_says_a_number()
        until(all_came, f"not all has come: {[player.counts for player in players]}")
        assert [player.gone for player in players] == [[], [], []]
        assert all(player.ready.empty() for player in players)
        assert {server.player_state(table, peer) for peer in (1, 2, 3)} == {"ready"}
        for player in players:
            player.session.stop()
