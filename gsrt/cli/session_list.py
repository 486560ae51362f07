"""`gsrt session list`: the open sessions, who is in, and by what."""

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
    rows = [("session", "age", "peer", "player", "state", "leg")]
    for session in sessions:
        first = session["sessionId"], duration(session["ageSeconds"])
        for player in session["players"]:
            rows.append((*first, player["peerId"], player["playerId"], player["state"], _leg(player)))
            first = "", ""
    return columns(rows, indent="")


def _leg(player: dict[str, Any]) -> str:
    """By what a player has come in; of a link how long the round trip takes."""
    milliseconds = player.get("roundTripMs")
    if milliseconds is None:
        return player["leg"] or ""
    return f"{player['leg']} {milliseconds:.{0 if milliseconds >= 10 else 1}f} ms"
