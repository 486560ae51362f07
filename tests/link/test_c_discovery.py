"""Who serves here (docs/LINK.md, section 10) as the C client writes and reads it, held against gsrt.discovery."""

from __future__ import annotations

import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gsrt import DEFAULT_PORT, discovery
from gsrt.discovery import BEACON, BEACON_PORT, HERE, NONCE_BYTES, SEEK_BYTES, Notice, is_seek, seek
from tests.link import c_client

VECTORS = json.loads((Path(__file__).parents[1] / "discovery" / "vectors.json").read_text())
NONCE = bytes(range(8))
SERVER = b"\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7"
FIELDS = ("server", "port", "sessions", "players", "version", "name", "game")
UNTOUCHED = 0xA5  # each byte of a notice before it is read
DIRECTIONS = frozenset((0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
SHORT_RANGES = (range(0x200B, 0x200E), range(0x2060, 0x2070), range(0xFFF9, 0xFFFC), range(0xE0000, 0xE0080))
INVISIBLE = frozenset((0xAD, 0x180E, 0xFEFF)).union(*SHORT_RANGES)
HIDDEN = DIRECTIONS | INVISIBLE


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return c_client.build(tmp_path_factory.getbasetemp() / "c_client")


def read(module: Any, datagram: bytes, kind: int, nonce: bytes = NONCE) -> dict[str, Any] | None:
    """What the C client reads in a HERE or BEACON (`kind`); None where it says that it is none, and has written
    nothing."""
    ffi, lib = module.ffi, module.lib
    notice = ffi.new("gsrt_notice *")
    memory = ffi.buffer(notice)
    memory[:] = bytes((UNTOUCHED,)) * len(memory)
    copy = ffi.new("uint8_t[]", datagram) if datagram else ffi.NULL
    if kind == HERE:
        taken = lib.gsrt_here_read(notice, copy, len(datagram), nonce)
    else:
        taken = lib.gsrt_beacon_read(notice, copy, len(datagram))
    if not taken:
        assert set(memory[:]) == {UNTOUCHED}
        return None
    found: dict[str, Any] = {name: getattr(notice, name) for name in ("port", "sessions", "players")}
    found["server"] = bytes(notice.server)
    for name in ("version", "name", "game"):
        found[name] = ffi.string(getattr(notice, name)).decode()
    return found


def as_c(notice: Notice) -> dict[str, Any]:
    """The same fields as read() gives them."""
    return {name: getattr(notice, name) or "" if name == "game" else getattr(notice, name) for name in FIELDS}


def forged(kind: int = HERE, /, **parts: bytes) -> bytes:
    """A HERE or BEACON of any bytes: each field may be replaced, texts without their lengths."""
    head = {"head": bytes((0, kind, 1, 0)), "nonce": NONCE, "server": SERVER, "port": b"\x50\x22"}
    numbers = {"sessions": b"\3\0\0\0", "players": b"\x2c\1\0\0"}
    texts = {"version": b"v", "name": b"n", "game": b""}
    assert not parts.keys() - head.keys() - numbers.keys() - texts.keys()
    fixed = b"".join(parts.get(name, usual) for name, usual in (head | numbers).items())
    shown = [parts.get(name, usual) for name, usual in texts.items()]
    return fixed + b"".join(bytes((len(text),)) + text for text in shown)


def test_constants(module: Any) -> None:
    assert (module.lib.GSRT_SEEK_BYTES, module.lib.GSRT_NONCE_BYTES) == (SEEK_BYTES, NONCE_BYTES)
    assert (module.lib.GSRT_SERVER_PORT, module.lib.GSRT_BEACON_PORT) == (DEFAULT_PORT, BEACON_PORT)
    sizes = {name: field.type.length - 1 for name, field in module.ffi.typeof("gsrt_notice").fields[4:]}
    texts = (discovery.VERSION_TEXT_BYTES, discovery.NAME_BYTES, discovery.GAME_BYTES)
    assert sizes == dict(zip(("version", "name", "game"), texts, strict=True))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["case"])
def test_vectors(module: Any, vector: dict[str, Any]) -> None:
    datagram, nonce = bytes.fromhex(vector["hex"]), bytes.fromhex(vector["nonce"])
    if vector["type"] == discovery.SEEK:
        assert written(module, nonce) == datagram
        assert read(module, datagram, HERE) is None and read(module, datagram, BEACON) is None
        return
    said = {name: vector[name] for name in FIELDS} | {"server": bytes.fromhex(vector["server"])}
    said["game"] = said["game"] or ""
    assert read(module, datagram, vector["type"], nonce) == said
    assert read(module, datagram, HERE + BEACON - vector["type"], nonce) is None
    if vector["type"] == HERE:
        assert read(module, datagram, HERE, b"another!") is None


def written(module: Any, nonce: bytes) -> bytes:
    """The SEEK that the C client writes, over other bytes, and nothing beside it."""
    out = module.ffi.new("uint8_t[]", b"\xff" * (SEEK_BYTES + 8))
    module.lib.gsrt_seek_write(out, nonce)
    assert bytes(module.ffi.buffer(out))[SEEK_BYTES:-1] == b"\xff" * 8
    return bytes(module.ffi.buffer(out, SEEK_BYTES))


@given(st.binary(min_size=8, max_size=8))
def test_the_question_is_ours(module: Any, nonce: bytes) -> None:
    assert written(module, nonce) == seek(nonce)
    assert is_seek(written(module, nonce))


def test_every_character(module: Any) -> None:
    """Refused is what docs/LINK.md names; whatever else is no character that Python prints may pass."""
    ffi, accepts = module.ffi, module.lib.gsrt_beacon_read
    notice = ffi.new("gsrt_notice *")
    before, after = forged(BEACON, name=b"?").split(b"\1?")
    for number in (*range(0xD800), *range(0xE000, sys.maxunicode + 1)):
        character = chr(number)
        if character.isprintable():
            wanted = True
        else:
            category = unicodedata.category(character)
            wanted = category not in ("Cc", "Zs", "Zl", "Zp") and number not in HIDDEN
        text = b"a%bz" % character.encode()
        datagram = b"%b%c%b%b" % (before, len(text), text, after)
        assert accepts(notice, datagram, len(datagram)) == wanted, f"U+{number:04X}"
        if wanted:
            assert ffi.string(notice.name) == text


def encoded(number: int, count: int) -> bytes:
    """A number as UTF-8 would have it in `count` bytes, be they the right ones or not."""
    if count == 1:
        return bytes((number,))
    first = (0xFF00 >> count) & 0xFF | number >> 6 * (count - 1)
    return bytes((first, *(0x80 | number >> 6 * place & 0x3F for place in range(count - 2, -1, -1))))


def test_what_is_no_utf8(module: Any) -> None:
    wrong = [encoded(number, 2) for number in range(0x80)]
    wrong += [encoded(number, 3) for number in (*range(0, 0x800, 7), 0x7FF, *range(0xD800, 0xE000))]
    wrong += [encoded(number, 4) for number in (*range(0, 0x10000, 77), 0xFFFF, *range(0x110000, 0x200000, 777))]
    wrong += [bytes((first,)) + b"\x80" * more for first in range(0x80, 0x100) for more in range(6)]
    wrong += [encoded(number, count)[:-1] for number, count in ((0xE4, 2), (0x20AC, 3), (0x1F600, 4))]
    wrong += [b"\xc3(", b"\xe2\x82(", b"\xe2(\xac", b"\xf0\x9f\x98(", b"\xf0\x9f(\x80", b"\xf0(\x98\x80"]
    refused = 0
    for text in wrong:
        try:
            text.decode()
        except UnicodeDecodeError:
            refused += 1
            for field in ("version", "name", "game"):
                for around in ((b"", b""), (b"a", b"z")):
                    assert read(module, forged(**{field: around[0] + text + around[1]}), HERE) is None, (field, text)
        else:  # of the bytes tried by their first one, some are characters
            assert len(text.decode()) == 1
    assert refused > len(wrong) * 0.99
    for right in (encoded(0xA1, 2), encoded(0x7FF, 2), encoded(0x800, 3), encoded(0xD7FF, 3), encoded(0xE000, 3)):
        found = read(module, forged(name=right), HERE)
        assert found is not None and found["name"] == right.decode()
    for right in (encoded(0xFFFD, 3), encoded(0x10000, 4), encoded(0x10FFFF, 4)):
        found = read(module, forged(name=right), HERE)
        assert found is not None and found["name"] == right.decode()


@pytest.mark.parametrize("character", ["é", "€", "🎲"])
def test_what_lies_after_a_datagram_is_no_part_of_it(module: Any, character: str) -> None:
    whole = forged(BEACON, game=character.encode())
    notice = module.ffi.new("gsrt_notice *")
    assert module.lib.gsrt_beacon_read(notice, whole, len(whole))
    for cut in range(1, len(character.encode())):
        text = character.encode()
        shorter = forged(BEACON, game=text[:-cut])
        assert not module.lib.gsrt_beacon_read(notice, shorter + text[-cut:], len(shorter))


@pytest.mark.parametrize("kind", [HERE, BEACON])
@pytest.mark.parametrize(
    ("field", "most"),
    [("version", discovery.VERSION_TEXT_BYTES), ("name", discovery.NAME_BYTES), ("game", discovery.GAME_BYTES)],
)
def test_lengths_of_texts(module: Any, kind: int, field: str, most: int) -> None:
    for size in range(256):
        text = (b"\xc3\xb6" * 128)[:size] if size % 2 == 0 else b"x" + (b"\xc3\xb6" * 128)[: size - 1]
        found = read(module, forged(kind, **{field: text}), kind)
        if 0 < size <= most or (size == 0 and field == "game"):
            assert found is not None and found[field] == text.decode()
        else:
            assert found is None, size


def test_numbers(module: Any) -> None:
    for port in (b"\1\0", b"\0\1", b"\xff\xff"):
        found = read(module, forged(port=port), HERE)
        assert found is not None and found["port"] == int.from_bytes(port, "little")
    assert read(module, forged(port=b"\0\0"), HERE) is None
    for number in (0, 1, 0x01020304, 2**31, 2**32 - 1):
        found = read(module, forged(sessions=number.to_bytes(4, "little"), players=b"\1\2\3\4"), HERE)
        assert found is not None and (found["sessions"], found["players"]) == (number, 0x04030201)


@pytest.mark.parametrize("kind", [HERE, BEACON])
def test_heads_and_ends(module: Any, kind: int) -> None:
    whole = forged(kind, game=b"duel")
    assert read(module, whole, kind) is not None
    for size in range(len(whole)):
        assert read(module, whole[:size], kind) is None
    for more in (b"\0", b"x", b"\0" * 7, b"\0" * (SEEK_BYTES - len(whole)), bytes(1400)):
        assert read(module, whole + more, kind) is None
    for place in range(4):
        for byte in range(256):
            head = bytearray(whole[:4])
            head[place] = byte
            assert (read(module, bytes(head) + whole[4:], kind) is not None) == (byte == whole[place])


@pytest.mark.parametrize("place", range(8))
def test_each_byte_of_the_nonce_counts(module: Any, place: int) -> None:
    for bit in range(8):
        other = bytearray(NONCE)
        other[place] ^= 1 << bit
        assert read(module, forged(nonce=bytes(other)), HERE) is None
        assert read(module, forged(BEACON, nonce=bytes(other)), BEACON) is not None  # there it means nothing


# Anything that may come, beside what gsrt.discovery reads in it


def agree(module: Any, datagram: bytes) -> None:
    for kind in (HERE, BEACON):
        notice = Notice.from_bytes(datagram, kind)
        found = read(module, datagram, kind, datagram[4:12].ljust(8, b"\0"))
        if notice is not None:
            assert found == as_c(notice)
        elif found is not None:
            texts = found["version"] + found["name"] + found["game"]
            strange = [each for each in texts if not each.isprintable()]
            assert strange  # it is for these only
            for each in strange:
                assert unicodedata.category(each) in ("Cf", "Cn", "Co") and ord(each) not in HIDDEN
            assert found["port"] > 0 and found["version"] and found["name"]
            for text, most in (("version", 24), ("name", 64), ("game", 64)):
                assert len(found[text].encode()) <= most


def texts(most: int, least: int = 0) -> st.SearchStrategy[bytes]:
    """Printable ones, ones of any characters, and ones that are none."""
    printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=least, max_size=most // 4)
    return st.one_of(
        printable.map(str.encode),
        st.text(max_size=most).map(lambda text: text.encode()[: most + 1]),
        st.binary(min_size=least, max_size=most + 1),
    )


notices = st.builds(
    lambda kind, nonce, server, port, version, name, game: forged(
        kind, nonce=nonce, server=server, port=port, version=version, name=name, game=game
    ),
    st.sampled_from((HERE, BEACON)),
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=2, max_size=2),
    texts(24, 1),
    texts(64, 1),
    texts(64),
)


@given(notices)
@example(forged(name=b"a\0b"))
@example(forged(name="a\u202eb".encode()))
@example(forged(name="\ue000\u200b\u0378".encode()))
@example(forged(BEACON, game="\U0001f3b2".encode() * 16))
def test_any_notice_is_read_as_ours(module: Any, datagram: bytes) -> None:
    agree(module, datagram)


@given(
    notices, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0)
)
def test_mutated_notices_are_read_as_ours(
    module: Any, datagram: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    changed = bytearray(datagram)
    for place, byte in changes:
        changed[place % len(changed)] = byte
    agree(module, bytes(changed))
    agree(module, bytes(changed[: cut % len(changed)]))


@given(st.binary(max_size=256), st.sampled_from((b"", b"\0\x08\1\0", b"\0\x09\1\0")))
def test_any_bytes_are_read_as_ours(module: Any, data: bytes, head: bytes) -> None:
    agree(module, head + data)
