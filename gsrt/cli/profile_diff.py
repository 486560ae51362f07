"""`gsrt profile diff`: where two firmware profiles differ."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_json, load_profile
from gsrt.cli.text import columns, printable


def add_arguments(parser: ArgumentParser) -> None:
    for name in ("first", "second"):
        parser.add_argument(name, metavar="PROFILE", help="a name, auto, or a .toml file")
    add_json(parser)


def run(arguments: Namespace) -> int:
    from gsrt.profile_schema import KEYS

    first, second = load_profile(arguments.first), load_profile(arguments.second)
    differing = {
        name: (getattr(first, name), getattr(second, name), key.unit)
        for name, key in KEYS.items()
        if getattr(first, name) != getattr(second, name)
    }
    if arguments.json:
        from gsrt.cli.asking import print_json

        shown = {name: {"first": one, "second": other, "unit": unit} for name, (one, other, unit) in differing.items()}
        print_json({"first": first.name, "second": second.name, "keys": shown})
        return 0
    if not differing:
        print(f"{printable(first.name)} and {printable(second.name)} do not differ")
        return 0
    rows = [(name, _number(one), _number(other), unit) for name, (one, other, unit) in differing.items()]
    print(columns([("key", first.name, second.name, "unit"), *rows], indent=""))
    return 0


def _number(value: float) -> float:
    return int(value) if value == int(value) else value
