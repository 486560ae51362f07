"""`gsrt profile list`: which firmware profiles there are, and which one suits this box."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_json
from gsrt.cli.text import columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.profile import Profile

HEADINGS = ("", "name", "MiB", "sessions", "players", "for")


def add_arguments(parser: ArgumentParser) -> None:
    parser.epilog = "MiB: the memory (RSS) that the server stays below. *: what `--profile auto` takes on this box."
    add_json(parser)


def run(arguments: Namespace) -> int:
    from gsrt.device.model import choose_here
    from gsrt.profile import Profile, available, locate
    from gsrt.profile_memory import MIB

    chosen, why = choose_here()
    found = sorted(map(Profile.load, available()), key=_size)
    if arguments.json:
        from gsrt.cli.asking import print_json

        listed = [
            {
                "name": each.name,
                "for": _purpose(locate(each.name)[0]),
                "memoryBytesMax": each.memory_bytes_max,
                "sessionsMax": each.sessions_max,
                "playersMax": each.players_max,
            }
            for each in found
        ]
        print_json({"profiles": listed, "auto": chosen, "why": why})
        return 0
    rows = [
        (
            "*" if each.name == chosen else "",
            each.name,
            each.memory_bytes_max // MIB,
            each.sessions_max,
            each.players_max,
            _purpose(locate(each.name)[0]),
        )
        for each in found
    ]
    print(columns([HEADINGS, *rows], indent=""))
    print(f"\n* auto takes {chosen}, for {why}.")
    print("Without --profile the server takes generic. `gsrt profile show NAME` tells what each number means.")
    return 0


def _size(profile: Profile) -> tuple[int, int, int]:
    return profile.memory_bytes_max, profile.players_max, profile.packets_per_second


def _purpose(path: str) -> str:
    """What a profile is for: the first line of its file."""
    with open(path, encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip().removesuffix(".")
