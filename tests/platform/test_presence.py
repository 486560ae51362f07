"""Who is online: several devices of a player, messages to them, who has gone and who is away."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from gsrt.backend import messages
from gsrt.connections import Connection
from tests.platform.client import PlatformClient
from tests.platform.server import PlatformServer

Servers = Callable[..., PlatformServer]


class News:
    """What the presence has told."""

    def __init__(self, server: PlatformServer) -> None:
        self.server = server
        self._told: list[tuple[str, str]] = []
        presence = server.presence
        presence.went_online.append(lambda player_id: self._told.append(("online", player_id)))
        presence.went_offline.append(lambda player_id: self._told.append(("offline", player_id)))
        presence.went_away.append(lambda player_id: self._told.append(("away", player_id)))

    def told(self) -> list[tuple[str, str]]:
        """What was told since the last call."""

        def take() -> list[tuple[str, str]]:
            told, self._told = self._told, []
            return told

        return self.server.run(take)


@pytest.fixture
def news(server: PlatformServer) -> News:
    return News(server)


@pytest.fixture
def alice(server: PlatformServer) -> Iterator[PlatformClient]:
    """A client that is signed in as alice."""
    with server.client() as client:
        client.register("alice")
        yield client


def another(server: PlatformServer, client: PlatformClient) -> PlatformClient:
    """A further device of the same player."""
    return server.client(auth_token=client.auth_token).connect()


def user(client: PlatformClient) -> str:
    assert client.user_id is not None
    return client.user_id


def online(server: PlatformServer, client: PlatformClient) -> int:
    """How many connections its player has."""
    return len(server.run(lambda: server.presence.connections(user(client))))


# coming and going


def test_online_offline_away(server: PlatformServer, news: News, alice: PlatformClient) -> None:
    player = user(alice)
    second = another(server, alice)
    assert news.told() == [("online", player)]
    assert online(server, alice) == 2
    second.close()
    server.until(lambda: len(server.presence.connections(player)) == 1)
    assert news.told() == []
    alice.close()
    server.until(lambda: not server.presence.online(player))
    assert news.told() == [("offline", player)]
    server.advance(9.0)
    assert news.told() == []
    server.advance(2.0)
    assert news.told() == [("away", player)]
    server.advance(100.0)
    assert news.told() == []


def test_back_in_time(server: PlatformServer, news: News, alice: PlatformClient) -> None:
    alice.close()
    server.until(lambda: not server.presence.online(user(alice)))
    server.advance(9.0)
    again = another(server, alice)
    server.advance(20.0)
    assert news.told() == [("online", user(alice)), ("offline", user(alice)), ("online", user(alice))]
    again.close()


def test_expected_after_a_restart(server: PlatformServer, news: News, alice: PlatformClient) -> None:
    for _ in range(2):
        server.run(lambda: server.presence.expect("bob"))
        server.run(lambda: server.presence.expect(user(alice)))
    server.advance(11.0)
    assert news.told() == [("online", user(alice)), ("away", "bob")]


def test_a_listener_that_fails_keeps_nobody_from_hearing(server: PlatformServer) -> None:
    def fail(player_id: str) -> None:
        raise LookupError(player_id)

    server.presence.went_online.append(fail)
    news = News(server)
    with server.client() as client:
        client.register("bob")
    assert ("online", user(client)) in news.told()
    assert "news of a player was not taken" in server.log_text()


def test_signing_out_and_in_as_somebody_else(server: PlatformServer, news: News, alice: PlatformClient) -> None:
    player = user(alice)
    assert alice.ask("EndSessionRequest")["sessionDuration"] >= 0
    assert alice.request("AccountDetailsRequest")["error"] == {"authentication": "NOTAUTHORIZED"}
    other = alice.sign_in_device("d2")
    assert news.told() == [("online", player), ("offline", player), ("online", other)]
    alice.ask("AuthenticationRequest", userName="alice", password="password-1")
    assert news.told() == [("offline", other), ("online", player)]
    alice.ask("AuthenticationRequest", userName="alice", password="password-1")
    assert news.told() == []
    assert online(server, alice) == 1


def test_the_oldest_of_too_many_devices_gives_way(servers: Servers) -> None:
    server = servers(platform_devices_max=2)
    news = News(server)
    with server.client() as first:
        first.register("alice")
        second, third = another(server, first), another(server, first)
        assert first.socket.wait_closed() == 1001
        assert online(server, first) == 2
        for each in (second, third):
            assert "error" not in each.request("AccountDetailsRequest")
            each.close()
        assert news.told()[0] == ("online", user(first))
    assert server.connections.counts()["platform_gave_way"] == 1


def test_disconnecting_a_player(server: PlatformServer, alice: PlatformClient) -> None:
    second = another(server, alice)
    with server.client() as bob:
        bob.register("bob")
        server.run(lambda: server.presence.disconnect(user(alice), "a test"))
        assert alice.socket.wait_closed() == second.socket.wait_closed() == 1001
        assert online(server, alice) == 0
        assert online(server, bob) == 1
    second.close()


def test_what_a_connection_knows(server: PlatformServer, alice: PlatformClient) -> None:
    connection: Connection = server.run(lambda: server.presence.connections(user(alice))[0])
    assert connection.player_id == user(alice)
    assert connection.auth_token == alice.auth_token
    assert connection.session_id == alice.session_id
    assert connection.device_id == alice.device_id
    assert connection.signed_in_at is not None
    assert connection.opened <= connection.signed_in_at <= server.clock()
    alice.close()
    server.until(lambda: not connection.is_open)
    assert server.run(lambda: connection.sign_out()) == 0.0
    assert not server.run(lambda: connection.send({"@class": ".ScriptMessage"}))
    server.run(lambda: connection.sign_in("somebody", None))
    server.run(connection.close)
    assert not server.run(lambda: server.presence.online("somebody"))


# messages


def put(server: PlatformServer, player: str, text: str, keep: bool = True) -> str:
    """Stores a message: its id."""
    message = server.stored(messages.put, player, "ScriptMessage", {"extCode": text}, keep)
    found: str = message["messageId"]
    return found


def codes(client: PlatformClient) -> list[str]:
    """What script messages have come."""
    return [each["extCode"] for each in client.collect() if each["@class"] == ".ScriptMessage"]


def test_a_message_goes_to_every_device_once(server: PlatformServer, alice: PlatformClient) -> None:
    second = another(server, alice)
    with server.client() as bob:
        bob.register("bob")
        for number in range(5):
            put(server, user(alice), f"m{number}")
        for client in (alice, second):
            client.wait_message("ScriptMessage", lambda message: message["extCode"] == "m4")
            assert codes(client) == ["m0", "m1", "m2", "m3"]
        assert codes(bob) == []
    second.close()


def test_messages_of_who_is_offline_come_with_the_next_sign_in(server: PlatformServer, alice: PlatformClient) -> None:
    alice.close()
    server.until(lambda: not server.presence.online(user(alice)))
    for number in range(3):
        put(server, user(alice), f"m{number}")
    again = another(server, alice)
    again.wait_message("ScriptMessage", lambda message: message["extCode"] == "m2")
    assert codes(again) == ["m0", "m1"]
    server.until(lambda: not server.store.waiting)
    again.close()
    third = another(server, alice)
    server.until(lambda: not server.store.waiting)
    assert codes(third) == []
    third.close()


def test_more_than_goes_out_at_once_comes_in_order_and_what_is_sent_meanwhile_after_it(
    server: PlatformServer, alice: PlatformClient
) -> None:
    """Nothing waits for the next sign-in, or is overtaken."""
    alice.close()
    player = user(alice)
    server.until(lambda: not server.presence.online(player))
    body = "x" * 20_000
    before = [f"m{number}" for number in range(60)]
    assert len(before) * len(body) > 4 * messages.PAGE_BYTES_MAX
    for code in before:
        server.stored(messages.put, player, "ScriptMessage", {"extCode": code, "data": body}, False)
    with another(server, alice) as again:
        first = again.wait_message("ScriptMessage")
        put(server, player, "later")
        seen = [first["extCode"]]
        while seen[-1] != "later":
            seen.append(again.wait_message("ScriptMessage")["extCode"])
        assert seen == [*before, "later"]
        server.until(lambda: not server.store.waiting)
    assert server.stored(messages.waiting, player) == ([], None)


@pytest.mark.parametrize("how", ["token", "password"])
def test_around_a_sign_in_every_message_comes_once(servers: Servers, how: str) -> None:
    """While one is stored after the other, the player comes and goes."""
    server = servers(store_batch_ms=1.0)
    chance = random.Random(3)
    with server.client() as alice:
        player = alice.register("alice")
    server.until(lambda: not server.presence.online(player))
    count = 90  # fewer than are kept
    seen: list[str] = []
    sent: list[str] = []

    def send_on(message: object = None, error: BaseException | None = None) -> None:
        assert error is None
        if len(sent) < count:
            sent.append(f"m{len(sent)}")
            server.store.submit(messages.put, (player, "ScriptMessage", {"extCode": sent[-1]}, False), send_on)

    def sign_in() -> PlatformClient:
        if how == "token":
            return another(server, alice)
        client = server.client().connect()
        client.ask("AuthenticationRequest", userName="alice", password="password-1")
        return client

    server.run(send_on)
    while len(sent) < count:
        client = sign_in()
        for _ in range(chance.randrange(20)):
            seen += codes(client)
        connection = server.run(lambda: server.presence.connections(player)[-1])
        server.run(connection.sign_out)  # from here on none is under way to it
        seen += codes(client)
        client.close()
    server.until(lambda: not server.store.waiting)
    with sign_in() as client:
        server.until(lambda: not server.store.waiting)
        seen += codes(client)
    assert seen == sent


def test_a_message_to_who_is_not_there(server: PlatformServer) -> None:
    assert not server.run(lambda: server.presence.send("nobody", {"@class": ".ScriptMessage"}))
    assert server.run(lambda: server.presence.local_host("nobody")) is None


def test_a_store_in_trouble_costs_no_message(servers: Servers) -> None:
    server = servers(store_waiting_max=16)
    with server.client() as alice:
        alice.register("alice")
        put(server, user(alice), "m0")
        assert alice.wait_message("ScriptMessage")["extCode"] == "m0"
    server.until(lambda: not server.presence.online(user(alice)))
    put(server, user(alice), "m1")
    with server.client() as again:
        connection = server.run(lambda: next(iter(server.connections._all)))
        server.run(lambda: setattr(server.store, "_waiting_max", 0))
        server.run(lambda: connection.sign_in(user(alice), None))
        server.run(lambda: setattr(server.store, "_waiting_max", 16))
        assert codes(again) == []
        server.run(lambda: connection.sign_in(user(alice), None))
        assert again.wait_message("ScriptMessage")["extCode"] == "m1"
    assert "stored messages cannot be sent" in server.log_text()
