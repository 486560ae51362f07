"""`gsrt logs`: what scripts have logged (the collection realtime.log), and what happened to them."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from gsrt.cli import CommandError
from gsrt.cli.arguments import add_control
from gsrt.cli.asking import ask
from gsrt.cli.text import count, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POLL_SECONDS = 0.5


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    parser.add_argument("--session", metavar="SESSION", help="of this session only")
    parser.add_argument(
        "--older", action="store_true", help="begin with all that the game's database keeps, from before a restart too"
    )
    parser.add_argument("-n", "--lines", type=_lines, metavar="LINES", help="begin with the last LINES (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, for programs")
    add_control(parser)


def run(arguments: Namespace) -> int:
    try:
        _print_logs(arguments)
    except KeyboardInterrupt:
        if not arguments.follow:
            raise
    return 0


def _print_logs(arguments: Namespace) -> None:
    from time import sleep

    entries, after = _older(arguments) if arguments.older else _news(arguments, 0)
    if arguments.lines is not None:
        entries = entries[max(len(entries) - arguments.lines, 0) :]
    _print(entries, arguments.json)
    while arguments.follow:
        sleep(POLL_SECONDS)
        try:
            entries, after = _news(arguments, after)
        except CommandError as error:
            raise CommandError(f"the server has gone: {error}") from None
        _print(entries, arguments.json)


def _news(arguments: Namespace, after: int) -> tuple[list[dict[str, Any]], int]:
    """The entries numbered above AFTER, and what to ask with next; the server gives a part of them at a time."""
    request = _request(arguments, "logs", after)
    entries: list[dict[str, Any]] = []
    while True:
        answer = ask(arguments.control, request)
        entries += answer["entries"]
        request["after"] = answer["last"]
        if not answer["entries"]:
            return entries, answer["last"]


def _older(arguments: Namespace) -> tuple[list[dict[str, Any]], int]:
    """All entries that are kept, and what to ask for news with."""
    request = _request(arguments, "logs.older", 0)
    answer = ask(arguments.control, request)
    entries, newest = list(answer["entries"]), answer["newest"]
    while answer["entries"]:
        request["after"] = answer["last"]
        answer = ask(arguments.control, request)
        entries += answer["entries"]
        newest = answer["newest"]
    return entries, newest


def _request(arguments: Namespace, do: str, after: int) -> dict[str, Any]:
    request: dict[str, Any] = {"do": do, "after": after}
    if arguments.session is not None:
        request["session"] = arguments.session
    return request


def _print(entries: list[dict[str, Any]], as_json: bool) -> None:
    for entry in entries:
        print(json.dumps(entry) if as_json else _describe(entry))
    sys.stdout.flush()


def _describe(entry: dict[str, Any]) -> str:
    from time import localtime, strftime

    when = strftime("%Y-%m-%d %H:%M:%S", localtime(entry["time"]))
    missing = entry["suppressed"]
    note = f" ({count(missing, 'line')} before it left out)" if missing else ""
    return f"{when} {entry['session']} {printable(entry['script'])} {entry['level']} {printable(entry['text'])}{note}"


def _lines(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ArgumentTypeError(f"{text!r} is no number of lines; expected 0 or more")
    return int(text)
