"""`gsrt player netsim SESSION PLAYER CONDITIONS`: a bad network before one player of a running session."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli import CommandError
from gsrt.cli.arguments import add_control
from gsrt.cli.asking import ask
from gsrt.cli.text import printable
from gsrt.netsim.conditions import PRESETS

EPILOG = """CONDITIONS are those of gsrt netsim, in words: "loss=5% delay=30ms", or the name of a preset. They
hold for each direction of the player's datagrams, over a link or by UDP, until the player leaves or --off; a TCP
connection is not touched."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("session", metavar="SESSION", help="its id, as `gsrt session list` shows it")
    parser.add_argument("player", metavar="PLAYER", help="the player's name, not the peer number")
    parser.add_argument("conditions", metavar="CONDITIONS", nargs="?", help=f"or a preset: {', '.join(PRESETS)}")
    parser.add_argument("--up", metavar="CONDITIONS", default="", help="others on the way to the server")
    parser.add_argument("--down", metavar="CONDITIONS", default="", help="others on the way to the player")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="another one, other datagrams are lost")
    parser.add_argument("--off", action="store_true", help="take the bad network away")
    add_control(parser)


def run(arguments: Namespace) -> int:
    request = {"do": "player.netsim", "sessionId": arguments.session, "player": arguments.player}
    name = printable(arguments.player)
    if arguments.off:
        ask(arguments.control, {**request, "off": True})
        print(f"{name} plays without a bad network again")
        return 0
    if not (arguments.conditions or arguments.up or arguments.down):
        raise CommandError("say which conditions, such as 'loss=5% delay=30ms' or bad-wifi, or --off", 2)
    both = arguments.conditions or ""
    answer = ask(
        arguments.control,
        {**request, "up": f"{both} {arguments.up}", "down": f"{both} {arguments.down}", "seed": arguments.seed},
    )
    print(f"{name} plays over a bad network now, until --off")
    print(f"up: {answer['up']}")
    print(f"down: {answer['down']}")
    return 0
