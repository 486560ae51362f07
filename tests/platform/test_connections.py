"""Connections of the platform over real sockets: the door, the handshake, requests, and their end."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gsrt.connections import WAITING_WEIGHT_FREE, WAITING_WEIGHT_MAX, host_of
from gsrt.protocol.platform import Request
from tests.platform.client import CLOSE, DEADLINE, PING, TEXT, Closed, Refused, TextSocket, proof
from tests.platform.server import API_KEY, SECRET, PlatformServer
from tests.relay.rig import packet

Servers = Callable[..., PlatformServer]


# the door


@pytest.mark.parametrize(
    "path",
    [
        f"/ws/device/{API_KEY}",
        f"/ws/anything-else/{API_KEY}",
        f"/ws/device/{API_KEY}/",
        f"/ws/device/{API_KEY}?deviceOS=WEBGL&deviceID=a/b/c&SDK=Unity",
    ],
)
def test_paths_of_sdks(server: PlatformServer, path: str) -> None:
    with server.client(path=path) as client:
        assert client.handshake.keys() == {"@class", "sessionId"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/ws/device/other", "api_key"),
        (f"/ws/{API_KEY}", "/ws/<anything>/<api key>"),
        (f"/ws/device/{API_KEY}/more", "/ws/<anything>/<api key>"),
        ("/ws/", "/ws/<anything>/<api key>"),
        (f"/ws/secure/{API_KEY}", "':'"),
        (f"/ws/secure/prefix/{API_KEY}", "':'"),
    ],
)
def test_what_is_wrong_with_a_path_is_told(server: PlatformServer, path: str, text: str) -> None:
    with pytest.raises(Refused) as refused:
        server.client(path=path).connect()
    assert refused.value.status == 403
    assert text in refused.value.text
    assert API_KEY not in refused.value.text
    assert server.connections.counts()["platform_refused"] == 1


def test_at_any_other_path_it_is_a_player_of_a_session(server: PlatformServer) -> None:
    session = server.run(lambda: server.sessions.create(("a", "b"), server.clock()))
    line = TextSocket("127.0.0.1", server.port, "/wsx/device/key")
    token = session.players[0].access_token.encode()
    line.send_frame(2, packet(0, payload=b"\x0a" + bytes((len(token),)) + token))
    server.until(lambda: session.players[0].stream is not None)
    line.close()


def test_a_page_is_served_beside_it(server: PlatformServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert plain.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_under_tls(servers: Servers, certificate: tuple[str, str]) -> None:
    server = servers(certificate=certificate)
    with server.client(tls=True) as client:
        user_id = client.register("alice", displayName="A" * 60)
        big = "é" * 8_000
        assert client.ask("AccountDetailsRequest")["userId"] == user_id
        answer = client.request("NoSuchRequest", scriptData={"text": big})
        assert "request" in answer["error"]
        assert server.run(lambda: [each.kind for each in server.relay.streams.values()]) == ["wss"]
        # a text of several TLS records
        server.run(lambda: server.presence.send(user_id, {"@class": ".ScriptMessage", "data": big}))
        assert client.wait_message("ScriptMessage")["data"] == big


# the handshake


def test_a_wrong_secret(server: PlatformServer) -> None:
    with pytest.raises(Refused) as refused:
        server.client(secret="other").connect()
    assert "game.toml" in json.loads(refused.value.text)["hmac"]
    client = server.client()
    nonce = client.dial()
    client.send({"@class": ".AuthenticatedConnectRequest", "hmac": proof("other", nonce)})
    assert "hmac" in json.loads(client.socket.receive_text())["error"]
    assert client.socket.wait_closed() == 1001
    client.close()
    assert "the client's secret is not the game's" in server.log_text()
    server.until(lambda: not server.relay.streams)
    assert server.run(lambda: (len(server.connections), server.reception.pending)) == (0, 0)


def test_every_connection_has_its_own_nonce_and_session(server: PlatformServer) -> None:
    clients = [server.client() for _ in range(5)]
    nonces = {client.dial() for client in clients}
    assert len(nonces) == 5
    for client in clients:
        client.close()
    sessions = set()
    for _ in range(5):
        with server.client() as client:
            sessions.add(client.session_id)
    assert len(sessions) == 5


def test_the_proof_of_another_nonce(server: PlatformServer) -> None:
    first, second = server.client(), server.client()
    nonce = first.dial()
    second.dial()
    second.send({"@class": ".AuthenticatedConnectRequest", "hmac": proof(SECRET, nonce)})
    assert "hmac" in json.loads(second.socket.receive_text())["error"]
    first.close()
    second.close()


def test_a_second_handshake(server: PlatformServer) -> None:
    with server.client() as client:
        client.send({"@class": ".AuthenticatedConnectRequest", "hmac": "x"})
        assert "handshake" in json.loads(client.socket.receive_text())["error"]
        assert client.socket.wait_closed() == 1001


def test_requests_before_the_handshake(server: PlatformServer) -> None:
    client = server.client()
    nonce = client.dial()
    client.send({"@class": ".RegistrationRequest", "requestId": "1", "userName": "a", "password": "b"})
    answer = json.loads(client.socket.receive_text())
    assert answer["error"] == {"authentication": "NOTAUTHORIZED"}
    client.send({"@class": ".AuthenticatedConnectRequest", "hmac": proof(SECRET, nonce)})
    assert "sessionId" in json.loads(client.socket.receive_text())
    client.close()


def test_without_a_handshake_its_time_is_up(servers: Servers) -> None:
    server = servers(login_seconds=30.0)
    client = server.client()
    client.dial()
    with server.client() as other:
        assert server.run(lambda: server.reception.pending) == 1
        server.advance(31.0)
        assert client.socket.wait_closed() == 1001
        client.close()
        server.until(lambda: len(server.connections) == 1)
        assert "error" in other.request("AccountDetailsRequest")
    assert server.reception.counters["pending_deadline"] == 1


def test_keep_alive_does_not_stretch_that_time(servers: Servers) -> None:
    server = servers(login_seconds=30.0)
    client = server.client()
    client.dial()
    server.advance(20.0)
    client.socket.send_text(" ")
    client.socket.send_frame(PING, b"1")
    server.advance(11.0)
    assert client.socket.wait_closed() == 1001
    client.close()


def test_without_a_handshake_the_oldest_gives_way(servers: Servers) -> None:
    server = servers(pending_per_address_max=2)
    clients = [server.client() for _ in range(3)]
    for client in clients:
        client.dial()
    assert clients[0].socket.wait_closed() == 1001
    server.until(lambda: len(server.connections) == 2)
    clients += [server.client().connect() for _ in range(4)]  # and who has done it counts no more
    for client in clients:
        client.close()


def test_before_the_handshake_messages_are_small(server: PlatformServer) -> None:
    early = server.client()
    early.dial()
    early.socket.send_text(" " * 8193)
    assert early.socket.wait_closed() == 1009
    early.close()
    with server.client() as client:
        client.socket.send_text(" " * 65_536)
        assert "error" in client.request("AccountDetailsRequest")
        client.socket.send_text(" " * 65_537)
        assert client.socket.wait_closed() == 1009


# signing in by token


def test_a_token_signs_in_at_once(server: PlatformServer) -> None:
    with server.client() as client:
        user_id = client.register("alice")
        token = client.auth_token
    with server.client(auth_token=token) as client:
        assert client.handshake.keys() == {"@class", "sessionId", "authToken", "userId"}
        assert (client.handshake["authToken"], client.handshake["userId"]) == (token, user_id)
        assert client.ask("AccountDetailsRequest")["displayName"] == "alice"
        assert server.run(lambda: server.presence.online(user_id))


@pytest.mark.parametrize("token", ["0", "", "nonsense", "A" * 40, "A" * 4000, "ä" * 40])
def test_any_other_token_does_not(server: PlatformServer, token: str) -> None:
    with server.client(auth_token=token) as client:
        assert client.handshake.keys() == {"@class", "sessionId"}
        assert client.request("AccountDetailsRequest")["error"] == {"authentication": "NOTAUTHORIZED"}


def test_a_store_that_cannot_tell_does_not_cost_the_token(servers: Servers) -> None:
    server = servers(store_waiting_max=16)
    with server.client() as client:
        client.register("alice")
        token = client.auth_token
    server.run(lambda: setattr(server.store, "_waiting_max", 0))
    with pytest.raises(Closed):
        server.client(auth_token=token).connect()
    server.run(lambda: setattr(server.store, "_waiting_max", 16))
    with server.client(auth_token=token) as client:
        assert client.handshake["authToken"] == token
    assert "nobody can be signed in by token" in server.log_text()


def test_gone_before_it_was_known_whose_token_it_is(server: PlatformServer) -> None:
    with server.client() as client:
        user_id = client.register("alice")
        token = client.auth_token
    server.until(lambda: not server.presence.online(user_id))
    client = server.client(auth_token=token)
    nonce = client.dial()
    client.send({"@class": ".AuthenticatedConnectRequest", "hmac": proof(SECRET, nonce), "authToken": token})
    client.vanish()
    server.until(lambda: not server.relay.streams and not server.store.waiting)
    assert server.run(lambda: (server.presence.online(user_id), len(server.connections))) == (False, 0)


# when every place is taken


def test_where_nobody_has_signed_in_gives_way(server: PlatformServer) -> None:
    with server.client() as first, server.client() as second, server.client() as third, server.client() as fourth:
        user_id = first.register("alice")
        third.register("bob")
        third.ask("EndSessionRequest")  # has been nobody's for less long than the second
        assert server.run(lambda: server.connections.nobodys) == 3
        waiting = server.client()
        waiting.dial()  # in the middle of its handshake, and not what there is most of
        for client in (second, fourth):
            assert server.run(server.reception.make_room)
            assert client.socket.wait_closed() == 1001
        assert server.run(server.reception.make_room)  # one of either: it is the one that has proved nothing
        assert waiting.socket.wait_closed() == 1001
        waiting.close()
        assert server.run(server.reception.make_room)
        assert third.socket.wait_closed() == 1001
        assert not server.run(server.reception.make_room)
        assert first.ask("AccountDetailsRequest")["userId"] == user_id
        assert server.connections.counts()["platform_made_room"] == 3


# requests


def test_each_answer_has_its_request(server: PlatformServer) -> None:
    with server.client() as client:
        client.register("alice")
        ids = [client.begin(name) for name in ("AccountDetailsRequest", "NoSuchRequest", "ListMessageRequest") * 5]
        classes = [client.answer(request_id)["@class"] for request_id in reversed(ids)]
        assert classes == [".ListMessageResponse", ".NoSuchResponse", ".AccountDetailsResponse"] * 5


def test_answers_are_called_as_sdks_expect(server: PlatformServer) -> None:
    with server.client() as client:
        assert client.request("DeviceAuthenticationRequest", deviceId="d", deviceOS="X")["@class"] == (
            ".AuthenticationResponse"
        )
        assert client.request("DeviceAuthenticationRequest")["error"] == {
            "deviceId": "may not be null",
            "deviceOS": "may not be null",
        }


def test_too_many_at_once_are_refused(servers: Servers) -> None:
    server = servers(requests_waiting_max=3, store_batch_ms=50.0)
    with server.client() as client:
        client.register("alice")
        ids = [client.begin("EndSessionRequest" if n > 30 else "AccountDetailsRequest") for n in range(30)]
        answers = [client.answer(each) for each in ids]
        assert any("TOO_MANY" in each.get("error", {}).get("request", "") for each in answers)
        assert "userId" in answers[0]


def test_large_requests_that_wait_take_a_bounded_memory(server: PlatformServer) -> None:
    """Nor does one that sends them keep others from small ones."""
    connections = server.connections
    go_on = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.callback(go_on.set)  # whatever happens: the store's thread is not to wait for ever
        greedy = [stack.enter_context(server.client()) for _ in range(8)]
        modest = stack.enter_context(server.client())
        for number, client in enumerate((*greedy, modest)):
            client.sign_in_device(f"d{number}")
        server.run(lambda: server.store.submit(lambda tx: go_on.wait(DEADLINE), (), lambda result, error: None))
        large = {"a": "z" * 30_000, "b": [0] * 3000}
        asked = [(client, client.begin("AccountDetailsRequest", **large)) for _ in range(20) for client in greedy]
        server.until(lambda: connections.counters["platform_messages_too_many"])
        small = [modest.begin("AccountDetailsRequest") for _ in range(20)]
        server.until(lambda: connections.counters["platform_messages_in"] >= len(asked) + len(small))
        server.until(lambda: not connections.has_more)
        assert server.run(lambda: connections._waiting_weight) < WAITING_WEIGHT_MAX + 9 * WAITING_WEIGHT_FREE
        go_on.set()
        assert all("userId" in modest.answer(each) for each in small)
        answers = [client.answer(each) for client, each in asked]
        refused = [each for each in answers if "TOO_MANY" in each.get("error", {}).get("request", "")]
        assert 0 < len(refused) < len(answers)
        server.until(lambda: connections._waiting_weight == 0)
        assert "userId" in greedy[0].ask("AccountDetailsRequest", **large)


def test_what_is_no_request_is_told_so_and_the_connection_goes_on(server: PlatformServer) -> None:
    with server.client() as client:
        for text, field in (("{", "json"), ('{"@class":"X"}', "@class"), ("[" * 60_000, "json"), ("[]", "json")):
            client.socket.send_text(text)
            answer = json.loads(client.socket.receive_text())
            assert (answer["@class"], list(answer["error"])) == (".ErrorResponse", [field])
        client.socket.send_text(" ")
        client.socket.send_text("")
        client.register("alice")
    assert server.connections.counts()["platform_messages_malformed"] == 4


def test_an_answer_that_json_cannot_say(server: PlatformServer) -> None:
    with server.client() as client:
        user_id = client.register("alice")
        connection = server.run(lambda: server.presence.connections(user_id)[0])
        found: Any = {"x": float("nan")}
        server.run(lambda: connection._answer(Request("AccountDetailsRequest", "5", {}), found))
        answer = json.loads(client.socket.receive_text())
        assert (answer["@class"], answer["requestId"]) == (".AccountDetailsResponse", "5")
        assert answer["error"]["request"].startswith("FAILED")
    assert "an answer that JSON cannot say" in server.log_text()


def test_over_its_rate_it_waits(servers: Servers) -> None:
    server = servers(platform_messages_per_second=100.0, platform_messages_burst=3)
    with server.client() as client, server.client() as other:
        ids = [client.begin("NoSuchRequest") for _ in range(20)]
        assert "error" in other.request("NoSuchRequest")
        assert len([client.answer(each) for each in ids]) == 20
    assert server.relay.counts()["streams_paused_rate"] > 0


def test_gone_before_the_answer(server: PlatformServer) -> None:
    for number in range(5):
        client = server.client().connect()
        client.begin("RegistrationRequest", displayName="x", userName=f"u{number}", password="password-1")
        client.vanish()
    server.until(lambda: not server.relay.streams and not server.desk.under_way)
    assert server.run(lambda: (server.presence.players, len(server.connections))) == (0, 0)
    assert "error" not in server.log_text()


def test_last_words_are_heard(server: PlatformServer) -> None:
    with server.client() as client:
        client.register("alice")
        for _ in range(20):
            client.socket.send_text(" ")  # no request: unread answers would make the client's end a reset
        client.begin("ChangeUserDetailsRequest", displayName="last words")
    server.until(lambda: not server.relay.streams and not server.desk.under_way)
    with server.client() as client:
        client.ask("AuthenticationRequest", userName="alice", password="password-1")
        assert client.ask("AccountDetailsRequest")["displayName"] == "last words"


# the end


def test_a_client_that_says_goodbye(server: PlatformServer) -> None:
    with server.client() as client:
        user_id = client.register("alice")
        client.socket.send_frame(CLOSE, (1000).to_bytes(2, "big"))
        assert client.socket.wait_closed() == 1000
    server.until(lambda: not server.presence.online(user_id))
    assert "connection lost" not in server.log_text()


@pytest.mark.parametrize(("data", "code"), [((2, b"x"), 1003), ((TEXT, b"\xff"), 1007), ((3, b""), 1002)])
def test_frames_that_are_none(server: PlatformServer, data: tuple[int, bytes], code: int) -> None:
    with server.client() as client:
        client.register("alice")
        client.socket.send_frame(*data)
        assert client.socket.wait_closed() == code
    server.until(lambda: not server.presence.players)
    assert "connection lost" in server.log_text()


def test_silence(servers: Servers) -> None:
    server = servers(platform_silence_seconds=100.0)
    silent, pinging, idle = (server.client().connect() for _ in range(3))
    user_id = silent.register("alice")
    for _ in range(3):
        server.advance(45.0)
        pinging.socket.send_frame(PING, b"here")
        idle.socket.send_text(" ")
        idle.request("NoSuchRequest")
        server.until(lambda: server.clock() - max(each.heard_at for each in server.connections._all) < 45.0)
    assert silent.socket.wait_closed() == 1001
    server.until(lambda: len(server.connections) == 2)
    assert not server.run(lambda: server.presence.online(user_id))
    assert "error" in pinging.request("NoSuchRequest")
    assert "error" in idle.request("NoSuchRequest")
    assert server.connections.counts()["platform_silent"] == 1
    for client in (silent, pinging, idle):
        client.close()


def test_the_server_ends(servers: Servers) -> None:
    server = servers()
    signed_in, greeted, waiting = server.client().connect(), server.client().connect(), server.client()
    signed_in.register("alice")
    waiting.dial()
    server.run(server.connections.close)
    assert [each.socket.wait_closed() for each in (signed_in, greeted, waiting)] == [1001] * 3
    assert server.run(lambda: (server.presence.players, len(server.connections))) == (0, 0)
    for each in (signed_in, greeted, waiting):
        each.close()


def test_a_client_that_does_not_read_is_cut(servers: Servers) -> None:
    server = servers(stream_out_hard_bytes=200_000, platform_messages_burst=100_000)
    client = server.client().connect()
    user_id = client.register("alice")

    def send() -> bool:
        message = {"@class": ".ScriptMessage", "data": "x" * 50_000}
        return not all(server.presence.send(user_id, message) for _ in range(10))

    server.until(send)
    server.until(lambda: not server.presence.online(user_id))
    assert "it does not read what is sent to it" in server.log_text()
    client.close()


# our address as the client reached it


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_local_host(servers: Servers, address: str) -> None:
    server = servers(host="0.0.0.0")
    with server.client(host=address) as client:
        user_id = client.register("alice")
        assert server.run(lambda: server.presence.local_host(user_id)) == address
        found = {"@class": ".MatchFoundMessage", "host": "192.0.2.1", "port": 5}
        server.run(lambda: server.presence.send(user_id, found))
        assert client.wait_message("MatchFoundMessage")["host"] == address
        assert found["host"] == "192.0.2.1"


def test_local_host_of_both_families(servers: Servers) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    server = servers(host="::")
    for address in ("127.0.0.1", "::1"):
        with server.client(host=address) as client:
            user_id = client.sign_in_device(address)
            assert server.run(lambda user=user_id: server.presence.local_host(user)) == address  # type: ignore[misc]


def test_local_host_of_a_socket_without_one() -> None:
    ours, theirs = socket.socketpair()

    class Stream:
        fd = ours.fileno()

    stream: Any = Stream()
    assert host_of(stream) == ""
    assert ours.fileno() >= 0
    ours.close()
    theirs.close()
