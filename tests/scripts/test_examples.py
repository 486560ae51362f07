"""The scripts in examples/scripts do what they say, with their own recordings and with what else clients may send."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gsrt._core import Packet
from gsrt.cli.script_run import Replay
from gsrt.profile import Profile
from gsrt.scripts.compiler import compile_script
from gsrt.scripts.guest import Guest
from gsrt.scripts.recording import parse_recording
from gsrt.scripts.reload import state_of
from gsrt.scripts.sandbox import Sandbox
from tests.support.server import PROJECT

EXAMPLES = PROJECT / "examples" / "scripts"


def run(script: str, *events: dict[str, Any], ok: bool = True) -> list[tuple[int, str]]:
    """What an example does with these events: (milliseconds, line) each."""
    compiled = compile_script((EXAMPLES / script).read_bytes(), script)
    recording = parse_recording("\n".join(map(json.dumps, events)).encode())
    replay = Replay(compiled, recording, Profile.load("generic"))
    steps = list(replay.run())
    assert replay.ok is ok
    return [(step.at, f"{step.what} {step.text}") for step in steps]


def recorded(name: str, script: str) -> list[str]:
    """What `gsrt script run` prints of an example and one of the recordings beside it."""
    done = subprocess.run(
        [sys.executable, "-m", "gsrt", "script", "run", script, "--record", name],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=EXAMPLES,
        env={"PYTHONPATH": str(PROJECT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def packet(at: float, op_code: int, sender: int, **data: Any) -> dict[str, Any]:
    return {"at": at, "packet": {"opCode": op_code, "sender": sender, "data": {key[1:]: data[key] for key in data}}}


PLAYERS = {"players": {"1": "anna", "2": "ben", "3": "cleo"}}


def test_each_has_a_recording_and_is_tested() -> None:
    scripts = sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert scripts == ["authoritative_tick.py", "clock_sync.py", "wait_for_all.py"]
    assert {path.name for path in EXAMPLES.iterdir()} - set(scripts) - {"__pycache__"} == {
        *("authoritative_tick.jsonl", "clock_sync.jsonl", "wait_for_all.jsonl", "wait_for_all_late.jsonl")
    }


# Clock synchronisation


def test_clock_sync_with_its_recording() -> None:
    assert recorded("clock_sync.jsonl", "clock_sync.py") == [
        "250 ms  send opCode 101 unreliable to 1 data {1: 70250, 2: 250}",
        "250 ms  cancel opCode 101 from 1",
        "900 ms  warn player 2 asks for the time without telling its own",
        "900 ms  cancel opCode 101 from 2",
        "1000 ms  send opCode 102 unreliable to all data {1: 1000}",
        "1300 ms  send opCode 101 unreliable to 2 data {1: 5000000000, 2: 1300}",
        "1300 ms  cancel opCode 101 from 2",
        "2000 ms  send opCode 102 unreliable to all data {1: 2000}",
    ]


@pytest.mark.parametrize("value", ["now", 1.5, [1], {"data": {}}])
def test_clock_sync_takes_a_whole_number_only(value: object) -> None:
    done = run("clock_sync.py", PLAYERS, {"connect": 1}, packet(5, 101, 1, _1=value))
    assert [line.split()[0] for _, line in done] == ["warn", "cancel"]


# Wait for all


def test_wait_for_all_with_its_recordings() -> None:
    assert recorded("wait_for_all.jsonl", "wait_for_all.py") == [
        "0 ms  send opCode 110 reliable to all data {1: 1, 2: 3}",
        "1200 ms  send opCode 110 reliable to all data {1: 2, 2: 3}",
        "2000 ms  send opCode 110 reliable to all data {1: 1, 2: 3}",
        "3500 ms  send opCode 110 reliable to all data {1: 2, 2: 3}",
        "5250 ms  info the game begins for anna, ben, cleo",
        "5250 ms  send opCode 111 reliable to all data {1: 8250}",
        "9800 ms  send opCode 111 reliable to 3 data {1: 8250}",
    ]
    assert recorded("wait_for_all_late.jsonl", "wait_for_all.py")[2:] == [
        "30100 ms  info the game begins for anna, ben",
        "30100 ms  send opCode 111 reliable to all data {1: 33100}",
    ]


def test_wait_for_all_gives_up_on_a_game_of_one_and_waits_anew() -> None:
    done = run(
        "wait_for_all.py", PLAYERS, {"at": 0, "connect": 1}, {"at": 40_000, "connect": 2}, {"at": 80_000, "connect": 3}
    )
    assert done == [
        (0, "send opCode 110 reliable to all data {1: 1, 2: 3}"),
        (30_000, "send opCode 112 reliable to all"),
        (40_000, "send opCode 110 reliable to all data {1: 2, 2: 3}"),
        (70_000, "info the game begins for anna, ben"),
        (70_000, "send opCode 111 reliable to all data {1: 73000}"),
        (80_000, "send opCode 111 reliable to 3 data {1: 73000}"),
    ]


def test_wait_for_all_starts_once() -> None:
    done = run("wait_for_all.py", PLAYERS, {"connect": 1}, {"connect": 2}, {"connect": 3}, {"at": 100_000})
    assert [line for _, line in done if "opCode 111" in line] == ["send opCode 111 reliable to all data {1: 3000}"]


# Authoritative tick


def test_authoritative_tick_with_its_recording() -> None:
    assert recorded("authoritative_tick.jsonl", "authoritative_tick.py") == [
        "30 ms  cancel opCode 120 from 1",
        "100 ms  send opCode 121 unreliable to all data {1: [104.0, 50.0]}",
        "150 ms  cancel opCode 120 from 1",
        "160 ms  cancel opCode 120 from 2",
        "200 ms  send opCode 122 reliable to 2 data {1: [95.0, 50.0]}",
        "200 ms  send opCode 121 unreliable to all data {1: [104.0, 53.0], 2: [95.0, 50.0]}",
        "230 ms  send opCode 122 reliable to 1 data {1: [104.0, 53.0]}",
        "230 ms  cancel opCode 120 from 1",
        "240 ms  send opCode 122 reliable to 2 data {1: [95.0, 50.0]}",
        "240 ms  cancel opCode 120 from 2",
        "300 ms  send opCode 121 unreliable to all data {1: [104.0, 53.0], 2: [95.0, 50.0]}",
        "400 ms  send opCode 121 unreliable to all data {1: [104.0, 53.0]}",
    ]


@pytest.mark.parametrize(
    "value",
    ["x", 5, [], [1], [1, 2, 3], [-0.5, 50], [200.5, 50], [100, 100.5], ["nan", 50], [100, "inf"], {"data": {}}],
    ids=str,
)
def test_authoritative_tick_puts_back_whoever_asks_for_nonsense(value: object) -> None:
    done = run("authoritative_tick.py", PLAYERS, {"connect": 1}, packet(5, 120, 1, _1=value))
    assert done == [
        (5, "send opCode 122 reliable to 1 data {1: [100.0, 50.0]}"),
        (5, "cancel opCode 120 from 1"),
    ]


def test_authoritative_tick_lets_nobody_be_faster() -> None:
    """However far and however often a player asks, its ship makes at most 5 units a tick, and 2 that are let pass."""
    moves = [packet(at, 120, 1, _1=[(at * 13) % 200, (at * 7) % 100]) for at in range(5, 3000, 20)]
    done = run("authoritative_tick.py", PLAYERS, {"connect": 1}, *moves)
    places = [json.loads(line.partition("{1: ")[2][:-1]) for _, line in done if line.startswith("send opCode 121")]
    assert len(places) == 29
    x, y = 100.0, 50.0
    for new_x, new_y in places:
        assert ((new_x - x) ** 2 + (new_y - y) ** 2) ** 0.5 <= 7.001
        assert 0 <= new_x <= 200 and 0 <= new_y <= 100
        x, y = new_x, new_y


def test_authoritative_tick_is_silent_when_nobody_is_there() -> None:
    assert run("authoritative_tick.py", PLAYERS, {"connect": 1}, {"at": 50, "disconnect": 1}, {"at": 1000}) == []


# All of them, changed while the game goes on


class Wall:
    """Surroundings that only keep what is sent."""

    def __init__(self) -> None:
        self.sent: list[Packet] = []
        self.errors: list[str] = []

    def deliver(self, frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> None:
        self.sent.append(Packet.decode(frame[1:]))

    def later(self, when: float, callback: object) -> list[object]:
        return [when, callback]

    def cancel(self, timer: object) -> None:
        """It is never run anyway."""

    def quality(self, peer_id: int, at: int) -> None:
        raise AssertionError("no example asks")

    def kick(self, peer_id: int, reason: str) -> None:
        raise AssertionError("no example kicks")

    def log(self, level: str, text: str, now: float) -> None:
        if level == "error":
            self.errors.append(text)

    def request(
        self, name: str, player_id: str | None, fields: dict[str, object], done: Callable[[dict[str, object]], None]
    ) -> None:
        raise AssertionError("no example asks the backend")

    def switched_off(self, reason: str) -> None:
        raise AssertionError(reason)


def guest_of(script: str, sandbox: Sandbox) -> tuple[Guest, Wall]:
    wall = Wall()
    compiled = compile_script((EXAMPLES / script).read_bytes(), script)
    players = {1: "anna", 2: "ben", 3: "cleo"}
    return Guest(sandbox, compiled, wall, session_id="s", players=players, seed=1, began=0.0), wall


@pytest.fixture
def sandbox() -> Sandbox:
    from io import StringIO

    from gsrt.log import Log
    from gsrt.scripts.journal import Journal

    return Sandbox(Profile.load("generic"), Journal(1, Log(StringIO(), lambda: 0.0), lambda: 0.0))


def exchanged(script: str, sandbox: Sandbox, *connected: int) -> tuple[Guest, Wall]:
    """A script that has taken over from itself one second after these players have connected."""
    old, _ = guest_of(script, sandbox)
    old.load(0.0)
    for peer in connected:
        old.connected(peer, 0.0)
    new, wall = guest_of(script, sandbox)
    new.load(1.0, list(connected), state_of(old, new.handlers.players)[0])
    assert (new.failures, new.strikes, wall.errors) == (0, 0, [])
    return new, wall


def test_authoritative_tick_goes_on_where_everybody_is(sandbox: Sandbox) -> None:
    guest, wall = exchanged("authoritative_tick.py", sandbox, 1)
    move = Packet(120, data={1: (102.0, 50.0)}).encode()
    assert guest.handlers.feed(1.05, 1, move, False) is False
    guest.handlers.run(1.1, guest.globals["tick"])
    assert [(each.op_code, each.data and each.data.to_dict()) for each in wall.sent] == [(121, {1: (102.0, 50.0)})]


@pytest.mark.parametrize("connected", [(), (1,), (1, 2, 3)])
def test_wait_for_all_goes_on_waiting_or_playing(sandbox: Sandbox, connected: tuple[int, ...]) -> None:
    guest, wall = exchanged("wait_for_all.py", sandbox, *connected)
    assert wall.sent == []
    guest.connected(3, 2.0)
    (told,) = wall.sent
    assert told.data is not None
    if len(connected) == 3:
        assert (told.op_code, told.data.to_dict()) == (111, {1: 3000})
    else:
        assert (told.op_code, told.data.to_dict()) == (110, {1: len(connected) + 1, 2: 3})


def test_clock_sync_needs_no_state(sandbox: Sandbox) -> None:
    guest, wall = exchanged("clock_sync.py", sandbox, 1)
    assert guest.handlers.feed(1.5, 1, Packet(101, data={1: 7}).encode(), False) is False
    assert [(each.op_code, each.data and each.data.to_dict()) for each in wall.sent] == [(101, {1: 7, 2: 1500})]
