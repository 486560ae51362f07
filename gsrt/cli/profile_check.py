"""`gsrt profile check`: everything that is wrong with firmware profiles, each with its line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_json, locate_profile
from gsrt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.profile_check import Checked, Finding


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="a .toml file, or the name of a profile")
    add_json(parser)


def run(arguments: Namespace) -> int:
    from gsrt.profile_check import Checked

    checked = [Checked(locate_profile(file)[0]) for file in arguments.files]
    if arguments.json:
        from gsrt.cli.asking import print_json

        print_json({"ok": not any(each.mistakes for each in checked), "files": list(map(_plain, checked))})
    else:
        for each in checked:
            for line in _shown(each):
                print(printable(line))
    return 1 if any(each.mistakes for each in checked) else 0


def _shown(checked: Checked) -> list[str]:
    lines = [f"{_place(checked, each)}: {each.text}" for each in checked.mistakes]
    lines += [f"{_place(checked, each)}: warning: {each.text}" for each in checked.warnings]
    return lines if checked.mistakes else [*lines, f"{checked.path}: ok"]


def _place(checked: Checked, finding: Finding) -> str:
    return f"{checked.path}:{finding.line}" if finding.line else checked.path


def _plain(checked: Checked) -> dict[str, Any]:
    def plain(finding: Finding) -> dict[str, Any]:
        return {"line": finding.line, "key": finding.key, "text": finding.text}

    return {
        "file": checked.path,
        "ok": not checked.mistakes,
        "mistakes": list(map(plain, checked.mistakes)),
        "warnings": list(map(plain, checked.warnings)),
    }
