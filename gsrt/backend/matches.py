"""Tickets and matches in the store. A match is made in one operation, with its players' tokens, their messages and the
removal of their tickets: whatever the moment the server is killed at, there are tickets or a match, never half of one.
"""

from __future__ import annotations

from gsrt.backend import achievements, messages, wallet
from gsrt.backend.bodies import encode
from gsrt.backend.call import Failure
from gsrt.backend.owners import exists, must_exist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    from gsrt.store.store import Transaction

    Row = dict[str, Any]

FOUND = "MatchFoundMessage"
NOT_FOUND = "MatchNotFoundMessage"
UPDATED = "MatchUpdatedMessage"

BODY_BYTES_MAX = 65536  # of a ticket: what a request may hold, about
PARTICIPANTS_BYTES_MAX = 40_000  # of all participants in a message; the rest of it is room for the match's data
MATCHES_KEPT = 10_000  # the newest; older ones that have ended are forgotten


class PlayersGone(Exception):
    """Players of a match that was found are no more: `player_ids`."""

    def __init__(self, player_ids: Sequence[str]) -> None:
        super().__init__(", ".join(player_ids))
        self.player_ids = list(player_ids)


class MatchOver(Exception):
    """The match that somebody was to join has ended."""


# --- Tickets --------------------------------------------------------------------------------------------------------


def put_ticket(
    tx: Transaction, player_id: str, short_code: str, group: str | None, body: Mapping[str, object], since: float
) -> None:
    """The player looks for a match, in the place of an older ticket for it. BODY: skill, matchData, participantData,
    customQuery.

    Raises Failure: playerId: NOT_FOUND."""
    must_exist(tx, player_id)
    tx.execute(
        "INSERT OR REPLACE INTO tickets(player, short_code, match_group, body, since) VALUES(?, ?, ?, ?, ?)",
        (player_id, short_code, group, encode(body, "participantData", BODY_BYTES_MAX), since),
    )


def remove_ticket(tx: Transaction, player_id: str, short_code: str, since: float) -> None:
    """The ticket that the player has had `since` then is over."""
    tx.execute("DELETE FROM tickets WHERE player = ? AND short_code = ? AND since = ?", (player_id, short_code, since))


def not_found(
    tx: Transaction, player_id: str, short_code: str, since: float, body: Mapping[str, object], messages_max: int
) -> None:
    """The same, and the player is told."""
    remove_ticket(tx, player_id, short_code, since)
    messages.put(tx, player_id, NOT_FOUND, body, keep=False, most=messages_max)


# --- Matches --------------------------------------------------------------------------------------------------------


def create(
    tx: Transaction,
    match: Mapping[str, Any],
    players: Sequence[Row],
    online: Collection[str],
    place: Row | None,
    messages_max: int,
) -> None:
    """Makes a match that was found, and tells its players.

    MATCH: id, shortCode, group, skill, data, script, config, openUntil, ended (as in the table; data and config not yet
    as JSON). PLAYERS in the order of their peer ids: player, peerId, accessToken, reconnectToken, skill,
    threshold (its index), participantData. ONLINE: ids. PLACE: {host, port} for a match that is played in a session.

    Raises PlayersGone; nothing is changed then."""
    gone = [each["player"] for each in players if not _exists(tx, each["player"])]
    if gone:
        raise PlayersGone(gone)
    tx.execute(
        "INSERT INTO matches(id, short_code, match_group, skill, data, script, config, created, open_until, ended)"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            match["id"],
            match["shortCode"],
            match["group"],
            match["skill"],
            encode(match["data"], "matchData", BODY_BYTES_MAX),
            match["script"],
            encode(match["config"], "match", BODY_BYTES_MAX),
            tx.now,
            match["openUntil"],
            match["ended"],
        ),
    )
    for each in players:
        _seat(tx, match["id"], each)
        _remove_tickets(tx, each["player"])
    tx.execute(
        "DELETE FROM matches WHERE ended IS NOT NULL AND rowid <= (SELECT MAX(rowid) FROM matches) - ?", (MATCHES_KEPT,)
    )
    told = _about(tx, match, participants(tx, match["id"], online))
    for each in players:
        _tell_found(tx, each, told, place, messages_max)


def add_player(
    tx: Transaction,
    match: Mapping[str, Any],
    player: Row,
    online: Collection[str],
    place: Row | None,
    messages_max: int,
) -> None:
    """One more player of an open match (arguments as for `create`), who is told; and the others are.

    Raises PlayersGone, MatchOver; nothing is changed then."""
    if not _exists(tx, player["player"]):
        raise PlayersGone([player["player"]])
    if tx.one("SELECT 1 FROM matches WHERE id = ? AND ended IS NULL", (match["id"],)) is None:
        raise MatchOver(match["id"])
    _seat(tx, match["id"], player)
    _remove_tickets(tx, player["player"])
    told = _about(tx, match, participants(tx, match["id"], online))
    _tell_found(tx, player, told, place, messages_max)
    _tell_changed(tx, told, [player["player"]], [], messages_max)


def remove_player(
    tx: Transaction, match: Mapping[str, Any], player_id: str, online: Collection[str], messages_max: int
) -> None:
    """The player has left the match, or was deleted, which the others are told."""
    if _leave(tx, match["id"], player_id) or not exists(tx, player_id):
        told = _about(tx, match, participants(tx, match["id"], online))
        _tell_changed(tx, told, [], [player_id], messages_max)


def put_out(tx: Transaction, match_id: str, player_id: str) -> None:
    """The player does not come back to the match, not even after a restart. Nobody else takes the place."""
    _leave(tx, match_id, player_id)


def end(tx: Transaction, match_id: str) -> None:
    """The match is over. Who has not been told yet that it was found need not be."""
    if tx.execute("UPDATE matches SET ended = ? WHERE id = ? AND ended IS NULL", (tx.now, match_id)).rowcount == 0:
        return
    for (player_id,) in tx.all("SELECT player FROM match_players WHERE match = ?", (match_id,)):
        tx.execute(
            "DELETE FROM messages WHERE player = ? AND class = ? AND NOT seen AND instr(body, ?)",
            (player_id, FOUND, match_id),
        )


def not_ended(tx: Transaction) -> dict[str, list[Row]]:
    """Everything that a restart has to bring back: {"matches": [...], "tickets": [...]}, the oldest first. Matches as
    for `create`, with `players` who are still in them; tickets: player, shortCode, group, body, since."""
    import json

    found = []
    for match_id, short_code, group, skill, data, script, config, open_until in tx.all(
        "SELECT id, short_code, match_group, skill, data, script, config, open_until FROM matches"
        " WHERE ended IS NULL ORDER BY created, rowid"
    ):
        found.append(
            {
                "id": match_id,
                "shortCode": short_code,
                "group": group,
                "skill": skill,
                "data": json.loads(data),
                "script": script,
                "config": json.loads(config),
                "openUntil": open_until,
                "players": [
                    {
                        "player": player_id,
                        "peerId": peer_id,
                        "accessToken": access_token,
                        "reconnectToken": reconnect_token,
                        "skill": own_skill,
                        "threshold": threshold,
                        "participantData": json.loads(own_data),
                    }
                    for player_id, peer_id, access_token, reconnect_token, own_skill, threshold, own_data in tx.all(
                        "SELECT player, peer_id, access_token, reconnect_token, skill, threshold, participant_data"
                        ' FROM match_players WHERE match = ? AND "left" IS NULL ORDER BY peer_id',
                        (match_id,),
                    )
                ],
            }
        )
    tickets = [
        {"player": player_id, "shortCode": short_code, "group": group, "body": json.loads(body), "since": since}
        for player_id, short_code, group, body, since in tx.all(
            "SELECT player, short_code, match_group, body, since FROM tickets ORDER BY since, player, short_code"
        )
    ]
    return {"matches": found, "tickets": tickets}


def details(tx: Transaction, match_id: str, player_id: str, online: Collection[str]) -> Row:
    """A match as one of its players sees it: {matchId, playerId, peerId, matchData, opponents}, and accessToken if it
    is being played in a session.

    Raises Failure: matchId: NOT_FOUND."""
    import json

    row = tx.one(
        "SELECT peer_id, access_token, data, ended FROM match_players JOIN matches ON matches.id = match"
        ' WHERE match = ? AND player = ? AND "left" IS NULL',
        (match_id, player_id),
    )
    if row is None:
        raise Failure(matchId="NOT_FOUND")
    peer_id, access_token, data, ended = row
    found = {
        "matchId": match_id,
        "playerId": player_id,
        "peerId": peer_id,
        "matchData": json.loads(data),
        "opponents": [each for each in participants(tx, match_id, online) if each["id"] != player_id],
    }
    if access_token is not None and ended is None:
        found["accessToken"] = access_token
    return found


def participants(tx: Transaction, match_id: str, online: Collection[str]) -> list[Row]:
    """Those who are in the match, in the order of their peer ids, as clients get them."""
    import json

    return [
        {
            "id": player_id,
            "displayName": display_name,
            "peerId": peer_id,
            "online": player_id in online,
            "externalIds": {},
            "achievements": achievements.earned(tx, player_id),
            "virtualGoods": list(wallet.goods(tx, player_id)),
            "participantData": json.loads(participant_data),
            "scriptData": json.loads(script_data),
        }
        for player_id, peer_id, participant_data, display_name, script_data in tx.all(
            "SELECT player, peer_id, participant_data, display_name, script_data FROM match_players"
            ' JOIN players ON players.id = player WHERE match = ? AND "left" IS NULL ORDER BY peer_id',
            (match_id,),
        )
    ]


def _exists(tx: Transaction, player_id: str) -> bool:
    return tx.one("SELECT 1 FROM players WHERE id = ?", (player_id,)) is not None


def _remove_tickets(tx: Transaction, player_id: str) -> None:
    tx.execute("DELETE FROM tickets WHERE player = ?", (player_id,))


def _seat(tx: Transaction, match_id: str, player: Row) -> None:
    """Somebody who had left a match may come back to it, with another number and other tokens."""
    tx.execute(
        "INSERT OR REPLACE INTO match_players"
        '(match, player, peer_id, access_token, reconnect_token, skill, threshold, participant_data, "left")'
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        (
            match_id,
            player["player"],
            player["peerId"],
            player["accessToken"],
            player["reconnectToken"],
            player["skill"],
            player["threshold"],
            encode(player["participantData"], "participantData", BODY_BYTES_MAX),
        ),
    )


def _leave(tx: Transaction, match_id: str, player_id: str) -> bool:
    """False: the player was not in it."""
    left = tx.execute(
        'UPDATE match_players SET "left" = ? WHERE match = ? AND player = ? AND "left" IS NULL',
        (tx.now, match_id, player_id),
    )
    return left.rowcount > 0


def _about(tx: Transaction, match: Mapping[str, Any], present: list[Row]) -> Row:
    """What messages about a match have in common. Of many players, what would be too long to tell is left out."""
    shortened: tuple[Row, ...] = (
        {},
        {"achievements": [], "virtualGoods": [], "scriptData": {}},
        {"displayName": "", "participantData": {}},
    )
    for left_out in shortened:
        for each in present:
            each.update(left_out)
        try:
            encode(present, "participants", PARTICIPANTS_BYTES_MAX)
            break
        except Failure:
            continue
    return {
        "matchId": match["id"],
        "matchShortCode": match["shortCode"],
        "matchGroup": match["group"],
        "matchData": match["data"],
        "participants": present,
        "scriptData": {},
    }


def _tell_found(tx: Transaction, player: Row, told: Row, place: Row | None, messages_max: int) -> None:
    body = {**told, "title": "Match found", "summary": "A match was found", "notification": True}
    if place is not None:
        body |= {"accessToken": player["accessToken"], **place}
    messages.put(tx, player["player"], FOUND, body, keep=False, most=messages_max)


def _tell_changed(tx: Transaction, told: Row, added: list[str], removed: list[str], messages_max: int) -> None:
    body = {**told, "addedPlayers": added, "removedPlayers": removed, "title": "Match updated"}
    for each in told["participants"]:
        if each["id"] not in added:
            messages.put(tx, each["id"], UPDATED, body, keep=False, most=messages_max)
