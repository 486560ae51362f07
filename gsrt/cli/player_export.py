"""`gsrt player export`: everything that is known of a player, as one JSON document."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from gsrt.cli.players import Players, add_place, add_player

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def add_arguments(parser: ArgumentParser) -> None:
    add_player(parser)
    add_place(parser)


def run(arguments: Namespace) -> int:
    with Players(arguments) as players:
        print(json.dumps(_document(players, arguments.player), indent=2, ensure_ascii=False))
    return 0


def _document(players: Players, player: str) -> dict[str, Any]:
    """Section by section and page by page, each as it is when it is its turn."""
    from gsrt.backend.records import SECTIONS

    document: dict[str, Any] = {}
    for section in SECTIONS:
        rows: list[dict[str, Any]] = []
        offset: int | None = 0
        while offset is not None:
            request = {"do": "player.export", "player": player, "section": section, "offset": offset}
            page = players.ask(request)
            rows += page["rows"]
            offset = page["next"]
        if section == "player":
            (document[section],) = rows
            player = document[section]["id"]  # whoever gets that user name meanwhile
        else:
            document[section] = rows
    return document
