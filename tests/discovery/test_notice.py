"""What servers say of themselves, and who believes it, without a network."""

from __future__ import annotations

import errno
import json
import random
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt import beacon, discovery
from gsrt.beacon import Beacon
from gsrt.client.discovery import ASKED_MAX, FOUND_MAX, Seeker
from gsrt.discovery import BEACON, BEACON_PORT, HERE, SEEK_BYTES, Announcer, Notice, is_seek, seek
from gsrt.timers import Timers
from tests.support.server import ServerProcess

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
NONCE = bytes(range(8))
DEADLINE = 20.0
COUNTERS = ("seeks", "seeks_malformed", "seeks_too_many", "beacons", "beacons_failed")


def notice(**fields: Any) -> Notice:
    usual: dict[str, Any] = {
        "nonce": NONCE,
        "server": b"\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7",
        "port": 8784,
        "sessions": 3,
        "players": 300,
        "version": "0.1.0",
        "name": "attic",
        "game": "duel",
    }
    return Notice(**(usual | fields))


def fields(notice: Notice) -> dict[str, Any]:
    return {name: getattr(notice, name) for name in Notice.__slots__}


# The bytes


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["case"])
def test_vectors(vector: dict[str, Any]) -> None:
    datagram = bytes.fromhex(vector["hex"])
    if vector["type"] == discovery.SEEK:
        assert seek(bytes.fromhex(vector["nonce"])) == datagram
        assert is_seek(datagram)
        return
    said = {key: vector[key] for key in ("port", "sessions", "players", "version", "name", "game")}
    said |= {key: bytes.fromhex(vector[key]) for key in ("nonce", "server")}
    found = Notice.from_bytes(datagram, vector["type"])
    assert found is not None and fields(found) == said
    assert Notice(**said).to_bytes(vector["type"]) == datagram


texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=16)


@given(
    st.binary(min_size=8, max_size=8),
    st.integers(1, 65535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    texts.map(lambda text: text[:6]),
    texts,
    st.none() | texts,
)
def test_what_is_said_arrives(
    nonce: bytes, port: int, sessions: int, players: int, version: str, name: str, game: str | None
) -> None:
    said = notice(nonce=nonce, port=port, sessions=sessions, players=players, version=version, name=name, game=game)
    for kind in (HERE, BEACON):
        found = Notice.from_bytes(said.to_bytes(kind), kind)
        assert found is not None and fields(found) == fields(said)
        assert Notice.from_bytes(said.to_bytes(kind), HERE + BEACON - kind) is None


@given(st.text(), st.text(), st.text(), st.integers(0), st.integers(0))
def test_no_answer_is_longer_than_its_question(version: str, name: str, game: str, sessions: int, players: int) -> None:
    """And whatever a host calls a server, others can read it."""
    said = notice(version=version or "0", name=name or "x", game=game, sessions=sessions, players=players)
    datagram = said.to_bytes(HERE)
    assert len(datagram) <= SEEK_BYTES == len(seek(NONCE))
    found = Notice.from_bytes(datagram, HERE)
    assert found is not None
    assert found.name.isprintable() and len(found.name.encode()) <= discovery.NAME_BYTES


def test_texts_are_cut_between_characters() -> None:
    found = Notice.from_bytes(notice(name="ä" * 40, game="a\x1b[2Jb\u202ec").to_bytes(HERE), HERE)
    assert found is not None
    assert (found.name, found.game) == ("ä" * 32, "a?[2Jb?c")


def forged(**fields: bytes) -> bytes:
    """A HERE of any bytes: the fixed part, or texts with their lengths, replaced."""
    parts = {"head": b"\0\x08\1\0", "rest": NONCE * 2 + b"\x50\x22" + bytes(8), "version": b"\x01v", "name": b"\x01n"}
    return b"".join((parts | {"game": b"\0"} | fields).values())


def test_what_is_no_notice_is_none() -> None:
    assert Notice.from_bytes(forged(), HERE) is not None
    for wrong in (
        b"",
        b"\0",
        b"\0\x08",
        forged(head=b"\1\x08\1\0"),
        forged(head=b"\0\x07\1\0"),
        forged(head=b"\0\x08\2\0"),
        forged(head=b"\0\x08\1\1"),
        forged(rest=NONCE * 2 + bytes(10)),  # port 0
        forged(version=b"\0"),
        forged(name=b"\0"),
        forged(version=b"\x19" + b"v" * 25),
        forged(name=b"\x41" + b"n" * 65),
        forged(game=b"\x41" + b"g" * 65),
        forged(name=b"\x02\xc3\x28"),
        forged(name=b"\x01\x1b"),
        forged(name=b"\x03\xe2\x80\xae"),  # writes from right to left
        forged(game=b"\x01\n"),
        forged(game=b"\x05g"),
        forged(game=b""),
        forged() + b"\0",
        forged(game=b"\x01g" + b"\0" * 200),
    ):
        assert Notice.from_bytes(wrong, HERE) is None, wrong
    for size in range(len(forged())):
        assert Notice.from_bytes(forged()[:size], HERE) is None


@given(st.binary(max_size=256), st.sampled_from((b"", b"\0\x08\1\0", b"\0\x09\1\0")))
def test_any_bytes_are_read_or_not(data: bytes, head: bytes) -> None:
    for kind in (HERE, BEACON):
        found = Notice.from_bytes(head + data, kind)
        if found is not None:
            assert found.to_bytes(kind) == head + data
    assert not is_seek(head + data)


def test_mutated_datagrams_are_read_or_not() -> None:
    chance = random.Random(5)
    for _ in range(20_000):
        datagram = bytearray(notice(game=chance.choice((None, "duel"))).to_bytes(HERE))
        for _ in range(chance.randrange(1, 4)):
            datagram[chance.randrange(len(datagram))] = chance.randrange(256)
        found = Notice.from_bytes(bytes(datagram), HERE)
        if found is not None:
            assert found.name.isprintable() and 0 < found.port < 65536
            assert found.to_bytes(HERE) == datagram


# A server's side


class Teller:
    """An announcer of one server, and its counters."""

    def __init__(self) -> None:
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.announcer = Announcer(lambda nonce: notice(nonce=nonce), self.counters)


def test_an_answer_has_the_questions_nonce() -> None:
    teller = Teller()
    answer = teller.announcer.answer(seek(b"12345678"), 0.0)
    assert answer is not None
    found = Notice.from_bytes(answer, HERE)
    assert found is not None and (found.nonce, found.name) == (b"12345678", "attic")
    found = Notice.from_bytes(teller.announcer.beacon(), BEACON)
    assert found is not None and found.nonce == bytes(8)


@pytest.mark.parametrize(
    "wrong",
    [b"\0\7", seek(NONCE)[:-1], seek(NONCE) + b"\0", b"\0\7\2\0" + seek(NONCE)[4:], seek(NONCE)[:-1] + b"\1"],
    ids=["short", "a byte short", "a byte long", "version", "padding"],
)
def test_what_is_no_question_is_not_answered(wrong: bytes) -> None:
    teller = Teller()
    assert teller.announcer.answer(wrong, 0.0) is None
    assert teller.counters["seeks_malformed"] == 1


def test_answers_have_a_rate() -> None:
    teller = Teller()
    times = [number / 1000 for number in range(10_000)]  # a thousand in each second
    answered = sum(teller.announcer.answer(seek(NONCE), now) is not None for now in times)
    assert 1090 <= answered <= 1101
    assert teller.counters["seeks"] == answered
    assert teller.counters["seeks_too_many"] == len(times) - answered
    assert teller.announcer.answer(seek(NONCE), 0.0) is None  # a clock that goes back gives nothing


class Refusing:
    """A UDP socket by which nothing goes out."""

    family = socket.AF_INET
    tried = 0

    def setsockopt(self, *option: int) -> None:
        assert option == (socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    def sendmsg(self, *how: object) -> None:
        self.tried += 1
        raise OSError(errno.ENETUNREACH, "Network is unreachable")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])
def test_a_beacon_that_fails_is_counted_and_tried_again(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beacon, "broadcasting", lambda datagrams: [1, 7])
    teller, timers, refusing = Teller(), Timers(), Refusing()
    Beacon(refusing, host, teller.announcer, timers, 5.0, teller.counters, 100.0)  # type: ignore[arg-type]
    each = 2 if host == "0.0.0.0" else 1  # by both interfaces, or the address's own
    for number, now in enumerate((100.0, 105.0, 110.0), 1):
        assert timers.next() == now
        timers.run(now)
        assert (refusing.tried, teller.counters["beacons_failed"]) == (number * each, number * each)
    assert teller.counters["beacons"] == 0


def test_interfaces_that_cannot_be_asked_for_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(datagrams: object) -> list[int]:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(beacon, "broadcasting", fails)
    teller, timers = Teller(), Timers()
    Beacon(Refusing(), "0.0.0.0", teller.announcer, timers, 5.0, teller.counters, 0.0)  # type: ignore[arg-type]
    timers.run(0.0)
    assert teller.counters["beacons_failed"] == 1
    assert timers.next() == 5.0


# Who looks


def told(seeker: Seeker, host: str, at: int = 8784, **said: Any) -> None:
    """An answer of a server comes."""
    seeker.hears(notice(**said).to_bytes(HERE), (host, at))


def test_only_answers_to_our_question_count() -> None:
    seeker = Seeker(NONCE)
    assert seeker.question == seek(NONCE)
    told(seeker, "192.0.2.1")
    told(seeker, "192.0.2.2", nonce=b"another!")
    seeker.hears(notice().to_bytes(BEACON), ("192.0.2.3", 8784))
    seeker.hears(b"\0\x08garbage", ("192.0.2.4", 8784))
    (found,) = seeker.found()
    assert (found.host, found.port, found.name, found.version) == ("192.0.2.1", 8784, "attic", "0.1.0")
    assert (found.sessions, found.players, found.game) == (3, 300, "duel")
    assert repr(found) == "<Found 'attic' at 192.0.2.1 port 8784>"


def test_the_port_is_where_the_answer_is_from() -> None:
    """A server behind a forwarded port does not know by which it is reached."""
    seeker = Seeker(NONCE)
    told(seeker, "192.0.2.1", 9999, port=8784)
    assert [each.port for each in seeker.found()] == [9999]


def test_a_server_with_several_addresses() -> None:
    seeker = Seeker(NONCE)
    for host in ("::1", "127.0.0.1", "fe80::1%eth0", "192.0.2.1", "192.0.2.9"):
        told(seeker, host)
    told(seeker, "127.0.0.1", 9000, server=b"12345678", name="Barn")
    told(seeker, "fe80::2%eth0", 9001, server=b"abcdefgh", name="cellar")
    told(seeker, "::1", 9001, server=b"abcdefgh", name="cellar")
    assert [(each.name, each.host) for each in seeker.found()] == [
        ("attic", "192.0.2.1"),
        ("attic", "192.0.2.9"),
        ("Barn", "127.0.0.1"),
        ("cellar", "fe80::2%eth0"),
    ]


def test_a_beacon_says_whom_to_ask_and_nothing_else() -> None:
    seeker = Seeker(NONCE)
    for now in (0.0, 0.1, 0.4):  # asked once, for it may be on its way
        seeker.hears_beacon(notice(port=9000).to_bytes(BEACON), ("192.0.2.1", 9000), now)
    seeker.hears_beacon(notice().to_bytes(HERE), ("192.0.2.2", 9000), 0.0)
    assert seeker.to_ask == [("192.0.2.1", 9000)]
    assert seeker.found() == []
    seeker.hears_beacon(notice(port=9000).to_bytes(BEACON), ("192.0.2.1", 9000), 0.6)
    assert len(seeker.to_ask) == 2
    told(seeker, "192.0.2.1", 9000)
    seeker.hears_beacon(notice(port=9000).to_bytes(BEACON), ("192.0.2.1", 9000), 5.0)
    assert len(seeker.to_ask) == 2


def test_what_is_kept_has_bounds() -> None:
    seeker = Seeker(NONCE)
    for number in range(1, 2000):
        seeker.hears_beacon(notice(port=number).to_bytes(BEACON), ("192.0.2.1", number), 0.0)
        told(seeker, "192.0.2.1", number)
    assert (len(seeker.to_ask), len(seeker.found())) == (ASKED_MAX, FOUND_MAX)


# A real server


def test_a_server_answers_up_to_its_rate_and_plays_on() -> None:
    """However many ask, or send what is no question."""
    with ServerProcess() as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(DEADLINE)
        asker.connect((server.host, server.port))

        def looked_at() -> int:
            counters = server.counters()
            return sum(counters[name] for name in ("seeks", "seeks_too_many", "seeks_malformed", "dropped_login_rate"))

        end = time.monotonic() + DEADLINE
        for number in range(10):  # no more at once than the kernel keeps for it
            for _ in range(50):
                asker.send(seek(NONCE))
                asker.send(seek(NONCE)[:-1])
            while looked_at() < 100 * (number + 1):
                assert time.monotonic() < end
        answer = asker.recv(2048)
        assert len(answer) <= SEEK_BYTES
        found = Notice.from_bytes(answer, HERE)
        assert found is not None and (found.port, found.game, found.nonce) == (server.port, None, NONCE)
        assert found.name == socket.gethostname()
        counters = server.counters()
        assert 1 <= counters["seeks"] <= 500
        assert counters["seeks_malformed"] + counters["dropped_login_rate"] >= 500
    assert BEACON_PORT == 8785
