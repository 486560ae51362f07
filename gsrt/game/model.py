"""What a game's folder says, as plain objects. Made by gsrt.game.reading; nobody changes them afterwards."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from gsrt.scripts.compiling import Stamp

# How a threshold compares skills.
ABSOLUTE = "ABSOLUTE"  # both lie in [min, max]
RELATIVE = "RELATIVE"  # the other's lies in [mine + min, mine + max]
PERCENT = "PERCENT"  # the same, with min and max in percent of mine
THRESHOLD_TYPES = (ABSOLUTE, RELATIVE, PERCENT)

# What an attribute of an event may be.
NUMBER = "number"
TEXT = "text"
OBJECT = "object"
ATTRIBUTE_KINDS = (NUMBER, TEXT, OBJECT)

# What becomes of a player's scores in a leaderboard.
BEST = "best"
SUM = "sum"
LAST = "last"
AGGREGATES = (BEST, SUM, LAST)

# Which score is the better one.
HIGH = "high"
LOW = "low"
ORDERS = (HIGH, LOW)

# What rank equal scores have: the first to come is in front, or they share it.
FIRST = "first"
SHARED = "shared"
TIES = (FIRST, SHARED)


class Record:
    """Equal to another of its class that holds the same."""

    __slots__: tuple[str, ...] = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


class Threshold(Record):
    """Who fits a waiting player for `period` seconds: whose skill lies between `min` and `max` (see the types)."""

    __slots__ = ("accept_min_players", "max", "min", "period", "type")

    def __init__(
        self,
        period: float = 10.0,
        type: str = ABSOLUTE,
        min: float = 0.0,
        max: float = 0.0,
        accept_min_players: bool = False,
    ) -> None:
        self.period = period
        self.type = type
        self.min = min
        self.max = max
        self.accept_min_players = accept_min_players  # at its end, a match of fewer than max_players is good enough

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {name: getattr(self, name) for name in self.__slots__}


class MatchConfig(Record):
    """A kind of match. Times in seconds."""

    __slots__ = (
        "description",
        "drop_in_drop_out",
        "expire_in",
        "manually_match_players",
        "max_players",
        "min_players",
        "name",
        "player_disconnect_delay",
        "realtime",
        "realtime_script",
        "short_code",
        "thresholds",
    )

    def __init__(
        self,
        short_code: str,
        *,
        name: str = "",
        description: str = "",
        min_players: int = 2,
        max_players: int = 2,
        realtime: bool = True,
        realtime_script: str | None = None,
        drop_in_drop_out: bool = False,
        player_disconnect_delay: float = 0.0,
        expire_in: float = 0.0,
        manually_match_players: bool = False,
        thresholds: Sequence[Threshold] = (),
    ) -> None:
        self.short_code = short_code
        self.name = name or short_code
        self.description = description
        self.min_players = min_players
        self.max_players = max_players
        self.realtime = realtime  # it is played in a session
        self.realtime_script = realtime_script  # absolute path
        self.drop_in_drop_out = drop_in_drop_out  # players may come and go after it was found
        self.player_disconnect_delay = player_disconnect_delay  # who is gone for so long has dropped out
        self.expire_in = expire_in  # so long may players drop in; 0: as long as it is played
        self.manually_match_players = manually_match_players  # players choose whom to play with
        self.thresholds = tuple(thresholds)  # one after the other

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them: what a running match keeps of what it began with."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "thresholds": [each.to_dict() for each in self.thresholds]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], scripts: str | None = None) -> MatchConfig:
        """What to_dict has made a dict of, also in another version: a key that is missing has its default, one that is
        not known is left out. SCRIPTS: the folder where the script is by now, for the game may have been moved."""
        known = {name: value for name, value in values.items() if name in cls.__slots__}
        script = known.get("realtime_script")
        if script is not None and scripts is not None:
            known["realtime_script"] = os.path.join(scripts, os.path.basename(script))
        thresholds = [
            Threshold(**{name: value for name, value in each.items() if name in Threshold.__slots__})
            for each in values.get("thresholds", ())
        ]
        return cls(**{**known, "thresholds": thresholds})


class EventConfig(Record):
    """What players or scripts report: `path` is its script, `attributes` what comes with it (name -> kind)."""

    __slots__ = ("attributes", "code", "path")

    def __init__(self, code: str, *, path: str = "", attributes: Mapping[str, str] | None = None) -> None:
        self.code = code
        self.path = path
        self.attributes = dict(attributes or {})


class Leaderboard(Record):
    """Players by a score: the number in `attribute` of each `event`."""

    __slots__ = ("aggregate", "attribute", "attributes", "code", "event", "name", "order", "part", "ties")

    def __init__(
        self,
        code: str,
        *,
        name: str = "",
        event: str = "",
        attribute: str = "",
        aggregate: str = BEST,
        order: str = HIGH,
        part: str | None = None,
        ties: str = FIRST,
        attributes: Sequence[str] = (),
    ) -> None:
        self.code = code
        self.name = name or code
        self.event = event  # "": scripts submit the scores
        self.attribute = attribute
        self.aggregate = aggregate
        self.order = order
        self.part = part  # an attribute of the event, each of whose values has a table of its own
        self.ties = ties
        self.attributes = tuple(attributes)  # other attributes that are kept and shown with the score


class Currency(Record):
    """`signup`: what a new player gets."""

    __slots__ = ("code", "name", "signup")

    def __init__(self, code: str, *, name: str = "", signup: int = 0) -> None:
        self.code = code
        self.name = name or code
        self.signup = signup


class Good(Record):
    """Something that players buy. `prices`: currency -> amount, any of which will do."""

    __slots__ = ("code", "description", "most", "name", "prices")

    def __init__(
        self,
        code: str,
        *,
        name: str = "",
        description: str = "",
        prices: Mapping[str, int] | None = None,
        most: int | None = None,
    ) -> None:
        self.code = code
        self.name = name or code
        self.description = description
        self.prices = dict(prices or {})
        self.most = most  # that one player may have; None: any number


class Achievement(Record):
    """What a player can earn once; `currencies` and `goods` (code -> amount) come with it."""

    __slots__ = ("code", "currencies", "description", "goods", "name")

    def __init__(
        self,
        code: str,
        *,
        name: str = "",
        description: str = "",
        currencies: Mapping[str, int] | None = None,
        goods: Mapping[str, int] | None = None,
    ) -> None:
        self.code = code
        self.name = name or code
        self.description = description
        self.currencies = dict(currencies or {})
        self.goods = dict(goods or {})


class Game(Record):
    """A game: everything its folder says, by short code."""

    __slots__ = (
        "achievements",
        "api_key",
        "currencies",
        "events",
        "folder",
        "goods",
        "leaderboards",
        "matches",
        "name",
        "port",
        "scripts",
        "secret",
        "stamps",
        "www",
    )

    def __init__(
        self,
        folder: str = "",
        *,
        name: str = "game",
        api_key: str = "key",
        secret: str = "secret",
        port: int | None = None,
        currencies: Mapping[str, Currency] | None = None,
        matches: Mapping[str, MatchConfig] | None = None,
        events: Mapping[str, EventConfig] | None = None,
        leaderboards: Mapping[str, Leaderboard] | None = None,
        achievements: Mapping[str, Achievement] | None = None,
        goods: Mapping[str, Good] | None = None,
        www: str | None = None,
        scripts: str | None = None,
    ) -> None:
        self.folder = folder
        self.name = name
        self.api_key = api_key
        self.secret = secret
        self.port = port  # None: the server's own
        self.currencies = dict(currencies or {})
        self.matches = dict(matches or {})
        self.events = dict(events or {})
        self.leaderboards = dict(leaderboards or {})
        self.achievements = dict(achievements or {})
        self.goods = dict(goods or {})
        self.www = www  # absolute path of the folder that is served to browsers
        self.scripts = scripts  # absolute path of the folder of scripts
        self.stamps: dict[str, Stamp] = {}  # of its files when they were read


class Mistake(Record):
    """What is wrong in a game's folder. `line` from 1, 0: the whole file; `text` says what was expected."""

    __slots__ = ("key", "line", "path", "text")

    def __init__(self, path: str, line: int, key: str, text: str) -> None:
        self.path = path
        self.line = line
        self.key = key
        self.text = text

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


class GameError(Exception):
    """A game that cannot be served. `mistakes`: all that is wrong with it."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = list(mistakes)
