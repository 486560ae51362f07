"""match.*: what it costs to place one more request among many that wait, for several kinds of match."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from random import Random
from statistics import median

from benchmarks.figures import Record
from benchmarks.gsrt_server import Installation
from gsrt.game.model import MatchConfig, Threshold
from gsrt.match.matchmaker import Matchmaker, Ticket
from gsrt.match.query import parse_query

RUNS = 3
WAITING = 5000
PLACED = 100
MAPS = "abcdefgh"


def place_by_skill(spread: float) -> Callable[[Random, int], Ticket]:
    return lambda random, number: Ticket(f"p{number}", "m", random.uniform(1, spread))


def stranger(random: Random, number: int) -> Ticket:
    """Too far from everybody else."""
    return Ticket(f"p{number}", "m", number * 2.0)


def one_sided(random: Random, number: int) -> Ticket:
    """Suited by most of the others, whom it does not suit."""
    return Ticket(f"p{number}", "m", number * 1.5)


def outsider(random: Random, number: int) -> Ticket:
    return Ticket(f"p{number}", "m", 2.0)


def grouped(random: Random, number: int) -> Ticket:
    return Ticket(f"p{number}", "m", 0.0, f"group {number % 2500}")


def with_room(random: Random, number: int) -> Ticket:
    """Everybody asks for a room of their own."""
    query = parse_query({"matchData.room": f"room {number}"})
    return Ticket(f"p{number}", "m", 0.0, None, query, None, {"room": f"none {number}"})


def with_level(random: Random, number: int) -> Ticket:
    """Everybody wants somebody a little better, who does not want them."""
    level = random.randrange(200)
    query = parse_query({"matchedPlayers.participantData.level": {"$gte": level + 1, "$lte": level + 3}})
    return Ticket(f"p{number}", "m", 0.0, None, query, {"level": level})


def with_map_and_level(random: Random, number: int) -> Ticket:
    """Most queries differ, and many others fit."""
    level, wanted = random.randrange(100), random.choice(MAPS)
    query = parse_query(
        {
            "matchData.map": {"$in": [wanted, random.choice(MAPS)]},
            "matchedPlayers.participantData.level": {"$gte": level - 3, "$lte": level + 3},
        }
    )
    return Ticket(f"p{number}", "m", random.uniform(0, 100), None, query, {"level": level}, {"map": wanted})


def config(most: int, kind: str, low: float, high: float) -> MatchConfig:
    return MatchConfig("m", min_players=most, max_players=most, thresholds=[Threshold(60.0, kind, low, high)])


KINDS: dict[str, tuple[MatchConfig, Callable[[Random, int], Ticket]]] = {
    "nobody fits": (config(2, "RELATIVE", -1, 1), stranger),
    "relative, 4": (config(4, "RELATIVE", -1, 1), place_by_skill(100_000)),
    "relative, 12, many fit": (config(12, "RELATIVE", -1, 1), place_by_skill(1_300)),
    "relative, 100, many fit": (config(100, "RELATIVE", -10, 10), place_by_skill(1_500)),
    "relative, one-sided": (config(4, "RELATIVE", -1, 100_000), one_sided),
    "percent, 8": (config(8, "PERCENT", -0.01, 0.01), place_by_skill(10_000)),
    "absolute, out of it": (config(2, "ABSOLUTE", 0, 1), outsider),
    "groups": (config(4, "RELATIVE", -1, 1), grouped),
    "query: rooms": (config(2, "RELATIVE", -1, 1), with_room),
    "query: levels": (config(2, "RELATIVE", -1, 1), with_level),
    "query: maps and levels": (config(40, "RELATIVE", -20, 20), with_map_and_level),
}


def place(kind: str, seed: int) -> list[float]:
    """Milliseconds of processor time of each of some requests that find WAITING others."""
    matches, make = KINDS[kind]
    random = Random(seed)
    matchmaker = Matchmaker({"m": matches})
    number = 0

    def fill() -> None:
        nonlocal number
        while len(matchmaker) < WAITING:
            matchmaker.add(make(random, number), 0.0)
            number += 1

    taken = []
    for _ in range(PLACED):
        fill()
        ticket = make(random, number)
        number += 1
        before = time.thread_time()
        matchmaker.add(ticket, 0.0)
        taken.append((time.thread_time() - before) * 1000)
        matchmaker.cancel(ticket.player_id, ticket.short_code)
    return taken


def measure(installation: Installation, runs: int | None, record: Record) -> None:
    """The slowest of all placings of all kinds, and the median of the kind whose median is highest."""
    for run in range(runs or RUNS):
        gc.collect()
        gc.disable()  # it goes through all there is, whoever happens to wake it
        try:
            taken = {kind: place(kind, run) for kind in KINDS}
        finally:
            gc.enable()
        record.add("match.place_ms", max(map(max, taken.values())))
        record.add("match.place_median_ms", max(map(median, taken.values())))
