"""What the scripts of sessions and of events have in common: what the server can do for them, and who asks for it.

What the server does for a script, it does through the few capabilities it was handed; asked for more than its profile
grants, they raise QuotaError, a RuntimeError."""

from __future__ import annotations

from types import FunctionType, MethodType

from gsrt.scripts.arguments import refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Common(Protocol):
        """What the script of a session and that of an event can bring about."""

        @property
        def seed(self) -> int:
            """What the random numbers begin with; the same whenever a session is replayed."""

        def charge(self, ticks: int) -> None:
            """Takes gas for work that the host does for the script."""

        def text(self, value: object) -> str:
            """VALUE as a text of bounded length, without running code of unbounded length and without addresses."""

        def is_own(self, function: FunctionType) -> bool:
            """Whether FUNCTION was defined by this script."""

        def log(self, level: str, text: str) -> None:
            """LEVEL: debug, info, warn or error. TEXT may be of any length and hold any characters."""

        def request(
            self,
            name: str,
            player_id: str | None,
            fields: dict[str, object],
            callback: Callable[..., object] | None,
        ) -> None:
            """Has CALLBACK called with a Response in a later turn."""


ELEMENTS_PER_TICK = 16  # what one tick of gas pays for in a list that the host walks


class Asker:
    """What a script gets its capabilities from: a session, or an event."""

    __slots__ = ("_capabilities",)

    _capabilities: Common

    def _own(self, function: object) -> Callable[..., object]:
        """FUNCTION, a function or a method of this script; anything of the host's could do more than a script may."""
        plain = function.__func__ if type(function) is MethodType else function
        if type(plain) is FunctionType and self._capabilities.is_own(plain):
            return function  # type: ignore[return-value]
        raise refusal(TypeError, "function", "a function of this script", function)
