"""LogEventRequest: something has happened; its script answers, then its leaderboards get the score."""

from __future__ import annotations

from gsrt.backend import leaderboards, owners
from gsrt.backend.call import ANY, MISSING, NUMBER, OBJECT, TEXT, Awaited, Failure, Field, Stored
from gsrt.game import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gsrt.backend.call import Call, Steps
    from gsrt.game.model import EventConfig, Leaderboard

NAME = "LogEventRequest"
SUMMARY = (
    "Reports an event: its script answers, then the leaderboards that it feeds get the score, unless the answer is an "
    "error."
)
FIELDS = (
    Field("eventKey", TEXT, required=True, most=64, doc="which event; its attributes stand beside it in the request"),
)
ANSWER = (Field("scriptData", OBJECT, doc="what the event's script has replied; only there if it has"),)
ERRORS = (
    ("eventKey", "INVALID", "the game has no such event, and no leaderboard that it feeds"),
    ("ATTRIBUTE", MISSING, "the attribute of that name is declared, and did not come"),
    ("ATTRIBUTE", "must be ...", "it is of another kind than declared"),
    ("event", "FAILED", "the script has failed; the log of scripts says why"),
    ("event", "OFF", "the script has failed too often; it is tried again later, and when its file has changed"),
    ("event", "NOT_LOADED", "the script cannot run; the server's log says why"),
    ("event", "TIMEOUT", "it was not done in time, with all that it brought about"),
    ("event", "TOO_DEEP", "events have brought about events, too many inside one another"),
    ("event", "TOO_LARGE", "the attributes are more than a script is given"),
)

KINDS = {model.NUMBER: NUMBER, model.TEXT: TEXT, model.OBJECT: OBJECT}


def run(call: Call) -> Steps:
    game, key = call.desk.game, call.fields["eventKey"]
    config = game.events.get(key)
    fed = [board for board in game.leaderboards.values() if board.event == key]
    if config is None and not fed:
        raise Failure(eventKey="INVALID")
    attributes = _attributes(config, fed, call.given)
    answer: dict[str, object] = {}
    if config is not None:
        leaderboards.check_event(fed, attributes)
        if call.connection is None:  # a script may have named anybody
            yield Stored(owners.must_exist, call.player)
        answer = yield Awaited(lambda done: call.desk.events.run(config, call.player, attributes, call.given, done))
    if fed and "error" not in answer:
        most = call.desk.profile.messages_per_player_max
        yield Stored(leaderboards.submit_event, fed, call.player, attributes, most)
    return answer


def _attributes(config: EventConfig | None, fed: list[Leaderboard], given: Mapping[str, object]) -> dict[str, Any]:
    """The attributes that came, those that are declared checked. Raises Failure with everything that is wrong."""
    declared = {} if config is None else {name: KINDS[kind] for name, kind in config.attributes.items()}
    if config is None:
        for board in fed:
            declared[board.attribute] = NUMBER
            for name in (*board.attributes, *([] if board.part is None else [board.part])):
                declared.setdefault(name, ANY)
    attributes: dict[str, Any] = {}
    errors: dict[str, object] = {}
    for name, kind in declared.items():
        value, wrong = Field(name, kind).check(given.get(name))
        if wrong is not None:
            errors[name] = wrong
        elif value is None and kind is not ANY:
            errors[name] = MISSING
        elif value is not None:
            attributes[name] = value
    if errors:
        raise Failure(errors)
    return attributes
