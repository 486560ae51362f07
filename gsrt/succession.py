"""What a server leaves to the program that takes its place, in its own process or started by the service manager: the
port, the image of its sessions, and all that gsrt.handover takes down of who is in.
"""

from __future__ import annotations

import os
import sys

from gsrt.accepting import RAISE_DESCRIPTORS
from gsrt.device.systemd import DATAGRAMS_NAME, LISTENER_NAME, bundle
from gsrt.log import error_text
from gsrt.resume import IMAGE_NAME, LIVE_NAME, NOTE_NAME, STREAM_NAME, LiveFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from gsrt._relay import Relay
    from gsrt.device.systemd import Notifier
    from gsrt.log import Log
    from gsrt.resume import Image
    from gsrt.scripts.compiling import Compiler
    from gsrt.sessions import Sessions


class Succession:
    """Of one server. `wake` is the socket that signals write to, as soon as there is one."""

    def __init__(
        self, image: Image, listener: socket.socket, datagrams: socket.socket, compiler: Compiler, log: Log
    ) -> None:
        self.wake: socket.socket | None = None
        self.is_ready = False  # everything is left behind, and another program may come
        self._image = image
        self._listener = listener
        self._datagrams = datagrams
        self._compiler = compiler
        self._log = log
        self._live = -1  # descriptor of what was handed over; -1: that could not be told
        self._streams: list[int] = []  # descriptors of the connections that go along
        for each in (listener, datagrams):
            each.set_inheritable(True)

    def prepare(self) -> None:
        """Loads what leave_behind() needs: by then, an upgrade has put the next version's files in the place of this
        one's."""
        try:
            import gsrt._linkdump
            import gsrt.handover  # noqa: F401
        except Exception as error:
            self._log.error("players will have to come back by themselves after a restart", reason=error_text(error))

    def leave_behind(self, sessions: Sessions, relay: Relay, cookie_key: bytes | None, now: float) -> None:
        """What the program that comes needs to know of who is in; if it cannot be told, it knows the sessions. From
        here on no packet may be taken or sent."""
        self.is_ready = True
        self._image.keep_current()
        try:
            from gsrt.handover import Departure

            live = LiveFile()
            departure = Departure(sessions, relay, live.add, now, cookie_key)
            live.finish()
        except Exception as error:  # whatever it is: the sessions, at least, are to live on
            self._log.error("players have to come back by themselves", reason=error_text(error))
            return
        self._live = live.descriptor
        self._streams = [each.give_up() for each in departure.streams]
        self._log.info("handed over", sessions=len(sessions), connections=len(self._streams))

    def restart_command(self) -> tuple[bytes, list[bytes], list[bytes]]:
        """Path, arguments and environment for execve(2) to restart this server with its port and its sessions; as soon
        as there is `wake`."""
        assert self.wake is not None
        sockets = {"listener": self._listener, "datagrams": self._datagrams, "wake": self.wake}
        named: dict[str, int | str] = {name: each.fileno() for name, each in sockets.items()}
        if self._compiler.helper is not None:
            named["compiler"] = f"{self._compiler.helper.fileno()}/{sys.implementation.cache_tag}"
        if self.is_ready:
            for descriptor in (self._live, *self._streams):
                if descriptor >= 0:
                    os.set_inheritable(descriptor, True)
            named |= {"live": self._live, "streams": "/".join(map(str, self._streams))}
        return self._image.restart_command(named)

    def leave_with_manager(self, manager: Notifier) -> None:
        """Has the manager keep what a later program needs: after start-up, and again when all is left behind."""
        for descriptor, name in (
            (self._image.descriptor, IMAGE_NAME),
            (self._image.note, NOTE_NAME),
            (self._listener.fileno(), LISTENER_NAME),
            (self._datagrams.fileno(), DATAGRAMS_NAME),
            (self._live, LIVE_NAME),
        ):
            if descriptor >= 0:
                manager.store(descriptor, name)
        if not self._streams:
            return
        try:
            bundled = bundle(self._streams)
        except OSError as error:
            self._log.error("connections are not handed over", reason=error.strerror, todo=RAISE_DESCRIPTORS)
            return
        manager.store(bundled, STREAM_NAME)
        os.close(bundled)
