"""`gsrt netsim SERVER_HOST PORT --preset bad-wifi`: a bad network between any game and any server."""

from __future__ import annotations

import selectors
import signal
import sys
from argparse import ArgumentTypeError
from functools import partial

from gsrt.cli import CommandError
from gsrt.cli.arguments import port_number
from gsrt.netsim.conditions import CONDITIONS, PRESETS, Conditions, ConditionsError, preset, read_condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

LISTEN = "127.0.0.1:9784"
EVERY_MIN, EVERY_MAX = 0.1, 86_400.0  # seconds
SIGNALS_MAX = 64  # taken note of at once

EPILOG = """Every condition holds for each direction: with --delay 30ms a round trip takes 60 ms more. --up and
--down change them for one direction, in the words of the conditions: --down "loss=10% rate=2mbit". UDP meets all
of them. TCP connections to the same port meet delay, jitter and rate only: nothing is lost, and no blackout stops
them, so a game over TCP looks better here than it does on such a network. Only the server that is named is
reached. Ctrl-C ends it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `gsrt netsim` takes on its command line."""
    parser.epilog = EPILOG
    parser.add_argument("host", metavar="SERVER_HOST", help="where the server runs")
    parser.add_argument("port", metavar="PORT", type=_port, help="its port, of UDP and of TCP")
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=_host_and_port,
        default=LISTEN,
        help="where to point the game to; 0.0.0.0:9784 lets other devices in (default: %(default)s)",
    )
    parser.add_argument(
        "--preset", metavar="NAME", type=_checked(preset), help=f"conditions with a name: {', '.join(PRESETS)}"
    )
    for key, condition in CONDITIONS.items():
        parser.add_argument(
            f"--{key.replace('_', '-')}",
            dest=f"condition_{key}",
            metavar=condition.example.upper() if condition.example.isalpha() else condition.example,
            type=_checked(partial(read_condition, key)),
            help=condition.meaning.replace("%", "%%"),
        )
    parser.add_argument("--up", metavar="CONDITIONS", default="", help="others on the way to the server")
    parser.add_argument("--down", metavar="CONDITIONS", default="", help="others on the way to the game")
    parser.add_argument(
        "--seed", metavar="N", type=int, default=0, help="another one, other datagrams are lost (default: %(default)s)"
    )
    parser.add_argument("--every", metavar="SECONDS", type=_seconds, help="print what has happened that often")


def run(arguments: argparse.Namespace) -> int:
    """Forward until Ctrl-C or SIGTERM. 0: ended in order."""
    from gsrt.netsim.proxy import Proxy, describe_statistics
    from gsrt.waking import woken_by_signals

    up, down = conditions_of(arguments)
    server = (arguments.host, arguments.port)
    try:
        proxy = Proxy(arguments.listen, server, up, down, arguments.seed)
    except OSError as error:
        raise CommandError(
            f"cannot forward from {_spelled(arguments.listen)} to {_spelled(server)}: {error}; --listen says where the "
            "game comes in, SERVER_HOST and PORT say where the server is"
        ) from None
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    waker, wakes = woken_by_signals()
    try:
        proxy.selector.register(waker, selectors.EVENT_READ, lambda mask, now: waker.recv(SIGNALS_MAX))
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print(f"forwarding from {_spelled(proxy.address)} to {_spelled(server)}; seed {arguments.seed}; Ctrl-C ends it")
        print(f"up: {up}")
        print(f"down: {down}")
        while True:
            proxy.run(arguments.every or EVERY_MAX)
            if arguments.every:
                print(describe_statistics(proxy.statistics()))
    except KeyboardInterrupt:
        print(describe_statistics(proxy.statistics()))
        return 0
    finally:
        signal.set_wakeup_fd(-1)
        proxy.close()
        waker.close()
        wakes.close()


def conditions_of(arguments: argparse.Namespace) -> tuple[Conditions, Conditions]:
    """To the server, and to the game. Raises CommandError."""
    try:
        values = (arguments.preset or Conditions()).values()
        for key in CONDITIONS:
            values.update(getattr(arguments, f"condition_{key}") or {})
        both = Conditions(**values)
        return Conditions.parse(arguments.up, both), Conditions.parse(arguments.down, both)
    except ConditionsError as error:
        raise CommandError(str(error), status=2) from None


def _checked(read: Callable[[str], object]) -> Callable[[str], object]:
    """The same for argparse, which shows no message but its own kind's."""

    def checked(text: str) -> object:
        try:
            return read(text)
        except ConditionsError as error:
            raise ArgumentTypeError(str(error)) from None

    return checked


def _port(text: str) -> int:
    number = port_number(text)
    if number == 0:
        raise ArgumentTypeError("port 0 is no server's; give the port that the server printed when it started")
    return number


def _host_and_port(text: str) -> tuple[str, int]:
    """From "127.0.0.1:9784" or "[::1]:9784"; ":9784" is all addresses of this machine."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ArgumentTypeError(f"{text!r} is not HOST:PORT, such as {LISTEN}")
    return host.strip("[]") or "0.0.0.0", port_number(port)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not EVERY_MIN <= seconds <= EVERY_MAX:
        raise ArgumentTypeError(f"{text!r} is no number of seconds from {EVERY_MIN:g} to {EVERY_MAX:g}")
    return seconds


def _spelled(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
