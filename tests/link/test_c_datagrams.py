"""The C client of the link against a server that is written by hand: what stands in each datagram, and when it goes."""

from __future__ import annotations

from typing import Any

import pytest

from gsrt._link import KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED, KIND_UNRELIABLE
from gsrt.protocol import link
from tests.link import c_client
from tests.link.c_client import (
    CLOSED,
    CLOSED_EVENT,
    OPEN,
    SENT,
    SILENT,
    CLink,
    Event,
)
from tests.link.c_world import CONNECTION, START, TOKEN, Server, packet_of


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return c_client.build(tmp_path_factory.getbasetemp() / "c_client")


def varint(value: int) -> bytes:
    made = b""
    while value >= 0x80:
        made += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return made + bytes((value,))


def frame(type: int, stream: int, sequence: int, body: bytes, total: int | None = None) -> bytes:
    made = bytes((type,)) + varint(stream) + (sequence & 0xFFFF).to_bytes(2, "little")
    return made + (b"" if total is None else varint(total)) + varint(len(body)) + body


class Sent:
    """A DATA datagram of the client in suite 0, taken apart."""

    def __init__(self, datagram: bytes) -> None:
        assert datagram[:10] == b"\0\x06" + CONNECTION
        self.size = len(datagram)
        self.number = int.from_bytes(datagram[10:14], "little")
        body = datagram[14:]
        self.acked: set[int] = set()
        self.largest: int | None = None
        self.delay = 0.0
        at = 1
        if body[0]:
            self.largest = int.from_bytes(body[1:5], "little")
            self.delay = int.from_bytes(body[5:7], "little") / 1e4
            at = 6 + body[0]
            bits = int.from_bytes(body[7:at], "little")
            self.acked = {self.largest} | {self.largest - 1 - k for k in range(8 * body[0]) if bits >> k & 1}
        self.ack_bytes = body[0]
        self.frames: list[tuple[int, ...] | tuple[int, bytes]] = []
        self.messages: list[tuple[int, int, int, int | None, bytes]] = []  # type, stream, sequence, total, bytes
        while at < len(body):
            type = body[at]
            at += 1
            if type == 0:
                assert not any(body[at:])
                break
            if type in (2, 3):
                self.frames.append((type, body[at : at + 8]))
                at += 8
            elif type == 4:
                self.frames.append((type, body[at : at + 2 + body[at + 1]]))
                at += 2 + body[at + 1]
            elif type == 1:
                self.frames.append((type,))
            else:
                stream = sequence = 0
                total = None
                if type != 0x80:
                    stream, at = self._number(body, at)
                    sequence = int.from_bytes(body[at : at + 2], "little")
                    at += 2
                if type & 4:
                    total, at = self._number(body, at)
                length, at = self._number(body, at)
                self.messages.append((type, stream, sequence, total, body[at : at + length]))
                at += length
        assert at <= len(body)

    @staticmethod
    def _number(body: bytes, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (body[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if body[at - 1] < 0x80:
                return value, at


class Script:
    """A client in suite 0 that is in, and what a server might send it."""

    def __init__(self, module: Any, **fields: Any) -> None:
        fields.setdefault("probe", False)
        self.client = CLink(module, TOKEN, 1, suite=link.SUITE_INSECURE, **fields)
        self.now = START
        self.number = 0
        server = Server()
        self.client.connect(self.now)
        for _ in range(2):
            for datagram in self.client.datagrams_to_send(self.now):
                server.receive_datagram(datagram, self.now)
            answer = server.door.counters["cookies"], server._answers.pop()
            assert self.client.receive_datagram(answer[1], self.now)
        assert self.client.state == OPEN

    def sent(self) -> list[Sent]:
        return [Sent(datagram) for datagram in self.client.datagrams_to_send(self.now)]

    def ack(self, largest: int, bits: bytes = b"", delay: int = 0) -> bytes:
        return bytes((1 + len(bits),)) + largest.to_bytes(4, "little") + delay.to_bytes(2, "little") + bits

    def receive(self, frames: bytes, number: int | None = None, ack: bytes = b"\0") -> bool:
        if number is None:
            number = self.number
            self.number += 1
        header = b"\0\x06" + CONNECTION + (number & 0xFFFFFFFF).to_bytes(4, "little")
        return self.client.receive_datagram(header + ack + frames, self.now)

    def events(self) -> list[Event]:
        made = []
        while (event := self.client.next_event()) is not None:
            made.append(event)
        return made


PACKET = b"\x08\x02"
MESSAGE_FRAME = frame(0x82, 0, 0, PACKET)


def settled(module: Any, **fields: Any) -> Script:
    """PlayerReady is acknowledged, after 20 ms."""
    script = Script(module, **fields)
    (first,) = script.sent()
    assert first.number == 0 and first.messages == [(0x82, 0, 0, None, b"\x08\x0d")]
    script.now += 0.02
    assert script.receive(b"", ack=script.ack(0))
    assert script.sent() == []
    return script


def test_pieces_of_a_message(module: Any) -> None:
    script = settled(module)
    message = packet_of(5, 1, 2500)
    script.client.send(message, KIND_ORDERED, 3, script.now)
    script.client.send(PACKET, KIND_ORDERED, 3, script.now)
    script.client.send(PACKET, KIND_UNORDERED, 3, script.now)
    script.client.send(PACKET, KIND_SEQUENCED, 3, script.now)
    script.client.send(PACKET, KIND_UNRELIABLE, 3, script.now)
    messages = sorted(message for sent in script.sent() for message in sent.messages)
    assert messages == [
        (0x80, 0, 0, None, PACKET),
        (0x81, 3, 0, None, PACKET),
        (0x82, 3, 3, None, PACKET),
        (0x83, 0, 0, None, PACKET),
        (0x86, 3, 0, len(message), message[:1100]),
        (0x8A, 3, 1, None, message[1100:2200]),
        (0x8A, 3, 2, None, message[2200:]),
    ]


def test_acknowledges_soon(module: Any) -> None:
    script = settled(module)
    script.receive(MESSAGE_FRAME)
    assert script.sent() == []
    assert script.client.next_timer() == pytest.approx(script.now + 0.01)
    script.now = script.client.next_timer()
    (sent,) = script.sent()
    assert (sent.largest, sent.acked, sent.frames, sent.messages) == (1, {0, 1}, [], [])
    assert sent.delay == pytest.approx(0.01, abs=0.0002)
    assert script.sent() == []


def test_acknowledges_at_once_what_came_out_of_turn(module: Any) -> None:
    script = settled(module)
    script.receive(frame(0x82, 0, 1, PACKET), number=3)
    (sent,) = script.sent()
    assert sent.acked == {0, 3}
    script.receive(MESSAGE_FRAME, number=2)
    (sent,) = script.sent()
    assert (sent.largest, sent.acked) == (3, {0, 2, 3})
    assert [event.packet for event in script.events()] == [PACKET, PACKET]


def test_acknowledges_every_eighth_at_once(module: Any) -> None:
    script = settled(module)
    for sequence in range(8):
        assert script.sent() == []
        script.receive(frame(0x83, 0, sequence, PACKET))
    (sent,) = script.sent()
    assert sent.acked == set(range(9))


def test_acknowledges_lazily(module: Any) -> None:
    script = settled(module)
    script.receive(b"\x80\x02" + PACKET)
    assert script.client.next_timer() == pytest.approx(script.now + 0.1)
    for _ in range(63):
        assert script.sent() == []
        script.receive(b"\x80\x02" + PACKET)
    (sent,) = script.sent()
    assert sent.acked == set(range(65))


def test_what_is_known_to_be_known_is_not_told_again(module: Any) -> None:
    script = settled(module)
    for _ in range(20):
        script.receive(b"\x80\x02" + PACKET)
    script.client.send(PACKET, KIND_ORDERED, 0, script.now)
    (sent,) = script.sent()
    assert (sent.largest, sent.ack_bytes) == (20, 4)
    script.receive(b"", ack=script.ack(sent.number))
    script.receive(b"\x80\x02" + PACKET, number=25)
    script.client.send(PACKET, KIND_ORDERED, 0, script.now)
    (sent,) = script.sent()
    assert sent.acked == {21, 25}
    # A late one, older than what it knows: told until that is known, too.
    script.number = 26
    script.receive(b"", ack=script.ack(sent.number))
    script.receive(b"\x01", number=22)
    (sent,) = script.sent()
    assert sent.acked == {22, 25, 26}


def test_acknowledgements_reach_256_below(module: Any) -> None:
    script = settled(module)
    for _ in range(400):
        script.receive(b"\x80\x02" + PACKET)
        script.events()
    sent = script.sent()[-1]
    assert sent.ack_bytes == 33
    assert sent.acked == set(range(400 - 256, 401))
    assert not script.receive(b"\x01", number=143)
    assert not script.receive(b"\x01", number=400)


def test_a_gap_in_numbers_is_forgotten(module: Any) -> None:
    """Bits of long ago must not stand for numbers that never came."""
    script = settled(module)
    for number in (1, 2, 3, 600, 1000, 1030):
        script.receive(b"\x01", number=number)
        script.now += 0.01
        sent = script.sent()[-1]
        expected = {known for known in (0, 1, 2, 3, 600, 1000, 1030) if number - 256 <= known <= number}
        assert sent.acked == expected
    assert script.receive(b"\x01", number=1000 - 200)


def test_answers_a_challenge(module: Any) -> None:
    script = settled(module)
    script.receive(b"\x02" + b"who goes")
    (sent,) = script.sent()
    assert sent.frames == [(3, b"who goes")]


def test_a_new_path(module: Any) -> None:
    script = settled(module)
    assert script.client.quality()["rtt"] > 0
    script.client.path_changed(script.now)
    (sent,) = script.sent()
    assert sent.frames == [(1,)]
    quality = script.client.quality()
    assert (quality["rtt"], quality["congestion_window"], quality["datagram_bytes"]) == (0, 12_000, 1200)


def test_timeouts_double_and_the_caller_is_told(module: Any) -> None:
    script = Script(module)
    sent = script.sent()
    times = [0.0]
    told: float | None = None
    while len(times) < 8:
        script.now = script.client.next_timer()
        script.client.handle_timer(script.now)
        if told is None and any(event.type == SILENT for event in script.events()):
            told = script.now - START
        again = script.sent()
        if any(message[4] == b"\x08\x0d" for each in again for message in each.messages):
            times.append(round(script.now - START, 6))
        sent += again
    assert times == [0, 0.21, 0.63, 1.47, 2.47, 3.47, 4.47, 5.47]
    assert told == pytest.approx(2.47)
    assert [each.number for each in sent] == list(range(len(sent)))
    assert script.client.quality()["congestion_window"] == 4 * 1200


def test_samples_are_less_what_the_server_waited(module: Any) -> None:
    """In units of 100 µs, 0.2 s at most; 100 µs are left at least."""
    script = Script(module)
    (first,) = script.sent()
    script.now += 0.03
    script.receive(b"", ack=script.ack(first.number, delay=100))
    samples = [0.02]
    for trip, delay, sample in ((0.03, 150, 0.015), (0.25, 60_000, 0.05), (0.03, 2000, 0.0001)):
        script.client.send(PACKET, KIND_ORDERED, 0, script.now)
        (sent,) = script.sent()
        script.now += trip
        script.receive(b"", ack=script.ack(sent.number, delay=delay))
        samples.append(sample)
    rtt, variation = samples[0], samples[0] / 2
    for sample in samples[1:]:
        variation += (abs(rtt - sample) - variation) / 4
        rtt += (sample - rtt) / 8
    quality = script.client.quality()
    assert (quality["rtt"], quality["rtt_variation"]) == pytest.approx((rtt, variation))
    assert quality["min_rtt"] == pytest.approx(0.0001)


def asked(script: Script) -> list[Sent]:
    """What goes out when the next timer is due."""
    script.now = script.client.next_timer()
    script.client.handle_timer(script.now)
    return script.sent()


def test_asks_twice_from_the_second_timeout_on(module: Any) -> None:
    """In datagrams of the size that any path takes, even where larger ones were in use."""
    script = settled(module)
    script.client.send(packet_of(5, 1, 1000), KIND_ORDERED, 0, script.now)
    (first,) = script.sent()
    for count in (1, 2, 2, 2):
        again = asked(script)
        assert [each.messages for each in again] == [first.messages] * count
        assert all(each.size <= 1200 for each in again)
    script.receive(b"", ack=script.ack(again[-1].number))
    assert script.client.quality()["waiting_bytes"] == 0
    script.client.send(PACKET, KIND_ORDERED, 0, script.now)
    script.sent()
    assert len(asked(script)) == 1  # and counts from one again


def test_asks_first_after_what_the_server_waits_for(module: Any) -> None:
    """From the second timeout on; then after each datagram under way in turn."""
    script = settled(module)
    packets = [packet_of(5, number, 1000) for number in range(4)]
    for packet in packets:
        script.client.send(packet, KIND_ORDERED, 3, script.now)
    script.client.send(PACKET, KIND_ORDERED, 4, script.now)
    assert len(script.sent()) == 4

    def packets_of(each: Sent) -> set[bytes]:
        return {message[4] for message in each.messages}

    asked(script)
    first, second = asked(script)
    assert packets_of(first) == {packets[0], PACKET}
    others = [packets_of(second)]
    for _ in range(6):
        first, second = asked(script)
        assert packets_of(first) == {packets[0], PACKET}
        others.append(packets_of(second))
    assert all(any(packet in other for other in others) for packet in packets)


def test_timeouts_allow_for_how_long_the_server_waits(module: Any) -> None:
    """One with a tick acknowledges later than it means to; that is no reason to ask."""
    script = settled(module)
    held = 0.0
    for wait in (0.03, 0.002, 0.3):
        script.client.send(PACKET, KIND_ORDERED, 0, script.now)
        script.sent()
        script.now += wait
        script.client.send(PACKET, KIND_ORDERED, 0, script.now)
        (second,) = script.sent()
        script.now += 0.02
        script.receive(b"", ack=script.ack(second.number, b"\1"))
        held = min(0.2, max(held * (1 - 1 / 64), wait))
    script.client.send(PACKET, KIND_ORDERED, 0, script.now)
    script.sent()
    quality = script.client.quality()
    pto = quality["rtt"] + max(4 * quality["rtt_variation"], 0.001)
    assert script.client.next_timer() == pytest.approx(script.now + pto + held)


def test_what_elicits_later_does_not_put_off_what_elicits_soon(module: Any) -> None:
    script = settled(module)
    script.client.send(PACKET, KIND_UNRELIABLE, 0, script.now)
    (later,) = script.sent()
    script.now += 0.005
    script.client.send(PACKET, KIND_ORDERED, 0, script.now)
    script.sent()
    sent_at = script.now
    script.now += 0.015
    script.receive(b"", ack=script.ack(later.number))
    quality = script.client.quality()
    pto = quality["rtt"] + max(4 * quality["rtt_variation"], 0.001) + 0.01
    assert script.client.next_timer() == pytest.approx(sent_at + pto)


def asked_until_silent(script: Script) -> list[float]:
    """When it asked, until it said that nothing comes."""
    times: list[float] = []
    while not any(event.type == SILENT for event in script.events()):
        if asked(script):
            times.append(script.now)
    return times


def test_silence_is_four_timeouts_in_a_row(module: Any) -> None:
    script = settled(module)
    script.client.send(PACKET, KIND_ORDERED, 0, script.now)
    script.sent()
    for _ in range(3):
        asked(script)
    assert script.receive(b"")  # a word of the server, which acknowledges nothing: it counts from here
    times = asked_until_silent(script)
    assert len(times) == 4
    script.client.path_changed(script.now)
    script.sent()
    times = asked_until_silent(script)
    assert len(times) == 4
    assert times == pytest.approx([times[0] + after for after in (0, 0.42, 1.26, 2.26)])


def test_silence_is_half_a_second_at_least(module: Any) -> None:
    """From the first timeout on: where the path is short, four are no sign yet."""
    script = settled(module)
    for _ in range(60):
        script.client.send(PACKET, KIND_ORDERED, 0, script.now)
        (sent,) = script.sent()
        script.now += 0.001
        script.receive(b"", ack=script.ack(sent.number))
    script.client.send(PACKET, KIND_ORDERED, 0, script.now)
    script.sent()
    times = asked_until_silent(script)
    assert len(times) > 4
    assert times[-2] - times[0] < 0.5 <= times[-1] - times[0]


def test_what_was_sent_over_another_path_says_nothing_of_this_one(module: Any) -> None:
    script = settled(module)
    for _ in range(4):
        script.client.send(PACKET, KIND_UNRELIABLE, 0, script.now)
        script.sent()
    script.now += 1.5
    script.client.path_changed(script.now)
    (ping,) = script.sent()
    script.receive(b"", ack=script.ack(ping.number - 2))
    quality = script.client.quality()
    assert (quality["rtt"], quality["bandwidth"], quality["loss"]) == (0, 0, 0)
    script.now += 0.05
    script.receive(b"", ack=script.ack(ping.number))  # those before are lost
    quality = script.client.quality()
    assert quality["rtt"] == pytest.approx(0.05)
    assert quality["datagrams_lost"] >= 1 and quality["loss"] == 0
    assert quality["congestion_window"] >= 12_000


def test_lost_frames_are_sent_again_in_new_datagrams(module: Any) -> None:
    script = settled(module)
    packets = [packet_of(5, number, 1000) for number in range(5)]
    for packet in packets:
        script.client.send(packet, KIND_ORDERED, 0, script.now)
    sent = script.sent()
    assert [each.number for each in sent] == [1, 2, 3, 4, 5]
    script.now += 0.02
    script.receive(b"", ack=script.ack(5, bytes((0b111,))))  # 1 is missing
    (again,) = script.sent()
    assert again.messages == sent[0].messages and again.number == 6
    assert script.client.quality()["datagrams_lost"] == 1
    assert script.client.quality()["congestion_window"] == pytest.approx(6000, abs=600)
    # It comes after all: from now on, three later ones are no proof.
    script.now += 0.005
    script.receive(b"", ack=script.ack(1))
    for packet in packets[:4]:
        script.client.send(packet, KIND_ORDERED, 0, script.now)
    script.now += 0.1
    assert [each.number for each in script.sent()] == [7, 8, 9, 10]
    script.receive(b"", ack=script.ack(10, bytes((0b1011,))))
    assert script.client.quality()["datagrams_lost"] == 1


def test_begins_with_ten_datagrams(module: Any) -> None:
    script = settled(module)
    for number in range(60):
        script.client.send(packet_of(5, number, 1000), KIND_ORDERED, 0, script.now)
    assert sum(each.size for each in script.sent()) in range(10_000, 12_001)


def test_unreliable_ones_beyond_the_window_are_dropped(module: Any) -> None:
    script = settled(module)
    for number in range(60):
        script.client.send(packet_of(5, number, 1000), KIND_ORDERED, 0, script.now)
    for _ in range(10):
        script.client.send(packet_of(6, 0, 1000), KIND_UNRELIABLE, 0, script.now)
    sent = script.sent()
    unreliable = [message for each in sent for message in each.messages if message[0] == 0x80]
    assert [each.messages[0][0] for each in sent[:4]] == [0x80, 0x82, 0x80, 0x82]  # they take turns
    assert len(unreliable) <= 8 and sum(each.size for each in sent) <= 14 * 1200
    for _ in range(10):
        script.client.send(packet_of(6, 0, 1000), KIND_UNRELIABLE, 0, script.now)
    assert len(script.sent()) <= 2
    assert script.client.quality()["unreliable_dropped"] >= 8


BROKEN = {
    "an unknown frame": b"\x05",
    "a kind that is none": b"\x84\x00\x00\x00\x01a",
    "a frame of unreliable pieces": frame(0x85, 0, 0, bytes(1100), 2000),
    "a cut frame": MESSAGE_FRAME[:-1],
    "a cut challenge": b"\x02" + bytes(7),
    "a cut close": b"\x04\x00\x05abc",
    "a length of 0": b"\x80\x00",
    "a varint of five bytes": b"\x80\x82\x80\x80\x80\x00" + PACKET,
    "a stream over 4095": frame(0x82, 4096, 0, PACKET),
    "a piece over 1100 bytes": frame(0x82, 0, 0, bytes(1101)),
    "a first piece under 1100 bytes": frame(0x86, 0, 0, bytes(1099), 2000),
    "a total that needs no pieces": frame(0x86, 0, 0, bytes(1100), 1100),
    "a total over what is taken": frame(0x86, 0, 0, bytes(1100), 262_145),
    "padding that is not zero": b"\x00\x00\x01",
    "an unordered stream": frame(0x83, 1, 0, PACKET),
    "a sequence beyond the window": frame(0x82, 0, 512, PACKET),
    "an unordered sequence beyond the window": frame(0x83, 0, 512, PACKET),
    "a piece of nothing": frame(0x8A, 0, 0, PACKET),
    "two beginnings": frame(0x86, 0, 1, bytes(1100), 2000) + frame(0x86, 0, 0, bytes(1100), 2000),
    "a last piece of a wrong length": frame(0x86, 0, 0, bytes(1100), 2000) + frame(0x8A, 0, 1, bytes(899)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_the_contract_ends_the_connection(module: Any, what: str) -> None:
    script = settled(module)
    size = len(BROKEN[what])
    if size > 1400:
        middle = BROKEN[what].index(b"\x86", 5) if what == "two beginnings" else BROKEN[what].index(b"\x8a\x00\x01")
        script.receive(BROKEN[what][:middle])
        script.receive(BROKEN[what][middle:])
    else:
        script.receive(BROKEN[what])
    sent = script.sent()
    assert [each.frames[0][0] for each in sent] == [4, 4, 4]
    assert {each.frames[0][1][:1] for each in sent} == {b"\x01"}  # type: ignore[index]
    (event,) = script.events()
    assert (event.type, event.reason) == (CLOSED_EVENT, 1)


def test_acknowledgements_that_make_no_sense(module: Any) -> None:
    never_sent = [b"\1" + number.to_bytes(6, "little") for number in (1, 77, 0xFFFFFFFF)]
    for ack in (b"\x22" + bytes(40), b"\x01\x00\x00\x00", *never_sent):
        script = settled(module)
        script.receive(b"", ack=ack)
        assert script.client.state == CLOSED
        assert script.client.quality()["rtt"] == pytest.approx(0.02)


def test_what_there_is_no_room_for_is_not_acknowledged(module: Any) -> None:
    """Pieces of more long messages than there is room for, of each all but the first: all come through in the end."""
    script = settled(module, small=True)
    messages = {channel: packet_of(5, channel, 16_000, sender=1) for channel in range(1, 5)}
    waiting: list[bytes] = []
    for channel, message in messages.items():
        pieces = [message[at : at + 1100] for at in range(0, len(message), 1100)]
        waiting += [frame(0x8A, 16 + channel, at, piece) for at, piece in enumerate(pieces) if at > 0]
    for channel, message in messages.items():
        waiting.append(frame(0x86, 16 + channel, 0, message[:1100], len(message)))
    came: dict[int, bytes] = {}
    for _ in range(100):
        under_way: dict[int, bytes] = {}
        for piece in waiting:
            under_way[script.number] = piece
            script.receive(piece)
            came.update((event.channel, event.packet) for event in script.events())
            for sent in script.sent():
                for number in sent.acked & under_way.keys():
                    del under_way[number]
        script.now += 0.01
        for sent in script.sent():
            for number in sent.acked & under_way.keys():
                del under_way[number]
        waiting = list(under_way.values())
        if not waiting:
            break
    assert came == messages
    assert script.client.quality()["datagrams_without_room"] > 10


def test_who_has_no_room_says_that_it_hears(module: Any) -> None:
    """A datagram goes out, ACK_DELAY after the first that was not taken, though there is nothing to acknowledge."""
    script = settled(module, small=True)
    for number in range(12):
        script.receive(frame(0x82, 16, 1 + number, bytes(1100)))
        script.now += 0.01
        script.sent()
    script.client.send(PACKET, KIND_ORDERED, 0, script.now)
    known = script.sent()[-1].number
    script.receive(b"", ack=script.ack(known))
    script.sent()
    for number in (12, 13):
        script.receive(frame(0x82, 16, 1 + number, bytes(1100)))
        assert script.sent() == []
        assert script.client.next_timer() == pytest.approx(script.now + 0.01 - 0.005 * (number - 12))
        script.now += 0.005
    (sent,) = script.sent()
    assert (sent.messages, sent.frames) == ([], [])
    assert script.sent() == []
    assert script.client.quality()["datagrams_without_room"] == 2


def test_more_may_not_be_begun_than_is_taken(module: Any) -> None:
    """Of ordered messages of several pieces, receive_bytes at a time."""
    script = settled(module, small=True)
    for channel in range(1, 5):
        script.receive(frame(0x86, 16 + channel, 0, bytes(1100), 16_384))
    assert script.client.state == OPEN
    script.receive(frame(0x82, 0, 0, PACKET))
    assert [event.packet for event in script.events()] == [PACKET]
    script.receive(frame(0x86, 21, 0, bytes(1100), 1101))
    (event,) = [event for event in script.events() if event.type == CLOSED_EVENT]
    assert event.reason == 1


def test_what_is_whole_makes_room_for_others(module: Any) -> None:
    script = settled(module, small=True)
    message = packet_of(5, 1, 16_000, sender=1)
    for _ in range(2):
        for channel in range(1, 5):
            pieces = [message[at : at + 1100] for at in range(0, len(message), 1100)]
            base = 0 if script.number < 60 else len(pieces)
            script.receive(frame(0x86, 16 + channel, base, pieces[0], len(message)))
            for at, piece in enumerate(pieces[1:], 1):
                script.receive(frame(0x8A, 16 + channel, base + at, piece))
            assert [event.packet for event in script.events()] == [message]


UNSOUND = {
    "a piece after a message": [frame(0x83, 0, 0, PACKET), frame(0x8B, 0, 1, PACKET)],
    "a message before a piece": [frame(0x8B, 0, 1, PACKET), frame(0x83, 0, 0, PACKET)],
    "a message within another": [frame(0x87, 0, 3, bytes(1100), 3000), frame(0x83, 0, 4, PACKET)],
    "a message that is begun around another": [frame(0x83, 0, 4, PACKET), frame(0x87, 0, 3, bytes(1100), 3000)],
    "a message begun within another": [
        frame(0x87, 0, 4, bytes(1100), 3000),
        frame(0x87, 0, 3, bytes(1100), 3000),
    ],
    "a piece beyond the last": [
        frame(0x87, 0, 3, bytes(1100), 2000),
        frame(0x8B, 0, 4, bytes(900)),
        frame(0x8B, 0, 5, bytes(900)),
    ],
    "a piece beyond the last, first": [frame(0x8B, 0, 5, bytes(900)), frame(0x87, 0, 3, bytes(1100), 2000)],
    "a short piece in the middle": [frame(0x8B, 0, 4, bytes(1099)), frame(0x87, 0, 3, bytes(1100), 3300)],
    "a long piece at the end": [
        frame(0x87, 0, 3, bytes(1100), 3000),
        frame(0x8B, 0, 5, bytes(1100)),
        frame(0x8B, 0, 4, bytes(1100)),
    ],
    "a piece before everything": [frame(0x8B, 0, 0, PACKET)],
}


@pytest.mark.parametrize("what", UNSOUND)
def test_unordered_pieces_that_make_no_message(module: Any, what: str) -> None:
    """Noticed with the last of these, in whatever order they come."""
    script = settled(module)
    *before, last = UNSOUND[what]
    for one in before:
        script.receive(one)
    assert what == "a piece beyond the last" or script.client.state == OPEN
    script.receive(last)
    assert [event.reason for event in script.events() if event.type == CLOSED_EVENT] == [1]


def test_more_peers_than_there_is_room_for(module: Any) -> None:
    script = settled(module, small=True)
    script.receive(frame(0x82, 16 * 16 + 1, 0, PACKET))
    assert script.client.state == OPEN
    script.receive(frame(0x82, 16 * 17 + 1, 0, PACKET))
    (event,) = [event for event in script.events() if event.type == CLOSED_EVENT]
    assert event.reason == 5


def test_a_ping_is_padded(module: Any) -> None:
    """So that a CHALLENGE in answer to it is not longer than it."""
    script = settled(module)
    script.now = script.client.next_timer()
    script.client.handle_timer(script.now)
    (sent,) = script.sent()
    assert (sent.frames, sent.size) == ([(1,)], 64)
    assert script.now == pytest.approx(START + 4)


def test_streams_take_turns(module: Any) -> None:
    """A message in another channel does not wait for a long one."""
    script = settled(module)
    for channel in (2, 3, 9):
        script.client.send(packet_of(5, channel, 50_000), KIND_ORDERED, channel, script.now)
    streams = [message[1] for sent in script.sent() for message in sent.messages]
    assert streams[:6] == [2, 3, 9, 2, 3, 9]


def test_messages_that_are_begun_fit_what_the_server_keeps(module: Any) -> None:
    """The server's receive_bytes: no second message begins before the first has arrived as a whole."""
    script = settled(module, send_bytes=1_000_000)
    packets = [packet_of(5, number, 200_000) for number in range(2)]
    for channel, packet in enumerate(packets, 2):
        assert script.client.send(packet, KIND_ORDERED, channel, script.now) == SENT
    begun: list[int] = []
    came: list[int] = []
    for _ in range(2000):
        for sent in script.sent():
            begun += [message[1] for message in sent.messages if message[0] == 0x86]
            came += [message[1] for message in sent.messages]
            script.now += 0.001
            script.receive(b"", ack=script.ack(sent.number))
        if begun == [2, 3]:
            break
        script.now = max(script.now, min(script.client.next_timer(), script.now + 0.01))
        script.client.handle_timer(script.now)
    assert begun == [2, 3]
    assert came.count(2) == 182
