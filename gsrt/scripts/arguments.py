"""Judges what scripts pass: a refused argument is a TypeError or a ValueError that says what was expected.

Every argument is judged by its exact type, for an instance of a script's own class would bring methods of its own
(`__eq__`, `__lt__`, `__hash__`) into the host's code."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INT_MAX = 2**63 - 1
REAL_MAX = 1e300  # so that the difference of two is still a number
SHOWN_CHARACTERS_MAX = 40  # of a refused value, in the message that refuses it


def whole(name: str, value: Any, least: int, most: int) -> int:
    """VALUE, which is to be an int from LEAST to MOST."""
    if type(value) is int and least <= value <= most:
        return value
    kind = ValueError if type(value) is int else TypeError
    raise refusal(kind, name, f"a whole number from {least} to {most}", value)


def real(name: str, value: Any) -> float:
    """VALUE, which is to be a number, as a float."""
    if type(value) is not float and type(value) is not int:
        raise refusal(TypeError, name, "a number", value)
    if not -REAL_MAX <= value <= REAL_MAX:  # NaN is not between either
        raise refusal(ValueError, name, f"a number between -{REAL_MAX:g} and {REAL_MAX:g}", value)
    return float(value)


def checked_text(name: str, value: Any, characters_max: int) -> str:
    """VALUE, which is to be a text of that length at most."""
    expected = f"a text of at most {characters_max} characters"
    if type(value) is not str:
        raise refusal(TypeError, name, expected, value)
    if len(value) > characters_max:
        raise ValueError(f"{name}: {expected}, not {len(value)}")
    return value


def exact_text(name: str, value: Any) -> str:
    """VALUE, which is to be a text."""
    if type(value) is not str:
        raise refusal(TypeError, name, "a text", value)
    return value


def refusal(kind: type[Exception], name: str, expected: str, value: object) -> Exception:
    """What to raise where the argument NAME is not what was EXPECTED."""
    return kind(f"{name}: {expected}, not {_shown(value)}")


def _shown(value: object) -> str:
    """VALUE as a message can show it: short, and without running anything of a script's."""
    if value is None or type(value) is bool or type(value) is float:
        return repr(value)
    if type(value) is int:
        return repr(value) if value.bit_length() <= 64 else f"a number of {value.bit_length()} bits"
    if type(value) is str:
        return repr(value if len(value) <= SHOWN_CHARACTERS_MAX else value[:SHOWN_CHARACTERS_MAX] + "...")
    return f"something of type {type(value).__name__[:SHOWN_CHARACTERS_MAX]}"
