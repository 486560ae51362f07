"""`gsrt backup`: a copy of what the running server remembers."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_control, add_json
from gsrt.cli.asking import ask, show
from gsrt.cli.text import printable

BACKUP_SECONDS = 3600.0  # a slow card, a large database, and players who come first


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="where the copy goes; a backup that is there already is replaced")
    add_json(parser)
    add_control(parser)


def run(arguments: Namespace) -> int:
    path = os.path.abspath(arguments.file)  # the server may work in another folder
    answer = ask(arguments.control, {"do": "backup", "file": path}, BACKUP_SECONDS)
    return show(answer, arguments, lambda made: f"{printable(made['file'])}: {made['bytes']:,} bytes")
