"""`gsrt serve`: runs the server in this process until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace

from gsrt import DEFAULT_PORT
from gsrt.cli import CommandError, command_name
from gsrt.cli.arguments import player_names, port_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Options:
    """What a server is started with."""

    __slots__ = (
        "cert",
        "command",
        "contain",
        "control",
        "control_group",
        "demo",
        "game",
        "host",
        "insecure_link",
        "key",
        "lock_memory",
        "metrics",
        "name",
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
        control_group: bool = False,
        metrics: str = "local",
        name: str | None = None,
        contain: bool = False,
        lock_memory: bool = False,
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
        self.control_group = control_group  # whether the control socket is the group's too
        self.metrics = metrics  # who may read /metrics: "off" (nobody), "local" (this machine), "all"
        self.name = name  # of this server, for those who look for one in the LAN; None: the machine's
        self.contain = contain  # whether to give up rights once everything is open
        self.lock_memory = lock_memory  # whether to keep all of it in RAM


def default_state_dir() -> str:
    """$STATE_DIRECTORY (set by systemd for the service), else gsrt/ where this user's programs keep their state."""
    service = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return service or os.path.join(home, "gsrt")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("game", nargs="?", metavar="GAME", help="folder of the game to serve (see gsrt new)")
    parser.add_argument(
        "--config", metavar="FILE", help="`key = value` lines; what stands on the command line goes first"
    )
    parser.add_argument("--host", help="address to listen at (default: 0.0.0.0, which is all of them)")
    parser.add_argument(
        "--port", type=port_number, metavar="N", help=f"TCP and UDP port (default: the game's, or {DEFAULT_PORT})"
    )
    parser.add_argument("--name", help="what players in the LAN see of this server (default: the machine's name)")
    parser.add_argument(
        "--control", metavar="PATH", help="where to make the control socket (default: in a directory of yours)"
    )
    _add_switch(parser, "--control-group", "whether the server's group may use the control socket, too")
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="limits: a name, auto for the one that suits this box, or a .toml file (default: generic)",
    )
    parser.add_argument(
        "--tick", type=_tick, metavar="MS", help="gather output for so many milliseconds (default: the profile's)"
    )
    _add_switch(
        parser,
        "--insecure-link",
        "let clients in that ask for a link without encryption: to measure, or for devices that cannot encrypt",
    )
    parser.add_argument("--cert", metavar="F", help="TLS certificate, PEM, with an RSA key (default: self-made)")
    parser.add_argument("--key", metavar="F", help="the certificate's private key, PEM")
    parser.add_argument(
        "--state", metavar="DIR", help="where to keep the self-made certificate (default: in a directory of yours)"
    )
    parser.add_argument(
        "--metrics", choices=("off", "local", "all"), help="who may read /metrics (default: local, this machine)"
    )
    _add_switch(parser, "--contain", "give up every right that is not needed any more once the server runs")
    _add_switch(parser, "--lock-memory", "keep the server's memory from being swapped out")
    parser.add_argument("--demo", type=player_names, metavar="red,blue", help="open a session for these at once")
    parser.add_argument("--script", metavar="FILE", help="what runs in every session that names no script of its own")


def run(arguments: Namespace) -> int:
    if (arguments.cert is None) != (arguments.key is None):
        raise CommandError("--cert and --key belong together: give both or none", status=2)
    settings: dict[str, Any] = {}
    if arguments.config is not None:
        from gsrt.config import ConfigError, read_config

        try:
            settings = dict(read_config(arguments.config))
        except ConfigError as refused:
            for mistake in refused.mistakes:
                print(mistake, file=sys.stderr)
            return 2
    from gsrt.profile import ProfileError
    from gsrt.service import serve
    from gsrt.transports.control import ControlError, default_path

    try:
        return serve(_options(arguments, settings, default_path))
    except (ProfileError, ControlError) as error:
        raise CommandError(str(error)) from None


def _options(arguments: Namespace, settings: dict[str, Any], default_control: Callable[[], str]) -> Options:
    """What the command line says, else the configuration, else what is usual."""

    def chosen(name: str, usual: Any = None, *, argument: str | None = None) -> Any:
        given = getattr(arguments, argument or name)
        return settings.get(name, usual) if given is None else given

    script, game = chosen("script"), chosen("game")
    return Options(
        host=chosen("host", "0.0.0.0"),
        port=chosen("port"),
        control=chosen("control") or default_control(),
        control_group=chosen("control_group", False),
        profile=chosen("profile", "generic"),
        tick_ms=chosen("tick_ms", argument="tick"),
        insecure_link=chosen("insecure_link", False),
        cert=chosen("cert"),
        key=chosen("key"),
        state_dir=chosen("state") or default_state_dir(),
        demo=arguments.demo,
        script=None if script is None else os.path.abspath(script),
        game=None if game is None else os.path.abspath(game),
        command=command_name(),
        metrics=chosen("metrics", "local"),
        name=chosen("name"),
        contain=chosen("contain", False),
        lock_memory=chosen("lock_memory", False),
    )


def _add_switch(parser: ArgumentParser, name: str, text: str) -> None:
    """NAME and --no-NAME: None where neither is given."""
    parser.add_argument(name, action=BooleanOptionalAction, help=text)


def _tick(text: str) -> float:
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = -1.0
    if not 0 <= milliseconds <= 100:
        raise ArgumentTypeError(f"{text!r} is no tick; expected milliseconds from 0 to 100")
    return milliseconds
