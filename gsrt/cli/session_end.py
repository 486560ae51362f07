"""`gsrt session end`: ends a session."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_control
from gsrt.cli.asking import ask


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("session", metavar="SESSION", help="its id, as `gsrt session list` shows it")
    add_control(parser)


def run(arguments: Namespace) -> int:
    ask(arguments.control, {"do": "session.end", "sessionId": arguments.session})
    print(f"Session {arguments.session} has ended; its players are disconnected and their tokens worth nothing.")
    return 0
