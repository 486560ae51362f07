"""What a case of the attack corpus is: a script, and how a host that holds must answer it."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent
from typing import NamedTuple

REJECT = "reject"
"""The script is refused when it is compiled."""
RAISE = "raise"
"""At least one callback (or the top level) ended in an ordinary exception, which stayed inside the host's call."""
STOP = "stop"
"""At least one callback was ended by a budget: gas, time, memory, or what the script holds."""
QUOTA = "quota"
"""The API refused with QuotaError once as much was used as one callback or session may."""
HARMLESS = "harmless"
"""Everything ran to its end, and nothing outside the script changed."""

OUTCOMES = (REJECT, STOP, QUOTA, RAISE, HARMLESS)
"""All of them, the strongest first: a case in which one callback raises and another is stopped counts as stopped."""

REFUSED = """
def refused(attempts):
    for number, attempt in enumerate(attempts):
        try:
            attempt()
        except Exception:
            continue
        leak('ESCAPE: attempt ' + str(number) + ' was let through')
    raise ValueError('all refused')

"""
"""The beginning of a script that tries one hostile call per entry: each must raise an ordinary exception, and the case
raises at the end."""


class Case(NamedTuple):
    """One attack.

    `expected` is one of OUTCOMES, or several joined by "|" where Python versions or the machine decide between them.
    `sessions` is how many sessions run the script one after the other in the same process.
    A script sees the ordinary builtins, `session`, `math`, `print`, and `leak(value)`: a probe that fails the case when
    it is handed something that no script must have, or a text that begins with "ESCAPE".
    """

    group: str
    name: str
    expected: str
    source: str | bytes
    sessions: int = 1

    @property
    def key(self) -> str:
        return f"{self.group}/{self.name}"


def cases(group: str, expected: str, sources: Mapping[str, str], *, sessions: int = 1) -> list[Case]:
    """A case for each entry name -> source; the source may be indented as a block."""
    return [Case(group, name, expected, dedent(source).lstrip("\n"), sessions) for name, source in sources.items()]


def raw_cases(group: str, expected: str, sources: Mapping[str, str | bytes]) -> list[Case]:
    """The same for sources whose every byte matters."""
    return [Case(group, name, expected, source) for name, source in sources.items()]
