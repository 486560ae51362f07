"""`Session` over the link and real sockets: choosing a leg, roaming, bad networks, leaving."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gsrt._core import Packet
from gsrt.client import Intent, Session
from gsrt.protocol import rt
from tests.client.scripted_server import DEADLINE, ScriptedServer
from tests.client.terminal import Terminal
from tests.client.way import Way
from tests.support.server import PROJECT, Seat, ServerProcess, Table, free_port


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(overrides={"grace_seconds": 10}, arguments=("--insecure-link",)) as server:
        yield server


@pytest.fixture
def table(server: ServerProcess) -> Iterator[Table]:
    table = server.create(2)
    yield table
    server.end(table)


class Player:
    """A session whose callbacks land in queues."""

    def __init__(self, token: str, port: int, *, host: str = "127.0.0.1", **options: bool | None) -> None:
        self.told: queue.Queue[tuple[str, object]] = queue.Queue()
        self.packets: queue.Queue[Packet] = queue.Queue()
        self.session = Session(
            host,
            port,
            token,
            on_ready=lambda ready: self.told.put(("ready", ready)),
            on_data=self.packets.put,
            on_player_connect=lambda peer_id: self.told.put(("connect", peer_id)),
            on_player_disconnect=lambda peer_id: self.told.put(("disconnect", peer_id)),
            **options,  # type: ignore[arg-type]
        )
        self.session.start_background()

    def expect(self, *told: object) -> None:
        assert self.told.get(timeout=DEADLINE) == told

    def op_codes(self, count: int) -> list[int]:
        return [self.packets.get(timeout=DEADLINE).op_code for _ in range(count)]


Join = Callable[..., Player]


@pytest.fixture
def join() -> Iterator[Join]:
    players: list[Player] = []

    def join(token: str | Seat, port: int, **options: object) -> Player:
        players.append(Player(token.token if isinstance(token, Seat) else token, port, **options))  # type: ignore[arg-type]
        return players[-1]

    yield join
    for player in players:
        player.session.stop()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class TestTheLeg:
    def test_by_itself_it_is_the_link(self, table: Table, join: Join) -> None:
        assert Session("127.0.0.1", table.port, table.seats[0].token).quality is None
        player = join(table.seats[0], table.port)
        player.expect("ready", True)
        assert player.session.leg == "link"
        until(lambda: player.session.quality)
        quality = player.session.quality
        assert quality is not None
        assert 0 < quality["min_rtt"] <= quality["rtt"] < DEADLINE
        assert quality["datagram_bytes"] >= 1200

    def test_a_server_that_knows_no_link(self, join: Join) -> None:
        with ScriptedServer() as server:
            player = join("access", server.port)
            stream, _ = server.accept(), player.session
            assert stream.read_login() == "access"
            hellos = 0
            stream.write(*(rt.login_result_frame("reconnect", 1, (), fast=fast) for fast in (False, True)))
            player.expect("ready", True)
            assert (player.session.leg, player.session.quality, player.session.problem) == ("tcp+udp", None, None)
            assert player.session.failures == 0
            while (datagram := server.read_raw_datagram())[0] == 0:
                assert datagram[1] == 1
                hellos += 1
            assert 1 <= hellos <= 3

            server.close_streams()
            player.expect("ready", False)
            again = server.accept()
            assert again.read_login() == "reconnect"
            again.write(*(rt.login_result_frame("reconnect", 1, (), fast=fast) for fast in (False, True)))
            player.expect("ready", True)
            server.close_streams()
            player.session.stop()

    def test_a_port_that_only_a_stream_has(self, join: Join) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(DEADLINE)
            player = join("access", listener.getsockname()[1])
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(DEADLINE)
                assert connection.recv(100)[1:3] == b"\x08\x00"
                player.session.stop()

    def test_insisting_where_nobody_is(self, join: Join) -> None:
        player = join("access", free_port(), link=True)
        until(lambda: player.session.problem)
        assert "nobody has that port" in (player.session.problem or "")
        assert player.session.leg == "link"

    def test_tls_is_a_stream_unless_the_link_is_insisted_on(self, table: Table, join: Join) -> None:
        first, second = (
            join(table.seats[0], table.port, tls=True),
            join(table.seats[1], table.port, tls=True, link=True),
        )
        first.expect("ready", True)
        second.expect("ready", True)
        assert (first.session.leg, second.session.leg) == ("tls+udp", "link")

    def test_without_encryption(self, table: Table, join: Join) -> None:
        first, second = (join(seat, table.port, link=True, insecure=True) for seat in table.seats)
        first.expect("ready", True)
        second.expect("ready", True)
        until(lambda: len(first.session.active_peers) == 2)
        first.session.send(5)
        assert second.op_codes(1) == [5]

    def test_without_encryption_where_that_is_not_taken(self, join: Join) -> None:
        with ServerProcess() as server:
            table = server.create(2)
            first = join(table.seats[0], table.port, link=True, insecure=True)
            until(lambda: first.session.problem)
            assert "does not take suite 0 of the link; it takes 1" in (first.session.problem or "")
            second = join(table.seats[1], table.port, insecure=True)
            second.expect("ready", True)
            assert second.session.leg.startswith("tcp")
            first.session.stop()
            second.session.stop()

    def test_each_address_of_a_name_is_tried(self, table: Table, join: Join) -> None:
        player = join(table.seats[0], table.port, host="localhost", link=True)  # ::1 is nobody's
        player.expect("ready", True)

    def test_link_and_stream_in_one_session(self, table: Table, join: Join) -> None:
        link, stream = join(table.seats[0], table.port), join(table.seats[1], table.port, link=False)
        for player in (link, stream):
            player.expect("ready", True)
        until(lambda: len(link.session.active_peers) == len(stream.session.active_peers) == 2)
        for number, intent in enumerate(Intent):
            for channel in (0, 3):
                assert link.session.send(1 + number, intent, channel=channel)
                assert stream.session.send(1 + number, intent, channel=channel)
        for player in (link, stream):
            assert sorted(player.op_codes(8)) == [1, 1, 2, 2, 3, 3, 4, 4]

    def test_the_client_loads_little(self) -> None:
        program = "import sys, gsrt.client; print([m for m in sys.modules if m.startswith('gsrt._')])"
        loaded = subprocess.run(
            [sys.executable, "-c", program],
            cwd=PROJECT,
            env={"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
        )
        assert loaded.stdout == "['gsrt._core']\n"


class TestTheWay:
    def test_another_address_in_the_middle_of_it(self, table: Table, join: Join) -> None:
        red = join(table.seats[0], table.port)
        red.expect("ready", True)
        with Way(table.port) as way:
            blue = join(table.seats[1], way.port, link=True)
            blue.expect("ready", True)
            red.expect("connect", 2)
            way.close_for_who_is_there()
            for number in range(10):
                assert blue.session.send(1 + number)
                assert red.session.send(1 + number)
            assert red.op_codes(10) == blue.op_codes(10) == list(range(1, 11))
            assert len(way.clients) >= 2
            assert (red.told.empty(), blue.told.empty()) == (True, True)
            blue.session.stop()
            red.expect("disconnect", 2)

    def test_what_is_reliable_comes_over_a_bad_way_and_before_the_goodbye(self, table: Table, join: Join) -> None:
        red = join(table.seats[0], table.port)
        red.expect("ready", True)
        with Way(table.port, loss=0.2, seed=3) as way:
            blue = join(table.seats[1], way.port, link=True)
            blue.expect("ready", True)
            red.expect("connect", 2)
            for number in range(50):
                assert blue.session.send(1 + number, payload=b"x" * 100)
            blue.session.stop()
            assert red.op_codes(50) == list(range(1, 51))
            assert way.lost > 0
            red.expect("disconnect", 2)

    def test_a_server_that_is_gone_is_noticed_soon(self, join: Join) -> None:
        with ServerProcess() as server:
            table = server.create(2)
            player = join(table.seats[0], table.port)
            player.expect("ready", True)
        player.expect("ready", False)
        assert "the session is over, or the server has stopped" in (player.session.problem or "")
        until(lambda: "cannot connect to" in (player.session.problem or ""))
        player.session.stop()

    def test_a_server_that_is_killed_is_noticed_soon_by_who_sends(self, join: Join) -> None:
        with ServerProcess() as server:
            table = server.create(2)
            player = join(table.seats[0], table.port)
            player.expect("ready", True)
            server.process.kill()
            server.process.wait()

        def send() -> bool:
            player.session.send(5)
            return not player.told.empty()

        until(send)
        player.expect("ready", False)
        player.session.stop()


class TestDriving:
    def test_from_many_threads(self, table: Table, join: Join) -> None:
        red, blue = (join(seat, table.port, link=True) for seat in table.seats)
        for player in (red, blue):
            player.expect("ready", True)
        until(lambda: len(red.session.active_peers) == 2)

        def send_some(channel: int) -> None:
            for number in range(50):
                assert red.session.send(1 + channel, payload=bytes([number]), channel=channel)
                time.sleep(0.002)  # below the rate that the server allows

        threads = [threading.Thread(target=send_some, args=(channel,)) for channel in range(4)]
        for thread in threads:
            thread.start()
        heard: dict[int, list[int]] = {1 + channel: [] for channel in range(4)}
        for _ in range(200):
            packet = blue.packets.get(timeout=DEADLINE)
            heard[packet.op_code].append((packet.payload or b"")[0])
        for thread in threads:
            thread.join()
        assert heard == {1 + channel: list(range(50)) for channel in range(4)}

    def test_stop_in_a_callback_and_come_back(self, table: Table) -> None:
        stopped = threading.Event()

        def on_ready(ready: bool) -> None:
            if not stopped.is_set():
                session.stop()
                stopped.set()

        session = Session("127.0.0.1", table.port, table.seats[0].token, on_ready=on_ready)
        session.start_background()
        assert stopped.wait(DEADLINE)
        assert not session.ready
        session.start_background()
        until(lambda: session.ready)
        assert (session.leg, session.peer_id) == ("link", 1)
        session.stop()

    def test_a_game_that_was_busy_loading_is_still_in(self, table: Table, join: Join) -> None:
        red = join(table.seats[0], table.port)
        red.expect("ready", True)
        session = Session("127.0.0.1", table.port, table.seats[1].token, link=True)
        session.start()

        def frame() -> bool:
            session.update()
            return session.ready

        until(frame)
        session.send(5)
        time.sleep(1)  # no update; probe timeouts are long due when the next one comes
        for number in range(3):
            session.send(6 + number)
            session.update()
        assert red.op_codes(4) == [5, 6, 7, 8]
        assert session.ready
        session.stop()
        red.expect("connect", 2)
        red.expect("disconnect", 2)
        assert red.told.empty()


class TestTerminal:
    def test_errors_for_people(self, table: Table) -> None:
        port = str(table.port)
        for arguments, words in (
            (("127.0.0.1", port, "x" * 40, "--link"), "* the server refused this token"),
            (("127.0.0.1", str(free_port()), "x" * 40, "--link"), "* cannot connect to 127.0.0.1 port"),
        ):
            terminal = Terminal(*arguments)
            try:
                terminal.expect("* connecting")
                terminal.expect(words)
                terminal.interrupt()
                assert terminal.status() == 0
            finally:
                terminal.end()
