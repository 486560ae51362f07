"""What checks can find out: files, other programs, the running server, the clock. Tests put fakes in their places."""

from __future__ import annotations

import os
import time

from gsrt import DEFAULT_PORT
from gsrt.doctor.commands import run_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from gsrt.doctor.commands import Output
    from gsrt.profile import Profile

# Of the .deb's service.
PACKAGED_CONFIG = "/etc/gsrt/gsrt.toml"
PACKAGED_STATE = "/var/lib/gsrt"

FILE_BYTES_MAX = 1024 * 1024  # read of one file: /proc/net/tcp of some thousand connections
NAMES_MAX = 65536  # read of one folder: the processes of a box
COMMAND_SECONDS = 1.5  # for one program, if the check gives it no other time
CONTROL_SECONDS = 1.5  # for the running server to answer
SEARCH_SECONDS = 0.4  # for a server of this box itself to answer a broadcast
NUMBER_DIGITS_MAX = 20  # 64 bits
UDP_SEGMENT = 103  # of linux/udp.h
SEGMENT_BYTES = 1000


class Settings:
    """How the server is, or would be, started: of the command line, the configuration file or the usual values."""

    __slots__ = (
        "cert",
        "config",
        "config_error",
        "control",
        "game",
        "host",
        "key",
        "port",
        "port_given",
        "profile",
        "profile_given",
        "script",
        "state",
    )

    def __init__(
        self,
        *,
        config: str | None = None,
        config_error: str = "",
        host: str = "0.0.0.0",
        port: int | None = None,
        port_given: bool = False,
        profile: str = "generic",
        profile_given: bool = False,
        game: str | None = None,
        script: str | None = None,
        state: str = "",
        control: str | None = None,
        cert: str | None = None,
        key: str | None = None,
    ) -> None:
        self.config = config  # path of the configuration file, if there is one
        self.config_error = config_error  # why it cannot be used, or ""
        self.host = host
        self.port = port  # None or 0: the game's, or the usual one
        self.port_given = port_given  # it is the one asked for, whatever a running server has
        self.profile = profile
        self.profile_given = profile_given  # it is the one asked for, whatever a running server has
        self.game = game
        self.script = script
        self.state = state  # folder for what outlives the server
        self.control = control  # path of the control socket; None: where it usually is
        self.cert = cert
        self.key = key


class Surroundings:
    """The box as the checks see it. Every path goes through `path`, every program through `run`."""

    def __init__(
        self,
        settings: Settings,
        *,
        root: str = "/",
        run: Callable[[Sequence[str], float], Output | None] = run_command,
        ask: Callable[[str | None, dict[str, Any], float], dict[str, Any]] | None = None,
        now: Callable[[], float] = time.time,
        user: int | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """ROOT stands before the paths of /proc, /sys, /etc and /run. RUN is as run_command. ASK(control, request,
        seconds) is as gsrt.cli.asking.ask. NOW is the wall clock in seconds, USER the effective user id, ENVIRONMENT
        that of the command."""
        self.settings = settings
        self.root = root
        self.now = now
        self.user = os.geteuid() if user is None else user
        through_sudo = whole_number(environment.get("SUDO_UID", "")) if self.is_root else None
        self.caller = self.user if through_sudo is None else through_sudo  # who has asked
        self._run = run
        self._ask = ask
        self._status: dict[str, Any] | None = None
        self._status_error = ""
        self._asked = False
        self._said: dict[tuple[str, ...], Output | None] = {}
        self._profile: Profile | None = None
        self._profile_error: str | None = None  # "": it is read

    @property
    def is_root(self) -> bool:
        return self.user == 0

    def path(self, path: str) -> str:
        """Where the file called PATH, an absolute one, is."""
        return path if self.root == "/" else os.path.join(self.root, path.lstrip("/"))

    def read(self, path: str) -> str | None:
        """The text of a file as far as it is read; None where it cannot be."""
        try:
            descriptor = os.open(self.path(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            pieces = bytearray()
            while len(pieces) < FILE_BYTES_MAX and (piece := os.read(descriptor, 65536)):
                pieces += piece
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return pieces.decode("utf-8", "replace")

    def word(self, path: str) -> str:
        """The first word of a file; "" where there is none."""
        words = (self.read(path) or "").replace("\0", " ").split(None, 1)
        return words[0][:256] if words else ""

    def number(self, path: str) -> int | None:
        """The whole number that a file begins with; None where there is none."""
        return whole_number(self.word(path))

    def names(self, path: str) -> list[str]:
        """The names in a folder in order; none where it cannot be read."""
        try:
            with os.scandir(self.path(path)) as entries:
                found = [entry.name for entry, _ in zip(entries, range(NAMES_MAX), strict=False)]
        except OSError:
            return []
        return sorted(found)

    def link(self, path: str) -> str:
        """What a symbolic link says; "" where it cannot be read."""
        try:
            return os.readlink(self.path(path))
        except OSError:
            return ""

    def there(self, path: str) -> bool:
        return os.path.lexists(self.path(path))

    def run(self, *words: str, seconds: float = COMMAND_SECONDS) -> Output | None:
        """What a program says, of which each is asked the same thing once; None where it is not there."""
        if words not in self._said:
            self._said[words] = self._run(words, seconds)
        return self._said[words]

    def json(self, *words: str) -> Any:
        """What a program prints, as JSON; None where it is not there, fails, or prints something else."""
        import json

        output = self.run(*words)
        if output is None or output.status != 0:
            return None
        try:
            return json.loads(output.text)
        except (ValueError, RecursionError):
            return None

    def status(self) -> dict[str, Any] | None:
        """What the running server says of itself; None when none answers: `status_error` says why."""
        if not self._asked and self._ask is not None:
            from gsrt.cli import CommandError
            from gsrt.cli.asking import Unserved

            try:
                self._status = self._ask(self.settings.control, {"do": "status"}, CONTROL_SECONDS)
            except Unserved:
                pass
            except CommandError as error:
                self._status_error = str(error)
        self._asked = True
        return self._status

    def status_error(self) -> str:
        """Why a server that seems to be there does not say how it is; "" where none is there or it has."""
        self.status()
        return self._status_error

    def server_port(self) -> int:
        """The port that matters: the one asked for, else that of the running server, else the configured one."""
        status = self.status()
        port = None if status is None or self.settings.port_given else status.get("port")
        if isinstance(port, int) and 0 < port < 65536:
            return port
        return self.settings.port or self._port_of_game() or DEFAULT_PORT

    def _port_of_game(self) -> int | None:
        """The port that the game's own file names; None where there is none, or the file is not in order, which is for
        the check of the game to say."""
        profile = self.profile()
        if self.settings.game is None or profile is None:
            return None
        from gsrt.game.model import GameError
        from gsrt.game.reading import read_game

        try:
            return read_game(self.settings.game, profile).port
        except GameError:
            return None

    def profile(self) -> Profile | None:
        """The profile that the server has, or would have; None where it cannot be used: `profile_error` says why."""
        if self._profile_error is None:
            from gsrt.profile import Profile, ProfileError, available

            name = self.settings.profile
            status = None if self.settings.profile_given else self.status()
            if status is not None and status.get("profile") in available():
                name = str(status["profile"])
            try:
                self._profile = Profile.load(name)
                self._profile_error = ""
            except ProfileError as error:
                self._profile_error = str(error)
        return self._profile

    def profile_error(self) -> str:
        """Why the profile cannot be used; "" where it can."""
        self.profile()
        return self._profile_error or ""

    def machine(self) -> str:
        """The kind of processor, as uname(2) calls it."""
        return os.uname().machine

    def can_segment(self) -> bool:
        """Whether the kernel takes several datagrams with one call: UDP_SEGMENT of udp(7), Linux 4.18."""
        import socket

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            try:
                datagrams.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SEGMENT_BYTES)
            except OSError:
                return False
            return True

    def is_found(self, port: int) -> bool:
        """Whether a search of the networks finds a server of this port, elsewhere than at a loopback address."""
        from gsrt.client.discovery import discover

        try:
            found = discover(SEARCH_SECONDS, port)
        except OSError:
            return False
        return any(each.port == port and not each.host.startswith(("127.", "::1")) for each in found)

    def landlock_version(self) -> int | None:
        """Which version of landlock the kernel has; below 1: none. None: there is no telling."""
        from gsrt.device.linux import calls

        lib = calls()
        return None if lib is None else lib.gsrt_landlock_version()


def whole_number(text: str) -> int | None:
    """A whole number in decimal digits, with a sign or without; None for anything else."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= NUMBER_DIGITS_MAX):
        return None
    return int(text)


def megabytes(amount: float) -> str:
    """Bytes for people: "64 MiB", "1.5 GiB"."""
    mebibytes = amount / (1 << 20)
    return f"{mebibytes:.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"
