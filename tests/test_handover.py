"""What one program hands over and another takes: whole, in the middle of a frame, or damaged."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsrt.handover import Departure, arrive
from gsrt.resume import SavedSession, _line
from gsrt.session import ABSENT, EXPECTED, GONE, JOINING, READY, Session
from tests.relay.floor import Floor, Guest
from tests.relay.rig import masked, packet

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Change:
    """Two programs, of which the second takes the first one's place."""

    def __init__(self, **limits: float) -> None:
        self.old, self.new = Floor(**limits), Floor(**limits)

    def close(self) -> None:
        self.new.close()
        self.old.close()

    def leave(self) -> tuple[bytes, list[int]]:
        """The old one's part."""
        lines: list[bytes] = []
        departure = Departure(self.old.sessions, self.old.relay, lines.append, self.old.now)
        return b"".join(lines), [each.give_up() for each in departure.streams]

    def leave_new(self) -> bytes:
        """The new one is about to go in its turn."""
        lines: list[bytes] = []
        Departure(self.new.sessions, self.new.relay, lines.append, self.new.now)
        return b"".join(lines)

    def come(self, body: bytes, descriptors: list[int]) -> tuple[int, int]:
        """The new one's: how many are in, how many have to come back."""
        for session in self.old.sessions:
            self.new.sessions.restore(SavedSession(json.loads(_line(session))), self.new.now)
        for stream in list(self.old.relay.streams.values()):
            stream.close(orderly=False)
        new = self.new
        new.now = self.old.now
        arrival = arrive(
            body, descriptors, new.sessions, new.relay, new.reception.admit_again, new.reception.log, new.now
        )
        return arrival.players, arrival.to_come_back

    def happen(self) -> tuple[int, int]:
        return self.come(*self.leave())

    def session(self) -> Session:
        """The new one's."""
        (session,) = self.new.sessions
        return session

    def follow(self, guest: Guest) -> Guest:
        """The same client with the new program at the other end."""
        guest.floor = guest.line.rig = self.new
        guest.player = self.session().player(guest.player.player_id)
        return guest


@pytest.fixture
def change() -> Iterator[Change]:
    with closing(Change()) as made:
        yield made


def seated(change: Change, *, websocket: bool = False) -> list[Guest]:
    session = change.old.create("red", "blue")
    guests = [change.old.seat(each, tcp=True, websocket=websocket) for each in session.players]
    for guest in guests:
        guest.packets()
    return guests


def test_players_are_in_and_no_line_is_said_to_them(change: Change) -> None:
    red, blue = seated(change)

    assert change.happen() == (2, 0)
    for guest in (red, blue):
        change.follow(guest)

    change.new.advance(0)
    assert [each.state for each in change.session().players] == [READY, READY]
    red.put(packet(5, payload=b"on"))
    assert [(each.op_code, each.payload) for each in blue.packets()] == [(5, b"on")]
    assert red.packets() == []


@pytest.mark.parametrize("cut", [1, 2, 7, 39])
def test_a_frame_may_come_half_before_and_half_after(change: Change, cut: int) -> None:
    red, blue = seated(change)
    frame = packet(5, payload=bytes(range(64)))
    red.put(frame[:cut])

    change.happen()
    change.follow(red).line.put(frame[cut:])
    change.new.advance(0)

    assert [each.payload for each in change.follow(blue).packets()] == [bytes(range(64))]


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_websocket_message_may_come_in_fragments_before_and_after(change: Change, cut: int) -> None:
    red, blue = seated(change, websocket=True)
    frame = packet(5, payload=bytes(40))
    red.line.send(masked(2, frame[:20], last=False))
    second = masked(0, frame[20:])
    red.line.send(second[:cut])
    change.old.take_streams()

    change.happen()
    change.follow(red).line.send(second[cut:])
    change.new.advance(0)

    assert [each.payload for each in change.follow(blue).packets()] == [bytes(40)]


def test_the_rest_of_a_frame_that_is_too_large_is_still_skipped(change: Change) -> None:
    red, blue = seated(change)
    huge = b"\xa0\x8d\x06" + bytes(100_000)  # 100,000 bytes follow
    red.put(huge[:50_000])

    change.happen()
    change.follow(red).put(huge[50_000:], packet(6))
    change.new.advance(0)

    assert [each.op_code for each in change.follow(blue).packets()] == [6]


def test_what_the_kernel_had_not_taken_goes_out_afterwards() -> None:
    with closing(Change(stream_out_soft_bytes=4_000_000, stream_out_hard_bytes=8_000_000)) as change:
        fill_and_hand_over(change)


def fill_and_hand_over(change: Change) -> None:
    session = change.old.create("red", "blue")
    red = change.old.seat(session.players[0], tcp=True)
    blue = change.old.seat(session.players[1], tcp=True, send_buffer=4096)
    blue.packets()
    sent = [packet(5, payload=number.to_bytes(4, "big") + bytes(12_000)) for number in range(400)]
    for each in sent:
        red.put(each)
    assert blue.player.stream is not None and blue.player.stream.backlog > 100_000

    change.happen()
    change.follow(red)
    change.follow(blue)
    got: list[int] = []
    while len(got) < len(sent):
        change.new.advance(0.001)
        got += [int.from_bytes((each.payload or b"")[:4], "big") for each in blue.packets()]

    assert got == list(range(len(sent)))


def test_what_was_held_for_who_is_joining_comes_when_ready(change: Change) -> None:
    session = change.old.create("red", "blue")
    red = change.old.seat(session.players[0], tcp=True)
    blue = change.old.seat(session.players[1], tcp=True, ready=False)
    red.put(packet(5, payload=b"held"))

    change.happen()
    change.follow(red)
    change.follow(blue)
    change.new.advance(0)
    assert blue.player.state == JOINING and blue.packets() == []
    blue.ready()

    assert [each.payload for each in blue.packets() if each.op_code == 5] == [b"held"]


def test_grace_and_the_end_of_an_empty_session_are_when_they_would_have_been(change: Change) -> None:
    red, blue = seated(change)
    change.old.advance(10)
    blue.line.socket.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER: the end is a reset
    blue.line.socket.close()
    change.old.take_streams()
    grace = blue.player.grace
    assert blue.player.state == ABSENT and grace is not None

    change.happen()
    player = change.session().player("blue")
    assert player.state == ABSENT and player.grace is not None and player.grace.when == grace.when
    change.follow(red)
    change.new.advance(change.new.profile.grace_seconds)
    assert player.state == GONE
    assert [op_code for op_code, _ in red.news()] == [-103]


def test_what_is_taken_over_is_what_would_be_handed_over_again(change: Change) -> None:
    _, blue = seated(change)
    blue.open_datagrams().packets(1)
    blue.put(packet(-5), packet(5, sequence=7))
    blue.put(packet(6)[:-1])

    body, descriptors = change.leave()
    change.come(body, descriptors)

    assert change.leave_new() == body
    assert blue.player.member.udp_confirmed and change.follow(blue).player.member.udp_confirmed


def damaged(body: Any, chance: random.Random) -> Any:
    """The same with one leaf or branch exchanged."""
    replacements: list[Any] = [None, True, -1, 2**70, 1.5, float("inf"), "", "AAAA", "!", [], {}, "ready", "gone"]
    if isinstance(body, dict) and body and chance.random() < 0.85:
        key = chance.choice(sorted(body))
        if chance.random() < 0.1:
            return {name: value for name, value in body.items() if name != key}
        return {**body, key: damaged(body[key], chance)}
    if isinstance(body, str) and len(body) > 8 and chance.random() < 0.5:
        at = chance.randrange(len(body))
        return body[:at] + chance.choice("ABz/+=") + body[at + 1 :]
    return chance.choice(replacements)


@QUICK
@given(seed=st.integers(0, 2**32), times=st.integers(1, 4))
def test_damage_costs_at_most_the_connections(seed: int, times: int) -> None:
    with closing(Change()) as change:
        damage(change, random.Random(seed), times)


def damage(change: Change, chance: random.Random, times: int) -> None:
    red, blue = seated(change)
    red.put(packet(5)[:1])
    blue.line.socket.close()
    change.old.take_streams()
    body, descriptors = change.leave()
    lines = [json.loads(line) for line in body.splitlines()]
    for _ in range(times):
        at = chance.randrange(len(lines))
        lines[at] = damaged(lines[at], chance)

    change.come(b"".join(json.dumps(each).encode() + b"\n" for each in lines), descriptors)
    change.new.advance(0)

    for player in change.session().players:
        assert player.state in (EXPECTED, JOINING, READY, ABSENT, GONE)
        assert (player.stream is not None) == (player.state in (JOINING, READY))
    again = change.new.seat(change.session().player("red"), tcp=True)
    assert again.player.state == READY


@QUICK
@given(st.binary(max_size=300))
def test_bytes_that_are_no_hand_over_are_told_in_the_log(body: bytes) -> None:
    with closing(Change()) as change:
        change.old.create("red")

        assert change.come(body, []) == (0, 0)

        assert [each.state for each in change.session().players] == [EXPECTED]
