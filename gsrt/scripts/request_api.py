"""What scripts ask the backend with: requests, filled step by step, and the responses to them."""

from __future__ import annotations

from gsrt.scripts.arguments import INT_MAX, SHOWN_CHARACTERS_MAX, checked_text, exact_text, real, refusal, whole
from gsrt.scripts.capabilities import ELEMENTS_PER_TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gsrt.scripts.capabilities import Asker

PLAYER_ID_CHARACTERS_MAX = 128  # as sessions have it
FIELDS_MAX = 64
FIELD_NAME_CHARACTERS_MAX = 64
VALUE_NODES_MAX = 500
VALUE_DEPTH_MAX = 32
VALUE_CHARACTERS_MAX = 65_536

# Fields whose spelling does not follow from their words.
IRREGULAR_FIELDS = {"device_os": "deviceOS"}


class Requests:
    """Requests to the backend: `session.new_request().create_account_details_request()` gives one to fill and send."""

    __slots__ = ("_asker",)

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def __repr__(self) -> str:
        return "<requests>"

    def create_registration_request(self) -> Request:
        """Registers a player: display_name, user_name, password, segments."""
        return Request(self._asker, "RegistrationRequest")

    def create_authentication_request(self) -> Request:
        """Logs a player in: user_name, password."""
        return Request(self._asker, "AuthenticationRequest")

    def create_device_authentication_request(self) -> Request:
        """Logs a device in: device_id, device_os, device_model, device_name, device_type, display_name,
        operating_system, segments."""
        return Request(self._asker, "DeviceAuthenticationRequest")

    def create_end_session_request(self) -> Request:
        """Logs the player out."""
        return Request(self._asker, "EndSessionRequest")

    def create_account_details_request(self) -> Request:
        """Asks for the player's account."""
        return Request(self._asker, "AccountDetailsRequest")

    def create_change_user_details_request(self) -> Request:
        """Changes the account: display_name, user_name, new_password, old_password, language."""
        return Request(self._asker, "ChangeUserDetailsRequest")

    def create_matchmaking_request(self) -> Request:
        """Looks for a match, or no longer: match_short_code, skill, match_group, match_data, participant_data,
        custom_query, action ("cancel")."""
        return Request(self._asker, "MatchmakingRequest")

    def create_find_pending_matches_request(self) -> Request:
        """Asks which matches wait for players: match_short_code, match_group, max_matches_to_find."""
        return Request(self._asker, "FindPendingMatchesRequest")

    def create_join_pending_match_request(self) -> Request:
        """Joins a match that waits for players: match_short_code, pending_match_id, match_group."""
        return Request(self._asker, "JoinPendingMatchRequest")

    def create_match_details_request(self) -> Request:
        """Asks about a match: match_id, realtime_enabled."""
        return Request(self._asker, "MatchDetailsRequest")

    def create_log_event_request(self) -> Request:
        """Reports an event: event_key, and the event's own attributes."""
        return Request(self._asker, "LogEventRequest")

    def create_leaderboard_data_request(self) -> Request:
        """Asks for a leaderboard: leaderboard_short_code, entry_count, offset, include_first,
        include_last, social."""
        return Request(self._asker, "LeaderboardDataRequest")

    def create_around_me_leaderboard_request(self) -> Request:
        """Asks for a leaderboard around the player: leaderboard_short_code, entry_count,
        include_first, include_last, social."""
        return Request(self._asker, "AroundMeLeaderboardRequest")

    def create_list_achievements_request(self) -> Request:
        """Asks for the achievements and which the player has."""
        return Request(self._asker, "ListAchievementsRequest")

    def create_list_message_request(self) -> Request:
        """Asks for the player's messages: entry_count, offset, include."""
        return Request(self._asker, "ListMessageRequest")

    def create_dismiss_message_request(self) -> Request:
        """Removes one of the player's messages: message_id."""
        return Request(self._asker, "DismissMessageRequest")

    def create_list_virtual_goods_request(self) -> Request:
        """Asks for the game's virtual goods, and what they cost."""
        return Request(self._asker, "ListVirtualGoodsRequest")

    def create_buy_virtual_goods_request(self) -> Request:
        """Buys a virtual good with the player's currency: short_code, quantity,
        currency_short_code or currency_type."""
        return Request(self._asker, "BuyVirtualGoodsRequest")

    def create_consume_virtual_good_request(self) -> Request:
        """Uses up some of the player's virtual goods: short_code, quantity."""
        return Request(self._asker, "ConsumeVirtualGoodRequest")

    def create_change_currency_request(self) -> Request:
        """Gives the player currency, or takes it: currency_short_code, amount (below 0: takes),
        reason. For scripts only."""
        return Request(self._asker, "ChangeCurrencyRequest")

    def create_grant_good_request(self) -> Request:
        """Gives the player a virtual good: short_code, quantity, reason. For scripts only."""
        return Request(self._asker, "GrantGoodRequest")

    def create_award_achievement_request(self) -> Request:
        """Gives the player an achievement: short_code. For scripts only."""
        return Request(self._asker, "AwardAchievementRequest")

    def create_send_message_request(self) -> Request:
        """Sends the player a ScriptMessage, which waits until the player is online: ext_code, data,
        title, sub_title, summary, keep. For scripts only."""
        return Request(self._asker, "SendMessageRequest")

    def create_submit_score_request(self) -> Request:
        """Enters a score of the player's: leaderboard_short_code, score, attributes. For scripts
        only."""
        return Request(self._asker, "SubmitScoreRequest")

    def create_document_get_request(self) -> Request:
        """Reads a document of the player's, or of the game's (no player, or game): collection, id,
        game. For scripts only."""
        return Request(self._asker, "DocumentGetRequest")

    def create_document_set_request(self) -> Request:
        """Writes a document of the player's, or of the game's (no player, or game): collection, id,
        document, version, game. For scripts only."""
        return Request(self._asker, "DocumentSetRequest")

    def create_document_remove_request(self) -> Request:
        """Removes a document of the player's, or of the game's (no player, or game): collection, id,
        version, game. For scripts only."""
        return Request(self._asker, "DocumentRemoveRequest")

    def create_document_find_request(self) -> Request:
        """Finds documents of the player's, or of the game's (no player, or game): collection,
        conditions, limit, after, game. For scripts only."""
        return Request(self._asker, "DocumentFindRequest")


class Request:
    """A request to the backend, filled step by step; each step gives back the request.

    Every field has its setter: `set_display_name("Anna")` sets displayName. A name in capitals is taken as it is, as
    attributes of events are called: `set_SCORE(5)` sets SCORE. A value is a text, number, bool or None, or a list or a
    dict (its keys texts) of such, 500 in all; a request has at most 64 fields."""

    __slots__ = ("_asker", "_fields", "_name", "_player_id")

    def __init__(self, asker: Asker, name: str) -> None:
        self._asker = asker
        self._name = name
        self._player_id: str | None = None
        self._fields: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"<{self._name}>"

    def set_player_id(self, player_id: str | None) -> Request:
        """On whose behalf it is sent: a player's id, such as player.player_id; None, as it is at first: nobody's, for
        documents of the game. Raises TypeError, ValueError."""
        if player_id is not None:
            checked_text("player_id", player_id, PLAYER_ID_CHARACTERS_MAX)
        self._player_id = player_id
        return self

    def send(self, callback: Callable[[Response], object] | None = None) -> None:
        """Sends it; `callback(response)` is called with the answer, in a later turn. Nothing waits meanwhile.

        Raises TypeError, QuotaError (too many requests)."""
        function = None if callback is None else self._asker._own(callback)
        self._asker._capabilities.request(self._name, self._player_id, self._fields.copy(), function)

    def __getattr__(self, name: str) -> Callable[[object], Request]:
        field = field_of(name)
        if field is None:
            raise AttributeError(
                "a request has set_player_id(id), set_NAME(value) for each of its fields, and send(callback); "
                f"there is no {name[:SHOWN_CHARACTERS_MAX]!r}"
            )

        def set_field(value: object) -> Request:
            if field not in self._fields and len(self._fields) >= FIELDS_MAX:
                raise ValueError(f"{field}: a request has at most {FIELDS_MAX} fields")
            copier = ValueCopier(field)
            copied = copier.copy(value, VALUE_DEPTH_MAX)
            self._asker._capabilities.charge(copier.nodes // ELEMENTS_PER_TICK)
            self._fields[field] = copied
            return self

        return set_field


class Response:
    """The answer to a request: `response["displayName"]` (KeyError where there is none), `response.get("displayName")`,
    `"displayName" in response`."""

    __slots__ = ("_errors", "_fields")

    def __init__(self, fields: dict[str, object]) -> None:
        """FIELDS: the answer as it came, with its errors (a dict of field to code) under "error"."""
        errors = fields.get("error")
        self._fields = fields
        self._errors: dict[str, object] = errors if type(errors) is dict else {}

    def __repr__(self) -> str:
        return "<response>"

    def get(self, name: str, default: object = None) -> Any:
        """The value of a field, or DEFAULT where the answer has none of this NAME. Raises TypeError."""
        return self._fields.get(exact_text("name", name), default)

    def __getitem__(self, name: str) -> Any:
        return self._fields[exact_text("name", name)]

    def __contains__(self, name: str) -> bool:
        return exact_text("name", name) in self._fields

    def has_errors(self) -> bool:
        """Whether the request failed."""
        return bool(self._errors)

    def get_errors(self) -> dict[str, object]:
        """What was wrong: a dict of field to error; an empty one where nothing was."""
        return self._errors


class ValueCopier:
    """Copies the value of a request's field, so that what the script does to it later changes nothing."""

    __slots__ = ("characters", "field", "nodes")

    def __init__(self, field: str) -> None:
        self.field = field
        self.nodes = 0
        self.characters = 0

    def copy(self, value: object, depth: int) -> object:
        """A copy of VALUE, at most DEPTH deep. Raises TypeError, ValueError."""
        self.nodes += 1
        if self.nodes > VALUE_NODES_MAX:
            raise ValueError(f"{self.field}: at most {VALUE_NODES_MAX} values in all")
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self._text(value)
        if kind is int:
            return whole(self.field, value, -INT_MAX, INT_MAX)
        if kind is float:
            return real(self.field, value)
        if kind is not list and kind is not tuple and kind is not dict:
            raise refusal(TypeError, self.field, "a text, number, bool, None, list or dict", value)
        if depth == 0:
            raise ValueError(f"{self.field}: at most {VALUE_DEPTH_MAX} lists and dicts inside one another")
        if type(value) is dict:
            return {self._key(key): self.copy(each, depth - 1) for key, each in value.items()}
        return [self.copy(each, depth - 1) for each in value]  # type: ignore[attr-defined]

    def _key(self, key: object) -> str:
        if type(key) is not str:
            raise refusal(TypeError, self.field, "a dict whose keys are texts", key)
        return self._text(key)

    def _text(self, text: Any) -> str:
        self.characters += len(text)
        if self.characters > VALUE_CHARACTERS_MAX:
            raise ValueError(f"{self.field}: at most {VALUE_CHARACTERS_MAX} characters in all")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{self.field}: a text with half of a surrogate pair is no text elsewhere") from None
        return str(text)


def field_of(name: str) -> str | None:
    """The field that a setter NAME sets, or None: set_display_name: displayName; set_SCORE: SCORE."""
    words = name[4:]
    if (
        not name.startswith("set_")
        or len(words) > FIELD_NAME_CHARACTERS_MAX
        or not words.isascii()
        or not words.isidentifier()
        or words.startswith("_")
        or words.endswith("_")
        or "__" in words
    ):
        return None
    if words.isupper():
        return words
    if not words.islower():
        return None
    first, *others = words.split("_")
    return IRREGULAR_FIELDS.get(words, first + "".join(word.capitalize() for word in others))
