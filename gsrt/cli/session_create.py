"""`gsrt session create`: opens a session and prints each player's access token."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from gsrt.cli import command_name
from gsrt.cli.arguments import add_control, add_json, player_names
from gsrt.cli.asking import ask, show
from gsrt.cli.text import columns, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--players", type=player_names, required=True, metavar="red,blue", help="who will play, peer 1 first"
    )
    parser.add_argument("--host", help="the address players shall connect to (default: the server's own)")
    parser.add_argument("--script", metavar="FILE", help="what runs in the session (default: what `serve` was given)")
    parser.add_argument("--record", metavar="FILE", help="write down what comes to the script, for `gsrt script run`")
    add_json(parser)
    add_control(parser)


def run(arguments: Namespace) -> int:
    request = {"do": "session.create", "players": arguments.players}
    if arguments.host is not None:
        request["host"] = arguments.host
    for name in ("script", "record"):
        path = getattr(arguments, name)
        if path is not None:
            request[name] = os.path.abspath(path)
    answer = ask(arguments.control, request)
    return show(answer, arguments, describe)


def describe(answer: dict[str, Any]) -> str:
    """The session of ANSWER (as `session.create` gives it) for people: who gets which token, and how to try it."""
    host, port, players = answer["host"], answer["port"], answer["players"]
    rows = [("player", "peer", "access token")]
    rows += [(player["playerId"], player["peerId"], player["accessToken"]) for player in players]
    joins = "\n".join(f"  {command_name()} join {host} {port} {player['accessToken']}" for player in players)
    return (
        f"Session {answer['sessionId']} is open at {host}:{port} for {count(len(players), 'player')}.\n\n"
        f"{columns(rows)}\n\n"
        "Give each player's client the host, the port and that player's token. To try it, each in a terminal:\n\n"
        f"{joins}"
    )
