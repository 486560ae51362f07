"""All scripts of a server: read and compiled on the worker, put to work or refused, recorded, told of in the status."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from gsrt._core import Data, Packet, split_datagram
from gsrt.scripts.attached import Attached
from gsrt.scripts.compiling import HostError
from gsrt.scripts.recording import packet_to_json
from tests.scripts.floor import ScriptFloor
from tests.support.server import PROJECT

GOOD = "session.on_packet(5, lambda packet: session.send(9, {1: packet.data[1]}))"


def test_nothing_is_loaded_before_the_first_script() -> None:
    with ScriptFloor() as floor:
        session = floor.create()
        floor.seat(session.players[0]).put(floor.packet(5))
        assert floor.scripts.sandbox is None
        assert floor.worker.waiting == 0
        assert len(floor.scripts) == 0
        armed: list[object] = []
        floor.scripts.armed = armed.append
        floor.scripted(GOOD)
        floor.scripted(GOOD)
        assert armed == [floor.scripts.sandbox]


def test_what_runs_the_first_script_is_loaded_while_the_loop_goes_on() -> None:
    program = """
import os, select, sys, time
from gsrt.log import Log
from gsrt.profile import Profile
from gsrt.scripts.compiling import Compiler
from gsrt.scripts.host import Scripts
from gsrt.timers import Timers
from gsrt.worker import Worker

worker = Worker(print)
log = Log(sys.stderr, time.monotonic)
scripts = Scripts(Profile.load("generic"), log, Timers(), worker, Compiler(), time.monotonic, os.urandom)
before = set(sys.modules)
scripts.prepare(sys.argv[1], lambda compiled, error: None)
assert select.select([worker], [], [], 30)[0]
there = {"sandbox", "guest", "event_guest", "attached"}
there = {f"gsrt.scripts.{name}" for name in there} | {"gsrt._meter"}
assert not there & before and there <= set(sys.modules)
worker.deliver()
"""
    with ScriptFloor() as floor:
        subprocess.run([sys.executable, "-c", program, floor.write("pass")], cwd=PROJECT, check=True, timeout=60)


def test_a_script_runs_in_its_session_only() -> None:
    with ScriptFloor() as floor:
        first, second, plain = floor.scripted(GOOD), floor.scripted(GOOD, name="other.py"), floor.create()
        lines = [(floor.seat(session.players[0]), floor.seat(session.players[1])) for session in (first, second, plain)]
        for red, _ in lines:
            red.put(floor.packet(5))
        assert [floor.scripts.get(session.session_id) is not None for session in (first, second, plain)] == [
            True
        ] * 2 + [False]
        codes = [[code for code, _ in blue.news()] for _, blue in lines]
        assert codes[2] == [5]
        assert codes[0] == codes[1]
        assert first.script == floor.path()


def test_sessions_of_one_script_share_nothing() -> None:
    with ScriptFloor() as floor:
        source = (
            "count = [0]\n\ndef on_packet(packet):\n    count[0] += 1\n    print(count[0], session.random.random())\n"
        )
        path = floor.write(source)
        compiled = floor.compiled(path)
        sessions = [floor.attach(compiled, path) for _ in range(2)]
        for session in sessions:
            red = floor.seat(session.players[0])
            for _ in range(2):
                red.put(floor.packet(5))
        texts = floor.texts()
        assert [text.split()[0] for text in texts] == ["1", "2", "1", "2"]
        assert len({text.split()[1] for text in texts}) == 4  # each session has a seed of its own


# Refused


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import os", "script.py:1:1: "),
        ("x = (", "script.py:1:"),
        ("x._y\nfoo.__class__\n", "script.py:2:"),
        ("#" * 70_000, "65,536"),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_every_problem(source: str, told: str) -> None:
    with ScriptFloor() as floor:
        with pytest.raises(HostError) as refusal:
            floor.scripted(source)
        assert told in str(refusal.value)
        assert len(floor.scripts) == 0


def test_files_that_cannot_be_read() -> None:
    with ScriptFloor() as floor:
        for path, told in ((floor.path("none.py"), "No such file"), (str(floor.directory), "Is a directory")):
            with pytest.raises(HostError, match=told) as refusal:
                floor.compiled(path)
            assert str(refusal.value).startswith(path)
        Path(floor.path("bytes.py")).write_bytes(b"x = '\xff'")
        with pytest.raises(HostError, match=r"bytes.py:1:1: this is not UTF-8"):
            floor.compiled(floor.path("bytes.py"))


def test_a_top_level_that_fails_refuses_the_session_and_leaves_nothing() -> None:
    with ScriptFloor() as floor:
        waiting = len(floor.timers)
        with pytest.raises(HostError, match=r"script.py line 2 in <module>: ZeroDivisionError"):
            floor.scripted("session.set_interval(lambda: print('alive'), 10)\n1 / 0")
        floor.advance(1)
        assert not floor.texts()
        assert len(floor.scripts) == 0
        (session,) = floor.sessions
        session.end("its script cannot run")
        assert len(floor.timers) == waiting


def test_scripts_that_hung_are_refused_until_they_change() -> None:
    with ScriptFloor() as floor:
        path = floor.write(GOOD)
        digest = floor.compiled(path).digest
        floor.scripts.files.quarantined[digest] = path
        with pytest.raises(HostError, match="it does not run until it has changed"):
            floor.compiled(path)
        with pytest.raises(HostError, match="has hung"):
            floor.compiled(floor.write(GOOD, "copy.py"))  # whatever its name is
        floor.write(GOOD + "\n# mended\n")
        assert floor.compiled(path).digest != digest


def test_after_too_many_restarts_scripts_are_off() -> None:
    with ScriptFloor() as floor:
        floor.scripts.allowed = False
        with pytest.raises(HostError, match="scripts are off"):
            floor.compiled(floor.write(GOOD))


def test_a_closed_worker_refuses() -> None:
    with ScriptFloor() as floor:
        floor.worker.close()
        with pytest.raises(HostError, match="shutting down"):
            floor.scripts.prepare(floor.write(GOOD), lambda compiled, error: None)


def test_many_at_once_are_compiled_one_after_the_other() -> None:
    with ScriptFloor() as floor:
        found: list[object] = []
        for number in range(20):
            path = floor.write(f"print({number})" if number % 2 else "import os", f"s{number}.py")
            floor.scripts.prepare(path, lambda compiled, error: found.append(compiled or error))
        assert found == []
        floor.work_done()
        assert [isinstance(each, HostError) for each in found] == [True, False] * 10
        assert not floor.failed_work


def test_warnings_are_told_once() -> None:
    with ScriptFloor() as floor:
        floor.scripted("def on_packet(packet):\n    undefined_name()\n")
        assert "undefined_name" in floor.log_text()


# Ends


def test_a_session_s_end_ends_its_script() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(
            "session.set_interval(lambda: print('tick'), 10)\ndef on_packet(packet):\n    return False"
        )
        floor.advance(0.05)
        count = len(floor.texts())
        assert count >= 4
        session.end("over")
        floor.advance(1)
        assert len(floor.texts()) == count
        assert len(floor.scripts) == 0
        assert session.room.interceptor is None
        assert floor.scripts.get(session.session_id) is None


def test_a_session_ended_during_a_trial() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(GOOD)
        red = floor.seat(session.players[0])
        for _ in range(10):
            red.put(floor.packet(5))
        floor.write(GOOD + "\nprint('new')")
        floor.advance(1)
        floor.work_done()
        floor.turn()
        session.end("over")
        floor.advance(1)
        assert "new" not in floor.texts()
        assert "taken" not in floor.log_text()
        assert "Traceback" not in floor.log_text()


# Status


def test_figures() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(
            """
            @session.on_packet(5)
            def five(packet):
                session.send(9)
                session.send(9, peers=[])
                if packet.data.get_number(1) == 1:
                    missing()
                if packet.data.get_number(1) == 2:
                    while True:
                        pass
            """
        )
        red = floor.seat(session.players[0])
        for value in (0, 1, 2, 0):
            floor.begin_turn()
            red.put(floor.packet(5, data=_number(value)))
        figures = floor.attached(session).figures()
        assert {key: figures[key] for key in ("path", "state", "reloads", "strikes", "failures", "calls", "sent")} == {
            "path": floor.path(),
            "state": "running",
            "reloads": 0,
            "strikes": 1,
            "failures": 1,
            "calls": 5,  # the top level, and four packets
            "sent": 4,
        }
        assert figures["gasMost"] >= 200_000
        assert figures["milliseconds"] >= figures["longestMs"] > 0
        json.dumps(figures)


def _number(value: int) -> bytes:
    return Data({1: value}).encode()


# Recordings


RECORDED = """
seen = []

def on_player_connect(player):
    session.send(50, {1: player.peer_id, 2: session.now_ms, 3: session.random.randint(1, 10**6)})

def on_player_disconnect(player):
    session.send(51, {1: player.peer_id})

@session.on_packet(5)
def five(packet):
    seen.append(packet.data.get_number(1))
    session.send(9, {1: sum(x for x in seen if x), 2: session.random.random(), 3: session.now_ms},
                 peers=[packet.get_sender()], reliable=packet.is_reliable())
    if packet.data.get_number(1) == 3:
        return False
    if packet.data.get_number(1) == 4:
        packet.data[2] = "changed"
        packet.set_target_peers([2])

session.set_timeout(lambda: session.send(60, {1: session.random.random()}), 777)
"""


def replay(script: str, recording: str) -> list[dict[str, object]]:
    output = subprocess.run(
        [sys.executable, "-m", "gsrt", "script", "run", script, "--record", recording, "--json"],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    answer = json.loads(output.stdout)
    assert answer["ok"], output
    steps: list[dict[str, object]] = answer["steps"]
    return steps


def test_a_recording_replays_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    deliver = Attached.deliver

    def note(self: Attached, frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> int:
        packet = Packet.decode(split_datagram(frame)[0])
        sent.append(packet_to_json(packet, packet.sender, reliable))
        return deliver(self, frame, peers, reliable)

    monkeypatch.setattr(Attached, "deliver", note)
    with ScriptFloor() as floor:
        record = floor.path("rec.jsonl")
        session = floor.scripted(RECORDED, record=record)
        floor.advance(0.1)
        red = floor.seat(session.players[0])
        floor.advance(0.0337)
        blue = floor.seat(session.players[1])
        for value in (1, 2, 3, 4, 5):
            red.put(floor.packet(5, data=_number(value)), floor.packet(6))
            blue.put(floor.packet(5, data=_number(10 * value), payload=b"\0p", reliable=False, targets=(1, 0)))
            floor.advance(0.1234)
        floor.advance(1.5)
        floor.work_done()  # a first part is written
        assert len(Path(record).read_text().splitlines()) > 10
        blue.line.close()
        floor.gone(session.players[1])
        session.end("over")
        floor.work_done()
        steps = replay(floor.path(), record)
        assert [step["do"] for step in steps if step["do"] in ("cancel", "change")] == ["cancel", "change"]
        assert [step["packet"] for step in steps if step["do"] == "send"] == sent
        assert [each["opCode"] for each in sent].count(9) == 10
        assert {each["opCode"] for each in sent} == {9, 50, 51, 60}
        assert replay(floor.path(), record) == steps
        lines = [json.loads(line) for line in Path(record).read_text().splitlines()]
        assert lines[0]["players"] == {"1": "red", "2": "blue", "3": "green"}
        assert [line["packet"]["opCode"] for line in lines if "packet" in line] == [
            5
        ] * 10  # none that nobody asked for


def test_a_recording_that_cannot_be_made_refuses_the_session() -> None:
    with ScriptFloor() as floor:
        with pytest.raises(HostError, match=r"/none/rec.jsonl: No such file"):
            floor.scripted("session.set_interval(lambda: print('alive'), 10)", record=floor.path("none/rec.jsonl"))
        floor.advance(1)
        assert not floor.texts()
        assert len(floor.scripts) == 0


def test_a_recording_that_can_no_longer_be_written_disturbs_nobody() -> None:
    with ScriptFloor() as floor:
        session = floor.scripted(GOOD, record="/dev/full")
        red = floor.seat(session.players[0])
        for _ in range(3):
            red.put(floor.packet(5))
            floor.advance(1.1)
            floor.work_done()
        session.end("over")
        floor.work_done()
        assert "recording not written" in floor.log_text()
        assert floor.worker.waiting == 0
        assert not floor.failed_work


def test_a_session_that_ends_while_its_recording_is_written_loses_nothing() -> None:
    with ScriptFloor() as floor:
        record = floor.path("rec.jsonl")
        session = floor.scripted(GOOD, record=record)
        red = floor.seat(session.players[0])
        red.put(floor.packet(5))
        floor.advance(1.1)  # the worker has it now
        red.put(floor.packet(5))
        session.end("over")
        floor.work_done()
        lines = [json.loads(line) for line in Path(record).read_text().splitlines()]
        assert sum("packet" in line for line in lines) == 2
        assert list(lines[-1]) == ["at"]


def test_what_a_script_that_is_off_has_left_behind_is_given_back() -> None:
    """Its cycles too, which nothing else would collect so soon."""
    with ScriptFloor() as floor:
        session = floor.scripted("def on_packet(packet):\n    while True: pass\n")
        guest = floor.seat(session.players[0])
        for _ in range(3):
            floor.begin_turn()
            guest.put(floor.packet(5))
        assert floor.attached(session).state == "off"
        thing = type("Thing", (), {})()
        thing.itself = thing
        gone = weakref.ref(thing)
        del thing
        gc.disable()
        try:
            floor.now += 1.5
            assert gone() is not None
            floor.timers.run(floor.now)
            assert gone() is None
        finally:
            gc.enable()
