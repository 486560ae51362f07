"""`gsrt restore`: a backup in the place of what a game remembers."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from gsrt.cli import CommandError
from gsrt.cli.text import printable


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("game", metavar="GAME", help="the game's folder; no server may have it open")
    parser.add_argument("file", metavar="FILE", help="what `gsrt backup` has written")


def run(arguments: Namespace) -> int:
    from time import localtime, strftime, time

    from gsrt.store.copying import restore
    from gsrt.store.database import path_in
    from gsrt.store.errors import StoreError

    if not os.path.exists(os.path.join(arguments.game, "game.toml")):
        raise CommandError(f"{arguments.game}: there is no game.toml here; name a game's folder")
    stamp = strftime("%Y%m%d-%H%M%S", localtime(time()))
    try:
        aside = restore(path_in(arguments.game), arguments.file, stamp)
    except StoreError as error:
        raise CommandError(str(error)) from None
    print(f"restored {printable(arguments.game)} from {printable(arguments.file)}")
    if aside is not None:
        print(f"what was there before is now {printable(aside)}; remove it when it is not needed any more")
    return 0
