"""Accounts over real sockets: what a client meets that signs in, comes back, and is one of several."""

from __future__ import annotations

from typing import Any

import pytest

from gsrt.backend import operator
from tests.platform.client import Closed, PlatformClient
from tests.platform.server import PlatformServer

ANNA = {"displayName": "Anna", "userName": "anna", "password": "correct horse"}
PHONE = {"deviceId": "phone-1", "deviceOS": "ANDROID"}


def ask_operator(server: PlatformServer, do: str, **fields: Any) -> dict[str, Any]:
    later = server.run(lambda: operator.answer(server.desk, {"do": do, **fields}))
    server.until(lambda: later._answer is not None)
    assert later._answer is not None
    return later._answer


def closed(client: PlatformClient) -> bool:
    try:
        client.request("AccountDetailsRequest")
    except (Closed, ConnectionError):
        return True
    return False


def test_from_a_device_to_an_account_and_back(server: PlatformServer) -> None:
    with server.client() as phone:
        device = phone.ask("DeviceAuthenticationRequest", **PHONE)
        assert device["@class"] == ".AuthenticationResponse"
        account = phone.ask("RegistrationRequest", **ANNA)
        assert account["@class"] == ".RegistrationResponse"
        assert account["userId"] == device["userId"]
        token = phone.auth_token
    with server.client(auth_token=token) as again:
        assert again.handshake["userId"] == device["userId"]
        assert again.ask("AccountDetailsRequest")["displayName"] == "Anna"
        assert again.ask("EndSessionRequest")["sessionDuration"] >= 0
        assert again.request("AccountDetailsRequest")["error"] == {"authentication": "NOTAUTHORIZED"}
    with server.client() as tablet:
        answer = tablet.ask("AuthenticationRequest", userName="ANNA", password=ANNA["password"])
        assert (answer["userId"], answer["newPlayer"]) == (device["userId"], False)


def test_what_is_asked_right_behind_a_sign_in(server: PlatformServer) -> None:
    with server.client() as client:
        ids = [
            client.begin("AccountDetailsRequest"),
            client.begin("RegistrationRequest", **ANNA),
            client.begin("ChangeUserDetailsRequest", displayName="Anne"),
            client.begin("AccountDetailsRequest"),
        ]
        early, account, _, details = [client.answer(each) for each in ids]
    assert early["error"] == {"authentication": "NOTAUTHORIZED"}
    assert details["userId"] == account["userId"]
    assert (account["displayName"], details["displayName"]) == ("Anna", "Anne")


def test_a_new_password_puts_the_other_devices_out(server: PlatformServer) -> None:
    with server.client() as phone, server.client() as tablet:
        anna = phone.ask("RegistrationRequest", **ANNA)["userId"]
        tablet.ask("AuthenticationRequest", userName="anna", password=ANNA["password"])
        phone.ask("ChangeUserDetailsRequest", oldPassword=ANNA["password"], newPassword="battery staple")
        assert closed(tablet)
        assert phone.ask("AccountDetailsRequest")["displayName"] == "Anna"
        with server.client(auth_token=tablet.auth_token) as back:
            assert "userId" not in back.handshake
        with server.client(auth_token=phone.auth_token) as back:
            assert back.handshake["userId"] == anna


@pytest.mark.parametrize("do", ["player.reset", "player.delete"])
def test_what_the_operator_does_is_felt_at_once(server: PlatformServer, do: str) -> None:
    with server.client() as phone:
        phone.ask("RegistrationRequest", **ANNA)
        (listed,) = ask_operator(server, "player.list")["players"]
        assert listed["online"] is True
        answer = ask_operator(server, do, player="anna")
        assert answer["ok"] is True
        assert closed(phone)
    with server.client(auth_token=phone.auth_token) as back:
        assert "userId" not in back.handshake
        password = answer.get("password", ANNA["password"])
        signed_in = back.request("AuthenticationRequest", userName="anna", password=password)
        assert ("error" in signed_in) is (do == "player.delete")


def test_a_crowd_that_guesses_does_not_get_in(server: PlatformServer) -> None:
    """Ten connections guess side by side; the one who knows is locked out with them, for a while."""
    clients = [server.client().connect() for _ in range(10)]
    try:
        clients[0].ask("RegistrationRequest", **ANNA)
        begun = [each.begin("AuthenticationRequest", userName="anna", password="guess") for each in clients]
        told = [client.answer(each)["error"]["DETAILS"] for client, each in zip(clients, begun, strict=True)]
    finally:
        for each in clients:
            each.close()
    assert told.count("UNRECOGNISED") == server.profile.login_failures_max
    assert told.count("LOCKED") == 10 - server.profile.login_failures_max
