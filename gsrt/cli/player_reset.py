"""`gsrt player reset`: lets a player in again who has lost the password, or whose password somebody else has."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_json
from gsrt.cli.asking import print_json
from gsrt.cli.players import Players, add_place, add_player
from gsrt.cli.text import printable


def add_arguments(parser: ArgumentParser) -> None:
    add_player(parser)
    parser.add_argument("--unlock-only", action="store_true", help="the password and the player's devices stay")
    add_json(parser)
    add_place(parser)


def run(arguments: Namespace) -> int:
    request = {"do": "player.reset", "player": arguments.player, "unlockOnly": arguments.unlock_only}
    with Players(arguments) as players:
        answer = players.ask(request)
    if arguments.json:
        print_json(answer)
        return 0
    player = printable(answer["userName"] or answer["playerId"])
    if arguments.unlock_only:
        print(f"{player} is not locked any more.")
    elif answer["userName"] is None:
        print(f"{player} has no password; the player's devices have to sign in again.")
    else:
        print(f"The password of {player} is now {answer['password']}; nobody is signed in with the old one any more.")
    return 0
