"""`Session` over real loopback sockets, in each of its three ways, against a server that does what the test says."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gsrt._core import Packet
from gsrt.client import Data, Intent, Session
from gsrt.protocol import rt
from tests.client.scripted_server import DEADLINE, ScriptedServer


class Player:
    """A session whose callbacks land in a queue."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", tls: bool = False, verify: bool = False) -> None:
        self.told: queue.Queue[tuple[str, object]] = queue.Queue()
        self.session = Session(
            host,
            port,
            "access",
            on_ready=lambda ready: self.told.put(("ready", ready)),
            on_data=lambda packet: self.told.put(("data", packet.op_code)),
            on_player_connect=lambda peer_id: self.told.put(("connect", peer_id)),
            on_player_disconnect=lambda peer_id: self.told.put(("disconnect", peer_id)),
            tls=tls,
            verify=verify,
            link=False,
        )

    def next(self) -> tuple[str, object]:
        return self.told.get(timeout=DEADLINE)

    def update_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline
            self.session.update()
            time.sleep(0.001)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def player(server: ScriptedServer) -> Iterator[Player]:
    player = Player(server.port)
    yield player
    server.close_streams()  # so that stop() need not wait for it
    player.session.stop()


@contextlib.contextmanager
def in_thread(script: Callable[[], object]) -> Iterator[None]:
    """Run the server's script beside the test; what it raises is raised at the end."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            script()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(2 * DEADLINE)
    if raised:
        raise raised[0]


class TestUpdate:
    def test_a_whole_session_frame_by_frame(self, server: ScriptedServer, player: Player) -> None:
        seen: list[Packet] = []

        def script() -> None:
            stream, address = server.admit_with_udp(2, (1,))
            stream.write(rt.player_connect_frame(3, (1, 2, 3)), Packet(7, sender=3).frame())
            server.write_datagram(address, Packet(8, sender=3).frame())
            seen.append(stream.read())
            while True:  # unanswered repeats of the UDP login may still be waiting
                [packet], _ = server.read_datagram()
                if packet.op_code:
                    seen.append(packet)
                    break
            stream.write(rt.player_disconnect_frame(3, (1, 2)))
            with pytest.raises(EOFError):
                stream.read()

        with in_thread(script):
            player.session.start()
            player.update_until(lambda: player.told.qsize() >= 4)
            assert player.next() == ("ready", True)
            rest = [player.next() for _ in range(3)]
            assert sorted(rest, key=str) == [("connect", 3), ("data", 7), ("data", 8)]
            assert (player.session.peer_id, player.session.active_peers) == (2, (1, 2, 3))
            assert player.session.send(5, data=Data({1: "text"}), peers=[3]) > 0
            assert player.session.send(6, Intent.UNRELIABLE_SEQUENCED, payload=b"p") > 0
            player.update_until(lambda: not player.told.empty())
            assert player.next() == ("disconnect", 3)
            player.session.stop()
        assert [packet.op_code for packet in seen] == [5, 6]
        assert (seen[0].data, seen[0].targets) == (Data({1: "text"}), (3,))
        assert (seen[1].sequence, seen[1].payload) == (0, b"p")

    def test_update_never_waits(self, server: ScriptedServer, player: Player) -> None:
        player.session.update()  # not started: nothing
        player.session.start()
        stream = server.accept()  # the login is never answered, and updates return all the same
        stream.read_login()
        for _ in range(100):
            player.session.update()
        assert not player.session.ready
        player.session.stop()
        player.session.update()
        assert player.told.empty()

    def test_an_exception_of_a_callback_comes_out_and_nothing_is_lost(self, server: ScriptedServer) -> None:
        told: list[int] = []

        def on_data(packet: Packet) -> None:
            told.append(packet.op_code)
            if packet.op_code == 5:
                raise RuntimeError("the game's own fault")

        session = Session("127.0.0.1", server.port, "access", on_data=on_data, link=False)
        with in_thread(lambda: server.admit().write(Packet(5, sender=2).frame(), Packet(6, sender=2).frame())):
            session.start()
            deadline = time.monotonic() + DEADLINE
            with pytest.raises(RuntimeError, match="the game's own fault"):
                while time.monotonic() < deadline:
                    session.update()
            while told != [5, 6]:
                assert time.monotonic() < deadline
                session.update()
        session.stop()


class TestRun:
    def test_stop_in_a_callback_ends_it(self, server: ScriptedServer) -> None:
        session = Session("127.0.0.1", server.port, "access", on_data=lambda packet: session.stop(), link=False)
        closed: list[bool] = []

        def script() -> None:
            stream = server.admit()
            stream.write(Packet(5, sender=2).frame())
            with pytest.raises(EOFError):
                stream.read()
            closed.append(True)

        with in_thread(script):
            session.run()
        assert closed == [True]

    def test_for_some_seconds_it_stays_joined(self, server: ScriptedServer, player: Player) -> None:
        with in_thread(lambda: server.admit().write(Packet(5, sender=2).frame())):
            deadline = time.monotonic() + DEADLINE
            while player.told.qsize() < 2:
                assert time.monotonic() < deadline
                player.session.run(0.01)
        assert player.session.ready
        assert [player.next(), player.next()] == [("ready", True), ("data", 5)]

    def test_stop_in_another_thread_ends_it(self, server: ScriptedServer, player: Player) -> None:
        def script() -> None:
            stream = server.admit()
            player.session.stop()
            with pytest.raises(EOFError):
                stream.read()

        with in_thread(script):
            player.session.run()


class TestBackground:
    def test_packets_both_ways(self, server: ScriptedServer, player: Player) -> None:
        player.session.start_background()
        stream, address = server.admit_with_udp()
        assert player.next() == ("ready", True)
        with pytest.raises(RuntimeError, match="runs in the background already"):
            player.session.run()
        for number in range(200):
            stream.write(Packet(1 + number, sender=2).frame())
        assert [player.next() for _ in range(200)] == [("data", 1 + number) for number in range(200)]
        server.write_datagram(address, Packet(300, sender=2).frame(), Packet(301, sender=2).frame())
        assert [player.next(), player.next()] == [("data", 300), ("data", 301)]

    def test_send_from_many_threads(self, server: ScriptedServer, player: Player) -> None:
        player.session.start_background()
        stream = server.admit()
        assert player.next() == ("ready", True)

        def send_some(op_code: int) -> None:
            for number in range(100):
                assert player.session.send(op_code, payload=number.to_bytes(2, "big") * 50)

        threads = [threading.Thread(target=send_some, args=(op_code,)) for op_code in range(1, 5)]
        for thread in threads:
            thread.start()
        numbers: dict[int, list[int]] = {op_code: [] for op_code in range(1, 5)}
        for _ in range(400):
            packet = stream.read()
            numbers[packet.op_code].append(int.from_bytes((packet.payload or b"")[:2], "big"))
        for thread in threads:
            thread.join()
        assert numbers == {op_code: list(range(100)) for op_code in range(1, 5)}

    @pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
    def test_more_than_the_system_takes_at_once(self, server_context: ssl.SSLContext, tls: bool) -> None:
        with ScriptedServer(server_context if tls else None) as server:
            player = Player(server.port, tls=tls)
            player.session.start_background()
            stream = server.admit()
            assert player.next() == ("ready", True)
            sent = 0
            while player.session.send(1 + sent, payload=b"x" * 15_000):  # nothing is read until the bounds are full
                sent += 1
            assert sent * 15_000 > 1_000_000
            assert [stream.read().op_code for _ in range(sent)] == list(range(1, sent + 1))
            assert player.session.ready
            server.close_streams()
            player.session.stop()

    def test_an_exception_of_a_callback_is_reported_and_the_session_goes_on(
        self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reported: queue.Queue[BaseException | None] = queue.Queue()
        monkeypatch.setattr(threading, "excepthook", lambda args: reported.put(args.exc_value))
        told: queue.Queue[int] = queue.Queue()

        def on_data(packet: Packet) -> None:
            if packet.op_code == 5:
                raise RuntimeError("the game's own fault")
            told.put(packet.op_code)

        session = Session("127.0.0.1", server.port, "access", on_data=on_data, link=False)
        session.start_background()
        server.admit().write(Packet(5, sender=2).frame(), Packet(6, sender=2).frame())
        assert told.get(timeout=DEADLINE) == 6
        assert str(reported.get(timeout=DEADLINE)) == "the game's own fault"
        session.stop()

    def test_stop_in_a_callback_and_start_again(self, server: ScriptedServer) -> None:
        stopped = threading.Event()

        def on_data(packet: Packet) -> None:
            session.stop()
            stopped.set()

        session = Session("127.0.0.1", server.port, "access", on_data=on_data, link=False)
        session.start_background()
        stream = server.admit()
        stream.write(Packet(5, sender=2).frame())
        with pytest.raises(EOFError):
            stream.read()
        stream.close()
        assert stopped.wait(DEADLINE)
        session.start_background()
        assert server.accept().read_login() == "reconnect"
        session.stop()


class TestLossAndReturn:
    @pytest.mark.parametrize("orderly", [True, False], ids=["closed", "reset"])
    def test_it_comes_back_by_itself(self, server: ScriptedServer, player: Player, orderly: bool) -> None:
        player.session.start_background()
        stream = server.admit(2, (1,))
        assert player.next() == ("ready", True)
        if orderly:
            stream.close()
        else:
            stream.reset()
        assert player.next() == ("ready", False)
        assert player.session.send(5) == 0
        assert player.session.problem
        again = server.accept()
        assert again.read_login() == "reconnect"
        again.write(rt.login_result_frame("next", 2, (1,)), rt.login_result_frame("next", 2, (1,), fast=True))
        assert player.next() == ("ready", True)
        assert player.session.problem is None
        assert again.read().op_code == rt.OP_PLAYER_READY
        player.session.send(5)
        assert again.read().op_code == 5

    def test_what_came_before_the_end_is_delivered_first(self, server: ScriptedServer, player: Player) -> None:
        player.session.start_background()
        stream = server.admit()
        stream.write(Packet(5, sender=2).frame())
        stream.close()
        assert [player.next() for _ in range(3)] == [("ready", True), ("data", 5), ("ready", False)]

    def test_a_refused_token(self, server: ScriptedServer, player: Player) -> None:
        player.session.start_background()
        stream = server.accept()
        stream.read_login()
        stream.close()
        again = server.accept()  # a second later
        assert again.read_login() == "access"
        assert player.session.refusals == 1
        assert player.told.empty()

    def test_nobody_listens_and_then_somebody_does(self, server: ScriptedServer) -> None:
        late = socket.create_server(("127.0.0.1", 0))
        port = late.getsockname()[1]
        late.close()
        player = Player(port)
        player.session.start_background()
        deadline = time.monotonic() + DEADLINE
        while player.session.failures < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "cannot connect to 127.0.0.1 port" in (player.session.problem or "")
        with socket.create_server(("127.0.0.1", port)) as late:
            late.settimeout(DEADLINE)
            connection, _ = late.accept()
            with connection:
                connection.settimeout(DEADLINE)
                assert connection.recv(100)[1:3] == b"\x08\x00"
                player.session.stop()

    def test_a_server_that_speaks_another_language(self, server: ScriptedServer, player: Player) -> None:
        player.session.start_background()
        stream = server.accept()
        stream.read_login()
        stream.write(b"\xff" * 20)
        with pytest.raises((EOFError, ConnectionResetError)):
            stream.read()
        server.accept()
        assert "no RT stream" in (player.session.problem or "")

    def test_without_udp_at_all(self, server: ScriptedServer, player: Player) -> None:
        player.session.start_background()
        stream = server.accept()
        stream.read_login()
        with socket.create_server(("127.0.0.1", 0)) as elsewhere:  # a UDP port where nobody listens
            port = elsewhere.getsockname()[1]
            stream.write(rt.login_result_frame("reconnect", 1, (), fast_port=port))
            assert player.next() == ("ready", True)
        assert stream.read().op_code == rt.OP_PLAYER_READY
        player.session.send(5, Intent.UNRELIABLE)
        packet = stream.read()
        assert (packet.op_code, packet.reliable) == (5, False)


class TestAddresses:
    def test_each_address_of_a_name_is_tried(self, server: ScriptedServer) -> None:
        player = Player(server.port, host="localhost")  # whose first address may be ::1, where nobody listens
        player.session.start_background()
        server.admit_with_udp()
        assert player.next() == ("ready", True)
        server.close_streams()
        player.session.stop()

    def test_an_unknown_host(self) -> None:
        with pytest.raises(ConnectionError, match="cannot find the host"):
            Session("host.invalid", 8784, "access").start()

    def test_a_token_that_cannot_be(self) -> None:
        with pytest.raises(ValueError, match="a token has 1 to"):
            Session("127.0.0.1", 8784, "")


class TestTls:
    def test_a_whole_session(self, server_context: ssl.SSLContext) -> None:
        with ScriptedServer(server_context) as server:
            player = Player(server.port, tls=True)
            player.session.start_background()
            stream, address = server.admit_with_udp()
            assert player.next() == ("ready", True)
            large = Packet(5, sender=2, payload=b"x" * 15_000).frame()
            stream.write(large * 20, Packet(6, sender=2).frame())
            assert [player.next() for _ in range(21)] == [("data", 5)] * 20 + [("data", 6)]
            server.write_datagram(address, Packet(7, sender=2).frame())
            assert player.next() == ("data", 7)
            for number in range(20):
                assert player.session.send(1 + number, payload=b"y" * 15_000)
            assert [stream.read().op_code for _ in range(20)] == list(range(1, 21))
            with in_thread(player.session.stop), pytest.raises(EOFError):
                stream.read()  # an EOFError, not an SSL error: the goodbye of TLS was said

    def test_a_certificate_that_nobody_vouches_for_is_refused_when_asked_to(
        self, server_context: ssl.SSLContext
    ) -> None:
        with ScriptedServer(server_context) as server:
            player = Player(server.port, tls=True, verify=True)
            player.session.start_background()
            with pytest.raises(ssl.SSLError):
                server.accept()
            deadline = time.monotonic() + DEADLINE
            while player.session.problem is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert "certificate verify failed" in player.session.problem
            player.session.stop()

    def test_a_server_without_tls(self, server: ScriptedServer) -> None:
        player = Player(server.port, tls=True)
        player.session.start_background()
        stream = server.accept()
        stream.write(b"this is no TLS at all")
        server.accept()
        assert "cannot connect to" in (player.session.problem or "")
        player.session.stop()
