"""A game's folder, read: all of it or a list of everything that is wrong with it.

For `gsrt check`, before serving, and on the worker thread when a file has changed."""

from __future__ import annotations

import os

from gsrt.game.attributes import AttributesError, declared_attributes
from gsrt.game.model import (
    NUMBER,
    OBJECT,
    PERCENT,
    RELATIVE,
    Achievement,
    Currency,
    EventConfig,
    Game,
    GameError,
    Good,
    Leaderboard,
    MatchConfig,
    Mistake,
    Threshold,
)
from gsrt.game.schema import ACHIEVEMENTS, CODE_CHARACTERS, GAME, GOODS, LEADERBOARDS, MATCH, is_code, judged, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import CodeType
    from typing import Any

    from gsrt.game.lines import Path
    from gsrt.game.schema import Key
    from gsrt.profile import Profile
    from gsrt.scripts.compiling import Compiler, Stamp

GAME_FILE = "game.toml"
LEADERBOARDS_FILE = "leaderboards.toml"
ACHIEVEMENTS_FILE = "achievements.toml"
GOODS_FILE = "goods.toml"
FILES = {GAME_FILE: GAME, LEADERBOARDS_FILE: LEADERBOARDS, ACHIEVEMENTS_FILE: ACHIEVEMENTS, GOODS_FILE: GOODS}
MATCHES_FOLDER = "matches"
SCRIPTS_FOLDER = "scripts"
EVENTS_FOLDER = "events"
WWW_FOLDER = "www"

ENTRY = "on_event"  # what the script of an event has to define
VARARGS = 4  # inspect.CO_VARARGS: a function that takes any number of arguments
ENTRY_FIELDS = ("rank", "userId", "userName", "when")  # of every entry of a leaderboard

FILE_BYTES_MAX = 262_144
FOLDERS = (MATCHES_FOLDER, SCRIPTS_FOLDER, EVENTS_FOLDER, WWW_FOLDER)
SINGULARS = {"match": MATCHES_FOLDER}  # where the plural is too far away to be taken for a slip
FILES_MAX = 1000  # in one folder
MISTAKES_MAX = 100  # then reading ends

SECRET_REASON = (
    "a secret with `:` makes the clients speak an obfuscated form of the protocol, which this server does not; "
    "choose one without"
)


class _Enough(Exception):
    """So many mistakes that no more are looked for."""


def read_game(
    folder: str,
    profile: Profile | None = None,
    *,
    known: Game | None = None,
    every_script: bool = False,
    compiler: Compiler | None = None,
) -> Game:
    """The game in a folder. `profile`: what the server can bear (default: the generic one).

    Scripts are compiled to see whether they would run, but for those that are as they were when `known` was read.
    `every_script`: also those that no match names, which keep nobody from serving the game. `compiler`: that of the
    server (default: one of its own). Raises GameError."""
    if profile is None:
        from gsrt.profile import Profile

        profile = Profile.load("generic")
    scripts = {} if known is None else {path: known.stamps[path] for path in _scripts(known) if path in known.stamps}
    return _Reading(folder, profile, scripts, every_script=every_script, compiler=compiler).game()


def read_sound_parts(folder: str, profile: Profile) -> tuple[Game, list[Mistake]]:
    """The game without what is wrong in it, and what that is: for a server that starts anew by itself, whose sessions
    are not to be lost because somebody is just changing a file. Scripts are not compiled.

    Raises GameError when there is no name, key or secret."""
    return _Reading(folder, profile, None).sound_parts()


def stamps_of(folder: str) -> dict[str, Stamp]:
    """What tells whether any of a game's files has changed, was added or deleted: by their absolute paths."""
    folder = os.path.abspath(folder)
    paths = [os.path.join(folder, name) for name in FILES]
    for name, ending in ((MATCHES_FOLDER, ".toml"), (EVENTS_FOLDER, ".py"), (SCRIPTS_FOLDER, ".py")):
        inside = os.path.join(folder, name)
        paths += [os.path.join(inside, each) for each in _listed(inside, ending)[:FILES_MAX]]
    found = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        found[path] = status.st_mtime_ns, status.st_size, status.st_ino
    www = os.path.join(folder, WWW_FOLDER)
    if os.path.isdir(www):
        found[www] = 0, 0, 0  # what is in it is no concern of the server's until somebody asks for it
    return found


class _File:
    """A TOML file; its tables are judged by KEYS."""

    def __init__(self, reading: _Reading, path: str, keys: tuple[Key, ...]) -> None:
        self._reading = reading
        self._text = ""
        self._lines: dict[Path, int] | None = None
        self._unsound: set[Path] = set()
        self.path = path
        self.values: dict[str, Any] = {}
        table = self._table()
        if table is not None:
            self.values = judged(table, keys, (), self.tell)

    def tables(self, key: str) -> list[dict[str, Any]]:
        """The tables [[KEY]]; none where the file could not be read."""
        found: list[dict[str, Any]] = self.values.get(key, [])
        return found

    def tell(self, at: Path, text: str) -> None:
        """Something is wrong at that key."""
        self._unsound.add(at[:2])
        key = ".".join(part for part in at if isinstance(part, str))
        self._reading.tell(self.path, self.line(at), key, text)

    def is_sound(self, at: Path) -> bool:
        """Whether nothing is wrong in that table of an array."""
        return at not in self._unsound

    def line(self, at: Path) -> int:
        """The line of the key, or of what it would be in."""
        if self._lines is None:
            from gsrt.game.lines import lines_of

            self._lines = lines_of(self._text)
        while at:
            if at in self._lines:
                return self._lines[at]
            at = at[:-1]
        return 1

    def _table(self) -> dict[str, Any] | None:
        from tomllib import TOMLDecodeError, loads

        text = self._reading.text_of(self.path, FILE_BYTES_MAX)
        if text is None:
            return None
        self._text = text
        try:
            return loads(text)
        except TOMLDecodeError as error:
            what, line = _placed(str(error), text)
        except RecursionError:
            what, line = "is nested too deeply", 1
        except ValueError as error:  # such as a number of thousands of digits
            what, line = f"{error}", 1
        self._reading.tell(self.path, line, "", f"this is not TOML: {what}")
        return None


class _Referred:
    """What other files name by short codes: those that there are, of one kind, in a file."""

    def __init__(self, kind: str, known: Mapping[str, Any], name: str, file: _File | None) -> None:
        self.kind = kind
        self.known = known
        self.name = name
        self._is_readable = file is None or bool(file.values)

    def check(self, file: _File, at: Path, named: Iterable[str]) -> None:
        """Tells of each that is named at a place of a file and is not there."""
        for code in named:
            if code not in self.known and self._is_readable:
                file.tell((*at, code), _none_such(self.kind, self.known, code, self.name))


class _Reading:
    """One go through a folder."""

    def __init__(
        self,
        folder: str,
        profile: Profile,
        known: Mapping[str, Stamp] | None,
        *,
        every_script: bool = False,
        compiler: Compiler | None = None,
    ) -> None:
        self._folder = folder
        self._profile = profile
        self._known = known  # scripts that were compiled before; None: none is compiled
        self._every_script = every_script
        self._compiler = compiler
        self._unsound: list[tuple[str, str]] = []  # (what they are, short code) of those with a mistake
        self._mistakes: list[Mistake] = []
        self._compiled: set[str] = set()

    def game(self) -> Game:
        stamps = stamps_of(self._folder)
        try:
            game = self._read()
        except _Enough:
            game = None
        if game is None or self._mistakes:
            raise GameError(sorted(self._mistakes, key=self._order))
        game.stamps = stamps
        return game

    def sound_parts(self) -> tuple[Game, list[Mistake]]:
        try:
            game = self._read()
        except _Enough:
            game = None
        if game is None or not (game.name and game.api_key and game.secret):
            raise GameError(sorted(self._mistakes, key=self._order))
        for kind, code in self._unsound:
            getattr(game, kind).pop(code, None)
        return game, sorted(self._mistakes, key=self._order)

    def tell(self, path: str, line: int, key: str, text: str) -> None:
        self._mistakes.append(Mistake(path, line, key, text))
        if len(self._mistakes) >= MISTAKES_MAX:
            self._mistakes.append(Mistake(self._folder, 0, "", "there are more mistakes; these come first"))
            raise _Enough

    def _order(self, mistake: Mistake) -> tuple[bool, str, int]:
        """What concerns the whole folder comes last."""
        return mistake.path == self._folder, mistake.path, mistake.line

    def _read(self) -> Game | None:
        if not os.path.isfile(self._path(GAME_FILE)):
            if os.path.isdir(self._folder):
                what = f"there is no {GAME_FILE} in it; `gsrt new NAME` makes one"
            elif os.path.exists(self._folder):
                what = f"it is a file; name the folder that {GAME_FILE} is in"
            else:
                what = "there is no such folder; `gsrt new NAME` makes one"
            self.tell(self._folder, 0, "", f"this is no game: {what}")
            return None
        self._look_around()
        head = self._file(GAME_FILE)
        self._check_head(head)
        currencies = self._currencies(head)
        prices = _Referred("currency", currencies, GAME_FILE, head)
        goods = self._goods(prices)
        events = self._events()
        if self._every_script:
            for name in self._files(SCRIPTS_FOLDER, ".py"):
                self._compile(self._path(SCRIPTS_FOLDER, name + ".py"))
        values = head.values
        return Game(
            os.path.abspath(self._folder),
            name=values.get("name") or "",
            api_key=values.get("api_key") or "",
            secret=values.get("secret") or "",
            port=values.get("port"),
            currencies=currencies,
            goods=goods.known,
            events=events,
            matches=self._matches(),
            leaderboards=self._leaderboards(events),
            achievements=self._achievements(prices, goods),
            www=self._inner_folder(WWW_FOLDER),
            scripts=self._inner_folder(SCRIPTS_FOLDER),
        )

    # Files

    def text_of(self, path: str, most: int) -> str | None:
        """What a file holds; None (and a mistake) where that cannot be had."""
        if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe might never end
            self.tell(path, 0, "", "is no file")
            return None
        try:
            with open(path, "rb") as file:
                content = file.read(most + 1)
        except OSError as error:
            self.tell(path, 0, "", f"cannot be read: {error.strerror}")
            return None
        if len(content) > most:
            self.tell(path, 0, "", f"is too long; expected at most {most:,} bytes")
            return None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self.tell(path, line, "", "is not UTF-8; expected a text file in UTF-8")
            return None

    def _path(self, *names: str) -> str:
        return os.path.join(self._folder, *names)

    def _inner_folder(self, name: str) -> str | None:
        path = os.path.abspath(self._path(name))
        return path if os.path.isdir(path) else None

    def _file(self, name: str) -> _File:
        return _File(self, self._path(name), FILES[name])

    def _optional(self, name: str) -> _File | None:
        return self._file(name) if os.path.lexists(self._path(name)) else None

    def _files(self, folder: str, ending: str) -> Iterator[str]:
        """The names of the files of a folder that end so, without the ending."""
        names = _listed(self._path(folder), ending)
        if len(names) > FILES_MAX:
            self.tell(self._path(folder), 0, "", f"holds too many files; expected at most {FILES_MAX:,}")
        for name in names[:FILES_MAX]:
            yield name.removesuffix(ending)

    def _look_around(self) -> None:
        """A file or folder that is called almost as one that would be read is a mistake."""
        folders = [name for name in _listed(self._folder, "") if os.path.isdir(self._path(name))]
        for names, known in ((_listed(self._folder, ".toml"), tuple(FILES)), (folders, FOLDERS)):
            for name in names:
                meant = None if name in known else SINGULARS.get(name.lower()) or nearest(name, known)
                if meant:
                    self.tell(self._path(name), 0, "", f"is not read; expected the name {meant}")

    # What is in them

    def _check_head(self, head: _File) -> None:
        api_key = head.values.get("api_key") or ""
        if not CODE_CHARACTERS.issuperset(api_key):
            head.tell(("api_key",), "expected letters, digits, _ and - only, for it is part of an address")
        if ":" in (head.values.get("secret") or ""):
            head.tell(("secret",), SECRET_REASON)

    def _currencies(self, head: _File) -> dict[str, Currency]:
        return {
            code: Currency(code, name=table["name"], signup=table["signup"])
            for code, table in self._by_code(head, "currency", "currencies")
        }

    def _goods(self, prices: _Referred) -> _Referred:
        file = self._optional(GOODS_FILE)
        goods: dict[str, Good] = {}
        for code, table in self._by_code(file, "good", "goods"):
            assert file is not None
            prices.check(file, (*table["at"], "prices"), table["prices"])
            goods[code] = Good(
                code,
                name=table["name"],
                description=table["description"],
                prices=table["prices"],
                most=table["most"],
            )
        return _Referred("good", goods, GOODS_FILE, file)

    def _achievements(self, currencies: _Referred, goods: _Referred) -> dict[str, Achievement]:
        file = self._optional(ACHIEVEMENTS_FILE)
        achievements = {}
        for code, table in self._by_code(file, "achievement", "achievements"):
            assert file is not None
            currencies.check(file, (*table["at"], "currencies"), table["currencies"])
            goods.check(file, (*table["at"], "goods"), table["goods"])
            achievements[code] = Achievement(
                code,
                name=table["name"],
                description=table["description"],
                currencies=table["currencies"],
                goods=table["goods"],
            )
        return achievements

    def _by_code(self, file: _File | None, kind: str, kinds: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The tables [[KIND]] that have a short code of their own, by it. KINDS: what a game calls them."""
        lines: dict[str, int] = {}
        for table in file.tables(kind) if file else ():
            assert file is not None
            code, place = table["short_code"], (*table["at"], "short_code")
            if code is None:
                continue
            if code in lines:
                file.tell(place, f'"{code}" is in line {lines[code]} already; expected one of its own')
                continue
            lines[code] = file.line(place)
            yield code, table
            if not file.is_sound(table["at"]):
                self._unsound.append((kinds, code))

    # Events

    def _events(self) -> dict[str, EventConfig]:
        events = {}
        for code in self._files(EVENTS_FOLDER, ".py"):
            path = self._path(EVENTS_FOLDER, code + ".py")
            if not is_code(code):
                self.tell(path, 0, "", "the file's name is the event's key: expected letters, digits, _ and - in it")
                continue
            attributes: dict[str, str] = {}
            before = len(self._mistakes)
            text = self.text_of(path, self._profile.script_source_bytes)
            if text is not None:
                try:
                    attributes = declared_attributes(text)
                except AttributesError as error:
                    self.tell(path, error.line, "ATTRIBUTES", str(error))
                self._compile(path, ENTRY)
            events[code] = EventConfig(code, path=os.path.abspath(path), attributes=attributes)
            if len(self._mistakes) > before:
                self._unsound.append(("events", code))
        return events

    def _compile(self, path: str, defines: str | None = None) -> None:
        """Looks, once, whether the script would run, and DEFINES that function; what is wrong with it are mistakes."""
        from gsrt.scripts.compiling import Compiler, HostError, stamp_of

        absolute = os.path.abspath(path)
        if self._known is None or absolute in self._compiled:
            return
        self._compiled.add(absolute)
        try:
            if self._known.get(absolute) == stamp_of(absolute):
                return
            compiler = self._compiler or Compiler()
            compiled, _ = compiler.compile_file(absolute, self._profile.script_source_bytes)
            if defines is not None:
                self._check_entry(path, defines, compiled.code)
        except OSError as error:
            self.tell(path, 0, "", f"cannot be read: {error.strerror}")
        except HostError as error:
            for each in str(error).split("\n"):
                line, text = _problem(each.removeprefix(f"{os.path.basename(path)}:"))
                self.tell(path, line, "", text)

    def _check_entry(self, path: str, name: str, code: CodeType) -> None:
        """Whether the file that was compiled to CODE defines the function NAME, which takes an event."""
        expected = f"expected def {name}(event)"
        if name not in code.co_names:
            self.tell(path, 1, name, f"is missing; {expected}")
        for each in code.co_consts:
            if type(each) is type(code) and each.co_name == name and not (each.co_argcount or each.co_flags & VARARGS):
                self.tell(path, each.co_firstlineno, name, f"takes no event; {expected}")

    # Matches

    def _matches(self) -> dict[str, MatchConfig]:
        matches: dict[str, MatchConfig] = {}
        files: dict[str, str] = {}
        for name in self._files(MATCHES_FOLDER, ".toml"):
            before = len(self._mistakes)
            file = _File(self, self._path(MATCHES_FOLDER, name + ".toml"), MATCH)
            values = file.values
            if not values:
                continue
            code = values["short_code"] or name
            if not is_code(code):
                file.tell(("short_code",), "is missing, and the file's name cannot be one; expected a short code")
                continue
            if code in files:
                file.tell(("short_code",), f'"{code}" is that of {files[code]} already; expected one of its own')
                continue
            files[code] = os.path.join(MATCHES_FOLDER, name + ".toml")
            matches[code] = self._match(file, code)
            if len(self._mistakes) > before:
                self._unsound.append(("matches", code))
        return matches

    def _match(self, file: _File, code: str) -> MatchConfig:
        values = file.values
        self._check_players(file)
        self._check_thresholds(file)
        if not values["drop_in_drop_out"]:
            for name in ("player_disconnect_delay", "expire_in"):
                if values[name]:
                    file.tell((name,), "means nothing here; expected only where drop_in_drop_out = true")
        return MatchConfig(
            code,
            name=values["name"],
            description=values["description"],
            min_players=values["min_players"],
            max_players=values["max_players"],
            realtime=values["realtime"],
            realtime_script=self._match_script(file),
            drop_in_drop_out=values["drop_in_drop_out"],
            player_disconnect_delay=values["player_disconnect_delay"],
            expire_in=values["expire_in"],
            manually_match_players=values["manually_match_players"],
            thresholds=[
                Threshold(each["period"], each["type"], each["min"], each["max"], each["accept_min_players"])
                for each in values["threshold"]
            ],
        )

    def _check_players(self, file: _File) -> None:
        least, most, bearable = (
            file.values["min_players"],
            file.values["max_players"],
            self._profile.players_per_session_max,
        )
        if least > most:
            file.tell(("min_players",), f"expected at most max_players, which is {most}, not {least}")
        if most > bearable:
            what = f"expected at most {bearable}, the players_per_session_max of the profile {self._profile.name}"
            file.tell(("max_players",), f"{what}, not {most}")

    def _check_thresholds(self, file: _File) -> None:
        thresholds = file.values["threshold"]
        if not thresholds:
            file.tell(("threshold",), "is missing; expected at least one [[threshold]], or nobody is ever matched")
        for each in thresholds:
            least, most = each["min"], each["max"]
            if least is None or most is None:
                continue
            if least > most:
                file.tell((*each["at"], "min"), f"expected at most max, which is {most:g}, not {least:g}")
            elif each["type"] in (RELATIVE, PERCENT) and not least <= 0 <= most:
                key = "min" if least > 0 else "max"
                what = "at most 0" if least > 0 else "at least 0"
                file.tell((*each["at"], key), f"expected {what}, or of two players each is out of the other's bounds")

    def _match_script(self, file: _File) -> str | None:
        name, place = file.values["realtime_script"], ("realtime_script",)
        if name is None:
            return None
        if not file.values["realtime"]:
            file.tell(place, "means nothing here; expected only where realtime = true")
        if os.path.basename(name) != name or not name.endswith(".py") or "\0" in name:
            file.tell(place, f"expected the name of a .py file in {SCRIPTS_FOLDER}/, without folders")
            return None
        path = self._path(SCRIPTS_FOLDER, name)
        if not os.path.isfile(path):
            meant = nearest(name, _listed(self._path(SCRIPTS_FOLDER), ".py"))
            hint = f"; do you mean {meant}?" if meant else ""
            file.tell(place, f"there is no file {SCRIPTS_FOLDER}/{name}{hint}")
            return None
        self._compile(path)
        return os.path.abspath(path)

    # Leaderboards

    def _leaderboards(self, events: Mapping[str, EventConfig]) -> dict[str, Leaderboard]:
        file = self._optional(LEADERBOARDS_FILE)
        leaderboards = {}
        for code, table in self._by_code(file, "leaderboard", "leaderboards"):
            assert file is not None
            self._check_source(file, table, events)
            leaderboards[code] = Leaderboard(
                code,
                name=table["name"],
                event=table["event"] or "",
                attribute=table["attribute"] or "",
                aggregate=table["aggregate"],
                order=table["order"],
                part=table["part"],
                ties=table["ties"],
                attributes=table["attributes"],
            )
        return leaderboards

    def _check_source(self, file: _File, table: dict[str, Any], events: Mapping[str, EventConfig]) -> None:
        """Where its scores come from."""
        at, event, attribute = table["at"], table["event"], table["attribute"]
        named = [((*at, "attribute"), attribute), ((*at, "part"), table["part"])]
        named += [((*at, "attributes", number), name) for number, name in enumerate(table["attributes"])]
        for place, name in named:
            if name in ENTRY_FIELDS:
                file.tell(place, f'"{name}" is in every entry already; expected an attribute of another name')
        if event is None:
            if attribute is not None:
                file.tell((*at, "attribute"), "means nothing without an event; expected event too")
            return
        if event not in events:
            file.tell((*at, "event"), _none_such("event", events, event, f"{EVENTS_FOLDER}/"))
            return
        kinds = events[event].attributes
        if attribute is None:
            file.tell((*at, "attribute"), f"is missing; expected a number among the attributes of {event}")
        elif attribute not in kinds:
            file.tell((*at, "attribute"), _none_such("attribute", kinds, attribute, f"the event {event}"))
        elif kinds[attribute] != NUMBER:
            file.tell((*at, "attribute"), f"expected a number, not {kinds[attribute]} as {event} declares it")
        part = table["part"]
        if part is not None and part not in kinds:
            file.tell((*at, "part"), _none_such("attribute", kinds, part, f"the event {event}"))
        elif part is not None and kinds[part] == OBJECT:
            file.tell((*at, "part"), f"expected a text or a number, not {OBJECT} as {event} declares it")
        for number, name in enumerate(table["attributes"]):
            if name not in kinds:
                place = (*at, "attributes", number)
                file.tell(place, _none_such("attribute", kinds, name, f"the event {event}"))


def _scripts(game: Game) -> Iterator[str]:
    """The paths of those that were compiled when it was read."""
    for config in game.matches.values():
        if config.realtime_script is not None:
            yield config.realtime_script
    for event in game.events.values():
        yield event.path


def _listed(folder: str, ending: str) -> list[str]:
    """The names in a folder that end so, sorted; none where there is no folder. Hidden ones are nobody's."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(name for name in names if name.endswith(ending) and not name.startswith("."))


def _placed(message: str, text: str) -> tuple[str, int]:
    """What tomllib says of a text, and the line that it says it of."""
    what, _, place = message.rpartition(" (at ")
    line = place.removeprefix("line ").partition(",")[0]
    if what and line.isdigit():
        return what, int(line)
    return what or message, max(len(text.rstrip().split("\n")), 1)


def _problem(text: str) -> tuple[int, str]:
    """The line and the words of what the compiler says: "LINE:COLUMN: words"."""
    line, _, rest = text.partition(":")
    column, separator, words = rest.partition(": ")
    if line.isdigit() and column.isdigit() and separator:
        return int(line), words
    return 0, text.strip()


def _none_such(kind: str, known: Iterable[str], name: str, where: str) -> str:
    there = sorted(known)
    meant = nearest(name, there)
    if meant:
        return f'there is no {kind} "{name}" in {where}; do you mean {meant}?'
    return f'there is no {kind} "{name}" in {where}' + (f"; there are {', '.join(there[:10])}" if there else "")
