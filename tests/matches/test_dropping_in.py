"""Drop-in matches: who comes later, who goes, what the others are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.session import ABSENT, KICKED, READY
from tests.matches.hall import Hall, config, expected, ids
from tests.relay.floor import Guest
from tests.relay.rig import packet
from tests.relay.test_endings import reset


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    made = Hall(
        tmp_path,
        config("open", drop_in_drop_out=True, min_players=2, max_players=2, player_disconnect_delay=4.0),
        config("trio", drop_in_drop_out=True, max_players=3, player_disconnect_delay=4.0, expire_in=60.0),
        config("once", drop_in_drop_out=True, max_players=2, player_disconnect_delay=0.0),
        config("board", drop_in_drop_out=True, max_players=2, realtime=False, player_disconnect_delay=4.0),
        grace_seconds=0.0,
    )
    with made:
        yield made


def leave(guest: Guest) -> None:
    guest.packets()
    guest.line.close()
    guest.floor.until(lambda: guest.line.stream.fd < 0)
    guest.floor.end_tick()


def test_somebody_takes_the_place_of_one_who_left(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    first, second = hall.match(ann, ben, short_code="open")
    match_id = first["matchId"]
    one, two = hall.enter(first), hall.enter(second)
    leave(two)
    hall.later(3.5)
    assert expected(hall.session(match_id)) == [(ann, 1), (ben, 2)]
    hall.later(0.6)
    assert expected(hall.session(match_id)) == [(ann, 1)]
    assert hall.sessions.holder(second["accessToken"]) is None
    (told,) = hall.news(ann, "MatchUpdatedMessage")
    assert (told["addedPlayers"], told["removedPlayers"]) == ([], [ben])
    assert (told["matchId"], told["matchShortCode"], told["matchGroup"], told["matchData"]) == (
        match_id,
        "open",
        None,
        {},
    )
    assert ids(told["participants"]) == [ann]
    assert hall.news(ben, "MatchUpdatedMessage") == []
    hall.seek(cleo, "open")
    third = hall.found(cleo)
    assert third["matchId"] == match_id
    assert [(each["id"], each["peerId"]) for each in third["participants"]] == [(ann, 1), (cleo, 2)]
    (told,) = hall.news(ann, "MatchUpdatedMessage")
    assert (told["addedPlayers"], told["removedPlayers"]) == ([cleo], [])
    assert hall.news(cleo, "MatchUpdatedMessage") == []
    one.packets()
    hall.enter(third)
    assert one.news() == [(-101, (2, [1, 2]))]
    assert hall.ask(ben, "MatchDetailsRequest", matchId=match_id) == {"error": {"matchId": "NOT_FOUND"}}
    assert hall.ask(cleo, "MatchDetailsRequest", matchId=match_id)["peerId"] == 2


def test_one_who_waits_takes_the_place_at_once(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    first, second = hall.match(ann, ben, short_code="open")
    hall.enter(first)
    two = hall.enter(second)
    leave(two)
    hall.later(1.0)
    hall.seek(cleo, "open")
    assert hall.news(cleo, "MatchFoundMessage") == []
    hall.later(3.1)
    assert hall.found(cleo)["matchId"] == first["matchId"]
    assert hall.rows("SELECT * FROM tickets") == []


def test_coming_back_within_the_delay(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    first, second = hall.match(ann, ben, short_code="open")
    hall.enter(first)
    leave(hall.enter(second))
    hall.later(2.0)
    hall.enter(second)
    hall.later(20.0)
    assert expected(hall.session(first["matchId"])) == [(ann, 1), (ben, 2)]
    assert hall.news(ann, "MatchUpdatedMessage") == []


def test_without_delay_who_is_gone_has_left(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    first, second = hall.match(ann, ben, short_code="once")
    hall.enter(first)
    leave(hall.enter(second))
    hall.later(0.0)
    hall.settle()
    assert expected(hall.session(first["matchId"])) == [(ann, 1)]


def test_a_loss_counts_from_the_end_of_the_grace(tmp_path: Path) -> None:
    quick = config("open", drop_in_drop_out=True, player_disconnect_delay=1.0)
    with Hall(tmp_path, quick, grace_seconds=3.0) as hall:
        ann, ben = hall.players("Ann", "Ben")
        first, second = hall.match(ann, ben, short_code="open")
        hall.enter(first)
        guest = hall.enter(second, tcp=True)
        player = hall.session(first["matchId"]).player(ben)
        hall.until(lambda: player.state == READY)
        reset(guest.line)
        hall.until(lambda: player.state == ABSENT)
        hall.later(3.5)
        assert expected(hall.session(first["matchId"])) == [(ann, 1), (ben, 2)]
        hall.later(0.6)
        assert expected(hall.session(first["matchId"])) == [(ann, 1)]


def test_coming_back_after_having_dropped_out(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    first, second = hall.match(ann, ben, short_code="open")
    hall.enter(first)
    leave(hall.enter(second))
    hall.later(4.1)
    hall.seek(ben, "open")
    again = hall.found(ben)
    assert again["matchId"] == first["matchId"]
    assert again["accessToken"] != second["accessToken"]
    hall.enter(again)
    assert hall.rows('SELECT COUNT(*) FROM match_players WHERE "left" IS NULL') == [(2,)]


def test_all_have_left(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    first, second = hall.match(ann, ben, short_code="open")
    for guest in [hall.enter(first), hall.enter(second)]:
        leave(guest)
    hall.later(4.1)
    assert len(hall.sessions) == len(hall.matches) == 0
    assert hall.rows("SELECT COUNT(*) FROM matches WHERE ended IS NULL") == [(0,)]
    hall.seek(ann, "open")
    assert hall.told[ann] == []


def test_who_never_comes_has_dropped_out(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    first, _ = hall.match(ann, ben, short_code="open")
    hall.enter(first)
    hall.later(hall.profile.session_linger_seconds + 1)
    assert expected(hall.session(first["matchId"])) == [(ann, 1)]


def test_nobody_comes_after_it_has_expired(hall: Hall) -> None:
    ann, ben, cleo, dora = hall.players("Ann", "Ben", "Cleo", "Dora")
    first, second, third = hall.match(ann, ben, cleo, short_code="trio")
    guests = [hall.enter(each) for each in (first, second, third)]
    hall.later(61.0)
    leave(guests[2])
    hall.later(10.0)
    assert len(hall.session(first["matchId"]).players) == 3
    hall.seek(dora, "trio")
    assert hall.news(dora, "MatchFoundMessage") == []


def test_never_more_than_there_is_place(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    hall.match(ann, ben, short_code="open")
    hall.seek(cleo, "open")
    assert hall.news(cleo, "MatchFoundMessage") == []
    assert [len(each.players) for each in hall.sessions] == [2]


def test_who_is_kicked_makes_place_at_once(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    first, second = hall.match(ann, ben, short_code="open")
    hall.enter(first)
    hall.enter(second)
    hall.seek(cleo, "open")
    hall.session(first["matchId"]).player(ben).kick(hall.now)
    hall.settle()
    assert ids(hall.found(cleo)["participants"]) == [ann, cleo]


def test_no_room_for_another_player(tmp_path: Path) -> None:
    with Hall(tmp_path, config("open", drop_in_drop_out=True), players_max=3, players_per_session_max=3) as hall:
        ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
        first, second = hall.match(ann, ben, short_code="open")
        hall.enter(first)
        leave(hall.enter(second))
        hall.later(0.1)
        taken = hall.sessions.create(["x", "y"], hall.now)
        hall.seek(cleo, "open")
        assert hall.news(cleo, "MatchFoundMessage") == []
        taken.end("room")
        hall.later(1.1)
        assert hall.found(cleo)["matchId"] == first["matchId"]


def test_without_a_session_who_is_offline_has_left(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    (first, _) = hall.match(ann, ben, short_code="board")
    hall.presence.players.discard(ben)
    hall.matches.offline(ben)
    hall.later(3.0)
    hall.matches.offline(ben)  # was back for a moment
    hall.later(3.0)
    hall.matches.away(ben)
    assert hall.news(ann, "MatchUpdatedMessage") == []
    hall.later(1.1)
    (told,) = hall.news(ann, "MatchUpdatedMessage")
    assert told["removedPlayers"] == [ben]
    hall.seek(cleo, "board")
    assert hall.found(cleo)["matchId"] == first["matchId"]


def test_without_a_session_who_does_not_come_back_after_a_restart_has_left(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    hall.match(ann, ben, short_code="board")
    with hall.restarted() as again:
        assert again.presence.expected == [ann, ben]
        again.presence.players.add(ann)
        again.matches.away(ben)
        again.later(3.9)
        assert again.news(ann, "MatchUpdatedMessage") == []
        again.later(0.2)
        (told,) = again.news(ann, "MatchUpdatedMessage")
        assert told["removedPlayers"] == [ben]


def test_a_script_meets_those_who_come_later(hall: Hall) -> None:
    path = hall.script(
        "host",
        """
        seen = []

        def on_player_connect(player):
            seen.append(player)
            print("connect", player.peer_id, [each is player for each in seen])

        def on_player_disconnect(player):
            print("disconnect", player.peer_id)

        @session.on_packet(5)
        def five(packet):
            packet.get_sender().kick("cheat")
            seen[1].kick("long gone")
        """,
    )
    scripted = config("scripted", drop_in_drop_out=True, realtime_script=path)
    hall.matches.game_changed(type(hall.desk.game)(matches={"scripted": scripted}))
    hall.desk.game.matches["scripted"] = scripted
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    first, second = hall.match(ann, ben, short_code="scripted")
    one, two = hall.enter(first), hall.enter(second)
    leave(two)
    hall.later(0.0)
    hall.settle()
    hall.seek(cleo, "scripted")
    third = hall.enter(hall.found(cleo))
    assert hall.texts() == [
        "connect 1 [True]",
        "connect 2 [False, True]",
        "disconnect 2",
        "connect 2 [False, False, True]",
    ]
    one.put(packet(5, payload=b"x"))
    hall.later(0.1)
    session = hall.session(first["matchId"])
    assert expected(session) == [(cleo, 2)]
    assert session.player(cleo).state != KICKED
    third.packets()


def test_who_is_deleted_is_put_out_of_the_session_and_the_place_is_free(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    first, second = hall.match(ann, ben, short_code="open")
    hall.enter(first)
    two = hall.enter(second)
    hall.seek(ben, "trio")
    hall.stored(lambda tx: tx.execute("DELETE FROM players WHERE id = ?", (ben,)) and None)
    hall.matches.deleted(ben)
    two.floor.until(lambda: two.line.stream.fd < 0)
    assert hall.sessions.holder(second["accessToken"]) is None
    assert hall.matches.figures()["tickets"] == 0
    hall.later(4.1)
    assert expected(hall.session(first["matchId"])) == [(ann, 1)]
    (told,) = hall.news(ann, "MatchUpdatedMessage")
    assert told["removedPlayers"] == [ben]
    hall.seek(cleo, "open")
    assert ids(hall.found(cleo)["participants"]) == [ann, cleo]
