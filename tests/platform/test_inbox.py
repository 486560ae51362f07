"""Messages that wait to be heard: bounded, in order, none lost, and no burden on players of sessions."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gsrt import connections as module
from tests.platform.client import DEADLINE, PlatformClient
from tests.platform.server import PlatformServer
from tests.relay.rig import OP_LOGIN, OP_READY, packet
from tests.support import wire

Servers = Callable[..., PlatformServer]

INBOX_MAX = 16


class Gate:
    """Lets the server hear messages, so many in a turn, or none at all."""

    def __init__(self, server: PlatformServer) -> None:
        self.at_once = 0
        self.most = self.most_characters = 0
        self._connections = server.connections
        self._work = server.connections.work
        server.connections.work = self.work  # type: ignore[method-assign]

    def work(self, enough: Callable[[], bool]) -> None:
        inbox = self._connections._inbox
        self.most = max(self.most, len(inbox))
        self.most_characters = max(self.most_characters, self._connections._inbox_characters)
        left = [0] * self.at_once

        def is_enough() -> bool:
            left.pop()
            return not left

        if left:
            self._work(is_enough)


def ids_of_answers(client: PlatformClient, count: int) -> list[str]:
    """The requestIds of the next answers, in the order in which they come."""
    return [json.loads(client.socket.receive_text())["requestId"] for _ in range(count)]


def in_threads(*work: Callable[[], Any]) -> list[threading.Thread]:
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    return threads


def signed_in(server: PlatformServer, count: int, stack: contextlib.ExitStack) -> list[PlatformClient]:
    clients = [stack.enter_context(server.client()) for _ in range(count)]
    for number, client in enumerate(clients):
        client.sign_in_device(f"d{number}")
    return clients


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Callable[[PlatformServer], Gate]:
    monkeypatch.setattr(module, "INBOX_MAX", INBOX_MAX)
    return Gate


def test_many_messages(servers: Servers, gate: Callable[[PlatformServer], Gate]) -> None:
    server = servers(platform_messages_burst=1000, requests_waiting_max=1000)
    with contextlib.ExitStack() as stack:
        clients = signed_in(server, 6, stack)
        closed = gate(server)
        asked = [[client.begin("NoSuchRequest", n=n) for n in range(50)] for client in clients]
        server.until(lambda: server.relay.texts_held)
        server.until(lambda: server.relay.paused_count == len(clients))
        waiting = server.run(lambda: len(server.connections._inbox))
        assert waiting == INBOX_MAX // 2 + 1
        closed.at_once = 2
        for client, ids in zip(clients, asked, strict=True):
            assert ids_of_answers(client, len(ids)) == ids
        assert closed.most <= INBOX_MAX // 2 + 1
        server.until(lambda: not server.relay.texts_held and not server.relay.paused_count)
        assert server.connections.counts()["platform_inbox_full"] > 0


def test_large_messages(
    servers: Servers, gate: Callable[[PlatformServer], Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INBOX_CHARACTERS_MAX", 400_000)
    server = servers(platform_messages_burst=1000, requests_waiting_max=1000)
    with contextlib.ExitStack() as stack:
        clients = signed_in(server, 4, stack)
        closed = gate(server)
        asked: list[list[str]] = [[] for _ in clients]

        def send(client: PlatformClient, ids: list[str]) -> None:
            for _ in range(20):
                ids.append(client.begin("NoSuchRequest", much="x" * 60_000))

        threads = in_threads(*(lambda c=client, i=ids: send(c, i) for client, ids in zip(clients, asked, strict=True)))
        server.until(lambda: server.relay.texts_held)
        server.until(lambda: server.relay.paused_count == len(clients))
        closed.at_once = 1
        for client, ids in zip(clients, asked, strict=True):
            answers = ids_of_answers(client, 20)
            assert answers == ids
        for thread in threads:
            thread.join(DEADLINE)
        assert closed.most_characters <= 200_000 + 65_536


def test_players_go_on_meanwhile(servers: Servers, gate: Callable[[PlatformServer], Gate]) -> None:
    server = servers(platform_messages_burst=1000)
    session = server.run(lambda: server.sessions.create(("red", "blue"), server.clock()))
    with server.client() as client, contextlib.ExitStack() as stack:
        client.sign_in_device("d")
        closed = gate(server)
        players = []
        for player in session.players:
            leg = stack.enter_context(socket.create_connection((server.host, server.port), DEADLINE))
            leg.sendall(packet(OP_LOGIN, payload=wire.encode_login(player.access_token.encode())))
            leg.sendall(packet(OP_READY))
            players.append(leg)
        server.until(lambda: server.sessions.connected == 2)
        ids = [client.begin("NoSuchRequest") for _ in range(50)]
        server.until(lambda: server.relay.texts_held and server.relay.paused_count)
        red, blue = players
        received = b""
        for number in range(1, 20):
            red.sendall(packet(1000 + number))
            while number not in [each.op_code - 1000 for each in decoded(received)]:
                piece = blue.recv(1 << 16)
                assert piece
                received += piece
        assert server.relay.texts_held
        closed.at_once = 50
        assert ids_of_answers(client, 50) == ids


def decoded(data: bytes) -> list[wire.Packet]:
    bodies, _ = wire.split_frames(data)
    return [wire.decode_packet(body) for body in bodies]


def test_last_words_of_one_that_was_held(servers: Servers, gate: Callable[[PlatformServer], Gate]) -> None:
    server = servers(platform_messages_burst=1000, requests_waiting_max=1000)
    with server.client() as client:
        client.register("alice")
        closed = gate(server)
        for _ in range(50):
            client.socket.send_text(" ")  # no request: unread answers would make the client's end a reset
        client.begin("ChangeUserDetailsRequest", displayName="last words")
        server.until(lambda: server.relay.texts_held)
    closed.at_once = 3
    server.until(lambda: not server.relay.streams and not server.desk.under_way)
    with server.client() as client:
        client.ask("AuthenticationRequest", userName="alice", password="password-1")
        assert client.ask("AccountDetailsRequest")["displayName"] == "last words"


def test_over_the_whole_the_oldest_is_heard(servers: Servers, gate: Callable[[PlatformServer], Gate]) -> None:
    """Should more come all the same, such as the ends of many clients."""
    server = servers()
    with server.client() as client:
        user_id = client.register("alice")
        connection = server.run(lambda: server.presence.connections(user_id)[0])
        gate(server)

        def crowd() -> int:
            for number in range(INBOX_MAX * 2):
                connection.text(json.dumps({"@class": ".NoSuchRequest", "requestId": str(number)}), 0.0)
            return len(server.connections._inbox)

        assert server.run(crowd) == INBOX_MAX
        assert ids_of_answers(client, INBOX_MAX) == [str(number) for number in range(INBOX_MAX)]
