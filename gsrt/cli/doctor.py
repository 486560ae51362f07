"""`gsrt doctor`: what is wrong with this box, its network and its server, and what to do about it."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_control, add_json, port_number
from gsrt.doctor.surroundings import PACKAGED_CONFIG, PACKAGED_STATE, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gsrt.doctor.finding import Finding


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("game", nargs="?", metavar="GAME", help="folder of the game that is to be served")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"the server's configuration (default: {PACKAGED_CONFIG}, if it is there and no GAME is given)",
    )
    parser.add_argument("--profile", metavar="NAME", help="limits: a name or a .toml file (default: the server's)")
    parser.add_argument("--port", type=port_number, metavar="N", help="TCP and UDP port (default: the server's)")
    add_control(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    from gsrt.cli.asking import ask, print_json
    from gsrt.doctor.examination import examine
    from gsrt.doctor.finding import FAIL, worst
    from gsrt.doctor.surroundings import Surroundings

    surroundings = Surroundings(settings_of(arguments), ask=ask)
    found: list[tuple[str, Finding]] = []
    for name, finding in examine(surroundings):
        found.append((name, finding))
        if not arguments.json:
            print(line(name, finding), flush=True)
    state = worst(finding.state for _, finding in found)
    if arguments.json:
        findings = [
            {"check": name, "state": each.state, "found": each.found, "todo": each.todo} for name, each in found
        ]
        print_json({"findings": findings, "worst": state})
    return 1 if state == FAIL else 0


def line(name: str, finding: Finding) -> str:
    """One line for people: "warn  clock: not synchronized  -> sudo timedatectl set-ntp true"."""
    todo = f"  -> {finding.todo}" if finding.todo else ""
    return f"{finding.state:4}  {name}: {finding.found}{todo}"


def settings_of(arguments: Namespace, packaged_config: str = PACKAGED_CONFIG) -> Settings:
    """What a server would be started with: the command line first, then the configuration, then what is usual."""
    from gsrt.cli.serve import default_state_dir
    from gsrt.config import ConfigError, read_config

    config = arguments.config
    if config is None and arguments.game is None and os.path.exists(packaged_config):
        config = packaged_config
    values: Mapping[str, Any] = {}
    error = ""
    if config is not None:
        try:
            values = read_config(config)
        except ConfigError as refused:
            error = "; ".join(refused.mistakes)
    usual_state = PACKAGED_STATE if config == packaged_config else default_state_dir()
    game = values.get("game") if arguments.game is None else os.path.abspath(arguments.game)
    return Settings(
        config=config,
        config_error=error,
        host=values.get("host", "0.0.0.0"),
        port=arguments.port or values.get("port"),
        port_given=bool(arguments.port),
        profile_given=arguments.profile is not None,
        profile=arguments.profile or values.get("profile", "generic"),
        game=game,
        script=values.get("script"),
        state=values.get("state", usual_state),
        control=arguments.control or values.get("control"),
        cert=values.get("cert"),
        key=values.get("key"),
    )
