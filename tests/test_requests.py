"""What the operator can ask, with everything that is not an answerable question."""

from __future__ import annotations

import json
import os
import select
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gsrt.requests import REQUESTS, handle
from gsrt.scripts.compiling import Compiler
from gsrt.scripts.host import Scripts
from gsrt.transports.control import Later
from gsrt.worker import Worker
from tests.relay.floor import Floor
from tests.relay.rig import DEADLINE, packet


class Desk:
    """The server as requests see it, over a floor without a loop."""

    def __init__(self, **limits: float) -> None:
        self.floor = Floor(**limits)
        self.worker = Worker(lambda error: None)
        house = self.floor.sessions.house
        self.server: Any = SimpleNamespace(
            sessions=self.floor.sessions,
            relay=self.floor.relay,
            reception=self.floor.reception,
            control=SimpleNamespace(counters={"control_requests": 1}),
            profile=self.floor.profile,
            clock=lambda: self.floor.now,
            began=self.floor.now,
            host="0.0.0.0",
            port=8784,
            script=None,
            platform=None,
            box=None,
            arrival=None,
            contained=None,
            outcomes=[],
            scripts=Scripts(
                house.profile,
                house.log,
                house.timers,
                self.worker,
                Compiler(),
                lambda: self.floor.now,
                lambda size: b"7" * size,
            ),
            public_host=lambda: "198.51.100.7",
            loop_figures=lambda: {"ticks": 1},
            loop_totals=lambda: {"ticks": 1},
        )

    def ask(self, do: Any, **fields: Any) -> dict[str, Any]:
        answer = self.settled(handle(self.server, {"do": do, **fields}))
        assert json.loads(json.dumps(answer)) == answer, "an answer is plain JSON"
        assert answer["ok"] is ("error" not in answer)
        return answer

    def settled(self, answer: dict[str, Any] | Later) -> dict[str, Any]:
        """The answer, waited for where it comes later."""
        if not isinstance(answer, Later):
            return answer
        found: list[dict[str, Any]] = []
        answer._settle = found.append
        while not found:
            assert select.select([self.worker], [], [], DEADLINE)[0], "no answer has come"
            self.worker.deliver()
        return found[0]

    def refused(self, do: Any, **fields: Any) -> str:
        answer = self.ask(do, **fields)
        assert not answer["ok"]
        return str(answer["error"])


@pytest.fixture
def desk() -> Any:
    desk = Desk(sessions_max=4, players_per_session_max=5)
    with desk.floor:
        yield desk
    desk.worker.close()


def test_creating(desk: Desk) -> None:
    answer = desk.ask("session.create", players=["red", "blue"])
    assert (answer["host"], answer["port"]) == ("198.51.100.7", 8784)
    assert [(each["playerId"], each["peerId"]) for each in answer["players"]] == [("red", 1), ("blue", 2)]
    session = desk.floor.sessions.get(answer["sessionId"])
    for each in answer["players"]:
        found = desk.floor.sessions.holder(each["accessToken"])
        assert found is session.player(each["playerId"])
    assert desk.ask("session.create", players=["x"], host="game.example")["host"] == "game.example"


@pytest.mark.parametrize(
    "players",
    [None, "red", 5, {}, [], [1], ["red", None], [["red"]], [""], ["red", "red"], ["x" * 129], ["a"] * 6, [True]],
    ids=repr,
)
def test_players_that_make_no_session(desk: Desk, players: Any) -> None:
    assert desk.refused("session.create", players=players)
    assert len(desk.floor.sessions) == 0
    assert len(desk.floor.tokens) == 0


@pytest.mark.parametrize("host", ["", 5, None, ["x"], {}], ids=repr)
def test_a_host_that_is_none_makes_no_session(desk: Desk, host: Any) -> None:
    assert "host" in desk.refused("session.create", players=["red"], host=host)
    assert len(desk.floor.sessions) == 0


def test_names_of_any_kind(desk: Desk) -> None:
    names = ["ü", "🙂", "a b", "\ud800", "\n"]
    answer = desk.ask("session.create", players=names)
    assert [each["playerId"] for each in answer["players"]] == names
    for name in names:
        assert desk.ask("player.kick", sessionId=answer["sessionId"], player=name)["ok"]


def test_too_many(desk: Desk) -> None:
    for _ in range(4):
        desk.ask("session.create", players=["a"])
    assert "gsrt session end" in desk.refused("session.create", players=["a"])


def test_listing(desk: Desk) -> None:
    assert desk.ask("session.list") == {"ok": True, "sessions": []}
    made = desk.ask("session.create", players=["red", "blue"])
    desk.floor.seat(desk.floor.sessions.get(made["sessionId"]).players[0])
    desk.floor.advance(2.5)
    (session,) = desk.ask("session.list")["sessions"]
    assert session == {
        "sessionId": made["sessionId"],
        "ageSeconds": 2.5,
        "players": [
            {"playerId": "red", "peerId": 1, "state": "ready", "leg": "tcp"},
            {"playerId": "blue", "peerId": 2, "state": "expected", "leg": None},
        ],
    }


def test_ending(desk: Desk) -> None:
    made = desk.ask("session.create", players=["red"])
    assert desk.ask("session.end", sessionId=made["sessionId"]) == {"ok": True}
    assert "no session" in desk.refused("session.end", sessionId=made["sessionId"])
    assert desk.floor.sessions.holder(made["players"][0]["accessToken"]) is None


def test_kicking(desk: Desk) -> None:
    made = desk.ask("session.create", players=["red", "blue"])
    guest = desk.floor.seat(desk.floor.sessions.get(made["sessionId"]).players[0])
    assert desk.ask("player.kick", sessionId=made["sessionId"], player="red") == {"ok": True}
    guest.line.read()
    assert guest.line.ended
    assert desk.floor.sessions.holder(made["players"][0]["accessToken"]) is None
    assert "no player 'green'; it has red, blue" in desk.refused(
        "player.kick", sessionId=made["sessionId"], player="green"
    )


@pytest.mark.parametrize("do", ["session.end", "player.kick"])
@pytest.mark.parametrize("value", [None, 5, "", [], {}, True], ids=repr)
def test_fields_that_are_no_text(desk: Desk, do: str, value: Any) -> None:
    made = desk.ask("session.create", players=["red"])
    assert "sessionId" in desk.refused(do, sessionId=value, player="red")
    if do == "player.kick":
        assert "player" in desk.refused(do, sessionId=made["sessionId"], player=value)
    assert len(desk.floor.sessions) == 1


@pytest.mark.parametrize("do", ["", "session", "SESSION.LIST", "__class__", "status "], ids=repr)
def test_what_nobody_can_do(desk: Desk, do: str) -> None:
    error = desk.refused(do)
    assert all(name in error for name in REQUESTS)


def test_overview(desk: Desk) -> None:
    made = desk.ask("session.create", players=["red", "blue", "green"])
    other = desk.ask("session.create", players=["tom"])
    players = desk.floor.sessions.get(made["sessionId"]).players
    red, _ = desk.floor.seat(players[0]), desk.floor.seat(players[1], ready=False)
    red.put(packet(5))
    answer = desk.ask("overview")
    assert (answer["sessions"], answer["sessionsEmpty"], answer["peersConnected"], answer["inside"]) == (2, 1, 2, None)
    assert answer["players"] == {"expected": 2, "joining": 1, "ready": 1, "absent": 0, "gone": 0, "kicked": 0}
    first, second = answer["perSession"]
    assert (first["sessionId"], first["players"], first["connected"]) == (made["sessionId"], 3, 2)
    assert (first["counters"]["packets_in"], first["roundTripMs"], first["script"]) == (1, None, None)
    assert (second["sessionId"], second["players"], second["connected"]) == (other["sessionId"], 1, 0)
    inside = desk.ask("overview", inside=made["sessionId"])["inside"]
    assert (inside["sessionId"], inside["counters"], inside["links"]) == (made["sessionId"], first["counters"], {})
    assert inside["players"] == desk.ask("session.list")["sessions"][0]["players"]
    assert desk.ask("overview", inside="gone by now")["inside"] is None
    assert "inside" in desk.refused("overview", inside=7)


def test_status(desk: Desk) -> None:
    made = desk.ask("session.create", players=["red", "blue"])
    players = desk.floor.sessions.get(made["sessionId"]).players
    red, _ = desk.floor.seat(players[0]), desk.floor.seat(players[1])
    red.put(packet(5), packet(6, targets=(9,)), b"\x02\x10\x01")
    desk.floor.dial()
    answer = desk.ask("status")
    assert answer["pid"] == os.getpid()
    assert (answer["sessions"], answer["peersConnected"], answer["connections"]) == (1, 2, 3)
    assert answer["counters"]["packets_in"] == 2
    assert answer["counters"]["dropped_no_target"] == 1
    assert answer["counters"]["dropped_malformed"] == 1
    assert answer["counters"]["logins"] == 2
    assert answer["counters"]["control_requests"] == 1
    (session,) = answer["perSession"]
    assert session["sessionId"] == made["sessionId"]
    assert session["counters"]["packets_in"] == 2
    assert session["counters"]["dropped_malformed"] == 1


def test_counters_of_the_parts_do_not_hide_each_other(desk: Desk) -> None:
    parts = [desk.floor.relay.counts(), desk.floor.reception.counters]
    names = [name for part in parts for name in part]
    assert len(names) == len(set(names))


# Scripts


def test_a_session_with_a_script(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "game.py"
    path.write_text("print('at work')\n")
    answer = desk.ask("session.create", players=["red"], script=str(path))
    (entry,) = desk.ask("logs")["entries"]
    assert (entry["session"], entry["script"], entry["text"]) == (answer["sessionId"], "game.py", "at work")
    (figures,) = desk.ask("status")["perSession"]
    assert (figures["script"]["path"], figures["script"]["state"]) == (str(path), "running")
    desk.ask("session.end", sessionId=answer["sessionId"])
    assert desk.ask("status")["perSession"] == []
    assert len(desk.server.scripts) == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\n", "game.py:1:1: import is not available"),
        ("1 / 0\n", "game.py line 1 in <module>: ZeroDivisionError"),
        ("while True: pass\n", "used up its gas"),
    ],
)
def test_a_script_that_cannot_run_makes_no_session(desk: Desk, tmp_path: Path, source: str, said: str) -> None:
    path = tmp_path / "game.py"
    path.write_text(source)
    assert said in desk.refused("session.create", players=["red"], script=str(path))
    assert len(desk.floor.sessions) == 0


def test_a_script_that_is_not_there(desk: Desk, tmp_path: Path) -> None:
    assert "No such file" in desk.refused("session.create", players=["red"], script=str(tmp_path / "none.py"))


def test_only_scripted_sessions_are_recorded(desk: Desk) -> None:
    assert "record" in desk.refused("session.create", players=["red"], record="somewhere")


def test_logs_by_number_and_session(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "game.py"
    path.write_text("print(1)\nprint(2)\n")
    first = desk.ask("session.create", players=["red"], script=str(path))["sessionId"]
    desk.ask("session.create", players=["red"], script=str(path))
    assert [entry["text"] for entry in desk.ask("logs")["entries"]] == ["1", "2", "1", "2"]
    assert [entry["number"] for entry in desk.ask("logs", session=first)["entries"]] == [1, 2]
    assert [entry["number"] for entry in desk.ask("logs", after=3)["entries"]] == [4]
    assert "after" in desk.refused("logs", after=-1)
