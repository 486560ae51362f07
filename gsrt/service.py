"""A run of the server as a program: what it takes over from who has started it, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import time

from gsrt.device.systemd import (
    DATAGRAMS_NAME,
    LISTENER_NAME,
    Notifier,
    SocketsError,
    close_left_port,
    take_left_port,
    take_listen_descriptors,
    take_port,
)
from gsrt.log import Log
from gsrt.profile import Profile
from gsrt.requests import describe_created
from gsrt.resume import IMAGE_NAME, LIVE_NAME, NOTE_NAME, STREAM_NAME, Resumed
from gsrt.scripts.compiling import Compiler, HostError
from gsrt.server import SIGNALS, Server, wanted_port
from gsrt.transports.certificate import CertificateError
from gsrt.transports.port import PortError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.cli.serve import Options
    from gsrt.game.model import Game
    from gsrt.session import Session

READ_SECONDS = 5.0  # for the service manager to take what is handed over
KEEP = "give its unit FileDescriptorStoreMax=64, and for systemd before 254 Environment=FDSTORE=64 besides"


def serve(options: Options) -> int:
    """Runs a server until SIGTERM or SIGINT: the exit status. What keeps it from starting is one line in the log."""
    log = Log(sys.stderr, time.monotonic)
    manager = Notifier(os.environ, time.monotonic)
    manager.feed_watchdog()  # which goes on counting where this process was another program just now
    handed_in = take_listen_descriptors(os.environ, os.getpid())
    resumed = Resumed.from_environment(os.environ, time.monotonic(), log)
    resumed.take_stored(handed_in, log)
    compiler = Compiler()
    if resumed.compiler is not None:
        from gsrt.scripts.helper import Helper

        compiler.helper = Helper(resumed.compiler)
    refusals: tuple[type[Exception], ...] = (PortError, CertificateError, SocketsError)
    profile = Profile.load(options.profile)
    game: Game | None = None
    if options.game is not None:
        from gsrt.store.errors import StoreError

        refusals = (*refusals, StoreError)
        game = _read(options.game, profile, compiler, log, again=resumed.image >= 0)
        if game is None:
            return 1
    try:
        _use_port_of_systemd(handed_in, resumed, options.host, wanted_port(options, game), log)
        server = Server(options, log, resumed, game, manager, profile, compiler)
    except refusals as error:
        log.error("cannot start", reason=str(error))
        return 1
    server.wake_on_signals()
    if resumed.told_to_stop:
        server.stop()
    if profile.chosen:
        log.info("profile chosen", profile=profile.name, why=profile.chosen)
    log.info("listening", host=server.host, port=server.port, profile=profile.name, control=options.control)
    if options.demo:
        try:
            session = server.open_demo(options.demo)
        except HostError as refused:
            for line in str(refused).splitlines():
                log.error("cannot start", reason=line)
            server.close()
            return 1
        if server.arrival is None:  # else they have come by it, and it still holds
            print(_invitation(server, session), flush=True)
    if manager.enabled:
        for name in (LIVE_NAME, STREAM_NAME, LISTENER_NAME, DATAGRAMS_NAME):
            manager.forget(name)
        if manager.keeps:
            server.succession.leave_with_manager(manager)
        else:
            log.warn("a crash would lose the sessions: systemd keeps nothing for this service", todo=KEEP)
    try:
        server.run()
    finally:
        if server.becomes_next:
            manager.reloading()  # it is the same process, and tells when it is ready again
        else:
            manager.stopping("ending")
        server.close()
    if server.succession.is_ready:
        _hand_over(server)
        return 0
    for name in (IMAGE_NAME, NOTE_NAME):  # there is nothing to come back to
        manager.forget(name)
    manager.wait_until_read(READ_SECONDS)
    log.info("stopped")
    return 0


def _hand_over(server: Server) -> None:
    """Another program takes this one's place: the manager's next, where that keeps what is left for it, or else one
    that this process becomes."""
    if server.manager.keeps:
        server.succession.leave_with_manager(server.manager)
        if not server.manager.wait_until_read(READ_SECONDS):
            server.log.error("systemd does not take what is handed over", todo="see journalctl -u gsrt")
        return
    server.manager.feed_watchdog()  # it waits for the next one from here on
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the one that comes is not killed by them before it heeds them
    program, arguments, environment = server.succession.restart_command()
    os.execve(program, arguments, {name: value for name, _, value in (each.partition(b"=") for each in environment)})


def _use_port_of_systemd(handed_in: dict[str, list[int]], resumed: Resumed, host: str, port: int, log: Log) -> None:
    """Has the server listen at the sockets that systemd has opened for it, if any, or else has kept of the server
    before, if they are at the HOST and port that are wanted. Raises SocketsError."""
    if resumed.sockets is not None:
        return
    resumed.sockets = take_port(handed_in)
    if resumed.sockets is not None:
        close_left_port(handed_in)  # of before the manager opened one, or the same
        log.info("the port is the one that systemd has opened: host and port of the configuration do not count")
    elif LISTENER_NAME in handed_in:
        resumed.sockets = take_left_port(handed_in, host, port)
        if resumed.sockets is None:
            log.warn("the port is another than before", todo="players who were in have to come by the new one")


def _read(folder: str, profile: Profile, compiler: Compiler, log: Log, *, again: bool) -> Game | None:
    """The game to serve; None where it has mistakes, which the log tells. A server that starts again by itself
    (`again`) goes on with what is right."""
    from gsrt.game.model import GameError
    from gsrt.game.reading import read_game, read_sound_parts

    try:
        if not again:
            return read_game(folder, profile, compiler=compiler)
        game, mistakes = read_sound_parts(folder, profile)
    except GameError as refused:
        for line in str(refused).splitlines():
            log.error("cannot start", reason=line)
        return None
    for mistake in mistakes:
        log.error("left out of the game", reason=str(mistake))
    return game


def _invitation(server: Server, session: Session) -> str:
    """The lines that bring the players of a session in."""
    created = describe_created(server, session, server.public_host())
    lines = [f"A session is open. In a terminal each, on this machine or another ({created['host']}):"]
    lines += [
        f"  {server.command} join {created['host']} {created['port']} {each['accessToken']}    # {each['playerId']}"
        for each in created["players"]
    ]
    return "\n".join(lines)
