"""What scripts of all kinds write with: their logger, and `print`."""

from __future__ import annotations

from gsrt.scripts.arguments import checked_text
from gsrt.scripts.capabilities import ELEMENTS_PER_TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt.scripts.capabilities import Common

PRINT_CHARACTERS_MAX = 4096
SEPARATOR_CHARACTERS_MAX = 100


class Logger:
    """The script's log. A value that is no text is written as print would; long ones are cut, floods thinned out."""

    __slots__ = ("_capabilities",)

    def __init__(self, capabilities: Common) -> None:
        self._capabilities = capabilities

    def __repr__(self) -> str:
        return "<logger>"

    def debug(self, value: object) -> None:
        """Writes VALUE for whoever looks for a mistake."""
        self._write("debug", value)

    def info(self, value: object) -> None:
        """Writes VALUE as something that is meant to happen."""
        self._write("info", value)

    def warn(self, value: object) -> None:
        """Writes VALUE as something that somebody may want to know."""
        self._write("warn", value)

    def error(self, value: object) -> None:
        """Writes VALUE as something that somebody has to put right."""
        self._write("error", value)

    def _write(self, level: str, value: object) -> None:
        self._capabilities.log(level, value if type(value) is str else self._capabilities.text(value))


def make_print(capabilities: Common) -> Callable[..., None]:
    """The `print` of a script: a line of level info in its log."""

    def print(*values: object, sep: str = " ", end: str = "\n", file: None = None) -> None:
        """Writes the values to the script's log, with SEP (at most 100 characters) between them.

        Raises TypeError for any END or FILE but the usual ones, for a log has lines and nothing else."""
        checked_text("sep", sep, SEPARATOR_CHARACTERS_MAX)
        if file is not None or type(end) is not str or end != "\n":
            raise TypeError("print: it writes lines to the log; file= and end= are not available")
        capabilities.charge(len(values) // ELEMENTS_PER_TICK)
        parts: list[str] = []
        room = PRINT_CHARACTERS_MAX
        for value in values:
            part = value if type(value) is str else capabilities.text(value)
            parts.append(part[: room + 1])  # one more than there is room for, so that it shows as cut
            room -= len(part) + len(sep)
            if room < 0:
                break
        capabilities.log("info", sep.join(parts))

    print.__qualname__ = "print"
    return print
