"""The configuration file of `gsrt serve --config FILE`: lines `key = value` (gsrt.flatfile), every key optional.

What stands here goes behind the command line and before the defaults. Paths are relative to the file's directory."""

from __future__ import annotations

import os

from gsrt.flatfile import read_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gsrt.flatfile import Line, Value

METRICS = ("off", "local", "all")
NAME_CHARACTERS_MAX = 64
PORT_MAX = 65535
TICK_MS_MAX = 100


class ConfigError(Exception):
    """A configuration file cannot be used. `mistakes` are all of them, a line each, with file and line."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def _is_text(value: Value) -> bool:
    return isinstance(value, str) and value.strip() != "" and value.isprintable()


def _is_host(value: Value) -> bool:
    return isinstance(value, str) and _is_text(value) and value.split() == [value]


def _is_name(value: Value) -> bool:
    return isinstance(value, str) and _is_text(value) and len(value) <= NAME_CHARACTERS_MAX


def _is_port(value: Value) -> bool:
    return type(value) is int and 0 <= value <= PORT_MAX


def _is_tick(value: Value) -> bool:
    return type(value) in (int, float) and 0 <= float(value) <= TICK_MS_MAX


def _is_switch(value: Value) -> bool:
    return isinstance(value, bool)


def _is_metrics(value: Value) -> bool:
    return value in METRICS


_PATH = (_is_text, 'a path in quotes, such as "/srv/duel"')
_SWITCH = (_is_switch, "true or false")

# key -> (whether a value is right, what is expected)
KEYS: Mapping[str, tuple[Callable[[Value], bool], str]] = {
    "host": (_is_host, 'an address of this machine in quotes, such as "0.0.0.0" for all of them'),
    "port": (_is_port, f"a port, 0 to {PORT_MAX}"),
    "name": (_is_name, f"a name of up to {NAME_CHARACTERS_MAX} characters in quotes"),
    "game": _PATH,
    "script": _PATH,
    "profile": (_is_text, 'a name or path in quotes, such as "auto" or "/etc/gsrt/mine.toml"'),
    "tick_ms": (_is_tick, f"milliseconds, 0 to {TICK_MS_MAX}"),
    "cert": _PATH,
    "key": _PATH,
    "state": _PATH,
    "control": _PATH,
    "control_group": _SWITCH,
    "insecure_link": _SWITCH,
    "metrics": (_is_metrics, ", ".join(f'"{each}"' for each in METRICS[:-1]) + f' or "{METRICS[-1]}"'),
    "contain": _SWITCH,
    "lock_memory": _SWITCH,
}

_PATHS = ("game", "script", "cert", "key", "state", "control")


def read_config(path: str) -> dict[str, Value]:
    """What the file sets, paths absolute. Raises ConfigError with everything that is wrong with it."""
    values: dict[str, Value] = {}
    first: dict[str, int] = {}
    mistakes: list[str] = []
    try:
        for line in read_lines(path):
            problem = _problem(line)
            if problem is None and line.key in first:
                problem = f"{line.key} is set a second time, after line {first[line.key]}"
            if problem is not None:
                mistakes.append(f"{path}:{line.number}: {problem}")
            elif line.value is not None:
                values[line.key] = line.value
            first.setdefault(line.key, line.number)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not a text file (UTF-8)"]) from None
    if ("cert" in first) != ("key" in first):
        given, missing = ("cert", "key") if "cert" in first else ("key", "cert")
        mistakes.append(f"{path}:{first[given]}: {given} needs {missing}: give both or none")
    if mistakes:
        raise ConfigError(mistakes)
    directory = os.path.dirname(os.path.abspath(path))
    for key in _PATHS:
        if key in values:
            values[key] = os.path.join(directory, str(values[key]))
    profile = values.get("profile")
    if isinstance(profile, str) and ("/" in profile or profile.endswith(".toml")):  # else it is a name
        values["profile"] = os.path.join(directory, profile)
    return values


def _problem(line: Line) -> str | None:
    """What is wrong with a line, and what to write."""
    known = KEYS.get(line.key)
    if line.value is None:
        expected = "`key = value`" if known is None else f"`{line.key} = ` and {known[1]}"
        return f"{line.text!r} is not understood; expected {expected}"
    if known is None:
        from gsrt.game.schema import nearest

        meant = nearest(line.key, KEYS)
        hint = f"is {meant!r} meant?" if meant is not None else f"there are {', '.join(KEYS)}"
        return f"there is no key {line.key!r}: {hint}"
    fits, expected = known
    return None if fits(line.value) else f"{line.text!r}: {line.key} is {expected}"
