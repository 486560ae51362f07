"""What the operator asks of a running server over the control socket: each request a small function."""

from __future__ import annotations

import os

from gsrt import __version__
from gsrt.session import Session, SessionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gsrt.server import Server


def handle(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request: {"ok": true, ...} or {"ok": false, "error": what to do}."""
    work = REQUESTS.get(request["do"])
    if work is None:
        return {"ok": False, "error": f"unknown request {request['do']!r}; there are {', '.join(REQUESTS)}"}
    try:
        return {"ok": True, **work(server, request)}
    except SessionError as error:
        return {"ok": False, "error": str(error)}


def session_create(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """{players: [str], host?: str}"""
    players = request.get("players")
    if not isinstance(players, list) or not all(isinstance(each, str) for each in players):
        raise SessionError("players: a list of player ids is expected")
    host = _text(request, "host", default=server.public_host())
    return describe_created(server, server.sessions.create(players, server.clock()), host)


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
                "players": [
                    {"playerId": each.player_id, "peerId": each.peer_id, "state": each.state}
                    for each in session.players
                ],
            }
            for session in server.sessions
        ]
    }


def session_end(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """{sessionId: str}"""
    server.sessions.get(_text(request, "sessionId")).end("ended by the operator")
    return {}


def player_kick(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """{sessionId: str, player: str}"""
    session = server.sessions.get(_text(request, "sessionId"))
    session.player(_text(request, "player")).kick(server.clock())
    return {}


def status(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": __version__,
        "pid": os.getpid(),
        "host": server.host,
        "port": server.port,
        "profile": server.profile.name,
        "uptimeSeconds": server.clock() - server.began,
        "sessions": len(server.sessions),
        "peersConnected": server.sessions.connected,
        "connections": len(server.relay.streams),
        "counters": {**server.relay.counts(), **server.reception.counters, **server.control.counters},
        "perSession": [
            {"sessionId": session.session_id, "counters": session.room.counts()} for session in server.sessions
        ],
        "loop": server.loop_figures(),
    }


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
    "status": status,
}
