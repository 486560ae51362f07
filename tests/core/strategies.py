"""Hypothesis strategies for packets and data, and the plain model they are checked against.

The model of data is a dict of slot to (type name, value), strings as bytes, as in tests/support/wire.py.
"""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from gsrt._core import MAX_SLOT, Data, Packet
from tests.support.wire import DataDict

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
FLOAT32 = st.floats(width=32, allow_nan=False)
EDGE_LONGS = st.sampled_from([0, -1, 63, 64, -64, -65, 1 << 31, -(1 << 31), (1 << 53) - 1, (1 << 63) - 1, -(1 << 63)])

VALUES: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.just("long"), INT64 | EDGE_LONGS),
    st.tuples(st.just("float"), FLOAT32),
    st.tuples(st.just("double"), st.floats(allow_nan=False)),
    st.tuples(st.just("string"), st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode())),
    st.tuples(st.just("vector"), st.lists(FLOAT32, max_size=4).map(tuple)),
)
SLOTS = st.integers(1, MAX_SLOT) | st.sampled_from([1, 15, 16, 127])


def _nest(inner: st.SearchStrategy[DataDict]) -> st.SearchStrategy[DataDict]:
    return st.dictionaries(SLOTS, VALUES | st.tuples(st.just("data"), inner), max_size=5)


MODELS: st.SearchStrategy[DataDict] = st.recursive(st.dictionaries(SLOTS, VALUES, max_size=20), _nest, max_leaves=12)


def set_value(data: Data, slot: int, kind: str, value: Any) -> None:
    """Set one value of the model by its typed setter."""
    if kind == "data":
        data.set_data(slot, build(value))
    else:
        getattr(data, f"set_{kind}")(slot, value)


def build(model: DataDict) -> Data:
    """The Data that a model describes."""
    data = Data()
    for slot, (kind, value) in model.items():
        set_value(data, slot, kind, value)
    return data


def read(data: Data) -> DataDict:
    """The model of a Data, by its typed getters."""
    model: DataDict = {}
    for slot in data:
        kinds = [kind for kind in KINDS if getattr(data, f"has_{kind}")(slot)]
        assert len(kinds) == 1, f"slot {slot} is {kinds}"
        (kind,) = kinds
        if kind == "data":
            inner = data.get_data(slot)
            assert inner is not None
            model[slot] = (kind, read(inner))
        else:
            model[slot] = (kind, data.get_bytes(slot) if kind == "string" else getattr(data, f"get_{kind}")(slot))
        for other in KINDS:
            assert (getattr(data, f"get_{other}")(slot) is not None) == (other == kind)
    return model


KINDS = ("long", "float", "double", "string", "vector", "data")


def bits(model: DataDict) -> Any:
    """The model with floats as their bytes: minus zero and not-a-number compare as what they are."""
    formats = {"float": "<f", "double": "<d"}
    exact: dict[int, Any] = {}
    for slot, (kind, value) in model.items():
        if kind == "data":
            value = bits(value)
        elif kind in formats:
            value = struct.pack(formats[kind], value)
        elif kind == "vector":
            value = struct.pack(f"<{len(value)}f", *value)
        exact[slot] = (kind, value)
    return exact


PACKETS: st.SearchStrategy[Packet] = st.builds(
    Packet,
    INT32,
    data=st.none() | MODELS.map(build),
    payload=st.none() | st.binary(max_size=300),
    targets=st.lists(INT32 | st.integers(0, 64), max_size=6),
    sender=INT32,
    sequence=st.none() | INT32,
    reliable=st.none() | st.booleans(),
    request_id=st.none() | INT32,
)
