"""The control socket: how `gsrt session create` and its siblings talk to the server of this machine.

A UNIX stream socket of mode 0600, or 0660 where the server's group may use it too. A request is one JSON object on one
line, and so is its answer: `{"do": NAME, ...}`, then `{"ok": true, ...}` or `{"ok": false, "error": "what to do"}`. A
connection may carry several in turn."""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
import stat
import time

from gsrt.log import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gsrt.log import Log

READ_BYTES = 65536  # taken from a connection at once
ANSWER_BYTES_MAX = 64 * 1024 * 1024  # what `call` reads at most: the status of 65,535 sessions fits
PATH_BYTES_MAX = 107  # sun_path of unix(7), less its closing zero
BACKLOG = 16
SERVICE_PATH = "/run/gsrt/control.sock"  # of the server that systemd runs
ACCEPT_PAUSE_SECONDS = 0.5  # how long a server without free file descriptors leaves new connections waiting


class ControlError(Exception):
    """The control socket cannot be made, reached or understood; the message says what to do."""


class NoServer(ControlError):
    """Nobody listens at the control socket."""


class Later:
    """What a handler gives back when it cannot answer yet. It keeps this object and calls `answer` when it can, from
    the loop's thread. The connection's next request waits until then."""

    __slots__ = ("_answer", "_settle")

    def __init__(self) -> None:
        self._answer: dict[str, Any] | None = None
        self._settle: Callable[[dict[str, Any]], None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for the answer."""
        return self._answer is None and self._settle is not None

    def answer(self, answer: dict[str, Any]) -> None:
        """Sends ANSWER. Only the first one counts, and none once the caller has gone."""
        if self._answer is not None:
            return
        self._answer = answer
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(answer)


class _Client:
    """One connection: what has come of its next request, and what has not been sent of its last answer."""

    __slots__ = ("active", "asked", "ended", "incoming", "outgoing", "pending", "socket", "watched")

    def __init__(self, connection: socket.socket, now: float) -> None:
        self.socket = connection
        self.watched = 0  # the events that the selector waits for; 0: it does not know the connection
        self.pending: Later | None = None  # the answer to `asked`, which is still to come
        self.asked = ""
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.active = now  # when bytes last moved
        self.ended = False  # nothing more is read from it; it is closed when its answer has left


class ControlServer:
    """The server's end. It owns the socket file and its connections; the loop owns the selector and the clock.

    HANDLE gets a request and gives the answer, or a Later; should it raise, the caller is told, and the server goes on.
    `counters` says how often each thing happened."""

    def __init__(
        self,
        path: str,
        handle: Callable[[dict[str, Any]], dict[str, Any] | Later],
        *,
        clients_max: int = 16,
        line_bytes_max: int = 65536,
        idle_seconds: float = 30.0,
        group: bool = False,
        log: Log | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the socket at PATH, in place of one that a dead server left behind. CLOCK is the loop's, in seconds.
        With GROUP, members of this process's group may use it too.

        Raises ControlError when a live server has it, or it cannot be made."""
        self.path = path
        self._handle = handle
        self._clients_max = clients_max
        self._line_bytes_max = line_bytes_max
        self._idle_seconds = idle_seconds
        self._log = log
        self._clock = clock
        self._clients: dict[int, _Client] = {}
        self._selector: selectors.BaseSelector | None = None
        self._paused_until: float | None = None
        self.counters = {
            "control_requests": 0,
            "control_requests_bad": 0,
            "control_requests_failed": 0,
            "control_clients_refused": 0,
            "control_clients_idle": 0,
            "control_accepts_failed": 0,
        }
        self._listener = _listen(path, 0o117 if group else 0o177)
        made = os.stat(path)
        self._file = (made.st_dev, made.st_ino)

    def register(self, selector: selectors.BaseSelector) -> None:
        """Has SELECTOR watch the socket. Keys of this server carry the ControlServer as `data`; what becomes ready goes
        to `on_event`."""
        self._selector = selector
        selector.register(self._listener, selectors.EVENT_READ, self)

    def on_event(self, fd: int, mask: int, now: float) -> None:
        """File descriptor FD is ready for MASK (selectors.EVENT_*); NOW is the loop's time in seconds."""
        if fd == self._listener.fileno():
            self._accept(now)
            return
        client = self._clients.get(fd)
        if client is None:
            return
        try:
            if mask & selectors.EVENT_WRITE:
                self._send(client, now)
            if mask & selectors.EVENT_READ:
                self._receive(client, now)
            self._answer(client, now)
        except OSError:
            self._drop(client)
            return
        self._watch(client)

    def next_timer(self) -> float | None:
        """When `expire` next has something to do, in the loop's seconds; None: not as things stand."""
        times = [client.active + self._idle_seconds for client in self._clients.values() if client.pending is None]
        if self._paused_until is not None:
            times.append(self._paused_until)
        return min(times, default=None)

    def expire(self, now: float) -> None:
        """Closes connections that have done nothing for too long, and takes new ones again after a pause."""
        for client in list(self._clients.values()):
            if client.pending is None and now - client.active >= self._idle_seconds:
                self._trouble("control_clients_idle")
                self._drop(client)
        if self._paused_until is not None and now >= self._paused_until:
            self._paused_until = None
            self._selected().register(self._listener, selectors.EVENT_READ, self)

    def close(self) -> None:
        """Closes everything and removes the socket file, if it is still this server's."""
        for client in list(self._clients.values()):
            self._drop(client)
        if self._selector is not None and self._paused_until is None:
            self._selector.unregister(self._listener)
        self._selector = None
        self._paused_until = None
        try:
            there = os.stat(self.path)
            if (there.st_dev, there.st_ino) == self._file:
                os.unlink(self.path)
        except OSError:  # gone already
            pass
        self._listener.close()

    def _selected(self) -> selectors.BaseSelector:
        assert self._selector is not None, "register() comes first"
        return self._selector

    def _accept(self, now: float) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            # Out of file descriptors or memory: the connection stays in the backlog and would wake the loop for ever.
            self._trouble("control_accepts_failed", reason=error.strerror)
            self._selected().unregister(self._listener)
            self._paused_until = now + ACCEPT_PAUSE_SECONDS
            return
        connection.setblocking(False)
        if len(self._clients) >= self._clients_max:
            self._trouble("control_clients_refused")
            try:
                connection.send(_line(_refusal("too many control connections at once: try again in a moment")))
            except OSError:  # told or not, it is closed
                pass
            connection.close()
            return
        client = _Client(connection, now)
        self._clients[connection.fileno()] = client
        self._watch(client)

    def _receive(self, client: _Client, now: float) -> None:
        try:
            data = client.socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        client.active = now
        if data:
            client.incoming += data
        else:
            client.ended = True

    def _answer(self, client: _Client, now: float) -> None:
        """Answers the requests that are complete, each only once the answer before it has left: what waits for a
        reader that does not read is one answer, no more."""
        while not client.outgoing and client.pending is None:
            end = client.incoming.find(b"\n")
            if max(end, len(client.incoming) if end < 0 else 0) > self._line_bytes_max:
                self._trouble("control_requests_bad", reason="too long")
                answer = _line(_refusal(f"a request is at most {self._line_bytes_max} bytes long"))
                client.incoming.clear()
                client.ended = True
            elif end < 0:
                return
            else:
                line = bytes(client.incoming[:end])
                del client.incoming[: end + 1]
                answer = self._answer_to(line, client)
            client.outgoing += answer
            self._send(client, now)

    def _answer_to(self, line: bytes, client: _Client) -> bytes:
        """The answer to a request of CLIENT's; nothing when it comes later."""
        import json  # when first asked: it is half a megabyte of a server that nobody asks

        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("do"), str):
            self._trouble("control_requests_bad", reason="no request")
            return _line(_refusal('a request is a JSON object with a "do" on one line, such as {"do": "status"}'))
        self.counters["control_requests"] += 1
        client.asked = request["do"]
        try:
            answer = self._handle(request)
            if not isinstance(answer, Later):
                return _line(answer)
            if answer._answer is not None:
                return _line(answer._answer)
        except Exception as error:  # whatever it is: the players go on playing
            return self._failed(client, error)
        answer._settle = lambda value: self._settle(client, value)
        client.pending = answer
        return b""

    def _failed(self, client: _Client, error: Exception) -> bytes:
        reason = error_text(error)
        self._trouble("control_requests_failed", do=client.asked, reason=reason)
        return _line(_refusal(f"the server failed at this request: {reason}"))

    def _settle(self, client: _Client, answer: dict[str, Any]) -> None:
        """The ANSWER that CLIENT was to get later is there; what it has asked since has its turn."""
        client.pending = None
        client.active = now = self._clock()
        try:
            client.outgoing += _line(answer)
        except Exception as error:
            client.outgoing += self._failed(client, error)
        try:
            self._send(client, now)
            self._answer(client, now)
        except OSError:  # it has gone
            self._drop(client)
            return
        self._watch(client)

    def _send(self, client: _Client, now: float) -> None:
        while client.outgoing:
            try:
                sent = client.socket.send(client.outgoing)
            except (BlockingIOError, InterruptedError):
                return
            client.active = now
            del client.outgoing[:sent]

    def _watch(self, client: _Client) -> None:
        """Waits for the one thing this connection needs next, or closes it if there is none."""
        if client.pending is not None:
            if client.ended and _hung_up(client.socket):
                self._drop(client)
                return
            # Only to notice that the caller has gone; what it asks meanwhile is taken in up to the usual bound.
            wanted = 0 if client.ended or len(client.incoming) > self._line_bytes_max else selectors.EVENT_READ
        elif client.outgoing:
            wanted = selectors.EVENT_WRITE
        elif client.ended:
            self._drop(client)
            return
        else:
            wanted = selectors.EVENT_READ
        if wanted and client.watched:
            self._selected().modify(client.socket, wanted, self)
        elif wanted:
            self._selected().register(client.socket, wanted, self)
        elif client.watched:
            self._selected().unregister(client.socket)
        client.watched = wanted

    def _drop(self, client: _Client) -> None:
        if client.pending is not None:
            client.pending._settle = None
            client.pending = None
        del self._clients[client.socket.fileno()]
        if client.watched:
            self._selected().unregister(client.socket)
        client.socket.close()

    def _trouble(self, counter: str, **fields: object) -> None:
        self.counters[counter] += 1
        if self._log is not None:
            self._log.limited("warn", counter, counter, **fields)


def call(path: str, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Sends REQUEST to the server at PATH and returns its answer, within TIMEOUT seconds in all.

    Raises NoServer when none is there, ControlError when it does not answer in time, or answers something else."""
    import json

    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(timeout)
            connection.connect(_checked(path))
            try:
                connection.sendall(_line(request))
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was read to its end; the answer says why
            answer = bytearray()
            while not answer.endswith(b"\n"):
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError
                connection.settimeout(remaining)
                data = connection.recv(READ_BYTES)
                answer += data
                if not data or len(answer) > ANSWER_BYTES_MAX:
                    break
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoServer(
                f"no gsrt server listens at {path}: start one (gsrt serve --control {path}), or name the socket of a "
                "running one with --control"
            ) from None
        except PermissionError:
            raise ControlError(
                f"{path} is not for you: run this as root (sudo), as the one who runs the server, or, where that is "
                "allowed (control_group), as a member of its group"
            ) from None
        except (TimeoutError, BlockingIOError):  # the latter from connect: the backlog is full
            raise ControlError(f"the server at {path} did not answer within {timeout:g} seconds") from None
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror or error}") from None
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ControlError(f"what listens at {path} does not answer as a gsrt server does")
    return value


def default_path() -> str:
    """Where the control socket is when nobody says: $RUNTIME_DIRECTORY (set by systemd for the service), else
    $XDG_RUNTIME_DIR/gsrt, else /tmp/gsrt-UID.

    Raises ControlError when that directory is there but somebody else could reach into it."""
    service = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if service:
        return os.path.join(service, "control.sock")
    user = os.environ.get("XDG_RUNTIME_DIR", "")
    directory = os.path.join(user, "gsrt") if os.path.isdir(user) else f"/tmp/gsrt-{os.getuid()}"
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise ControlError(
                f"{directory} has to be a directory of yours with mode 0700: remove it, or name a control socket "
                "elsewhere with --control"
            )
    return os.path.join(directory, "control.sock")


def find_path() -> str:
    """Where to look for a server when nobody says: at `default_path`, or at the service's where nobody listens there.
    Raises ControlError as that does."""
    own = default_path()
    there = os.path.isdir(os.path.dirname(SERVICE_PATH))
    return SERVICE_PATH if there and not _is_served(own) else own


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:  # its backlog is full
            return True
        except OSError:
            return False
    return True


def _listen(path: str, mask: int) -> socket.socket:
    """MASK is the permissions that the socket file does not have."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.makedirs(os.path.dirname(_checked(path)) or ".", mode=0o700, exist_ok=True)
        # The file must not be open to others even for the moment before a chmod.
        usual = os.umask(mask)
        try:
            try:
                listener.bind(path)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                _remove_stale(path)
                listener.bind(path)
        finally:
            os.umask(usual)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ControlError(f"the control socket {path} cannot be made: {error.strerror or error}") from None
    except ControlError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Removes the socket file at PATH if nobody listens there; ControlError if somebody does, or it is no socket."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise ControlError(f"{path} is no socket and in the way of the control socket: remove it, or use --control")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:  # a full backlog, another user's: somebody is there
            pass
    raise ControlError(f"a server already listens at {path}: end it, or name another control socket with --control")


def _checked(path: str) -> str:
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise ControlError(f"a control socket's path has at most {PATH_BYTES_MAX} bytes; this one is longer: {path}")
    return path


def _hung_up(connection: socket.socket) -> bool:
    """Whether the other end is closed altogether, and not just done with asking."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def _line(value: dict[str, Any]) -> bytes:
    import json

    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _refusal(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}
