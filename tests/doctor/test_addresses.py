"""Addresses of a box, its Wi-Fi, and what its networks carry."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.doctor.addresses import addresses, interfaces, wifi
from gsrt.doctor.avahi import avahi
from gsrt.doctor.commands import Output
from gsrt.doctor.discovery import discovery
from gsrt.doctor.surroundings import Settings, Surroundings
from tests.doctor.box import Box

LOOPBACK = ("LOOPBACK", "UP", "LOWER_UP")


@pytest.fixture
def wired(box: Box) -> Box:
    box.interface("lo", "127.0.0.1/8", "::1/128", flags=LOOPBACK)
    box.interface("eth0", "192.168.1.5/24", "fe80::1/64")
    return box


def test_one_address(wired: Box) -> None:
    finding = addresses(wired.surroundings())
    assert (finding.state, finding.found) == ("ok", "192.168.1.5 (eth0)")


def test_several(wired: Box) -> None:
    wired.interface("wlan0", "10.0.0.9/24", "2001:db8::9/64")
    finding = addresses(wired.surroundings())
    assert finding.state == "ok"
    assert finding.found == "192.168.1.5 (eth0), 10.0.0.9 (wlan0), 2001:db8::9 (wlan0)"


def test_two_in_one_network(wired: Box) -> None:
    wired.interface("wlan0", "192.168.1.6/24")
    finding = addresses(wired.surroundings())
    assert finding.state == "warn"
    assert "eth0 and wlan0" in finding.found


def test_none(box: Box) -> None:
    box.interface("lo", "127.0.0.1/8", flags=LOOPBACK)
    box.interface("eth0", "192.168.1.5/24", flags=("BROADCAST",))
    finding = addresses(box.surroundings())
    assert finding.state == "fail"
    assert "eth0" in finding.todo


def test_only_one_that_it_gave_itself(box: Box) -> None:
    box.interface("eth0", "169.254.7.7/16")
    finding = addresses(box.surroundings())
    assert finding.state == "warn"
    assert "169.254.7.7" in finding.found


def test_only_ipv6(box: Box) -> None:
    box.interface("eth0", "2001:db8::1/64")
    assert addresses(box.surroundings()).state == "warn"


@pytest.mark.parametrize(
    ("host", "state"),
    [
        ("0.0.0.0", "ok"),
        ("::", "ok"),
        ("192.168.1.5", "ok"),
        ("10.9.9.9", "fail"),
        ("2001:db8::5", "fail"),
        ("127.0.0.1", "warn"),
        ("localhost", "warn"),
        ("box.example.org", "ok"),
    ],
)
def test_the_address_to_listen_at(wired: Box, host: str, state: str) -> None:
    wired.settings |= {"host": host}
    assert addresses(wired.surroundings()).state == state


def test_nobody_tells(box: Box) -> None:
    assert addresses(box.surroundings()).state == "warn"
    assert discovery(box.surroundings()).state == "warn"


def test_psutil_tells_where_ip_does_not() -> None:
    with_ip = interfaces(Surroundings(Settings()))
    without = interfaces(Surroundings(Settings(), run=lambda words, seconds: None))
    assert with_ip is not None
    if without is None:
        pytest.skip("psutil cannot tell either: an emulated machine")

    def told(found: list[Any]) -> dict[str, Any]:
        return {one.name: (one.is_loopback, sorted(map(str, one.addresses))) for one in found if one.addresses}

    assert told(without) == told(with_ip)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["192.168.1.5", "::1", "eth0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ifname", "flags", "addr_info", "local", "prefixlen"]), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(deadline=None, derandomize=True)
@given(anything)
def test_no_program_is_believed(said: Any) -> None:
    seen = Surroundings(Settings(), root="/nonexistent", run=lambda words, seconds: Output(0, json.dumps(said)))
    for check in (addresses, discovery, wifi):
        assert check(seen).found


# Wi-Fi


@pytest.fixture
def wireless(box: Box) -> Box:
    box.write("/sys/class/net/wlan0/wireless/x", "")
    box.write("/sys/class/net/wlan0/operstate", "up\n")
    box.write("/sys/class/net/eth0/operstate", "up\n")
    return box


def signal(box: Box, level: str) -> None:
    head = "Inter-| sta-|   Quality        |\n face | tus | link level noise |\n"
    box.write(
        "/proc/net/wireless", f"{head} wlan0: 0000   60.  {level}  -256        0      0      0      0      0        0\n"
    )


def test_no_wifi(box: Box) -> None:
    box.write("/sys/class/net/eth0/operstate", "up\n")
    assert "no Wi-Fi" in wifi(box.surroundings()).found


def test_wifi_not_in_use(wireless: Box) -> None:
    wireless.write("/sys/class/net/wlan0/operstate", "down\n")
    assert wifi(wireless.surroundings()).state == "ok"


def test_wifi_that_saves_power(wireless: Box) -> None:
    wireless.commands["iw dev wlan0 get power_save"] = "Power save: on\n"
    finding = wifi(wireless.surroundings())
    assert finding.state == "warn"
    assert "set power_save off" in finding.todo


def test_wifi_that_does_not(wireless: Box) -> None:
    wireless.commands["iw dev wlan0 get power_save"] = "Power save: off\n"
    signal(wireless, "-50.")
    assert wifi(wireless.surroundings()).state == "ok"


def test_a_weak_signal(wireless: Box) -> None:
    wireless.commands["iw dev wlan0 get power_save"] = "Power save: off\n"
    signal(wireless, "-81.")
    finding = wifi(wireless.surroundings())
    assert finding.state == "warn"
    assert "-81 dBm" in finding.found


def test_wifi_of_which_nothing_is_known(wireless: Box) -> None:
    signal(wireless, "-²1.")
    finding = wifi(wireless.surroundings())
    assert finding.state == "warn"
    assert "apt-get install iw" in finding.todo


# Discovery


def test_a_network_that_carries_all(wired: Box) -> None:
    assert discovery(wired.surroundings()).state == "ok"


@pytest.mark.parametrize(
    ("flags", "lacks"), [(("UP", "POINTOPOINT"), "broadcasts"), (("UP", "BROADCAST"), "multicast")]
)
def test_a_network_that_does_not(box: Box, flags: tuple[str, ...], lacks: str) -> None:
    box.interface("tun0", "10.0.0.1/24", flags=flags)
    finding = discovery(box.surroundings())
    assert finding.state == "warn"
    assert lacks in finding.found


@pytest.mark.parametrize(
    ("host", "found", "state"), [("0.0.0.0", True, "ok"), ("0.0.0.0", False, "warn"), ("10.0.0.1", False, "ok")]
)
def test_a_search_finds_the_running_server(wired: Box, host: str, found: bool, state: str) -> None:
    wired.status = {"port": 8784, "host": host}
    wired.found = found
    assert discovery(wired.surroundings()).state == state


def test_wifi_only_may_keep_guests_apart(wireless: Box) -> None:
    wireless.interface("wlan0", "192.168.1.5/24")
    finding = discovery(wireless.surroundings())
    assert finding.state == "ok"
    assert "client isolation" in finding.todo


# Avahi


def test_avahi_is_not_installed(box: Box) -> None:
    assert (avahi(box.surroundings()).state, avahi(box.surroundings()).todo) == ("ok", "")


def test_avahi_does_not_run(box: Box) -> None:
    box.write("/usr/sbin/avahi-daemon", "")
    assert "enable --now avahi-daemon" in avahi(box.surroundings()).todo


@pytest.mark.parametrize(
    ("service", "state"),
    [
        (None, "ok"),
        ("<service><type>_gsrt._udp</type><port>8784</port></service>", "ok"),
        ("<service><port>8000</port></service><service><port> 8001 </port></service>", "warn"),
        ("<port><port>x</port>", "warn"),
    ],
)
def test_what_avahi_announces(box: Box, service: str | None, state: str) -> None:
    box.write("/run/avahi-daemon/pid", "12\n")
    if service is not None:
        box.write("/etc/avahi/services/gsrt.service", service)
    assert avahi(box.surroundings()).state == state
