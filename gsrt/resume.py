"""How sessions live through a restart of the server by itself, which is the last resort when a script hangs.

What ends a script that nothing can interrupt is a signal handler: it may write a few bytes and call execve(2), that is
all. So what is to survive lies ready at any time, in files that are only memory (memfd_create(2)) and in sockets, which
the new program inherits: the *image* tells of the sessions and their tokens, the *note* takes the name of the script
that hung, the port's two sockets stay open, so that whoever connects meanwhile waits instead of being refused.

`GSRT_RESUME` in the environment of the new program says which descriptor is what, for which process, and when the
restarts of the last minute were: `pid=812,restarts=5021.4/5040.9,image=7,note=8,listener=5,datagrams=6,wake=11`.
`wake` is where the numbers of signals arrive: one that asks the server to end may have come while the script hung.
A server that is contained names `compiler=16/cpython-311` besides, the socket of the process that compiles its scripts,
and for which Python it does.
Where it was no accident but a hand-over (gsrt.handover), there are `live=12,streams=13/14/15` besides (`live=-1`: who
is in could not be told). As a service of systemd's, the new program gets all of these from there, by their names.

The image is `gsrtimg1`, the length of what follows and its CRC-32 (4 bytes each, little-endian), then JSON:
`{"quarantined": {digest: path}, "sessions": [{"id", "began", "lasting", "script", "players": [[player id, peer id,
access token, reconnect token, kicked], ...]}, ...]}`, `began` in seconds of the monotonic clock.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

# the C function behind json.dumps, without the module, which costs half a megabyte
from _json import encode_basestring_ascii as quoted
from binascii import crc32

from gsrt.device.systemd import unbundle
from gsrt.session import KICKED
from gsrt.timers import INFINITY
from gsrt.tokens import NAME_CHARACTERS, is_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from gsrt.log import Log
    from gsrt.session import Session

VARIABLE = "GSRT_RESUME"

# A script that hung is not run again, so this many in this time means that something else is wrong.
RESTARTS_MAX = 5
RESTARTS_SECONDS = 60.0

LIVE_BYTES_MAX = 1 << 30  # read back at most: of the image (65,535 players take 10 MB), and of what is handed over
NOTE_BYTES_MAX = 8192  # read back at most; a path has 4 KB
QUARANTINED_MAX = 256  # scripts remembered; the oldest is forgotten first

DESCRIPTOR_MAX = 2**31 - 1  # a C int

_MAGIC = b"gsrtimg1"
_HEAD_BYTES = len(_MAGIC) + 4 + 4
LIVE_MAGIC = b"gsrtliv1"
IMAGE_NAME = "gsrt-image"
NOTE_NAME = "gsrt-note"
LIVE_NAME = "gsrt-live"
STREAM_NAME = "gsrt-stream"  # the connections that go along, in one bundle
_PEER_ID_MAX = 255
_MFD_NOEXEC_SEAL = 8  # Linux 6.3: never to be run; some systems allow no other


class Damaged(Exception):
    """An image that cannot be used; the message says why."""


class SavedPlayer:
    """A player as the image tells of it."""

    __slots__ = ("access_token", "kicked", "peer_id", "player_id", "reconnect_token")

    def __init__(self, fields: object) -> None:
        """From [player id, peer id, access token, reconnect token, kicked]; raises Damaged."""
        if type(fields) is not list or [type(each) for each in fields] != [str, int, str, str, bool]:
            raise Damaged("a player is something else")
        self.player_id: str = fields[0]
        self.peer_id: int = fields[1]
        self.access_token: str = fields[2]
        self.reconnect_token: str = fields[3]
        self.kicked: bool = fields[4]
        if not self.player_id or not 1 <= self.peer_id <= _PEER_ID_MAX:
            raise Damaged("a player has no id")
        if not is_token(self.access_token) or not is_token(self.reconnect_token):
            raise Damaged("a token is something else")


class SavedSession:
    """A session as the image tells of it."""

    __slots__ = ("began", "lasting", "players", "script", "session_id")

    def __init__(self, fields: object) -> None:
        """From the JSON object; raises Damaged."""
        if type(fields) is not dict:
            raise Damaged("a session is something else")
        session_id, began, lasting = fields.get("id"), fields.get("began"), fields.get("lasting")
        script, players = fields.get("script"), fields.get("players")
        if type(session_id) is not str or type(began) is not float or type(lasting) is not bool:
            raise Damaged("a session is something else")
        if not 0 <= began < INFINITY:
            raise Damaged("a session began at no time")
        if (script is not None and type(script) is not str) or type(players) is not list or not players:
            raise Damaged("a session is something else")
        self.session_id = session_id
        self.began = began
        self.lasting = lasting
        self.script: str | None = script
        self.players = [SavedPlayer(each) for each in players]
        for name in ("player_id", "peer_id"):
            if len({getattr(each, name) for each in self.players}) < len(self.players):
                raise Damaged("a player is there twice")


def script_tag(session_id: str, digest: str, path: str) -> bytes:
    """What the watchdog writes into the note about the script it gives up: whose it was, what it was, where it lies."""
    return f"{session_id} {digest} {path}".encode("utf-8", "surrogateescape")


class Hung:
    """The script that hung: the other way round."""

    __slots__ = ("digest", "path", "session_id")

    def __init__(self, note: bytes) -> None:
        """From the note; raises ValueError where it holds no tag."""
        self.session_id, self.digest, self.path = note.decode("utf-8", "surrogateescape").split(" ", 2)


class Image:
    """The two memory files of a running server, inheritable. Descriptors are -1 where the kernel gives none: then a
    restart loses the sessions, and nothing else."""

    def __init__(self, log: Log, resumed: Resumed) -> None:
        self.quarantined = resumed.quarantined  # digest -> path of scripts that hung
        self.restarts = resumed.restarts
        self.stale = True  # keep_current() has something to do
        self._log = log
        self._lines: dict[str, str] = {}  # session id -> its JSON
        self._changed: dict[Session, None] = {}  # in the order of their changes
        # Of the memory files; -1: there is none.
        self.descriptor = _memory_file(IMAGE_NAME) if resumed.image < 0 else resumed.image
        self.note = _memory_file(NOTE_NAME) if resumed.note < 0 else resumed.note

    def changed(self, session: Session) -> None:
        """A session has begun, has ended, or someone was kicked: the image is to be written again, soon."""
        self._changed[session] = None
        self.stale = True

    def keep_current(self) -> None:
        """Writes the image again."""
        self.stale = False
        for session in self._changed:
            if session.ended:
                self._lines.pop(session.session_id, None)
            else:
                self._lines[session.session_id] = _line(session)
        self._changed.clear()
        if self.descriptor < 0:
            return
        quarantined = ",".join(f"{quoted(digest)}:{quoted(path)}" for digest, path in self.quarantined.items())
        body = f'{{"quarantined":{{{quarantined}}},"sessions":[{",".join(self._lines.values())}]}}'
        try:
            write_image(self.descriptor, body.encode("ascii"))
        except OSError as error:
            self._log.limited("error", "image", "a restart would lose the sessions", reason=error.strerror)

    def restart_command(self, sockets: Mapping[str, int | str]) -> tuple[bytes, list[bytes], list[bytes]]:
        """Path, arguments and environment ("NAME=value" each) for execve(2) to start this program anew, as it was
        started, with these files and inheritable `sockets` (name -> descriptor, or several with "/" between them)."""
        named = {
            "pid": os.getpid(),
            "restarts": "/".join(map(repr, self.restarts)),
            "image": self.descriptor,
            "note": self.note,
            **sockets,
        }
        ours = ",".join(f"{name}={value}" for name, value in named.items())
        environment = [name + b"=" + value for name, value in os.environb.items()]
        environment.append(f"{VARIABLE}={ours}".encode())
        program = os.fsencode(sys.executable)
        return program, [program, *map(os.fsencode, sys.orig_argv[1:])], environment

    def close(self) -> None:
        """Nothing is kept any more."""
        for descriptor in (self.descriptor, self.note):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor = self.note = -1


class Resumed:
    """What a server finds at its start. At an ordinary start: nothing."""

    def __init__(self) -> None:
        self.image = -1  # descriptors
        self.note = -1
        self.sockets: tuple[socket.socket, socket.socket] | None = None  # listener, datagrams
        self.sessions: list[SavedSession] | None = None  # None: there is no image, or none that can be used
        self.quarantined: dict[str, str] = {}  # digest -> path
        self.restarts: tuple[float, ...] = ()  # when, in the monotonic clock's seconds; those that still count
        self.hung: Hung | None = None
        self.compiler: socket.socket | None = None  # to the process that compiles scripts (gsrt.scripts.helper)
        self.told_to_stop = False  # by a signal that the program before could not heed
        self.live: bytes | None = None  # what the program before has handed over (gsrt.handover); None: it could not
        self.streams: list[int] = []  # descriptors of the connections that came along

    @property
    def scripts_allowed(self) -> bool:
        """Whether scripts are to run at all: not after too many restarts in a short time."""
        return len(self.restarts) <= RESTARTS_MAX

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str], now: float, log: Log) -> Resumed:
        """What the variable names, which is removed. Whatever is wrong with it is logged and left out; this never
        fails."""
        resumed = cls()
        text = environment.pop(VARIABLE, None)
        if text is None:
            return resumed
        named = dict(part.partition("=")[::2] for part in text.split(","))
        if named.get("pid") != str(os.getpid()):
            log.warn("variable ignored: it is meant for another process", name=VARIABLE)
            return resumed
        _bury_children(but_living="compiler" in named)
        resumed._take(named, now, log)
        return resumed

    def take_stored(self, descriptors: dict[str, list[int]], log: Log) -> None:
        """What the service manager has kept for this program (name -> descriptors) is taken out of DESCRIPTORS, but for
        the port's sockets. Whatever is wrong with it is logged and left out; this never fails."""
        files = {}
        for name in (IMAGE_NAME, NOTE_NAME, LIVE_NAME):
            numbers = descriptors.pop(name, [])
            files[name] = _inherited_file(str(numbers[0]), name) if numbers else -1
        for bundled in descriptors.pop(STREAM_NAME, []):
            self.streams += unbundle(bundled)
        if files[IMAGE_NAME] >= 0:  # else it is the first start
            self.image, self.note = files[IMAGE_NAME], files[NOTE_NAME]
            self._look_into(files[LIVE_NAME], files[LIVE_NAME] >= 0, log)
        self._drop_streams()

    def _take(self, named: dict[str, str], now: float, log: Log) -> None:
        self.image = _inherited_file(named.get("image", ""), IMAGE_NAME)
        self.note = _inherited_file(named.get("note", ""), NOTE_NAME)
        live, intended = _inherited_file(named.get("live", ""), LIVE_NAME), "live" in named
        self.restarts = _recent(named.get("restarts", ""), now, () if intended else (now,))
        self.streams = [_descriptor(each) for each in named.get("streams", "").split("/") if each.isdigit()]
        try:
            self.sockets = _inherited_sockets(named.get("listener", ""), named.get("datagrams", ""))
        except (OSError, ValueError) as error:
            log.error("the port was not inherited", reason=str(error))
        self.told_to_stop = _told_to_stop(named.get("wake", ""))
        self.compiler = _inherited_compiler(named.get("compiler", ""))
        self._look_into(live, intended, log)
        self._drop_streams()

    def _drop_streams(self) -> None:
        """Connections of which nothing is known are closed: their players shall notice, and come back."""
        if self.live is None:
            for descriptor in self.streams:
                try:
                    os.close(descriptor)
                except OSError:
                    pass  # not open, so it cannot be left open
            self.streams = []

    def _look_into(self, live: int, intended: bool, log: Log) -> None:
        """Reads the files: the image, what was handed over (`live`, -1: nothing), or, where no hand-over was
        `intended`, the note, which says why."""
        try:
            self.sessions, self.quarantined = read_image(self.image)
        except (Damaged, OSError) as error:
            log.error("sessions lost in the restart", reason=str(error))
        if live >= 0:
            try:
                self.live = _read_body(live, LIVE_MAGIC)
            except (Damaged, OSError) as error:
                log.error("players have to come back by themselves", reason=str(error))
            os.close(live)
        if intended:
            return
        try:
            self.hung = Hung(_take_note(self.note))
        except (OSError, ValueError):
            log.error("restarted: the server did not answer", todo="see what it did before: no script is named for it")
        else:
            self._quarantine(self.hung)
            log.error(
                "restarted after a script hung",
                session=self.hung.session_id,
                script=self.hung.path,
                todo="mend the script: it does not run again until its file has changed",
            )
        if not self.scripts_allowed:
            log.error(
                "scripts are off",
                reason=f"{len(self.restarts)} restarts in {RESTARTS_SECONDS:g} s",
                todo="see the lines above, then start the server again",
            )

    def _quarantine(self, hung: Hung) -> None:
        self.quarantined.pop(hung.digest, None)
        while len(self.quarantined) >= QUARANTINED_MAX:
            del self.quarantined[next(iter(self.quarantined))]
        self.quarantined[hung.digest] = hung.path


class LiveFile:
    """A memory file of what is handed over, written piece by piece."""

    def __init__(self) -> None:
        """Raises OSError."""
        self.descriptor = _memory_file(LIVE_NAME)
        if self.descriptor < 0:
            raise OSError("the kernel gives no memory file")
        self._length = self._check = 0

    def add(self, piece: bytes) -> None:
        """Raises OSError."""
        os.pwrite(self.descriptor, piece, _HEAD_BYTES + self._length)
        self._length += len(piece)
        self._check = crc32(piece, self._check)

    def finish(self) -> None:
        """It is whole. Raises OSError."""
        os.pwrite(self.descriptor, _head(LIVE_MAGIC, self._length, self._check), 0)


def _head(magic: bytes, length: int, check: int) -> bytes:
    return magic + length.to_bytes(4, "little") + check.to_bytes(4, "little")


def write_image(descriptor: int, body: bytes) -> None:
    """Writes the whole file anew; raises OSError. One that was not written to its end shows by length and CRC."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, _head(_MAGIC, len(body), crc32(body)) + body, 0)


def _read_body(descriptor: int, magic: bytes) -> bytes:
    """What write_image() has written. Raises Damaged, OSError."""
    if descriptor < 0:
        raise Damaged("there is no image")
    data = os.pread(descriptor, min(os.fstat(descriptor).st_size, LIVE_BYTES_MAX), 0)
    body = data[_HEAD_BYTES:]
    length, check = (int.from_bytes(data[at : at + 4], "little") for at in (len(magic), len(magic) + 4))
    if not data.startswith(magic) or len(data) < _HEAD_BYTES or length != len(body) or check != crc32(body):
        raise Damaged("the image is damaged, or of another version")
    return body


def read_image(descriptor: int) -> tuple[list[SavedSession], dict[str, str]]:
    """The sessions, and the scripts in quarantine (digest -> path). Raises Damaged, OSError."""
    body = _read_body(descriptor, _MAGIC)
    import json

    try:
        image = json.loads(body)
    except (ValueError, RecursionError):
        raise Damaged("the image is no JSON") from None
    if type(image) is not dict:
        raise Damaged("the image holds something else")
    saved, quarantined = image.get("sessions"), image.get("quarantined")
    if type(saved) is not list or type(quarantined) is not dict:
        raise Damaged("the image holds something else")
    if not all(type(path) is str for path in quarantined.values()):
        raise Damaged("the image holds something else")
    sessions = [SavedSession(each) for each in saved]
    if len({each.session_id for each in sessions}) < len(sessions):
        raise Damaged("a session is there twice")
    names = [
        token[:NAME_CHARACTERS]
        for session in sessions
        for player in session.players
        for token in (player.access_token, player.reconnect_token)
    ]
    if len(set(names)) < len(names):
        raise Damaged("a token is there twice")
    return sessions, quarantined


def _line(session: Session) -> str:
    players = ",".join(
        f"[{quoted(each.player_id)},{each.peer_id},{quoted(each.access_token)},{quoted(each.reconnect_token)},"
        f"{'true' if each.state == KICKED else 'false'}]"
        for each in session.players
    )
    script = "null" if session.script is None else quoted(session.script)
    return (
        f'{{"id":{quoted(session.session_id)},"began":{float(session.began)!r},'
        f'"lasting":{"true" if session.lasting else "false"},"script":{script},"players":[{players}]}}'
    )


def _memory_file(name: str) -> int:
    """A new file without a place on any disk, inheritable; -1 where the kernel gives none."""
    for flags in (_MFD_NOEXEC_SEAL, 0):
        try:
            return os.memfd_create(name, flags)
        except OSError:
            pass  # an older kernel, or a system that forbids them
    return -1


def _descriptor(number: str) -> int:
    """Raises ValueError for what is no number of a descriptor."""
    descriptor = int(number)
    if not 0 <= descriptor <= DESCRIPTOR_MAX:
        raise ValueError(f"{number} is no descriptor")
    return descriptor


def _inherited_file(number: str, name: str) -> int:
    """The descriptor, if it is a memory file of that name; -1 else: nobody else's file may be written to."""
    try:
        descriptor = _descriptor(number)
        found = os.readlink(f"/proc/self/fd/{descriptor}")
    except (OSError, ValueError):
        return -1
    return descriptor if found.startswith(f"/memfd:{name} ") else -1


def _inherited_sockets(listener: str, datagrams: str) -> tuple[socket.socket, socket.socket]:
    """The two sockets of the port; raises OSError, ValueError."""
    sockets = []
    for number, kind in ((listener, socket.SOCK_STREAM), (datagrams, socket.SOCK_DGRAM)):
        inherited = socket.socket(fileno=_descriptor(number))
        if inherited.type != kind or inherited.family not in (socket.AF_INET, socket.AF_INET6):
            inherited.detach()
            raise ValueError(f"descriptor {number} is another socket")
        inherited.setblocking(False)
        sockets.append(inherited)
    return sockets[0], sockets[1]


def _inherited_compiler(text: str) -> socket.socket | None:
    """The socket of that descriptor, if it is one of sequenced packets; None where it compiles for another Python."""
    number, _, python = text.partition("/")
    if python != sys.implementation.cache_tag:
        return None
    try:
        inherited = socket.socket(fileno=_descriptor(number))
    except (OSError, ValueError):
        return None
    if (inherited.family, inherited.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        inherited.detach()
        return None
    return inherited


def _told_to_stop(wake: str) -> bool:
    """Whether a signal to end has come; the socket on which it would show is closed."""
    try:
        with socket.socket(fileno=_descriptor(wake)) as inherited:
            if inherited.family != socket.AF_UNIX:
                inherited.detach()
                return False
            inherited.setblocking(False)
            numbers = inherited.recv(4096)
    except (OSError, ValueError):
        return False
    return signal.SIGTERM in numbers or signal.SIGINT in numbers


def _take_note(descriptor: int) -> bytes:
    """What the handler wrote; the note is empty afterwards. Raises OSError."""
    note = os.pread(descriptor, NOTE_BYTES_MAX, 0)
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)  # the position is inherited too
    return note


def _recent(restarts: str, now: float, this: tuple[float, ...]) -> tuple[float, ...]:
    """The restarts of the last minute, and THIS one."""
    times = []
    for text in restarts.split("/"):
        try:
            times.append(float(text))
        except ValueError:
            continue
    return (*(each for each in times[-RESTARTS_MAX:] if now - RESTARTS_SECONDS < each <= now), *this)


def _bury_children(*, but_living: bool) -> None:
    """Children of the program before this one (openssl, making a certificate; one that compiles a script) have nobody
    else to ask for them: they are ended, unless those that live (`but_living`) go on working for this one."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        if but_living:
            return
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            left = [int(each) for each in file.read().split()]
        for each in left:
            os.kill(each, signal.SIGKILL)
            os.waitpid(each, 0)
    except (ChildProcessError, OSError, ValueError):
        pass  # there are none, or a kernel that does not tell which
