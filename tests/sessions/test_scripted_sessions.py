"""Scripts in a real server: sessions made with them, clients that play in them, status, logs, recordings, exchange of a
changed file, and a script that hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gsrt.client import Intent
from tests.sessions.player import DEADLINE, Player
from tests.support.server import PROJECT, ControlRefused, Seat, ServerProcess, Table

ERRORS = ("error script", "error changed script not taken")  # what these tests provoke
FAST = {"script_reload_seconds": 0.05, "script_off_op_code": 7777, "grace_seconds": 10, "session_linger_seconds": 300}

ANSWERING = """
    def on_player_connect(player):
        session.send(50, {1: player.peer_id, 2: player.player_id}, reliable=True)

    def on_player_disconnect(player):
        session.send(51, {1: player.peer_id}, reliable=True)

    @session.on_packet(100)
    def ask(packet):
        answer = {1: packet.data[1] * 2, 2: packet.get_sender().player_id}
        session.send(101, answer, peers=packet.get_sender(), reliable=packet.is_reliable())
        return False

    @session.on_packet(102)
    def change(packet):
        packet.data[2] = "checked"

    @session.on_packet(103)
    def kick(packet):
        session.get_player(packet.data[1]).kick("out")
"""


class Game:
    """A server of the test's own, script files beside it, and players that leave with the test."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.players: list[Player] = []

    def path(self, name: str = "game.py") -> str:
        return str(self.server.directory / name)

    def write(self, source: str, name: str = "game.py") -> str:
        """The script in its file, exchanged at once."""
        path = self.path(name)
        Path(path + ".new").write_text(dedent(source))
        os.replace(path + ".new", path)
        return path

    def create(self, source: str | None, count: int = 2, *, name: str = "game.py", **more: str) -> Table:
        request: dict[str, Any] = {
            "do": "session.create",
            "players": [f"p{number + 1}" for number in range(count)],
            **more,
        }
        if source is not None:
            request["script"] = self.write(source, name)
        answer = self.server.control(request)
        seats = tuple(Seat(one["playerId"], one["peerId"], one["accessToken"]) for one in answer["players"])
        return Table(answer["sessionId"], answer["host"], answer["port"], seats)

    def join(self, *seats: Seat) -> list[Player]:
        """One after the other."""
        found = []
        for seat in seats:
            found.append(Player(seat, self.server.port))
            self.players.append(found[-1])
            found[-1].expect_ready()
        return found

    def script(self, table: Table) -> dict[str, Any]:
        """The script's figures, or an empty dict."""
        for one in self.server.control({"do": "status"})["perSession"]:
            if one["sessionId"] == table.session_id:
                found: dict[str, Any] = one.get("script", {})
                return found
        raise AssertionError("no such session")

    def texts(self, table: Table | None = None) -> list[str]:
        request: dict[str, Any] = {"do": "logs"} | ({} if table is None else {"session": table.session_id})
        return [one["text"] for one in self.server.control(request)["entries"]]

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"it has not come about:\n{self.server.log()}"
            time.sleep(0.005)  # between two looks

    def leave(self) -> None:
        for player in self.players:
            player.session.stop()


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gsrt", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@pytest.fixture(scope="module")
def scripted_server() -> Iterator[ServerProcess]:
    server = ServerProcess(overrides=FAST)
    server.allowed_errors = ERRORS
    with server:
        yield server


@pytest.fixture
def game(scripted_server: ServerProcess) -> Iterator[Game]:
    game = Game(scripted_server)
    yield game
    game.leave()
    for session_id in game.server.session_ids():
        game.server.control({"do": "session.end", "sessionId": session_id})


# At work


@pytest.mark.parametrize("intent", [Intent.RELIABLE, Intent.UNRELIABLE, Intent.UNRELIABLE_SEQUENCED])
def test_a_script_answers_changes_and_cancels(game: Game, intent: Intent) -> None:
    table = game.create(ANSWERING)
    (red,) = game.join(table.seats[0])
    red.expect(50, {1: 1, 2: "p1"})
    (blue,) = game.join(table.seats[1])
    red.expect(50, {1: 2, 2: "p2"})
    blue.expect(50, {1: 2, 2: "p2"})
    red.send(100, 21, intent)
    red.expect(101, {1: 42, 2: "p1"})
    red.send(102, 5, intent)
    blue.expect(102, {1: 5, 2: "checked"}, sender=1)
    red.send(104, 6, intent)
    blue.expect(104, {1: 6}, sender=1)
    red.session.stop()
    blue.expect(51, {1: 1})
    assert game.server.counters(table)["dropped_by_script"] == 1


def test_a_script_kicks(game: Game) -> None:
    table = game.create(ANSWERING)
    red, blue = game.join(*table.seats)
    red.send(103, 2)
    assert red.next_of(51) == {1: 2}
    game.until(lambda: blue.session.refusals > 0)
    assert game.server.player_state(table, 2) == "kicked"


def test_timers_and_requests_run_by_themselves(game: Game) -> None:
    table = game.create(
        """
        @session.every(20)
        def tick():
            session.send(60, {1: session.now_ms}, reliable=True)

        def answered(response):
            session.send(61, {1: response.get_errors()["backend"]}, reliable=True)

        def on_player_connect(player):
            session.new_request().create_account_details_request().set_player_id(player.player_id).send(answered)
        """,
        1,
    )
    (red,) = game.join(table.seats[0])
    assert str(red.next_of(61)[1]).startswith("NOT_AVAILABLE: ")
    moments = [red.next_of(60)[1] for _ in range(5)]
    assert moments == sorted(moments)
    assert len(set(moments)) == 5


def test_serve_gives_every_session_a_script(tmp_path: Path) -> None:
    path = tmp_path / "all.py"
    path.write_text("session.on_packet(100, lambda packet: session.send(101, {1: 1}, reliable=True))\n")
    other = tmp_path / "other.py"
    other.write_text("session.on_packet(100, lambda packet: session.send(101, {1: 2}, reliable=True))\n")
    with ServerProcess(arguments=("--script", str(path), "--demo", "anna,ben")) as server:
        game = Game(server)
        try:
            assert server.control({"do": "status"})["perSession"][0]["script"]["path"] == str(path)
            for table, answer in ((game.create(None), 1), (game.create(None, script=str(other)), 2)):
                (red,) = game.join(table.seats[0])
                red.send(100)
                red.expect(101, {1: answer})
        finally:
            game.leave()


def test_serve_refuses_a_script_that_it_cannot_run(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import os\nimport sys\n")
    server = ServerProcess(arguments=("--script", str(path), "--demo", "anna"))
    try:
        server.launch()
        assert server.process.wait(DEADLINE) == 1
        assert server.log().count("bad.py:") == 2
    finally:
        server.dispose()


# Refused


def test_the_command_says_what_is_wrong_with_a_script(game: Game) -> None:
    path = game.write("x = 1\nimport os\ny.__class__\n", "bad.py")
    done = run_command("session", "create", "--players", "a,b", "--script", path, "--control", game.server.control_path)
    assert done.returncode == 1
    assert "bad.py:2:1: " in done.stderr
    assert "bad.py:3:" in done.stderr
    assert "Traceback" not in done.stderr
    assert game.server.session_ids() == []


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = {}['no']", r"game.py line 1 in <module>: KeyError: 'no'"),
        ("while True:\n    pass", r"stopped: .*game.py line 1"),
        ("def f():\n    session.send(0)\nf()", r"game.py line 2 in f: ValueError"),
    ],
)
def test_a_top_level_that_fails_refuses_the_session(game: Game, source: str, told: str) -> None:
    with pytest.raises(ControlRefused, match=told):
        game.create(source)
    assert game.server.session_ids() == []


def test_a_script_that_is_not_there(game: Game) -> None:
    with pytest.raises(ControlRefused, match=r"none.py: No such file"):
        game.create(None, script=game.path("none.py"))


def test_many_sessions_asked_for_at_once(game: Game) -> None:
    path = game.write(ANSWERING)
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "gsrt", "session", "create", "--players", "a", "--json"),
                *("--script", path, "--control", game.server.control_path),
            ],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    ids = {json.loads(each.communicate(timeout=DEADLINE)[0])["sessionId"] for each in running}
    assert set(game.server.session_ids()) == ids
    assert len(ids) == 4


# Strikes


def test_a_script_that_is_off_and_the_game_goes_on(game: Game) -> None:
    table = game.create("def on_packet(packet):\n    while packet.op_code == 100:\n        pass\n")
    red, blue = game.join(*table.seats)
    for number in range(5):
        red.send(100, number)
    red.send(104, 6)
    assert "gas" in str(red.next_of(7777)[1])
    heard = [blue.packets.get(timeout=DEADLINE) for _ in range(7)]
    assert [each.op_code for each in heard if each.op_code != 7777] == [100] * 5 + [104]
    figures = game.script(table)
    assert (figures["state"], figures["path"]) == ("off", game.path())
    texts = game.texts(table)
    assert len(texts) == 3
    assert "game.py line " in texts[0]
    assert "strike 3 of 3" in texts[2]
    game.write("session.on_packet(100, lambda packet: session.send(101, {1: 3}, reliable=True))")
    game.until(lambda: game.script(table)["state"] == "running")
    red.send(100, 1)
    assert red.next_of(101) == {1: 3}


# Logs and status


def test_logs_of_a_session(game: Game) -> None:
    loud = game.create(
        "log = session.get_logger()\nlog.warn('one')\nprint('a', 1)\nlog.error({'x': 2.5})", name="loud.py"
    )
    quiet = game.create("print('other')", name="quiet.py")
    assert game.texts(loud) == ["one", "a 1", "{'x': 2.5}"]
    assert game.texts(quiet) == ["other"]
    entries = game.server.control({"do": "logs", "session": loud.session_id})["entries"]
    assert [(one["level"], one["script"], one["session"]) for one in entries] == [
        (level, "loud.py", loud.session_id) for level in ("warn", "info", "error")
    ]
    last = game.server.control({"do": "logs", "after": entries[0]["number"], "session": loud.session_id})
    assert [one["text"] for one in last["entries"]] == ["a 1", "{'x': 2.5}"]
    done = run_command("logs", "--session", loud.session_id, "--control", game.server.control_path)
    assert [line in done.stdout for line in ("one", "a 1", "2.5", "other")] == [True, True, True, False]


def test_status_of_a_script(game: Game) -> None:
    table = game.create(ANSWERING)
    red, _ = game.join(*table.seats)
    for number in range(3):
        red.send(100, number)
        red.next_of(101)
    figures = game.script(table)
    assert (figures["state"], figures["strikes"], figures["failures"], figures["reloads"]) == ("running", 0, 0, 0)
    assert figures["calls"] == 1 + 2 + 3  # the top level, two players, three packets
    assert figures["sent"] == 2 + 3
    assert figures["gasMost"] > 0
    shown = run_command("status", "--control", game.server.control_path)
    assert shown.returncode == 0, shown.stderr


# Recordings


def test_a_recording_replays_with_the_command(game: Game) -> None:
    record = game.path("rec.jsonl")
    source = """
        total = 0

        def on_player_connect(player):
            session.send(50, {1: player.peer_id, 2: session.random.randint(1, 1000000)}, reliable=True)

        @session.on_packet(100)
        def add(packet):
            global total
            total += packet.data[1]
            session.send(101, {1: total, 2: session.random.random(), 3: session.now_ms}, reliable=True)
            return total % 2 == 0
        """
    table = game.create(source, record=record)
    red, blue = game.join(*table.seats)
    heard = [red.next_of(50), red.next_of(50)]
    for number in range(10):
        (red if number % 2 else blue).send(100, number)
        heard.append(red.next_of(101))
    game.server.end(table)
    done = run_command("script", "run", game.path(), "--record", record, "--json")
    answer = json.loads(done.stdout)
    assert answer["ok"], done
    sent = [step["packet"]["data"] for step in answer["steps"] if step["do"] == "send"]
    assert [{int(index): value for index, value in each.items()} for each in sent] == heard


# A changed file


def test_a_changed_file_is_taken_up_while_they_play(game: Game) -> None:
    versioned = """
        count = 0

        def on_reload(old_state):
            global count
            count = old_state["count"]

        @session.on_packet(100)
        def add(packet):
            global count
            count += 1
            session.send(101, {{1: {version}, 2: count}}, reliable=True)
        """
    table = game.create(versioned.format(version=1))
    red, _ = game.join(*table.seats)
    heard: list[dict[int, Any]] = []

    def play() -> dict[int, Any]:
        red.send(100)
        heard.append(red.next_of(101))
        return heard[-1]

    for _ in range(5):
        play()
    for version in (2, 3):
        game.write(versioned.format(version=version))
        game.until(lambda: play()[1] == version)  # noqa: B023
    assert [each[2] for each in heard] == list(range(1, len(heard) + 1))  # not one was lost or counted twice
    assert [each[1] for each in heard] == sorted(each[1] for each in heard)
    assert game.script(table)["reloads"] == 2
    for bad in ("import os\n", "1 / 0\n", "def on_packet(packet):\n    packet.nothing()\n"):
        lines = game.server.log_path.read_text().count("changed script not taken")
        game.write(bad)
        game.until(lambda: game.server.log_path.read_text().count("changed script not taken") > lines)  # noqa: B023
        assert play() == {1: 3, 2: len(heard)}
    game.write(versioned.format(version=4))
    game.until(lambda: play()[1] == 4)
    assert [each[2] for each in heard] == list(range(1, len(heard) + 1))


# A script that hangs


class HoledServer(ServerProcess):
    """Its scripts may call hang()."""

    def __init__(self) -> None:
        super().__init__(overrides=FAST | {"script_watchdog_seconds": 0.3})
        self.command[self.command.index("gsrt")] = "tests.support.hanging_scripts"
        self.allowed_errors = (
            *ERRORS,
            "error session goes on without its script",
            "error restarted after a script hung",
        )


HANGING = """
    session.on_packet(100, lambda packet: session.send(101, {1: 1}, reliable=True))
    session.on_packet(666, lambda packet: hang())
"""


def test_a_script_that_hangs_costs_a_restart_and_nothing_else() -> None:
    with HoledServer() as server:
        game = Game(server)
        try:
            pid = server.process.pid
            bad = game.create(HANGING, name="bad.py")
            good = game.create(ANSWERING, name="good.py")
            plain = game.create(None)
            bad_players, good_players, plain_players = (game.join(*each.seats) for each in (bad, good, plain))
            bad_players[0].send(100)
            assert bad_players[0].next_of(101) == {1: 1}
            bad_players[0].send(666)
            for player in (*bad_players, *good_players, *plain_players):
                player.expect_loss_and_return()
            assert server.process.poll() is None
            assert server.control({"do": "status"})["pid"] == pid
            # its session goes on without it
            game.until(lambda: "session goes on without its script" in server.log_path.read_text())
            bad_players[0].send(104, 5)
            assert bad_players[1].next_of(104) == {1: 5}
            assert game.script(bad).get("state", "off") == "off"
            # the other session's script runs again
            game.until(lambda: game.script(good).get("state") == "running")
            good_players[0].send(100, 4)
            assert good_players[0].next_of(101) == {1: 8, 2: "p1"}
            plain_players[0].send(100, 6)
            assert plain_players[1].next_of(100) == {1: 6}
            # it does not run again as it is
            with pytest.raises(ControlRefused, match="until it has changed"):
                game.create(HANGING, name="bad.py")
            with pytest.raises(ControlRefused, match="until it has changed"):
                game.create(HANGING, name="copy.py")
            # mended, it does: in a new session, and in the one it had hung in
            mended = game.create(HANGING.replace("hang()", "None"), name="bad.py")
            (player,) = game.join(mended.seats[0])
            player.send(100)
            assert player.next_of(101) == {1: 1}
            game.until(lambda: game.script(bad).get("state") == "running")
            bad_players[0].send(100)
            assert bad_players[0].next_of(101) == {1: 1}
        finally:
            game.leave()
