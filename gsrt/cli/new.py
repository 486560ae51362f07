"""`gsrt new`: makes a game, a folder that can be served at once."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from gsrt.cli import CommandError, command_name
from gsrt.cli.text import printable


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the folder to make; the game is called as its last part")


def run(arguments: Namespace) -> int:
    from shlex import quote

    from gsrt.game.skeleton import SkeletonError, make_game

    try:
        files = make_game(arguments.name, os.urandom)
    except SkeletonError as error:
        raise CommandError(printable(str(error))) from None
    for name in files:
        print(os.path.join(arguments.name, name))
    print(f"\nRun it: {command_name()} serve {quote(arguments.name)}")
    return 0
