"""Sessions and players: connecting, ready, away, back, gone; on a real relay and the test's own time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from gsrt.resume import SavedPlayer
from gsrt.session import (
    ABSENT,
    EXPECTED,
    GONE,
    JOINING,
    KICKED,
    PLAYER_ID_CHARACTERS_MAX,
    READY,
    Player,
    Session,
    SessionError,
)
from tests.relay.floor import Floor, Guest, login
from tests.relay.rig import packet
from tests.relay.test_endings import reset
from tests.support import wire

Floors = Callable[..., Floor]


@pytest.fixture
def floors() -> Iterator[Floors]:
    with ExitStack() as stack:
        yield lambda **limits: stack.enter_context(Floor(**limits))


@pytest.fixture
def floor(floors: Floors) -> Floor:
    return floors()


def lose(guest: Guest) -> None:
    """Its connection breaks."""
    reset(guest.line)
    guest.floor.until(lambda: guest.line.stream.fd < 0)
    guest.floor.end_tick()


def leave(guest: Guest) -> None:
    """It goes as it should: with nothing unread, which would make a reset of it."""
    guest.packets()
    guest.line.close()
    guest.floor.until(lambda: guest.line.stream.fd < 0)
    guest.floor.end_tick()


# logging in


def test_the_answer_to_a_login(floor: Floor) -> None:
    red, blue, _ = floor.create().players
    first = Guest(floor, red, floor.dial())
    first.put(login(red.access_token))
    assert first.news() == [(-1, wire.LoginResult(True, red.reconnect_token.encode(), 1, (), None))]
    assert red.state == JOINING
    first.ready()
    assert red.state == READY
    second = Guest(floor, blue, floor.dial())
    second.put(login(blue.access_token))
    ((_, result),) = second.news()
    assert (result.peer_id, result.active_peers) == (2, (1,))
    assert first.news() == []


def test_the_first_login_result_has_no_reliable_flag(floor: Floor) -> None:
    red = floor.create().players[0]
    guest = Guest(floor, red, floor.dial())
    guest.put(login(red.access_token))
    (result,) = guest.packets()
    assert result.reliable is not False
    post = guest.open_datagrams()
    (again,) = guest.packets()
    assert again.op_code == -1
    assert again.reliable is False
    body = wire.decode_login_result(again.payload or b"")
    assert (body.reconnect_token, body.peer_id) == (red.reconnect_token.encode(), 1)
    assert post.datagrams(1) == [b"\x04\x08\x09\x7a\x00"]


def test_everybody_learns_of_everybody_and_of_itself(floor: Floor) -> None:
    players = floor.create().players
    guests = [floor.seat(player) for player in players]
    assert guests[0].news() == [(-101, (2, [1, 2])), (-101, (3, [1, 2, 3]))]
    assert guests[1].news() == [(-101, (3, [1, 2, 3]))]
    assert guests[2].news() == []


def test_one_that_is_logged_in_and_not_ready_is_told_and_not_told_of(floor: Floor) -> None:
    players = floor.create().players
    early = floor.seat(players[0], ready=False)
    other = floor.seat(players[1])
    assert early.news() == [(-101, (2, [1, 2]))]
    assert other.news() == []
    early.ready()
    assert other.news() == [(-101, (1, [1, 2]))]


def test_ready_twice_is_ready_once(floor: Floor) -> None:
    players = floor.create().players
    first, second = floor.seat(players[0]), floor.seat(players[1])
    first.news()
    second.ready()
    second.ready()
    assert first.news() == []
    assert second.news() == []


@pytest.mark.parametrize("which", ["access_token", "reconnect_token"])
def test_both_tokens_let_in_again_and_again(floor: Floor, which: str) -> None:
    players = floor.create().players
    witness = floor.seat(players[0])
    for _ in range(5):
        guest = floor.seat(players[1], token=getattr(players[1], which))
        assert players[1].state == READY
        leave(guest)
    assert witness.news() == [(-101, (2, [1, 2])), (-103, (2, [1]))] * 5


def test_a_login_is_in_no_counter_of_packets(floor: Floor) -> None:
    floor.seat(floor.create().players[0])
    assert "packets_in" not in floor.counts()
    assert floor.drops() == {}


# a newer login in place of an older one


def test_a_newer_login_replaces_the_older_connection(floor: Floor) -> None:
    players = floor.create().players
    witness = floor.seat(players[0])
    old = floor.seat(players[1])
    witness.news()
    new = floor.seat(players[1], token=players[1].reconnect_token, ready=False)
    old.packets()
    assert old.line.ended
    assert players[1].state == JOINING
    witness.put(packet(5, payload=b"held"), packet(6, reliable=False))
    assert new.packets() == []
    new.ready()
    assert [each.op_code for each in new.packets()] == [5, 6]
    assert witness.news() == []
    assert floor.reception.counters["closed_lost"] == floor.reception.counters["closed_orderly"] == 0


def test_the_login_result_of_one_that_is_back_names_the_others(floor: Floor) -> None:
    players = floor.create().players
    floor.seat(players[0])
    floor.seat(players[1])
    floor.seat(players[2])
    again = Guest(floor, players[1], floor.dial())
    again.put(login(players[1].reconnect_token))
    ((_, result),) = again.news()
    assert result.active_peers == (1, 2, 3), "to the others it has never been away"


def test_both_connections_of_a_peer_in_one_tick(floor: Floor) -> None:
    red = floor.create().players[0]
    lines = [floor.dial() for _ in range(4)]
    for line in lines:
        line.send(login(red.access_token) + packet(-7))
    floor.take_streams()
    floor.end_tick()
    assert red.state == READY
    assert sum(line.stream.fd >= 0 for line in lines) == 1
    assert red.stream in [line.stream for line in lines]


# leaving, losing, coming back


def test_leaving_is_told_at_once(floor: Floor) -> None:
    players = floor.create().players
    witness, guest = floor.seat(players[0]), floor.seat(players[1])
    witness.news()
    leave(guest)
    assert witness.news() == [(-103, (2, [1]))]
    assert players[1].state == GONE
    witness.put(packet(5, targets=(2,)))
    assert floor.drops() == {"no_target": 1}


def test_a_loss_is_told_after_the_grace_and_not_before(floors: Floors) -> None:
    floor = floors(grace_seconds=3.0)
    players = floor.create().players
    witness, guest = floor.seat(players[0], tcp=True), floor.seat(players[1], tcp=True)
    floor.until(lambda: players[1].state == READY)
    witness.news()
    lose(guest)
    assert players[1].state == ABSENT
    floor.advance(2.5)
    assert witness.news() == []
    floor.advance(0.5)
    assert witness.news() == [(-103, (2, [1]))]
    assert players[1].state == GONE


def test_back_within_grace_nobody_notices(floors: Floors) -> None:
    floor = floors(grace_seconds=3.0)
    players = floor.create().players
    witness, guest = floor.seat(players[0]), floor.seat(players[1], tcp=True)
    witness.news()
    lose(guest)
    floor.advance(1.0)
    witness.put(packet(5, payload=b"1"), packet(6, reliable=False), packet(7, payload=b"2"))
    floor.advance(1.5)
    back = floor.seat(players[1], token=players[1].reconnect_token)
    assert [each.op_code for each in back.packets()] == [5, 7]
    floor.advance(100.0)
    assert witness.news() == []
    assert players[1].state == READY


def test_back_after_grace_it_is_new_to_all(floors: Floors) -> None:
    floor = floors(grace_seconds=3.0)
    players = floor.create().players
    witness, guest = floor.seat(players[0]), floor.seat(players[1], tcp=True)
    lose(guest)
    witness.put(packet(5, payload=b"for nobody any more"))
    floor.advance(3.0)
    witness.news()
    back = floor.seat(players[1])
    assert witness.news() == [(-101, (2, [1, 2]))]
    assert back.packets() == []


def test_lost_again_before_ready_the_grace_begins_anew(floors: Floors) -> None:
    floor = floors(grace_seconds=3.0)
    players = floor.create().players
    witness, guest = floor.seat(players[0]), floor.seat(players[1], tcp=True)
    witness.news()
    for _ in range(4):
        lose(guest)
        floor.advance(2.0)
        guest = floor.seat(players[1], tcp=True, ready=False)
        floor.advance(2.0)
    assert witness.news() == []
    lose(guest)
    floor.advance(3.0)
    assert witness.news() == [(-103, (2, [1]))]


def test_one_that_was_never_ready_is_gone_at_once_and_unheard_of(floors: Floors) -> None:
    floor = floors(grace_seconds=3.0)
    players = floor.create().players
    witness = floor.seat(players[0])
    lose(floor.seat(players[1], tcp=True, ready=False))
    assert players[1].state == GONE
    leave(floor.seat(players[2], ready=False))
    assert players[2].state == GONE
    assert witness.news() == []


def test_without_grace_a_loss_is_told_at_once(floors: Floors) -> None:
    floor = floors(grace_seconds=0)
    players = floor.create().players
    witness, guest = floor.seat(players[0]), floor.seat(players[1], tcp=True)
    witness.news()
    lose(guest)
    assert witness.news() == [(-103, (2, [1]))]


def test_peers_that_come_and_go_while_one_is_away(floors: Floors) -> None:
    floor = floors(grace_seconds=3.0)
    players = floor.create().players
    floor.seat(players[0])
    away, third = floor.seat(players[1], tcp=True), floor.seat(players[2])
    lose(away)
    leave(third)
    back = Guest(floor, players[1], floor.dial())
    back.put(login(players[1].reconnect_token))
    ((_, result),) = back.news()
    assert result.active_peers == (1, 2)
    back.ready()
    floor.seat(players[2])
    assert back.news() == [(-101, (3, [1, 2, 3]))]


def test_datagrams_do_not_outlive_the_connection(floor: Floor) -> None:
    players = floor.create().players
    witness, guest = floor.seat(players[0]), floor.seat(players[1], tcp=True)
    post = guest.open_datagrams()
    witness.news()
    lose(guest)
    post.send(packet(5))
    assert floor.drops() == {"unknown_address": 1}
    assert witness.news() == []
    post.send(login(players[1].reconnect_token))
    assert floor.reception.counters["udp_logins_refused"] == 1


# datagrams: the greeting and its repeats


def test_the_greeting_is_repeated_until_it_is_answered(floors: Floors) -> None:
    floor = floors(udp_hello_interval_seconds=0.25, udp_hello_attempts=20)
    guest = floor.seat(floor.create().players[0])
    post = guest.open_datagrams()
    post.datagrams(1)
    floor.advance(0.125)
    assert post.quiet()
    floor.advance(0.125)
    assert post.datagrams(1) == [b"\x04\x08\x09\x7a\x00"]
    guest.put(packet(-5))
    assert guest.player.member.udp_confirmed
    floor.advance(60.0)
    assert post.quiet()


@pytest.mark.parametrize("attempts", [1, 2, 7])
def test_the_greeting_is_given_up(floors: Floors, attempts: int) -> None:
    floor = floors(udp_hello_interval_seconds=0.25, udp_hello_attempts=attempts)
    guest = floor.seat(floor.create().players[0])
    post = guest.open_datagrams()
    floor.advance(60.0)
    assert post.datagrams(attempts) == [b"\x04\x08\x09\x7a\x00"] * attempts
    assert not guest.player.member.udp_confirmed
    assert guest.player.member.udp_bound


def test_every_login_by_datagram_is_answered_again(floors: Floors) -> None:
    floor = floors(udp_hello_interval_seconds=0.25, udp_hello_attempts=3)
    guest = floor.seat(floor.create().players[0])
    for _ in range(9):  # C# asks every 200 ms, at most so often
        guest.open_datagrams()
        floor.advance(0.2)
    results = guest.packets()
    assert [(each.op_code, each.reliable) for each in results] == [(-1, False)] * 9
    floor.advance(60.0)
    assert guest.post is not None
    assert len(guest.post.datagrams(9 + 2)) == 11
    assert len(floor.timers) <= 1


def test_an_answered_greeting_is_given_once_for_each_further_login(floors: Floors) -> None:
    floor = floors(udp_hello_attempts=5)
    guest = floor.seat(floor.create().players[0])
    post = guest.open_datagrams()
    guest.put(packet(-5))
    post.datagrams(1)
    guest.open_datagrams()
    floor.advance(60.0)
    assert len(post.datagrams(1)) == 1
    assert guest.player.member.udp_confirmed


def test_a_new_address_is_greeted_and_the_old_one_no_more(floors: Floors) -> None:
    floor = floors(udp_hello_attempts=3)
    guest = floor.seat(floor.create().players[0])
    old = guest.open_datagrams()
    guest.put(packet(-5))
    old.datagrams(1)
    guest.post = None
    new = guest.open_datagrams()
    assert not guest.player.member.udp_confirmed
    floor.advance(60.0)
    assert len(new.datagrams(3)) == 3
    assert old.quiet()


def test_the_greeting_ends_with_the_connection(floors: Floors) -> None:
    floor = floors(udp_hello_attempts=100)
    guest = floor.seat(floor.create().players[0])
    post = guest.open_datagrams()
    leave(guest)
    floor.advance(1.0)
    post.datagrams(1)
    assert len(floor.timers) == 1  # the end of the session


def test_a_websocket_has_no_datagrams(floor: Floor) -> None:
    guest = floor.seat(floor.create().players[0], websocket=True)
    post = guest.open_datagrams()
    assert post.quiet()
    assert guest.packets() == []
    assert floor.reception.counters["udp_logins_refused"] == 1


def test_datagrams_before_a_stream(floor: Floor) -> None:
    red = floor.create().players[0]
    post = floor.post()
    post.send(login(red.access_token), login(red.reconnect_token))
    assert floor.reception.counters["udp_logins_refused"] == 2
    assert not red.member.udp_bound


def test_a_confirmation_that_nothing_was_asked_for(floor: Floor) -> None:
    guest = floor.seat(floor.create().players[0])
    guest.put(packet(-5), packet(-5))
    assert not guest.player.member.udp_confirmed
    assert guest.line.stream.fd >= 0


# the session's own end


def test_a_session_that_nobody_joins(floors: Floors) -> None:
    floor = floors(session_unused_seconds=100.0)
    session = floor.create()
    floor.advance(99.5)
    assert len(floor.sessions) == 1
    floor.advance(0.5)
    assert session.ended
    assert len(floor.sessions) == 0
    assert len(floor.tokens) == 0
    assert len(floor.timers) == 0


@pytest.mark.parametrize("orderly", [True, False])
def test_a_session_ends_some_time_after_its_last_player(floors: Floors, orderly: bool) -> None:
    floor = floors(session_linger_seconds=300.0, grace_seconds=3.0, session_unused_seconds=10.0)
    session = floor.create()
    guests = [floor.seat(player, tcp=True) for player in session.players[:2]]
    floor.until(lambda: session.players[1].state == READY)
    floor.advance(10_000.0)
    leave(guests[0])
    floor.advance(10_000.0)
    assert not session.ended
    if orderly:
        leave(guests[1])
    else:
        lose(guests[1])
        floor.advance(3.0)
    floor.advance(299.5)
    assert not session.ended
    floor.advance(0.5)
    assert session.ended


def test_who_comes_back_keeps_the_session(floors: Floors) -> None:
    floor = floors(session_linger_seconds=300.0)
    session = floor.create()
    for _ in range(3):
        leave(floor.seat(session.players[0]))
        floor.advance(299.0)
    floor.seat(session.players[1], ready=False)
    floor.advance(10_000.0)
    assert not session.ended


def test_linger_of_nothing(floors: Floors) -> None:
    floor = floors(session_linger_seconds=0)
    session = floor.create()
    leave(floor.seat(session.players[0]))
    floor.advance(0.0)
    assert session.ended


def test_a_lasting_session_lasts(floors: Floors) -> None:
    floor = floors(session_linger_seconds=1.0, session_unused_seconds=1.0)
    session = floor.create("a", lasting=True)
    floor.advance(100.0)
    leave(floor.seat(session.players[0]))
    floor.advance(100.0)
    assert not session.ended
    session.end("enough")
    assert session.ended


def test_the_end_of_a_session(floor: Floor) -> None:
    session, other = floor.create(), floor.create("x", "y")
    guests = [floor.seat(player, websocket=n == 1) for n, player in enumerate(session.players)]
    bystander = floor.seat(other.players[0])
    tokens = [each for player in session.players for each in (player.access_token, player.reconnect_token)]
    guests[0].open_datagrams()
    session.end("by the test")
    session.end("twice")
    floor.end_tick()
    for guest in guests:
        guest.line.read()
        assert guest.line.ended
        assert guest.player.state == GONE
    assert [floor.sessions.holder(token) for token in tokens] == [None] * 6
    assert len(floor.sessions) == 1
    for token in tokens:
        line = floor.dial()
        line.put(login(token))
        assert line.stream.fd < 0
    bystander.put(packet(1))
    assert bystander.line.stream.fd >= 0
    assert floor.log_text().count("session ended") == 1


def test_an_ended_session_leaves_no_timer(floors: Floors) -> None:
    floor = floors(grace_seconds=3.0, udp_hello_attempts=100)
    session = floor.create()
    guests = [floor.seat(player, tcp=True) for player in session.players]
    floor.until(lambda: session.players[2].state == READY)
    guests[0].open_datagrams()
    lose(guests[1])
    leave(guests[2])
    session.end("by the test")
    assert len(floor.timers) == 0
    floor.advance(1000.0)


# kicking and cutting


def test_kicking(floor: Floor) -> None:
    players = floor.create().players
    witness, guest = floor.seat(players[0]), floor.seat(players[1])
    post = guest.open_datagrams()
    post.datagrams(1)
    witness.news()
    players[1].kick(floor.now)
    floor.end_tick()
    guest.line.read()
    assert guest.line.ended
    assert players[1].state == KICKED
    assert witness.news() == [(-103, (2, [1]))]
    for token in (players[1].access_token, players[1].reconnect_token):
        line = floor.dial()
        line.put(login(token))
        assert line.stream.fd < 0
    post.send(packet(5))
    assert floor.drops() == {"unknown_address": 1}
    floor.advance(10.0)
    assert post.quiet()
    players[1].kick(floor.now)
    assert witness.news() == []


def test_kicking_one_that_is_away_or_not_ready_or_never_came(floors: Floors) -> None:
    floor = floors(grace_seconds=3.0)
    players = floor.create("a", "b", "c", "d").players
    witness = floor.seat(players[0])
    away = floor.seat(players[1], tcp=True)
    lose(away)
    floor.seat(players[2], ready=False)
    witness.news()
    for player in players[1:]:
        player.kick(floor.now)
        assert player.state == KICKED
    assert witness.news() == [(-103, (2, [1]))]
    floor.advance(10.0)
    assert witness.news() == []
    assert [player.state for player in players] == [READY, KICKED, KICKED, KICKED]


def test_kicking_one_does_not_shorten_the_waiting_for_the_others(floors: Floors) -> None:
    floor = floors(session_unused_seconds=3600.0, session_linger_seconds=300.0)
    session = floor.create()
    session.players[0].kick(floor.now)
    floor.advance(1000.0)
    assert not session.ended
    floor.advance(2600.0)
    assert session.ended


def test_kicking_again_and_again_does_not_keep_a_session(floors: Floors) -> None:
    floor = floors(session_linger_seconds=300.0)
    session = floor.create()
    leave(floor.seat(session.players[0]))
    for _ in range(10):
        floor.advance(100.0)
        if session.ended:
            break
        session.players[1].kick(floor.now)
    assert session.ended


def test_a_reader_that_is_too_slow_is_cut_and_may_come_back(floors: Floors) -> None:
    floor = floors(stream_out_soft_bytes=16_000, stream_out_hard_bytes=65_536)
    players = floor.create().players
    witness, slow = floor.seat(players[0]), floor.seat(players[1], send_buffer=4096)
    witness.news()
    for _ in range(200):
        witness.put(packet(5, payload=bytes(1000)))
    assert players[1].state == GONE
    assert floor.reception.counters["peers_cut"] == 1
    assert witness.news() == [(-103, (2, [1]))]
    assert "does not read" in floor.log_text()
    slow.line.read()
    assert slow.line.ended
    floor.seat(players[1])
    assert witness.news() == [(-101, (2, [1, 2]))]


def test_one_that_is_away_while_too_much_comes_is_given_up(floors: Floors) -> None:
    floor = floors(held_bytes_max=4096, grace_seconds=60.0)
    players = floor.create().players
    witness, away = floor.seat(players[0]), floor.seat(players[1], tcp=True)
    witness.news()
    lose(away)
    witness.put(*[packet(5, payload=bytes(1000))] * 50)
    assert witness.news() == [(-103, (2, [1]))]
    assert floor.reception.counters["peers_cut"] == 1
    floor.advance(100.0)
    assert witness.news() == []


def test_a_kick_is_not_undone_by_a_limit_of_the_same_tick(floors: Floors) -> None:
    floor = floors(held_bytes_max=4096)
    players = floor.create().players
    witness = floor.seat(players[0])
    floor.seat(players[1], ready=False)
    witness.line.put(*[packet(5, payload=bytes(1000))] * 50)
    players[1].kick(floor.now)
    floor.end_tick()
    assert players[1].state == KICKED


def test_a_limit_of_the_old_connection_does_not_cut_the_new_one(floors: Floors) -> None:
    """Doomed and back within one tick: what was not delivered has to be made good by a new beginning at the latest."""
    floor = floors(held_bytes_max=4096)
    players = floor.create().players
    witness = floor.seat(players[0])
    floor.seat(players[1], ready=False)
    witness.line.put(*[packet(5, payload=bytes(1000))] * 50)
    new = floor.dial()
    new.put(login(players[1].access_token))
    floor.end_tick()
    assert players[1].state in (JOINING, GONE)
    assert (players[1].state == JOINING) == (new.stream.fd >= 0)


def test_one_that_is_lost_in_the_tick_that_gave_it_up_misses_nothing_silently(floors: Floors) -> None:
    """Either it has left, and everybody knows, or it gets what is sent to it while it is away."""
    floor = floors(stream_out_soft_bytes=16_000, stream_out_hard_bytes=65_536, grace_seconds=3.0)
    players = floor.create().players
    witness, slow = floor.seat(players[0]), floor.seat(players[1], tcp=True, send_buffer=4096)
    witness.news()
    while "slow" not in floor.drops():
        witness.line.put(packet(5, payload=bytes(1000)))
        floor.flush()
    reset(slow.line)
    floor.until(lambda: slow.line.stream.fd < 0)
    floor.end_tick()
    witness.put(packet(7))
    back = floor.seat(players[1])
    told = (-103, (2, [1])) in witness.news()
    assert told or 7 in [each.op_code for each in back.packets()]


# making sessions


def test_what_a_session_may_be_made_of(floors: Floors) -> None:
    floor = floors(players_per_session_max=3)
    for players, words in (
        ([], "at least one player"),
        (["a", "b", "c", "d"], "allows 3"),
        ([""], "characters"),
        (["x" * (PLAYER_ID_CHARACTERS_MAX + 1)], "characters"),
        (["a", "b", "a"], "only once"),
    ):
        with pytest.raises(SessionError, match=words):
            floor.sessions.create(players, floor.now)
    assert len(floor.tokens) == 0
    assert len(floor.timers) == 0
    session = floor.create("a", "B", "x" * PLAYER_ID_CHARACTERS_MAX)
    assert [(player.peer_id, player.state) for player in session.players] == [
        (1, EXPECTED),
        (2, EXPECTED),
        (3, EXPECTED),
    ]
    assert len(floor.tokens) == 6


def test_the_largest_session(floors: Floors) -> None:
    floor = floors(players_per_session_max=255)
    session = floor.create(*[f"p{n}" for n in range(255)])
    first, last = floor.seat(session.players[0]), floor.seat(session.players[254])
    first.news()
    last.put(packet(5))
    assert [each.sender for each in first.packets()] == [255]


def test_sessions_max_and_players_max(floors: Floors) -> None:
    floor = floors(sessions_max=3, players_max=8, players_per_session_max=5)
    first = floor.create("a", "b", "c", "d", "e")
    with pytest.raises(SessionError, match="8"):
        floor.create("a", "b", "c", "d")
    second = floor.create("a", "b", "c")
    with pytest.raises(SessionError, match="8"):
        floor.create("a")
    second.end("room")
    floor.create("a")
    floor.create("a")
    with pytest.raises(SessionError, match="3 sessions"):
        floor.create("a")
    first.end("room")
    floor.create("a", "b", "c", "d")
    assert len(floor.sessions) == 3


def test_sessions_have_ids_and_know_their_players(floor: Floor) -> None:
    session, other = floor.create(), floor.create()
    assert session.session_id != other.session_id
    assert floor.sessions.get(session.session_id) is session
    assert session.player("blue").peer_id == 2
    with pytest.raises(SessionError, match="no player 'black'"):
        session.player("black")
    with pytest.raises(SessionError, match="no session 'x'"):
        floor.sessions.get("x")
    assert list(floor.sessions) == [session, other]
    floor.sessions.end_all("done")
    assert list(floor.sessions) == []


def test_connected_counts_players_with_a_connection(floors: Floors) -> None:
    floor = floors(grace_seconds=3.0)
    players = floor.create().players
    assert floor.sessions.connected == 0
    guests = [floor.seat(players[0], tcp=True), floor.seat(players[1], ready=False)]
    floor.until(lambda: players[0].state == READY)
    assert floor.sessions.connected == 2
    lose(guests[0])
    assert floor.sessions.connected == 1


def test_a_token_of_one_session_is_nothing_in_another(floor: Floor) -> None:
    one, two = floor.create(), floor.create()
    here, there = floor.seat(one.players[0]), floor.seat(two.players[0])
    mate = floor.seat(one.players[1])
    here.put(packet(5))
    assert [each.op_code for each in mate.packets() if each.op_code > 0] == [5]
    assert there.packets() == []


def test_names_in_the_log_are_quoted(floor: Floor) -> None:
    session = floor.create("a\nerror forged line", "\x1b[31mred")
    floor.seat(session.players[0])
    floor.seat(session.players[1])
    text = floor.log_text()
    assert "\nerror forged" not in text
    assert "\x1b" not in text


# players who come to a running session, or go for good


def saved(floor: Floor, player_id: str, peer_id: int) -> SavedPlayer:
    return SavedPlayer([player_id, peer_id, floor.tokens.make(), floor.tokens.make(), False])


class Watcher:
    """What a session's watcher is told."""

    def __init__(self, session: Session) -> None:
        self.told: list[tuple[str, str]] = []
        session.watcher = self

    def player_ready(self, player: Player, now: float) -> None:
        self.told.append(("ready", player.player_id))

    def player_gone(self, player: Player, now: float) -> None:
        self.told.append(("gone", player.player_id))

    def session_ended(self, session: Session) -> None:
        self.told.append(("ended", session.session_id))


def test_a_player_who_comes_later(floor: Floor) -> None:
    session = floor.create("red", "blue")
    witness = floor.seat(session.players[0])
    given = saved(floor, "green", 3)
    green = floor.sessions.add_player(session, given)
    assert (green.access_token, green.reconnect_token) == (given.access_token, given.reconnect_token)
    assert floor.sessions.holder(given.access_token) is green
    floor.seat(green)
    assert witness.news() == [(-101, (3, [1, 3]))]


def test_a_token_that_was_only_made_lets_nobody_in(floor: Floor) -> None:
    assert floor.sessions.holder(floor.tokens.make()) is None


def test_a_player_who_is_not_expected_any_more(floor: Floor) -> None:
    session = floor.create("red", "blue")
    red, blue = session.players
    witness, guest = floor.seat(red), floor.seat(blue)
    witness.news()
    floor.sessions.remove_player(session, blue, floor.now)
    guest.packets()
    assert guest.line.ended
    assert witness.news() == [(-103, (2, [1]))]
    assert floor.sessions.holder(blue.access_token) is None
    assert [each.player_id for each in session.players] == ["red"]
    again = floor.sessions.add_player(session, saved(floor, "green", 2))
    floor.seat(again)
    assert witness.news() == [(-101, (2, [1, 2]))]


def test_what_a_running_session_refuses(floors: Floors) -> None:
    floor = floors(players_per_session_max=3, players_max=4)
    session = floor.create("red", "blue")
    for player_id, peer_id in (("red", 3), ("green", 2)):
        with pytest.raises(SessionError, match="already"):
            floor.sessions.add_player(session, saved(floor, player_id, peer_id))
    floor.sessions.add_player(session, saved(floor, "green", 3))
    with pytest.raises(SessionError, match="3 players"):
        floor.sessions.add_player(session, saved(floor, "white", 4))
    other = floor.create("white")
    with pytest.raises(SessionError, match="1 more"):
        floor.sessions.add_player(other, saved(floor, "black", 2))
    floor.sessions.remove_player(session, session.players[0], floor.now)
    floor.sessions.add_player(other, saved(floor, "black", 2))
    floor.sessions.end_all("enough")
    assert len(floor.tokens) == 0
    floor.create("a", "b", "c")


def test_who_watches_a_session_is_told(floors: Floors) -> None:
    floor = floors(grace_seconds=2.0)
    session = floor.create("red", "blue")
    watcher = Watcher(session)
    floor.seat(session.players[0])
    guest = floor.seat(session.players[1], tcp=True)
    floor.until(lambda: session.players[1].state == READY)
    lose(guest)
    assert watcher.told == [("ready", "red"), ("ready", "blue")]
    floor.advance(2.1)
    session.players[0].kick(floor.now)
    session.end("enough")
    assert watcher.told[2:] == [("gone", "blue"), ("gone", "red"), ("ended", session.session_id)]
