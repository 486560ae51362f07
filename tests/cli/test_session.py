"""`gsrt session ...` and `gsrt player kick`: what they ask the server and what they print."""

from __future__ import annotations

import json
import os

import pytest

from tests.cli.conftest import Run, ServerDouble

CREATED = {
    "sessionId": "7f3a",
    "host": "192.168.1.5",
    "port": 8784,
    "players": [
        {"playerId": "red", "peerId": 1, "accessToken": "token-of-red"},
        {"playerId": "elizabeth", "peerId": 2, "accessToken": "token-of-elizabeth"},
    ],
}


class TestCreate:
    def test_prints_the_tokens_and_how_to_join(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["session.create"] = {"ok": True, **CREATED}
        outcome = gsrt("session", "create", "--players", "red, elizabeth")
        assert outcome.status == 0
        assert outcome.out == (
            "Session 7f3a is open at 192.168.1.5:8784 for 2 players.\n"
            "\n"
            "  player     peer  access token\n"
            "  red           1  token-of-red\n"
            "  elizabeth     2  token-of-elizabeth\n"
            "\n"
            "Give each player's client the host, the port and that player's token. To try it, each in a terminal:\n"
            "\n"
            "  gsrt join 192.168.1.5 8784 token-of-red\n"
            "  gsrt join 192.168.1.5 8784 token-of-elizabeth\n"
        )
        assert server.requests == [{"do": "session.create", "players": ["red", "elizabeth"]}]

    def test_prints_one_json_object(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["session.create"] = {"ok": True, **CREATED}
        outcome = gsrt("session", "create", "--players", "red,elizabeth", "--json", "--host", "play.example")
        assert outcome.status == 0
        assert outcome.out.count("\n") == 1
        assert json.loads(outcome.out) == CREATED
        assert server.requests[0]["host"] == "play.example"

    def test_names_files_by_their_whole_path(self, gsrt: Run, server: ServerDouble) -> None:
        """The server looks for them from where it was started, which is somewhere else."""
        server.answers["session.create"] = {"ok": True, **CREATED}
        words = ("session", "create", "--players", "a", "--script", "game.py", "--record", "rec.jsonl")
        assert gsrt(*words).status == 0
        assert server.requests[0]["script"] == os.path.abspath("game.py")
        assert server.requests[0]["record"] == os.path.abspath("rec.jsonl")

    def test_asks_at_the_control_socket_it_is_given(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["session.create"] = {"ok": True, **CREATED}
        assert gsrt("session", "create", "--players", "a", "--control", server.path).status == 0

    @pytest.mark.parametrize("players", ["", "red,", ",", "red,,blue", "red, red"])
    def test_refuses_players_without_a_name_of_their_own(self, gsrt: Run, players: str) -> None:
        outcome = gsrt("session", "create", "--players", players)
        assert outcome.status == 2
        assert "argument --players: " in outcome.err

    def test_needs_players(self, gsrt: Run) -> None:
        assert gsrt("session", "create").status == 2


class TestList:
    SESSIONS = [
        {
            "sessionId": "7f3a",
            "ageSeconds": 3725.2,
            "players": [
                {"playerId": "red", "peerId": 1, "state": "ready", "leg": "link", "roundTripMs": 41.5},
                {"playerId": "b\x1b[2J", "peerId": 12, "state": "away", "leg": None},
            ],
        },
        {
            "sessionId": "81b2",
            "ageSeconds": 0.4,
            "players": [
                {"playerId": "green", "peerId": 1, "state": "ready", "leg": "tcp+udp"},
                {"playerId": "grey", "peerId": 2, "state": "joining", "leg": "link", "roundTripMs": None},
                {"playerId": "gold", "peerId": 3, "state": "ready", "leg": "link", "roundTripMs": 0.449},
            ],
        },
    ]

    def test_shows_who_is_where(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["session.list"] = {"ok": True, "sessions": self.SESSIONS}
        outcome = gsrt("session", "list")
        assert outcome.out == (
            "session  age        peer  player    state    leg\n"
            "7f3a     1 h 2 min     1  red       ready    link 42 ms\n"
            "                      12  b\\x1b[2J  away\n"
            "81b2     0 s           1  green     ready    tcp+udp\n"
            "                       2  grey      joining  link\n"
            "                       3  gold      ready    link 0.4 ms\n"
        )

    def test_says_how_to_open_one_when_there_is_none(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["session.list"] = {"ok": True, "sessions": []}
        assert "gsrt session create" in gsrt("session", "list").out

    def test_prints_json(self, gsrt: Run, server: ServerDouble) -> None:
        server.answers["session.list"] = {"ok": True, "sessions": self.SESSIONS}
        assert json.loads(gsrt("session", "list", "--json").out) == {"sessions": self.SESSIONS}


def test_end_names_the_session(gsrt: Run, server: ServerDouble) -> None:
    server.answers["session.end"] = {"ok": True}
    outcome = gsrt("session", "end", "7f3a")
    assert outcome.status == 0
    assert "Session 7f3a has ended" in outcome.out
    assert server.requests == [{"do": "session.end", "sessionId": "7f3a"}]


def test_kick_names_the_player(gsrt: Run, server: ServerDouble) -> None:
    server.answers["player.kick"] = {"ok": True}
    outcome = gsrt("player", "kick", "7f3a", "red")
    assert outcome.status == 0
    assert "red is out of session 7f3a" in outcome.out
    assert server.requests == [{"do": "player.kick", "sessionId": "7f3a", "player": "red"}]
