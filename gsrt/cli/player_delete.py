"""`gsrt player delete`: removes a player and everything that is known of that player."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli import CommandError
from gsrt.cli.arguments import add_json
from gsrt.cli.asking import show
from gsrt.cli.players import Players, add_place, add_player
from gsrt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def add_arguments(parser: ArgumentParser) -> None:
    add_player(parser)
    parser.add_argument("--yes", action="store_true", help="do it: there is no way back")
    add_json(parser)
    add_place(parser)


def run(arguments: Namespace) -> int:
    if not arguments.yes:
        raise CommandError(
            "everything that is known of the player would be gone for good: add --yes to do it, or look first with "
            "`gsrt player show` or `gsrt player export`",
            2,
        )
    with Players(arguments) as players:
        answer = players.ask({"do": "player.delete", "player": arguments.player})
    return show(answer, arguments, _describe)


def _describe(answer: dict[str, Any]) -> str:
    return f"{printable(answer['displayName'])} ({answer['playerId']}) and all that was known of them is gone."
