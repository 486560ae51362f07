"""The picture of `gsrt top`: from figures to lines of text, for a terminal of any size. No terminal is touched here.

All that comes from outside (names of players, games, scripts) goes through printable(), and is measured as terminals
show it.
"""

from __future__ import annotations

import textwrap
import unicodedata

from gsrt.cli.text import count, duration, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from gsrt.cli.top_figures import Figures, Rates, Session

WIDTH_MIN = 20
SESSION_WIDTH_MIN = 10  # of the column of session ids, whose beginning tells them apart...
WHOLE_FROM = 60  # ...but where there is so much room they are shown whole, for commands want them so
GAP = "  "
UNKNOWN = "-"

PLAIN, BOLD, CHOSEN, GOOD, WARN, BAD = "", "1", "7", "32", "33", "31"  # parameters of SGR (ECMA-48, 8.3.117)
COLOURS = (GOOD, WARN, BAD)

HELP = "q quit   arrows choose, sort   r reverse   Enter look into   Esc back"
LEVEL_STYLES = {"normal": GOOD, "slowed": WARN, "refusing": BAD}
STATES = ("ready", "joining", "absent", "expected", "gone", "kicked")
PLAYER_STYLES = {"ready": GOOD, "joining": WARN, "absent": BAD, "kicked": BAD}


class Piece:
    """Text in one style."""

    __slots__ = ("style", "text")

    def __init__(self, text: str, style: str = PLAIN) -> None:
        self.text = text
        self.style = style


class Column:
    """A column of the table of sessions. `key` is what it is sorted by, `show` what is shown; of columns that do not
    fit the one of the lowest `weight` goes first. The first column takes the space that is left."""

    __slots__ = ("key", "show", "title", "weight", "width")

    def __init__(
        self, title: str, width: int, weight: int, key: Callable[[Session], Any], show: Callable[[Session], str]
    ) -> None:
        self.title = title
        self.width = width
        self.weight = weight
        self.key = key
        self.show = show


def _rate_column(title: str, weight: int, get: Callable[[Session], float | None]) -> Column:
    return Column(title, 7, weight, lambda each: get(each) or 0.0, lambda each: short(get(each)))


COLUMNS = (
    Column("session", 16, 9, lambda each: each.session_id, lambda each: printable(each.session_id)),
    Column("age", 6, 1, lambda each: each.age_seconds, lambda each: " ".join(duration(each.age_seconds).split()[:2])),
    Column(
        "here",
        7,
        8,
        lambda each: (each.connected, each.players),
        lambda each: f"{each.connected}/{each.players}",
    ),
    _rate_column("in/s", 7, lambda each: each.rates.of("packets_in")),
    _rate_column("out/s", 6, lambda each: each.rates.of("packets_out")),
    _rate_column("inB/s", 2, lambda each: each.rates.of("bytes_in")),
    _rate_column("outB/s", 3, lambda each: each.rates.of("bytes_out")),
    _rate_column("drop/s", 5, lambda each: each.rates.dropped),
    Column("rtt ms", 7, 4, lambda each: each.round_trip_ms or 0.0, lambda each: short(each.round_trip_ms)),
    Column("script", 10, 3, lambda each: _script_rank(each), lambda each: _script_text(each)),
)


class View:
    """What the person at the terminal has chosen. `session_id`: the line the cursor is on; `inside`: whether that
    session is looked into; `scrolled`: lines above the first that is shown there."""

    def __init__(self) -> None:
        self.sorted_by = 0
        self.is_reversed = False
        self.session_id: str | None = None
        self.inside = False
        self.scrolled = 0

    def press(self, key: str, sessions: Sequence[Session]) -> None:
        """A key other than that which quits; SESSIONS are all there are."""
        if key in ("left", "right"):
            self.sorted_by = (self.sorted_by + (1 if key == "right" else -1)) % len(COLUMNS)
        elif key == "r":
            self.is_reversed = not self.is_reversed
        elif key == "back":
            self.inside = False
        elif key == "enter":
            self.inside, self.scrolled = not self.inside, 0
        elif key in ("up", "down"):
            step = 1 if key == "down" else -1
            if self.inside:
                self.scrolled = max(self.scrolled + step, 0)
            else:
                self._move(step, sessions)

    def ordered(self, sessions: Sequence[Session]) -> list[Session]:
        """By the chosen column: names from A on, numbers from the largest on."""
        in_order = sorted(sessions, key=lambda each: each.session_id)
        in_order.sort(key=COLUMNS[self.sorted_by].key, reverse=self.is_reversed != (self.sorted_by > 0))
        return in_order

    def chosen(self, sessions: Sequence[Session]) -> int:
        """Where in these the cursor is: at the first where the chosen one is no more."""
        ids = [each.session_id for each in sessions]
        return ids.index(self.session_id) if self.session_id in ids else 0

    def wants(self, sessions: Sequence[Session]) -> str | None:
        """The session that is looked into."""
        in_order = self.ordered(sessions)
        return in_order[self.chosen(in_order)].session_id if self.inside and in_order else None

    def _move(self, step: int, sessions: Sequence[Session]) -> None:
        in_order = self.ordered(sessions)
        if in_order:
            place = min(max(self.chosen(in_order) + step, 0), len(in_order) - 1)
            self.session_id = in_order[place].session_id


def draw(figures: Figures | None, view: View, width: int, height: int | None, trouble: str = "") -> list[list[Piece]]:
    """The lines of one frame, none wider than WIDTH, at most HEIGHT of them (None: as many as it takes). TROUBLE: why
    the figures are those of before, or there are none."""
    width = max(width, WIDTH_MIN)
    top = [[Piece(each, BAD)] for each in wrap(trouble, width, 3)] if trouble else []
    body: list[list[Piece]] = []
    if figures is not None:
        in_order = view.ordered(figures.sessions)
        place = view.chosen(in_order)
        top += _summary(figures, width)
        top.append([])
        left = None if height is None else max(height - len(top) - 1, 1)
        if view.inside and in_order:
            body = _scrolled(_inside(in_order[place], figures.inside, width), view, left)
        else:
            body = _table(in_order, place if height is not None else -1, view, width, left)
    lines = top + body
    if height is not None:
        lines = lines[: max(height - 1, 0)]
        lines += [[] for _ in range(height - 1 - len(lines))]
        lines.append([Piece(HELP if width >= len(HELP) else "q quit  arrows  Enter  Esc", BOLD)])
        lines = lines[-height:]
    return [_cut(line, width) for line in lines]


# The summary


def _summary(figures: Figures, width: int) -> list[list[Piece]]:
    status, governor = figures.overview, figures.governor
    lines = flow(
        [
            ("gsrt", Piece(printable(status["version"]))),
            ("at", Piece(printable(f"{status['host']}:{status['port']}"))),
            ("profile", Piece(printable(status["profile"]))),
            ("up", Piece(duration(status["uptimeSeconds"]))),
            ("process", Piece(str(status["pid"]))),
        ],
        width,
    )
    lines += flow(_box(figures), width)
    for reason in governor.get("reasons", ()):
        style = LEVEL_STYLES.get(governor["level"], WARN)
        lines += [[Piece(each, style)] for each in wrap(printable(reason), width, 2)]
    lines += flow(_traffic(figures.rates), width)
    lines += flow(_players(status), width)
    if sum(status["scripts"][state] for state in ("running", "off")):
        lines += flow(_scripts(status["scripts"]), width)
    if "platform" in status:
        lines += flow(_platform(status["platform"]), width)
    return lines


def _box(figures: Figures) -> list[tuple[str, Piece]]:
    governor, loop = figures.governor, figures.overview["loop"]
    items = []
    if "level" in governor:
        items.append(("box", Piece(governor["level"], LEVEL_STYLES.get(governor["level"], PLAIN))))
    memory, most = size(figures.memory_bytes), governor.get("memoryBytesMax")
    items.append(("memory", Piece(memory if most is None else f"{memory} of {size(most)}")))
    items.append(("cpu", Piece(UNKNOWN if figures.cpu_percent is None else f"{figures.cpu_percent:.1f} %")))
    celsius = governor.get("temperatureCelsius")
    if celsius is not None:
        items.append(("heat", Piece(f"{celsius:.1f} \N{DEGREE SIGN}C")))
    lately = loop.get("worstTickLatelyMs", loop["worstTickMs"])
    items.append(("loop's worst", Piece(f"{short(lately)} ms")))
    items.append(("ever", Piece(f"{short(loop['worstTickMs'])} ms")))
    if loop["tickMs"]:
        items.append(("tick", Piece(f"{short(loop['tickMs'])} ms")))
    return items


def _traffic(rates: Rates) -> list[tuple[str, Piece]]:
    items = []
    for name in ("in", "out"):
        packets, octets = rates.of(f"packets_{name}"), rates.of(f"bytes_{name}")
        items.append((name, Piece(f"{short(packets)} packets/s, {short(octets)}B/s")))
    items.append(("dropped", Piece(*_drops(rates))))
    return items


def _drops(rates: Rates) -> tuple[str, str]:
    """What is dropped, as text and style."""
    if not rates.dropped:
        return ("0/s" if rates.dropped is not None else UNKNOWN), PLAIN
    reasons = ", ".join(f"{name.replace('_', ' ')} {short(rate)}" for name, rate in rates.drops.items())
    return f"{short(rates.dropped)}/s: {reasons}", WARN


def _players(status: dict[str, Any]) -> list[tuple[str, Piece]]:
    known = ", ".join(f"{number} {state}" for state in STATES if (number := status["players"][state]))
    return [
        ("players", Piece(known or "none")),
        ("sessions", Piece(str(status["sessions"]))),
        ("links", Piece(str(status["links"]))),
        ("connections", Piece(str(status["connections"]))),
    ]


def _scripts(scripts: dict[str, int]) -> list[tuple[str, Piece]]:
    off = [("off", Piece(str(scripts["off"]), BAD))] if scripts["off"] else []
    return [
        ("scripts", Piece(f"{scripts['running']} running")),
        *off,
        ("strikes", Piece(str(scripts["strikes"]), WARN if scripts["strikes"] else PLAIN)),
        ("failures", Piece(str(scripts["failures"]))),
    ]


def _platform(platform: dict[str, Any]) -> list[tuple[str, Piece]]:
    matches, store = platform["matches"], platform["store"]
    return [
        ("game", Piece(printable(platform["game"]))),
        ("online", Piece(str(platform["playersOnline"]))),
        ("looking", Piece(str(matches["tickets"]))),
        ("matches", Piece(str(matches["running"]))),
        ("store", Piece(f"{count(store['store_waiting'], 'job')}, worst {short(store['store_commit_worst_ms'])} ms")),
    ]


# The table


def _table(sessions: Sequence[Session], place: int, view: View, width: int, height: int | None) -> list[list[Piece]]:
    """PLACE: where the cursor is; -1: nowhere."""
    if not sessions:
        return [[Piece("no session is open")]]
    columns = _fitting(width)
    room = width - sum(each.width + len(GAP) for each in columns[1:])
    widths = [min(room, columns[0].width), *(each.width for each in columns[1:])]
    titles = [each.title + ("*" if each is COLUMNS[view.sorted_by] else "") for each in columns]
    lines = [[Piece(_row(titles, widths), BOLD)]]
    first = 0
    if height is not None:
        shown = max(height - 1, 1)
        first = max(min(place - shown // 2, len(sessions) - shown), 0)
        sessions = sessions[first : first + shown]
    for number, each in enumerate(sessions, first):
        text = _row([column.show(each) for column in columns], widths)
        lines.append([Piece(fit(text, width, fill=number == place), CHOSEN if number == place else PLAIN)])
    return lines


def _fitting(width: int) -> list[Column]:
    """The columns that there is room for."""
    columns = list(COLUMNS)
    least = SESSION_WIDTH_MIN if width < WHOLE_FROM else columns[0].width
    while least + sum(each.width + len(GAP) for each in columns[1:]) > width and len(columns) > 1:
        columns.remove(min(columns, key=lambda each: each.weight))
    return columns


def _row(cells: Iterable[str], widths: Iterable[int]) -> str:
    """The first to the left, the others to the right."""
    parts = [
        fit(cell, width, fill=True, right=bool(place))
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return GAP.join(parts).rstrip()


def _script_rank(session: Session) -> tuple[int, int]:
    return (0 if session.script is None else 2 if session.script == "off" else 1), session.strikes


def _script_text(session: Session) -> str:
    if session.script is None:
        return UNKNOWN
    return f"{session.script} {session.strikes}!" if session.strikes else session.script


# Inside a session


def _inside(session: Session, told: dict[str, Any] | None, width: int) -> list[list[Piece]]:
    """TOLD: all about it, if the server has been asked."""
    rates = session.rates
    lines = flow(
        [
            ("session", Piece(printable(session.session_id), BOLD)),
            ("age", Piece(duration(session.age_seconds))),
            ("here", Piece(f"{session.connected} of {session.players}")),
        ],
        width,
    )
    lines += flow(_traffic(rates), width)
    if told is not None and told["sessionId"] == session.session_id:
        if "script" in told:
            lines += flow(_script(told["script"]), width)
        cells: list[tuple[str, ...]] = [("peer", "player", "state", "by", "rtt ms", "jitter", "loss %")]
        cells += [_player(each, told["links"].get(each["playerId"], {})) for each in told["players"]]
        styles = [BOLD, *(PLAYER_STYLES.get(each["state"], PLAIN) for each in told["players"])]
        lines += [[], *([Piece(each, style)] for each, style in zip(_aligned(cells, width), styles, strict=True))]
    counted = {name: total for name, total in rates.now.items() if total}
    if counted:
        lines += [[], [Piece("in all", BOLD)]]
        lines += flow([(name, Piece(short(total))) for name, total in counted.items()], width)
    return lines


def _script(script: dict[str, Any]) -> list[tuple[str, Piece]]:
    items = [
        ("script", Piece(printable(script["path"]))),
        ("state", Piece(script["state"], BAD if script["state"] == "off" else GOOD)),
    ]
    numbers = ("strikes", "failures", "calls", "sent", "longestMs", "gasMost", "heldBytes", "reloads")
    return items + [(name, Piece(short(script[name]))) for name in numbers if name in script]


def _player(player: dict[str, Any], quality: dict[str, float]) -> tuple[str, ...]:
    has_samples = quality.get("rtt", 0) > 0
    return (
        str(player["peerId"]),
        printable(player["playerId"]),
        player["state"],
        player["leg"] or UNKNOWN,
        short(player.get("roundTripMs")),
        short(quality["jitter"] * 1000) if has_samples else UNKNOWN,
        short(quality["loss"] * 100) if quality else UNKNOWN,
    )


def _aligned(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Rows of a table of players: the name gives way first, then the columns from the right."""
    widths = [max(wide(cell) for cell in column) for column in zip(*rows, strict=True)]
    widths[1] = max(8, min(widths[1], width - sum(widths) + widths[1] - len(GAP) * (len(widths) - 1)))
    while sum(widths) + len(GAP) * (len(widths) - 1) > width and len(widths) > 3:
        widths.pop()
    return [
        GAP.join(
            fit(cell, size, fill=True, right=place == 0 or place > 3)
            for place, (cell, size) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    ]


def _scrolled(lines: list[list[Piece]], view: View, height: int | None) -> list[list[Piece]]:
    if height is not None:
        view.scrolled = max(min(view.scrolled, len(lines) - height), 0)
    return lines[view.scrolled :]


# Text


def flow(items: Iterable[tuple[str, Piece]], width: int) -> list[list[Piece]]:
    """Labels and values one behind the other, on as many lines as that takes; the later ones are indented."""
    lines: list[list[Piece]] = [[]]
    used = 0
    for label, value in items:
        needed = len(label) + 1 + wide(value.text)
        if used and used + len(GAP) + needed > width:
            lines.append([Piece(GAP)])
            used = len(GAP)
        elif used:
            lines[-1].append(Piece(GAP))
            used += len(GAP)
        lines[-1] += [Piece(f"{label} ", BOLD), value]
        used += needed
    return lines


def wrap(text: str, width: int, most: int) -> list[str]:
    """TEXT in lines, MOST of them at most."""
    return textwrap.wrap(text, width, max_lines=most, placeholder="...")


def short(number: float | None) -> str:
    """A number in five characters at most: "0", "0.25", "3.4", "812", "1.2k", "34M"."""
    if number is None:
        return UNKNOWN
    if number < 1:
        return f"{number:.2f}".rstrip("0").rstrip(".") or "0"
    for unit in ("", "k", "M", "G", "T"):
        if number < 9.95:
            return f"{number:.1f}".removesuffix(".0") + unit
        if number < 999.5:
            return f"{number:.0f}{unit}"
        number /= 1000
    return "much"


def size(octets: float | None) -> str:
    """Bytes in the unit that memory is counted in."""
    return UNKNOWN if octets is None else f"{octets / (1 << 20):.1f} MiB"


def wide(text: str) -> int:
    """Columns that a terminal takes for TEXT, which is printable."""
    return sum(_columns(each) for each in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int, *, fill: bool = False, right: bool = False) -> str:
    """TEXT in WIDTH columns: cut where it is wider, with dots where there is room for them; with spaces where FILL."""
    if wide(text) > width:
        dots = "..." if width >= 8 else ""
        kept, used = "", len(dots)
        for each in text:
            used += _columns(each)
            if used > width:
                break
            kept += each
        text = kept + dots
    spaces = " " * (width - wide(text)) if fill else ""
    return spaces + text if right else text + spaces


def _cut(line: list[Piece], width: int) -> list[Piece]:
    """The pieces that there is room for."""
    found: list[Piece] = []
    for piece in line:
        room = width - sum(wide(each.text) for each in found)
        if room > 0:
            found.append(Piece(fit(piece.text, room), piece.style))
    return found


def paint(line: Iterable[Piece], *, styled: bool, coloured: bool) -> str:
    """A line with the escapes for its styles; STYLED False: without any, COLOURED False: without colours."""
    painted = []
    for piece in line:
        if styled and piece.style and (coloured or piece.style not in COLOURS):
            painted.append(f"\x1b[{piece.style}m{piece.text}\x1b[0m")
        else:
            painted.append(piece.text)
    return "".join(painted)
