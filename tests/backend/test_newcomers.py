"""New players are counted by the address that makes them; who exists already comes in all the same."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gsrt.backend import newcomers
from gsrt.backend.newcomers import ADDRESSES_MAX, Newcomers, network_of
from gsrt.log import Log
from tests.backend.office import BEGAN, Device, Office

TOO_MANY = {"error": newcomers.TOO_MANY}
SEVERAL = 3


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path, new_players_per_address=SEVERAL, new_players_per_address_per_hour=1)
    yield made
    made.close()


def by_device(office: Office, name: str, address: str = "192.0.2.7") -> dict[str, Any]:
    return Device(office, address).ask("DeviceAuthenticationRequest", deviceId=name, deviceOS="TEST")


def registers(office: Office, name: str, address: str = "192.0.2.7") -> dict[str, Any]:
    fields = {"displayName": name, "userName": name, "password": "secret"}
    return Device(office, address).ask("RegistrationRequest", **fields)


def players(office: Office) -> int:
    ((count,),) = office.rows("SELECT COUNT(*) FROM players")
    return int(count)


def test_so_many_and_no_more_and_one_an_hour_after_that(office: Office) -> None:
    for number in range(SEVERAL):
        assert by_device(office, f"d{number}")["newPlayer"] is True
    assert by_device(office, "d3") == registers(office, "bob") == TOO_MANY
    assert players(office) == SEVERAL
    (line,) = [line for line in office.log_text.getvalue().splitlines() if "no new player" in line][:1]
    assert "192.0.2.7" in line
    office.now = BEGAN + 3599
    assert by_device(office, "d3") == TOO_MANY
    office.now = BEGAN + 3601
    assert registers(office, "bob")["newPlayer"] is True
    assert by_device(office, "d3") == TOO_MANY


def test_who_exists_comes_in(office: Office) -> None:
    for number in range(SEVERAL):
        by_device(office, f"d{number}")
    for _ in range(2 * SEVERAL):
        assert by_device(office, "d0")["newPlayer"] is False
    device = Device(office, "192.0.2.7")
    device.ask("DeviceAuthenticationRequest", deviceId="d1", deviceOS="TEST")
    # The player gets a user name, and stays the same one.
    answer = device.ask("RegistrationRequest", displayName="Ann", userName="ann", password="secret")
    assert answer["newPlayer"] is False
    assert Device(office, "192.0.2.7").ask("AuthenticationRequest", userName="ann", password="secret")["userId"]
    assert device.ask("RegistrationRequest", displayName="Two", userName="two", password="secret") == TOO_MANY


def test_what_made_nobody_counts_for_nothing(office: Office) -> None:
    registers(office, "ann")
    for _ in range(2 * SEVERAL):
        assert registers(office, "ann") == {"error": {"USERNAME": "TAKEN"}}
    segments = {"deviceId": "d", "deviceOS": "TEST", "segments": {"a": "x" * 5000}}
    assert "segments" in Device(office, "192.0.2.7").ask("DeviceAuthenticationRequest", **segments)["error"]
    for number in range(SEVERAL - 1):
        assert by_device(office, f"d{number}")["newPlayer"] is True
    assert by_device(office, "d9") == TOO_MANY


def test_requests_side_by_side_do_not_get_past_it(office: Office) -> None:
    answers = [
        Device(office, "192.0.2.7").begin("DeviceAuthenticationRequest", deviceId=f"d{number}", deviceOS="TEST")
        for number in range(4 * SEVERAL)
    ]
    office.until(lambda: all(answers))
    assert sum("error" not in answer for (answer,) in answers) == SEVERAL
    assert players(office) == SEVERAL


def test_addresses_do_not_share(office: Office) -> None:
    for number in range(SEVERAL):
        by_device(office, f"d{number}")
    assert by_device(office, "other", "192.0.2.8")["newPlayer"] is True


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_the_machine_itself_makes_any_number(office: Office, address: str) -> None:
    for number in range(2 * SEVERAL):
        assert by_device(office, f"d{number}", address)["newPlayer"] is True


def test_a_script_makes_any_number(office: Office) -> None:
    for number in range(2 * SEVERAL):
        answer = office.ask("DeviceAuthenticationRequest", {"deviceId": f"d{number}", "deviceOS": "TEST"})
        assert answer["newPlayer"] is True


def test_an_ipv6_household_is_one_address() -> None:
    assert network_of("2001:db8:1:200::1") == network_of("[2001:db8:1:2ff:ffff::9]") != network_of("2001:db8:1:300::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::2%eth1")
    assert network_of("::ffff:192.0.2.7") == network_of("192.0.2.7") is not None


def test_the_addresses_remembered_are_bounded_and_a_clock_set_back_adds_nothing() -> None:
    now = 1000.0
    counted = Newcomers(1, 3600.0, lambda: now, Log(io.StringIO(), lambda: 0.0))
    networks = [number.to_bytes(4, "big") for number in range(ADDRESSES_MAX + 1)]
    assert all(counted.take(network) for network in networks)
    assert counted.take(networks[0])  # forgotten
    assert not counted.take(networks[-1])
    now = 500.0
    assert not counted.take(networks[-1])
    now = 501.5
    assert counted.take(networks[-1])
