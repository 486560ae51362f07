"""What the script of an event may call: the `event` that its `on_event(event)` is given, and everything it gives.

What gsrt.scripts.api says of sessions holds here too."""

from __future__ import annotations

from gsrt.scripts.arguments import checked_text, exact_text
from gsrt.scripts.capabilities import ELEMENTS_PER_TICK, Asker
from gsrt.scripts.log_api import Logger
from gsrt.scripts.random_api import Random
from gsrt.scripts.request_api import VALUE_DEPTH_MAX, Requests, ValueCopier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from gsrt.scripts.capabilities import Common

    class EventCapabilities(Common, Protocol):
        """All that one event can bring about. After its end each of these raises RuntimeError."""

        @property
        def code(self) -> str: ...
        @property
        def player_id(self) -> str: ...
        @property
        def seconds(self) -> int: ...
        def generator(self) -> Random: ...
        def reply(self, name: str, value: object) -> None: ...
        def fail(self, field: str, code: str) -> None: ...


NAME_CHARACTERS_MAX = 64
CODE_CHARACTERS_MAX = 200
NAMES_MAX = 64


class Event(Asker):
    """What a player or a script has reported, with its attributes: `event.get("SCORE")`, `event["SCORE"]`,
    `"SCORE" in event`. It ends when `on_event` has returned and the callbacks of all requests it has sent have run.
    Then the answer goes out, and the event is of no use any more (RuntimeError)."""

    __slots__ = ("_attributes", "_copier", "_logger")

    _capabilities: EventCapabilities

    def __init__(self, capabilities: EventCapabilities, attributes: dict[str, object]) -> None:
        """ATTRIBUTES: plain values, which are the script's own from now on."""
        self._capabilities = capabilities
        self._attributes = attributes
        self._copier = ValueCopier("reply")  # its bounds are those of all replies together
        self._logger = Logger(capabilities)

    def __repr__(self) -> str:
        return f"<event {self._capabilities.code}>"

    @property
    def player_id(self) -> str:
        """The id of the player who has reported it, or on whose behalf it was."""
        return self._capabilities.player_id

    @property
    def event_key(self) -> str:
        """What the event is called."""
        return self._capabilities.code

    @property
    def time(self) -> int:
        """When it came: whole seconds since the beginning of 1970."""
        return self._capabilities.seconds

    def get_player_id(self) -> str:
        """The id of the player who has reported it, or on whose behalf it was."""
        return self._capabilities.player_id

    def get(self, name: str, default: object = None) -> Any:
        """The attribute of that NAME, or DEFAULT where none is declared. Raises TypeError."""
        return self._attributes.get(exact_text("name", name), default)

    def __getitem__(self, name: str) -> Any:
        return self._attributes[exact_text("name", name)]

    def __contains__(self, name: str) -> bool:
        return exact_text("name", name) in self._attributes

    @property
    def attributes(self) -> dict[str, object]:
        """All of them, by name."""
        return self._attributes

    def reply(self, name: str, value: object) -> None:
        """Puts VALUE into the answer, under NAME (at most 64 characters): the client finds it in scriptData.

        VALUE is a text, number, bool or None, or a list or a dict (its keys texts) of such; 500 values and 65536
        characters in all replies. What was under that name before is replaced. Raises TypeError, ValueError,
        QuotaError (more than 64 names), RuntimeError (the event has ended)."""
        checked_text("name", name, NAME_CHARACTERS_MAX)
        copier = self._copier
        nodes, characters = copier.nodes, copier.characters
        try:
            copied = copier.copy(value, VALUE_DEPTH_MAX)
        except Exception:
            copier.nodes, copier.characters = nodes, characters
            raise
        self._capabilities.charge((copier.nodes - nodes) // ELEMENTS_PER_TICK)
        self._capabilities.reply(name, copied)

    def fail(self, field: str, code: str) -> None:
        """Makes the answer an error: FIELD (at most 64 characters) is wrong, CODE (at most 200) says how, such as
        `event.fail("SCORE", "TOO_HIGH")`. What was done is not undone, and the function goes on.

        Raises TypeError, ValueError, QuotaError (more than 64 fields), RuntimeError (the event has ended)."""
        checked_text("field", field, NAME_CHARACTERS_MAX)
        checked_text("code", code, CODE_CHARACTERS_MAX)
        self._capabilities.fail(field, code)

    def new_request(self) -> Requests:
        """Requests to the backend, on behalf of any player. The answer waits for theirs."""
        return Requests(self)

    def get_logger(self) -> Logger:
        """The script's log: `gsrt logs` shows it."""
        return self._logger

    @property
    def random(self) -> Random:
        """Random numbers."""
        return self._capabilities.generator()
