"""`gsrt profile show`: every key of a firmware profile with what it means."""

from __future__ import annotations

import textwrap
from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_json, load_profile, locate_profile
from gsrt.cli.text import amount, plain, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsrt.profile import Profile

COLUMNS = 100
USUAL = "generic"  # whose numbers others are compared with


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "profile",
        metavar="PROFILE",
        nargs="?",
        default=USUAL,
        help="a name, auto for the one that suits this box, or a .toml file (default: %(default)s)",
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    from gsrt.profile import LIMITS
    from gsrt.profile_memory import worst_memory
    from gsrt.profile_schema import KEYS

    profile = load_profile(arguments.profile)
    path = locate_profile(arguments.profile)[0]
    values = {key: getattr(profile, key) for key in KEYS}
    if not arguments.json:
        for line in _lines(profile, path):
            print(line)
        return 0
    from gsrt.cli.asking import print_json

    keys = {
        name: {
            "value": values[name],
            "unit": key.unit,
            "group": key.group,
            "text": key.text,
            "from": LIMITS[name][0],
            "to": LIMITS[name][1],
        }
        for name, key in KEYS.items()
    }
    memory = [{"what": part.what, "bytes": part.bytes} for part in worst_memory(values)]
    print_json({"name": profile.name, "file": path, "chosen": profile.chosen, "keys": keys, "memory": memory})
    return 0


def _lines(profile: Profile, path: str) -> Iterator[str]:
    from gsrt.profile import LIMITS, Profile
    from gsrt.profile_memory import MIB, worst_memory
    from gsrt.profile_schema import GROUPS, KEYS

    usual = Profile.load(USUAL)
    yield f"{printable(profile.name)}: {printable(path)}"
    if profile.chosen:
        yield from _wrapped(f"auto takes it, for {profile.chosen}.", "")
    for group, about in GROUPS.items():
        yield ""
        yield group
        yield from _wrapped(about, "  ")
        for name, key in KEYS.items():
            if key.group != group:
                continue
            value, other = getattr(profile, name), getattr(usual, name)
            compared = "" if value == other else f"   ({USUAL}: {plain(other)})"
            smallest, largest = LIMITS[name]
            yield ""
            yield f"  {name} = {amount(value, key.unit)}{compared}"
            yield from _wrapped(f"{key.text} From {plain(smallest)} to {plain(largest)}.", "      ")
    parts = worst_memory({name: getattr(profile, name) for name in KEYS})
    yield ""
    yield f"Memory, everything at its limit at once (memory_bytes_max: {profile.memory_bytes_max / MIB:.1f} MiB)"
    yield ""
    for part in parts:
        yield f"  {part.bytes / MIB:8.1f} MiB  {part.what}"
    yield f"  {sum(part.bytes for part in parts) / MIB:8.1f} MiB  in all"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        printable(text), COLUMNS, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
