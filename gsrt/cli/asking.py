"""Asking the running server for something over its control socket."""

from __future__ import annotations

import json

from gsrt.cli import CommandError
from gsrt.transports.control import ControlError, NoServer, call, find_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from typing import Any


class Unserved(CommandError):
    """No server is there to be asked."""


def ask(control: str | None, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """What the server at the control socket CONTROL (None: the default one) answers to REQUEST within TIMEOUT seconds,
    without its "ok".

    Raises Unserved when there is no server, CommandError when it says no."""
    try:
        answer = call(control or find_path(), request, timeout)
    except NoServer as error:
        raise Unserved(str(error)) from None
    except ControlError as error:
        raise CommandError(str(error)) from None
    if not answer.pop("ok", False):
        raise CommandError(str(answer.get("error", "the server refused and gave no reason")))
    return answer


def print_json(answer: dict[str, Any]) -> None:
    """ANSWER on standard output, one object on one line."""
    print(json.dumps(answer))


def show(answer: dict[str, Any], arguments: Namespace, describe: Callable[[dict[str, Any]], str]) -> int:
    """Prints ANSWER, as text that `describe(answer)` makes of it or, with --json, as it is: the exit status."""
    if arguments.json:
        print_json(answer)
    else:
        print(describe(answer))
    return 0
