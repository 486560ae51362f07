"""Operations on players, and what the operator sees of them, on a real store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gsrt.backend import operator, players, records
from gsrt.backend.call import Failure
from gsrt.store.store import Transaction
from tests.backend.office import BEGAN, Office

NOBODY = "0" * 24
SIGNUP = {"gold": 100}


def made(office: Office, name: str = "Anna", user_name: str | None = None, password: str | None = None) -> str:
    player_id: str = office.stored(players.create, name, SIGNUP, user_name, password)
    return player_id


def run(office: Office, do: str, **fields: Any) -> dict[str, Any]:
    """What the control socket would answer."""
    later = operator.answer(office.desk, {"do": do, **fields})
    office.until(lambda: later._answer is not None)
    assert later._answer is not None
    assert json.loads(json.dumps(later._answer)) == later._answer
    return later._answer


def refused(office: Office, do: str, **fields: Any) -> str:
    answer = run(office, do, **fields)
    assert answer["ok"] is False
    return str(answer["error"])


def fill(office: Office, player_id: str) -> None:
    """Something of everything that can be known of a player."""

    def put(tx: Transaction) -> None:
        who = {"player": player_id, "match": f"match-{player_id}", "message": f"message-{player_id}"}
        tx.execute("UPDATE players SET user_name = :player, password = 'hash', language = 'en' WHERE id = :player", who)
        tx.execute("INSERT INTO devices VALUES('d' || :player, 'IOS', :player, 1)", who)
        players.issue_token(tx, player_id, 3)
        tx.execute("INSERT INTO goods VALUES(:player, 'sword', 2)", who)
        tx.execute(
            "INSERT INTO ledger(player, kind, code, delta, balance, reason, at)"
            " VALUES(:player, 'good', 'sword', 2, 2, 'test', 1)",
            who,
        )
        tx.execute("INSERT INTO documents VALUES(:player, 'notes', 'a', '{\"b\":1}', 1, 1)", who)
        tx.execute(
            "INSERT INTO scores(leaderboard, player, score, attributes, at, number)"
            " VALUES('l', :player, 7, '{}', 1, 1)",
            who,
        )
        tx.execute("INSERT INTO achievements VALUES(:player, 'first', 1)", who)
        tx.execute(
            "INSERT INTO messages(id, player, class, body, at, number)"
            " VALUES(:message, :player, 'M', '{\"x\":2}', 1, 1)",
            who,
        )
        tx.execute("INSERT INTO matches(id, short_code, created) VALUES(:match, 'duel', 1)", who)
        tx.execute(
            "INSERT INTO match_players(match, player, peer_id, access_token, participant_data)"
            " VALUES(:match, :player, 1, 'let-me-in', '{\"c\":3}')",
            who,
        )
        tx.execute("INSERT INTO tickets(player, short_code, body, since) VALUES(:player, 'duel', '{}', 1)", who)

    office.stored(put)


def owned_tables(office: Office) -> dict[str, str]:
    """Table -> the column that says whose a row is."""
    tables = [name for (name,) in office.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {"players": "id"}
    for table in tables:
        columns = {row[1] for row in office.rows(f"PRAGMA table_info({table})")}
        for column in ("player", "owner"):
            if column in columns:
                found[table] = column
    return found


class TestTokens:
    def test_a_token_finds_its_player(self, office: Office) -> None:
        anna, bo = made(office), made(office, "Bo")
        tokens = {office.stored(players.issue_token, who, 9): who for who in (anna, bo, anna)}
        assert len(tokens) == 3
        for token, who in tokens.items():
            assert office.stored(players.by_token, token) == who

    def test_what_is_no_token(self, office: Office) -> None:
        token = office.stored(players.issue_token, made(office), 9)
        other = "A" if token[-1] != "A" else "B"
        for wrong in ("", "0", token[:-1], token + "x", token[:-1] + other, other + token[1:], "ü" * 40, "\ud800" * 40):
            assert office.stored(players.by_token, wrong) is None

    def test_only_a_hash_is_stored(self, office: Office) -> None:
        token = office.stored(players.issue_token, made(office), 9)
        ((name, secret),) = office.rows("SELECT name, secret FROM auth_tokens")
        assert name == token[:8]
        assert len(secret) == 32
        assert token[8:].encode() not in secret

    def test_the_one_not_used_for_longest_goes(self, office: Office) -> None:
        anna, bo = made(office), made(office, "Bo")
        of_bo = office.stored(players.issue_token, bo, 2)
        tokens = []
        for _ in range(2):
            office.now += 100
            tokens.append(office.stored(players.issue_token, anna, 2))
        office.now += 100
        assert office.stored(players.by_token, tokens[0]) == anna
        office.now += 100
        tokens.append(office.stored(players.issue_token, anna, 2))
        assert [office.stored(players.by_token, token) for token in tokens] == [anna, None, anna]
        assert office.stored(players.by_token, of_bo) == bo

    def test_a_new_one_stays_even_where_only_one_may(self, office: Office) -> None:
        anna = made(office)
        first, second = (office.stored(players.issue_token, anna, 1) for _ in range(2))
        assert office.stored(players.by_token, first) is None
        assert office.stored(players.by_token, second) == anna

    def test_a_use_is_noted_now_and_then(self, office: Office) -> None:
        anna = made(office)
        token = office.stored(players.issue_token, anna, 9)
        seen = "SELECT used, seen FROM auth_tokens JOIN players ON players.id = player"
        office.now += 1
        office.stored(players.by_token, token)
        assert office.rows(seen) == [(BEGAN, BEGAN)]
        office.now += players.USE_NOTED_SECONDS
        office.stored(players.by_token, token)
        assert office.rows(seen) == [(office.now, office.now)]

    def test_names_that_are_there_already_are_not_given_again(self, office: Office) -> None:
        anna = made(office)
        first = office.stored(players.issue_token, anna, 9)
        taken = office.random.getstate()
        office.random.seed(5)
        one = office.stored(players.issue_token, anna, 9)
        office.random.seed(5)
        other = office.stored(players.issue_token, anna, 9)
        office.random.setstate(taken)
        assert len({first[:8], one[:8], other[:8]}) == 3
        assert office.stored(players.by_token, one) == office.stored(players.by_token, other) == anna


class TestPlayers:
    def test_script_data(self, office: Office) -> None:
        anna = made(office)
        assert office.stored(players.script_data, anna) == {}
        office.stored(players.put_script_data, anna, {"a": [1, "ü"], "b": None}, 1000)
        assert office.stored(players.script_data, anna) == {"a": [1, "ü"]}
        with pytest.raises(Failure) as caught:
            office.stored(players.put_script_data, anna, {"a": "x" * 1000}, 1000)
        assert list(caught.value.errors) == ["script_data"]
        assert office.stored(players.script_data, anna) == {"a": [1, "ü"]}
        with pytest.raises(Failure):
            office.stored(players.script_data, NOBODY)

    def test_display_names(self, office: Office) -> None:
        anna, bo = made(office), made(office, "Bo")
        assert office.stored(players.display_names, [bo, NOBODY, anna]) == {bo: "Bo", anna: "Anna"}

    def test_a_password_that_changed_meanwhile_is_not_judged(self, office: Office) -> None:
        anna = made(office, user_name="anna", password="old")
        assert office.stored(players.judge, anna, "other", True, None, 5, 60.0) == players.UNRECOGNISED
        assert office.stored(players.judge, anna, "old", True, "new", 5, 60.0) == {}
        assert office.stored(players.judge, anna, "old", True, None, 5, 60.0) == players.UNRECOGNISED
        assert office.stored(players.judge, NOBODY, None, True, None, 5, 60.0) == players.UNRECOGNISED
        assert office.rows("SELECT password, failures FROM players") == [("new", 0)]

    def test_a_right_password_with_nothing_to_note_writes_nothing(self, office: Office) -> None:
        anna = made(office, user_name="anna", password="hash")
        before = office.store.figures()["store_writes"]
        assert office.stored(players.judge, anna, "hash", True, None, 5, 60.0) == {}
        assert office.store.figures()["store_writes"] == before

    def test_players_survive_the_server(self, office: Office, tmp_path: Path) -> None:
        anna = made(office)
        token = office.stored(players.issue_token, anna, 9)
        office.close()
        again = Office(tmp_path, seed=2)
        try:
            assert again.stored(players.by_token, token) == anna
        finally:
            again.close()


class TestList:
    def test_the_newest_first_and_page_by_page(self, office: Office) -> None:
        ids = [made(office, f"P{number}") for number in range(5)]
        first = run(office, "player.list", most=2)
        assert [each["playerId"] for each in first["players"]] == [ids[4], ids[3]]
        assert first["all"] == 5
        second = run(office, "player.list", most=9, after=ids[3])
        assert [each["playerId"] for each in second["players"]] == [ids[2], ids[1], ids[0]]
        assert run(office, "player.list", after=ids[0])["players"] == []

    def test_what_is_told_of_each(self, office: Office) -> None:
        device = office.device()
        device.ask("DeviceAuthenticationRequest", deviceId="d", deviceOS="IOS", displayName="Bo")
        (bo,) = run(office, "player.list")["players"]
        assert bo == {
            "playerId": device.player_id,
            "displayName": "Bo",
            "userName": None,
            "created": BEGAN,
            "seen": BEGAN,
            "locked": False,
            "devices": 1,
            "online": True,
        }

    def test_by_a_part_of_a_name(self, office: Office) -> None:
        made(office, "Anna", "first")
        made(office, "Bo", "second")
        made(office, "100%", None)
        for name, found in (("AN", ["Anna"]), ("ECO", ["Bo"]), ("%", ["100%"]), ("_", []), ("zz", [])):
            assert [each["displayName"] for each in run(office, "player.list", name=name)["players"]] == found

    def test_mistakes(self, office: Office) -> None:
        assert "most: must be at most" in refused(office, "player.list", most=100_000)
        assert "player: may not be null" in refused(office, "player.show")


class TestShow:
    def test_by_id_and_by_user_name(self, office: Office) -> None:
        anna = made(office, user_name="anna")
        fill(office, anna)
        office.stored(
            lambda tx: tx.execute("UPDATE players SET user_name = 'anna', locked_until = ?", (BEGAN + 5,)).close()
        )
        shown = run(office, "player.show", player="ANNA")
        assert shown == run(office, "player.show", player=anna)
        assert shown["playerId"] == anna
        assert shown["lockedSeconds"] == 5.0
        assert shown["currencies"] == SIGNUP
        assert shown["virtualGoods"] == {"sword": 2}
        assert shown["achievements"] == ["first"]
        assert shown["devices"] == [{"deviceId": f"d{anna}", "deviceOs": "IOS", "created": 1}]
        assert shown["counts"] == {
            "signIns": 1, "documents": 1, "scores": 1, "messages": 1, "matches": 1, "tickets": 1
        }  # fmt: skip
        assert "hash" not in json.dumps(shown)

    @pytest.mark.parametrize("do", ["player.show", "player.reset", "player.delete", "player.export"])
    def test_nobody(self, office: Office, do: str) -> None:
        made(office)
        assert "there is no player" in refused(office, do, player="nobody", section="player")


class TestReset:
    def test_a_new_password_unlocks_and_signs_out(self, office: Office) -> None:
        device = office.device()
        old = {"userName": "anna", "password": "old one"}
        device.ask("RegistrationRequest", displayName="Anna", **old)
        for _ in range(office.profile.login_failures_max):
            office.device().ask("AuthenticationRequest", userName="anna", password="wrong")
        answer = run(office, "player.reset", player="anna")
        assert answer == {"ok": True, "playerId": device.player_id, "userName": "anna", "password": answer["password"]}
        assert office.presence.disconnected == [device.player_id]
        assert office.stored(players.by_token, device.auth_token) is None
        assert "error" in office.device().ask("AuthenticationRequest", **old)
        new = office.device().ask("AuthenticationRequest", userName="anna", password=answer["password"])
        assert new["userId"] == device.player_id
        assert answer["password"] not in office.log_text.getvalue()

    def test_unlock_only(self, office: Office) -> None:
        device = office.device()
        old = {"userName": "anna", "password": "old one"}
        device.ask("RegistrationRequest", displayName="Anna", **old)
        for _ in range(office.profile.login_failures_max):
            office.device().ask("AuthenticationRequest", userName="anna", password="wrong")
        answer = run(office, "player.reset", player="anna", unlockOnly=True)
        assert answer == {"ok": True, "playerId": device.player_id, "userName": "anna"}
        assert office.presence.disconnected == []
        assert office.stored(players.by_token, device.auth_token) == device.player_id
        assert "userId" in office.device().ask("AuthenticationRequest", **old)

    def test_a_player_without_a_user_name_gets_no_password(self, office: Office) -> None:
        anna = made(office)
        assert run(office, "player.reset", player=anna) == {"ok": True, "playerId": anna, "userName": None}
        assert office.rows("SELECT password FROM players") == [(None,)]


class TestDelete:
    def test_nothing_is_left_and_others_keep_everything(self, office: Office) -> None:
        anna, bo = made(office), made(office, "Bo")
        for who in (anna, bo):
            fill(office, who)
        assert run(office, "player.delete", player=anna) == {"ok": True, "playerId": anna, "displayName": "Anna"}
        assert office.presence.disconnected == [anna]
        for table, column in owned_tables(office).items():
            owners = {row[0] for row in office.rows(f"SELECT {column} FROM {table}")}
            assert owners == {bo}, table

    @pytest.mark.parametrize(("ended", "others", "left"), [(1, False, 0), (1, True, 1), (None, False, 1)])
    def test_a_match_goes_with_its_last_player(
        self, office: Office, ended: float | None, others: bool, left: int
    ) -> None:
        anna, bo = made(office), made(office, "Bo")

        def put(tx: Transaction) -> None:
            tx.execute("INSERT INTO matches(id, short_code, created, ended) VALUES('m', 'duel', 1, ?)", (ended,))
            for who in (anna, bo) if others else (anna,):
                tx.execute("INSERT INTO match_players(match, player) VALUES('m', ?)", (who,))

        office.stored(put)
        run(office, "player.delete", player=anna)
        assert office.rows("SELECT count(*) FROM matches") == [(left,)]

    def test_the_ledger_balances_before_and_after(self, office: Office) -> None:
        unbalanced = (
            "SELECT code FROM (SELECT code, delta FROM ledger WHERE kind = 'currency'"
            " UNION ALL SELECT currency, -amount FROM balances) GROUP BY code HAVING sum(delta) <> 0"
        )
        anna = made(office)
        made(office, "Bo")
        assert office.rows(unbalanced) == []
        run(office, "player.delete", player=anna)
        assert office.rows(unbalanced) == []
        assert office.rows("SELECT sum(delta) FROM ledger") == [(100,)]

    def test_the_user_name_is_free_again(self, office: Office) -> None:
        made(office, user_name="anna")
        run(office, "player.delete", player="anna")
        assert "userId" in office.ask("RegistrationRequest", {"displayName": "A", "userName": "anna", "password": "x"})


class TestExport:
    def test_everything_but_what_lets_somebody_in(self, office: Office) -> None:
        anna, bo = made(office), made(office, "Bo")
        for who in (anna, bo):
            fill(office, who)
        document = {name: run(office, "player.export", player=anna, section=name) for name in records.SECTIONS}
        for name, page in document.items():
            assert page["rows"], name
            assert page["next"] is None
        assert document["player"]["rows"][0]["displayName"] == "Anna"
        assert document["documents"]["rows"] == [
            {"collection": "notes", "id": "a", "version": 1, "changed": 1, "body": {"b": 1}}
        ]
        assert document["matches"]["rows"][0]["participantData"] == {"c": 3}
        text = json.dumps(document)
        assert bo not in text
        for secret in ("let-me-in", '"hash"', "secret"):
            assert secret not in text

    def test_every_table_of_players_is_in_it(self, office: Office) -> None:
        """Whoever adds a table adds it to the sections."""
        exported = " ".join(table for table, _, _, _ in records.SECTIONS.values())
        for table in owned_tables(office):
            assert table in exported

    def test_page_by_page(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        anna = made(office)
        monkeypatch.setattr(records, "PAGE_ROWS", 7)
        many = 30

        def put(tx: Transaction) -> None:
            for number in range(many):
                tx.execute("INSERT INTO documents VALUES(?, 'c', ?, '{}', 1, 1)", (anna, f"{number:03}"))

        office.stored(put)
        assert self.pages(office, anna) == [7, 7, 7, 7, 2]
        monkeypatch.setattr(records, "PAGE_ROWS", 1000)
        monkeypatch.setattr(records, "PAGE_CHARACTERS", 60)
        assert sum(self.pages(office, anna)) == many
        assert max(self.pages(office, anna)) < many

    def pages(self, office: Office, player_id: str) -> list[int]:
        sizes, ids = [], []
        offset: int | None = 0
        while offset is not None:
            page = run(office, "player.export", player=player_id, section="documents", offset=offset)
            sizes.append(len(page["rows"]))
            ids += [row["id"] for row in page["rows"]]
            offset = page["next"]
        assert ids == sorted(set(ids))
        return sizes

    def test_an_unknown_section(self, office: Office) -> None:
        assert "section: there are player, devices" in refused(office, "player.export", player="x", section="secrets")
