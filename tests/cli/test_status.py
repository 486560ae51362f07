"""`gsrt status`: everything for programs, what matters for people."""

from __future__ import annotations

import json

from tests.cli.conftest import Run, ServerDouble

STATUS = {
    "version": "0.1.0",
    "pid": 4711,
    "host": "0.0.0.0",
    "port": 8784,
    "profile": "generic",
    "uptimeSeconds": 90061.0,
    "sessions": 1,
    "peersConnected": 2,
    "connections": 3,
    "links": 1,
    "counters": {"packets_in": 12345, "packets_dropped_stale": 0, "logins": 7},
    "perSession": [{"sessionId": "7f3a", "counters": {"packets_in": 12, "held": 0}, "links": {}}],
    "loop": {"ticks": 5, "worst_tick_ms": 1.23456},
}


def test_status_for_people_shows_what_has_happened(gsrt: Run, server: ServerDouble) -> None:
    server.answers["status"] = {"ok": True, **STATUS}
    assert gsrt("status").out == (
        "server       gsrt 0.1.0, process 4711, up for 1 d 1 h\n"
        "listens at   0.0.0.0:8784, TCP and UDP\n"
        "profile      generic\n"
        "plays        2 players in 1 session\n"
        "connections  3 connections, 1 link\n"
        "\n"
        "In total\n"
        "  packets_in  12345\n"
        "  logins          7\n"
        "\n"
        "Session 7f3a\n"
        "  packets_in  12\n"
        "\n"
        "Loop\n"
        "  ticks              5\n"
        "  worst_tick_ms  1.235\n"
    )


def test_status_of_a_server_where_nothing_has_happened(gsrt: Run, server: ServerDouble) -> None:
    server.answers["status"] = {"ok": True, **STATUS, "counters": {"packets_in": 0}, "perSession": [], "loop": {}}
    out = gsrt("status").out
    assert "In total: nothing yet" in out
    assert "Loop: nothing yet" in out


def test_what_is_asked_of_the_kernel_is_shown_with_what_came_of_it(gsrt: Run, server: ServerDouble) -> None:
    process = {"lock_memory": {"done": True, "why": "pages stay"}, "seccomp": {"done": False, "why": "no\x1bcall"}}
    server.answers["status"] = {"ok": True, **STATUS, "process": process}
    assert gsrt("status").out.endswith("\n\nProcess\n  lock_memory  pages stay\n  seccomp      no: no\\x1bcall\n")


def test_status_for_programs_is_everything(gsrt: Run, server: ServerDouble) -> None:
    server.answers["status"] = {"ok": True, **STATUS}
    assert json.loads(gsrt("status", "--json").out) == STATUS


def test_scripts_are_shown_with_their_session(gsrt: Run, server: ServerDouble) -> None:
    script = {"path": "/games/t\x1bag.py", "state": "running", "strikes": 1, "failures": 0, "longestMs": 2.5}
    session = {"sessionId": "7f3a", "counters": {"packets_in": 12}, "links": {}, "script": script}
    server.answers["status"] = {"ok": True, **STATUS, "perSession": [session]}
    out = gsrt("status").out
    assert "Session 7f3a\n  packets_in  12\n\nScript of 7f3a: /games/t" in out
    assert "ag.py, running\n  strikes      1\n  longestMs  2.5\n" in out
    assert "\x1b" not in out


def test_links_are_shown_with_what_is_known_of_the_way(gsrt: Run, server: ServerDouble) -> None:
    links = {"t\x1bom": {"rtt": 0.0415, "loss": 0.0, "datagram_bytes": 1200}}
    session = {"sessionId": "7f3a", "counters": {"packets_in": 12}, "links": links}
    server.answers["status"] = {"ok": True, **STATUS, "perSession": [session]}
    out = gsrt("status").out
    assert "\n\nLink of t\\x1bom (seconds, bytes)\n  rtt " in out
    assert "\n  datagram_bytes" in out


def test_a_game_is_shown_with_its_players_matches_store_and_events(gsrt: Run, server: ServerDouble) -> None:
    event = {"path": "/games/quiz/events/won.py", "state": "running", "events": 3, "strikes": 0}
    platform = {
        "game": "quiz",
        "playersOnline": 2,
        "connections": 3,
        "counters": {"requests": 13, "requests_failed": 0},
        "matches": {"running": 1, "tickets": 4},
        "store": {"store_writes": 5, "store_commit_worst_ms": 0.78283},
        "events": {"won": event},
    }
    server.answers["status"] = {"ok": True, **STATUS, "platform": platform}
    out = gsrt("status").out
    assert "\ngame         quiz: 2 online, 4 looking for a match\n\n" in out
    assert "\nPlayers\n  requests  13\n\nMatches\n  running  1\n  tickets  4\n\nStore\n  store_writes" in out
    assert "\nEvent won: /games/quiz/events/won.py, running\n  events  3\n\nLoop\n" in out


GOVERNOR = {
    "level": "normal",
    "causes": {},
    "reasons": [],
    "memoryBytes": 15_204_352,
    "memoryBytesMax": 67_108_864,
    "cpuPercent": 12.4,
    "temperatureCelsius": None,
}


def test_the_box_is_shown(gsrt: Run, server: ServerDouble) -> None:
    server.answers["status"] = {"ok": True, **STATUS, "governor": GOVERNOR}
    out = gsrt("status").out
    assert "box          all is well, 14 of 64 MiB of memory, 12 % of a core\n" in out
    assert "Attention" not in out


def test_what_strains_the_box_is_shown_with_what_to_do(gsrt: Run, server: ServerDouble) -> None:
    strained = {
        "level": "refusing",
        "causes": {"temperature": "refusing"},
        "reasons": ["the processor is too hot: give it air"],
        "temperatureCelsius": 84.2,
        "memoryBytes": None,
    }
    server.answers["status"] = {"ok": True, **STATUS, "governor": GOVERNOR | strained}
    out = gsrt("status").out
    assert "box          strained, nobody new is let in, 12 % of a core, 84 degrees Celsius\n" in out
    assert "\n\nAttention: the processor is too hot: give it air\n\n" in out
