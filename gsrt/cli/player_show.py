"""`gsrt player show`: one player's account, and what the player has."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_json
from gsrt.cli.asking import show
from gsrt.cli.players import Players, add_place, add_player, date
from gsrt.cli.text import columns, duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


KEPT = {"signIns": "devices signed in"}  # section of what is kept: as it is shown, if otherwise than it is called


def add_arguments(parser: ArgumentParser) -> None:
    add_player(parser)
    add_json(parser)
    add_place(parser)


def run(arguments: Namespace) -> int:
    with Players(arguments) as players:
        answer = players.ask({"do": "player.show", "player": arguments.player})
    return show(answer, arguments, _describe)


def _describe(player: dict[str, Any]) -> str:
    rows = [
        ("player", player["playerId"]),
        ("name", player["displayName"]),
        ("user name", player["userName"] or "none: signs in by device"),
        ("language", player["language"] or "-"),
        ("made", date(player["created"])),
        ("last seen", "online" if player["online"] else date(player["seen"])),
        ("devices", _joined(f"{each['deviceOs']} {each['deviceId']}" for each in player["devices"])),
        ("currencies", _joined(f"{amount} {code}" for code, amount in player["currencies"].items())),
        ("goods", _joined(f"{amount} {code}" for code, amount in player["virtualGoods"].items())),
        ("achievements", _joined(player["achievements"])),
        ("segments", _joined(f"{name}: {value}" for name, value in player["segments"].items())),
        ("kept", _joined(f"{amount} {KEPT.get(name, name)}" for name, amount in player["counts"].items() if amount)),
    ]
    if player["lockedSeconds"]:
        rows.insert(3, ("locked", f"for {duration(player['lockedSeconds'])} more, after too many wrong passwords"))
    return columns(rows, indent="")


def _joined(texts: Any) -> str:
    return ", ".join(map(str, texts)) or "-"
