"""codec.*: gsrt's packet and data codec against protobuf's fastest Python one (upb, compiled), on the same bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.figures import Problem, Record
from benchmarks.gsrt_server import Installation
from benchmarks.workshop import protobuf

RUNS = 15
SLICES = 7  # of each side in a run, in turn; the fastest counts, for nothing but the machine makes the others slower
SLICE_NS = 8_000_000  # processor time of one slice: far above the clock's step

OP_CODE, SEQUENCE, TARGETS, SENDER = 100, 12345, (2, 3), 1
LONG, FLOAT, DOUBLE, STRING, VECTOR = 123456, 1.5, 3.14159, "hello world!", (1.0, 2.0, 3.0)
NESTED_1, NESTED_2 = -5, 70000
VALUES = (OP_CODE, SEQUENCE, TARGETS, SENDER, False, LONG, FLOAT, DOUBLE, STRING, VECTOR, NESTED_1, NESTED_2)
FEW_VALUES = (OP_CODE, SENDER, LONG)

Encode = Callable[[], bytes]
Decode = Callable[[bytes], tuple[Any, ...]]
Parse = Callable[[bytes], object]


def ours() -> tuple[Encode, Decode, Decode, Parse]:
    """Encode, decode and read all values, decode and read three, decode alone: as a user of gsrt writes them."""
    from gsrt._core import Data, Packet

    def encode() -> bytes:
        data = Data()
        data[1] = LONG
        data.set_float(2, FLOAT)
        data[3] = DOUBLE
        data[4] = STRING
        data[5] = VECTOR
        nested = Data()
        nested[1] = NESTED_1
        nested[2] = NESTED_2
        data[6] = nested
        return Packet(OP_CODE, sequence=SEQUENCE, targets=TARGETS, sender=SENDER, data=data).encode()

    def decode(body: bytes) -> tuple[Any, ...]:
        packet: Any = Packet.decode(body)  # Any: the type checker cannot know what the packet holds
        data = packet.data
        nested = data[6]
        return (
            packet.op_code,
            packet.sequence,
            packet.targets,
            packet.sender,
            packet.reliable,
            data[1],
            data.get_float(2),
            data[3],
            data[4],
            data[5],
            nested[1],
            nested[2],
        )

    def few(body: bytes) -> tuple[Any, ...]:
        packet: Any = Packet.decode(body)
        return packet.op_code, packet.sender, packet.data[1]

    return encode, decode, few, Packet.decode


def upb() -> tuple[Encode, Decode, Decode, Parse]:
    """The same with protobuf: messages declared so that they have exactly the RT wire form."""
    protobuf()
    from google.protobuf.internal import api_implementation  # type: ignore[import-untyped]

    if api_implementation.Type() != "upb":
        raise Problem(f"protobuf runs on its {api_implementation.Type()} implementation here, not on upb")
    packet_class = _packet_class()

    def encode() -> bytes:
        packet = packet_class()
        packet.op_code = OP_CODE
        packet.sequence = SEQUENCE
        packet.targets.extend(TARGETS)
        packet.sender = SENDER
        data = packet.data
        data.long = LONG
        data.single = FLOAT
        data.double = DOUBLE
        data.text.text = STRING
        data.vector.vector.extend(VECTOR)
        nested = data.nested.data
        nested.first = NESTED_1
        nested.second = NESTED_2
        return packet.SerializeToString()  # type: ignore[no-any-return]

    def decode(body: bytes) -> tuple[Any, ...]:
        packet = packet_class.FromString(body)
        data = packet.data
        nested = data.nested.data
        return (
            packet.op_code,
            packet.sequence,
            list(packet.targets),
            packet.sender,
            packet.reliable,
            data.long,
            data.single,
            data.double,
            data.text.text,
            tuple(data.vector.vector),
            nested.first,
            nested.second,
        )

    def few(body: bytes) -> tuple[Any, ...]:
        packet = packet_class.FromString(body)
        return packet.op_code, packet.sender, packet.data.long

    return encode, decode, few, packet_class.FromString


def _packet_class() -> Any:
    """Declares the messages at run time, so that no protoc is needed. Optional fields keep "absent" apart from 0."""
    from google.protobuf import (  # type: ignore[import-untyped]
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )

    file = descriptor_pb2.FileDescriptorProto(name="benchmark.proto", package="benchmark", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    schema: dict[str, tuple[tuple[str, int, str], ...]] = {
        "Nested": (("first", 1, "sint64"), ("second", 2, "sint64")),
        "TextValue": (("text", 1, "string"),),
        "VectorValue": (("vector", 2, "packed float"),),
        "DataValue": (("data", 14, "Nested"),),
        "Data": (
            ("long", 1, "sint64"),
            ("single", 2, "float"),
            ("double", 3, "double"),
            ("text", 4, "TextValue"),
            ("vector", 5, "VectorValue"),
            ("nested", 6, "DataValue"),
        ),
        "Packet": (
            ("op_code", 1, "sint32"),
            ("sequence", 2, "int32"),
            ("request_id", 3, "uint32"),
            ("targets", 4, "repeated uint32"),
            ("sender", 5, "uint32"),
            ("reliable", 6, "bool"),
            ("data", 14, "Data"),
            ("payload", 15, "bytes"),
        ),
    }
    for message_name, fields in schema.items():
        message = file.message_type.add(name=message_name)
        for name, number, declared in fields:
            *repetition, kind = declared.split()
            field = message.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if repetition else kinds.LABEL_OPTIONAL
            if repetition == ["packed"]:
                field.options.packed = True
            if kind in schema:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".benchmark.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("benchmark.Packet"))


def comparable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Lists as tuples, and an absent `reliable` (None with us) as False: each side has its own natural types."""
    return tuple(tuple(value) if isinstance(value, list) else False if value is None else value for value in values)


def check(name: str, said: object, expected: object) -> None:
    if said != expected:
        raise Problem(f"{name} is wrong: {said!r}, expected {expected!r}")


class Call:
    """What is timed: a function of no or one argument, called as directly as Python can."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function = function
        self.arguments = arguments

    def timed(self, count: int) -> int:
        """Processor time of so many calls, in nanoseconds."""
        function = self.function
        repetitions = range(count)
        if self.arguments:
            (argument,) = self.arguments
            start = time.process_time_ns()
            for _ in repetitions:
                function(argument)
        else:
            start = time.process_time_ns()
            for _ in repetitions:
                function()
        return time.process_time_ns() - start

    def per_slice(self) -> int:
        """How many calls fill a slice."""
        count = 1000
        while (taken := self.timed(count)) < SLICE_NS // 4:
            count *= 2
        return count * SLICE_NS // taken


def side_by_side(ours: Call, theirs: Call) -> tuple[float, float]:
    """Nanoseconds of one call of each."""
    our_count, their_count = ours.per_slice(), theirs.per_slice()
    slices = [(ours.timed(our_count), theirs.timed(their_count)) for _ in range(SLICES)]
    return min(ours for ours, _ in slices) / our_count, min(theirs for _, theirs in slices) / their_count


def measure(_installation: Installation, runs: int | None, record: Record) -> None:
    our_encode, our_decode, our_few, our_parse = ours()
    their_encode, their_decode, their_few, their_parse = upb()
    body = their_encode()
    check("our packet", our_encode(), body)
    for name, decode, few in (("our reading", our_decode, our_few), ("protobuf's reading", their_decode, their_few)):
        check(name, comparable(decode(body)), VALUES)
        check(name, few(body), FEW_VALUES)
    pairs: dict[str, tuple[Call, Call]] = {
        "encode": (Call(our_encode), Call(their_encode)),
        "decode": (Call(our_decode, body), Call(their_decode, body)),
        "lazy": (Call(our_parse, body), Call(their_parse, body)),
        "few": (Call(our_few, body), Call(their_few, body)),
    }
    for _ in range(runs or RUNS):
        for name, pair in pairs.items():
            our_time, their_time = side_by_side(*pair)
            record.add(f"codec.{name}_vs_upb", their_time / our_time)
            record.add(f"codec.{name}_ns", our_time)
