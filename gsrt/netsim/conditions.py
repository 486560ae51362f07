"""What a bad network does to datagrams, in numbers and in words: `Conditions.parse("loss=5% delay=30ms")`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

QUEUE_BYTES = 65_536  # in front of a rate, where nothing else is said: half a second at 1 Mbit/s
SECONDS_MAX = 60.0  # of a delay
BLACKOUT_SECONDS_MAX = 86_400.0
RATE_MIN, RATE_MAX = 125.0, 1.25e9  # bytes per second: 1 kbit/s to 10 Gbit/s
QUEUE_BYTES_MAX = 64_000_000
LOSS_BURST_MAX = 1000.0  # datagrams
BLACKOUTS_MAX = 64
REORDER_SECONDS = 0.02  # longer than two datagrams of a game are apart, where nothing else is said

# unit -> how many of the base unit; the smallest first
PERCENT = {"%": 0.01}
SECONDS = {"ms": 0.001, "s": 1.0}
RATES = {"bit": 0.125, "kbit": 125.0, "mbit": 125e3, "gbit": 125e6}
SIZES = {"b": 1.0, "kb": 1e3, "mb": 1e6}


class ConditionsError(ValueError):
    """A condition that there is not, or a value that it cannot have; the message says what is allowed."""


class Conditions:
    """What happens to the datagrams of one direction, in this order. Shares are 0 to 1, times in seconds.

    blackout_length, blackout_every: nothing comes through in the last so many of every so many seconds; 0: never
    blackouts: (start, length) of single blackouts, in seconds since the beginning
    loss: share of the datagrams that never arrive
    loss_burst: how many are lost in a row on average (Gilbert's model); 0: each for itself
    corrupt: share of which one bit arrives wrong
    rate: bytes per second, or None; queue_bytes: how much may wait for it, what is more is dropped
    delay: of each datagram; jitter: up to so much more
    jitter_reorders: False: the delay wanders, and datagrams stay in order, as on Wi-Fi and within one flow of most
        networks; True: it is another for each datagram, and they overtake each other
    reorder: share that is held back by `reorder_delay`, and so comes after what was sent later
    duplicate: share that arrives twice

    Raises ConditionsError for values out of range.
    """

    __slots__ = (
        "blackout_every",
        "blackout_length",
        "blackouts",
        "corrupt",
        "delay",
        "duplicate",
        "jitter",
        "jitter_reorders",
        "loss",
        "loss_burst",
        "queue_bytes",
        "rate",
        "reorder",
        "reorder_delay",
    )

    def __init__(
        self,
        *,
        loss: float = 0.0,
        loss_burst: float = 0.0,
        delay: float = 0.0,
        jitter: float = 0.0,
        jitter_reorders: bool = False,
        reorder: float = 0.0,
        reorder_delay: float = REORDER_SECONDS,
        duplicate: float = 0.0,
        corrupt: float = 0.0,
        rate: float | None = None,
        queue_bytes: int = QUEUE_BYTES,
        blackout_length: float = 0.0,
        blackout_every: float = 0.0,
        blackouts: Iterable[tuple[float, float]] = (),
    ) -> None:
        self.loss = _within("loss", loss, 0.0, 1.0)
        self.loss_burst = _within("loss_burst", loss_burst, 0.0, LOSS_BURST_MAX)
        self.delay = _within("delay", delay, 0.0, SECONDS_MAX)
        self.jitter = _within("jitter", jitter, 0.0, SECONDS_MAX)
        self.jitter_reorders = jitter_reorders
        self.reorder = _within("reorder", reorder, 0.0, 1.0)
        self.reorder_delay = _within("reorder_delay", reorder_delay, 0.0, SECONDS_MAX)
        self.duplicate = _within("duplicate", duplicate, 0.0, 1.0)
        self.corrupt = _within("corrupt", corrupt, 0.0, 1.0)
        self.rate = None if rate is None else _within("rate", rate, RATE_MIN, RATE_MAX)
        self.queue_bytes = int(_within("queue_bytes", queue_bytes, 1, QUEUE_BYTES_MAX))
        self.blackout_length = _within("blackout_length", blackout_length, 0.0, BLACKOUT_SECONDS_MAX)
        self.blackout_every = _within("blackout_every", blackout_every, 0.0, BLACKOUT_SECONDS_MAX)
        self.blackouts = tuple(sorted((float(start), float(length)) for start, length in blackouts))
        self._check()

    def _check(self) -> None:
        if self.loss_burst and self.loss_burst < max(1.0, self.loss / (1.0 - self.loss) if self.loss < 1.0 else 0.0):
            raise ConditionsError(
                f"loss_burst is {self.loss_burst:g}; allowed is 0, or 1 and more, and with a loss of over half no less "
                "than loss / (1 - loss): so many are lost in a row even if only one arrives between"
            )
        if bool(self.blackout_length) != bool(self.blackout_every) or self.blackout_length > self.blackout_every:
            raise ConditionsError(
                f"a blackout of {self.blackout_length:g} s in every {self.blackout_every:g} s: it can last as long as "
                "the time in which it comes once, not longer"
            )
        if len(self.blackouts) > BLACKOUTS_MAX:
            raise ConditionsError(f"{len(self.blackouts)} blackouts; allowed are {BLACKOUTS_MAX}")
        for start, length in self.blackouts:
            _within("a blackout's start", start, 0.0, BLACKOUT_SECONDS_MAX)
            _within("a blackout's length", length, 0.0, BLACKOUT_SECONDS_MAX)

    @classmethod
    def parse(cls, text: str, base: Conditions | None = None) -> Conditions:
        """The conditions of a text such as "loss=5% delay=30ms rate=1mbit blackout=5s/60s". A preset's name stands for
        all of its conditions. What comes later goes before what came earlier, and all of it before `base`. Raises
        ConditionsError."""
        values: dict[str, object] = {} if base is None else base.values()
        for word in text.split():
            key, equals, value = word.partition("=")
            if equals:
                values.update(read_condition(key, value))
            else:
                values.update(preset(word).values())
        return cls(**values)  # type: ignore[arg-type]

    def values(self) -> dict[str, object]:
        """By name, as the constructor takes them."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Conditions) and self.values() == other.values()

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        """As parse() takes it; "perfect" where nothing happens."""
        usual = _PERFECT.values()
        words = [
            f"{key}={condition.kind.spell(*(getattr(self, name) for name in condition.names))}"
            for key, condition in CONDITIONS.items()
            if any(getattr(self, name) != usual[name] for name in condition.names)
        ]
        return " ".join(words) or "perfect"

    def __repr__(self) -> str:
        return f"Conditions.parse({str(self)!r})"


class Kind:
    """How the value of a condition is written."""

    __slots__ = ("read", "spell", "takes")

    def __init__(self, takes: str, read: Callable[[str], tuple[object, ...]], spell: Callable[..., str]) -> None:
        self.takes = takes  # in words, for messages
        self.read = read  # from a text the values that the constructor takes; ValueError: it is none of this kind
        self.spell = spell  # the other way round


class Condition:
    """One word of the text: which arguments of the constructor it sets, and what it means."""

    __slots__ = ("example", "kind", "meaning", "names")

    def __init__(self, names: tuple[str, ...], kind: Kind, example: str, meaning: str) -> None:
        self.names = names
        self.kind = kind
        self.example = example
        self.meaning = meaning


def read_condition(key: str, text: str) -> dict[str, object]:
    """What `key=text` sets, by the names of the constructor's arguments. Raises ConditionsError."""
    condition = CONDITIONS.get(key)
    if condition is None:
        raise ConditionsError(f"there is no condition {key!r}; there are {', '.join(CONDITIONS)}")
    try:
        found = dict(zip(condition.names, condition.kind.read(text), strict=True))
        Conditions(**found)  # type: ignore[arg-type]
    except ValueError:
        raise ConditionsError(
            f"{key}={text} is not allowed; {key} takes {condition.kind.takes}, such as {key}={condition.example}"
        ) from None
    return found


def preset(name: str) -> Conditions:
    """The conditions of that name. Raises ConditionsError."""
    if name not in PRESETS:
        raise ConditionsError(
            f"{name!r} is neither a condition, such as loss=5%, nor a preset; there are {', '.join(PRESETS)}"
        )
    return Conditions.parse(PRESETS[name].text)


def _within(name: str, value: float, least: float, most: float) -> float:
    if not least <= value <= most:  # nan is not, either
        raise ConditionsError(f"{name} is {value:g}; allowed is {least:g} to {most:g}")
    return float(value)


def _read_number(text: str, units: dict[str, float]) -> float:
    """The number in "30ms" in base units; a 0 needs no unit. Raises ValueError."""
    text = text.lower()
    for unit in sorted(units, key=len, reverse=True):
        if text.endswith(unit):
            number = float(text.removesuffix(unit))
            factor = units[unit]
            return number * factor if factor >= 1 else number / round(1 / factor)  # 5 / 100 is 0.05 to the last bit
    if float(text) != 0:
        raise ValueError(f"{text} has no unit")
    return 0.0


def _spell_number(value: float, units: dict[str, float]) -> str:
    """What _read_number reads as exactly this value; short, and in the largest unit of which it is at least one."""
    fitting = [unit for unit in units if value >= units[unit]] or list(units)[:1]
    texts = [f"{value / units[fitting[-1]]:.6g}{fitting[-1]}"]
    texts += [f"{value / factor!r}{unit}" for unit, factor in units.items()]  # in s and in bit nothing is rounded
    return next(text for text in texts if _read_number(text, units) == value)


def _read_share(text: str) -> tuple[float]:
    return (_read_number(text, PERCENT) if text.endswith("%") else float(text),)


def _spell_share(value: float) -> str:
    text = f"{value * 100:.6g}%"
    return text if _read_number(text, PERCENT) == value else repr(value)


def _read_yes(text: str) -> tuple[bool]:
    if text not in ("yes", "no"):
        raise ValueError(text)
    return (text == "yes",)


def _read_blackout(text: str) -> tuple[float, float, tuple[tuple[float, float], ...]]:
    """From "5s/60s", or "5s@12s", or several with commas, or "never": length, every, (start, length) of single ones."""
    length = every = 0.0
    single: list[tuple[float, float]] = []
    for word in text.split(",") if text != "never" else ():
        if "@" in word:
            how_long, _, start = word.partition("@")
            single.append((_read_number(start, SECONDS), _read_number(how_long, SECONDS)))
        else:
            if every:
                raise ValueError("two that come again and again")
            how_long, _, how_often = word.partition("/")
            length, every = _read_number(how_long, SECONDS), _read_number(how_often, SECONDS)
    return length, every, tuple(single)


def _spell_blackout(length: float, every: float, single: tuple[tuple[float, float], ...]) -> str:
    words = [f"{_spell_number(length, SECONDS)}/{_spell_number(every, SECONDS)}"] if every else []
    words += [f"{_spell_number(how_long, SECONDS)}@{_spell_number(start, SECONDS)}" for start, how_long in single]
    return ",".join(words) or "never"


SHARE = Kind("a share, 0% to 100%", _read_share, _spell_share)
TIME = Kind(
    f"a time in ms or s, up to {SECONDS_MAX:g}s",
    lambda text: (_read_number(text, SECONDS),),
    lambda value: _spell_number(value, SECONDS),
)
COUNT = Kind(
    f"a number of datagrams, 1 to {LOSS_BURST_MAX:g}, or 0",
    lambda text: (float(text),),
    lambda value: repr(value).removesuffix(".0"),
)
RATE = Kind(
    "a rate in kbit, mbit or gbit (per second), 1kbit to 10gbit, or unlimited",
    lambda text: (None if text == "unlimited" else _read_number(text, RATES),),
    lambda value: "unlimited" if value is None else _spell_number(value, RATES),
)
SIZE = Kind(
    "a size in B, kB or MB (1000, not 1024), 1B to 64MB",
    lambda text: (round(_read_number(text, SIZES)),),
    lambda value: f"{value // 1000}kB" if value % 1000 == 0 else f"{value}B",
)
YES = Kind("yes or no", _read_yes, lambda value: "yes" if value else "no")
BLACKOUT = Kind(
    "LENGTH/EVERY, or LENGTH@START, or several with commas between them, times in ms or s, or never",
    _read_blackout,
    _spell_blackout,
)

CONDITIONS = {
    "loss": Condition(("loss",), SHARE, "5%", "so many never arrive"),
    "loss_burst": Condition(("loss_burst",), COUNT, "4", "so many are lost in a row on average; 0: each for itself"),
    "delay": Condition(("delay",), TIME, "30ms", "each arrives so much later"),
    "jitter": Condition(("jitter",), TIME, "20ms", "and up to so much more; the delay wanders between the two"),
    "jitter_reorders": Condition(
        ("jitter_reorders",), YES, "yes", "jitter is another for each datagram: they overtake each other"
    ),
    "reorder": Condition(("reorder",), SHARE, "2%", "so many are held back, and those behind overtake them"),
    "reorder_delay": Condition(("reorder_delay",), TIME, "40ms", "for so long they are held back"),
    "duplicate": Condition(("duplicate",), SHARE, "1%", "so many arrive twice"),
    "corrupt": Condition(("corrupt",), SHARE, "0.1%", "in so many, one bit is wrong"),
    "rate": Condition(("rate",), RATE, "1mbit", "no more comes through in a second; what is more waits in a queue"),
    "queue": Condition(("queue_bytes",), SIZE, "256kB", "so much may wait there; what is more is dropped"),
    "blackout": Condition(
        ("blackout_length", "blackout_every", "blackouts"),
        BLACKOUT,
        "5s/60s",
        "nothing comes through: 5s/60s is the last 5 of every 60 seconds, 5s@12s once, 12 seconds after the beginning",
    ),
}


class Preset:
    """Conditions with a name."""

    __slots__ = ("meaning", "text")

    def __init__(self, text: str, meaning: str) -> None:
        self.text = text
        self.meaning = meaning


# Each for one direction: a round trip has twice the delay. Orders of magnitude of such networks, not of one of them.
PRESETS = {
    "perfect": Preset("", "nothing happens"),
    "good-wifi": Preset("loss=0.2% delay=2ms jitter=6ms", "the router is in the same room"),
    "bad-wifi": Preset(
        "loss=3% loss_burst=3 delay=4ms jitter=80ms reorder=0.2% duplicate=0.1% rate=6mbit blackout=400ms/20s",
        "two walls away, and the neighbours watch films",
    ),
    "mobile": Preset("loss=0.5% delay=30ms jitter=30ms rate=8mbit queue=256kB", "a telephone that stays where it is"),
    "train": Preset(
        "loss=2% loss_burst=5 delay=40ms jitter=150ms rate=1mbit queue=128kB blackout=5s/60s",
        "a telephone on the way: slow, with a tunnel every minute",
    ),
    "satellite": Preset("loss=0.5% delay=270ms jitter=15ms rate=4mbit queue=256kB", "a geostationary satellite"),
    "lossy": Preset("loss=30% delay=30ms jitter=10ms", "worse than what is called playable, to see what gives first"),
}

_PERFECT = Conditions()
