"""`gsrt config check`: what in a configuration file, and in the files that it names, would keep a server from starting,
before one is restarted with it: the server that runs is gone by the time the next one refuses."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_json
from gsrt.cli.text import printable
from gsrt.doctor.surroundings import PACKAGED_CONFIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", default=PACKAGED_CONFIG, metavar="FILE", help="`key = value` lines (default: %(default)s)"
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    found = mistakes(arguments.file)
    if arguments.json:
        from gsrt.cli.asking import print_json

        print_json({"ok": not found, "mistakes": found})
    else:
        for each in found or [f"{arguments.file}: ok"]:
            print(printable(each))
    return 2 if found else 0  # as `gsrt serve` ends


def mistakes(path: str) -> list[str]:
    """In the file, and in the profile, the game and the certificate that it names; a line each."""
    from gsrt.config import ConfigError, read_config
    from gsrt.game.model import GameError
    from gsrt.game.reading import read_game
    from gsrt.profile import Profile, ProfileError
    from gsrt.transports.certificate import CertificateError, check_pair

    try:
        values: dict[str, Any] = read_config(path)
        profile = Profile.load(values.get("profile", "generic"))
    except (ConfigError, ProfileError) as refused:
        return str(refused).splitlines()
    found = []
    if "game" in values:
        try:
            read_game(values["game"], profile)
        except GameError as refused:
            found += str(refused).splitlines()
    if "cert" in values:
        try:
            check_pair(values["cert"], values["key"])
        except CertificateError as refused:
            found.append(str(refused))
    return found
