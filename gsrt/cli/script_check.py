"""`gsrt script check`: whether the server would take a script; if not, every reason, with what to write instead."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from gsrt.cli import CommandError
from gsrt.cli.arguments import add_json
from gsrt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.profile import Profile
    from gsrt.scripts.compiler import Compiled, Problem

SHOWN_COLUMNS = 100  # of a source line, around the place that is wrong


def add_profile(parser: ArgumentParser) -> None:
    """--profile: whose limits are those of the server that is to run the script."""
    parser.add_argument(
        "--profile", default="generic", metavar="NAME", help="limits: a name or a .toml file (default: %(default)s)"
    )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="a script")
    add_profile(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    bytes_max = load_profile(arguments.profile).script_source_bytes
    checked = [Checked(file, bytes_max) for file in arguments.files]
    if arguments.json:
        from gsrt.cli.asking import print_json

        print_json({"files": [each.as_json() for each in checked]})
    else:
        for each in checked:
            print(each.as_text())
    return 0 if all(each.compiled for each in checked) else 1


def load_profile(name: str) -> Profile:
    """The profile of this name or path. Raises CommandError."""
    from gsrt.profile import Profile, ProfileError

    try:
        return Profile.load(name)
    except ProfileError as error:
        raise CommandError(str(error)) from None


class Checked:
    """One file, compiled exactly as the server does: `compiled`, or None and what is wrong with it."""

    def __init__(self, file: str, bytes_max: int) -> None:
        from gsrt.scripts.compiler import Refused, compile_script

        self.file = file
        self.unreadable: str | None = None
        self.problems: list[Problem] = []
        self.compiled: Compiled | None = None
        self._source = b""
        try:
            with open(file, "rb") as opened:
                self._source = opened.read(bytes_max + 1)  # one too many: the compiler says that it is too long
        except OSError as error:
            self.unreadable = f"cannot be read: {error.strerror}"
            return
        try:
            self.compiled = compile_script(self._source, os.path.basename(file), source_bytes_max=bytes_max)
        except Refused as refused:
            self.problems = refused.problems

    def as_text(self) -> str:
        """What is wrong with it, a line for each with the place in the source below; "FILE: ok" where it is taken."""
        if self.unreadable is not None:
            return f"{printable(self.file)}: {self.unreadable}"
        shown = [self._show(problem, "") for problem in self.problems]
        if self.compiled is not None:
            shown += [self._show(warning, "warning: ") for warning in self.compiled.warnings]
            shown.append(f"{printable(self.file)}: ok")
        return "\n".join(shown)

    def as_json(self) -> dict[str, Any]:
        found = {"file": self.file, "ok": self.compiled is not None, "problems": list(map(_plain, self.problems))}
        if self.unreadable is not None:
            found["problems"] = [{"line": 0, "column": 0, "what": self.unreadable, "instead": ""}]
        found["warnings"] = list(map(_plain, self.compiled.warnings)) if self.compiled is not None else []
        return found

    def _show(self, problem: Problem, kind: str) -> str:
        advice = f" Write: {problem.instead}" if problem.instead else ""
        what = problem.what if problem.what.endswith((".", "!", "?")) or not advice else problem.what + "."
        text = f"{printable(self.file)}:{problem.line}:{problem.column}: {kind}{printable(what + advice)}"
        lines = self._source.decode("utf-8", "replace").splitlines()
        if not 0 < problem.line <= len(lines):
            return text
        # Tabs and what has no width of one would put the caret beside its place.
        line = "".join(letter if letter.isprintable() else " " for letter in lines[problem.line - 1])
        at = min(max(problem.column - 1, 0), len(line))
        first = max(0, at - SHOWN_COLUMNS // 2)
        return f"{text}\n    {line[first : first + SHOWN_COLUMNS].rstrip()}\n    {' ' * (at - first)}^"


def _plain(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "column": problem.column, "what": problem.what, "instead": problem.instead}
