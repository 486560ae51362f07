"""The recorded connect dances, replayed against the server as the clients' own bytes.

What the clients said is sent again byte for byte but for the tokens; what the server says must be the recording, but
for the tokens and the sequence numbers, which this server never puts on what it sends.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path

from tests.doubles.driver import Driver
from tests.doubles.probe import Probe
from tests.sessions.match import MakeMatch, Match
from tests.support import wire
from tests.support.wire import Packet

CAPTURES = Path(__file__).parent.parent / "vectors" / "captures.jsonl"
LEGS = {"cpp": "tls", "cs": "tls", "cs-websocket": "wss", "js": "wss"}
ACCESS = b"ref:"
BURST = 1009  # opCode of the packets the recording ends with


class Replay:
    """The recording's clients as probes, peer ids in the order of their first appearance."""

    def __init__(self, match: Match) -> None:
        self.match = match
        self.probes: dict[str, Probe] = {}
        self.expected: dict[tuple[str, str], list[Packet]] = defaultdict(list)

    @property
    def driver(self) -> Driver:
        """The loop."""
        return self.match.driver

    def peer_id(self, client: str) -> int:
        """1, 2, ..."""
        return list(self.probes).index(client) + 1

    def probe(self, client: str) -> Probe:
        """The client's connection, opened when it first speaks."""
        if client not in self.probes:
            self.probes[client] = self.match.probe(LEGS[client], client)
        return self.probes[client]

    def reconnect_token(self, client: str) -> bytes:
        """The token of the client's LoginResult."""
        return self.probes[client].login_results()[0].reconnect_token or b""

    def say(self, client: str, leg: str, frame: bytes) -> None:
        """Send what the client sent, tokens replaced."""
        probe = self.probe(client)
        (body,), _ = wire.split_frames(frame)
        packet = wire.decode_packet(body)
        if packet.op_code == wire.OP_LOGIN:
            recorded = wire.read_fields(packet.payload or b"")[0][2]
            if recorded.startswith(ACCESS):
                ours = self.match.token(self.peer_id(client)).encode()
            else:
                ours = self.reconnect_token(client)
            frame = wire.frame(
                wire.encode_packet(dataclasses.replace(packet, payload=wire.encode_login(ours), order=()))
            )
        elif wire.frame(wire.encode_packet(packet)) != frame:
            raise AssertionError(f"the plain codec changes {frame.hex()}")
        if leg == "udp":
            probe.send_datagram(frame)
        else:
            probe.send(frame)

    def hear(self, client: str, leg: str, frame: bytes) -> None:
        """Wait until the server has said as much as it had in the recording."""
        (body,), _ = wire.split_frames(frame)
        key = (client, "udp" if leg == "udp" else "stream")
        self.expected[key].append(without_secrets(wire.decode_packet(body)))
        count = len(self.expected[key])
        self.driver.run_until(
            lambda: len(self.said(*key)) >= count, f"answer {count} to {client} by {leg}: {frame.hex()}"
        )

    def said(self, client: str, leg: str) -> list[Packet]:
        """What the server has said so far; repeats of its UDP greeting left out."""
        probe = self.probes[client]
        packets = [without_secrets(packet) for packet in (probe.received_fast if leg == "udp" else probe.received)]
        greetings = [packet for packet in packets if packet.op_code == wire.OP_UDP_CONNECT]
        return greetings[:1] + [packet for packet in packets if packet.op_code != wire.OP_UDP_CONNECT]


def without_secrets(packet: Packet) -> Packet:
    """The packet without what may differ: the value of a token, and a sequence number."""
    order = tuple(number for number in packet.order if number != 2)
    if packet.op_code == wire.OP_LOGIN_RESULT:
        result = wire.decode_login_result(packet.payload or b"")
        assert result.reconnect_token
        plain = wire.encode_login_result(dataclasses.replace(result, reconnect_token=b"token"))
        return dataclasses.replace(packet, payload=plain, order=order)
    return dataclasses.replace(packet, sequence=None, order=order)


def test_the_recorded_session_is_answered_as_it_was(new_match: MakeMatch) -> None:
    replay = Replay(new_match(4))
    lines = [json.loads(line) for line in CAPTURES.read_text().splitlines()]
    for line in lines:
        act = replay.say if line["dir"] == "c2s" else replay.hear
        act(line["client"], line["leg"], bytes.fromhex(line["hex"]))
    assert list(replay.probes) == list(LEGS)
    for key, expected in replay.expected.items():
        assert replay.said(*key)[: len(expected)] == expected, key
        # the recording stops in the middle of a burst of one and the same packet
        assert {packet.op_code for packet in replay.said(*key)[len(expected) :]} <= {BURST}
    for probe in replay.probes.values():
        assert all(packet.sequence is None for packet in probe.received + probe.received_fast)
        assert probe.ended is None


def test_a_recorded_burst_sent_twice_is_relayed_once(new_match: MakeMatch) -> None:
    """Its packets are sequenced: the second time they are stale."""
    match = new_match(2)
    replay = Replay(match)
    lines = [json.loads(line) for line in CAPTURES.read_text().splitlines()]
    for line in lines:
        if line["client"] == "cpp" and line["dir"] == "c2s" and line["t"] < 0.01:
            replay.say("cpp", line["leg"], bytes.fromhex(line["hex"]))
            match.driver.run_until(lambda: bool(replay.probes["cpp"].login_results()), "LoginResult")
    match.driver.run_until(lambda: bool(replay.probes["cpp"].received_fast), "the UDP greeting")
    watcher = match.ready_probe(2)
    burst = [bytes.fromhex(line["hex"]) for line in lines if line["t"] > 2.36 and line["dir"] == "c2s"]
    assert len(burst) == 20
    for frame in burst + burst:
        replay.say("cpp", "udp", frame)
    match.until_counted("dropped_stale", 20)
    match.driver.run_until(lambda: len(watcher.user_packets) >= 20, "20 packets")
    assert len(watcher.user_packets) == 20
    assert match.server.counters(match.table)["dropped_stale"] == 20
