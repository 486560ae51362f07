"""`gsrt script check`: whether the server would take a script; if not, every reason, with what to write instead."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from gsrt.cli.arguments import add_json, add_profile, load_profile
from gsrt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.scripts.compiler import Compiled, Problem

SHOWN_COLUMNS = 100  # of a source line, around the place that is wrong


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


class Checked:
    """One file, compiled exactly as the server does: `compiled`, or None and what is wrong with it."""

    def __init__(self, file: str, bytes_max: int) -> None:
        from gsrt.scripts.compiler import Refused

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
            self.compiled = _compile(self._source, os.path.basename(file), bytes_max)
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
        what = f"{kind}{problem.what}. {problem.instead}."
        text = f"{printable(self.file)}:{problem.line}:{problem.column}: {printable(what)}"
        lines = self._source.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if problem.line > len(lines):
            return text
        # Tabs and what has no width of one would put the caret beside its place.
        line = "".join(letter if letter.isprintable() else " " for letter in lines[problem.line - 1])
        at = min(problem.column - 1, len(line))
        first = max(0, at - SHOWN_COLUMNS // 2)
        return f"{text}\n    {line[first : first + SHOWN_COLUMNS].rstrip()}\n    {' ' * (at - first)}^"


def _compile(source: bytes, filename: str, bytes_max: int) -> Compiled:
    """What the server does, with as much stack as it has for this. Raises Refused."""
    import threading

    from gsrt.scripts.compiler import STACK_BYTES, Refused, compile_script

    results: list[Compiled | Refused] = []

    def work() -> None:
        try:
            results.append(compile_script(source, filename, source_bytes_max=bytes_max))
        except Refused as refused:
            results.append(refused)

    usual = threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=work)
    thread.start()
    threading.stack_size(usual)
    thread.join()
    (result,) = results
    if isinstance(result, Refused):
        raise result
    return result


def _plain(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "column": problem.column, "what": problem.what, "instead": problem.instead}
