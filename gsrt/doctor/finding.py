"""What a check has found."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

OK, WARN, FAIL = "ok", "warn", "fail"
STATES = (OK, WARN, FAIL)  # from good to bad

TEXT_CHARACTERS_MAX = 600  # of each text: some of it comes from files and programs


class Finding:
    """STATE is ok, warn (it may be felt) or fail (it does not work); FOUND what was seen, TODO what to do about it."""

    __slots__ = ("found", "state", "todo")

    def __init__(self, state: str, found: str, todo: str = "") -> None:
        self.state = state
        self.found = _line(found)
        self.todo = _line(todo)

    def __repr__(self) -> str:
        return f"Finding({self.state!r}, {self.found!r}, {self.todo!r})"


def ok(found: str, todo: str = "") -> Finding:
    return Finding(OK, found, todo)


def warn(found: str, todo: str) -> Finding:
    return Finding(WARN, found, todo)


def fail(found: str, todo: str) -> Finding:
    return Finding(FAIL, found, todo)


def worst(states: Iterable[str]) -> str:
    """The worst of STATES; ok where there are none."""
    return max(states, key=STATES.index, default=OK)


def _line(text: str) -> str:
    """TEXT as one line that plays no tricks on a terminal."""
    text = " ".join(text.split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 3] + "..."
