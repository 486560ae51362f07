"""When the store fails: nobody who waits is lost, and it is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gsrt.backend import matches as stored
from gsrt.store.errors import StoreError
from tests.matches.hall import Hall, config, expected, ids
from tests.matches.test_dropping_in import leave


class Faulty:
    """A store that refuses some operations (`refused`), at once or when they would be committed."""

    def __init__(self, hall: Hall, at_once: bool) -> None:
        self.hall = hall
        self.at_once = at_once
        self.refused: set[str] = set()
        self.tried = 0
        self._submit = hall.store.submit
        hall.desk.store = self  # type: ignore[assignment]

    def submit(self, operation: Callable[..., object], arguments: Sequence[object], done: Callable[..., None]) -> None:
        if operation.__name__ not in self.refused:
            self._submit(operation, arguments, done)
            return
        self.tried += 1
        error = StoreError("the disk is full")
        if self.at_once:
            raise error
        self.hall.timers.set(self.hall.now, lambda now: done(None, error))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.hall.store, name)


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    with Hall(
        tmp_path, config(), config("open", drop_in_drop_out=True, player_disconnect_delay=1.0), grace_seconds=0.0
    ) as made:
        yield made


@pytest.mark.parametrize("at_once", [True, False])
def test_a_match_that_cannot_be_stored(hall: Hall, at_once: bool) -> None:
    faulty = Faulty(hall, at_once)
    ann, ben = hall.players("Ann", "Ben")
    faulty.refused = {"create"}
    hall.seek(ann)
    hall.seek(ben)
    hall.later(2.5)
    assert hall.told == {}
    assert len(hall.sessions) == 0
    assert len(hall.rows("SELECT * FROM tickets")) == 2
    assert faulty.tried >= 3
    assert hall.log_text().count("not begun yet") == 1
    assert hall.cancel(ben) == {}
    hall.later(1.5)
    assert len(hall.rows("SELECT * FROM tickets")) == 1
    hall.seek(ben)
    faulty.refused = set()
    hall.later(1.1)
    assert ids(hall.found(ann)["participants"]) == [ann, ben]
    assert len(hall.sessions) == 1


def test_a_ticket_taken_while_a_match_is_stored_is_over_with_it(hall: Hall) -> None:
    faulty = Faulty(hall, False)
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    faulty.refused = {"create"}
    hall.seek(ann)
    hall.seek(ben)
    hall.seek(ann, "open")
    assert len(hall.rows("SELECT * FROM tickets")) == 3
    faulty.refused = set()
    hall.later(1.1)
    assert len(hall.found(ann)["participants"]) == 2
    assert hall.rows("SELECT * FROM tickets") == []
    hall.seek(cleo, "open")
    assert hall.news(ann, "MatchFoundMessage") == []


def test_a_ticket_taken_meanwhile_looks_on_if_there_is_no_match(hall: Hall) -> None:
    faulty = Faulty(hall, False)
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    faulty.refused = {"create"}
    hall.seek(ann)
    hall.seek(ben)
    hall.seek(ann, "open")
    assert hall.cancel(ben) == {}
    faulty.refused = set()
    hall.seek(cleo, "open")
    assert ids(hall.found(cleo)["participants"]) == [ann, cleo]
    assert hall.rows("SELECT * FROM tickets") == []


def test_a_ticket_that_cannot_be_stored_does_not_wait(hall: Hall) -> None:
    faulty = Faulty(hall, True)
    ann, ben = hall.players("Ann", "Ben")
    faulty.refused = {"put_ticket"}
    answer = hall.ask(ann, "MatchmakingRequest", matchShortCode="duel", skill=1)
    assert "backend" in answer["error"]
    faulty.refused = set()
    hall.seek(ben)
    assert hall.told == {}


def test_a_ticket_that_cannot_be_taken_back_waits_on(hall: Hall) -> None:
    faulty = Faulty(hall, False)
    ann, ben = hall.players("Ann", "Ben")
    hall.seek(ann)
    faulty.refused = {"remove_ticket"}
    assert "backend" in hall.cancel(ann)["error"]
    hall.seek(ben)
    assert len(hall.found(ann)["participants"]) == 2


def test_who_cannot_join_yet(hall: Hall) -> None:
    faulty = Faulty(hall, False)
    ann, ben, cleo = hall.players("Ann", "Ben", "Cleo")
    first, second = hall.match(ann, ben, short_code="open")
    hall.enter(first)
    leave(hall.enter(second))
    hall.later(1.1)
    faulty.refused = {"add_player"}
    hall.seek(cleo, "open")
    assert expected(hall.session(first["matchId"])) == [(ann, 1)]
    faulty.refused = set()
    hall.later(1.1)
    assert hall.found(cleo)["matchId"] == first["matchId"]
    assert expected(hall.session(first["matchId"])) == [(ann, 1), (cleo, 2)]


def test_who_was_to_join_a_match_that_ends_meanwhile(hall: Hall) -> None:
    faulty = Faulty(hall, False)
    ann, ben, cleo, dora = hall.players("Ann", "Ben", "Cleo", "Dora")
    first, second = hall.match(ann, ben, short_code="open")
    hall.enter(first)
    leave(hall.enter(second))
    hall.later(1.1)
    faulty.refused = {"add_player"}
    hall.seek(cleo, "open")
    hall.session(first["matchId"]).end("enough")
    hall.settle()
    faulty.refused = set()
    hall.later(1.1)
    assert hall.news(cleo, "MatchFoundMessage") == []
    hall.seek(dora, "open")
    assert ids(hall.found(cleo)["participants"]) == [cleo, dora]


def test_an_end_is_stored_when_it_can_be(hall: Hall) -> None:
    faulty = Faulty(hall, True)
    first, _ = hall.match(*hall.players("Ann", "Ben"))
    faulty.refused = {stored.end.__name__}
    hall.session(first["matchId"]).end("enough")
    hall.later(2.0)
    assert hall.rows("SELECT ended FROM matches") == [(None,)]
    faulty.refused = set()
    hall.later(1.1)
    assert hall.rows("SELECT ended FROM matches") != [(None,)]
