"""The key agreement against an independent implementation of Noise: live, and in vectors that it has made."""

from __future__ import annotations

import hashlib
import random

import pytest
from noise.connection import NoiseConnection  # type: ignore[import-untyped]

from gsrt.protocol.link import ClientHandshake, Established, Terms, token_id, token_psk
from gsrt.protocol.noise import KEY_BYTES, PROTOCOL_NAME, Initiator, Responder, _SymmetricState

# X25519 gives zeros for these (RFC 7748, section 6.1): of order 1, 2, 4 and 8, and what is the same modulo the prime.
LOW_ORDER_KEYS = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    b"\xec" + b"\xff" * 30 + b"\x7f",
    b"\xed" + b"\xff" * 30 + b"\x7f",
    b"\xee" + b"\xff" * 30 + b"\x7f",
]


class Vector:
    """One handshake, made with noiseprotocol 0.3.1 from the fields down to `connection`; all but token and suite in
    hexadecimal. The client's terms are 393216 and 262144, the server's 65536 and 1100."""

    def __init__(
        self,
        token: str,
        suite: int,
        nonce: str,
        cookie: str,
        client_private: str,
        server_private: str,
        connection: str,
        login: str,
        welcome: str,
        client_key: str,
        server_key: str,
    ) -> None:
        self.token = token
        self.suite = suite
        self.nonce = bytes.fromhex(nonce)
        self.cookie = bytes.fromhex(cookie)
        self.client_private = bytes.fromhex(client_private)
        self.server_private = bytes.fromhex(server_private)
        self.connection = bytes.fromhex(connection)
        self.login = bytes.fromhex(login)
        self.welcome = bytes.fromhex(welcome)
        self.client_key = bytes.fromhex(client_key)
        self.server_key = bytes.fromhex(server_key)


VECTORS = [
    Vector(
        token="q5VbRdC8a-_Za-_Za-_Za-_Za-_Za-_Za-_Za-_Z",
        suite=1,
        nonce="f5b165224a58b791df6af1d8303e61cd",
        cookie="c4bb86c3d1c427103c344c4189eb2f1e7bd5d47e446fcec2",
        client_private="a3d811736110e5781bcccea696762e6116c6e9c92d99bf358c2e0718822ce47c",
        server_private="a8c74107e66cb0e4b2b3f4d58d82ca6386d2c96e760e819b85c924c3597164c4",
        connection="a6058a00581a22b2",
        login=(
            "00030101f5b165224a58b791df6af1d8303e61cdc4bb86c3d1c427103c344c4189eb2f1e7bd5d47e446fcec2fb2843e0b360"
            "7846ff7a392b11b309bc3112c1af68336dfd56ac75fcb5ba0477c16668cd4cc39125ae18183c07feb2c558d232e3a7718b54"
            "c8de077a6735235d"
        ),
        welcome=(
            "00040101f5b165224a58b791df6af1d8303e61cd40e223675c108c77dfaa507e14de25b43078f96a435f68a9cdd14437e3b6"
            "ad6bb2c6273a9c12434dc76f033a6d63c24902af9e483f1a25a623d5306c50a14313"
        ),
        client_key="5aa5a723b74d8434667c40dfa0ec2ddd7c785872db8ce4d5c4d4c15dd82cde6f",
        server_key="5a3b84bdfdfe523813eb13220324c8a91f523b3ef82cddc0ec162dc62cced153",
    ),
    Vector(
        token="0000000000000000000000000000000000000000",
        suite=0,
        nonce="73a9bef499bbf4dc7bd2a4f2c8af5bd9",
        cookie="9f267a0ed3197217dd2bba1537436e5c2441e3d54410492b",
        client_private="788768bcff2218cf8f7373abe8e394daf807e24e58c367402e281f9bddf85336",
        server_private="d15b579b74e4250950c9c994752666ae81c78b283592edff935d406e8fdb72a3",
        connection="4980be64d347bdcd",
        login=(
            "0003010073a9bef499bbf4dc7bd2a4f2c8af5bd99f267a0ed3197217dd2bba1537436e5c2441e3d54410492b1a705431d538"
            "324394420a46485af8885c7e4f538ec68f90a34bfabcc5fc8b2a8679db2fb362fc1b3b0685df82c055c6bd03500741f37a46"
            "83f8f0ecb95d68bb"
        ),
        welcome=(
            "0004010073a9bef499bbf4dc7bd2a4f2c8af5bd97ea68952ca43a7e29ef2f7716e25cf86b155db6147dc313f94374d45d702"
            "f81e76f185bee62860ffa7ee5f06ee6198486e153568a7aa01d52d48a066b83a5537"
        ),
        client_key="5ac4ccf71a6e0ffc463bee175ea946ac9a01ec7d2f5033ef3544a74855e29097",
        server_key="9877bd7e333bc824455812e7039b1994a6e2dd2a0208e539f7370f23a9fd6f59",
    ),
    Vector(
        token="short",
        suite=1,
        nonce="fd3feb3c9250b7974a9b528b69636321",
        cookie="a461b55ef55b7beafd809a9a9e925b79a6342fa0fdb8b294",
        client_private="d97fc6103d92089b25fa5e039f52a8e8a95f64d6589c1f7844066542ec38008d",
        server_private="331dfd3b272416317694e2fe860397b774306378b5437d8a755622d6d7a0b48c",
        connection="b048f279829caa65",
        login=(
            "00030101fd3feb3c9250b7974a9b528b69636321a461b55ef55b7beafd809a9a9e925b79a6342fa0fdb8b294a57c7c135276"
            "c5f91cfc15f6f822629c188e1742d253d1d027a28f15d1b888b7dc3b160fac8fc476c0556001508e813b5e29d5cc1fe6252c"
            "49035578bb79eea0"
        ),
        welcome=(
            "00040101fd3feb3c9250b7974a9b528b6963632181c9f4a22a5cb7647423849893445c63dc6803f13654aebbae5b169bbfd8"
            "296b518fe865d47728aef52001cf3a4511330eedb629f0f580f6691bd6227e17b307"
        ),
        client_key="83c6e9979fe6cf1fb2a6e91c6f731947bef2fcc31cdb7e94412ebfe56e629197",
        server_key="6ee59710a3b61aeaf72cab7b440ef95792c7d3af2ba31002103bf8e1c109c82b",
    ),
]
CLIENT_TERMS = Terms(393_216, 262_144)
SERVER_TERMS = Terms(65_536, 1_100)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.token)
def test_what_is_derived_from_a_token(vector: Vector) -> None:
    token = vector.token.encode("ascii")
    assert token_psk(vector.token) == hashlib.sha256(b"gsrt link psk" + token).digest()
    assert token_id(vector.token) == hashlib.sha256(b"gsrt link id" + token).digest()[:8] == vector.login[44:52]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.token)
def test_vectors_on_the_clients_side(vector: Vector) -> None:
    """All of the LOGIN to the byte, and what is made of the WELCOME."""
    entropy = [vector.nonce, vector.client_private]
    client = ClientHandshake(vector.token, vector.suite, lambda count: entropy.pop(0), CLIENT_TERMS)
    client.start(0.0)
    (hello,) = client.datagrams_to_send()
    assert hello[2:20] == vector.login[2:20]
    client.receive(b"\0\x02" + hello[2:20] + vector.cookie, 0.1)
    assert client.datagrams_to_send() == [vector.login]
    client.receive(vector.welcome, 0.2)
    outcome = client.outcome
    assert isinstance(outcome, Established)
    assert (outcome.connection, outcome.suite) == (vector.connection, vector.suite)
    assert (outcome.send_key, outcome.receive_key) == (vector.client_key, vector.server_key)
    assert (outcome.peer_terms.receive_bytes, outcome.peer_terms.message_bytes) == (65_536, 1_100)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.token)
def test_vectors_on_the_servers_side(vector: Vector) -> None:
    responder = Responder(token_psk(vector.token), vector.login[:52])
    assert responder.read(vector.login[52:84], vector.login[84:]) == CLIENT_TERMS.to_bytes()
    agreed = responder.agree(vector.server_private)
    assert agreed is not None
    public, send_key, receive_key = agreed
    assert (send_key, receive_key) == (vector.server_key, vector.client_key)
    sealed = responder.write(vector.connection + SERVER_TERMS.to_bytes())
    assert b"\0\x04" + vector.login[2:20] + public + sealed == vector.welcome


def independent(side: str, psk: bytes, prologue: bytes) -> NoiseConnection:
    connection = NoiseConnection.from_name(PROTOCOL_NAME)
    getattr(connection, f"set_as_{side}")()
    connection.set_psks(psk=psk)
    connection.set_prologue(prologue)
    connection.start_handshake()
    return connection


@pytest.mark.parametrize("seed", range(20))
def test_our_client_and_their_server(seed: int) -> None:
    chance = random.Random(seed)
    psk, prologue, first, second = (chance.randbytes(count) for count in (32, seed * 7, seed, 40 - seed))
    ours, theirs = Initiator(psk, prologue, chance.randbytes(32)), independent("responder", psk, prologue)
    assert theirs.read_message(b"".join(ours.write(first))) == first
    answer = bytes(theirs.write_message(second))
    read = ours.read(answer[:KEY_BYTES], answer[KEY_BYTES:])
    ciphers = theirs.noise_protocol
    assert read == (second, ciphers.cipher_state_decrypt.k, ciphers.cipher_state_encrypt.k)


@pytest.mark.parametrize("seed", range(20))
def test_their_client_and_our_server(seed: int) -> None:
    chance = random.Random(seed)
    psk, prologue, first, second = (chance.randbytes(count) for count in (32, seed * 7, seed, 40 - seed))
    theirs, ours = independent("initiator", psk, prologue), Responder(psk, prologue)
    message = bytes(theirs.write_message(first))
    assert ours.read(message[:KEY_BYTES], message[KEY_BYTES:]) == first
    agreed = ours.agree(chance.randbytes(32))
    assert agreed is not None
    public, send_key, receive_key = agreed
    assert theirs.read_message(public + ours.write(second)) == second
    ciphers = theirs.noise_protocol
    assert (send_key, receive_key) == (ciphers.cipher_state_decrypt.k, ciphers.cipher_state_encrypt.k)


def begun() -> tuple[Initiator, bytes, bytes]:
    initiator = Initiator(bytes(32), b"prologue", random.Random(1).randbytes(32))
    return initiator, *initiator.write(b"first")


def test_another_pre_shared_key_or_prologue_opens_nothing() -> None:
    _, public, sealed = begun()
    assert Responder(bytes(32), b"prologue").read(public, sealed) == b"first"
    assert Responder(bytes(31) + b"\x01", b"prologue").read(public, sealed) is None
    assert Responder(bytes(32), b"Prologue").read(public, sealed) is None


@pytest.mark.parametrize("key", LOW_ORDER_KEYS, ids=bytes.hex)
def test_a_key_of_low_order_agrees_on_nothing(key: bytes) -> None:
    """Both sides notice, though what comes with it is sealed as it should be: with 32 zeros as the shared secret."""
    state = _SymmetricState(b"prologue")
    state.mix_key_and_hash(bytes(32))
    state.mix_hash(key)
    state.mix_key(key)
    sealed = state.encrypt_and_hash(b"first")
    responder = Responder(bytes(32), b"prologue")
    assert responder.read(key, sealed) == b"first"
    assert responder.agree(random.Random(2).randbytes(32)) is None

    initiator, public, sealed = begun()
    state = _SymmetricState(b"prologue")
    state.mix_key_and_hash(bytes(32))
    state.mix_hash(public)
    state.mix_key(public)
    assert state.decrypt_and_hash(sealed) == b"first"
    state.mix_hash(key)
    state.mix_key(key)
    state.mix_key(bytes(32))
    assert initiator.read(key, state.encrypt_and_hash(b"second")) is None


def test_a_forged_answer_does_not_spoil_the_true_one() -> None:
    initiator, public, sealed = begun()
    responder = Responder(bytes(32), b"prologue")
    assert responder.read(public, sealed) == b"first"
    agreed = responder.agree(random.Random(2).randbytes(32))
    assert agreed is not None
    answer = responder.write(b"second")
    assert initiator.read(agreed[0], answer[:-1] + bytes((answer[-1] ^ 1,))) is None
    assert initiator.read(public, answer) is None
    assert initiator.read(agreed[0], b"") is None
    read = initiator.read(agreed[0], answer)
    assert read == (b"second", agreed[2], agreed[1])
