"""What the operator asks of a game's players: over the control socket of a running server, or of the store itself where
no server runs. Each command is a function from its fields to the steps that do it (gsrt.backend.call)."""

from __future__ import annotations

from gsrt.backend import passwords, records
from gsrt.backend.call import FLAG, INTEGER, TEXT, Failure, Field, Stored, Worked, check_fields
from gsrt.transports.control import Later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from gsrt.backend.call import Steps
    from gsrt.backend.desk import Desk
    from gsrt.profile import Profile

    class Presence(Protocol):
        """Who is connected."""

        def online(self, player_id: str) -> bool: ...

        def disconnect(self, player_id: str, reason: str) -> None: ...

        def deleted(self, player_id: str) -> None: ...

    class House(Protocol):
        """Where a command is done: the desk of a server, or something without connections."""

        @property
        def profile(self) -> Profile: ...

        @property
        def presence(self) -> Presence: ...


LIST_MOST = 50  # players shown where nobody says how many
LIST_MAX = 1000  # and at most

PLAYER = Field("player", TEXT, required=True, doc="a player's id or user name")


def answer(desk: Desk, request: Mapping[str, Any]) -> Later:
    """The answer to a control request of REQUESTS, when it is there: {"ok": true, ...}, or {"ok": false, "error": what
    is wrong}."""
    later = Later()

    def done(found: dict[str, Any]) -> None:
        if "error" in found:
            told = "; ".join(f"{field}: {text}" for field, text in found["error"].items())
            later.answer({"ok": False, "error": told})
        else:
            later.answer({"ok": True, **found})

    desk.perform(request["do"], steps(desk, request), done)
    return later


def steps(house: House, request: Mapping[str, Any]) -> Steps:
    """The steps of a command; its answer is what they return. Raises Failure where the request is wrong."""
    fields, run = REQUESTS[request["do"]]
    return (yield from run(house, check_fields(fields, request)))


def player_list(house: House, fields: dict[str, Any]) -> Steps:
    found = yield Stored(records.listing, fields["after"], fields["most"], fields["name"])
    for player in found["players"]:
        player["online"] = house.presence.online(player["playerId"])
    return found  # type: ignore[no-any-return]


def player_show(house: House, fields: dict[str, Any]) -> Steps:
    found: dict[str, object] = yield Stored(records.show, fields["player"])
    return {**found, "online": house.presence.online(str(found["playerId"]))}


def player_reset(house: House, fields: dict[str, Any]) -> Steps:
    """{playerId, userName, password?: the new one}"""
    made = stored = None
    if not fields["unlockOnly"]:
        made = passwords.made()
        profile = house.profile
        stored = yield Worked(passwords.hashed, made, profile.password_memory_kb, profile.password_passes)
    found: dict[str, object] = yield Stored(records.reset, fields["player"], stored)
    if made is None:
        return found
    house.presence.disconnect(str(found["playerId"]), "reset by the operator")
    return found if found["userName"] is None else {**found, "password": made}


def player_delete(house: House, fields: dict[str, Any]) -> Steps:
    found: dict[str, object] = yield Stored(records.delete, fields["player"])
    house.presence.deleted(str(found["playerId"]))
    return found


def player_export(house: House, fields: dict[str, Any]) -> Steps:
    """{rows, next}: a page of a section, so that nobody waits for one who has much."""
    if fields["section"] not in records.SECTIONS:
        raise Failure(section=f"there are {', '.join(records.SECTIONS)}")
    found: dict[str, object] = yield Stored(records.page, fields["player"], fields["section"], fields["offset"])
    return found


# Control request -> its fields, and what does it.
REQUESTS: dict[str, tuple[tuple[Field, ...], Callable[[House, dict[str, Any]], Steps]]] = {
    "player.list": (
        (
            Field("after", TEXT, doc="the id of the last player seen"),
            Field("most", INTEGER, default=LIST_MOST, least=1, most=LIST_MAX, doc="how many"),
            Field("name", TEXT, doc="a part of a name"),
        ),
        player_list,
    ),
    "player.show": ((PLAYER,), player_show),
    "player.reset": (
        (PLAYER, Field("unlockOnly", FLAG, default=False, doc="the password and the devices stay")),
        player_reset,
    ),
    "player.delete": ((PLAYER,), player_delete),
    "player.export": (
        (
            PLAYER,
            Field("section", TEXT, required=True, doc="what of the player"),
            Field("offset", INTEGER, default=0, least=0, doc="rows to leave out"),
        ),
        player_export,
    ),
}
