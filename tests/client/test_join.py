"""`gsrt join` as a process of its own, its input and output in pipes, against a server that does what the test says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gsrt._core import Data, Float32, Packet
from gsrt.cli import CommandError
from gsrt.cli.join import Request, describe_packet, describe_quality, parse_data
from gsrt.client import Intent
from gsrt.protocol import rt
from tests.client.scripted_server import ScriptedServer
from tests.client.terminal import Terminal


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def terminal(server: ScriptedServer) -> Iterator[Terminal]:
    terminal = Terminal("127.0.0.1", str(server.port), "the-token", "--legacy")
    yield terminal
    terminal.end()


def test_events_are_printed_and_lines_are_sent(server: ScriptedServer, terminal: Terminal) -> None:
    terminal.expect("* connecting to 127.0.0.1 port")
    stream, _ = server.admit_with_udp(2, (1,))
    terminal.expect("* ready over TCP and UDP: you are peer 2; here: 1, 2")
    stream.write(rt.player_connect_frame(3, (1, 2, 3)))
    terminal.expect("* peer 3 connected; here: 1, 2, 3")
    stream.write(Packet(9, sender=3, data=Data({1: "hi", 2: 1.5}), payload=b"ok").frame())
    terminal.expect("""< opCode 9 from peer 3, data {"1": 'hi', "2": 1.5}, payload 'ok'""".replace("'", '"'))
    stream.write(rt.player_disconnect_frame(3, (1, 2)))
    terminal.expect("* peer 3 disconnected; here: 1, 2")

    terminal.type("hello there")
    packet = stream.read()
    assert (packet.op_code, packet.data, packet.targets, packet.reliable) == (1, Data({1: "hello there"}), (), None)
    terminal.type('/to 1,3 /op 42 /data {"1": 5, "2": 1.5}')
    packet = stream.read()
    assert (packet.op_code, packet.data, packet.targets) == (42, Data({1: 5, 2: 1.5}), (1, 3))
    terminal.type("/unreliable quick")
    while True:
        [packet], _ = server.read_datagram()
        if packet.op_code:
            break
    assert packet.data == Data({1: "quick"})

    terminal.type("/peers", "/op 0 x", "/nonsense")
    terminal.expect("* here: 1, 2; you are peer 2")
    terminal.expect("! opCode 0 is the login's")
    terminal.expect("! there is no command /nonsense")
    terminal.type("/help")
    terminal.expect("TEXT ")
    terminal.type("/quit")
    with pytest.raises(EOFError):
        stream.read()
    assert terminal.status() == 0


def test_a_pipe_is_sent_once_ready_and_then_left_in_order(server: ScriptedServer, terminal: Terminal) -> None:
    terminal.type("one", "two")
    terminal.end_input()
    stream = server.admit()
    assert [stream.read().data for _ in range(2)] == [Data({1: "one"}), Data({1: "two"})]
    with pytest.raises(EOFError):
        stream.read()
    assert terminal.status() == 0


def test_an_empty_input_tells_whether_the_token_is_good(server: ScriptedServer, terminal: Terminal) -> None:
    terminal.end_input()
    with pytest.raises(EOFError):
        server.admit().read()
    assert terminal.status() == 0
    terminal.expect("* connecting")
    terminal.expect("* ready")
    terminal.expect("* left")


def test_an_interrupt_leaves_in_order(server: ScriptedServer, terminal: Terminal) -> None:
    stream = server.admit()
    terminal.expect("* connecting")
    terminal.expect("* ready")
    terminal.interrupt()
    with pytest.raises(EOFError):
        stream.read()
    assert terminal.status() == 0
    terminal.expect("* left")


def test_a_loss_is_told_and_mended(server: ScriptedServer, terminal: Terminal) -> None:
    server.admit().close()
    server.admit()
    terminal.expect("* connecting")
    terminal.expect("* ready")
    terminal.expect("* connection lost: the server closed the connection; trying again")
    terminal.expect("* ready")
    server.close_streams()


def test_a_wrong_token_is_told_after_the_first_refusal_and_given_up(server: ScriptedServer, terminal: Terminal) -> None:
    for _ in range(3):
        stream = server.accept()
        assert stream.read_login() == "the-token"
        stream.close()
    assert terminal.status() == 1
    terminal.expect("* connecting")
    terminal.expect("* the server refused this token: it is wrong or revoked")
    terminal.expect("* refused again; get a fresh token with `gsrt session create`")


def test_nobody_there_is_told(server: ScriptedServer) -> None:
    with ScriptedServer() as gone:
        port = gone.port
    terminal = Terminal("127.0.0.1", str(port), "the-token")
    try:
        terminal.expect("* connecting")
        terminal.expect(f"* cannot connect to 127.0.0.1 port {port}: Connection refused; trying again")
        terminal.interrupt()
        assert terminal.status() == 0
    finally:
        terminal.end()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("127.0.0.1", "0", "token"), 1, "port 0 is no place to join"),
        (("127.0.0.1", "65536", "token"), 2, "65536"),
        (("127.0.0.1", "8784", "token", "--link", "--tls"), 1, "--tls is for TCP"),
        (("127.0.0.1", "8784", "token", "--link", "--legacy"), 2, "not allowed with"),
        (("127.0.0.1", "8784", ""), 1, "this token cannot be right"),
        (("host.invalid", "8784", "token"), 1, "cannot find the host"),
    ],
)
def test_arguments_that_cannot_be(arguments: tuple[str, ...], status: int, words: str) -> None:
    terminal = Terminal(*arguments)
    try:
        assert terminal.status() == status
        lines: list[str] = []
        while not any(words in line for line in lines):
            lines.append(terminal.expect(""))
    finally:
        terminal.end()


class TestRequests:
    def test_a_line_of_any_bytes_travels_untouched(self) -> None:
        request = Request(b"caf\xe9 \xff".decode(errors="surrogateescape"))
        assert request.data.get_bytes(1) == b"caf\xe9 \xff"

    def test_commands_in_a_row(self) -> None:
        request = Request("/sequenced /to 0 /op 7 /channel 15 the text /op 8")
        assert (request.intent, request.peers, request.op_code) == (Intent.UNRELIABLE_SEQUENCED, (0,), 7)
        assert (request.channel, Request("x").channel) == (15, 0)
        assert Request("/unordered x").intent == Intent.RELIABLE_UNORDERED
        assert request.data == Data({1: "the text /op 8"})

    def test_data_of_every_kind(self) -> None:
        data = parse_data('{"1": 5, "2": 1.5, "3": "text", "4": [1, 2.5], "5": {"6": -7}}')
        assert data == Data({1: 5, 2: 1.5, 3: "text", 4: (1.0, 2.5), 5: Data({6: -7})})

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("/to 1,x hi", "'x' is not a peer id"),
            ("/op many hi", "'many' is not an opCode"),
            ("/data {", "data is a JSON object"),
            ("/data [1]", "data is a JSON object of slots"),
            ('/data {"a": 1}', "'a' is not a slot"),
            ('/data {"0": 1}', "slots are 1 to 127"),
            ('/data {"1": true}', "a slot holds"),
            ('/data {"1": null}', "a slot holds"),
            ('/data {"1": 9223372036854775808}', "does not fit a long"),
            ("/channel 16 hi", "channel 16: there are 0 to 15"),
            ("/channel -1 hi", "channel -1: there are 0 to 15"),
            ("/channel one hi", "'one' is not a channel"),
            ("/frobnicate", "no command /frobnicate"),
        ],
    )
    def test_what_cannot_be_meant(self, line: str, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            Request(line)


class TestDescriptions:
    def test_kinds_are_told_apart(self) -> None:
        packet = Packet(5, sender=2, data=Data({1: 1, 2: 1.0, 3: Float32(0.1), 4: (1.0, 2.5), 5: Data({6: "x"})}))
        assert describe_packet(packet) == (
            '< opCode 5 from peer 2, data {"1": 1, "2": 1.0, "3": 0.100000001, "4": [1.0, 2.5], "5": {"6": "x"}}'
        )

    def test_nothing_in_a_packet_can_play_tricks_on_the_terminal(self) -> None:
        nasty = "\x1b[2J\x9b\u202e\r\n\udcff"
        packet = Packet(5, data=Data().set_string(1, nasty), payload=b"\x1b[2J")
        assert describe_packet(packet).isprintable()
        assert describe_packet(packet).endswith("payload hex 1b5b324a")

    def test_the_way_to_the_server(self) -> None:
        quality = {"rtt": 0.0123, "min_rtt": 0.01, "jitter": 0.0005, "loss": 0.015, "bandwidth": 12_340.0}
        assert describe_quality({**quality, "datagram_bytes": 1472}, "link") == (
            "round trip 12.3 ms (least 10.0 ms, jitter 0.5 ms), loss 1.5 %, at least 12.3 kB/s get through,"
            " datagrams of 1472 bytes"
        )
        assert describe_quality(None, "link") == "nothing is known yet"
        assert describe_quality(None, "tcp+udp") == "only the link measures; this is TCP and UDP"


def test_errors_of_arguments_are_command_errors() -> None:
    import argparse

    from gsrt.cli import join

    parser = argparse.ArgumentParser()
    join.add_arguments(parser)
    with pytest.raises(CommandError, match="port 0"):
        join.run(parser.parse_args(["h", "0", "t"]))
