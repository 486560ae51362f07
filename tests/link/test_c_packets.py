"""RT packets and RTData as the C client writes and reads them."""

from __future__ import annotations

from typing import Any

import pytest

from gsrt._core import Data, Float32, Packet
from tests.link import c_client


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return c_client.build(tmp_path_factory.getbasetemp() / "c_client")


def write_packet(module: Any, **fields: Any) -> bytes:
    ffi, lib = module.ffi, module.lib
    packet = ffi.new("gsrt_packet *")
    buffers = []
    for name, value in fields.items():
        if isinstance(value, bytes):
            buffers.append(ffi.new("uint8_t[]", value or b"\0"))
            setattr(packet, name, buffers[-1])
            setattr(packet, "target_count" if name == "targets" else f"{name}_size", len(value))
        else:
            setattr(packet, name, value)
    out = ffi.new("uint8_t[]", 4096)
    size = lib.gsrt_packet_write(out, len(out), packet)
    assert lib.gsrt_packet_write(out, size - 1, packet) == 0
    assert lib.gsrt_packet_write(out, size, packet) == size
    return bytes(ffi.buffer(out, size))


@pytest.mark.parametrize("op_code", [1, 63, 64, 100_000, 2**31 - 1, 0, -1, -101, -(2**31)])
def test_packets_are_written_as_ours(module: Any, op_code: int) -> None:
    made = write_packet(module, op_code=op_code, targets=b"\x03\x02", data=b"\x08\x05", payload=bytes(200))
    assert made == Packet(op_code, targets=(3, 2), data=Data({1: -3}), payload=bytes(200)).encode()
    for sequence in (0, 5, -1, 2**31 - 1, -(2**31)):
        made = write_packet(module, op_code=op_code, has_sequence=True, sequence=sequence)
        assert made == Packet(op_code, sequence=sequence).encode()


def read_packet(module: Any, data: bytes) -> Any:
    """The gsrt_packet, None if it is none. Of it: opCode, sequence, sender, data, payload."""
    ffi, lib = module.ffi, module.lib
    packet = ffi.new("gsrt_packet *")
    copy = ffi.new("uint8_t[]", data or b"\0")
    if not lib.gsrt_packet_read(packet, copy, len(data)):
        return None

    def copied(pointer: Any, size: int) -> bytes | None:
        return bytes(ffi.buffer(pointer, size)) if pointer else None

    return (
        packet.op_code,
        packet.sequence if packet.has_sequence else None,
        packet.sender,
        copied(packet.data, packet.data_size),
        copied(packet.payload, packet.payload_size),
    )


@pytest.mark.parametrize("op_code", [1, 100_000, 2**31 - 1, 0, -101, -(2**31)])
@pytest.mark.parametrize("sequence", [None, 0, -1, 2**31 - 1, -(2**31)])
def test_packets_are_read(module: Any, op_code: int, sequence: int | None) -> None:
    packet = Packet(
        op_code, sender=255, targets=(1, 2), sequence=sequence, data=Data({1: -3}), payload=b"pay", reliable=False
    )
    assert read_packet(module, packet.encode()) == (op_code, sequence, 255, b"\x08\x05", b"pay")


def test_what_is_no_packet(module: Any) -> None:
    whole = Packet(5, data=Data({1: "text"}), payload=b"pay").encode()
    assert read_packet(module, whole) is not None
    for size in range(len(whole)):
        got = read_packet(module, whole[:size])
        assert got is None or size in (2, len(whole) - 5)
    for broken in (
        b"\x10\x00",
        b"\x08\x80\x80\x80\x80\x10",
        b"\x08\x02\x3a\x01\x00",
        b"\x08\x02\x28\x80\x02",
        b"\x08\x02\x0b",
    ):
        assert read_packet(module, broken) is None


def test_data_is_that_of_ours(module: Any) -> None:
    ffi, lib = module.ffi, module.lib
    writer = ffi.new("gsrt_data_writer *")
    room = ffi.new("uint8_t[]", 256)
    writer.bytes, writer.capacity = room, 256
    for slot, value in ((1, 0), (2, -1), (3, 2**63 - 1), (4, -(2**63))):
        lib.gsrt_data_put_long(writer, slot, value)
    lib.gsrt_data_put_float(writer, 5, 1.5)
    lib.gsrt_data_put_double(writer, 6, 0.1)
    lib.gsrt_data_put_string(writer, 7, "grün".encode(), 5)
    lib.gsrt_data_put_vector(writer, 16, [1.0, 2.0, -3.5], 3)
    lib.gsrt_data_put_data(writer, 127, b"\x08\x0e", 2)
    assert not writer.failed
    made = bytes(ffi.buffer(room, writer.size))
    expected = {1: 0, 2: -1, 3: 2**63 - 1, 4: -(2**63), 5: Float32(1.5), 6: 0.1, 7: "grün"}
    assert made == Data({**expected, 16: (1.0, 2.0, -3.5), 127: Data({1: 7})}).encode()

    copy = ffi.new("uint8_t[]", made)
    number, real, wide = ffi.new("int64_t *"), ffi.new("float *"), ffi.new("double *")
    text, inner, count, vector = ffi.new("char **"), ffi.new("uint8_t **"), ffi.new("size_t *"), ffi.new("float[4]")
    for slot in range(1, 5):
        assert lib.gsrt_data_get_long(copy, len(made), slot, number) and number[0] == expected[slot]
    assert lib.gsrt_data_get_float(copy, len(made), 5, real) and real[0] == 1.5
    assert lib.gsrt_data_get_double(copy, len(made), 6, wide) and wide[0] == 0.1
    assert lib.gsrt_data_get_string(copy, len(made), 7, text, count)
    assert bytes(ffi.buffer(text[0], count[0])).decode() == "grün"
    assert lib.gsrt_data_get_vector(copy, len(made), 16, vector, count) and list(vector)[: count[0]] == [1, 2, -3.5]
    assert lib.gsrt_data_get_data(copy, len(made), 127, inner, count)
    assert bytes(ffi.buffer(inner[0], count[0])) == b"\x08\x0e"
    assert not lib.gsrt_data_get_long(copy, len(made), 5, number)
    assert not lib.gsrt_data_get_float(copy, len(made), 6, real)
    assert not lib.gsrt_data_get_vector(copy, len(made), 7, vector, count)
    assert not lib.gsrt_data_get_long(copy, len(made), 99, number)


def test_data_that_has_no_room(module: Any) -> None:
    ffi, lib = module.ffi, module.lib
    for capacity in range(7):
        writer = ffi.new("gsrt_data_writer *")
        room = ffi.new("uint8_t[]", capacity) if capacity else ffi.NULL
        writer.bytes, writer.capacity = room, capacity
        lib.gsrt_data_put_string(writer, 1, b"abc", 3)
        assert writer.failed == (capacity < 7) and writer.size == 0
    for slot in (0, 128, -1):
        writer = ffi.new("gsrt_data_writer *")
        room = ffi.new("uint8_t[]", 32)
        writer.bytes, writer.capacity = room, 32
        lib.gsrt_data_put_long(writer, slot, 1)
        assert writer.failed and writer.size == 0
