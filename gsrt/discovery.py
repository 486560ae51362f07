"""Who serves here: what a server says of itself on its network, unasked and asked. No I/O: docs/LINK.md, section 10.

A BEACON is broadcast from time to time; a HERE answers a SEEK, and is never longer than it. Both say the same to
anybody: nothing in it is secret, and nothing in it is proved.
"""

from __future__ import annotations

from gsrt.bucket import Bucket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

BEACON_PORT = 8785  # where beacons are listened for
VERSION = 1

SEEK = 7
HERE = 8
BEACON = 9

SEEK_BYTES = 192
NONCE_BYTES = 8
VERSION_TEXT_BYTES = 24
NAME_BYTES = 64
GAME_BYTES = 64

SEEKS_PER_SECOND = 100.0  # a party of that size may look for a server at the same moment
SEEKS_BURST = 100.0

_NONCE = slice(4, 12)
_SERVER = slice(12, 20)
_PORT = slice(20, 22)
_SESSIONS = slice(22, 26)
_PLAYERS = slice(26, 30)
_TEXTS = 30  # where they begin
_SEEK_PADDING = bytes(SEEK_BYTES - _NONCE.stop)


class Notice:
    """What a server says of itself. `nonce`: of the SEEK that is answered, zeros in a BEACON; `server`: 8 bytes that
    are the server's for this run; `game` is None where none is served."""

    __slots__ = ("game", "name", "nonce", "players", "port", "server", "sessions", "version")

    def __init__(
        self,
        *,
        nonce: bytes,
        server: bytes,
        port: int,
        sessions: int,
        players: int,
        version: str,
        name: str,
        game: str | None,
    ) -> None:
        self.nonce = nonce
        self.server = server
        self.port = port
        self.sessions = sessions
        self.players = players
        self.version = version
        self.name = name
        self.game = game

    def to_bytes(self, kind: int) -> bytes:
        """The HERE or BEACON (`kind`). Texts are cut to what they may have, and lose what no terminal should get."""
        return b"".join(
            (
                bytes((0, kind, VERSION, 0)),
                self.nonce,
                self.server,
                self.port.to_bytes(2, "little"),
                min(self.sessions, 0xFFFF_FFFF).to_bytes(4, "little"),
                min(self.players, 0xFFFF_FFFF).to_bytes(4, "little"),
                _text(self.version, VERSION_TEXT_BYTES),
                _text(self.name, NAME_BYTES),
                _text(self.game or "", GAME_BYTES),
            )
        )

    @classmethod
    def from_bytes(cls, datagram: bytes, kind: int) -> Notice | None:
        """What a HERE or BEACON (`kind`) says; None where that is none."""
        if not _TEXTS < len(datagram) <= SEEK_BYTES or datagram[:4] != bytes((0, kind, VERSION, 0)):
            return None
        texts: list[str] = []
        at = _TEXTS
        for most in (VERSION_TEXT_BYTES, NAME_BYTES, GAME_BYTES):
            size = datagram[at] if at < len(datagram) else most + 1
            end = at + 1 + size
            if size > most or end > len(datagram):
                return None
            try:
                texts.append(datagram[at + 1 : end].decode())
            except UnicodeDecodeError:
                return None
            at = end
        version, name, game = texts
        port = int.from_bytes(datagram[_PORT], "little")
        if at != len(datagram) or port == 0 or not (version and name) or not "".join(texts).isprintable():
            return None
        return cls(
            nonce=datagram[_NONCE],
            server=datagram[_SERVER],
            port=port,
            sessions=int.from_bytes(datagram[_SESSIONS], "little"),
            players=int.from_bytes(datagram[_PLAYERS], "little"),
            version=version,
            name=name,
            game=game or None,
        )


def seek(nonce: bytes) -> bytes:
    """The SEEK with this nonce of 8 bytes."""
    return bytes((0, SEEK, VERSION, 0)) + nonce + _SEEK_PADDING


def is_seek(datagram: bytes) -> bool:
    """Whether that is a SEEK that we understand."""
    return (
        len(datagram) == SEEK_BYTES
        and datagram.startswith(bytes((0, SEEK, VERSION, 0)))
        and datagram.endswith(_SEEK_PADDING)
    )


def _text(text: str, most: int) -> bytes:
    """Length and UTF-8 of TEXT, of which at most so many bytes are taken, whole characters."""
    shown = "".join(each if each.isprintable() else "?" for each in text[:most])
    encoded = shown.encode()[:most].decode(errors="ignore").encode()
    return bytes((len(encoded),)) + encoded


class Announcer:
    """A server's side. `describe(nonce)` gives what there is to be said now; `counters` has "seeks", those answered,
    "seeks_malformed" and "seeks_too_many"."""

    def __init__(self, describe: Callable[[bytes], Notice], counters: MutableMapping[str, int]) -> None:
        self._describe = describe
        self._counters = counters
        self._answers = Bucket(SEEKS_PER_SECOND, SEEKS_BURST, 0.0)  # full, so from whatever time on

    def beacon(self) -> bytes:
        """What is to be broadcast now."""
        return self._describe(bytes(NONCE_BYTES)).to_bytes(BEACON)

    def answer(self, datagram: bytes, now: float) -> bytes | None:
        """What goes back to whoever has sent that; None: it is no SEEK, or there are too many."""
        if not is_seek(datagram):
            self._counters["seeks_malformed"] += 1
            return None
        if not self._answers.take(now):
            self._counters["seeks_too_many"] += 1
            return None
        self._counters["seeks"] += 1
        return self._describe(datagram[_NONCE]).to_bytes(HERE)
