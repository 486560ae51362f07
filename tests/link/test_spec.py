"""docs/LINK.md against the code: every row of every table is looked at; a table or row that is not known here fails.

What can be read off the code or off datagrams is compared. For a row with a formula, a timer or a change of state, the
tests that compute it are named, and have to be there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gsrt import discovery
from gsrt._core import ACK_LIMITS
from gsrt._link import FRAMES, KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED, LINK_LIMITS, LinkEndpoint
from gsrt._links import LINKS_LIMITS
from gsrt._sodium import open_sealed
from gsrt.client.discovery import ASKED_MAX, FOUND_MAX
from gsrt.protocol import link, link_client
from gsrt.protocol.link import Terms
from gsrt.sha256 import sha256
from tests.link.pair import CONNECTION, Pair, ciphers
from tests.link.test_handshake import (
    INSECURE,
    NOW,
    SECURE,
    TOKEN,
    Transcript,
    answer,
    new_client,
    new_door,
    sent,
)
from tests.link.wire import Ack, Frame, Hand, raw, read, varint, write

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "LINK.md").read_text()
Row = list[str]


class Table(NamedTuple):
    """`name`: the heading that it stands under, and its first column; the second of that name is the next."""

    name: str
    columns: Row
    rows: list[Row]


def read_tables(text: str) -> list[Table]:
    tables: list[Table] = []
    heading = ""
    lines = iter([*text.splitlines(), ""])
    previous = ""
    for line in lines:
        if line.startswith("#"):
            heading = line.lstrip("# ").strip()
        if re.fullmatch(r"\|(-+\|)+", line):
            columns = cells(previous)
            rows = []
            while (line := next(lines)).startswith("|"):
                rows.append(cells(line))
            assert all(len(row) == len(columns) for row in rows), heading
            name = f"{heading}: {columns[0]}"
            while name in (table.name for table in tables):
                name += ", next"
            tables.append(Table(name, columns, rows))
        if line.startswith("*Terms*"):
            heading = "Terms"
        previous = line
    return tables


def cells(line: str) -> Row:
    return [cell.strip() for cell in line.strip("|").split("|")]


def plain(text: str) -> int:
    """65,536 is a number."""
    return int(text.replace(",", ""), 0)


TABLES = {table.name: table for table in read_tables(TEXT)}
LIMITS = {**ACK_LIMITS, **LINK_LIMITS, **LINKS_LIMITS}
Check = Callable[[Table], None]
CHECKS: dict[str, Check] = {}


def checks(name: str) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return add


def test_every_table_is_known() -> None:
    assert TABLES.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", TABLES)
def test_table(name: str) -> None:
    CHECKS[name](TABLES[name])


def by_name(table: Table, *names: str) -> dict[str, Row]:
    """Rows by their first cell, which have to be exactly these."""
    rows = {row[0]: row for row in table.rows}
    assert len(rows) == len(table.rows)
    assert list(rows) == list(names)
    return rows


# ---- 1. Datagrams


def transcript() -> Transcript:
    return Transcript(new_door(), new_client())


@checks("1. Datagrams: datagram")
def datagrams(table: Table) -> None:
    rows = by_name(table, "HELLO", "COOKIE", "LOGIN", "WELCOME", "REFUSED", "DATA", "SEEK", "HERE", "BEACON")
    for name, row in rows.items():
        ours = discovery if hasattr(discovery, name) else link
        assert getattr(ours, name) == plain(row[1])
        if " to " not in row[3]:
            assert getattr(ours, f"{name}_BYTES") == plain(row[3])
    made = transcript()
    sizes = {"HELLO": made.hello, "COOKIE": made.cookie, "LOGIN": made.login, "WELCOME": made.welcome}
    sizes["REFUSED"] = made.entry.refusal(link.REFUSED_FULL)
    for name, datagram in sizes.items():
        assert (datagram[0], datagram[1], len(datagram)) == (0, plain(rows[name][1]), plain(rows[name][3]))
    assert [row[2] for row in table.rows[:6]] == ["client", "server", "client", "server", "server", "both"]
    assert [row[2] for row in table.rows[6:]] == ["client", "server", "server"]
    for kind in (discovery.HERE, discovery.BEACON):
        shortest, longest = (notice("x"), notice("x" * 100, "x" * 100, "x" * 100))
        sizes_now = [len(each.to_bytes(kind)) for each in (shortest, longest)]
        assert f"{sizes_now[0]} to {sizes_now[1]}" == table.rows[kind - 1][3]
    least, most = map(plain, rows["DATA"][3].split(" to "))
    hand = Hand()
    assert not hand.end.receive_datagram(raw(0, b""), 0.0)
    assert len(raw(0, b"\0")) == least
    assert hand.end.receive_datagram(raw(0, b"\0"), 0.0)
    assert hand.end.receive_datagram(raw(1, bytes(most - 14)), 0.0)
    assert not hand.end.receive_datagram(raw(2, bytes(most - 13)), 0.0)


def fields(table: Table, whole: bytes, expected: dict[str, bytes | None]) -> None:
    """Fields lie one behind the other and fill the datagram; `expected`: what is in each, None: any bytes."""
    at = 0
    assert [row[0] for row in table.rows] == list(expected)
    for name, where, size, *_ in table.rows:
        assert plain(where) == at, name
        value = expected[name]
        if value is not None:
            assert whole[at : at + plain(size)] == value, name
        at += plain(size)
    assert at == len(whole)


def named(made: Transcript, type_: int) -> dict[str, bytes | None]:
    nonce = made.hello[4:20]
    return {"zero": b"\0", "type": bytes((type_,)), "version": b"\1", "suite": bytes((SECURE,)), "nonce": nonce}


@checks("HELLO: field")
def hello(table: Table) -> None:
    made = transcript()
    fields(table, made.hello, {**named(made, 1), "padding": bytes(44)})


@checks("COOKIE: field")
def cookie(table: Table) -> None:
    made = transcript()
    fields(table, made.cookie, {**named(made, 2), "cookie": None})
    assert int.from_bytes(made.cookie[20:28], "little") == int(NOW * 1_000_000)


@checks("LOGIN: field")
def login(table: Table) -> None:
    made = transcript()
    expected = {**named(made, 3), "cookie": made.cookie[20:], "token_id": link.token_id(TOKEN)}
    fields(table, made.login, {**expected, "ephemeral": None, "sealed": None})


@checks("WELCOME: field")
def welcome(table: Table) -> None:
    made = transcript()
    fields(table, made.welcome, {**named(made, 4), "ephemeral": None, "sealed": None})
    assert made.established.connection == b"connects"


@checks("Terms: field")
def terms(table: Table) -> None:
    expected = {"receive_bytes": (70_000).to_bytes(4, "little"), "message_bytes": (5_000).to_bytes(4, "little")}
    fields(table, Terms(70_000, 5_000).to_bytes(), {**expected})
    rows = by_name(table, "receive_bytes", "message_bytes")
    least = plain(rows["receive_bytes"][3].rsplit(" ", 1)[1])
    assert least == link.RECEIVE_BYTES_LEAST
    low, high = map(plain, rows["message_bytes"][3].split("; ")[1].split(" to "))
    assert (low, high) == (link.MESSAGE_BYTES_LEAST, link.MESSAGE_BYTES_MAX)
    for ours in ({"receive_bytes": least - 1}, {"message_bytes": low - 1}, {"message_bytes": high + 1}):
        with pytest.raises(ValueError, match="bytes"):
            LinkEndpoint(ciphers(False)[0], CONNECTION, 0.0, is_client=True, **ours)
        with pytest.raises(ValueError, match="bytes"):
            Terms(**ours)


@checks("REFUSED: field")
def refused(table: Table) -> None:
    made = transcript()
    fields(
        table,
        made.entry.refusal(link.REFUSED_FULL),
        {
            "zero": b"\0",
            "type": b"\5",
            "reason": b"\5",
            "lowest_version": b"\1",
            "highest_version": b"\1",
            "suites": bytes((1 << SECURE,)),
            "zeros": bytes(2),
            "nonce": made.hello[4:20],
        },
    )
    insecure = Transcript(new_door(insecure=True), new_client(suite=INSECURE))
    assert insecure.entry.refusal(link.REFUSED_FULL)[5] == 1 << SECURE | 1 << INSECURE


@checks("REFUSED: refusal")
def refusals(table: Table) -> None:
    ours = {name: value for name, value in vars(link).items() if re.fullmatch("REFUSED_[A-Z]+", name)}
    del ours["REFUSED_BYTES"]
    assert {row[0]: plain(row[1]) for row in table.rows} == ours


@checks("DATA: field")
def data(table: Table) -> None:
    end = LinkEndpoint(ciphers(True)[0], CONNECTION, 0.0, is_client=True, first_number=2**32 + 0x01020304)
    assert end.send(b"a packet", KIND_ORDERED, 0, 0.0)
    (made,) = end.datagrams_to_send(0.0)
    rows = by_name(table, "zero", "type", "connection", "number", "body")
    assert [plain(row[1]) for row in table.rows] == [0, 1, 2, 10, 14]
    assert made[:14] == b"\0\6" + CONNECTION + bytes((4, 3, 2, 1))
    assert rows["body"][2] == "1 and more"
    body = write(Frame(0x82, bytes=b"a packet"))
    assert len(made) == 14 + 1 + len(body) + 16
    assert LIMITS["HEADER_BYTES"] == plain(rows["body"][1])


# ---- 2. The body


@checks("2. The body of a DATA datagram: field")
def body_fields(table: Table) -> None:
    rows = by_name(table, "ack_bytes", "largest", "delay", "bits")
    assert [rows[name][1] for name in rows] == ["1", "4", "2", "ack_bytes - 1"]
    assert "1 to 33" in rows["ack_bytes"][2]
    assert "65,535 for longer" in rows["delay"][2]
    hand = Hand()
    hand.number = 3
    hand.give(Frame(1))
    for number in (5, 20, 21, 22):
        hand.number = number
        hand.give(Frame(1))
    hand.now = 0.0123
    (made,) = hand.end.datagrams_to_send(hand.now)
    # 22 - 1 - 8 J - K: bit 0 of byte 0 is 21, bit 0 of byte 2 is 5, bit 2 of byte 2 is 3.
    assert made[14:] == bytes((4, 22, 0, 0, 0)) + (123).to_bytes(2, "little") + bytes((0b11, 0, 0b101))
    hand = Hand()
    hand.give(Frame(1))
    hand.now = 7.0
    (first, *_) = hand.end.datagrams_to_send(hand.now)
    assert first[19:21] == b"\xff\xff"


@checks("2. The body of a DATA datagram: frame")
def frames(table: Table) -> None:
    assert {row[0]: plain(row[1]) for row in table.rows} == FRAMES
    long = varint(200) + bytes(200)
    samples = {
        "nothing": b"",
        "8 bytes, random": b"12345678",
        "the 8 bytes of a CHALLENGE": b"12345678",
        "reason (1 byte), length (1 byte), so many bytes of UTF-8 text": b"\3\4text",
        "length (varint), packet": long,
        "stream (varint), sequence (2 bytes), length (varint), packet": b"\1\0\0" + long,
        "stream (varint), sequence (2 bytes), total (varint), length (varint), bytes": b"\1\0\0"
        + varint(1101)
        + varint(1100)
        + bytes(1100),
        "stream (varint), sequence (2 bytes), length (varint), bytes": b"\1\1\0" + long,
        "zeros to the end of the body": bytes(20),
    }
    for name, type_, follows, elicits in table.rows:
        content = samples[follows]
        if "UNORDERED" in name:
            content = b"\0" + content[1:]
        hand = Hand()
        assert hand.give_body(b"\0" + bytes((plain(type_),)) + content), name
        assert (hand.end.ended is not None) == (name == "CLOSE")
        due = hand.end.next_timer()
        if name == "CHALLENGE":
            (response,) = hand.take()
            assert response.frames == [Frame(3, bytes=b"12345678")]
        expected = {"no": 1.0, "soon": LIMITS["ACK_DELAY"], "later": LIMITS["LAZY_ACK_DELAY"]}[elicits]
        assert due == (float("inf") if name == "CLOSE" else expected), name  # without it, the first probe


@checks("Streams: direction")
def streams(table: Table) -> None:
    rows = [tuple(row) for row in table.rows]
    assert rows == [
        ("client to server", "ORDERED", "the channel, 0 to 15"),
        ("client to server", "SEQUENCED", "the channel, 0 to 15"),
        ("client to server", "UNORDERED", "0"),
        ("server to client", "ORDERED, channel 0", "0, whoever has sent it"),
        ("server to client", "ORDERED, channel 1 to 15", "16 x sender + channel"),
        ("server to client", "SEQUENCED", "16 x sender + channel"),
        ("server to client", "UNORDERED", "0"),
    ]
    highest = {
        (True, KIND_ORDERED): 15,
        (True, KIND_SEQUENCED): 15,
        (True, KIND_UNORDERED): 0,
        (False, KIND_ORDERED): 16 * 255 + 15,
        (False, KIND_SEQUENCED): 16 * 255 + 15,
        (False, KIND_UNORDERED): 0,
    }
    for (from_client, kind), most in highest.items():
        sender, receiver = Hand(is_client=from_client), Hand(is_client=not from_client)
        (made,) = sender.send(b"x", kind, most)
        assert made.frames[0].stream == most
        with pytest.raises(ValueError, match="stream"):
            sender.end.send(b"x", kind, most + 1, 0.0)
        assert receiver.give(Frame(0x80 | kind, most, 0, 0, b"x"))
        assert not receiver.give(Frame(0x80 | kind, most + 1, 0, 0, b"x"))
    assert LIMITS["STREAM_MAX"] == 16 * 255 + 15
    assert LIMITS["CHANNELS"] == 16


# ---- 3. Handshake


@checks("3. Handshake: suite")
def suites(table: Table) -> None:
    rows = by_name(table, "SUITE_INSECURE", "SUITE_CHACHA20_POLY1305")
    for name, row in rows.items():
        assert getattr(link, name) == plain(row[1])
    keys = bytes(range(32)), bytes(range(32, 64))
    end = LinkEndpoint(link.make_cipher(1, *keys), CONNECTION, 0.0, is_client=True, first_number=2**32 + 5)
    assert end.send(b"a packet", KIND_ORDERED, 0, 0.0)
    (made,) = end.datagrams_to_send(0.0)
    # The whole number is in the nonce, the header is what is associated.
    assert open_sealed(keys[0], 2**32 + 5, made[:14], made[14:]) == b"\0" + write(Frame(0x82, bytes=b"a packet"))
    assert link.make_cipher(0, *keys).tag_bytes == 0
    assert link.make_cipher(1, *keys).tag_bytes == LIMITS.get("TAG_BYTES", 16) == 16
    assert answer(new_door(), sent(new_client(suite=INSECURE)))[1:3] == bytes((link.REFUSED, link.REFUSED_SUITE))


@checks("3. Handshake: derived")
def derived(table: Table) -> None:
    rows = by_name(table, "token_id", "psk")
    for row, ours, size in ((rows["token_id"], link.token_id, 8), (rows["psk"], link.token_psk, 32)):
        label = re.search('"(.*)"', row[1])
        assert label is not None
        assert ours(TOKEN) == sha256(label[1].encode() + TOKEN.encode()).digest()[:size]
    assert rows["token_id"][1].startswith("the first 8 bytes of")


# ---- what other tests compute

TESTS = "\n".join(
    path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if "link" in str(path.relative_to(ROOT))
)


def proven(rows: list[Row], proofs: dict[str, str | tuple[str, ...]]) -> None:
    """Each row, by its cells but the last, is computed by the tests named; and its constants are those of section 8."""
    assert [" / ".join(row[:-1]) for row in rows] == list(proofs)
    constants = {row[0] for name in ("8. Limits: name", "8. Limits: close") for row in TABLES[name].rows}
    for row, proof in zip(rows, proofs.values(), strict=True):
        for name in (proof,) if isinstance(proof, str) else proof:
            assert re.search(rf"^ *(async )?def test_{name}\(", TESTS, re.MULTILINE), f"no test_{name} for {row}"
        for word in re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", " ".join(row)):
            assert word in constants or word.startswith("REFUSED_"), word


@checks("3. Handshake: state")
def client_states(table: Table) -> None:
    states = {state.name for state in link.HandshakeState}
    assert states - {"OVER"} == {"IDLE", "GREETING", "ENTERING"}
    over = "a_refusal_ends_it_and_says_why"
    repeats = "hello_is_repeated_byte_for_byte_at_doubling_intervals_until_time_is_up"
    proven(
        [[row[0], row[1], row[2] + row[3]] for row in table.rows],
        {
            "IDLE / connect": "both_sides_agree",
            "GREETING / COOKIE with its nonce": ("both_sides_agree", "a_cookie_of_another_handshake_or_a_second_one"),
            "GREETING / HANDSHAKE_REPEAT without answer": repeats,
            "ENTERING / WELCOME that opens": ("both_sides_agree", "no_bit_of_a_welcome_can_be_changed"),
            "ENTERING / HANDSHAKE_REPEAT without answer": "login_is_repeated_byte_for_byte_and_from_short_intervals_on",
            "ENTERING / REFUSED_COOKIE with its nonce": "a_changed_cookie_leads_back_to_the_beginning",
            "GREETING, ENTERING / another REFUSED with its nonce": over,
            "GREETING, ENTERING / HANDSHAKE_SECONDS over": repeats,
            "OPEN / CLOSE, or IDLE_SECONDS without a datagram": ("closing", "silence_ends_a_connection"),
        },
    )


@checks("3. Handshake: state, next")
def server_states(table: Table) -> None:
    proven(
        [[row[0], row[1], row[2] + row[3]] for row in table.rows],
        {
            "none / LOGIN that opens": ("both_sides_agree", "both_suites_where_it_is_on"),
            "PENDING / the same LOGIN again": "a_repeated_login_costs_no_second_connection",
            "PENDING / LOGIN for that token with a later cookie": "a_flood_of_good_logins_leaves_one_pending_link",
            "PENDING / DATA that opens": (
                "the_older_connection_gives_way_to_the_first_data_only",
                "a_link_is_told_who_is_there",
            ),
            "PENDING / PENDING_SECONDS over": "a_pending_link_is_forgotten_after_its_time",
            "OPEN / CLOSE, or IDLE_SECONDS without a datagram": ("closing", "silence_ends_a_connection"),
        },
    )


@checks("4. Acknowledgements: elicited")
def elicited(table: Table) -> None:
    proven(
        table.rows,
        {
            "soon": ("soon_is_after_ack_delay", "at_once_after_so_many", "at_once_out_of_turn"),
            "later": ("later_is_after_lazy_ack_delay", "at_once_after_so_many"),
            "no": "never_for_acknowledgements",
        },
    )


@checks("5. Timers and estimates: estimate")
def estimates(table: Table) -> None:
    proven(
        [[row[0], row[1]] for row in table.rows],
        {
            "srtt": "round_trips",
            "rttvar": "round_trips",
            "min_rtt": "round_trips",
            "jitter": "round_trips",
            "held": "pto_allows_for_how_long_the_other_side_waits",
            "loss": "loss_is_an_average",
            "bandwidth": "bandwidth_is_what_was_acknowledged_meanwhile_and_forgotten",
        },
    )


@checks("5. Timers and estimates: timer")
def timers(table: Table) -> None:
    proven(
        [[row[0], row[1]] for row in table.rows],
        {
            "lost": ("lost_by_packets", "lost_by_time", "reordering_is_learnt_and_forgotten", "reorder_has_a_limit"),
            "pto": (
                "pto_doubles_to_its_most",
                "pto_allows_for_how_long_the_other_side_waits",
                "pto_before_a_sample",
                "who_sends_all_the_time_asks_too",
            ),
            "repeat": ("a_second_copy_makes_a_lost_one_good", "no_second_copy_of_what_is_acknowledged"),
            "pace": "reliable_frames_are_spaced",
            "keep-alive": "keep_alive_is_the_clients_and_padded",
            "idle": "silence_ends_a_connection",
        },
    )


@checks("6. Congestion: state")
def congestion(table: Table) -> None:
    halved = "the_window_grows_and_is_halved_once_in_a_round_trip"
    proven(
        table.rows,
        {
            "any / start, or a new path": halved,
            "slow start (cwnd < ssthresh) / N bytes acknowledged": halved,
            "avoidance / N bytes acknowledged": "the_window_grows_by_a_datagram_in_a_round_trip_in_avoidance",
            "any but recovery / a datagram lost": (halved, "the_window_has_a_least"),
            "any / PERSISTENT_PTOS pto in a row": "silence_for_several_ptos_takes_the_window_back",
        },
    )


# ---- 8. Limits


@checks("8. Limits: name")
def limits(table: Table) -> None:
    ours = {
        **LIMITS,
        **{
            name: getattr(link, name) for name in ("VERSION", "HANDSHAKE_REPEAT", "HANDSHAKE_SECONDS", "COOKIE_SECONDS")
        },
        "TAG_BYTES": link.make_cipher(1, bytes(32), bytes(32)).tag_bytes,
        "REBIND_PTOS": link_client.REBIND_PTOS,
        "REBIND_SECONDS": link_client.REBIND_SECONDS,
    }
    assert {row[0]: float(row[1]) for row in table.rows} == {name: float(value) for name, value in ours.items()}
    units = {"", "bytes", "s", "frames", "datagrams"}
    for name, _, unit in table.rows:
        assert unit in units
        assert name.endswith(("_SECONDS", "_DELAY", "_AFTER")) <= (unit == "s"), name
    assert (LIMITS["RECEIVE_BYTES"], LIMITS["MESSAGE_BYTES_MAX"]) == (link.RECEIVE_BYTES, link.MESSAGE_BYTES_MAX)


@checks("8. Limits: close")
def closes(table: Table) -> None:
    for name, value, _ in table.rows:
        assert getattr(link_client, name) == plain(value)
        hand = Hand()
        hand.end.close(plain(value), "text", 0.0)
        made = hand.take()
        assert [one.frames for one in made] == [[Frame(4, sequence=plain(value), bytes=b"text")]] * 3
    ours = {name for name in vars(link_client) if name.startswith("CLOSE_")} - {"CLOSE_SILENCE"}
    assert {row[0] for row in table.rows} == ours


# ---- 10. Who serves here


def notice(version: str, name: str = "n", game: str | None = None) -> discovery.Notice:
    return discovery.Notice(
        nonce=b"a nonce.", server=b"serverid", port=0x1234, sessions=5, players=6, version=version, name=name, game=game
    )


@checks("SEEK: field")
def seek(table: Table) -> None:
    expected = {"zero": b"\0", "type": b"\7", "version": b"\1", "zero2": b"\0", "nonce": b"a nonce."}
    fields(table, discovery.seek(b"a nonce."), {**expected, "padding": bytes(180)})


@checks("HERE and BEACON: field")
def here(table: Table) -> None:
    texts = {"gsrt_version": b"\x030.1", "name": b"\5attic", "game": b"\4duel"}
    expected = {
        "zero": b"\0",
        "type": None,
        "version": b"\1",
        "zero2": b"\0",
        "nonce": b"a nonce.",
        "server": b"serverid",
        "port": b"\x34\x12",
        "sessions": b"\5\0\0\0",
        "players": b"\6\0\0\0",
    }
    fixed = table._replace(rows=table.rows[: -len(texts)])
    for kind in (discovery.HERE, discovery.BEACON):
        made = notice("0.1", "attic", "duel").to_bytes(kind)
        fields(fixed, made[:30], {**expected, "type": bytes((kind,))})
        assert made[30:] == b"".join(texts.values())
    assert (table.rows[1][3], table.rows[9][1]) == ("8 for a HERE, 9 for a BEACON", "30")
    most = {row[0]: int(row[2].split(" to ")[1]) for row in table.rows[-len(texts) :]}
    assert most == {
        "gsrt_version": 1 + discovery.VERSION_TEXT_BYTES,
        "name": 1 + discovery.NAME_BYTES,
        "game": 1 + discovery.GAME_BYTES,
    }
    for row in table.rows[-len(texts) :]:
        assert f"of {most[row[0]] - 1} bytes at most" in row[3]


@checks("HERE and BEACON: limit")
def discovery_limits(table: Table) -> None:
    assert {row[0]: float(row[1]) for row in table.rows} == {
        "BEACON_PORT": discovery.BEACON_PORT,
        "SEEKS_PER_SECOND": discovery.SEEKS_PER_SECOND,
        "SEEKS_BURST": discovery.SEEKS_BURST,
        "ASKED_MAX": ASKED_MAX,
        "FOUND_MAX": FOUND_MAX,
    }
    assert discovery.SEEKS_PER_SECOND * len(notice("x" * 99, "x" * 99, "x" * 99).to_bytes(discovery.HERE)) == 18_500


# ---- the checker itself


def test_a_changed_number_is_noticed() -> None:
    """The checker reads what is written."""
    name = "8. Limits: name"
    changed = [[*row[:1], "7", *row[2:]] if row[0] == "BLACK_HOLE" else row for row in TABLES[name].rows]
    with pytest.raises(AssertionError):
        CHECKS[name](TABLES[name]._replace(rows=changed))


def test_a_probe_and_an_answer_as_the_text_has_them() -> None:
    """Sizes of section 7, and that no answer to a PING is longer than it."""
    section = TEXT.split("## 7. Paths")[1].split("## 8.")[0]
    sizes = re.search(r"the next size of ([\d, ]+) is tried", section)
    assert sizes is not None
    pair = Pair("delay=1ms", keep=True)
    pair.run(3.0)
    probes = {len(made) for _, made in pair.sent[0] if len(made) > 1200}
    assert sorted(probes) == [int(size) for size in sizes[1].split(",")]
    for _, made in pair.sent[0]:
        if any(frame.type == 1 for frame in read(made).frames):
            assert len(made) >= LIMITS["PING_BYTES"] >= 14 + 1 + 9 + 16
    assert Ack.of({0}).block() == b"\1" + bytes(6)
