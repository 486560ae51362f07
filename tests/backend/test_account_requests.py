"""Registration, sign-in and the account, asked as a client or a script does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gsrt.backend import players
from gsrt.backend.registry import Registry
from gsrt.tokens import is_token
from tests.backend.office import Device, Office

REGISTER = "RegistrationRequest"
SIGN_IN = "AuthenticationRequest"
BY_DEVICE = "DeviceAuthenticationRequest"
DETAILS = "AccountDetailsRequest"
CHANGE = "ChangeUserDetailsRequest"
END = "EndSessionRequest"
OURS = (REGISTER, SIGN_IN, BY_DEVICE, DETAILS, CHANGE, END)

ANNA = {"displayName": "Anna", "userName": "anna", "password": "correct horse"}
PHONE = {"deviceId": "phone-1", "deviceOS": "ANDROID"}

TAKEN = {"error": {"USERNAME": "TAKEN"}}
UNRECOGNISED = {"error": {"DETAILS": "UNRECOGNISED"}}
LOCKED = {"error": {"DETAILS": "LOCKED"}}


def locked_out(office: Office) -> Device:
    """A device from which anna has been guessed at too often."""
    registered(office)
    device = office.device()
    for _ in range(office.profile.login_failures_max):
        assert device.ask(SIGN_IN, userName="anna", password="wrong") == UNRECOGNISED
    assert device.ask(SIGN_IN, userName="anna", password=ANNA["password"]) == LOCKED
    return device


def registered(office: Office, **fields: str) -> Device:
    device = office.device()
    answer = device.ask(REGISTER, **{**ANNA, **fields})
    assert "error" not in answer
    return device


class TestRegistration:
    def test_a_new_player_is_signed_in(self, office: Office) -> None:
        device = office.device()
        answer = device.ask(REGISTER, **ANNA, segments={"league": "gold"})
        assert answer == {
            "userId": device.player_id,
            "displayName": "Anna",
            "newPlayer": True,
            "authToken": device.auth_token,
        }
        assert device.player_id is not None
        assert re.fullmatch("[0-9a-f]{24}", device.player_id)
        assert is_token(answer["authToken"])
        assert office.stored(players.by_token, answer["authToken"]) == device.player_id
        assert office.stored(players.segments, device.player_id) == {"league": "gold"}

    @pytest.mark.parametrize("name", ["anna", "ANNA"])
    def test_a_user_name_is_taken_once(self, office: Office, name: str) -> None:
        registered(office)
        other = office.device()
        assert other.ask(REGISTER, **{**ANNA, "userName": name}) == TAKEN
        assert other.player_id is None
        assert office.rows("SELECT count(*) FROM players") == [(1,)]

    def test_of_many_at_once_one_gets_the_name(self, office: Office) -> None:
        answers = [office.device().begin(REGISTER, **ANNA) for _ in range(8)]
        office.until(lambda: all(answers))
        assert sorted("error" in answer for (answer,) in answers) == [False] + [True] * 7
        assert office.rows("SELECT count(*) FROM players") == [(1,)]
        assert office.rows("SELECT count(*) FROM ledger") == [(1,)], "who was too late leaves nothing"

    def test_who_signed_in_by_device_stays_the_same_player(self, office: Office) -> None:
        device = office.device()
        first = device.ask(BY_DEVICE, **PHONE)
        answer = device.ask(REGISTER, **ANNA)
        assert answer["userId"] == first["userId"]
        assert answer["newPlayer"] is False
        assert answer["displayName"] == "Anna"
        assert "switchSummary" not in answer
        assert office.device().ask(SIGN_IN, userName="anna", password=ANNA["password"])["userId"] == first["userId"]
        assert office.device().ask(BY_DEVICE, **PHONE)["userId"] == first["userId"]

    def test_a_device_player_keeps_everything_when_the_name_is_taken(self, office: Office) -> None:
        registered(office)
        device = office.device()
        first = device.ask(BY_DEVICE, **PHONE, displayName="Bo")
        assert device.ask(REGISTER, **ANNA) == TAKEN
        assert device.player_id == first["userId"]
        assert office.stored(players.details, first["userId"], ())["displayName"] == "Bo"

    def test_who_has_a_user_name_becomes_somebody_else(self, office: Office) -> None:
        device = registered(office)
        anna = device.player_id
        answer = device.ask(REGISTER, displayName="Bo", userName="bo", password="x")
        assert answer["newPlayer"] is True
        assert answer["userId"] == device.player_id != anna
        assert answer["switchSummary"] == {"id": anna, "displayName": "Anna"}

    def test_mandatory_fields(self, office: Office) -> None:
        answer = office.device().ask(REGISTER, displayName="Anna")
        assert answer == {"error": {"userName": "may not be null", "password": "may not be null"}}

    def test_what_a_new_player_gets_is_in_the_ledger(self, office: Office) -> None:
        registered(office)
        assert office.rows("SELECT code, delta, balance, reason FROM ledger") == [("gold", 100, 100, "signup")]


class TestSignIn:
    def test_by_user_name_and_password(self, office: Office) -> None:
        anna = registered(office).player_id
        device = office.device()
        answer = device.ask(SIGN_IN, userName="Anna", password=ANNA["password"])
        assert answer == {
            "userId": anna,
            "displayName": "Anna",
            "newPlayer": False,
            "authToken": device.auth_token,
        }
        assert device.player_id == anna

    @pytest.mark.parametrize("user_name", ["anna", "nobody"])
    def test_a_wrong_password_and_an_unknown_name_are_told_alike(self, office: Office, user_name: str) -> None:
        registered(office)
        device = office.device()
        assert device.ask(SIGN_IN, userName=user_name, password="wrong") == UNRECOGNISED
        assert device.player_id is None

    def test_a_player_without_a_password_has_no_name_to_sign_in_with(self, office: Office) -> None:
        office.device().ask(BY_DEVICE, **PHONE, displayName="Bo")
        assert office.device().ask(SIGN_IN, userName="Bo", password="x") == UNRECOGNISED

    def test_a_user_name_without_a_password_lets_nobody_in(self, office: Office) -> None:
        device = office.device()
        device.ask(BY_DEVICE, **PHONE)
        assert device.ask(CHANGE, userName="bo") == {}
        assert office.device().ask(SIGN_IN, userName="bo", password="x") == UNRECOGNISED

    def test_another_player_on_the_same_connection(self, office: Office) -> None:
        registered(office)
        device = office.device()
        bo = device.ask(BY_DEVICE, **PHONE, displayName="Bo")["userId"]
        answer = device.ask(SIGN_IN, userName="anna", password=ANNA["password"])
        assert answer["switchSummary"] == {"id": bo, "displayName": "Bo"}

    def test_an_account_is_locked_after_wrong_passwords_in_a_row(self, office: Office) -> None:
        device = locked_out(office)
        office.now += office.profile.login_lock_seconds + 0.001
        assert "userId" in device.ask(SIGN_IN, userName="anna", password=ANNA["password"])

    def test_a_clock_that_is_set_back_locks_nobody_out(self, office: Office) -> None:
        device = locked_out(office)
        office.now -= 365 * 86400
        assert "authToken" in device.ask(SIGN_IN, userName="anna", password=ANNA["password"])

    def test_a_lock_that_is_over_begins_anew(self, office: Office) -> None:
        registered(office)
        device = office.device()
        for _ in range(2):
            for _ in range(office.profile.login_failures_max):
                assert device.ask(SIGN_IN, userName="anna", password="wrong") == UNRECOGNISED
            assert device.ask(SIGN_IN, userName="anna", password="wrong") == LOCKED
            office.now += office.profile.login_lock_seconds + 0.001

    def test_the_right_password_ends_the_row(self, office: Office) -> None:
        registered(office)
        device = office.device()
        for _ in range(3):
            for _ in range(office.profile.login_failures_max - 1):
                assert device.ask(SIGN_IN, userName="anna", password="wrong") == UNRECOGNISED
            assert "userId" in device.ask(SIGN_IN, userName="anna", password=ANNA["password"])

    def test_guesses_side_by_side_are_worth_no_more(self, office: Office) -> None:
        """The right one is the last of many that were all begun before the first was judged."""
        registered(office)
        guesses = ["wrong"] * 20 + [ANNA["password"]]
        answers = [office.device().begin(SIGN_IN, userName="anna", password=guess) for guess in guesses]
        office.until(lambda: all(answers))
        told = [answer for (answer,) in answers]
        assert told.count(UNRECOGNISED) == office.profile.login_failures_max
        assert told.count(LOCKED) == len(guesses) - office.profile.login_failures_max

    def test_a_changed_profile_has_passwords_hashed_anew(self, office: Office) -> None:
        registered(office)
        (before,) = office.rows("SELECT password FROM players")[0]
        office.profile.password_memory_kb = 2048
        assert "userId" in office.device().ask(SIGN_IN, userName="anna", password=ANNA["password"])
        (after,) = office.rows("SELECT password FROM players")[0]
        assert before.startswith("scrypt$1024$")
        assert after.startswith("scrypt$2048$")
        assert "userId" in office.device().ask(SIGN_IN, userName="anna", password=ANNA["password"])
        assert office.device().ask(SIGN_IN, userName="anna", password="wrong") == UNRECOGNISED

    def test_a_worker_that_takes_no_more_is_no_wrong_password(self, office: Office) -> None:
        registered(office)
        office.worker.close()
        for _ in range(office.profile.login_failures_max):
            answer = office.device().ask(SIGN_IN, userName="anna", password=ANNA["password"])
            assert list(answer["error"]) == ["backend"]
        assert office.rows("SELECT failures FROM players") == [(0,)]

    def test_tokens_of_a_player_are_bounded(self, office: Office) -> None:
        office.profile.auth_tokens_per_player_max = 3
        tokens = []
        for _ in range(5):
            tokens.append(office.device().ask(BY_DEVICE, **PHONE)["authToken"])
            office.now += 1
        found = [office.stored(players.by_token, token) is not None for token in tokens]
        assert found == [False, False, True, True, True]

    def test_no_secret_is_in_the_database_or_the_log(self, office: Office, tmp_path: Path) -> None:
        device = registered(office)
        assert device.auth_token is not None
        device.ask(SIGN_IN, userName="anna", password="wrong guess")
        written = b"".join(file.read_bytes() for file in (tmp_path / "data").iterdir())
        assert b"Anna" in written
        for secret in (ANNA["password"], "wrong guess", device.auth_token, device.auth_token[8:]):
            assert secret.encode() not in written
            assert secret not in office.log_text.getvalue()


class TestByDevice:
    def test_the_same_device_is_the_same_player(self, office: Office) -> None:
        first = office.device().ask(BY_DEVICE, **PHONE, displayName="Bo")
        again = office.device().ask(BY_DEVICE, **PHONE, displayName="other")
        assert (first["newPlayer"], again["newPlayer"]) == (True, False)
        assert first["userId"] == again["userId"]
        assert again["displayName"] == "Bo"
        assert first["authToken"] != again["authToken"]

    @pytest.mark.parametrize("other", [{"deviceId": "phone-2"}, {"deviceOS": "IOS"}])
    def test_another_device_is_another_player(self, office: Office, other: dict[str, str]) -> None:
        first = office.device().ask(BY_DEVICE, **PHONE)
        assert office.device().ask(BY_DEVICE, **{**PHONE, **other})["userId"] != first["userId"]

    def test_many_at_once_are_one_player(self, office: Office) -> None:
        answers = [office.device().begin(BY_DEVICE, **PHONE) for _ in range(8)]
        office.until(lambda: all(answers))
        assert len({answer["userId"] for (answer,) in answers}) == 1
        assert sum(answer["newPlayer"] for (answer,) in answers) == 1

    def test_a_player_without_a_name_gets_one(self, office: Office) -> None:
        answer = office.device().ask(BY_DEVICE, **PHONE)
        assert answer["displayName"] == f"Player-{answer['userId'][:4]}"

    def test_what_sdks_send_beside_is_taken(self, office: Office) -> None:
        extras = {"deviceModel": "x", "deviceName": "y", "deviceType": "z", "operatingSystem": "9", "other": [1]}
        assert office.device().ask(BY_DEVICE, **PHONE, **extras)["newPlayer"] is True

    def test_segments_add_up(self, office: Office) -> None:
        device = office.device()
        device.ask(BY_DEVICE, **PHONE, segments={"a": "1", "b": "2"})
        device.ask(BY_DEVICE, **PHONE, segments={"b": "3", "a": None, "c": "4"})
        assert office.stored(players.segments, device.player_id) == {"b": "3", "c": "4"}

    def test_segments_are_bounded_and_then_nothing_happens(self, office: Office) -> None:
        answer = office.device().ask(BY_DEVICE, **PHONE, segments={"a": "x" * players.SEGMENTS_CHARACTERS_MAX})
        assert list(answer["error"]) == ["segments"]
        assert office.rows("SELECT count(*) FROM players") == [(0,)]


class TestDetails:
    def test_what_is_told(self, office: Office) -> None:
        device = registered(office)
        assert device.ask(DETAILS) == {
            "userId": device.player_id,
            "displayName": "Anna",
            "currency1": 100,
            "currency2": 0,
            "currency3": 0,
            "currency4": 0,
            "currency5": 0,
            "currency6": 0,
            "currencies": {"gold": 100, "gems": 0},
            **{f"reservedCurrency{number}": {} for number in range(1, 7)},
            "reservedCurrencies": {},
            "virtualGoods": {},
            "achievements": [],
            "externalIds": {},
            "location": {},
        }

    def test_what_the_player_has(self, office: Office) -> None:
        device = registered(office)
        player = device.player_id
        office.stored(lambda tx: tx.execute("INSERT INTO goods VALUES(?, 'sword', 2)", (player,)).close())
        office.stored(lambda tx: tx.execute("INSERT INTO achievements VALUES(?, 'first', 1)", (player,)).close())
        office.stored(lambda tx: tx.execute("INSERT INTO balances VALUES(?, 'old', 7)", (player,)).close())
        answer = device.ask(DETAILS)
        assert answer["virtualGoods"] == {"sword": 2}
        assert answer["achievements"] == ["first"]
        assert answer["currencies"] == {"gold": 100, "gems": 0, "old": 7}

    def test_not_before_sign_in(self, office: Office) -> None:
        assert office.device().ask(DETAILS) == {"error": {"authentication": "NOTAUTHORIZED"}}

    @pytest.mark.parametrize("name", [DETAILS, CHANGE])
    def test_somebody_who_was_deleted(self, office: Office, name: str) -> None:
        device = registered(office)
        office.stored(lambda tx: tx.execute("DELETE FROM players").close())
        assert device.ask(name, newPassword="x") == {"error": {"authentication": "NOTAUTHORIZED"}}

    def test_a_script_asks_for_anybody(self, office: Office) -> None:
        anna = registered(office).player_id
        assert office.ask(DETAILS, {}, player_id=anna)["displayName"] == "Anna"


class TestChange:
    def test_names_and_language(self, office: Office) -> None:
        device = registered(office)
        assert device.ask(CHANGE, displayName="Anne", userName="anne", language="de") == {}
        assert device.ask(DETAILS)["displayName"] == "Anne"
        assert office.rows("SELECT user_name, language FROM players") == [("anne", "de")]
        assert "userId" in office.device().ask(SIGN_IN, userName="anne", password=ANNA["password"])
        assert office.device().ask(SIGN_IN, userName="anna", password=ANNA["password"]) == UNRECOGNISED

    def test_what_is_not_given_stays(self, office: Office) -> None:
        device = registered(office)
        assert device.ask(CHANGE, displayName="", userName=None) == {}
        assert office.rows("SELECT display_name, user_name FROM players") == [("Anna", "anna")]

    def test_a_taken_user_name_changes_nothing(self, office: Office) -> None:
        registered(office)
        device = registered(office, userName="bo", displayName="Bo")
        assert device.ask(CHANGE, displayName="Anna II", userName="ANNA") == TAKEN
        assert device.ask(DETAILS)["displayName"] == "Bo"

    def test_ones_own_user_name_in_other_letters(self, office: Office) -> None:
        assert registered(office).ask(CHANGE, userName="ANNA") == {}

    def test_a_new_password(self, office: Office) -> None:
        device, other = registered(office), office.device()
        other.ask(SIGN_IN, userName="anna", password=ANNA["password"])
        answer = device.ask(CHANGE, oldPassword=ANNA["password"], newPassword="battery staple")
        assert list(answer) == ["authToken"]
        assert office.stored(players.by_token, answer["authToken"]) == device.player_id
        assert office.stored(players.by_token, other.auth_token) is None
        assert (device.closed, other.closed) == (False, True)
        assert office.device().ask(SIGN_IN, userName="anna", password=ANNA["password"]) == UNRECOGNISED
        assert "userId" in office.device().ask(SIGN_IN, userName="anna", password="battery staple")

    @pytest.mark.parametrize("old", [{}, {"oldPassword": "wrong"}])
    def test_the_old_password_is_needed(self, office: Office, old: dict[str, str]) -> None:
        device = registered(office)
        assert device.ask(CHANGE, newPassword="x", displayName="Eve", **old) == UNRECOGNISED
        assert device.ask(DETAILS)["displayName"] == "Anna"
        assert "userId" in office.device().ask(SIGN_IN, userName="anna", password=ANNA["password"])

    def test_guessing_the_old_password_locks_too(self, office: Office) -> None:
        device = registered(office)
        for _ in range(office.profile.login_failures_max):
            assert device.ask(CHANGE, newPassword="x", oldPassword="wrong") == UNRECOGNISED
        assert device.ask(CHANGE, newPassword="x", oldPassword=ANNA["password"]) == LOCKED

    def test_a_new_password_after_the_profile_has_changed(self, office: Office) -> None:
        device = registered(office)
        office.profile.password_passes = 2
        assert "authToken" in device.ask(CHANGE, newPassword="x", oldPassword=ANNA["password"])
        assert "userId" in office.device().ask(SIGN_IN, userName="anna", password="x")

    def test_the_first_password_needs_no_old_one(self, office: Office) -> None:
        device = office.device()
        device.ask(BY_DEVICE, **PHONE)
        assert "authToken" in device.ask(CHANGE, userName="bo", newPassword="x")
        assert office.device().ask(SIGN_IN, userName="bo", password="x")["userId"] == device.player_id

    def test_a_script_needs_no_old_one(self, office: Office) -> None:
        anna = registered(office).player_id
        assert office.ask(CHANGE, {"newPassword": "x"}, player_id=anna) == {}
        assert office.device().ask(SIGN_IN, userName="anna", password="x")["userId"] == anna


class TestScripts:
    def test_a_script_makes_a_player_and_nobody_is_signed_in(self, office: Office) -> None:
        answer = office.ask(REGISTER, dict(ANNA))
        assert answer["newPlayer"] is True
        assert "authToken" not in answer
        assert office.rows("SELECT count(*) FROM auth_tokens") == [(0,)]

    def test_a_script_upgrades_a_device_player(self, office: Office) -> None:
        bo = office.device().ask(BY_DEVICE, **PHONE)["userId"]
        assert office.ask(REGISTER, dict(ANNA), player_id=bo)["userId"] == bo

    def test_a_script_ends_nobodys_session(self, office: Office) -> None:
        device = registered(office)
        assert office.ask(END, {}, player_id=device.player_id) == {"sessionDuration": 0}
        assert device.player_id is not None


def test_the_end_of_a_session(office: Office) -> None:
    device = registered(office)
    assert device.ask(END) == {"sessionDuration": 12345}
    assert device.ask(DETAILS) == {"error": {"authentication": "NOTAUTHORIZED"}}
    assert office.stored(players.by_token, device.auth_token) is not None


@pytest.mark.parametrize("name", OURS)
def test_what_is_declared_is_what_is_done(office: Office, name: str) -> None:
    """Answers hold declared fields of the declared kinds only, and what is mandatory is."""
    module = Registry().find(name)
    assert module is not None
    assert name == module.NAME
    fields: dict[str, Any] = {field.name: f"{field.name}-1" for field in module.FIELDS if field.required}
    device = registered(office, userName="userName-1", password="password-1")
    if name == REGISTER:
        fields["userName"] = "new"
    answer = device.ask(name, **fields)
    assert "error" not in answer
    declared = {field.name: field for field in module.ANSWER}
    for field, value in answer.items():
        assert declared[field].check(value) == (value, None)
    assert all(field.doc for field in (*module.FIELDS, *module.ANSWER))


@pytest.mark.parametrize("text", ["\ud800", "a\0b"])
def test_texts_that_cannot_be_kept(office: Office, text: str) -> None:
    answer = office.device().ask(REGISTER, **{**ANNA, "userName": text})
    assert list(answer["error"]) == ["userName"]
    assert office.log_text.getvalue() == ""
