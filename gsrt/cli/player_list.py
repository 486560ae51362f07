"""`gsrt player list`: the players of a game."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_json
from gsrt.cli.asking import show
from gsrt.cli.players import Players, add_place, date, whole_number
from gsrt.cli.text import columns, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--name", metavar="TEXT", help="only those who have it in a name")
    parser.add_argument("--most", metavar="N", type=whole_number, help="how many, the newest first (default: 50)")
    parser.add_argument("--after", metavar="PLAYER", help="those who follow after the player with that id")
    add_json(parser)
    add_place(parser)


def run(arguments: Namespace) -> int:
    request = {"do": "player.list"}
    request |= {
        key: getattr(arguments, key) for key in ("name", "most", "after") if getattr(arguments, key) is not None
    }
    with Players(arguments) as players:
        answer = players.ask(request)
    return show(answer, arguments, _describe)


def _describe(answer: dict[str, Any]) -> str:
    players = answer["players"]
    if not players:
        return (
            f"No such player among {count(answer['all'], 'player')}." if answer["all"] else "There are no players yet."
        )
    rows = [("player", "name", "user name", "devices", "last seen", "")]
    for each in players:
        state = "locked" if each["locked"] else "online" if each["online"] else ""
        user_name = each["userName"] or "-"
        rows.append((each["playerId"], each["displayName"], user_name, each["devices"], date(each["seen"]), state))
    more = f"{len(players)} of {count(answer['all'], 'player')}"
    return columns(rows, indent="") + f"\n\n{more}"
