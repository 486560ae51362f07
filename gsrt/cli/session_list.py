"""`gsrt session list`: the open sessions, and who is in."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_control, add_json
from gsrt.cli.asking import ask, show
from gsrt.cli.text import columns, duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def add_arguments(parser: ArgumentParser) -> None:
    add_json(parser)
    add_control(parser)


def run(arguments: Namespace) -> int:
    return show(ask(arguments.control, {"do": "session.list"}), arguments, _describe)


def _describe(answer: dict[str, Any]) -> str:
    sessions = answer["sessions"]
    if not sessions:
        return "No session is open. To open one: gsrt session create --players red,blue"
    rows = [("session", "age", "peer", "player", "state")]
    for session in sessions:
        first = session["sessionId"], duration(session["ageSeconds"])
        for player in session["players"]:
            rows.append((*first, player["peerId"], player["playerId"], player["state"]))
            first = "", ""
    return columns(rows, indent="")
