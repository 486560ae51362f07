"""`gsrt check`: everything that is wrong with a game's folder, each with its place and what was expected."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_json, add_profile, load_profile
from gsrt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.game.model import Game, Mistake


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("game", metavar="GAME", help="the folder of a game")
    add_profile(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    from gsrt.game.model import GameError
    from gsrt.game.reading import read_game

    profile = load_profile(arguments.profile)
    game: Game | None = None
    mistakes: list[Mistake] = []
    try:
        game = read_game(arguments.game, profile, every_script=True)
    except GameError as error:
        mistakes = error.mistakes
    if arguments.json:
        from gsrt.cli.asking import print_json

        shown = [{name: getattr(each, name) for name in ("path", "line", "key", "text")} for each in mistakes]
        print_json({"ok": game is not None, "mistakes": shown})
    elif game is None:
        for each in mistakes:
            print(printable(str(each)))
    else:
        print(f"{printable(arguments.game)}: ok: {_summary(game)}")
    return 0 if game is not None else 1


def _summary(game: Game) -> str:
    amounts = (
        (game.matches, "match", "matches"),
        (game.events, "event", "events"),
        (game.leaderboards, "leaderboard", "leaderboards"),
        (game.achievements, "achievement", "achievements"),
        (game.currencies, "currency", "currencies"),
        (game.goods, "good", "goods"),
    )
    return ", ".join(f"{len(things)} {one if len(things) == 1 else many}" for things, one, many in amounts)
