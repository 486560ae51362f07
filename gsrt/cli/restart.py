"""`gsrt restart`: another program takes the running server's place, and its players stay."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace

from gsrt.cli import CommandError
from gsrt.cli.arguments import add_control, add_json
from gsrt.cli.asking import Unserved, ask, show
from gsrt.cli.text import count
from gsrt.transports.control import ControlError, call, find_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOOK_SECONDS = 0.02  # between two looks whether the next program is there
ANSWER_SECONDS = 60.0  # for it to serve; where scripts are to be compiled, some tenths for each


def add_arguments(parser: ArgumentParser) -> None:
    add_json(parser)
    add_control(parser)


def run(arguments: Namespace) -> int:
    try:
        path = arguments.control or find_path()
    except ControlError as error:
        raise CommandError(str(error)) from None
    asked = time.monotonic()
    try:
        before = ask(path, {"do": "restart"})
    except Unserved:
        raise
    except CommandError as error:
        if "unknown request" in str(error):
            raise CommandError(
                "the server is of a version that cannot be asked for it: kill -USR2 PID, with the PID of `gsrt status`"
            ) from None
        raise
    after = _answer_of_the_next(path, asked + ANSWER_SECONDS, before)
    seconds = time.monotonic() - asked
    arrival = after.get("handOver")
    if arrival is None:
        raise CommandError(
            f"process {after['pid']} serves by now, but nothing was handed over to it: its log says why; players come "
            "back by themselves if it knows the sessions (gsrt session list)"
        )
    return show(
        {
            "pid": after["pid"],
            "version": after["version"],
            "versionBefore": before["version"],
            "players": arrival["players"],
            "playersToComeBack": arrival["playersToComeBack"],
            "secondsWithoutService": arrival["seconds"],
            "seconds": seconds,
        },
        arguments,
        _describe,
    )


def _answer_of_the_next(path: str, until: float, before: dict[str, Any]) -> dict[str, Any]:
    """Its status. The program before answers nobody any more."""
    while True:
        left = until - time.monotonic()
        try:
            answer = call(path, {"do": "status"}, max(left, LOOK_SECONDS))
            if answer.get("ok"):
                return answer
        except ControlError:  # not there yet, or just going
            pass
        if left <= 0:
            raise CommandError(
                f"process {before['pid']} has given up its place, and no server has answered at {path} within "
                f"{ANSWER_SECONDS:.0f} seconds: "
                + (
                    "see journalctl -u gsrt, and whether the unit has Restart=always"
                    if before["managed"]
                    else "see its log, and start it again"
                )
            )
        time.sleep(LOOK_SECONDS)


def _describe(answer: dict[str, Any]) -> str:
    stayed, gone = answer["players"], answer["playersToComeBack"]
    is_new = answer["version"] != answer["versionBefore"]
    place = f" in the place of {answer['versionBefore']}" if is_new else ""
    return "\n".join(
        (
            f"gsrt {answer['version']} serves{place}, as process {answer['pid']}.",
            f"{count(stayed, 'player')} stayed" + (f"; {gone} have to come back by themselves." if gone else "."),
            f"Packets waited for {answer['secondsWithoutService']:.2f} s; it took {answer['seconds']:.2f} s in all.",
        )
    )
