"""The plain objects of a game: equality, and what a running match keeps of its configuration."""

from __future__ import annotations

import json

from gsrt.game.model import PERCENT, EventConfig, Game, GameError, MatchConfig, Mistake, Threshold


def test_a_match_config_survives_json() -> None:
    config = MatchConfig(
        "duel",
        name="Duel",
        min_players=2,
        max_players=4,
        realtime_script="/games/duel.py",
        drop_in_drop_out=True,
        player_disconnect_delay=2.5,
        expire_in=60.0,
        manually_match_players=True,
        thresholds=[Threshold(5, PERCENT, -10, 10, True), Threshold(period=3)],
    )
    again = MatchConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.thresholds[0].accept_min_players is True
    assert isinstance(again.thresholds, tuple)


def test_a_match_config_of_another_version_is_read_too() -> None:
    values = {"short_code": "duel", "max_players": 3, "of_later": 1, "thresholds": [{"period": 2, "of_later": 1}]}
    assert MatchConfig.from_dict(values) == MatchConfig("duel", max_players=3, thresholds=[Threshold(2)])
    assert MatchConfig.from_dict({"short_code": "duel"}) == MatchConfig("duel")


def test_a_match_config_follows_a_game_that_was_moved() -> None:
    kept = MatchConfig("duel", realtime_script="/old/scripts/duel.py").to_dict()
    assert MatchConfig.from_dict(kept, "/new/scripts").realtime_script == "/new/scripts/duel.py"
    assert MatchConfig.from_dict(kept).realtime_script == "/old/scripts/duel.py"
    assert MatchConfig.from_dict(MatchConfig("duel").to_dict(), "/new/scripts").realtime_script is None


def test_what_holds_the_same_is_equal() -> None:
    assert MatchConfig("duel") == MatchConfig("duel")
    assert MatchConfig("duel") != MatchConfig("duel", max_players=3)
    assert Threshold(5) != MatchConfig("duel")
    assert Game(events={"won": EventConfig("won")}) == Game(events={"won": EventConfig("won")})
    assert repr(Threshold(5)).startswith("Threshold(")


def test_a_name_left_out_is_the_short_code() -> None:
    assert MatchConfig("duel").name == "duel"


def test_a_mistake_is_shown_with_its_place() -> None:
    assert str(Mistake("a.toml", 3, "port", "expected more")) == "a.toml:3: port: expected more"
    assert str(Mistake("a.toml", 0, "", "cannot be read")) == "a.toml: cannot be read"
    error = GameError([Mistake("a.toml", 3, "", "no"), Mistake("b.toml", 1, "x", "no")])
    assert str(error) == "a.toml:3: no\nb.toml:1: x: no"
