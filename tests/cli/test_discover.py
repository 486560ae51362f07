"""`gsrt discover`: the servers found, for people and for programs. How they are found: tests/discovery."""

from __future__ import annotations

import errno
import json

import pytest

from gsrt.client import Found
from tests.cli.conftest import Run

FOUND = [
    Found("192.0.2.7", 8784, name="Anna's box", version="0.1.0", sessions=2, players=5, game="duel"),
    Found("fe80::1%eth0", 9000, name="attic", version="0.2.0", sessions=0, players=0, game=None),
]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Where those are; what was asked for."""
    asked: list[tuple[float, int]] = []

    def discover(seconds: float, port: int) -> list[Found]:
        asked.append((seconds, port))
        return FOUND if port != 1 else []

    monkeypatch.setattr("gsrt.client.discovery.discover", discover)
    return asked


def test_for_people(gsrt: Run, network: list[tuple[float, int]]) -> None:
    outcome = gsrt("discover")
    assert outcome.status == 0
    assert outcome.out == (
        "server      host          port  game  players  sessions  version\n"
        "Anna's box  192.0.2.7     8784  duel        5         2  0.1.0\n"
        "attic       fe80::1%eth0  9000  -           0         0  0.2.0\n"
    )
    assert network == [(2.0, 8784)]


def test_for_programs(gsrt: Run, network: list[tuple[float, int]]) -> None:
    servers = json.loads(gsrt("discover", "--json", "--seconds", "0.5", "--port", "9000").out)["servers"]
    assert servers[0] == {
        "name": "Anna's box",
        "host": "192.0.2.7",
        "port": 8784,
        "game": "duel",
        "players": 5,
        "sessions": 2,
        "version": "0.1.0",
    }
    assert [each["game"] for each in servers] == ["duel", None]
    assert network == [(0.5, 9000)]


def test_nobody_is_there(gsrt: Run, network: list[tuple[float, int]]) -> None:
    outcome = gsrt("discover", "--port", "1")
    assert (outcome.status, outcome.out) == (1, "")
    assert "no server has answered within 2 s" in outcome.err
    assert "there port 1, here port 8785" in outcome.err
    outcome = gsrt("discover", "--port", "1", "--json")
    assert (outcome.status, json.loads(outcome.out)) == (1, {"servers": []})


def test_there_is_no_network_at_all(gsrt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def discover(seconds: float, port: int) -> list[Found]:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr("gsrt.client.discovery.discover", discover)
    outcome = gsrt("discover")
    assert (outcome.status, "cannot be asked: Address family not supported" in outcome.err) == (1, True)


@pytest.mark.parametrize("wrong", [("--seconds", "0"), ("--seconds", "x"), ("--seconds", "nan"), ("--port", "65536")])
def test_arguments_that_are_none(gsrt: Run, wrong: tuple[str, str]) -> None:
    assert gsrt("discover", *wrong).status == 2
