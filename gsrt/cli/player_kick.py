"""`gsrt player kick`: puts one player out of a session."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_control
from gsrt.cli.asking import ask
from gsrt.cli.text import printable


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("session", metavar="SESSION", help="its id, as `gsrt session list` shows it")
    parser.add_argument("player", metavar="PLAYER", help="the player's name, not the peer number")
    add_control(parser)


def run(arguments: Namespace) -> int:
    ask(arguments.control, {"do": "player.kick", "sessionId": arguments.session, "player": arguments.player})
    print(f"{printable(arguments.player)} is out of session {arguments.session}; the token lets nobody in any more.")
    return 0
