"""What a service and systemd tell each other: sd_notify(3), file descriptors that outlive the service, and sockets that
were opened before it, as sd_listen_fds(3) has it. Without systemd all of it does nothing, and nothing of it raises, but
for sockets that cannot be served.

A message is one datagram of lines `NAME=value` to the UNIX socket named by `NOTIFY_SOCKET`; descriptors come along as
SCM_RIGHTS."""

from __future__ import annotations

import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

    Port = tuple[socket.socket, socket.socket]  # the one that listens, and the one for datagrams

# Names of descriptors that a server leaves to the one that takes its place.
OWN_PREFIX = "gsrt-"
LISTENER_NAME = "gsrt-listener"
DATAGRAMS_NAME = "gsrt-datagrams"

STATUS_SECONDS = 10.0  # between two status texts
TEXT_CHARACTERS_MAX = 512
NAME_CHARACTERS_MAX = 255  # of a descriptor's name, by systemd's rule
PATIENCE_SECONDS = 1.0  # for what must not be lost, while systemd is behind with reading
BUNDLE_PART = 250  # descriptors that go along with one message; the kernel takes 253
FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
DESCRIPTORS_MAX = 65_536  # taken over at most
_UNNAMED = "unknown"  # as systemd calls them
_UNIT_SUFFIX = ".socket"  # sockets of a unit have its name, where it gives them no other


class SocketsError(Exception):
    """The sockets that were handed in are not those of a port; the message says what to do."""


class Notifier:
    """Tells the manager of this service how it is doing."""

    __slots__ = ("_address", "_clock", "_descriptors_max", "_socket", "_status", "_status_at", "watchdog_seconds")

    def __init__(self, environment: Mapping[str, str], now: Callable[[], float]) -> None:
        """ENVIRONMENT is the process's, and is left as it is; NOW tells the seconds of the monotonic clock."""
        self._clock = now
        self._socket: socket.socket | None = None
        self._address = _socket_address(environment.get("NOTIFY_SOCKET", ""))
        self._status = ""
        self._status_at: float | None = None
        self._descriptors_max = _number(environment.get("FDSTORE", ""))  # that it keeps; systemd says it since 254
        self.watchdog_seconds: float | None = None  # between two signs of life; None: nobody waits for them
        if not self._address:
            return
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        except OSError:
            return
        self.watchdog_seconds = _half_of_the_watchdog(environment)

    @property
    def enabled(self) -> bool:
        """Whether there is a manager to tell."""
        return self._socket is not None

    @property
    def keeps(self) -> bool:
        """Whether there is one that keeps for this service's next process what is left with it."""
        return self.enabled and self._descriptors_max > 0

    def ready(self, status: str) -> bool:
        """The service serves, at first or again after `reloading`. True where the manager was told."""
        return self._tell(f"READY=1\n{self._status_line(status)}", PATIENCE_SECONDS)

    def status(self, text: str) -> None:
        """What `systemctl status` shows: told where it has changed, and not more often than every 10 seconds."""
        if self._status_at is not None and self._clock() < self._status_at + STATUS_SECONDS:
            return
        if (line := _status(text)) != self._status and self._tell(line, 0.0):
            self._status, self._status_at = line, self._clock()

    def reloading(self) -> bool:
        """The service reads its files again; `ready` ends that. True where the manager was told."""
        return self._tell(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock() * 1_000_000)}", PATIENCE_SECONDS)

    def stopping(self, text: str) -> bool:
        """The service is about to end. True where the manager was told."""
        return self._tell(f"STOPPING=1\n{self._status_line(text)}", PATIENCE_SECONDS)

    def feed_watchdog(self) -> None:
        """A sign of life, to be given every `watchdog_seconds`; nothing where nobody waits for them."""
        if self.watchdog_seconds is not None:
            self._tell("WATCHDOG=1", 0.0)

    def store(self, descriptor: int, name: str) -> bool:
        """Leaves a descriptor with the manager: it is handed to this service's next process, under that name, and to
        each further one until `forget`. What has hung up is kept too. True where the manager was told; it may still
        have no room (FileDescriptorStoreMax=)."""
        return _is_a_name(name) and self._tell(
            f"FDSTORE=1\nFDPOLL=0\nFDNAME={name}", PATIENCE_SECONDS, descriptor=descriptor
        )

    def forget(self, name: str) -> bool:
        """The manager closes all it has kept under that name. True where it was told."""
        return _is_a_name(name) and self._tell(f"FDSTOREREMOVE=1\nFDNAME={name}", PATIENCE_SECONDS)

    def wait_until_read(self, seconds: float) -> bool:
        """Waits until the manager has read all that it was told, so that this process may end. False where that takes
        longer than SECONDS, or there is no manager."""
        import select

        try:
            reader, writer = os.pipe2(os.O_CLOEXEC)
        except OSError:
            return False
        try:
            told = self._tell("BARRIER=1", seconds, descriptor=writer)
            os.close(writer)  # the manager has the last one now, and closes it when it comes to it
            poll = select.poll()
            poll.register(reader, 0)
            return told and bool(poll.poll(max(seconds, 0.0) * 1000))
        finally:
            os.close(reader)

    def close(self) -> None:
        """Nobody is told anything any more."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _status_line(self, text: str) -> str:
        self._status, self._status_at = _status(text), self._clock()
        return self._status

    def _tell(self, message: str, patience: float, descriptor: int | None = None) -> bool:
        """Sends one message, waiting for PATIENCE seconds where the manager is behind; False where it does not go."""
        if self._socket is None:
            return False
        rights = []
        if descriptor is not None:
            if not 0 <= descriptor < 1 << 31:
                return False
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder))]
        try:
            self._socket.settimeout(patience)
            self._socket.sendmsg([message.encode("utf-8", "replace")], rights, socket.MSG_NOSIGNAL, self._address)
        except (OSError, ValueError):
            return False
        return True


def bundle(descriptors: Sequence[int]) -> int:
    """One descriptor in place of many, to be left with the manager, which takes the longer for each the more it has: a
    socket in which they wait. They stay open here. Raises OSError."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with sender, receiver:
        sender.setblocking(False)
        for start in range(0, len(descriptors), BUNDLE_PART):
            part = descriptors[start : start + BUNDLE_PART]
            numbers = b"".join(each.to_bytes(4, sys.byteorder) for each in part)
            sender.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
        return receiver.detach()


def unbundle(descriptor: int) -> list[int]:
    """The descriptors in a bundle, which is closed; none where it is something else."""
    found: list[int] = []
    try:
        receiver = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return found
    room = socket.CMSG_SPACE(4 * BUNDLE_PART)
    with receiver:
        try:
            receiver.setblocking(False)
            while receiver.family == socket.AF_UNIX:
                data, rights, _, _ = receiver.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
                if not data:
                    break
                for level, kind, numbers in rights:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        found += memoryview(numbers[: len(numbers) // 4 * 4]).cast("i")
        except OSError:
            pass
    return found


def take_listen_descriptors(environment: MutableMapping[str, str], pid: int) -> dict[str, list[int]]:
    """The descriptors that the manager has handed to process PID, by their names, in its order; none that is not open.
    They are closed at execve(2) from now on. The variables are removed, whoever they were meant for: no child shall
    think that they are its own."""
    meant_for, count, names = (environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    environment.pop("LISTEN_PIDFDID", None)
    taken: dict[str, list[int]] = {}
    if _number(meant_for) != pid:
        return taken
    wanted = min(_number(count), DESCRIPTORS_MAX)
    each_name = names.split(":")
    if len(each_name) != wanted:
        each_name = [_UNNAMED] * wanted
    for descriptor, name in enumerate(each_name, FIRST_DESCRIPTOR):
        try:
            os.set_inheritable(descriptor, False)
        except OSError:
            continue
        taken.setdefault(name or _UNNAMED, []).append(descriptor)
    return taken


def take_port(descriptors: dict[str, list[int]]) -> Port | None:
    """The sockets of a .socket unit among DESCRIPTORS, taken out of them: the one that listens for TCP connections and
    the one for UDP, not blocking. None where there are none.

    Raises SocketsError where there is anything else, or one is missing."""
    names = [name for name in descriptors if name.endswith(_UNIT_SUFFIX) or not name.startswith(OWN_PREFIX)]
    found = [each for name in names for each in descriptors.pop(name)]
    return _port_of(found) if found else None


def take_left_port(descriptors: dict[str, list[int]], host: str, port: int) -> Port | None:
    """The same of those that the server before has left, if they are at the address HOST and that port (0: at any).
    None where there are none that can be used; then they are closed."""
    found = _left_port(descriptors)
    try:
        sockets = _port_of(found) if found else None
    except SocketsError:
        return None
    if sockets is None or _is_at(sockets[0], host, port):
        return sockets
    for each in sockets:
        each.close()
    return None


def close_left_port(descriptors: dict[str, list[int]]) -> None:
    """Closes those instead: the port is another."""
    for each in _left_port(descriptors):
        os.close(each)


def _left_port(descriptors: dict[str, list[int]]) -> list[int]:
    return descriptors.pop(LISTENER_NAME, []) + descriptors.pop(DATAGRAMS_NAME, [])


def _port_of(descriptors: list[int]) -> Port:
    """Raises SocketsError, with all of them closed."""
    sockets: list[socket.socket] = []
    try:
        for descriptor in descriptors:
            sockets.append(_internet_socket(descriptor))
        listeners = [each for each in sockets if each.type == socket.SOCK_STREAM]
        datagrams = [each for each in sockets if each.type == socket.SOCK_DGRAM]
        if len(listeners) != 1 or len(datagrams) != 1:
            raise SocketsError(
                f"{len(listeners)} TCP and {len(datagrams)} UDP sockets were handed in by systemd: one of each is "
                "served; give gsrt.socket one ListenStream= and one ListenDatagram="
            )
        ports = [each.getsockname()[1] for each in (listeners[0], datagrams[0])]
        if ports[0] != ports[1]:
            raise SocketsError(
                f"TCP port {ports[0]} and UDP port {ports[1]} were handed in by systemd: players expect one number; "
                "give gsrt.socket the same one in ListenStream= and ListenDatagram="
            )
    except SocketsError:
        for each in sockets:
            each.close()
        for descriptor in descriptors[len(sockets) + 1 :]:
            os.close(descriptor)
        raise
    for each in sockets:
        each.setblocking(False)
    return listeners[0], datagrams[0]


def _is_at(listener: socket.socket, host: str, port: int) -> bool:
    """Whether it listens there, as far as HOST is an IP address."""
    if port not in (0, listener.getsockname()[1]):
        return False
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        wanted = socket.inet_pton(family, host)
    except OSError:  # a name
        return True
    return listener.family == family and socket.inet_pton(family, listener.getsockname()[0]) == wanted


def _internet_socket(descriptor: int) -> socket.socket:
    """Raises SocketsError for what is no TCP socket that listens and no UDP socket."""
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        raise SocketsError(_why_not("no socket")) from None
    kind = None
    try:
        if found.family not in (socket.AF_INET, socket.AF_INET6):
            kind = f"a socket of the family {getattr(found.family, 'name', found.family)}"
        elif found.type == socket.SOCK_STREAM:
            if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                kind = "a TCP connection"
        elif found.type != socket.SOCK_DGRAM:
            kind = "a socket that is neither TCP nor UDP"
        elif not found.getsockname()[1]:
            kind = "a UDP socket without a port"
    except OSError as error:
        kind = f"a socket that tells nothing ({error.strerror})"
    if kind is not None:
        found.close()
        raise SocketsError(_why_not(kind))
    return found


def _why_not(kind: str) -> str:
    return (
        f"{kind} was handed in by systemd: what is served is a TCP port and the UDP port of the same number; give "
        "gsrt.socket one ListenStream= and one ListenDatagram="
    )


def _socket_address(text: str) -> bytes:
    """The address that `NOTIFY_SOCKET` names: a path, or with "@" a name without a file. Nothing where it names none,
    or one of another kind."""
    try:
        name = text.encode(sys.getfilesystemencoding(), "surrogateescape")
    except ValueError:
        return b""
    if len(name) < 2 or b"\0" in name:
        return b""
    if name.startswith(b"@"):
        return b"\0" + name[1:]
    return name if name.startswith(b"/") else b""


def _half_of_the_watchdog(environment: Mapping[str, str]) -> float | None:
    meant_for = environment.get("WATCHDOG_PID", "")
    if meant_for and _number(meant_for) != os.getpid():
        return None
    microseconds = _number(environment.get("WATCHDOG_USEC", ""))
    return microseconds / 2_000_000 if 0 < microseconds < 1 << 63 else None


def _number(text: str) -> int:
    """A whole number in decimal digits; 0 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text[:TEXT_CHARACTERS_MAX].split())


def _is_a_name(name: str) -> bool:
    """Whether systemd would take it: else the message as a whole would be in vain."""
    return 0 < len(name) <= NAME_CHARACTERS_MAX and name.isascii() and name.isprintable() and ":" not in name
