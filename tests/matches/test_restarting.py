"""After a restart: matches, their sessions and tokens, tickets and the time that they have waited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.game.model import Threshold
from gsrt.handover import Departure, arrive
from gsrt.resume import SavedSession, _line
from tests.matches.hall import Hall, config, expected, ids
from tests.matches.test_dropping_in import leave
from tests.relay.rig import packet

DUEL = config()
OPEN = config("open", drop_in_drop_out=True, player_disconnect_delay=4.0, expire_in=100.0)


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    with Hall(tmp_path, DUEL, OPEN, grace_seconds=0.0) as made:
        yield made


@pytest.mark.parametrize("killed", [False, True])
def test_players_come_back_into_their_session(hall: Hall, killed: bool) -> None:
    ann, ben = hall.players("Ann", "Ben")
    first, _ = hall.match(ann, ben)
    hall.enter(first)
    reconnect = hall.session(first["matchId"]).player(ben).reconnect_token
    with hall.restarted(killed=killed) as again:
        session = again.session(first["matchId"])
        assert expected(session) == [(ann, 1), (ben, 2)]
        one = again.enter(first)
        holder = again.sessions.holder(reconnect)
        assert holder is not None
        again.seat(holder, token=reconnect)
        assert one.news() == [(-101, (2, [1, 2]))]
        session.end("enough")
        again.settle()
        assert again.rows("SELECT COUNT(*) FROM matches WHERE ended IS NULL") == [(0,)]
        with again.restarted() as third:
            assert len(third.sessions) == 0


def test_those_who_never_come_back_do_not_keep_it(hall: Hall) -> None:
    hall.match(*hall.players("Ann", "Ben"))
    with hall.restarted() as again:
        again.later(again.profile.session_unused_seconds + 1)
        assert len(again.sessions) == 0
        assert again.rows("SELECT COUNT(*) FROM matches WHERE ended IS NULL") == [(0,)]


def test_whoever_was_kicked_stays_out(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    first, second = hall.match(ann, ben)
    hall.enter(first)
    hall.session(first["matchId"]).player(ben).kick(hall.now)
    hall.settle()
    with hall.restarted() as again:
        assert expected(again.session(first["matchId"])) == [(ann, 1)]
        assert again.sessions.holder(second["accessToken"]) is None


def test_a_session_that_has_outlived_it_is_taken_up(hall: Hall) -> None:
    """As after a script has hung: the sessions are back already, as the image had them."""
    ann, ben = hall.players("Ann", "Ben")
    first, second = hall.match(ann, ben)
    (row,) = [each for each in hall.session(first["matchId"]).players if each.player_id == ann]
    image = SavedSession(
        {
            "id": first["matchId"],
            "began": 3.0,
            "lasting": False,
            "script": None,
            "players": [
                [ann, 1, row.access_token, row.reconnect_token, False],
                ["stranger", 7, "s" * 40, "t" * 40, False],
            ],
        }
    )
    with hall.restarted(before=lambda again: again.sessions.restore(image, again.now)) as again:
        session = again.session(first["matchId"])
        assert session.began == 3.0
        assert expected(session) == [(ann, 1), (ben, 2)]
        assert again.sessions.holder("s" * 40) is None
        again.enter(second)
        session.end("enough")
        again.settle()
        assert again.rows("SELECT COUNT(*) FROM matches WHERE ended IS NULL") == [(0,)]


def test_a_match_is_played_on_by_who_was_handed_over(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    first, second = hall.match(ann, ben, short_code="open")
    guests = [hall.enter(each, tcp=True) for each in (first, second)]
    for guest in guests:
        guest.packets()
        hall.sockets.remove(guest.line.socket)  # they outlive this hall
    image = SavedSession(json.loads(_line(hall.session(first["matchId"]))))
    lines: list[bytes] = []
    departure = Departure(hall.sessions, hall.relay, lines.append, hall.now)
    descriptors = [each.give_up() for each in departure.streams]

    def move_in(again: Hall) -> None:
        again.sessions.restore(image, again.now)
        admit, log = again.reception.admit_again, again.reception.log
        arrive(b"".join(lines), descriptors, again.sessions, again.relay, admit, log, again.now)
        for guest in guests:
            guest.floor = guest.line.rig = again
            again.sockets.append(guest.line.socket)

    with hall.restarted(before=move_in, session_linger_seconds=30.0) as again:
        again.later(again.profile.session_linger_seconds + OPEN.player_disconnect_delay + 1)
        again.advance(0)
        session = again.session(first["matchId"])
        guests[0].put(packet(5, payload=b"on"))
        assert [each.payload for each in guests[1].packets()] == [b"on"]
        assert expected(session) == [(ann, 1), (ben, 2)]
        leave(guests[1])
        again.later(OPEN.player_disconnect_delay + 1)
        assert expected(session) == [(ann, 1)]


def test_tickets_wait_on(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    hall.seek(ann, participantData={"car": "red"}, matchData={"map": "ice"}, matchGroup="north")
    hall.later(4.0)
    with hall.restarted(after=2.0) as again:
        assert again.presence.expected == [ann]
        again.presence.players.update((ann, ben))
        again.seek(ben, matchGroup="north")
        told = again.found(ben)
        assert ids(told["participants"]) == [ann, ben]
        assert told["matchData"] == {"map": "ice"}
        assert told["participants"][0]["participantData"] == {"car": "red"}
        assert again.rows("SELECT * FROM tickets") == []


def test_the_time_that_a_ticket_has_waited_counts(hall: Hall) -> None:
    (ann,) = hall.players("Ann")
    hall.seek(ann)
    hall.later(4.0)
    with hall.restarted(after=3.0) as again:
        again.later(2.5)
        assert again.told == {}
        again.later(1.0)
        assert len(again.news(ann, "MatchNotFoundMessage")) == 1


def test_a_query_is_kept(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    hall.seek(ann, customQuery={"skill": {"$gte": 5}})
    with hall.restarted() as again:
        again.seek(ben, skill=2)
        assert again.told == {}
        again.seek(cleo, skill=7)
        assert ann in ids(again.found(cleo)["participants"])


def test_a_match_that_the_game_has_no_more(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    first, _ = hall.match(ann, ben)
    hall.seek(cleo)
    with hall.restarted(config("other")) as again:
        assert expected(again.session(first["matchId"])) == [(ann, 1), (ben, 2)]
        assert len(again.news(cleo, "MatchNotFoundMessage")) == 1


def test_an_open_match_is_open_still(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    first, second = hall.match(ann, ben, short_code="open")
    hall.enter(first)
    leave(hall.enter(second))
    hall.later(4.1)
    with hall.restarted(grace_seconds=0.0) as again:
        again.enter(first)
        again.seek(cleo, "open")
        third = again.found(cleo)
        assert third["matchId"] == first["matchId"]
        leave(again.enter(third))
        again.later(4.1)
        assert expected(again.session(first["matchId"])) == [(ann, 1)]
        with again.restarted(after=101.0) as closed:
            closed.seek(ben, "open")
            assert closed.news(ben, "MatchFoundMessage") == []
            assert len(closed.sessions) == 1


def test_by_which_threshold_they_were_found_is_kept(tmp_path: Path) -> None:
    wide = config(
        "wide",
        drop_in_drop_out=True,
        thresholds=(Threshold(5.0, "RELATIVE", -1, 1), Threshold(50.0, "RELATIVE", -50, 50)),
    )
    with Hall(tmp_path, wide, grace_seconds=0.0) as hall:
        ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
        hall.seek(ann, "wide", skill=10)
        hall.seek(ben, "wide", skill=30)
        hall.later(5.1)
        first, second = hall.found(ann), hall.found(ben)
        hall.enter(first)
        leave(hall.enter(second))
        hall.later(0.1)
        with hall.restarted() as again:
            again.seek(cleo, "wide", skill=40)
            again.later(5.1)
            assert again.found(cleo)["matchId"] == first["matchId"]


def test_the_script_begins_anew(hall: Hall) -> None:
    path = hall.script(
        "host",
        """
        print("begins")

        def on_restore():
            print("restored", [each.peer_id for each in session.get_players()])

        def on_player_connect(player):
            print("connect", player.peer_id)
        """,
    )
    scripted = config("scripted", realtime_script=path)
    hall.matches.game_changed(type(hall.desk.game)(matches={"scripted": scripted}))
    hall.desk.game.matches["scripted"] = scripted
    first, _ = hall.match(*hall.players("Ann", "Ben"), short_code="scripted")
    hall.enter(first)
    assert hall.texts() == ["begins", "connect 1"]
    with hall.restarted(scripted) as again:
        again.enter(first)
        assert again.texts() == ["begins", "restored []", "connect 1"]


def test_a_script_that_cannot_be_had(hall: Hall) -> None:
    path = hall.script("host", "this is no script")
    scripted = config("scripted", realtime_script=path)
    hall.matches.game_changed(type(hall.desk.game)(matches={"scripted": scripted}))
    hall.desk.game.matches["scripted"] = scripted
    first, second = hall.match(*hall.players("Ann", "Ben"), short_code="scripted")
    assert "session goes on without its script" in hall.log_text()
    one = hall.enter(first)
    hall.enter(second)
    assert one.news() == [(-101, (2, [1, 2]))]
