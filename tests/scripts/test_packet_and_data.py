"""The packet that a handler gets and the data in it: every method, both sides of every limit, and values that no honest
script would hand over."""

from __future__ import annotations

import gc
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt import _core
from gsrt._guest import Data, Packet, copy_of, data_of
from gsrt.scripts.api import Player
from tests.relay.rig import Rig
from tests.scripts.stage import Play, Post

SURROGATE = "half \ud800"
HUGE = 1 << 1100


class Hostile:
    """What an instance of a script's class can have: methods that must never run in the host's code."""

    def _never(self, *_: object) -> Any:
        raise AssertionError("the script's own code has run")

    __eq__ = __lt__ = __hash__ = __index__ = __int__ = __float__ = __len__ = __iter__ = __bool__ = _never
    __repr__ = __str__ = __getitem__ = __bytes__ = _never


class Text(str):
    __slots__ = ()


class Number(int):
    pass


def hostile_values() -> list[object]:
    """Values of no kind that data holds."""
    return [
        Hostile(),
        Hostile,
        Text("x"),
        Number(5),
        type("Float", (float,), {})(1.5),
        type("List", (list,), {})([1.0]),
        type("Dict", (dict,), {})({1: 1}),
        b"bytes",
        bytearray(b"x"),
        None,
        True,
        1j,
        {1, 2},
        range(3),
        len,
        object(),
        math.inf,
        -math.inf,
        math.nan,
        SURROGATE,
        HUGE,
        -HUGE,
        1 << 63,
        -(1 << 63) - 1,
        "x" * 16_385,
        [0.0] * 5,
        [],
        [1, "2"],
        [Hostile()],
        [math.nan],
        [True],
        [[1.0]],
        {0: 1},
        {128: 1},
        {"1": 1},
        {True: 1},
        {1.0: 1},
        {1: None},
        {1: Hostile()},
        {1: {2: {3: SURROGATE}}},
    ]


# Data: what is there


KINDS: list[tuple[str, object, object]] = [
    ("number", -5, -5),
    ("float", 1.5, 1.5),
    ("double", 0.1, 0.1),
    ("string", "čau", "čau"),
    ("float_array", [1.0, 2.5], [1.0, 2.5]),
    ("data", {1: 7}, None),
]


@pytest.mark.parametrize(("kind", "value", "expected"), KINDS)
def test_each_kind_by_its_own_methods(kind: str, value: object, expected: object) -> None:
    data = Data()
    assert getattr(data, f"set_{kind}")(5, value) is data
    for other, _, _ in KINDS:
        there = other == kind
        assert getattr(data, f"has_{other}")(5) is there
        got = getattr(data, f"get_{other}")(5)
        if not there:
            assert got is None
        elif kind == "data":
            assert type(got) is Data
            assert got[1] == 7
        else:
            assert got == expected
            assert type(got) is type(expected)
        assert getattr(data, f"get_{other}")(6) is None
        assert getattr(data, f"has_{other}")(6) is False
    assert data.keys() == [5]
    assert len(data) == 1
    assert 5 in data
    assert 6 not in data


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        (5, "number", 5),
        (5.0, "double", 5.0),
        ("x", "string", "x"),
        ([1, 2.5], "float_array", [1.0, 2.5]),
        ((1,), "float_array", [1.0]),
        ([1, 2, 3, 4], "float_array", [1.0, 2.0, 3.0, 4.0]),
        ({}, "data", None),
    ],
)
def test_an_assignment_goes_by_the_value_s_type(value: object, kind: str, read: object) -> None:
    data = Data()
    data[9] = value
    assert getattr(data, f"has_{kind}")(9)
    if kind != "data":
        assert data[9] == data.get(9) == read
        assert type(data[9]) is type(read)
    else:
        assert len(data[9]) == 0


def test_empty_data_is_like_any_other() -> None:
    data = Data()
    assert (len(data), data.keys(), list(data), 1 in data, data.get(1), data.get(1, "d")) == (
        0,
        [],
        [],
        False,
        None,
        "d",
    )
    assert repr(data) == "Data({})"
    with pytest.raises(KeyError):
        data[1]
    with pytest.raises(KeyError):
        del data[1]
    made = data_of(data)
    assert made is not None
    assert len(made) == 0


def test_keys_ascend_and_deletion_takes_away() -> None:
    data = Data()
    for index in (127, 1, 64, 2):
        data[index] = index
    assert data.keys() == list(data) == [1, 2, 64, 127]
    del data[64]
    assert data.keys() == [1, 2, 127]
    assert data.get_number(64) is None
    data[1] = "other kind"
    assert data.get_number(1) is None
    assert repr(data) == "Data({1: 'other kind', 2: 2, 127: 127})"


@pytest.mark.parametrize("kind", [kind for kind, _, _ in KINDS])
@pytest.mark.parametrize("empty", [True, False])
def test_indices_are_judged_the_same_whether_there_is_anything(kind: str, empty: bool) -> None:
    data = Data() if empty else Data().set_number(1, 1)
    value = next(value for name, value, _ in KINDS if name == kind)
    methods: list[Callable[[Any], object]] = [
        getattr(data, f"get_{kind}"),
        getattr(data, f"has_{kind}"),
        lambda index: getattr(data, f"set_{kind}")(index, value),
        lambda index: data[index],
        lambda index: data.__setitem__(index, value),
        lambda index: data.__delitem__(index),
        data.get,
    ]
    for method in methods:
        for index in (0, 128, -1, HUGE, -HUGE):
            with pytest.raises(ValueError, match="index: from 1 to 127"):
                method(index)
        for odd in ("1", 1.0, None, True, Number(1), Hostile(), (1,)):
            with pytest.raises(TypeError, match="index: a whole number"):
                method(odd)


def test_membership_never_raises() -> None:
    for data in (Data(), Data().set_number(1, 1)):
        for index in (0, 128, HUGE, "1", 1.0, None, True, Number(1), Hostile()):
            assert index not in data


def test_the_first_and_the_last_index() -> None:
    data = Data()
    data.set_string(1, "first").set_string(127, "last")
    assert data.keys() == [1, 127]


# Data: limits of values


@pytest.mark.parametrize("value", [-(1 << 63), (1 << 63) - 1, 0, -1])
def test_numbers_have_64_bits(value: int) -> None:
    assert Data().set_number(1, value).get_number(1) == value


@pytest.mark.parametrize("value", [1.0, "1", None, True, Number(1), Hostile(), [1]])
def test_a_number_is_a_whole_one(value: Any) -> None:
    with pytest.raises(TypeError, match="whole number"):
        Data().set_number(1, value)


def test_floats_are_rounded_to_32_bits_and_doubles_are_not() -> None:
    data = Data().set_float(1, 0.1).set_double(2, 0.1).set_float(3, 7).set_double(4, 1 << 70)
    assert data.get_float(1) == struct.unpack("<f", struct.pack("<f", 0.1))[0] != 0.1
    assert type(data.get_float(1)) is type(data[1]) is float
    assert data.get_double(2) == 0.1
    assert (data.get_float(3), data.get_double(4)) == (7.0, float(1 << 70))


@pytest.mark.parametrize("method", ["set_float", "set_double"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, HUGE, -HUGE, 1 << 1024])
def test_only_finite_numbers(method: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"finite|32-bit"):
        getattr(Data(), method)(1, value)


def test_a_float_that_32_bits_cannot_hold() -> None:
    assert Data().set_float(1, 3.4028234e38).get_float(1) == pytest.approx(3.4028234e38)
    with pytest.raises(ValueError, match="set_double"):
        Data().set_float(1, 3.5e38)
    with pytest.raises(ValueError, match=r"32-bit|finite"):
        Data().set_float_array(1, [1.0, 1e39])


@pytest.mark.parametrize("method", ["set_float", "set_double"])
@pytest.mark.parametrize("value", ["1", None, True, Number(1), Hostile(), [1.0]])
def test_a_float_is_a_number(method: str, value: Any) -> None:
    with pytest.raises(TypeError, match="expected a number"):
        getattr(Data(), method)(1, value)


def test_strings() -> None:
    assert Data().set_string(1, "x" * 16_384).get_string(1) == "x" * 16_384
    assert Data().set_string(1, "").get_string(1) == ""
    assert Data().set_string(1, "\0\n😀").get_string(1) == "\0\n😀"
    with pytest.raises(ValueError, match="16384 characters"):
        Data().set_string(1, "x" * 16_385)
    with pytest.raises(ValueError, match="surrogate"):
        Data().set_string(1, SURROGATE)
    for value in (b"x", None, 1, Text("x"), Hostile()):
        with pytest.raises(TypeError, match="expected a string"):
            Data().set_string(1, value)  # type: ignore[arg-type]


def test_float_arrays() -> None:
    """They are the vectors of the wire: x, and perhaps y, z and w."""
    assert Data().set_float_array(1, [1.5] * 4).get_float_array(1) == [1.5] * 4
    assert Data().set_float_array(1, (1,)).get_float_array(1) == [1.0]
    for size in (0, 5, 100_000):
        with pytest.raises(ValueError, match="1 to 4 numbers"):
            Data().set_float_array(1, [1.5] * size)
    for value in ({1.0}, "12", range(3), None, Hostile(), iter([1.0]), type("List", (list,), {})()):
        with pytest.raises(TypeError, match="list of numbers"):
            Data().set_float_array(1, value)  # type: ignore[arg-type]
    for element in (None, "1", True, Hostile(), [1.0], math.nan, HUGE):
        with pytest.raises((TypeError, ValueError)):
            Data().set_float_array(1, [1.0, element])  # type: ignore[list-item]


def test_what_a_getter_gives_is_a_copy() -> None:
    data = Data().set_float_array(1, [1.0, 2.0])
    got = data.get_float_array(1)
    assert got is not None
    got.append(3.0)
    data[1].append(4.0)
    assert data.get_float_array(1) == [1.0, 2.0]


def test_nested_data_is_copied_in_and_read_only_inside() -> None:
    inner = Data().set_number(1, 1)
    data = Data().set_data(5, inner)
    inner.set_number(1, 2)
    inside = data.get_data(5)
    assert inside is not None
    assert inside[1] == 1
    for change in (
        lambda: inside.set_number(1, 3),
        lambda: inside.__setitem__(1, 3),
        lambda: inside.__delitem__(1),
        lambda: inside.set_data(1, {}),
    ):
        with pytest.raises(TypeError, match="read out of other data"):
            change()
    assert data.get_data(5)[1] == 1  # type: ignore[index]
    copied = copy_of(inside)
    copied[1] = 9
    assert (copied[1], inside[1]) == (9, 1)
    data[5] = copied
    assert data[5][1] == 9


def test_data_in_itself_is_what_it_was() -> None:
    data = Data().set_number(1, 1)
    data.set_data(2, data)
    data.set_data(2, data)
    assert data[2][2][1] == 1
    assert 2 not in data[2][2]


def nest(levels: int) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for _ in range(levels - 1):
        found = {1: found}
    return found


def test_the_depth_of_dicts() -> None:
    assert data_of(nest(31)) is not None
    with pytest.raises(ValueError, match="31 levels"):
        data_of(nest(32))
    Data().set_data(1, nest(30))
    with pytest.raises(ValueError, match="31 levels"):
        Data().set_data(1, nest(31))
    Data()[1] = nest(30)
    with pytest.raises(ValueError, match="31 levels"):
        Data()[1] = nest(31)


def test_the_depth_of_data_in_data_has_an_end() -> None:
    data = Data().set_number(1, 1)
    with pytest.raises(ValueError, match=r"deep|nested|levels"):
        for _ in range(60):
            data = Data().set_data(1, data)


def test_the_number_of_values_in_dicts() -> None:
    wide = dict.fromkeys(range(1, 101), 1)
    assert data_of(dict.fromkeys(range(1, 20), wide)) is not None  # 19 + 1,900
    with pytest.raises(ValueError, match="more than 2000 values"):
        data_of(dict.fromkeys(range(1, 21), wide))  # 20 + 2,000


def test_shared_and_cyclic_dicts_end_soon() -> None:
    shared: dict[int, Any] = {1: 1}
    for _ in range(45):
        shared = {1: shared, 2: shared}
    cyclic: dict[int, Any] = {}
    cyclic[1] = cyclic
    both: dict[int, Any] = {2: 5}
    both[1] = {1: both, 3: both}
    for value in (shared, cyclic, both):
        with pytest.raises(ValueError, match=r"levels|values"):
            data_of(value)
        with pytest.raises(ValueError, match=r"levels|values"):
            Data().set_data(1, value)
        with pytest.raises(ValueError, match=r"levels|values"):
            Data()[1] = value


def test_shared_data_grows_to_an_end() -> None:
    data = Data().set_number(1, 1)
    with pytest.raises(ValueError, match=r"bytes|deep|nested|levels"):
        for _ in range(45):
            data = Data().set_data(1, data).set_data(2, data)


def test_deep_and_cyclic_lists_are_refused_at_their_first_level() -> None:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    for value in (deep, cyclic):
        with pytest.raises(TypeError):
            Data().set_float_array(1, value)
        with pytest.raises(TypeError):
            Data()[1] = value
        with pytest.raises(TypeError):
            data_of({1: value})
    while deep:  # taken apart level by level, for freeing it at once would be as deep
        deep = deep[0]


@pytest.mark.parametrize("number", range(len(hostile_values())))
def test_values_that_data_does_not_hold(number: int) -> None:
    value = hostile_values()[number]
    for attempt in (
        lambda: Data().__setitem__(1, value),
        lambda: data_of({1: value}),
        lambda: Data().set_data(1, {1: value}),
    ):
        with pytest.raises((TypeError, ValueError)) as refusal:
            attempt()
        assert type(refusal.value) in (TypeError, ValueError)
        assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("value", [5, "x", [], (), Hostile(), type("Dict", (dict,), {})(), b""])
def test_data_is_data_or_a_dict(value: Any) -> None:
    with pytest.raises(TypeError, match="data or a dict"):
        data_of(value)
    with pytest.raises(TypeError, match="data or a dict"):
        Data().set_data(1, value)


def test_nothing_is_half_done() -> None:
    data = Data().set_number(1, 1)
    for index, value in ((1, SURROGATE), (1, {1: 1, 2: None}), (1, [1.0, "x"])):
        with pytest.raises((TypeError, ValueError)):
            data[index] = value
    assert data[1] == 1
    assert data.keys() == [1]


def test_data_is_of_the_last_class() -> None:
    for kind in (Data, Packet):
        with pytest.raises(TypeError):
            type("More", (kind,), {})
    with pytest.raises(AttributeError):
        Data().more = 1  # type: ignore[attr-defined]


# Data against the codec


LEAVES = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=4),
)
TREES = st.recursive(
    st.dictionaries(st.integers(1, 127), LEAVES, max_size=6),
    lambda inner: st.dictionaries(st.integers(1, 127), LEAVES | inner, max_size=4),
    max_leaves=25,
)


def as_plain(data: Data) -> dict[int, Any]:
    return {index: as_plain(value) if type(value := data[index]) is Data else value for index in data}


def expected_of(values: dict[int, Any]) -> dict[int, Any]:
    return {index: expected_of(value) if type(value) is dict else value for index, value in values.items()}


@given(TREES)
@settings(max_examples=150, deadline=None)
def test_dicts_come_back_through_the_codec(values: dict[int, Any]) -> None:
    encoded = data_of(values)
    assert encoded is not None
    assert encoded.encode() == _core.Data.decode(encoded.encode()).encode()
    data = Data()
    for index, value in values.items():
        data[index] = value
    again = data_of(data)
    assert again is not None
    assert again.encode() == encoded.encode()
    assert as_plain(data) == expected_of(values)
    assert as_plain(copy_of(data)) == expected_of(values)


@pytest.fixture(scope="module")
def at_rest() -> Iterator[Post]:
    """Handlers that only feed() brings anything."""
    with Rig() as rig:
        yield Post(rig)


@given(values=TREES, others=TREES, targets=st.lists(st.integers(1, 200), max_size=5))
@settings(max_examples=60, deadline=None)
def test_packets_come_back_through_a_handler(
    at_rest: Post, values: dict[int, Any], others: dict[int, Any], targets: list[int]
) -> None:
    seen: list[dict[int, Any]] = []

    def handler(packet: Packet) -> None:
        seen.append(as_plain(packet.data))
        packet.set_data(others)
        packet.set_target_peers(targets)

    got = judged(at_rest, handler, data=data_of(values), targets=targets)
    assert seen == [expected_of(values)]
    assert type(got) is bytes
    made = _core.Packet.decode(got)
    assert made.data is not None
    assert made.data.encode() == data_of(others).encode()  # type: ignore[union-attr]
    assert sorted(set(made.targets)) == sorted(set(targets))
    assert made.sender == 1


# Packets


@pytest.fixture
def post() -> Iterator[Post]:
    with Rig() as rig:
        yield Post(rig)


def packet_of(post: Post, op_code: int = 5, *, sender: int = 1, reliable: bool = True, **fields: Any) -> Packet:
    """A packet that a handler has kept."""
    kept: list[Packet] = []
    handlers = post.more_handlers()
    handlers.on_packet(op_code, kept.append)
    handlers.feed(post.rig.now, sender, _core.Packet(op_code, **fields).encode(), reliable)
    assert not post.owner.failures
    return kept[0]


def judged(post: Post, handler: Callable[[Packet], object], **fields: Any) -> bool | bytes | None:
    """What becomes of a packet that this handler gets."""
    handlers = post.more_handlers()
    handlers.on_packet(5, handler)
    result = handlers.feed(post.rig.now, 1, _core.Packet(5, **fields).encode(), True)
    if post.owner.failures:
        raise post.owner.failures.pop()[0]
    return result


def test_a_packet_s_fields(post: Post) -> None:
    packet = packet_of(post, 2**31 - 1, sender=2, data={1: 5}, payload=b"p", targets=(4, 2, 255))
    assert packet.op_code == packet.get_op_code() == 2**31 - 1
    assert packet.data is packet.get_data()
    assert packet.data[1] == 5
    assert packet.get_payload() == b"p"
    assert packet.get_target_players() == [2, 4, 255]
    assert packet.is_reliable() is True
    sender = packet.get_sender()
    assert type(sender) is Player
    assert sender.get_peer_id() == 2
    assert repr(packet) == "Packet(op_code=2147483647, sender=2)"
    assert packet_of(post, reliable=False).is_reliable() is False


def test_a_packet_without_anything(post: Post) -> None:
    packet = packet_of(post)
    assert (len(packet.data), packet.get_payload(), packet.get_target_players()) == (0, None, [])


def test_targets_of_the_server(post: Post) -> None:
    assert packet_of(post, targets=(0,)).get_target_players() == [0]
    assert packet_of(post, targets=(0, 1)).get_target_players() == [0, 1]


@pytest.mark.parametrize("late", [False, True])
def test_a_packet_that_is_kept_stays_right(rig_with_traffic: tuple[Rig, list[Packet]], late: bool) -> None:
    """Its bytes lie in the relay's buffer, which the next packets are written over."""
    rig, kept = rig_with_traffic
    if late:
        gc.collect()
    rig.close()
    for number, packet in enumerate(kept):
        assert packet.get_payload() == b"payload %d" % number
        assert packet.data.get_string(2) == f"text {number}"
        assert packet.get_data().get_number(1) == number
        assert packet.get_target_players() == [2]


@pytest.fixture
def rig_with_traffic() -> Iterator[tuple[Rig, list[Packet]]]:
    with Rig() as rig:
        post = Post(rig)
        kept: list[Packet] = []
        post.handlers.on_packet(5, kept.append)
        line, sender = rig.join(1), rig.post(1)
        rig.join(2)
        for number in range(20):
            body = _core.Packet(
                5, data={1: number, 2: f"text {number}"}, payload=b"payload %d" % number, targets=[2]
            ).frame()
            if number % 2:
                line.put(body)
            else:
                sender.send(body)
        line.put(*(_core.Packet(6, payload=b"\xee" * 900).frame() for _ in range(50)))
        yield rig, kept


def test_changes_after_the_callback_change_nothing(post: Post) -> None:
    kept: list[Packet] = []
    assert judged(post, kept.append, data={1: 1}) is True
    kept[0].set_payload(b"late").set_data({9: 9}).set_target_peers([1])
    kept[0].data[3] = 3
    assert judged(post, lambda packet: None, data={1: 1}) is True


def test_looking_changes_nothing(post: Post) -> None:
    def look(packet: Packet) -> None:
        packet.data.get_number(1)
        packet.get_payload()
        packet.get_target_players()
        packet.get_sender()
        assert 1 in packet.data

    assert judged(post, look, data={1: 1}, payload=b"p", targets=(2,)) is True


@pytest.mark.parametrize(
    "change",
    [
        lambda packet: packet.set_payload(b"other"),
        lambda packet: packet.set_data({1: 2}),
        lambda packet: packet.set_target_peers([3]),
        lambda packet: packet.data.set_number(1, 2),
        lambda packet: packet.data.__delitem__(1),
    ],
)
def test_any_change_replaces_it(post: Post, change: Callable[[Packet], object]) -> None:
    def handler(packet: Packet) -> None:
        change(packet)

    assert type(judged(post, handler, data={1: 1})) is bytes


def test_setters_give_the_packet(post: Post) -> None:
    packet = packet_of(post)
    assert packet.set_data(None) is packet.set_payload(None) is packet.set_target_peers([]) is packet


def test_set_data_takes_what_it_is_then(post: Post) -> None:
    mine = Data().set_number(1, 1)

    def handler(packet: Packet) -> None:
        packet.set_data(mine)
        mine.set_number(1, 2)
        packet.data.set_number(2, 3)

    got = judged(post, handler)
    assert type(got) is bytes
    assert _core.Packet.decode(got).data.to_dict() == {1: 1, 2: 3}  # type: ignore[union-attr]
    assert mine.keys() == [1]


def test_set_data_of_what_lies_inside_leaves_the_outside_alone(post: Post) -> None:
    outer = Data().set_data(1, {5: 5})

    def handler(packet: Packet) -> None:
        packet.set_data(outer.get_data(1))
        packet.data.set_number(5, 6)

    assert judged(post, handler) is not True
    assert outer[1][5] == 5


@pytest.mark.parametrize("value", [5, "x", [], Hostile(), b"", type("Dict", (dict,), {})()])
def test_set_data_refuses(post: Post, value: Any) -> None:
    with pytest.raises(TypeError, match="data or a dict"):
        packet_of(post).set_data(value)


def test_set_data_refuses_and_nothing_is_changed(post: Post) -> None:
    def handler(packet: Packet) -> None:
        for value in ({1: None}, {0: 1}, nest(32)):
            with pytest.raises((TypeError, ValueError)):
                packet.set_data(value)
        with pytest.raises(TypeError):
            packet.set_payload("text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="255"):
            packet.set_target_peers([256])

    assert judged(post, handler, data={1: 1}) is True


@pytest.mark.parametrize("value", ["x", bytearray(b"x"), memoryview(b""), 5, Hostile(), type("B", (bytes,), {})()])
def test_set_payload_takes_bytes(post: Post, value: Any) -> None:
    with pytest.raises(TypeError, match="bytes or None"):
        packet_of(post).set_payload(value)


def test_the_payload_s_size(post: Post) -> None:
    packet = packet_of(post)
    packet.set_payload(b"x" * 16_384)
    with pytest.raises(ValueError, match="at most 16384"):
        packet.set_payload(b"x" * 16_385)
    assert len(packet.get_payload() or b"") == 16_384
    assert packet.set_payload(None).get_payload() is None


@pytest.mark.parametrize("value", [5, None, "12", {1}, {1: 1}, range(3), Hostile(), type("L", (list,), {})()])
def test_targets_are_a_list(post: Post, value: Any) -> None:
    with pytest.raises(TypeError, match="peers: a list"):
        packet_of(post).set_target_peers(value)


@pytest.mark.parametrize("element", ["1", 1.0, True, None, Number(1), Hostile(), [1]])
def test_targets_are_ids_or_players(post: Post, element: Any) -> None:
    with pytest.raises(TypeError, match="peers: a list"):
        packet_of(post).set_target_peers([1, element])


@pytest.mark.parametrize("element", [-1, 256, HUGE, -HUGE])
def test_ids_of_targets(post: Post, element: int) -> None:
    with pytest.raises(ValueError, match="0 to 255"):
        packet_of(post).set_target_peers([element])


def test_targets_may_be_players_or_a_tuple(post: Post) -> None:
    packet = packet_of(post)
    assert packet.set_target_peers((packet.get_sender(), 0, 255)).get_target_players() == [1, 0, 255]
    targets = packet.get_target_players()
    targets.append(9)
    assert packet.get_target_players() == [1, 0, 255]


def test_the_number_of_targets(post: Post) -> None:
    packet = packet_of(post)
    packet.set_target_peers([1] * 255)
    with pytest.raises(ValueError, match="at most 255"):
        packet.set_target_peers([1] * 256)


def test_attributes_are_not_written(post: Post) -> None:
    packet = packet_of(post)
    for name in ("op_code", "data", "sender", "home", "more"):
        with pytest.raises(AttributeError):
            setattr(packet, name, 1)


# What the handlers are fed with


@pytest.mark.parametrize("body", [b"", b"\xff", b"\x08", b"\x72\x7f"])
def test_feed_refuses_what_the_relay_would_drop(post: Post, body: bytes) -> None:
    post.handlers.on_every_packet(lambda packet: None)
    try:
        result = post.handlers.feed(post.rig.now, 1, body, True)
    except _core.ProtocolError:
        return
    assert result in (None, True)


def test_feed_wants_bytes(post: Post) -> None:
    with pytest.raises(TypeError, match="bytes"):
        post.handlers.feed(post.rig.now, 1, bytearray(b"\x08\x0a"), True)  # type: ignore[arg-type]


def test_feed_says_what_became_of_it(post: Post) -> None:
    answers: list[object] = [None, False]
    post.handlers.on_packet(5, lambda packet: answers.pop(0))
    body = _core.Packet(5).encode()
    assert post.handlers.feed(0, 1, _core.Packet(6).encode(), True) is None
    assert post.handlers.feed(0, 1, body, True) is True
    assert post.handlers.feed(0, 1, body, True) is False


# The same from a script


def test_a_script_gets_the_same_answers() -> None:
    with Play(
        """
        class Five:
            def __eq__(self, other):
                print("eq")
                return True
            def __hash__(self):
                return 5
            def __len__(self):
                print("len")
                return 1

        def attempt(what):
            try:
                what()
                print("taken")
            except TypeError:
                print("TypeError")
            except ValueError:
                print("ValueError")

        def on_packet(packet):
            data = packet.data
            attempt(lambda: data.set_number(Five(), 1))
            attempt(lambda: data.set_number(1, Five()))
            attempt(lambda: data.set_float_array(1, [Five()]))
            attempt(lambda: data.set_float_array(1, Five()))
            attempt(lambda: data.set_data(1, {Five(): 1}))
            attempt(lambda: packet.set_target_peers([Five()]))
            attempt(lambda: packet.set_payload(Five()))
            attempt(lambda: data.set_double(1, float("nan")))
            attempt(lambda: data.set_double(1, 10 ** 400))
            attempt(lambda: data.set_string(1, chr(0xd800)))
            attempt(lambda: data.set_string(1, "ok"))
            print(Five() in data)
        """
    ) as play:
        play.connect(1)
        play.feed(5)
        assert play.texts == [
            *["TypeError"] * 7,
            *["ValueError"] * 3,
            "taken",
            "False",
        ]


def test_bombs_of_data_end_within_the_budget() -> None:
    bombs = {
        "doubling": "d = session.new_data()\nfor i in range(60):\n    e = session.new_data()\n"
        "    e.set_data(1, d)\n    e.set_data(2, d)\n    d = e",
        "again and again": "d = session.new_data()\nt = 'x' * 16000\nwhile True:\n"
        "    for i in range(1, 60):\n        d.set_string(i, t)\n    e = session.new_data().set_data(1, d)",
        "many": "held = []\nwhile True:\n    held.append(session.new_data().set_string(1, 'x' * 16000))",
        "shared dict": "d = {1: 1}\nfor i in range(45):\n    d = {1: d, 2: d}\nsession.send(1, d)",
        "reading": "d = session.new_data()\nfor i in range(1, 100):\n    d.set_float_array(i, [1.5] * 4)\n"
        "while True:\n    for i in range(1, 100):\n        d.get_float_array(i)",
    }
    for name, bomb in bombs.items():
        body = "\n".join("    " + line for line in bomb.splitlines())
        with Play(f"def on_packet(packet):\n{body}\n") as play:
            play.feed(5)
            assert len(play.errors) == 1, name
            assert play.sent == [], name
