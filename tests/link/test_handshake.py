"""The handshake of docs/LINK.md: how it goes, and what of it is refused, from either side."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt.protocol import link
from gsrt.protocol.link import ClientHandshake, Door, Entry, Established, Failed, HandshakeState, Terms
from gsrt.protocol.noise import Responder, _SymmetricState
from gsrt.tokens import Tokens

TOKEN = "q5VbRdC8a-_Za-_Zb3jKf0sWxYz19QpLmNoTuVgH"
OTHER_TOKEN = "w8NbRdC8a-_Za-_Zb3jKf0sWxYz19QpLmNoTuVgH"
HOLDERS = {link.token_id(token): (token, f"who has {token[:8]}") for token in (TOKEN, OTHER_TOKEN)}
ADDRESS = b"\xc0\x00\x02\x01\x22\x50"
CONNECTION = b"connects"
NOW = 1000.0
SECURE = link.SUITE_CHACHA20_POLY1305
INSECURE = link.SUITE_INSECURE
LOW_ORDER_KEY = b"\x01" + bytes(31)


def entropy(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def new_door(seed: int = 1, insecure: bool = False, terms: Terms | None = None) -> Door:
    return Door(entropy(seed), insecure, terms or Terms())


def new_client(seed: int = 2, token: str = TOKEN, suite: int = SECURE, terms: Terms | None = None) -> ClientHandshake:
    client = ClientHandshake(token, suite, entropy(seed), terms)
    client.start(NOW)
    return client


def sent(client: ClientHandshake) -> bytes:
    """The one datagram that the client has to send."""
    (datagram,) = client.datagrams_to_send()
    return datagram


def ask(door: Door, datagram: bytes, now: float = NOW, address: bytes = ADDRESS) -> bytes | Entry | None:
    return door.receive(address, datagram, now, HOLDERS.get)


def answer(door: Door, datagram: bytes, now: float = NOW, address: bytes = ADDRESS) -> bytes:
    answered = ask(door, datagram, now, address)
    assert isinstance(answered, bytes)
    return answered


def greeted(door: Door, client: ClientHandshake) -> bytes:
    """The LOGIN of a client, once it has its cookie."""
    client.receive(answer(door, sent(client)), NOW)
    return sent(client)


def entered(door: Door, client: ClientHandshake) -> Entry:
    entry = ask(door, greeted(door, client))
    assert isinstance(entry, Entry)
    return entry


def refused(datagram: bytes | Entry | None) -> int:
    """Why: the reason in a REFUSED."""
    assert isinstance(datagram, bytes)
    assert (len(datagram), datagram[:2]) == (24, b"\0\x05")
    return datagram[2]


def flipped(datagram: bytes, bit: int) -> bytes:
    changed = bytearray(datagram)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def replaced(datagram: bytes, at: int, piece: bytes) -> bytes:
    return datagram[:at] + piece + datagram[at + len(piece) :]


class Transcript:
    """All that goes over the wire when a handshake succeeds."""

    def __init__(self, door: Door, client: ClientHandshake) -> None:
        self.hello = sent(client)
        self.cookie = answer(door, self.hello)
        client.receive(self.cookie, NOW)
        self.login = sent(client)
        entry = ask(door, self.login)
        assert isinstance(entry, Entry)
        self.entry = entry
        self.welcome = entry.welcome(CONNECTION)
        client.receive(self.welcome, NOW)
        assert isinstance(client.outcome, Established)
        self.established = client.outcome
        self.datagrams = [self.hello, self.cookie, self.login, self.welcome]


# How it goes.


@pytest.mark.parametrize("suite", [SECURE, INSECURE])
def test_both_sides_agree(suite: int) -> None:
    server_terms, client_terms = Terms(100_000, 2_000), Terms(200_000, 3_000)
    client = new_client(suite=suite, terms=client_terms)
    seen = Transcript(new_door(insecure=True, terms=server_terms), client)
    entry, established = seen.entry, seen.established
    assert [len(datagram) for datagram in seen.datagrams] == [64, 44, 108, 84]
    assert [datagram[:4] for datagram in seen.datagrams] == [bytes((0, kind, 1, suite)) for kind in (1, 2, 3, 4)]
    assert len({datagram[4:20] for datagram in seen.datagrams}) == 1
    assert seen.hello[20:] == bytes(44)
    assert (entry.token, entry.holder) == HOLDERS[link.token_id(TOKEN)]
    assert (entry.suite, established.suite) == (suite, suite)
    assert (entry.send_key, entry.receive_key) == (established.receive_key, established.send_key)
    assert len({entry.send_key, entry.receive_key}) == 2
    assert established.connection == CONNECTION
    assert (established.peer_terms.receive_bytes, established.peer_terms.message_bytes) == (100_000, 2_000)
    assert (entry.peer_terms.receive_bytes, entry.peer_terms.message_bytes) == (200_000, 3_000)
    assert entry.datagram == seen.login
    assert entry.cookie_time == 1_000_000_000
    assert (client.state, client.next_timer(), client.datagrams_to_send()) == (HandshakeState.OVER, None, [])


def test_the_token_is_nowhere_on_the_wire() -> None:
    for suite in (SECURE, INSECURE):
        seen = Transcript(new_door(insecure=True), new_client(suite=suite))
        wire = b"".join(seen.datagrams)
        secrets = TOKEN.encode(), link.token_psk(TOKEN), seen.entry.send_key, seen.entry.receive_key
        for secret in secrets:
            assert not any(secret[at : at + 4] in wire for at in range(len(secret) - 3))


def test_each_handshake_has_keys_of_its_own() -> None:
    door, seen = new_door(), set()
    for seed in range(10):
        transcript = Transcript(door, new_client(seed))
        seen |= {transcript.entry.send_key, transcript.entry.receive_key}
    assert len(seen) == 20


def test_the_same_login_again_is_an_entry_of_the_same_cookie_with_other_keys() -> None:
    """It is the server's reception that tells a repetition or a replay, by cookie time and datagram."""
    door = new_door()
    first = entered(door, new_client())
    again = ask(door, first.datagram, NOW + 1)
    assert isinstance(again, Entry)
    assert (again.datagram, again.cookie_time) == (first.datagram, first.cookie_time)
    assert again.send_key != first.send_key
    assert again.welcome(CONNECTION) != first.welcome(CONNECTION)


def test_a_later_hello_has_a_later_cookie_time() -> None:
    door, times = new_door(), []
    for step in range(3):
        client = new_client()
        client.receive(answer(door, sent(client), NOW + step / 1000), NOW)
        entry = ask(door, sent(client), NOW + 1)
        assert isinstance(entry, Entry)
        times.append(entry.cookie_time)
    assert times == [1_000_000_000, 1_000_001_000, 1_000_002_000]


def test_a_welcome_is_made_once() -> None:
    """Another connection id would be encrypted with the same key and number."""
    entry = entered(new_door(), new_client())
    with pytest.raises(ValueError, match="8 bytes"):
        entry.welcome(b"short")
    first = entry.welcome(CONNECTION)
    assert entry.welcome(CONNECTION) == first
    with pytest.raises(ValueError, match="another connection id"):
        entry.welcome(b"another!")


def test_who_is_let_in_no_more_hears_so() -> None:
    client, door = new_client(), new_door()
    client.receive(entered(door, client).refusal(link.REFUSED_FULL), NOW)
    assert isinstance(client.outcome, Failed)
    assert client.outcome.refusal == link.REFUSED_FULL


def test_tokens_are_found_by_their_id() -> None:
    tokens, door, player = Tokens(entropy(5)), new_door(), object()
    client = new_client(token=tokens.issue(player))  # type: ignore[arg-type]
    find = tokens.find_link
    client.receive(door.receive(ADDRESS, sent(client), NOW, find), NOW)  # type: ignore[arg-type]
    entry = door.receive(ADDRESS, sent(client), NOW, find)
    assert isinstance(entry, Entry)
    assert entry.holder is player


@pytest.mark.parametrize(
    ("receive_bytes", "message_bytes"),
    [(65_535, 1_100), (2**32, 1_100), (65_536, 1_099), (65_536, 262_145), (0, 0)],
)
def test_terms_that_the_contract_does_not_allow(receive_bytes: int, message_bytes: int) -> None:
    with pytest.raises(ValueError, match="has to be"):
        Terms(receive_bytes, message_bytes)


def test_a_client_needs_a_token_and_a_suite() -> None:
    with pytest.raises(ValueError, match="token"):
        ClientHandshake("", SECURE, entropy(1))
    with pytest.raises(ValueError, match="suite 2"):
        ClientHandshake(TOKEN, 2, entropy(1))
    with pytest.raises(ValueError, match="surrogates"):
        ClientHandshake("\udcff", SECURE, entropy(1))


def test_the_ciphers() -> None:
    assert link.make_cipher(SECURE, bytes(32), bytes(32)).tag_bytes == 16
    assert link.make_cipher(INSECURE, bytes(32), bytes(32)).tag_bytes == 0
    with pytest.raises(ValueError, match="suite 2"):
        link.make_cipher(2, bytes(32), bytes(32))


def loaded_after(program: str) -> set[str]:
    """Which of the modules that cost memory a new Python has loaded in the end."""
    costly = {"gsrt._sodium", "gsrt._link", "hashlib", "_hashlib", "ssl", "hmac", "secrets", "random", "typing"}
    shown = f"{program}\nimport sys\nprint(*{costly!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, timeout=30, check=True)
    return set(done.stdout.split())


def test_what_is_loaded() -> None:
    """libsodium with the first door or handshake; OpenSSL never."""
    assert loaded_after("import gsrt.protocol.link") == set()
    handshake = """
import os
from gsrt.protocol.link import ClientHandshake, Door, Terms
door, client = Door(os.urandom, False, Terms()), ClientHandshake("token", 1, os.urandom)
client.start(0.0)
for _ in range(2):
    answer = door.receive(b"", *client.datagrams_to_send(), 0.0, lambda token_id: ("token", None))
    client.receive(answer if isinstance(answer, bytes) else answer.welcome(bytes(8)), 0.0)
assert client.outcome.connection == bytes(8)
"""
    assert loaded_after(handshake) == {"gsrt._sodium", "gsrt._link"}


# The door.


def test_a_hello_of_another_version_hears_which_there_are() -> None:
    for insecure, suites in ((False, 0b10), (True, 0b11)):
        door = new_door(insecure=insecure)
        hello = replaced(sent(new_client()), 2, b"\x02")
        assert answer(door, hello) == bytes((0, 5, 1, 1, 1, suites, 0, 0)) + hello[4:20]
        login = replaced(greeted(door, new_client()), 2, b"\x00")
        assert answer(door, login) == bytes((0, 5, 1, 1, 1, suites, 0, 0)) + login[4:20]
        assert door.counters["refused_version"] == 2


@pytest.mark.parametrize("suite", [INSECURE, 2, 7, 8, 255])
def test_a_suite_that_is_not_taken(suite: int) -> None:
    door = new_door()
    hello = replaced(sent(new_client()), 3, bytes((suite,)))
    assert answer(door, hello) == bytes((0, 5, 2, 1, 1, 0b10, 0, 0)) + hello[4:20]
    login = replaced(greeted(door, new_client()), 3, bytes((suite,)))
    assert answer(door, login) == bytes((0, 5, 2, 1, 1, 0b10, 0, 0)) + login[4:20]
    assert door.counters["refused_suite"] == 2


def test_a_cookie_is_good_for_its_time() -> None:
    login = greeted(new_door(), new_client())
    assert isinstance(ask(new_door(), login, NOW), Entry)
    assert isinstance(ask(new_door(), login, NOW + link.COOKIE_SECONDS), Entry)
    assert refused(ask(new_door(), login, NOW + link.COOKIE_SECONDS + 0.001)) == link.REFUSED_COOKIE
    assert refused(ask(new_door(), login, NOW - 0.001)) == link.REFUSED_COOKIE


@pytest.mark.parametrize(
    "address", [b"", ADDRESS[:-1], ADDRESS + b"\0", replaced(ADDRESS, 0, b"\xc1"), replaced(ADDRESS, 5, b"\x51")]
)
def test_a_cookie_of_another_address(address: bytes) -> None:
    door = new_door()
    assert refused(ask(door, greeted(door, new_client()), address=address)) == link.REFUSED_COOKIE


def test_a_cookie_of_another_nonce_or_suite() -> None:
    door = new_door(insecure=True)
    client, other = new_client(2), new_client(3)
    login = greeted(door, client)
    assert refused(ask(door, replaced(login, 4, sent(other)[4:20]))) == link.REFUSED_COOKIE
    assert refused(ask(door, replaced(login, 3, b"\0"))) == link.REFUSED_COOKIE


def test_a_cookie_of_another_run() -> None:
    login = greeted(new_door(seed=1), new_client())
    assert refused(ask(new_door(seed=9), login)) == link.REFUSED_COOKIE


def test_a_cookie_with_another_time() -> None:
    """An old one does not become new by saying so."""
    door = new_door()
    login = greeted(door, new_client())
    later = (int.from_bytes(login[20:28], "little") + 60_000_000).to_bytes(8, "little")
    assert refused(ask(door, replaced(login, 20, later), NOW + 60)) == link.REFUSED_COOKIE
    assert door.counters["refused_cookie"] == 1


def test_nobody_is_looked_up_without_a_good_cookie() -> None:
    door, asked = new_door(), []

    def find(token_id: bytes) -> tuple[str, object] | None:
        asked.append(token_id)
        return None

    client = new_client()
    hello = sent(client)
    assert isinstance(door.receive(ADDRESS, hello, NOW, find), bytes)
    login = replaced(greeted(door, new_client()), 20, bytes(24))
    assert refused(door.receive(ADDRESS, login, NOW, find)) == link.REFUSED_COOKIE
    assert asked == []
    assert refused(door.receive(ADDRESS, greeted(door, new_client()), NOW, find)) == link.REFUSED_TOKEN
    assert asked == [link.token_id(TOKEN)]


def test_an_unknown_token() -> None:
    door = new_door()
    login = greeted(door, new_client(token="nobody's"))
    assert answer(door, login) == bytes((0, 5, 4, 1, 1, 0b10, 0, 0)) + login[4:20]
    assert door.counters["refused_token"] == 1


def test_a_known_id_without_the_token() -> None:
    """Who has seen an id on the wire has no proof; nor who has another token, or half of the true one."""
    door, pretended = new_door(), link.token_id(TOKEN)
    for wrong in (OTHER_TOKEN, TOKEN[:8] + OTHER_TOKEN[:32], TOKEN[:-1], TOKEN + "A"):
        login = replaced(greeted(door, new_client(token=wrong)), 44, pretended)
        assert refused(ask(door, login)) == link.REFUSED_TOKEN
    assert door.counters["entries"] == 0


def test_a_proof_with_another_id_in_it() -> None:
    """As above, with the true id in the prologue that the client proves: only the key of the token is wrong."""
    door = new_door()
    client = new_client(token=OTHER_TOKEN)
    client._token_id = link.token_id(TOKEN)
    assert refused(ask(door, greeted(door, client))) == link.REFUSED_TOKEN


def test_a_proof_of_another_handshake() -> None:
    """With a cookie of his own, a copied token id, key and proof: the prologue is another."""
    door = new_door()
    copied = greeted(door, new_client(2))
    own = greeted(door, new_client(3, token="nobody's"))
    assert refused(ask(door, own[:44] + copied[44:])) == link.REFUSED_TOKEN


def sealed_login(door: Door, payload: bytes, ephemeral: bytes) -> bytes:
    """A LOGIN as the contract has it but for what the test puts into it."""
    prologue = greeted(door, new_client())[:52]
    state = _SymmetricState(prologue)
    state.mix_key_and_hash(link.token_psk(TOKEN))
    state.mix_hash(ephemeral)
    state.mix_key(ephemeral)
    return prologue + ephemeral + state.encrypt_and_hash(payload)


def test_who_has_a_token_and_breaks_the_contract_is_dropped() -> None:
    door = new_door()
    key = entropy(7)(32)
    assert isinstance(ask(door, sealed_login(door, Terms().to_bytes(), key)), Entry)
    assert ask(door, sealed_login(door, bytes(8), key)) is None
    assert ask(door, sealed_login(door, b"\xff" * 8, key)) is None
    assert ask(door, sealed_login(door, Terms().to_bytes(), LOW_ORDER_KEY)) is None
    assert (door.counters["entries"], door.counters["malformed"]) == (1, 3)


def test_no_bit_of_a_login_can_be_changed() -> None:
    door = new_door(insecure=True)
    login = greeted(door, new_client())
    for bit in range(8 * len(login)):
        answered = ask(door, flipped(login, bit))
        assert answered is None if bit < 16 else refused(answered) in (1, 2, 3, 4)


def test_a_hello_with_what_must_be_zero_and_is_not() -> None:
    door = new_door(insecure=True)
    hello = sent(new_client())
    bits = [*range(16), *range(20 * 8, 64 * 8)]
    for bit in bits:
        assert ask(door, flipped(hello, bit)) is None
    assert door.counters == {**dict.fromkeys(door.counters, 0), "malformed": len(bits)}


def test_what_is_cut_or_extended_is_dropped() -> None:
    door = new_door()
    hello, login = sent(new_client()), greeted(door, new_client())
    for whole in (hello, login):
        for size in range(len(whole)):
            assert ask(door, whole[:size]) is None
        assert ask(door, whole + b"\0") is None
        assert ask(door, whole + whole) is None
    assert ask(door, login[:64]) is None
    assert ask(door, hello + bytes(44)) is None


def test_a_servers_message_sent_back_to_the_server() -> None:
    door = new_door()
    seen = Transcript(door, new_client())
    assert ask(door, seen.cookie) is None
    assert ask(door, seen.welcome) is None
    assert ask(door, seen.entry.refusal(link.REFUSED_FULL)) is None
    for kind in range(256):
        if kind != link.LOGIN:
            assert ask(door, replaced(seen.login, 1, bytes((kind,)))) is None
        if kind != link.HELLO:
            assert ask(door, replaced(seen.hello, 1, bytes((kind,)))) is None


def test_a_login_before_the_cookie() -> None:
    """Made up whole by somebody who has the token: without a cookie there is no way in."""
    door, client = new_door(), new_client()
    hello = sent(client)
    client.receive(b"\0\x02" + hello[2:20] + entropy(3)(24), NOW)
    assert refused(ask(door, sent(client))) == link.REFUSED_COOKIE


def test_the_door_keeps_nothing() -> None:
    """What it was asked before does not change its answers, and a door with the same key gives the same."""
    door, twin = new_door(), new_door()
    transcript = Transcript(door, new_client())
    for seed in range(20):
        Transcript(door, new_client(seed))
    assert answer(door, transcript.hello) == answer(twin, transcript.hello) == transcript.cookie
    entry = ask(twin, transcript.login)
    assert isinstance(entry, Entry)


def held_by(door: Door, datagram: bytes, address: bytes) -> None:
    """That what the door says to anybody's datagram keeps the contract."""
    before = sum(door.counters.values())
    answered = ask(door, datagram, address=address)
    assert sum(door.counters.values()) == before + 1, "each has one outcome that is counted"
    if answered is not None:
        assert isinstance(answered, bytes)
        assert len(answered) <= len(datagram)
        assert answered[:2] == b"\0\x02" if len(answered) == 44 else refused(answered) in (1, 2, 3, 4)


MADE = Transcript(new_door(insecure=True), new_client())
OTHERS = Transcript(new_door(insecure=True), new_client(3))
MESSAGES = [*MADE.datagrams, MADE.entry.refusal(link.REFUSED_COOKIE)]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A genuine message after some accidents, with luck none."""
    datagram = bytearray(draw(st.sampled_from(MESSAGES)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(datagram)))
        match draw(st.integers(0, 4)):
            case 0 if at < len(datagram):
                datagram[at] = draw(st.integers(0, 255))
            case 1:
                del datagram[at:]
            case 2:
                datagram += draw(st.binary(max_size=50))
            case 3:
                other = draw(st.sampled_from([*MESSAGES, *OTHERS.datagrams]))
                datagram[at:] = other[at:]
            case 4:
                piece = draw(st.binary(max_size=24))
                datagram[at : at + len(piece)] = piece
    return bytes(datagram)


@given(st.binary(max_size=200) | st.binary(min_size=64, max_size=64) | st.binary(min_size=108, max_size=108))
def test_anybodys_bytes_at_the_door(datagram: bytes) -> None:
    held_by(new_door(insecure=True), datagram, ADDRESS)


@given(mutated())
def test_mutated_messages_at_the_door(datagram: bytes) -> None:
    door = new_door(insecure=True)
    if datagram in (MADE.login, OTHERS.login):
        assert isinstance(ask(door, datagram), Entry)
    else:
        held_by(door, datagram, ADDRESS)


@given(st.binary(min_size=0, max_size=16))
def test_mutated_logins_behind_a_good_cookie(change: bytes) -> None:
    """Past version, suite and cookie, where only the proof is left to stop them."""
    door = new_door()
    login = greeted(door, new_client())
    for at in range(44, 108, 8):
        held_by(door, replaced(login, at, bytes((login[at] ^ 1,)) + change)[:108], ADDRESS)


# The client.


def test_hello_is_repeated_byte_for_byte_at_doubling_intervals_until_time_is_up() -> None:
    client = new_client()
    hello = sent(client)
    times = [NOW]
    while client.outcome is None:
        due = client.next_timer()
        assert due is not None
        client.handle_timer(due - 0.001)
        assert client.datagrams_to_send() == [], "not before its time"
        client.handle_timer(due)
        times.append(due)
        assert client.datagrams_to_send() == ([] if client.outcome else [hello])
    assert [round(later - earlier, 6) for earlier, later in pairwise(times)] == [0.2, 0.4, 0.8, 1.6, 2.0]
    assert isinstance(client.outcome, Failed)
    assert (client.outcome.refusal, times[-1]) == (None, NOW + link.HANDSHAKE_SECONDS)
    assert "HELLO within 5 seconds" in client.outcome.reason


def test_login_is_repeated_byte_for_byte_and_from_short_intervals_on() -> None:
    client, door = new_client(), new_door()
    hello = sent(client)
    client.handle_timer(NOW + 0.2)
    client.handle_timer(NOW + 0.6)
    assert client.datagrams_to_send() == [hello, hello]
    client.receive(answer(door, hello), NOW + 1)
    login = sent(client)
    times = [NOW + 1]
    while client.outcome is None:
        due = client.next_timer()
        assert due is not None
        client.handle_timer(due)
        times.append(due)
        assert client.datagrams_to_send() == ([] if client.outcome else [login])
    assert [round(later - earlier, 6) for earlier, later in pairwise(times)] == [0.2, 0.4, 0.8, 1.6, 1.0]
    assert isinstance(client.outcome, Failed)
    assert "LOGIN within 5 seconds" in client.outcome.reason


def test_a_repetition_that_was_not_sent_yet_makes_way_for_the_login() -> None:
    client = new_client()
    hello = sent(client)
    client.handle_timer(NOW + 0.2)
    client.receive(answer(new_door(), hello), NOW + 0.2)
    assert sent(client)[1] == link.LOGIN


def test_a_late_timer_does_not_make_a_burst() -> None:
    client = new_client()
    hello = sent(client)
    client.handle_timer(NOW + 3)
    assert client.datagrams_to_send() == [hello]
    assert client.next_timer() == NOW + 3.4


def test_before_the_start_and_after_the_end_nothing_happens() -> None:
    client = ClientHandshake(TOKEN, SECURE, entropy(2))
    assert (client.next_timer(), client.datagrams_to_send()) == (None, [])
    client.handle_timer(NOW)
    for datagram in (*MESSAGES, b"", bytes(24)):
        client.receive(datagram, NOW)
    assert (client.state, client.outcome, client.dropped) == (HandshakeState.IDLE, None, len(MESSAGES) + 2)
    assert client.datagrams_to_send() == []
    client.start(NOW)
    seen = Transcript(new_door(), client)
    client.handle_timer(NOW + 60)
    for datagram in (*seen.datagrams, seen.entry.refusal(link.REFUSED_FULL)):
        client.receive(datagram, NOW)
    assert client.outcome is seen.established
    assert client.datagrams_to_send() == []


def test_a_new_login_has_a_new_key_and_nonce() -> None:
    door, client = new_door(), new_client()
    first = greeted(door, client)
    client.receive(answer(door, first, NOW + 11), NOW + 0.1)
    second = greeted(door, client)
    assert client.state is HandshakeState.ENTERING
    assert first[4:20] != second[4:20]
    assert first[52:84] != second[52:84]
    entry = ask(door, second)
    assert isinstance(entry, Entry)
    client.receive(entry.welcome(CONNECTION), NOW + 0.2)
    assert isinstance(client.outcome, Established)


def test_a_client_that_begins_anew_does_so_a_bounded_number_of_times_and_within_its_time() -> None:
    door, client = new_door(), new_client()
    logins = []
    while client.outcome is None:
        assert client.next_timer() is not None
        logins.append(greeted(door, client))
        client.receive(answer(door, logins[-1], NOW + 11), NOW + 0.1)
        assert len(logins) <= 3
    assert len({login[4:20] for login in logins}) == len(logins) == link.GREETINGS_MAX
    assert isinstance(client.outcome, Failed)
    assert client.outcome.refusal == link.REFUSED_COOKIE

    client = new_client()
    client.receive(answer(door, greeted(door, client), NOW + 11), NOW + 4.9)
    client.handle_timer(NOW + link.HANDSHAKE_SECONDS)
    assert isinstance(client.outcome, Failed)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (link.REFUSED_VERSION, "versions 1 to 1 of the link, we speak 1"),
        (link.REFUSED_SUITE, "does not take suite 1 of the link; it takes 0, 1"),
        (link.REFUSED_TOKEN, "does not know the token"),
        (link.REFUSED_FULL, "as many connections"),
        (77, "do not know: 77"),
        (0, "do not know: 0"),
    ],
)
@pytest.mark.parametrize("state", [HandshakeState.GREETING, HandshakeState.ENTERING])
def test_a_refusal_ends_it_and_says_why(state: HandshakeState, reason: int, words: str) -> None:
    client = new_client()
    question = sent(client)
    if state is HandshakeState.ENTERING:
        client.receive(answer(new_door(), question), NOW)
        question = sent(client)
    refusal = bytes((0, 5, reason, 1, 1, 3, 0, 0)) + question[4:20]
    for wrong in (
        replaced(refusal, 23, bytes((refusal[23] ^ 1,))),
        replaced(refusal, 6, b"\1"),
        replaced(refusal, 7, b"\1"),
        replaced(refusal, 0, b"\1"),
        refusal[:-1],
        refusal + b"\0",
    ):
        client.receive(wrong, NOW)
    assert (client.outcome, client.dropped) == (None, 6)
    client.receive(refusal, NOW)
    assert isinstance(client.outcome, Failed)
    assert client.outcome.refusal == reason
    assert words in client.outcome.reason


def test_a_refused_cookie_while_greeting_is_the_end() -> None:
    """No server says that to a HELLO."""
    client = new_client()
    client.receive(bytes((0, 5, 3, 1, 1, 2, 0, 0)) + sent(client)[4:20], NOW)
    assert isinstance(client.outcome, Failed)
    assert client.outcome.refusal == link.REFUSED_COOKIE


def test_no_bit_of_a_welcome_can_be_changed() -> None:
    """And that it was tried does not keep the true one out."""
    client = new_client()
    welcome = entered(new_door(), client).welcome(CONNECTION)
    bits = range(8 * len(welcome))
    for bit in bits:
        client.receive(flipped(welcome, bit), NOW)
    assert (client.outcome, client.dropped) == (None, len(bits))
    client.receive(welcome, NOW)
    assert isinstance(client.outcome, Established)


def test_a_cookie_of_another_handshake_or_a_second_one() -> None:
    door, client = new_door(), new_client()
    hello = sent(client)
    cookie = answer(door, hello)
    client.receive(answer(door, sent(new_client(3))), NOW)
    for at in range(20):
        client.receive(replaced(cookie, at, bytes((cookie[at] ^ 1,))), NOW)
    assert (client.state, client.dropped) == (HandshakeState.GREETING, 21)
    client.receive(cookie, NOW)
    login = sent(client)
    client.receive(cookie, NOW)
    client.receive(answer(door, hello, NOW + 1), NOW + 1)
    assert client.datagrams_to_send() == []
    client.handle_timer(NOW + 0.2)
    assert client.datagrams_to_send() == [login]


def test_a_changed_cookie_leads_back_to_the_beginning() -> None:
    door, client = new_door(), new_client()
    client.receive(flipped(answer(door, sent(client)), 43 * 8), NOW)
    client.receive(answer(door, sent(client)), NOW)
    assert client.state is HandshakeState.GREETING
    assert isinstance(ask(door, greeted(door, client)), Entry)


def test_a_clients_message_sent_back_to_the_client() -> None:
    door, client = new_door(), new_client()
    hello = sent(client)
    client.receive(hello, NOW)
    client.receive(answer(door, hello), NOW)
    login = sent(client)
    for datagram in (hello, login, b"\0\x04" + login[2:20] + login[52:108] + bytes(8)):
        client.receive(datagram, NOW)
    assert (client.state, client.dropped) == (HandshakeState.ENTERING, 4)


def test_a_welcome_too_early_or_of_another_login() -> None:
    door = new_door()
    old = Transcript(door, new_client(2))
    same_nonce = new_client(2)
    same_nonce.receive(old.welcome, NOW)
    assert same_nonce.state is HandshakeState.GREETING

    client = new_client(3)
    greeted(door, client)
    for datagram in old.datagrams:
        client.receive(datagram, NOW)
        client.receive(replaced(datagram, 2, client._named), NOW)
    assert (client.outcome, client.dropped) == (None, 8)


def test_a_server_that_does_not_know_the_token() -> None:
    """It can answer; it cannot be taken for the true one."""
    client = new_client()
    login = greeted(new_door(), client)
    impostor = Responder(link.token_psk(OTHER_TOKEN), login[:52])
    impostor.read(login[52:84], login[84:])
    agreed = impostor.agree(entropy(4)(32))
    assert agreed is not None
    client.receive(b"\0\x04" + login[2:20] + agreed[0] + impostor.write(CONNECTION + Terms().to_bytes()), NOW)
    assert (client.outcome, client.dropped) == (None, 1)


def test_a_server_whose_terms_break_the_contract() -> None:
    client = new_client()
    login = greeted(new_door(), client)
    server = Responder(link.token_psk(TOKEN), login[:52])
    server.read(login[52:84], login[84:])
    agreed = server.agree(entropy(4)(32))
    assert agreed is not None
    client.receive(b"\0\x04" + login[2:20] + agreed[0] + server.write(CONNECTION + bytes(8)), NOW)
    assert isinstance(client.outcome, Failed)
    assert "receive_bytes has to be 65536" in client.outcome.reason


@given(st.lists(st.binary(max_size=120) | mutated(), max_size=12), st.booleans())
def test_anybodys_datagrams_at_the_client(datagrams: list[bytes], entering: bool) -> None:
    """Nothing raises; the handshake is not won with less than the true WELCOME, and lost only by a REFUSED."""
    client = new_client()
    if entering:
        client.receive(MADE.cookie, NOW)
        assert client.datagrams_to_send()[-1] == MADE.login
    for datagram in datagrams:
        client.receive(datagram, NOW)
        if isinstance(client.outcome, Established):
            assert datagram == MADE.welcome
            break
        if isinstance(client.outcome, Failed):
            assert (len(datagram), datagram[1]) == (24, link.REFUSED)
            break
    assert len(client.datagrams_to_send()) <= 1


# Both, over a network that loses, doubles and reorders.


@pytest.mark.parametrize("seed", range(40))
def test_over_a_bad_network(seed: int) -> None:
    """Whatever becomes of the datagrams, both sides agree in the end, or the client says that it gave up."""
    chance = random.Random(seed)
    door, client = new_door(), new_client(seed)
    under_way: list[tuple[float, int, bool, bytes]] = []  # due, order, to the server, datagram
    entries: dict[bytes, Entry] = {}
    now, order = NOW, 0

    def send(to_server: bool, datagram: bytes) -> None:
        nonlocal order
        for _ in range(chance.choice((0, 1, 1, 1, 2))):
            order += 1
            under_way.append((now + chance.uniform(0.01, 0.5), order, to_server, datagram))

    while client.outcome is None:
        for datagram in client.datagrams_to_send():
            send(True, datagram)
        timer = client.next_timer()
        assert timer is not None
        under_way.sort()
        if not under_way or timer <= under_way[0][0]:
            now = timer
            client.handle_timer(now)
            continue
        now, _, to_server, datagram = under_way.pop(0)
        if not to_server:
            client.receive(datagram, now)
            continue
        answered = entries.get(datagram) or ask(door, datagram, now)
        if isinstance(answered, Entry):
            entries[datagram] = answered
            send(False, answered.welcome(CONNECTION))
        elif answered is not None:
            send(False, answered)
    assert now <= NOW + link.HANDSHAKE_SECONDS
    if isinstance(client.outcome, Established):
        assert any(entry.send_key == client.outcome.receive_key for entry in entries.values())
    else:
        assert client.outcome.refusal is None
