"""`gsrt serve`: runs the server in this process until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from gsrt import DEFAULT_PORT
from gsrt.cli import CommandError, command_name
from gsrt.cli.arguments import player_names, port_number


class Options:
    """What a server is started with."""

    __slots__ = (
        "cert",
        "command",
        "control",
        "demo",
        "game",
        "host",
        "insecure_link",
        "key",
        "port",
        "profile",
        "script",
        "state_dir",
        "tick_ms",
    )

    def __init__(
        self,
        *,
        control: str,
        state_dir: str,
        host: str = "0.0.0.0",
        port: int | None = None,
        profile: str = "generic",
        tick_ms: float | None = None,
        insecure_link: bool = False,
        cert: str | None = None,
        key: str | None = None,
        demo: list[str] | None = None,
        script: str | None = None,
        game: str | None = None,
        command: str = "gsrt",
    ) -> None:
        self.host = host  # the address to listen at
        self.port = port  # one number for TCP and UDP; 0: any free one; None: the game's, or the usual one
        self.control = control  # path of the control socket
        self.profile = profile  # name or path of the firmware profile
        self.tick_ms = tick_ms  # milliseconds; None: as the profile says
        self.insecure_link = insecure_link  # whether links without encryption are let in
        self.cert = cert  # paths of a certificate and its key, PEM; both or none
        self.key = key
        self.state_dir = state_dir  # directory for what has to outlive the process: the certificate the server makes
        self.demo = demo  # players of a session to open at once; None: no such session
        self.script = script  # path of the script of sessions that name no other; None: they have none
        self.game = game  # path of the game's folder; None: sessions are made by the operator only
        self.command = command  # what to type for `gsrt` on this machine


def default_state_dir() -> str:
    """$STATE_DIRECTORY (set by systemd for the service), else gsrt/ where this user's programs keep their state."""
    service = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return service or os.path.join(home, "gsrt")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("game", nargs="?", metavar="GAME", help="folder of the game to serve (see gsrt new)")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen at (default: %(default)s)")
    parser.add_argument(
        "--port", type=port_number, metavar="N", help=f"TCP and UDP port (default: the game's, or {DEFAULT_PORT})"
    )
    parser.add_argument(
        "--control", metavar="PATH", help="where to make the control socket (default: in a directory of yours)"
    )
    parser.add_argument(
        "--profile", default="generic", metavar="NAME", help="limits: a name or a .toml file (default: %(default)s)"
    )
    parser.add_argument(
        "--tick", type=_tick, metavar="MS", help="gather output for so many milliseconds (default: the profile's)"
    )
    parser.add_argument(
        "--insecure-link",
        action="store_true",
        help="let clients in that ask for a link without encryption: to measure, or for devices that cannot encrypt",
    )
    parser.add_argument("--cert", metavar="F", help="TLS certificate, PEM, with an RSA key (default: self-made)")
    parser.add_argument("--key", metavar="F", help="the certificate's private key, PEM")
    parser.add_argument(
        "--state", metavar="DIR", help="where to keep the self-made certificate (default: in a directory of yours)"
    )
    parser.add_argument("--demo", type=player_names, metavar="red,blue", help="open a session for these at once")
    parser.add_argument("--script", metavar="FILE", help="what runs in every session that names no script of its own")


def run(arguments: Namespace) -> int:
    if (arguments.cert is None) != (arguments.key is None):
        raise CommandError("--cert and --key belong together: give both or none", status=2)
    from gsrt.profile import ProfileError
    from gsrt.server import serve
    from gsrt.transports.control import ControlError, default_path

    try:
        return serve(
            Options(
                host=arguments.host,
                port=arguments.port,
                control=arguments.control or default_path(),
                profile=arguments.profile,
                tick_ms=arguments.tick,
                insecure_link=arguments.insecure_link,
                cert=arguments.cert,
                key=arguments.key,
                state_dir=arguments.state or default_state_dir(),
                demo=arguments.demo,
                script=None if arguments.script is None else os.path.abspath(arguments.script),
                game=None if arguments.game is None else os.path.abspath(arguments.game),
                command=command_name(),
            )
        )
    except (ProfileError, ControlError) as error:
        raise CommandError(str(error)) from None


def _tick(text: str) -> float:
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = -1.0
    if not 0 <= milliseconds <= 100:
        raise ArgumentTypeError(f"{text!r} is no tick; expected milliseconds from 0 to 100")
    return milliseconds
