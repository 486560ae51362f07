"""`gsrt script run`: what a script does with a recording, line by line, the same every time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome, Run
from tests.support.server import GENERIC_PROFILE, PROJECT

Try = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test's files are: the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def attempt(gsrt: Run, folder: Path) -> Try:
    """`attempt(source, events, words...)` runs a script over events (each an object or an opCode of player 1)."""

    def run(source: str, events: list[object], *words: str) -> Outcome:
        (folder / "s.py").write_text(source)
        lines = [{"packet": {"opCode": each, "sender": 1}} if isinstance(each, int) else each for each in events]
        (folder / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return gsrt("script", "run", "s.py", "--record", "r.jsonl", *words)

    return run


def packet(op_code: int = 1, sender: int = 1, **more: object) -> dict[str, object]:
    return {"opCode": op_code, "sender": sender, **more}


PLAYERS = {"players": {"1": "anna", "2": "ben"}}


# What is printed


def test_what_it_sends(attempt: Try) -> None:
    outcome = attempt(
        """
@session.on_packet(1)
def handler(packet):
    session.send(5, {1: 5, 2: 1.5, 3: "it's", 4: [1, 2.5], 5: {6: 7}}, peers=[1, 2])
    session.send(6, session.new_data().set_float(1, 0.1).set_double(2, 0.1), reliable=True)
    session.new_packet().set_op_code(7).set_sender(2).set_payload(b"abc").set_target_peers([1]).send()
    session.send(8)
""",
        [{"at": 12, "packet": packet()}],
    )
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == (
        '12 ms  send opCode 5 unreliable to 1,2 data {1: 5, 2: 1.5, 3: "it\'s", 4: [1.0, 2.5], 5: {6: 7}}\n'
        "12 ms  send opCode 6 reliable to all data {1: 0.1, 2: 0.1}\n"
        "12 ms  send opCode 7 unreliable to 1 as 2 payload 616263\n"
        "12 ms  send opCode 8 unreliable to all\n"
    )


def test_what_it_cancels_changes_and_lets_pass(attempt: Try) -> None:
    outcome = attempt(
        """
@session.on_packet(1)
def cancel(packet):
    return False

@session.on_packet(2)
def change(packet):
    packet.data[1] = packet.data[1] + 1
    packet.set_target_peers([2])

@session.on_packet(3)
def change_all(packet):
    packet.set_data(None).set_payload(b"x").set_target_peers([])

@session.on_packet(4)
def look(packet):
    print(packet.get_sender().player_id, packet.data[1], packet.is_reliable(), packet.get_target_players())
""",
        [
            PLAYERS,
            {"connect": 1},
            {"at": 1, "packet": packet()},
            {"at": 2, "packet": packet(2, data={"1": 5})},
            {"at": 3, "packet": packet(3, data={"1": 5}, targets=[2])},
            {"at": 4, "packet": packet(4, data={"1": "x"}, targets=[2, 0], reliable=True)},
            {"at": 5, "packet": packet(5, data={"1": "x"})},
        ],
    )
    assert outcome.status == 0
    assert outcome.out == (
        "1 ms  cancel opCode 1 from 1\n"
        "2 ms  change opCode 2 from 1: now to 2 data {1: 6}\n"
        "3 ms  change opCode 3 from 1: now to the others payload 78\n"
        "4 ms  info anna x True [0, 2]\n"
    )


def test_what_it_logs_is_safe_to_show(attempt: Try) -> None:
    source = "log = session.get_logger()\nlog.debug(1)\nlog.info('a\\x1b[2J\\nb')\nlog.warn([1])\nlog.error(None)\n"
    outcome = attempt(source, [1])
    assert outcome.status == 0  # to log an error is not to have one
    assert outcome.out == "0 ms  debug 1\n0 ms  info a\\x1b[2J\\nb\n0 ms  warn [1]\n0 ms  error None\n"


def test_whom_it_kicks_leaves(attempt: Try) -> None:
    outcome = attempt(
        """
@session.on_packet(1)
def kick(packet):
    packet.get_sender().kick("rude")
    session.get_player(2).kick()
    print(len(session.get_players()))

def on_player_disconnect(player):
    print("bye", player.player_id, len(session.get_players()))
""",
        [
            *(PLAYERS, {"connect": 1}, {"connect": 2}, {"at": 7, "packet": packet()}, {"at": 8, "packet": packet()}),
            *({"at": 9, "disconnect": 1}, {"at": 10, "connect": 1}),
        ],
    )
    assert outcome.out == (
        "7 ms  kick 1: rude\n"
        "7 ms  kick 2\n"
        "7 ms  info 2\n"
        "7 ms  info bye anna 1\n"
        "7 ms  info bye ben 0\n"
        "8 ms  skip packet of 1, who was kicked\n"
        "9 ms  skip disconnect of 1, who was kicked\n"
        "10 ms  skip connect of 1, who was kicked\n"
    )


def test_who_comes_and_goes(attempt: Try) -> None:
    outcome = attempt(
        """
def on_player_connect(player):
    print("hello", player.peer_id, player.player_id, [each.peer_id for each in session.get_players()])

def on_player_disconnect(player):
    print("bye", player.peer_id, session.get_player(1) is None, session.get_session_id())
""",
        [{"session": "7f3a", **PLAYERS}, {"at": 5, "connect": 2}, {"at": 6, "connect": 1}, {"at": 7, "disconnect": 1}],
    )
    assert outcome.out == "5 ms  info hello 2 ben [2]\n6 ms  info hello 1 anna [2, 1]\n7 ms  info bye 1 True 7f3a\n"


# Time


def test_timers_run_at_their_times_and_after_the_packets_of_a_turn(attempt: Try) -> None:
    outcome = attempt(
        """
@session.every(100)
def tick():
    print("tick", session.now_ms)

session.set_timeout(lambda: print("once", session.now_ms), 150)

def on_packet(packet):
    print("packet", packet.op_code, session.now_ms)
""",
        [{"at": 99.5, "packet": packet(1)}, {"at": 200, "packet": packet(2)}, 3, {"at": 299}, {"at": 300}],
    )
    assert outcome.out == (
        "99 ms  info packet 1 99\n"
        "100 ms  info tick 100\n"
        "150 ms  info once 150\n"
        "200 ms  info packet 2 200\n"
        "200 ms  info packet 3 200\n"
        "200 ms  info tick 200\n"
        "300 ms  info tick 300\n"
    )


def test_a_script_is_told_the_millisecond_of_the_recording(attempt: Try) -> None:
    """For many a millisecond, its seconds times 1000 are a little less."""
    times = list(range(1, 3000, 7))
    source = "def on_packet(packet):\n    session.send(1, {1: session.now_ms})\n"
    outcome = attempt(source, [{"at": at, "packet": packet()} for at in times], "--json")
    steps = json.loads(outcome.out)["steps"]
    assert [(step["at"], step["packet"]["data"]["1"]) for step in steps] == [(at, at) for at in times]


def test_answers_of_the_backend_come_later(attempt: Try) -> None:
    outcome = attempt(
        """
@session.on_packet(1)
def ask(packet):
    session.new_request().create_account_details_request().set_player_id("anna").send(answered)
    print("asked")

def answered(response):
    print(response.has_errors(), list(response.get_errors()))
""",
        [1, {"at": 100}],
    )
    assert [line.partition("  ")[2] for line in outcome.out.splitlines()] == ["info asked", "info True ['backend']"]


def test_the_same_input_gives_the_same_output(attempt: Try) -> None:
    source = "@session.every(10)\ndef tick():\n    print(session.random.random(), session.random.randint(1, 6))\n"
    events: list[object] = [{"seed": 5, **PLAYERS}, {"connect": 1}, {"at": 100}]
    first = attempt(source, events).out
    assert first.count("\n") == 10
    assert attempt(source, events).out == first
    assert attempt(source, events, "--seed", "5").out == first
    other = attempt(source, events, "--seed", "6").out
    assert other != first
    assert attempt(source, [{"seed": 6, **PLAYERS}, {"connect": 1}, {"at": 100}]).out == other


# What goes wrong


def test_an_error_names_the_line_and_ends_with_status_1(attempt: Try) -> None:
    source = "@session.on_packet(1)\ndef handler(packet):\n    def inner():\n        return {}['x']\n    inner()\n"
    outcome = attempt(source, [1, 2])
    assert outcome.status == 1
    assert outcome.out == "0 ms  error opCode 1: s.py line 4 in inner: KeyError: 'x'\n"


def test_an_error_of_the_top_level_ends_the_run(attempt: Try) -> None:
    outcome = attempt("print('begun')\nraise ValueError('no')\n", [1])
    assert outcome.status == 1
    assert outcome.out == "0 ms  info begun\n0 ms  error s.py line 2 in <module>: ValueError: no\n"


def test_what_takes_too_much_is_stopped_and_at_last_switched_off(attempt: Try) -> None:
    source = "@session.on_packet(1)\ndef handler(packet):\n    while True:\n        pass\n"
    outcome = attempt(source, [1, 1, 1, 1])
    assert outcome.status == 1
    *stopped, off = outcome.out.splitlines()
    assert len(stopped) == 3
    assert all(line.startswith("0 ms  error opCode 1: stopped: used up its gas (200,000) at s.py ") for line in stopped)
    assert stopped[0].endswith("in handler (strike 1 of 3)")
    assert off.startswith("0 ms  off after 3 strikes: used up its gas")


def test_budgets_are_those_of_the_profile(attempt: Try, folder: Path) -> None:
    values = GENERIC_PROFILE.read_text().replace("script_gas = 200000", "script_gas = 5000")
    (folder / "small.toml").write_text(values)
    source = "@session.on_packet(1)\ndef handler(packet):\n    for i in range(10000):\n        pass\n"
    assert attempt(source, [1]).status == 0
    outcome = attempt(source, [1], "--profile", "./small.toml")
    assert outcome.status == 1
    assert "used up its gas (5,000)" in outcome.out


def test_a_refused_script_is_explained(attempt: Try) -> None:
    outcome = attempt("import random\n", [1])
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "gsrt: the script is refused:\n"
        "s.py:1:1: import is not available. Write `session.random`.\n"
        "    import random\n"
        "    ^\n"
    )


def test_a_wrong_recording_is_explained(attempt: Try, gsrt: Run) -> None:
    outcome = attempt("x = 1\n", [{"connect": 0}])
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("gsrt: this is no recording:\nr.jsonl:1: connect: expected a whole number")
    assert gsrt("script", "run", "nowhere.py", "--record", "r.jsonl").status == 1
    missing = gsrt("script", "run", "s.py", "--record", "nowhere.jsonl")
    assert missing.err == "gsrt: this is no recording:\nnowhere.jsonl: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("seed", ["-1", "x", "1.5", str(2**64)])
def test_a_seed_is_a_number(attempt: Try, seed: str) -> None:
    outcome = attempt("x = 1\n", [1], f"--seed={seed}")
    assert (outcome.status, outcome.out) == (2, "")


def test_a_recording_is_needed(gsrt: Run) -> None:
    assert gsrt("script", "run", "x.py").status == 2


def started(folder: Path, tail: str = "") -> subprocess.Popen[str]:
    """A run that goes on for very long, its first line read."""
    (folder / "s.py").write_text(
        "@session.every(5)\ndef tick():\n    for i in range(1000):\n        pass\n    print('x')\n"
    )
    (folder / "r.jsonl").write_text('{"connect": 1}\n{"at": 10000000000}\n')
    process = subprocess.Popen(
        ["bash", "-c", f"{sys.executable} -m gsrt script run s.py --record r.jsonl{tail}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "5 ms  info x\n"
    return process


def test_ctrl_c_ends_it_quietly_wherever_it_is(folder: Path) -> None:
    process = started(folder)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert errors == ""
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


def test_output_nobody_reads_any_more_ends_it_quietly(folder: Path) -> None:
    process = started(folder, " | head -n 3")
    _, errors = process.communicate(timeout=20)
    assert errors == ""


# For programs


def test_json_tells_the_same(attempt: Try) -> None:
    source = """
@session.on_packet(1)
def handler(packet):
    print("hello")
    session.send(5, {1: 1.5}, peers=1, reliable=True)
    session.send(6)
    packet.get_sender().kick("why")
    return False

@session.on_packet(2)
def change(packet):
    packet.set_data({1: 1})

@session.on_packet(3)
def fail(packet):
    1 / 0
"""
    outcome = attempt(
        source, [{"at": 3, "packet": packet(2, reliable=True)}, 3, 1, {"at": 5, "packet": packet()}], "--json"
    )
    assert outcome.status == 1
    found = json.loads(outcome.out)
    assert found["ok"] is False
    assert found["steps"] == [
        {
            "at": 3,
            "do": "change",
            "packet": {"opCode": 2, "sender": 1, "reliable": True, "targets": [], "data": {"1": 1}},
        },
        {"at": 3, "do": "error", "text": "opCode 3: s.py line 16 in fail: ZeroDivisionError: division by zero"},
        {"at": 3, "do": "info", "text": "hello"},
        {"at": 3, "do": "kick", "peer": 1, "reason": "why"},
        {
            "at": 3,
            "do": "send",
            "to": [1],
            "packet": {"opCode": 5, "sender": 0, "reliable": True, "targets": [], "data": {"1": 1.5}},
        },
        {"at": 3, "do": "send", "to": None, "packet": {"opCode": 6, "sender": 0, "reliable": False, "targets": []}},
        {"at": 3, "do": "cancel", "opCode": 1, "sender": 1},
        {"at": 5, "do": "skip", "event": "packet", "peer": 1},
    ]
