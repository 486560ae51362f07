"""What a request is made of: its declared fields, the steps it is done in, and how it fails.

A request is a module of `gsrt.backend.requests` with

    NAME = "AccountDetailsRequest"      as clients write it, without the dot
    SUMMARY                             one sentence
    FIELDS, ANSWER                      tuples of Field: what it takes, what it answers
    ERRORS                              tuples (field, code, when)
    run(call)                           a generator: it runs on the loop and yields the steps that are done elsewhere

and, where they differ from what is usual, RESPONSE = "AuthenticationResponse", NEEDS_PLAYER = False (may be asked
before anyone has signed in) and SCRIPTS_ONLY = True (players may not ask).
"""

from __future__ import annotations

from math import isfinite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import Any, Protocol

    from gsrt.backend.desk import Desk

    class Asker(Protocol):
        """The connection that a request came by. `player_id`: who has signed in; None: nobody yet."""

        player_id: str | None

        @property
        def is_open(self) -> bool: ...

        @property
        def address(self) -> str: ...  # without the port

        def sign_in(self, player_id: str, auth_token: str) -> None: ...

        def sign_out(self) -> float: ...  # gives the seconds that its player was signed in

    Steps = Generator["Stored | Worked | Awaited", Any, dict[str, object]]

    class RequestModule(Protocol):
        """A module of gsrt.backend.requests."""

        NAME: str
        SUMMARY: str
        FIELDS: tuple[Field, ...]
        ANSWER: tuple[Field, ...]
        ERRORS: tuple[tuple[str, str, str], ...]

        def run(self, call: Call) -> Steps: ...


# What a field can hold, as it is called in the reference and in errors.
TEXT = "a text"
NUMBER = "a number"
INTEGER = "a whole number"
FLAG = "true or false"
OBJECT = "an object"
LIST = "a list"
ANY = "anything"

TEXT_CHARACTERS_MAX = 4096  # of a text field that says nothing of its length
INTEGER_MAX = 2**53  # beyond it a number of JSON is not exact in most clients

MISSING = "may not be null"  # what the original service says of a mandatory field


class Failure(Exception):
    """A request cannot be done: `errors` maps fields (or what is wrong) to codes, as the client gets them."""

    def __init__(self, errors: Mapping[str, object] | None = None, **codes: str) -> None:
        """Failure(USERNAME="TAKEN"), or a dict where a name is no identifier."""
        self.errors: dict[str, object] = {**(errors or {}), **codes}
        super().__init__(self.errors)


class Field:
    """A field of a request or an answer. `least` and `most` bound a number's value, a text's or list's length."""

    __slots__ = ("default", "doc", "kind", "least", "most", "name", "required")

    def __init__(
        self,
        name: str,
        kind: str,
        *,
        required: bool = False,
        default: object = None,
        least: float | None = None,
        most: float | None = None,
        doc: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.required = required
        self.default = default
        self.least = least
        self.most = most
        self.doc = doc

    def check(self, value: object) -> tuple[object, str | None]:
        """The value as a request gets it, and None; or what is wrong with it in its place."""
        if value is None:
            return self.default, MISSING if self.required else None
        if self.kind is ANY:
            return value, None
        if self.kind is INTEGER and type(value) is float and value.is_integer():
            value = int(value)  # some clients have no other numbers
        if not _is(self.kind, value):
            return None, f"must be {self.kind}"
        if type(value) is str and not _storable(value):
            return None, "must be a text of whole characters"
        measure: float
        most = self.most
        if type(value) is str:
            measure, most, unit = len(value), TEXT_CHARACTERS_MAX if most is None else most, " characters"
        elif type(value) is list:
            measure, unit = len(value), " elements"
        elif type(value) is int or type(value) is float:
            measure, most, unit = value, INTEGER_MAX if most is None and type(value) is int else most, ""
        else:
            return value, None
        if self.required and value == "":
            return None, MISSING
        if most is not None and measure > most:
            return None, f"must be at most {most:,.17g}{unit}"
        least = -INTEGER_MAX if self.least is None and type(value) is int else self.least
        if least is not None and measure < least:
            return None, f"must be at least {least:,.17g}{unit}"
        return value, None


def _is(kind: str, value: object) -> bool:
    if kind is TEXT:
        return type(value) is str
    if kind is NUMBER:
        return type(value) is int or (type(value) is float and isfinite(value))
    if kind is INTEGER:
        return type(value) is int
    if kind is FLAG:
        return type(value) is bool
    return type(value) is (dict if kind is OBJECT else list)


def _storable(text: str) -> bool:
    """Whether it can be kept and found again: JSON can also hold halves of characters, and an end within a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def check_fields(declared: Sequence[Field], given: Mapping[str, object]) -> dict[str, Any]:
    """The declared fields by name, with their defaults; others are left out, for clients send more than is asked for.

    Raises Failure with everything that is wrong."""
    checked: dict[str, Any] = {}
    errors: dict[str, object] = {}
    for field in declared:
        value, wrong = field.check(given.get(field.name))
        if wrong is not None:
            errors[field.name] = wrong
        else:
            checked[field.name] = value
    if errors:
        raise Failure(errors)
    return checked


class Call:
    """One request under way."""

    __slots__ = ("connection", "desk", "fields", "given", "name", "now", "player_id")

    def __init__(
        self,
        desk: Desk,
        name: str,
        fields: dict[str, Any],
        given: Mapping[str, object],
        player_id: str | None,
        connection: Asker | None,
        now: float,
    ) -> None:
        self.desk = desk
        self.name = name
        self.fields = fields  # checked, by the names that are declared
        self.given = given  # all that came
        self.player_id = player_id  # on whose behalf; None: nobody has signed in
        self.connection = connection  # it came by; None: a script or an event asks
        self.now = now  # wall-clock seconds

    @property
    def player(self) -> str:
        """The player's id, in requests that need one."""
        assert self.player_id is not None
        return self.player_id


class Stored:
    """A step on the store's thread: `operation(tx, *arguments)`, all of it or nothing."""

    __slots__ = ("arguments", "operation")

    def __init__(self, operation: Callable[..., object], *arguments: object) -> None:
        self.operation = operation
        self.arguments = arguments


class Worked:
    """A step on the worker's thread: `function(*arguments)`, which touches nothing of the loop's."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function = function
        self.arguments = arguments


class Awaited:
    """A step that the loop itself takes later: `start(done)` has `done(value)` called, at once or later."""

    __slots__ = ("start",)

    def __init__(self, start: Callable[[Callable[[Any], None]], object]) -> None:
        self.start = start
