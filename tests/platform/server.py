"""What a game's server is made of, with a loop of its own in a thread, so that a test can look into it.

    with PlatformServer(tmp_path) as server:
        with server.client() as client: ...
        server.run(lambda: server.presence.online(player_id))      # on the loop's thread

Time is the real one and what a test adds with `advance`. For everything as it is started, see tests.support.server.
"""

from __future__ import annotations

import io
import os
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from gsrt._relay import Relay
from gsrt.backend.desk import Desk
from gsrt.connections import Connections, Presence
from gsrt.game.model import Game
from gsrt.log import Log
from gsrt.reception import HANDSHAKES_PER_TURN, Reception
from gsrt.session import House
from gsrt.sessions import Sessions
from gsrt.store.store import Store
from gsrt.timers import INFINITY, Timers
from gsrt.tokens import Tokens
from gsrt.worker import Worker
from tests.platform.client import DEADLINE, PlatformClient
from tests.relay.rig import profile

API_KEY = "k3y"
SECRET = "s3cret"
PAUSED_SECONDS = 0.005  # how soon a connection that is not read is looked at again

Result = TypeVar("Result")


class PlatformServer:
    """A game's server without scripts, matches and control socket. `limits` change keys of the generic profile."""

    host = "127.0.0.1"

    def __init__(
        self,
        directory: Path,
        *,
        game: Game | None = None,
        certificate: tuple[str, str] | None = None,
        host: str = "127.0.0.1",
        **limits: float,
    ) -> None:
        self.host = host
        self.lines_logged = io.StringIO()
        self._skew = 0.0
        self.log = Log(self.lines_logged, self.clock)
        self.profile = profile(**({"password_memory_kb": 1024, "password_passes": 1} | limits))
        self.game = game or Game(api_key=API_KEY, secret=SECRET)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")
        self._listener.setblocking(False)
        self._datagrams = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.port: int = self._listener.getsockname()[1]
        self.timers = Timers()
        self.reception = Reception(self.profile, self.log)
        self.reception.certificate = certificate
        self.relay = Relay(self._datagrams.fileno(), self.profile, self.reception)
        self.house = House(self.relay, Tokens(os.urandom), self.timers, self.profile, self.log)
        self.sessions = Sessions(self.house, os.urandom)
        self.reception.sessions = self.sessions
        self.worker = Worker(lambda error: self.log.error("work failed", reason=repr(error)))
        self.store = Store(
            str(directory / "game.sqlite"),
            wall=time.time,
            entropy=os.urandom,
            log=self.log,
            batch_seconds=self.profile.store_batch_ms / 1000,
            batch_writes=self.profile.store_batch_writes,
            waiting_max=self.profile.store_waiting_max,
        )
        self.desk = Desk(self.game, self.store, self.worker, self.profile, time.time, self.log)
        self.presence = Presence(self.store, self.timers, self.clock, self.profile, self.log)
        self.connections = Connections(
            self.desk,
            self.presence,
            clock=self.clock,
            timers=self.timers,
            entropy=random.Random(7).randbytes,
            log=self.log,
        )
        self.desk.presence = self.presence
        self.store.on_announce = self.presence.announce
        self.connections.settled = self.reception.settled
        self.reception.platform = self.connections
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        for readable in (self._listener, self.relay, self.worker, self.store, self._wake):
            self._selector.register(readable, selectors.EVENT_READ)
        self._errands: list[Callable[[], None]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="test server", daemon=True)

    # -- what a test does

    def client(self, **how: Any) -> PlatformClient:
        """A client that knows key and secret; it is not connected yet."""
        host = how.pop("host", self.host)
        given = {"api_key": self.game.api_key, "secret": self.game.secret} | how
        return PlatformClient(host, self.port, given.pop("api_key"), given.pop("secret"), **given)

    def run(self, errand: Callable[[], Result]) -> Result:
        """What ERRAND gives, done on the loop's thread."""
        future: Future[Result] = Future()

        def do() -> None:
            try:
                future.set_result(errand())
            except BaseException as error:
                future.set_exception(error)

        self._errands.append(do)
        self._waker.send(b"!")
        return future.result(DEADLINE)

    def until(self, condition: Callable[[], object]) -> None:
        """Waits until that holds on the loop's thread."""
        end = time.monotonic() + DEADLINE
        while not self.run(condition):
            assert time.monotonic() < end, f"it has not come about; log:\n{self.log_text()}"
            time.sleep(0.005)  # between two looks

    def advance(self, seconds: float) -> None:
        """So much later."""

        def skip() -> None:
            self._skew += seconds

        self.run(skip)
        self.run(lambda: None)  # a turn that has seen it

    def stored(self, operation: Callable[..., Any], *arguments: object) -> Any:
        """What an operation of the store gives."""
        future: Future[Any] = Future()

        def done(result: object, error: BaseException | None) -> None:
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.run(lambda: self.store.submit(operation, arguments, done))
        return future.result(DEADLINE)

    def clock(self) -> float:
        """Seconds, monotonic."""
        return time.monotonic() + self._skew

    def log_text(self) -> str:
        """All that was logged."""
        return self.lines_logged.getvalue()

    # -- the loop

    def _loop(self) -> None:
        while not self._stopping:
            due = min(self.timers.next() or INFINITY, self.reception.next_timer() or INFINITY)
            timeout = None if due == INFINITY else max(due - self.clock(), 0.0)
            if self.relay.paused_count or self.connections.has_more:
                timeout = min(timeout or INFINITY, PAUSED_SECONDS)
            ready = {key.fileobj for key, _ in self._selector.select(timeout)}
            now = self.clock()
            self.reception.handshakes_left = HANDSHAKES_PER_TURN
            if self.relay in ready:
                self.relay.receive_streams(now)
                self.connections.work(lambda: False)
            if self._listener in ready:
                self._accept(now)
            if self.worker in ready:
                self.worker.deliver()
            if self.store in ready:
                self.store.deliver()
            if self._wake in ready:
                self._wake.recv(4096)
                errands, self._errands = self._errands, []
                for errand in errands:
                    errand()
            self.relay.resume(now)
            self.connections.work(lambda: False)
            self.timers.run(now)
            self.reception.expire(now)
            self.relay.flush()

    def _accept(self, now: float) -> None:
        try:
            connection, address = self._listener.accept()
        except BlockingIOError:
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = self.relay.add_stream(connection.detach(), f"{address[0]}:{address[1]}")
        self.reception.admit(stream, address[0], now)

    def start(self) -> Self:
        """Begins the loop."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Ends it as a server does."""
        if self._thread.is_alive():
            self.run(self._stop)
            self._thread.join(DEADLINE)
        self.store.close()
        self.sessions.end_all("the test is over")
        self.worker.close()
        self._selector.close()
        for each in (self._listener, self._datagrams, self._wake, self._waker):
            each.close()

    def _stop(self) -> None:
        self.connections.close()
        for stream in list(self.relay.streams.values()):
            stream.close()
        self._stopping = True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"log of the server:\n{self.log_text()}")
        self.close()
