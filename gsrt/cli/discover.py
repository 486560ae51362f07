"""`gsrt discover`: the servers on this network."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from gsrt import DEFAULT_PORT
from gsrt.cli import CommandError
from gsrt.cli.arguments import add_json, port_number
from gsrt.cli.asking import print_json
from gsrt.cli.text import columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.client.discovery import Found

SECONDS_MAX = 3600.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=_seconds, default=2.0, metavar="S", help="how long to wait for answers (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=DEFAULT_PORT,
        metavar="N",
        help="where servers are asked; others are found by their beacons, which takes longer (default: %(default)s)",
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    from gsrt.client.discovery import discover
    from gsrt.discovery import BEACON_PORT

    try:
        found = discover(arguments.seconds, arguments.port)
    except OSError as error:
        raise CommandError(f"the network cannot be asked: {error.strerror}") from None
    if arguments.json:
        print_json({"servers": [{name: getattr(each, name) for name in each.__slots__} for each in found]})
    elif found:
        print(
            columns(
                [("server", "host", "port", "game", "players", "sessions", "version"), *map(_row, found)], indent=""
            )
        )
    else:
        raise CommandError(
            f"no server has answered within {arguments.seconds:g} s. Is one running in this network, with a --host that"
            f" others can reach? Do firewalls let UDP through, there port {arguments.port}, here port {BEACON_PORT}?"
            " Wi-Fi for guests keeps devices apart"
        )
    return 0 if found else 1


def _row(found: Found) -> tuple[object, ...]:
    return found.name, found.host, found.port, found.game or "-", found.players, found.sessions, found.version


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= SECONDS_MAX:
        raise ArgumentTypeError(f"{text!r} is no time; expected seconds, up to {SECONDS_MAX:g}")
    return seconds
