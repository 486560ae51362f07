"""What the operator asks of a running server over the control socket: each request a small function."""

from __future__ import annotations

import os
import sys

from gsrt import __version__
from gsrt.scripts.compiling import HostError
from gsrt.session import ABSENT, EXPECTED, GONE, JOINING, KICKED, READY, Session, SessionError
from gsrt.transports.control import Later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.scripts.compiler import Compiled
    from gsrt.server import Server
    from gsrt.session import Player


# Datagrams under way in the bad network before one player, in each direction: half a second of a busy game.
IMPAIRED_DATAGRAMS_MAX = 1024


def handle(server: Server, request: dict[str, Any]) -> dict[str, Any] | Later:
    """The answer to one request: {"ok": true, ...} or {"ok": false, "error": what to do}; or Later, where it takes
    time."""
    work = REQUESTS.get(request["do"])
    if work is None and request["do"] in OF_THE_GAME:
        work = of_the_game
    if work is None:
        return {"ok": False, "error": f"unknown request {request['do']!r}; there are {', '.join(REQUESTS)}"}
    try:
        answer = work(server, request)
    except (SessionError, HostError) as error:
        return {"ok": False, "error": str(error)}
    return answer if isinstance(answer, Later) else {"ok": True, **answer}


def session_create(server: Server, request: dict[str, Any]) -> dict[str, Any] | Later:
    """{players: [str], host?: str, script?: path, record?: path}. With a script, the answer comes when it runs."""
    players = request.get("players")
    if not isinstance(players, list) or not all(isinstance(each, str) for each in players):
        raise SessionError("players: a list of player ids is expected")
    host = _text(request, "host", default=server.public_host())
    script, record = _optional(request, "script") or server.script, _optional(request, "record")
    if server.contained is not None:
        _refuse(None if script is None else server.contained.why_not_read(script))
        _refuse(None if record is None else server.contained.why_not_write(record))
    if script is not None:
        return _create_with_script(server, players, host, script, record)
    if record is not None:
        raise SessionError("record: only a session with a script is recorded")
    return describe_created(server, server.sessions.create(players, server.clock()), host)


def _create_with_script(server: Server, players: list[str], host: str, script: str, record: str | None) -> Later:
    later = Later()

    def prepared(compiled: Compiled | None, error: HostError | None) -> None:
        try:
            if compiled is None:
                raise error or HostError(f"{script}: it cannot be compiled")
            session = server.sessions.create(players, server.clock())
            try:
                server.scripts.attach(session, script, compiled, server.clock(), record)
            except HostError:
                session.end("its script cannot run")
                raise
        except (SessionError, HostError) as refused:
            later.answer({"ok": False, "error": str(refused)})
        else:
            later.answer({"ok": True, **describe_created(server, session, host)})

    server.scripts.prepare(script, prepared)
    return later


def describe_created(server: Server, session: Session, host: str) -> dict[str, Any]:
    """What each player of a new session needs to come in."""
    return {
        "sessionId": session.session_id,
        "host": host,
        "port": server.port,
        "players": [
            {"playerId": each.player_id, "peerId": each.peer_id, "accessToken": each.access_token}
            for each in session.players
        ],
    }


def session_list(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    now = server.clock()
    return {
        "sessions": [
            {
                "sessionId": session.session_id,
                "ageSeconds": now - session.began,
                "players": _players(session),
            }
            for session in server.sessions
        ]
    }


def _players(session: Session) -> list[dict[str, Any]]:
    return [
        {"playerId": each.player_id, "peerId": each.peer_id, "state": each.state, **_way(each)}
        for each in session.players
    ]


def _way(player: Player) -> dict[str, Any]:
    """By what a player has come in ("tcp+udp": with datagrams beside it; None: not connected), and for a link the round
    trip, when one has been measured."""
    stream = player.stream
    if stream is None:
        return {"leg": None}
    if player.member.link is None:
        return {"leg": f"{stream.kind}+udp" if player.member.udp_confirmed else stream.kind}
    seconds = player.member.link.quality()["rtt"]
    return {"leg": stream.kind, "roundTripMs": seconds * 1000 if seconds > 0 else None}


def session_end(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """{sessionId: str}"""
    server.sessions.get(_text(request, "sessionId")).end("ended by the operator")
    return {}


def player_kick(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """{sessionId: str, player: str}"""
    session = server.sessions.get(_text(request, "sessionId"))
    session.player(_text(request, "player")).kick(server.clock())
    return {}


def player_netsim(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """{sessionId: str, player: str, up: conditions, down: conditions, seed?: int}, or {sessionId, player, off: true}.
    Conditions: a text as gsrt.netsim reads it."""
    player = server.sessions.get(_text(request, "sessionId")).player(_text(request, "player"))
    log = player.session.house.log
    if request.get("off") is True:
        player.member.impair(None, None)
        log.info("bad network taken away", session=player.session.session_id, player=player.player_id)
        return {}
    from gsrt.netsim.model import BadLink, Conditions, ConditionsError

    seed = request.get("seed", 0)
    if type(seed) is not int:
        raise SessionError("seed: a whole number is expected")
    try:
        up, down = Conditions.parse(_text(request, "up")), Conditions.parse(_text(request, "down"))
    except ConditionsError as error:
        raise SessionError(str(error)) from None
    player.member.impair(
        BadLink(up, seed, in_flight_max=IMPAIRED_DATAGRAMS_MAX),
        BadLink(down, ~seed, in_flight_max=IMPAIRED_DATAGRAMS_MAX),
    )
    log.info("bad network", session=player.session.session_id, player=player.player_id, up=str(up), down=str(down))
    return {"up": str(up), "down": str(down)}


def restart(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """Another program takes this one's place when this is answered; it tells `handOver` in its status. `managed`: a
    service manager is to start it, for it keeps what is handed over; else this process becomes it."""
    managed = server.manager.keeps
    if not managed and not os.access(sys.executable, os.X_OK):
        raise SessionError(f"{sys.executable}, which runs this server, is no more: end the server and start it anew")
    server.depart()
    return {"pid": os.getpid(), "version": __version__, "managed": managed}


def status(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    return {
        **totals(server),
        "perSession": [_figures(server, session) for session in server.sessions],
        "loop": server.loop_figures(),
        "process": {each.part: {"done": each.done, "why": each.why} for each in server.outcomes},
    }


def overview(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """{inside?: str}: what somebody who watches needs once a second: the totals, a line for each session, and all about
    the one of that id (None: it is no more). Its links only: those of hundreds of players would hold up the loop."""
    now = server.clock()
    inside = _optional(request, "inside")
    session = None if inside is None else server.sessions.find(inside)
    return {
        **totals(server),
        "perSession": [_line(server, each, now) for each in server.sessions],
        "inside": None if session is None else {**_figures(server, session), "players": _players(session)},
        "loop": server.loop_figures(),
    }


def _line(server: Server, session: Session, now: float) -> dict[str, Any]:
    """`roundTripMs`: of the slowest link, or None."""
    links = [each.member.link for each in session.players if each.member.link is not None]
    script = server.scripts.get(session.session_id)
    return {
        "sessionId": session.session_id,
        "ageSeconds": now - session.began,
        "players": len(session.players),
        "connected": sum(each.state in (JOINING, READY) for each in session.players),
        "roundTripMs": max((link.quality()["rtt"] for link in links), default=0.0) * 1000 or None,
        "counters": session.room.counts(),
        "script": None if script is None else script.state,
        "strikes": 0 if script is None or script.guest is None else script.guest.strikes,
    }


def totals(server: Server) -> dict[str, Any]:
    """The status without what is told of each session: the work is the same however many there are, but for a look at
    each player's state. Who asks for `loop` here does not take it away from who asks for the status."""
    players = dict.fromkeys((EXPECTED, JOINING, READY, ABSENT, GONE, KICKED), 0)
    scripts = {"running": 0, "off": 0, "strikes": 0, "failures": 0}
    empty = 0
    for session in server.sessions:
        here = players[JOINING] + players[READY]
        for player in session.players:
            players[player.state] += 1
        empty += players[JOINING] + players[READY] == here
        script = server.scripts.get(session.session_id)
        if script is not None:
            scripts[script.state] += 1
            if script.guest is not None:
                scripts["strikes"] += script.guest.strikes
                scripts["failures"] += script.guest.failures
    return {
        "version": __version__,
        "pid": os.getpid(),
        "host": server.host,
        "port": server.port,
        "profile": server.profile.name,
        "uptimeSeconds": server.clock() - server.began,
        "sessions": len(server.sessions),
        "sessionsEmpty": empty,
        "peersConnected": players[JOINING] + players[READY],
        "players": players,
        "connections": len(server.relay.streams),
        "links": server.relay.links_count,
        "scripts": scripts,
        "counters": {**server.relay.counts(), **server.reception.counts(), **server.control.counters},
        "loop": server.loop_totals(),
        **({} if server.arrival is None else {"handOver": server.arrival.figures()}),
        **({} if server.box is None else {"governor": server.box.figures()}),
        **({} if server.platform is None else {"platform": server.platform.figures()}),
    }


def _figures(server: Server, session: Session) -> dict[str, Any]:
    found: dict[str, Any] = {"sessionId": session.session_id, "counters": session.room.counts()}
    links = {each.player_id: each.member.link for each in session.players}
    found["links"] = {player_id: link.quality() for player_id, link in links.items() if link is not None}
    script = server.scripts.get(session.session_id)
    if script is not None:
        found["script"] = script.figures()
    return found


def logs(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """{after?: int, session?: str}: the lines that scripts have written since."""
    after = request.get("after", 0)
    if type(after) is not int or after < 0:
        raise SessionError("after: the number of the last line seen is expected, or 0")
    entries, last = server.scripts.journal.after(after, _optional(request, "session"))
    return {"entries": entries, "last": last}


def backup(server: Server, request: dict[str, Any]) -> Later:
    """{file: an absolute path} -> {file, bytes}, when the copy is whole."""
    from gsrt.store.errors import StoreError

    path = _text(request, "file")
    if not os.path.isabs(path):
        raise SessionError("file: an absolute path is expected, for the server may work in another folder")
    if server.platform is None:
        raise SessionError("this server remembers nothing: it serves no game (gsrt serve GAME)")
    if server.contained is not None:
        _refuse(server.contained.why_not_write(path))
    later = Later()

    def done(size: int | None, error: BaseException | None) -> None:
        if error is None:
            later.answer({"ok": True, "file": path, "bytes": size})
        else:
            later.answer({"ok": False, "error": str(error)})

    try:
        server.platform.store.backup(path, done)
    except StoreError as refused:
        raise SessionError(str(refused)) from None
    return later


def of_the_game(server: Server, request: dict[str, Any]) -> Later:
    """A command about the game's players: see gsrt.backend.operator."""
    if server.platform is None:
        raise SessionError("this server knows no players: it serves no game (gsrt serve GAME)")
    from gsrt.backend.operator import answer

    return answer(server.platform.desk, request)


def logs_older(server: Server, request: dict[str, Any]) -> Later:
    """{after?: int, session?: str}: the lines that the game's database keeps, those of before a restart too."""
    after = request.get("after", 0)
    if type(after) is not int or after < 0:
        raise SessionError("after: the number of the last line seen is expected, or 0")
    journal = server.scripts.journal
    if journal.keeper is None:
        raise SessionError("no game is served, so nothing is kept: there are the lines of `gsrt logs` only")
    from gsrt.store.store import StoreError

    later, newest = Later(), journal.newest

    def done(entries: list[dict[str, Any]] | None, error: BaseException | None) -> None:
        if entries is None:
            later.answer({"ok": False, "error": str(error)})
        else:
            last = entries[-1]["number"] if entries else after
            later.answer({"ok": True, "entries": entries, "last": last, "newest": newest})

    try:
        journal.keeper.older(after, _optional(request, "session"), done)
    except StoreError as error:
        raise SessionError(str(error)) from None
    return later


def _refuse(reason: str | None) -> None:
    if reason is not None:
        raise SessionError(reason)


def _optional(request: dict[str, Any], key: str) -> str | None:
    return None if request.get(key) is None else _text(request, key)


def _text(request: dict[str, Any], key: str, default: str | None = None) -> str:
    value = request.get(key, default)
    if not isinstance(value, str) or not value:
        raise SessionError(f"{key}: a text is expected")
    return value


REQUESTS = {
    "session.create": session_create,
    "session.list": session_list,
    "session.end": session_end,
    "player.kick": player_kick,
    "player.netsim": player_netsim,
    "restart": restart,
    "status": status,
    "overview": overview,
    "logs": logs,
    "logs.older": logs_older,
    "backup": backup,
}

# Done by gsrt.backend.operator, which is loaded with a game only.
OF_THE_GAME = ("player.list", "player.show", "player.reset", "player.delete", "player.export")
