"""A server process and links: its command line, its status and its log, and what clients hear of its end."""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from gsrt.protocol.link import REFUSED_SUITE, SUITE_CHACHA20_POLY1305, SUITE_INSECURE
from gsrt.session import CLOSE_ENDED, CLOSE_KICKED
from tests.links.house import Client
from tests.support.server import ServerProcess, Table

DEADLINE = 20.0


class Outside:
    """The world as it is: its clock, and clients of one server."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.host = "127.0.0.1"  # where its clients believe it to be
        self.chance = random.Random(3)
        self.clients: list[Client] = []
        self.sockets: list[socket.socket] = []

    @property
    def now(self) -> float:
        return time.monotonic()

    def new_socket(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        end = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        end.connect((self.host, self.server.port))
        self.sockets.append(end)
        return end

    def client(self, table: Table, number: int, suite: int = SUITE_CHACHA20_POLY1305) -> Client:
        self.clients.append(Client(self, table.seats[number - 1].token, suite=suite))
        return self.clients[-1]

    def until(self, condition: Callable[[], object]) -> None:
        """Lets all clients do what they do until the condition holds."""
        end = self.now + DEADLINE
        while not condition():
            assert self.now < end, "it has not come about"
            for client in self.clients:
                if client.next_timer() <= self.now:
                    client.handle_timer()
                client.send_out()
            due = min([client.next_timer() for client in self.clients], default=self.now)
            select.select([client.socket for client in self.clients], [], [], min(max(due - self.now, 0), 0.05))
            for client in self.clients:
                client.take_in()

    def enter(self, table: Table, number: int, suite: int = SUITE_CHACHA20_POLY1305) -> Client:
        client = self.client(table, number, suite)
        self.until(lambda: client.heard or client.why_not)
        assert client.op_codes()[:1] == [-1], client.why_not
        return client

    def close(self) -> None:
        for each in self.sockets:
            each.close()


@pytest.fixture
def outside() -> Iterator[Callable[..., Outside]]:
    made: list[Outside] = []

    def make(server: ServerProcess) -> Outside:
        made.append(Outside(server))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_without_insecure_link_only_encrypted_ones_are_taken(outside: Callable[..., Outside]) -> None:
    with ServerProcess() as server:
        world = outside(server)
        table = server.create(2)
        refused = world.client(table, 1, SUITE_INSECURE)
        world.until(lambda: refused.why_not)
        assert refused.refusal == REFUSED_SUITE
        assert "--insecure-link" in server.log()
        world.enter(table, 1)
        counters = server.counters()
        assert counters["link_refused_suite"] >= 1  # who waits long for an answer asks again
        assert counters["link_logins"] == 1


def has_moved(server: ServerProcess, times: int) -> bool:
    return server.counters()["link_moved"] == times


class EveryAddress(ServerProcess):
    """It listens at IPv4 and IPv6."""

    host = "::"


def test_from_one_family_of_addresses_to_the_other(outside: Callable[..., Outside]) -> None:
    with EveryAddress() as server:
        world = outside(server)
        table = server.create(2)
        one = world.enter(table, 1)
        world.host = "::1"
        two = world.enter(table, 2)
        for number, host in enumerate(("::1", "127.0.0.1", "::1"), 1):
            world.host = host
            one.move()
            one.send(number, b"from here")
            world.until(lambda: two.news())
            world.until(partial(has_moved, server, number))
            two.send(number, b"to there")
            world.until(lambda: one.news())
        assert (one.ended, two.ended) == (None, None)


def test_a_session_of_both_suites_from_login_to_shutdown(outside: Callable[..., Outside]) -> None:
    with ServerProcess(arguments=("--insecure-link",)) as server:
        world = outside(server)
        table = server.create(3)
        one, two, three = (
            world.enter(table, number, SUITE_INSECURE if number % 2 else SUITE_CHACHA20_POLY1305)
            for number in (1, 2, 3)
        )
        world.until(lambda: len(one.heard) == 2)
        one.send(5, b"x" * 100_000, channel=1)
        three.send(6, b"y")
        world.until(lambda: sum(each.op_code > 0 for _, _, each in two.heard) == 2)
        assert server.control({"do": "status"})["links"] == 3
        server.kick(table, table.seats[2])
        world.until(lambda: three.ended)
        assert three.ended == (CLOSE_KICKED, "kicked")
        assert server.terminate() == 0
        world.until(lambda: one.ended and two.ended)
        assert one.ended == two.ended == (CLOSE_ENDED, "the session is over")
        assert not server.errors()
