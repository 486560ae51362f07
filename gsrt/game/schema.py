"""The keys of a game's TOML files: what each may be, and how a table is judged by them."""

from __future__ import annotations

from math import isfinite

from gsrt.game.model import ABSOLUTE, AGGREGATES, BEST, FIRST, HIGH, ORDERS, THRESHOLD_TYPES, TIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from gsrt.game.lines import Path

    Tell = Callable[[Path, str], None]  # (where, what was expected) is a mistake

# Kinds of values
TEXT = "text"
CODE = "short code"
NUMBER = "number"
WHOLE = "whole number"
FLAG = "true or false"
CODES = "list of names"
AMOUNTS = "table of short codes and whole numbers"
TABLES = "tables"

NAME_CHARACTERS_MAX = 64
TEXT_CHARACTERS_MAX = 1024
CODE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
AMOUNT_MAX = 2**53 - 1  # what a JSON client can tell from its neighbours
NUMBER_MAX = 1e15
SECONDS_MAX = 604_800.0  # a week
PLAYERS_MAX = 255  # in one session, at the most
TABLES_MAX = 1000  # of one kind in a file
CODES_MAX = 32


class Key:
    """One key of a table. `least` and `most`: of a number, or of a text's characters."""

    __slots__ = ("choices", "default", "doc", "keys", "kind", "least", "most", "name", "required")

    def __init__(
        self,
        name: str,
        kind: str,
        doc: str,
        *,
        required: bool = False,
        default: object = None,
        least: float | None = None,
        most: float | None = None,
        choices: tuple[str, ...] = (),
        keys: tuple[Key, ...] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self.doc = doc
        self.required = required
        self.default = default
        self.least = least
        self.most = most
        self.choices = choices
        self.keys = keys  # of TABLES: those of each

    @property
    def expected(self) -> str:
        """What its value has to be, in words."""
        if self.choices:
            return " or ".join(f'"{choice}"' for choice in self.choices)
        if self.kind is CODE:
            return f"letters, digits, _ and - (at most {NAME_CHARACTERS_MAX})"
        if self.kind is TABLES:
            return f"tables, each beginning with [[{self.name}]]"
        if self.kind is TEXT:
            return f"text of {self.least or 0:g} to {self.most or TEXT_CHARACTERS_MAX:g} characters"
        if self.least is not None and self.most is not None:
            unit = " each" if self.kind is AMOUNTS else ""
            return f"a {self.kind}{unit} from {spelled(self.least)} to {spelled(self.most)}"
        return self.kind


def _code(doc: str, default: str | None = None) -> Key:
    return Key("short_code", CODE, doc, required=default is None, default=default)


NAME = Key("name", TEXT, "what people call it; the short code if left out", default="", most=NAME_CHARACTERS_MAX)
DESCRIPTION = Key("description", TEXT, "a sentence about it", default="")

CURRENCY = (
    _code("what requests and scripts call it"),
    NAME,
    Key("signup", WHOLE, "what a new player gets", default=0, least=0, most=AMOUNT_MAX),
)

GAME = (
    Key("name", TEXT, "what the game is called", required=True, least=1, most=NAME_CHARACTERS_MAX),
    Key(
        "api_key",
        TEXT,
        "the game's key, part of the address that clients connect to: letters, digits, _ and -",
        required=True,
        least=1,
        most=NAME_CHARACTERS_MAX,
    ),
    Key("secret", TEXT, "what clients prove that they are the game's with; no `:`", required=True, least=1, most=256),
    Key("port", WHOLE, "TCP and UDP port; the server's usual one if left out", least=1, most=65535),
    Key("currency", TABLES, "the currencies; clients see the first six as currency1 to currency6", keys=CURRENCY),
)

THRESHOLD = (
    Key("period", NUMBER, "so many seconds it applies, then the next one", required=True, least=0.1, most=SECONDS_MAX),
    Key("type", TEXT, "how skills are compared", default=ABSOLUTE, choices=THRESHOLD_TYPES),
    Key("min", NUMBER, "the lower bound", required=True, least=-NUMBER_MAX, most=NUMBER_MAX),
    Key("max", NUMBER, "the upper bound", required=True, least=-NUMBER_MAX, most=NUMBER_MAX),
    Key("accept_min_players", FLAG, "at its end, `min_players` are enough for a match", default=False),
)

MATCH = (
    _code("what clients ask for; the file's name without `.toml` if left out", default=""),
    NAME,
    DESCRIPTION,
    Key("min_players", WHOLE, "fewer are no match", default=2, least=1, most=PLAYERS_MAX),
    Key("max_players", WHOLE, "more are never in it", default=2, least=1, most=PLAYERS_MAX),
    Key("realtime", FLAG, "it is played in a real-time session", default=True),
    Key("realtime_script", TEXT, "the file in `scripts/` that runs in its sessions", least=1, most=255),
    Key("drop_in_drop_out", FLAG, "players may enter and leave after it was found", default=False),
    Key(
        "player_disconnect_delay",
        NUMBER,
        "with drop-in: so many seconds after losing the connection a player has left; 0: at once",
        default=0.0,
        least=0,
        most=SECONDS_MAX,
    ),
    Key(
        "expire_in",
        NUMBER,
        "with drop-in: so many seconds after it was found nobody enters or leaves any more; 0: never",
        default=0.0,
        least=0,
        most=SECONDS_MAX,
    ),
    Key("manually_match_players", FLAG, "players see who waits, and choose", default=False),
    Key("threshold", TABLES, "who fits whom, one after the other as time goes by", keys=THRESHOLD),
)

LEADERBOARD = (
    _code("what clients ask for"),
    NAME,
    Key("event", CODE, "the event that brings scores; if left out, scripts submit them"),
    Key("attribute", CODE, "the attribute of the event that is the score, a number"),
    Key("aggregate", TEXT, "what becomes of a player's scores", default=BEST, choices=AGGREGATES),
    Key("order", TEXT, "which score is in front", default=HIGH, choices=ORDERS),
    Key("part", CODE, "an attribute of the event: each of its values has a table of its own"),
    Key("ties", TEXT, "of equal scores the first has the better rank, or they share one", default=FIRST, choices=TIES),
    Key("attributes", CODES, "other attributes of the event that are kept and shown", default=()),
)
LEADERBOARDS = (Key("leaderboard", TABLES, "the leaderboards", keys=LEADERBOARD),)

ACHIEVEMENT = (
    _code("what scripts award"),
    NAME,
    DESCRIPTION,
    Key("currencies", AMOUNTS, "what comes with it: `{ gold = 10 }`", least=1, most=AMOUNT_MAX),
    Key("goods", AMOUNTS, "what comes with it: `{ sword = 1 }`", least=1, most=AMOUNT_MAX),
)
ACHIEVEMENTS = (Key("achievement", TABLES, "the achievements", keys=ACHIEVEMENT),)

GOOD = (
    _code("what requests and scripts call it"),
    NAME,
    DESCRIPTION,
    Key(
        "prices",
        AMOUNTS,
        "`{ gold = 5, gems = 1 }`: the price in each currency that buys it; if left out, it is not for sale",
        least=1,
        most=AMOUNT_MAX,
    ),
    Key("most", WHOLE, "so many may a player have; any number if left out", least=1, most=AMOUNT_MAX),
)
GOODS = (Key("good", TABLES, "the virtual goods", keys=GOOD),)


def judged(table: Mapping[str, Any], keys: Sequence[Key], at: Path, tell: Tell) -> dict[str, Any]:
    """The value of each key, or its default where there is none or a wrong one; all that is wrong is told.

    TABLES become a list of what this function makes of each, with the table's path as `at`."""
    known = {key.name: key for key in keys}
    for name in table:
        if name not in known:
            meant = nearest(name, known)
            tell((*at, name), f"is no key here; {f'do you mean {meant}?' if meant else f'expected {_listed(known)}'}")
    return {"at": at, **{key.name: _value(table, key, at, tell) for key in keys}}


def _value(table: Mapping[str, Any], key: Key, at: Path, tell: Tell) -> Any:
    place = (*at, key.name)
    if key.name not in table:
        if key.required:
            tell(place, f"is missing; expected {key.expected}")
        return [] if key.kind is TABLES else {} if key.kind is AMOUNTS else key.default
    value = table[key.name]
    if key.kind is TABLES:
        if type(value) is not list or any(type(each) is not dict for each in value):
            tell(place, f"expected {key.expected}")
            return []
        if len(value) > TABLES_MAX:
            tell(place, f"expected at most {TABLES_MAX:,} of them")
        return [judged(each, key.keys, (*place, number), tell) for number, each in enumerate(value[:TABLES_MAX])]
    if key.kind is AMOUNTS:
        return _amounts(value, key, place, tell)
    if key.kind is CODES:
        if type(value) is list and len(value) <= CODES_MAX and all(is_code(each) for each in value):
            return tuple(value)
        tell(place, f'expected a list of at most {CODES_MAX} names, such as ["level", "car"]')
        return key.default
    if not _fits(value, key):
        tell(place, f"expected {key.expected}, not {_shown(value)}")
        return key.default
    return float(value) if key.kind is NUMBER else value


def _amounts(value: object, key: Key, place: Path, tell: Tell) -> dict[str, int]:
    if type(value) is not dict:
        tell(place, f"expected {key.expected}, not {_shown(value)}")
        return {}
    amounts: dict[str, int] = {}
    for code, amount in value.items():
        if _is_whole(amount) and _in_range(amount, key):
            amounts[code] = amount
        else:
            tell(
                (*place, code),
                f"expected a whole number from {spelled(key.least)} to {spelled(key.most)}, not {_shown(amount)}",
            )
    return amounts


def _fits(value: object, key: Key) -> bool:
    if key.choices:
        return type(value) is str and value in key.choices
    if key.kind is CODE:
        return is_code(value)
    if key.kind is TEXT:
        return type(value) is str and (key.least or 0) <= len(value) <= (key.most or TEXT_CHARACTERS_MAX)
    if key.kind is FLAG:
        return type(value) is bool
    if key.kind is WHOLE:
        return _is_whole(value) and _in_range(value, key)
    return (_is_whole(value) or type(value) is float) and _in_range(value, key)


def _is_whole(value: object) -> bool:
    return type(value) is int


def _in_range(value: Any, key: Key) -> bool:
    # A number too large for a float is compared as it is; "not a number" is in no range.
    if key.least is not None and not value >= key.least:
        return False
    if key.most is not None and not value <= key.most:
        return False
    return type(value) is int or isfinite(value)


def is_code(value: object) -> bool:
    """Whether it can be a short code."""
    return type(value) is str and 0 < len(value) <= NAME_CHARACTERS_MAX and CODE_CHARACTERS.issuperset(value)


def spelled(number: float | None) -> str:
    """A bound of a range: 0.5, 604,800."""
    if number is None:
        return ""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.15g}"


def _shown(value: object) -> str:
    """A value as TOML has it, shortened."""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is str:
        shown = ascii(value[:40])[1:-1].replace('"', '\\"')
        return f'"{shown}"' + ("..." if len(value) > 40 else "")
    if type(value) is list:
        return "a list"
    if type(value) is dict:
        return "a table"
    if type(value) is int:
        return f"{value:,}" if abs(value) < 10**18 else "a number of many digits"
    return str(value)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that somebody who wrote `name` may have meant; None where nothing is like it."""
    plain = _plain(name[:NAME_CHARACTERS_MAX])
    found = sorted((distance(plain, _plain(each)), each) for each in known)
    if found and found[0][0] <= max(1, min(len(plain), len(_plain(found[0][1]))) // 3):
        return found[0][1]
    return None


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def distance(one: str, other: str) -> int:
    """How many characters have to be written, deleted, replaced or exchanged with the next to make one the other."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, character in enumerate(one, 1):
        before, above, row = row, before, [place]
        for column, wanted in enumerate(other, 1):
            cost = min(before[column] + 1, row[-1] + 1, before[column - 1] + (character != wanted))
            if above and column > 1 and character == other[column - 2] and one[place - 2] == wanted:
                cost = min(cost, above[column - 2] + 1)
            row.append(cost)
    return row[-1]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
