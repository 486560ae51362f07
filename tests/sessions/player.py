"""A player of tests that look at the server, not at the client."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gsrt._core import Packet
from gsrt.client import Intent, Session
from tests.support.server import Seat, ServerProcess, Table, until

DEADLINE = 20.0  # seconds a test waits at most for what it waits for


class Player:
    """A Python client in the background, whose callbacks land in queues."""

    def __init__(self, seat: Seat, port: int, *, tls: bool = False) -> None:
        self.told: queue.Queue[bool] = queue.Queue()
        self.packets: queue.Queue[Packet] = queue.Queue()
        self.session = Session("127.0.0.1", port, seat.token, on_ready=self.told.put, on_data=self.packets.put, tls=tls)
        self.session.start_background()

    def expect_ready(self) -> None:
        assert self.told.get(timeout=DEADLINE) is True

    def expect_loss_and_return(self) -> None:
        assert self.told.get(timeout=DEADLINE) is False
        self.expect_ready()

    def expect(self, op_code: int, values: dict[int, Any], sender: int = 0) -> None:
        """The next packet is this."""
        packet = self.packets.get(timeout=DEADLINE)
        data = {} if packet.data is None else packet.data.to_dict()
        assert (packet.op_code, data, packet.sender) == (op_code, values, sender)

    def next_of(self, op_code: int) -> dict[int, Any]:
        """The data of the next packet of that opCode; others are passed over."""
        while True:
            packet = self.packets.get(timeout=DEADLINE)
            if packet.op_code == op_code:
                return {} if packet.data is None else packet.data.to_dict()

    def send(self, op_code: int, value: int = 0, intent: Intent = Intent.RELIABLE) -> None:
        assert self.session.send(op_code, intent, {1: value})


@contextmanager
def linked_players(table: Table, server: ServerProcess) -> Iterator[list[Player]]:
    """All players of a session, by link, each of whom knows of all; they stop in the end."""
    players = [Player(seat, server.port) for seat in table.seats]
    try:
        for player in players:
            player.expect_ready()
        until(lambda: all(len(player.session.active_peers) == len(players) for player in players), server)
        assert [player.session.leg for player in players] == ["link"] * len(players)
        yield players
    finally:
        for player in players:
            player.session.stop()
