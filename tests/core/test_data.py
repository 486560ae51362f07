"""Data: every type in every slot, to the last bit, at both sides of every limit."""

from __future__ import annotations

import math
import random
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gsrt._core import MAX_DEPTH, MAX_SLOT, Data, Float32, ProtocolError
from tests.core.strategies import KINDS, MODELS, SLOTS, VALUES, bits, build, read, set_value
from tests.support import wire
from tests.support.wire import DataDict

MIN_LONG, MAX_LONG = -(1 << 63), (1 << 63) - 1

OTHER_THINGS: list[Any] = [{1: 1, 2: 2}, b"", None]


def nested(levels: int) -> Data:
    """Data of that many levels; the innermost holds a long."""
    data = Data({1: 1})
    for _ in range(levels - 1):
        data = Data({1: data})
    return data


def nested_bytes(levels: int) -> bytes:
    encoded = b"\x08\x02"
    for _ in range(levels - 1):
        encoded = wire.length_delimited(1, wire.length_delimited(14, encoded))
    return encoded


def value_field(body: str) -> bytes:
    """Slot 1 with a length-delimited value of these bytes."""
    return wire.length_delimited(1, bytes.fromhex(body))


# ---- round trips


@given(MODELS)
def test_everything_survives_the_wire(model: DataDict) -> None:
    data = build(model)
    encoded = data.encode()
    assert encoded == wire.encode_data(model)
    assert bits(read(data)) == bits(model)
    decoded = Data.decode(encoded)
    assert bits(read(decoded)) == bits(model)
    assert decoded == data and decoded.encode() == encoded


@given(MODELS, st.randoms(use_true_random=False))
def test_the_order_of_setting_does_not_matter(model: DataDict, shuffler: random.Random) -> None:
    items = list(model.items())
    shuffler.shuffle(items)
    assert build(dict(items)).encode() == wire.encode_data(model)


@given(MODELS)
def test_the_mapping_keeps_the_types(model: DataDict) -> None:
    data = build(model)
    assert Data(dict(data.items())) == data
    assert Data(data) == data
    again = Data()
    for slot, value in data.items():
        again[slot] = value
    assert again.encode() == data.encode()
    assert list(data) == sorted(model) and len(data) == len(model)
    assert all(slot in data for slot in model)


@given(MODELS)
def test_to_dict_makes_the_same_data(model: DataDict) -> None:
    data = build(model)
    plain = data.to_dict()
    assert all(not isinstance(value, Data) for value in plain.values())
    if all(kind != "string" or _is_utf8(value) for kind, value in model.values()):
        assert Data(plain) == data


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.binary(max_size=300))
def test_strings_of_any_bytes_survive(text: bytes) -> None:
    data = Data.decode(Data().set_string(1, text).encode())
    assert data.get_bytes(1) == text
    read_as_text = data.get_string(1)
    assert read_as_text is not None and read_as_text == text.decode("utf-8", "surrogateescape")
    assert Data().set_string(1, read_as_text) == data, "what was read as text is the same bytes again"
    assert Data({1: data[1]}) == data


@pytest.mark.parametrize("length", [0, 1, 123, 124, 125, 126, 127, 128, 129, 16380, 16383, 16384, 70000])
def test_strings_of_every_length_form(length: int) -> None:
    for slot in (1, 15, 16, 127):
        data = Data().set_string(slot, b"x" * length)
        assert data.encode() == wire.encode_data({slot: ("string", b"x" * length)})
        assert Data.decode(data.encode()).get_bytes(slot) == b"x" * length


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=8, max_size=8))
def test_decoded_floats_keep_every_bit(single: bytes, double: bytes) -> None:
    encoded = b"\x0d" + single + b"\x11" + double + wire.length_delimited(3, wire.length_delimited(2, single * 3))
    data = Data.decode(encoded)
    assert data.encode() == encoded
    value = data.get_float(1)
    assert value is not None
    if not math.isnan(value):
        assert struct.pack("<f", value) == single
    assert struct.pack("<d", data.get_double(2)) == double or math.isnan(struct.unpack("<d", double)[0])
    read(data)
    data[4] = 1
    assert data.encode() == encoded + b"\x20\x02"


# ---- types stay apart


def test_every_type_in_every_slot() -> None:
    values: dict[str, Any] = {
        "long": MIN_LONG,
        "float": 1.5,
        "double": 1.5,
        "string": b"\xff",
        "vector": (1.0, 2.0),
        "data": {3: ("long", 4)},
    }
    for kind, value in values.items():
        data = Data()
        for slot in range(1, MAX_SLOT + 1):
            set_value(data, slot, kind, value)
        decoded = Data.decode(data.encode())
        assert read(decoded) == dict.fromkeys(range(1, MAX_SLOT + 1), (kind, value))
        assert decoded == data and len(data) == MAX_SLOT


def test_long_float_and_double_of_one_value_are_three_things() -> None:
    variants = [Data().set_long(1, 1), Data().set_float(1, 1.0), Data().set_double(1, 1.0)]
    assert len({data.encode() for data in variants}) == 3
    assert all((one == other) == (one is other) for one in variants for other in variants)
    assert [data.kind(1) for data in variants] == ["long", "float", "double"]
    assert [type(data[1]) for data in variants] == [int, Float32, float]


def test_types_are_never_converted() -> None:
    data = Data({1: 7, 2: Float32(7), 3: 7.0, 4: "7", 5: (7,), 6: Data({7: 7})})
    for slot, kind in enumerate(KINDS, 1):
        for other in KINDS:
            assert getattr(data, f"has_{other}")(slot) == (other == kind)
            assert (getattr(data, f"get_{other}")(slot) is None) == (other != kind)
    assert data.has_int(1) and not data.has_int(2)
    assert data.get_bytes(1) is None and data.get_int(3) is None


def test_get_int_cuts_to_32_bits_with_sign() -> None:
    for value in (0, 1, -1, (1 << 31) - 1, 1 << 31, -(1 << 31), (1 << 32) + 5, MAX_LONG, MIN_LONG):
        assert Data().set_long(1, value).get_int(1) == wire.signed(value, 32)


def test_empty_slots() -> None:
    data = Data({2: 1})
    for slot in (1, 3, 127, 0, 128, -1):
        assert not data.has(slot) and slot not in data
        assert data.kind(slot) is None and data.get(slot) is None and data.get(slot, 5) == 5
        assert all(getattr(data, f"get_{kind}")(slot) is None for kind in (*KINDS, "int", "bytes"))
        with pytest.raises(KeyError):
            data[slot]
        with pytest.raises(KeyError):
            del data[slot]
    assert data.has(2) and "2" not in data and None not in data


@pytest.mark.parametrize("slot", [1 << 70, -(1 << 70), 1 << 31, 1 << 63])
def test_slots_beyond_any_integer_are_just_empty(slot: int) -> None:
    data = Data({1: 1})
    assert not data.has(slot) and slot not in data and data.get(slot) is None
    with pytest.raises(KeyError):
        data[slot]
    with pytest.raises((ValueError, OverflowError)):
        data[slot] = 1


# ---- limits of what can be set


@pytest.mark.parametrize("slot", [0, -1, MAX_SLOT + 1, 255, 256, 257, 1 << 31])
def test_slots_outside_1_to_127_cannot_be_set(slot: int) -> None:
    data = Data()
    setters: list[tuple[str, Any]] = [
        ("set_long", 1), ("set_int", 1), ("set_float", 1.0), ("set_double", 1.0), ("set_string", "x"),
        ("set_vector", (1,)), ("set_data", Data()),
    ]  # fmt: skip
    for name, value in setters:
        with pytest.raises(ValueError, match="slots are 1 to 127"):
            getattr(data, name)(slot, value)
    with pytest.raises(ValueError, match="slots are 1 to 127"):
        data[slot] = 1
    assert len(data) == 0 and data.encode() == b""


def test_integer_limits() -> None:
    for value in (MIN_LONG, MAX_LONG):
        assert Data.decode(Data().set_long(1, value).encode()).get_long(1) == value
        assert Data({1: value})[1] == value
    for value in (MIN_LONG - 1, MAX_LONG + 1):
        with pytest.raises(OverflowError):
            Data().set_long(1, value)
        with pytest.raises(OverflowError):
            Data({1: value})
    for value in (-(1 << 31), (1 << 31) - 1):
        assert Data().set_int(1, value).get_int(1) == value
    for value in (-(1 << 31) - 1, 1 << 31):
        with pytest.raises(OverflowError):
            Data().set_int(1, value)


@pytest.mark.parametrize("wrong", [2.7, 1.0, "5", None, b"5"])
def test_integers_are_not_made_of_other_things(wrong: Any) -> None:
    data = Data({1: 1})
    for change in (
        lambda: data.set_long(1, wrong),
        lambda: data.set_int(1, wrong),
        lambda: data.set_long(wrong, 2),
        lambda: data.__setitem__(wrong, 2),
    ):
        with pytest.raises(TypeError):
            change()
    assert data.to_dict() == {1: 1}


def test_float_limits() -> None:
    largest = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
    assert Data().set_float(1, largest).get_float(1) == largest
    assert Data().set_float(1, -largest).get_float(1) == -largest
    for value in (largest * 1.1, -1e39, 1e308):
        with pytest.raises(ValueError, match="32-bit float"):
            Data().set_float(1, value)
        with pytest.raises(ValueError, match="32-bit float"):
            Data().set_vector(1, (0.0, value))
    for value in (math.inf, -math.inf):
        assert Data().set_float(1, value).get_float(1) == value
    assert repr(Data({1: Float32(math.nan), 2: math.nan}).to_dict()) == "{1: nan, 2: nan}"
    assert repr(Data({1: Float32(-0.0), 2: -0.0}).to_dict()) == "{1: -0.0, 2: -0.0}"
    assert Data().set_float(1, 1e-46).get_float(1) == 0.0
    assert Data().set_float(1, 0.1).get_float(1) == struct.unpack("<f", struct.pack("<f", 0.1))[0]


def test_vector_limits() -> None:
    for count in range(5):
        vector = tuple(float(number) for number in range(count))
        assert Data.decode(Data({1: vector}).encode()).get_vector(1) == vector
    for count in (5, 6, 100):
        with pytest.raises(ValueError, match="1 to 4 components"):
            Data().set_vector(1, [0.0] * count)
    with pytest.raises((TypeError, ValueError)):
        Data().set_vector(1, ["a"])  # type: ignore[list-item]
    assert Data({1: [1, 2]}).get_vector(1) == (1.0, 2.0)


@pytest.mark.parametrize("value", [None, True, False, object(), {1, 2}, 1j, [object()], ("a",), range(3)])
def test_values_of_other_types_are_refused(value: Any) -> None:
    data = Data({5: 5})
    with pytest.raises((TypeError, ValueError)):
        data[5] = value
    assert data.to_dict() == {5: 5}, "a refused value changes nothing"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc00\ud800"])
def test_surrogates_that_stand_for_no_byte_are_refused(text: str) -> None:
    data = Data()
    with pytest.raises(UnicodeEncodeError):
        data.set_string(1, text)
    assert len(data) == 0


def test_subclasses_are_taken_as_what_they_are() -> None:
    class Text(str):
        pass

    class Number(int):
        pass

    class Fraction(float):
        pass

    data = Data({1: Text("é"), 2: Number(5), 3: Fraction(0.5), 4: bytearray(b"ab"), 5: memoryview(b"cd")})
    assert data.to_dict() == {1: "é", 2: 5, 3: 0.5, 4: "ab", 5: "cd"}
    assert data.has_double(3)


def test_setters_can_be_chained() -> None:
    data = Data().set_long(1, 1).set_int(2, 2).set_float(3, 3).set_double(4, 4).set_string(5, "5").set_vector(6, (6,))
    assert data.set_data(7, Data({8: 8})) is data and len(data) == 7


def test_nesting_to_the_limit_and_one_over() -> None:
    assert MAX_DEPTH == 32
    deepest = nested(MAX_DEPTH)
    assert deepest.encode() == nested_bytes(MAX_DEPTH)
    assert Data.decode(deepest.encode()) == deepest
    assert read(deepest) == read(Data.decode(nested_bytes(MAX_DEPTH)))
    for inner in (deepest, Data.decode(deepest.encode()), Data(deepest)):
        with pytest.raises(ValueError, match="nested deeper than 32"):
            Data({1: inner})
        with pytest.raises(ValueError, match="nested deeper than 32"):
            Data().set_data(1, inner)
    for levels in (MAX_DEPTH + 1, 64, 5000):
        with pytest.raises(ProtocolError, match="nested deeper than 32"):
            Data.decode(nested_bytes(levels))


def test_depth_is_of_what_is_held_now() -> None:
    data = nested(MAX_DEPTH)
    data[1] = 5
    assert Data({1: data}).to_dict() == {1: {1: 5}}
    data = nested(MAX_DEPTH)
    del data[1]
    assert Data({1: data}).to_dict() == {1: {}}
    data = Data.decode(nested_bytes(MAX_DEPTH))
    data.set_string(1, "flat")
    assert Data({1: data}).to_dict() == {1: {1: "flat"}}


def test_nested_data_put_under_a_deep_place_is_counted_whole() -> None:
    outer = Data({1: nested(10)})
    for _ in range(MAX_DEPTH - 11):
        outer = Data({2: outer})
    with pytest.raises(ValueError, match="nested deeper"):
        Data({3: outer})


def test_data_in_itself_is_a_copy_of_it() -> None:
    data = Data({1: 1, 5: "x"})
    data[2] = data
    assert data.to_dict() == {1: 1, 2: {1: 1, 5: "x"}, 5: "x"}
    data.set_data(1, data)
    assert data.to_dict() == {1: {1: 1, 2: {1: 1, 5: "x"}, 5: "x"}, 2: {1: 1, 5: "x"}, 5: "x"}
    assert Data.decode(data.encode()) == data


def test_nested_data_is_copied_in_and_read_only_out() -> None:
    inner = Data({1: 1})
    outer = Data({1: inner})
    inner[1] = 2
    assert outer.to_dict() == {1: {1: 1}}
    view = outer.get_data(1)
    assert view is not None
    for change in (lambda: view.set_long(1, 3), lambda: view.__setitem__(2, 1), lambda: view.__delitem__(1)):
        with pytest.raises(TypeError, match="read-only"):
            change()
    outer[1] = 9
    assert view.to_dict() == {1: 1}, "what was read before keeps its value"
    copy = Data(view)
    copy[1] = 3
    assert (copy[1], view[1]) == (3, 1)


def test_a_view_outlives_the_data_it_came_from() -> None:
    encoded = Data({1: Data({2: Data({3: "deep"})})}).encode()
    data = Data.decode(encoded)
    view = data.get_data(1)
    assert view is not None
    inner = view.get_data(2)
    data[1] = "x" * 5000
    del data, view, encoded
    assert inner is not None and inner.get_string(3) == "deep"


def test_size_is_bounded_and_a_refusal_changes_nothing() -> None:
    data = Data({1: 1})
    for size in (1 << 20, 1 << 24):
        with pytest.raises(ValueError, match="over 1048576 bytes"):
            data.set_string(2, bytes(size))
    data.set_string(3, bytes(600_000))
    with pytest.raises(ValueError, match="over 1048576 bytes"):
        data.set_string(4, bytes(600_000))
    assert list(data) == [1, 3] and data[1] == 1
    data.set_string(3, "small").set_string(4, bytes(1_000_000))
    assert data.get_string(3) == "small" and Data.decode(data.encode()) == data
    with pytest.raises(ProtocolError, match="over 1048576 bytes"):
        Data.decode(bytes((1 << 20) + 1))


def test_overwriting_many_times_does_not_grow() -> None:
    data = Data()
    for number in range(20_000):
        data.set_string(1 + number % 127, b"x" * (number % 50)).set_long(1, number)
    assert Data.decode(data.encode()) == data and len(data.encode()) < 127 * 60


def test_initialising_again_replaces_everything() -> None:
    data = Data({1: "x" * 100, 3: 3})
    data.__init__(Data({2: 1}))  # type: ignore[misc]
    assert data.to_dict() == {2: 1}


# ---- equality, order, copies


def test_equality_is_of_values_not_of_bytes() -> None:
    one = Data.decode(bytes.fromhex("08021004"))
    assert one == Data.decode(bytes.fromhex("10040802")) == Data({2: 2, 1: 1})
    assert one == Data.decode(bytes.fromhex("88800002 10848000")), "over-long forms"
    assert one != Data({1: 1}) and one != Data({1: 1, 2: 3}) and one != Data({1: 1, 3: 2})
    assert all(one != other for other in OTHER_THINGS)
    with pytest.raises(TypeError):
        hash(one)


def test_the_last_of_several_values_in_a_slot_counts() -> None:
    data = Data.decode(bytes.fromhex("0802") + b"\x0d" + struct.pack("<f", 2.0) + bytes.fromhex("0804"))
    assert data.to_dict() == {1: 2} and len(data) == 1 and not data.has_float(1)


@pytest.mark.parametrize("encoded", ["08020804", "10020802", "88000288000210021002"])
def test_reading_does_not_change_what_is_encoded(encoded: str) -> None:
    data = Data.decode(bytes.fromhex(encoded))
    assert data.encode().hex() == encoded
    data.to_dict()
    assert data.encode().hex() == encoded
    outer = Data({1: Data.decode(bytes.fromhex(encoded))})
    assert Data.decode(outer.encode()).to_dict() == {1: data.to_dict()}


def test_changed_data_is_written_in_order_once_each() -> None:
    data = Data.decode(bytes.fromhex("100208020804"))
    data[3] = 3
    assert data.encode().hex() == "080410021806"
    del data[1]
    assert data.encode().hex() == "10021806"


class Edits(RuleBasedStateMachine):
    """Any series of changes leaves what a dict would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.data = Data()
        self.model: DataDict = {}

    @rule(slot=SLOTS, value=VALUES)
    def set_one(self, slot: int, value: tuple[str, Any]) -> None:
        set_value(self.data, slot, *value)
        self.model[slot] = value

    @rule(slot=SLOTS, model=MODELS)
    def set_nested(self, slot: int, model: DataDict) -> None:
        self.data.set_data(slot, build(model))
        self.model[slot] = ("data", model)

    @rule(slot=SLOTS)
    def delete(self, slot: int) -> None:
        if slot in self.model:
            del self.data[slot]
            del self.model[slot]
        else:
            with pytest.raises(KeyError):
                del self.data[slot]

    @rule(count=st.integers(1, 127))
    def fill(self, count: int) -> None:
        for slot in range(count, 0, -1):
            self.data.set_long(slot, slot)
            self.model[slot] = ("long", slot)

    @rule()
    def reread(self) -> None:
        self.data = Data.decode(self.data.encode())

    @rule()
    def copy(self) -> None:
        self.data = Data(self.data)

    @invariant()
    def holds_the_same(self) -> None:
        assert bits(read(self.data)) == bits(self.model)
        assert self.data.encode() == wire.encode_data(self.model)


TestEdits = Edits.TestCase


# ---- what outside bytes can do wrong


@pytest.mark.parametrize(
    ("encoded", "reason", "offset"),
    [
        ("08", "runs past the end", 1),
        ("0880", "runs past the end", 1),
        ("88", "runs past the end", 0),
        ("0d000000", "runs past the end", 0),
        ("0900000000000000", "runs past the end", 0),
        ("0a", "runs past the end", 1),
        ("0a05", "runs past the end", 1),
        ("0affffffff0f", "runs past the end", 1),
        ("0affffffff0f", "runs past the end", 1),
        ("0affffffffffffffffff01", "length or key over 5 bytes", 1),
        ("0802 00", "slots are 1 to 127", 2),
        ("0002", "slots are 1 to 127", 0),
        ("800802", "slots are 1 to 127", 0),
        ("ffffffff0f02", "slots are 1 to 127", 0),
        ("8880808080808080800002", "length or key over 5 bytes", 0),
        ("0802 0880808080808080808002", "longer than 64 bits", 3),
        ("08ffffffffffffffffffff01", "longer than 64 bits", 1),
        ("0b", "unknown wire type", 0),
        ("0c", "unknown wire type", 0),
        ("0e", "unknown wire type", 0),
        ("0f", "unknown wire type", 0),
        ("0a00", "exactly one of", 2),
        ("0a010a", "exactly one of", 2),
        ("0a020802", "exactly one of", 2),
        ("0a021a00", "exactly one of", 2),
        ("0a040a000a00", "exactly one of", 2),
        ("0a040a001200", "exactly one of", 2),
        ("0a040a0161ff", "exactly one of", 2),
        ("0a030a0261", "runs past the end", 2),
        ("0a020a80", "runs past the end", 2),
        ("0a0312016100", "multiple of 4", 2),
        ("0a0712050000000000", "multiple of 4", 2),
        ("0a0472020002", "slots are 1 to 127", 4),
        ("0a0472020880", "runs past the end", 5),
    ],
)
def test_unsound_data_says_what_and_where(encoded: str, reason: str, offset: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        Data.decode(bytes.fromhex(encoded))
    error = caught.value
    assert reason in error.reason and error.offset == offset
    assert str(error) == f"{error.reason} at byte {error.offset}"
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ("", {}),
        ("888080800002", {1: 1}),
        ("08828080808080808000", {1: 1}),
        ("08ffffffffffffffffff01", {1: MIN_LONG}),
        ("08feffffffffffffffff01", {1: MAX_LONG}),
        ("0a858000 0a81800061", {1: "a"}),
        ("0a020a00", {1: ""}),
        ("0a021200", {1: ()}),
        ("0a027200", {1: {}}),
        ("0a16 1214 0000803f 00000040 00004040 00008040 0000a040", {1: (1.0, 2.0, 3.0, 4.0)}),
        ("fa07020a00", {127: ""}),
    ],
)
def test_unusual_but_sound_data(encoded: str, expected: dict[int, Any]) -> None:
    data = Data.decode(bytes.fromhex(encoded))
    assert data.to_dict() == expected
    assert data.encode() == bytes.fromhex(encoded)


@given(st.binary(max_size=60))
def test_any_bytes_are_data_or_a_protocol_error(encoded: bytes) -> None:
    try:
        data = Data.decode(encoded)
    except ProtocolError as error:
        assert 0 <= error.offset <= len(encoded)
        return
    assert data.encode() == encoded
    assert data == Data.decode(encoded)
    assert bits(read(data)) == bits(read(build(read(data))))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_decoded(kind: Any) -> None:
    assert Data.decode(kind(b"\x08\x02")).to_dict() == {1: 1}


def test_a_buffer_that_changes_later_does_not_matter() -> None:
    buffer = bytearray(b"\x08\x02")
    data = Data.decode(buffer)
    buffer[1] = 4
    assert data[1] == 1


@pytest.mark.parametrize("wrong", [None, "text", 5, [1, 2]])
def test_other_things_cannot_be_decoded(wrong: Any) -> None:
    with pytest.raises(TypeError):
        Data.decode(wrong)


def test_repr_shows_the_values() -> None:
    assert repr(Data({1: 1, 2: "x"})) == "Data({1: 1, 2: 'x'})"
