"""From a ticket to a match: what is stored, what players are told, the session that waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gsrt.game.model import Threshold
from tests.matches.hall import PORT, PUBLIC_HOST, Hall, config, expected, ids


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    with Hall(
        tmp_path,
        config(),
        config("trio", min_players=2, max_players=3, thresholds=(Threshold(5.0, "ABSOLUTE", 0, 100, True),)),
        config("board", realtime=False),
        config("bare", thresholds=()),
    ) as made:
        yield made


def test_two_players_are_found_and_told(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    hall.seek(ann, matchData={"map": "desert"}, participantData={"car": "red"})
    assert hall.told == {}
    assert hall.rows("SELECT player, short_code, since FROM tickets") == [(ann, "duel", hall.wall())]
    hall.seek(ben, matchData={"map": "ice"}, participantData={"car": "blue"})
    assert hall.rows("SELECT * FROM tickets") == []
    first, second = hall.found(ann), hall.found(ben)
    assert first["host"] == second["host"] == PUBLIC_HOST
    assert first["port"] == second["port"] == PORT
    assert first["accessToken"] != second["accessToken"]
    assert first["matchId"] == second["matchId"]
    assert first["matchShortCode"] == "duel"
    assert first["matchData"] == {"map": "desert"}
    assert first["messageId"] != second["messageId"]
    assert first["participants"] == [
        {
            "id": player_id,
            "displayName": name,
            "peerId": peer_id,
            "online": True,
            "externalIds": {},
            "achievements": [],
            "virtualGoods": [],
            "participantData": {"car": car},
            "scriptData": {},
        }
        for peer_id, (player_id, name, car) in enumerate([(ann, "Ann", "red"), (ben, "Ben", "blue")], 1)
    ]
    session = hall.session(first["matchId"])
    assert expected(session) == [(ann, 1), (ben, 2)]
    holder = hall.sessions.holder(second["accessToken"])
    assert holder is not None
    assert (holder.player_id, holder.session) == (ben, session)


def test_they_play(hall: Hall) -> None:
    first, second = hall.match(*hall.players("Ann", "Ben"))
    one, two = hall.enter(first), hall.enter(second)
    assert one.news() == [(-101, (2, [1, 2]))]
    assert two.news() == []


def test_what_a_player_has_is_told(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")

    def give(tx: object) -> None:
        tx.execute("INSERT INTO goods VALUES(?, 'sword', 3)", (ann,))  # type: ignore[attr-defined]
        tx.execute("INSERT INTO achievements VALUES(?, 'first_blood', 0)", (ann,))  # type: ignore[attr-defined]

    hall.stored(give)
    hall.presence.players.discard(ann)
    told = hall.match(ann, ben)[1]["participants"][0]
    assert (told["achievements"], told["virtualGoods"], told["online"]) == (["first_blood"], ["sword"], False)


def test_nobody_is_found(hall: Hall) -> None:
    (ann,) = hall.players("Ann")
    hall.seek(ann, participantData={"car": "red"}, matchData={"map": "ice"}, matchGroup="north")
    hall.later(9.5)
    assert hall.told == {}
    hall.later(0.6)
    (told,) = hall.news(ann, "MatchNotFoundMessage")
    assert told["matchShortCode"] == "duel"
    assert (told["matchGroup"], told["matchData"], told["participantData"]) == ("north", {"map": "ice"}, {"car": "red"})
    assert hall.rows("SELECT * FROM tickets") == []
    assert hall.cancel(ann) == {"error": {"match": "NOT_FOUND"}}


def test_the_least_number_at_the_end_of_a_period(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    hall.seek(ann, "trio")
    hall.later(2.0)
    hall.seek(ben, "trio")
    hall.later(3.1)
    assert ids(hall.found(ben)["participants"]) == [ann, ben]


def test_cancelling(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    hall.seek(ann)
    assert hall.cancel(ann) == {}
    assert hall.rows("SELECT * FROM tickets") == []
    hall.seek(ben)
    assert hall.told == {}
    assert hall.cancel(ann) == {"error": {"match": "NOT_FOUND"}}
    wrong = hall.ask(ben, "MatchmakingRequest", matchShortCode="duel", matchGroup="other", action="cancel")
    assert wrong == {"error": {"match": "NOT_FOUND"}}


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"skill": 1}, {"matchShortCode": "may not be null"}),
        ({"matchShortCode": "duel"}, {"skill": "may not be null"}),
        ({"matchShortCode": "none", "skill": 1}, {"matchShortCode": "NOT_FOUND"}),
        ({"matchShortCode": "bare", "skill": 1}, {"matchShortCode": "NOT_FOUND"}),
        ({"matchShortCode": "duel", "skill": 1, "action": "jump"}, {"action": "INVALID: it is cancel, or not there"}),
        ({"matchShortCode": "duel", "skill": "1"}, {"skill": "must be a number"}),
    ],
)
def test_what_is_wrong_with_a_request(hall: Hall, fields: dict[str, object], errors: dict[str, str]) -> None:
    (ann,) = hall.players("Ann")
    assert hall.ask(ann, "MatchmakingRequest", **fields) == {"error": errors}
    assert hall.rows("SELECT * FROM tickets") == []


def test_a_query_that_is_not_understood(hall: Hall) -> None:
    (ann,) = hall.players("Ann")
    answer = hall.ask(ann, "MatchmakingRequest", matchShortCode="duel", skill=1, customQuery={"$where": "1"})
    assert answer["error"] == {"customQuery": "INVALID_QUERY"}


def test_a_query_chooses(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    hall.seek(ann, participantData={"level": 3})
    hall.seek(ben, customQuery={"matchedPlayers.participantData.level": {"$gte": 5}})
    hall.seek(cleo, participantData={"level": 7})
    told = hall.found(cleo)
    assert cleo in ids(told["participants"])
    assert ann not in ids(told["participants"]) or ben not in ids(told["participants"])


def test_data_that_is_too_long(hall: Hall) -> None:
    (ann,) = hall.players("Ann")
    for name in ("matchData", "participantData"):
        answer = hall.ask(ann, "MatchmakingRequest", matchShortCode="duel", skill=1, **{name: {"a": "x" * 40_000}})
        assert answer["error"][name].startswith("TOO_LARGE")


def test_no_more_tickets_than_the_profile_allows(tmp_path: Path) -> None:
    with Hall(tmp_path, config(max_players=9), tickets_max=2) as hall:
        ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
        hall.seek(ann)
        hall.seek(ben)
        answer = hall.ask(cleo, "MatchmakingRequest", matchShortCode="duel", skill=1)
        assert answer == {"error": {"match": "TOO_MANY: try again later"}}


def test_being_found_takes_all_tickets_out(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    hall.seek(ann, "trio")
    hall.match(ann, ben)
    assert hall.rows("SELECT * FROM tickets") == []
    hall.seek(cleo, "trio")
    hall.later(5.1)
    assert hall.news(ann, "MatchFoundMessage") == []


def test_a_match_that_is_not_played_in_a_session(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    told = hall.match(ann, ben, short_code="board")[0]
    assert not {"accessToken", "host", "port"} & set(told)
    assert len(hall.sessions) == 0
    details = hall.ask(ann, "MatchDetailsRequest", matchId=told["matchId"])
    assert "accessToken" not in details
    assert ids(details["opponents"]) == [ben]


def test_details_for_those_who_are_in_it(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    hall.seek(ann, matchData={"map": "ice"})
    hall.seek(ben)
    told = hall.found(ben)
    details = hall.ask(ben, "MatchDetailsRequest", matchId=told["matchId"], realtimeEnabled=True)
    assert {key: details[key] for key in details if key != "opponents"} == {
        "matchId": told["matchId"],
        "playerId": ben,
        "peerId": 2,
        "matchData": {"map": "ice"},
        "accessToken": told["accessToken"],
        "host": PUBLIC_HOST,
        "port": PORT,
    }
    assert details["opponents"] == told["participants"][:1]
    for who, which in ((cleo, told["matchId"]), (ann, "nonsense")):
        assert hall.ask(who, "MatchDetailsRequest", matchId=which) == {"error": {"matchId": "NOT_FOUND"}}
    hall.session(told["matchId"]).end("enough")
    assert "accessToken" not in hall.ask(ben, "MatchDetailsRequest", matchId=told["matchId"])


def test_the_end_of_a_session_is_the_end_of_its_match(hall: Hall) -> None:
    told = hall.match(*hall.players("Ann", "Ben"))[0]
    assert hall.rows("SELECT ended FROM matches") == [(None,)]
    hall.session(told["matchId"]).end("enough")
    hall.settle()
    assert hall.rows("SELECT ended FROM matches") == [(hall.wall(),)]
    assert len(hall.matches) == 0


def test_a_message_nobody_took_goes_with_the_match(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    told = hall.match(ann, ben)[0]
    assert len(hall.rows("SELECT id FROM messages")) == 2
    hall.session(told["matchId"]).end("enough")
    hall.settle()
    assert hall.rows("SELECT id FROM messages") == []


def test_no_room_for_a_session(tmp_path: Path) -> None:
    with Hall(tmp_path, config(), sessions_max=1) as hall:
        hall.create("x")
        ann, ben = hall.players("Ann", "Ben")
        hall.seek(ann)
        hall.seek(ben)
        assert hall.told == {}
        assert hall.log_text().count("not begun yet") == 1
        assert len(hall.rows("SELECT * FROM tickets")) == 2
        hall.later(3.0)
        assert hall.told == {}
        hall.sessions.end_all("room")
        hall.later(1.0)
        assert ids(hall.found(ann)["participants"]) == [ann, ben]


def test_matches_that_nobody_plays_take_no_room_for_ever(tmp_path: Path) -> None:
    """Two who are found again and again have one match at a time; one that nobody comes to gives way after a while."""
    with Hall(tmp_path, config(), sessions_max=2) as hall:
        ann, ben, cleo, dora, eve, fay = hall.players("Ann", "Ben", "Cleo", "Dora", "Eve", "Fay")
        unused = [hall.match(ann, ben)[0]["matchId"] for _ in range(3)]
        assert [hall.sessions.find(each) is not None for each in unused] == [False, False, True]
        played, _ = hall.match(cleo, dora)
        hall.enter(played)
        hall.seek(eve)
        hall.seek(fay)
        hall.later(50.0)
        assert eve not in hall.told
        hall.later(15.0)
        assert ids(hall.found(eve)["participants"]) == [eve, fay]
        assert hall.sessions.find(unused[-1]) is None
        assert hall.sessions.find(played["matchId"]) is not None


def test_a_match_that_somebody_may_still_come_to_goes_on(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    first, _ = hall.match(ann, ben)
    hall.match(ann, cleo)
    assert hall.session(first["matchId"])
    hall.enter(first)
    hall.match(ben, cleo)
    assert hall.session(first["matchId"])


def test_who_waits_for_room_may_cancel(tmp_path: Path) -> None:
    with Hall(tmp_path, config(), sessions_max=1) as hall:
        hall.create("x")
        ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
        hall.seek(ann)
        hall.seek(ben)
        assert hall.cancel(ann) == {}
        hall.sessions.end_all("room")
        hall.later(2.0)
        assert hall.told == {}
        hall.seek(cleo)
        assert ids(hall.found(cleo)["participants"]) == [ben, cleo]


def test_a_player_deleted_while_waiting(hall: Hall) -> None:
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    hall.seek(ann)
    hall.stored(lambda tx: tx.execute("DELETE FROM players WHERE id = ?", (ann,)) and None)
    hall.seek(ben)
    assert hall.told == {}
    hall.seek(cleo)
    assert ids(hall.found(cleo)["participants"]) == [ben, cleo]


def test_who_is_away_looks_no_longer(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    hall.seek(ann)
    hall.matches.away(ann)
    hall.settle()
    assert hall.rows("SELECT * FROM tickets") == []
    (message,) = hall.news(ann, "MatchNotFoundMessage")
    assert message["matchShortCode"] == "duel"
    hall.seek(ben)
    assert list(hall.told) == [ann]


def test_the_game_changes(hall: Hall) -> None:
    ann, ben = hall.players("Ann", "Ben")
    hall.seek(ann)
    hall.desk.game = type(hall.desk.game)(matches={"trio": hall.desk.game.matches["trio"]})
    hall.matches.game_changed(hall.desk.game)
    hall.settle()
    assert len(hall.news(ann, "MatchNotFoundMessage")) == 1
    assert hall.rows("SELECT * FROM tickets") == []
    answer = hall.ask(ben, "MatchmakingRequest", matchShortCode="duel", skill=1)
    assert answer == {"error": {"matchShortCode": "NOT_FOUND"}}


def test_a_crowd_of_participants_still_fits_a_message(tmp_path: Path) -> None:
    crowd = config("crowd", min_players=60, max_players=60)
    with Hall(tmp_path, crowd) as hall:
        everybody = hall.players(*(f"{number:03}" + "ü" * 60 for number in range(60)))

        def give(tx: object) -> None:
            for player_id in everybody:
                for good in range(20):
                    tx.execute("INSERT INTO goods VALUES(?, ?, 1)", (player_id, f"good_{good}" * 3))  # type: ignore[attr-defined]

        hall.stored(give)
        for player_id in everybody:
            hall.seek(player_id, "crowd", participantData={"car": "x" * 400})
        told = hall.found(everybody[7])
        assert [each["peerId"] for each in told["participants"]] == list(range(1, 61))
        assert told["participants"][7]["virtualGoods"] == []


def test_a_script_cannot_seek_for_nobody(hall: Hall) -> None:
    assert hall.ask("0" * 24, "MatchmakingRequest", matchShortCode="duel", skill=1) == {
        "error": {"playerId": "NOT_FOUND"}
    }
    assert len(hall.matches.matchmaker) == 0
