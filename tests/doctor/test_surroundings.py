"""How checks see the box."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.cli import CommandError
from gsrt.doctor.commands import Output
from gsrt.doctor.surroundings import FILE_BYTES_MAX, Settings, Surroundings, megabytes, whole_number
from tests.doctor.box import Box


def test_files(box: Box) -> None:
    box.write("/proc/a", "  42 rest\n")
    box.write("/proc/zero", b"Raspberry\0Pi\0")
    box.write("/proc/long", b"x" * (FILE_BYTES_MAX * 2))
    box.write("/proc/binary", b"\xff\xfe")
    seen = box.surroundings()
    assert seen.read("/proc/a") == "  42 rest\n"
    assert (seen.word("/proc/a"), seen.number("/proc/a")) == ("42", 42)
    assert seen.word("/proc/zero") == "Raspberry"
    assert FILE_BYTES_MAX <= len(seen.read("/proc/long") or "") < FILE_BYTES_MAX * 2
    assert seen.read("/proc/binary") is not None
    assert (seen.read("/proc/none"), seen.word("/proc/none"), seen.number("/proc/none")) == (None, "", None)
    assert seen.read("/proc") is None
    assert seen.names("/proc") == ["a", "binary", "long", "zero"]
    assert seen.names("/none") == []


def test_a_pipe_without_a_writer_does_not_hold_anybody_up(box: Box) -> None:
    box.write("/proc/x", "")
    os.mkfifo(box.root / "proc" / "fifo")
    assert box.surroundings().read("/proc/fifo") == ""


def test_links(box: Box) -> None:
    box.link("/proc/7/fd/3", "socket:[99]")
    seen = box.surroundings()
    assert seen.link("/proc/7/fd/3") == "socket:[99]"
    assert seen.link("/proc/7/fd/4") == ""
    assert seen.there("/proc/7/fd/3")
    assert not seen.there("/proc/7/fd/4")


def test_json_of_programs(box: Box) -> None:
    box.commands = {"good": '{"a": 1}', "bad": "{", "failing": Output(1, "{}"), "deep": "[" * 100_000}
    seen = box.surroundings()
    assert seen.json("good") == {"a": 1}
    assert [seen.json(name) for name in ("bad", "failing", "deep", "absent")] == [None] * 4


def test_a_program_is_asked_the_same_once(box: Box) -> None:
    box.commands = {"ip": "[]"}
    seen = box.surroundings()
    assert [seen.json("ip", "a"), seen.json("ip", "a"), seen.json("ip", "b")] == [[], [], []]
    assert box.asked == ["ip a", "ip b"]


def test_the_server_is_asked_once(box: Box) -> None:
    box.status = {"port": 9000}
    seen = box.surroundings()
    assert seen.status() == {"port": 9000}
    box.status = None
    assert seen.status() == {"port": 9000}
    assert seen.status_error() == ""


def test_a_server_that_does_not_say(box: Box) -> None:
    assert (box.surroundings().status(), box.surroundings().status_error()) == (None, "")
    box.status = CommandError("belongs to another user")
    seen = box.surroundings()
    assert (seen.status(), seen.status_error()) == (None, "belongs to another user")


def test_which_port_counts(box: Box) -> None:
    assert box.surroundings().server_port() == 8784
    box.settings |= {"port": 9001}
    assert box.surroundings().server_port() == 9001
    box.status = {"port": 9002}
    assert box.surroundings().server_port() == 9002
    box.settings |= {"port_given": True}
    assert box.surroundings().server_port() == 9001
    box.settings |= {"port_given": False}
    box.status = {"port": "no port"}
    assert box.surroundings().server_port() == 9001


def test_which_profile_counts(box: Box) -> None:
    box.status = {"profile": "pi-4"}
    profile = box.surroundings().profile()
    assert profile is not None
    assert profile.name == "pi-4"
    box.settings |= {"profile": "generic", "profile_given": True}
    profile = box.surroundings().profile()
    assert profile is not None
    assert profile.name == "generic"
    box.settings |= {"profile": "no-such"}
    seen = box.surroundings()
    assert seen.profile() is None
    assert "no-such" in seen.profile_error()


def test_the_kernel_of_this_machine_is_asked() -> None:
    seen = Surroundings(Settings())
    assert isinstance(seen.can_segment(), bool)
    assert seen.landlock_version() is None or isinstance(seen.landlock_version(), int)
    assert seen.machine() == os.uname().machine


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_numbers_are_numbers(text: str) -> None:
    number = whole_number(text)
    assert number is None or int(text) == number


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("-7", -7), ("", None), ("²", None), ("1" * 21, None)])
def test_some_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number


def test_megabytes() -> None:
    assert [megabytes(amount) for amount in (1 << 20, 64 << 20, 3 << 29)] == ["1 MiB", "64 MiB", "1.5 GiB"]
