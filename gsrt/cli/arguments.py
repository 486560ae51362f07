"""Arguments that several subcommands share, and what they may hold."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError

from gsrt.cli import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.profile import Profile


def add_control(parser: ArgumentParser) -> None:
    """--control: `arguments.control` is the path given, or None."""
    parser.add_argument(
        "--control",
        metavar="PATH",
        help="the server's control socket (default: that of a server this user started, else the service's)",
    )


def add_json(parser: ArgumentParser) -> None:
    """--json: `arguments.json` is True or False."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")


def add_profile(parser: ArgumentParser) -> None:
    """--profile: whose limits are those of the server it is for."""
    parser.add_argument(
        "--profile",
        default="generic",
        metavar="NAME",
        help="limits: a name (gsrt profile list), auto for the one that suits this box, or a .toml file "
        "(default: %(default)s)",
    )


def load_profile(name: str) -> Profile:
    """The profile of this name or path. Raises CommandError."""
    from gsrt.profile import Profile, ProfileError

    try:
        return Profile.load(name)
    except ProfileError as error:
        raise CommandError(str(error)) from None


def locate_profile(name: str) -> tuple[str, str]:
    """The file of the profile of this name or path, and why it is that one ("" if named). Raises CommandError."""
    from gsrt.profile import ProfileError, locate

    try:
        return locate(name)
    except ProfileError as error:
        raise CommandError(str(error)) from None


def player_names(text: str) -> list[str]:
    """The names in "red,blue"; ArgumentTypeError if one is empty or there twice."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ArgumentTypeError("a player's name is missing; expected names with commas between them: red,blue")
    for name in names:
        if names.count(name) > 1:
            raise ArgumentTypeError(f"{name!r} is there twice; every player needs a name of their own")
    return names


def port_number(text: str) -> int:
    """A TCP and UDP port; 0 asks the system for a free one."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ArgumentTypeError(f"{text!r} is no port; expected a number from 0 to 65535")
    return int(text)
