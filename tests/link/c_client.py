"""The C client of the link (clients/c) for Python: compiled into a folder of the tests, loaded, and given the same face
as `LinkEndpoint` has, so that a test can drive either."""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import cffi

SOURCES = Path(__file__).resolve().parents[2] / "clients" / "c"
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror"]
MODULE = "gsrt_link_c"

# enum gsrt_link_state, gsrt_link_event_type, gsrt_link_result
IDLE, GREETING, ENTERING, OPEN, FAILED, CLOSED = range(6)
READY, MESSAGE, PEER_CONNECTED, PEER_DISCONNECTED, SILENT, REFUSED_EVENT, CLOSED_EVENT = range(1, 8)
SENT, NOT_OPEN, FULL, TOO_LONG, BAD_ARGUMENT = range(5)
# Test runs are repeatable: what is random in them comes from a seed (SplitMix64, one for each link).
RANDOM = """
#define GSRT_LINK_SODIUM
#include "gsrt_link.h"
#include <sodium.h>
static void seeded_random(void *context, uint8_t *out, size_t size)
{
    uint64_t *state = context;
    for (size_t i = 0; i < size; i++) {
        uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
        mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
        out[i] = (uint8_t)(mixed ^ mixed >> 31);
    }
}
"""


def declarations() -> str:
    """The header as cffi reads it: without what is for the preprocessor."""
    text = (SOURCES / "gsrt_link.h").read_text()
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.DOTALL)
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return text + "\nvoid seeded_random(void *context, uint8_t *out, size_t size);\nint sodium_init(void);\n"


def compile_object(directory: Path, compiler: str = "cc") -> Path:
    """gsrt_link.c with every warning an error."""
    made = directory / "gsrt_link.o"
    options = ["-O2", "-fPIC", "-DGSRT_LINK_SODIUM", "-c", str(SOURCES / "gsrt_link.c"), "-o", str(made)]
    subprocess.run([compiler, *WARNINGS, *options], check=True)
    return made


@functools.cache
def build(directory: Path) -> Any:
    """The module of cffi, out of line: `ffi` and `lib`. Made once for each directory in a test run."""
    directory.mkdir(exist_ok=True)
    ffi = cffi.FFI()
    ffi.cdef(declarations())
    made = str(compile_object(directory))
    ffi.set_source(MODULE, RANDOM, include_dirs=[str(SOURCES)], extra_objects=[made], libraries=["sodium"])
    path = ffi.compile(tmpdir=str(directory))
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.lib.sodium_init() >= 0
    return module


class Event:
    """One event, its pointers copied."""

    def __init__(self, ffi: Any, event: Any) -> None:
        def copied(pointer: Any, size: int) -> bytes:
            return bytes(ffi.buffer(pointer, size)) if size else b""

        self.type: int = event.type
        self.op_code: int = event.op_code
        self.sender: int = event.sender
        self.kind: int = event.kind
        self.channel: int = event.channel
        self.packet = copied(event.packet, event.packet_size)
        self.data = copied(event.data, event.data_size)
        self.payload = copied(event.payload, event.payload_size)
        self.peer: int = event.peer
        self.peers = list(copied(event.peers, event.peer_count))
        self.token = copied(event.token, event.token_size).decode()
        self.reason: int = event.reason
        self.text = ffi.string(event.text).decode() if event.text else ""


class CLink:
    """One link of the C client. Its memory is just as large as it says it needs, between two guards."""

    GUARD = b"\xa5" * 64

    def __init__(self, module: Any, token: str, seed: int, *, small: bool = False, **fields: Any) -> None:
        self.ffi, self.lib = module.ffi, module.lib
        self.config = self.ffi.new("gsrt_link_config *")
        (self.lib.gsrt_link_config_small if small else self.lib.gsrt_link_config_default)(self.config)
        secret = token.encode()
        kept = self.ffi.new("char[]", secret)
        self._random = self.ffi.new("uint64_t *", seed)
        self._crypto = self.ffi.new("gsrt_link_crypto *", self.lib.gsrt_link_sodium)
        self.config.token, self.config.token_size = kept, len(secret)
        self.config.crypto = self._crypto
        self.config.random = self.ffi.addressof(self.lib, "seeded_random")
        self.config.random_context = self._random
        for name, value in fields.items():
            setattr(self.config, name, value)
        self.memory_bytes: int = self.lib.gsrt_link_memory(self.config)
        if self.memory_bytes == 0:
            raise ValueError("a field of the configuration is out of its bounds")
        guard = len(self.GUARD)
        self._memory = self.ffi.new("uint8_t[]", self.memory_bytes + 2 * guard)
        self._guards = [self.ffi.buffer(self._memory + at, guard) for at in (0, guard + self.memory_bytes)]
        for place in self._guards:
            place[:] = self.GUARD
        self.link = self.lib.gsrt_link_init(self._memory + guard, self.memory_bytes, self.config)
        assert self.link != self.ffi.NULL
        self._buffer = self.ffi.new("uint8_t[]", self.lib.GSRT_LINK_DATAGRAM_MAX)
        self._event = self.ffi.new("gsrt_link_event *")
        self._quality = self.ffi.new("gsrt_link_quality *")

    def check(self) -> None:
        """Nothing was written beside the link's memory."""
        assert all(bytes(place) == self.GUARD for place in self._guards)

    @property
    def state(self) -> int:
        return int(self.lib.gsrt_link_state(self.link))

    def connect(self, now: float) -> bool:
        return bool(self.lib.gsrt_link_connect(self.link, now))

    def receive_datagram(self, datagram: bytes, now: float) -> bool:
        # A copy of just its size, so that a sanitizer sees reading beyond it.
        copy = self.ffi.new("uint8_t[]", datagram) if datagram else self.ffi.NULL
        return bool(self.lib.gsrt_link_receive(self.link, copy, len(datagram), now))

    def datagrams_to_send(self, now: float) -> list[bytes]:
        made: list[bytes] = []
        while size := self.lib.gsrt_link_poll_datagram(self.link, self._buffer, len(self._buffer), now):
            made.append(bytes(self.ffi.buffer(self._buffer, size)))
            assert len(made) < 10_000
        return made

    def next_timer(self) -> float:
        return float(self.lib.gsrt_link_next_timer(self.link))

    def handle_timer(self, now: float) -> None:
        self.lib.gsrt_link_handle_timer(self.link, now)

    def send(self, packet: bytes, kind: int, channel: int, now: float) -> int:
        return int(self.lib.gsrt_link_send(self.link, packet, len(packet), kind, channel, now))

    def next_event(self) -> Event | None:
        if not self.lib.gsrt_link_next_event(self.link, self._event):
            return None
        return Event(self.ffi, self._event)

    def close(self, reason: int, text: str, now: float) -> None:
        self.lib.gsrt_link_close(self.link, reason, self.ffi.new("char[]", text.encode()), now)

    def path_changed(self, now: float) -> None:
        self.lib.gsrt_link_path_changed(self.link, now)

    def quality(self) -> dict[str, float]:
        self.lib.gsrt_link_quality_of(self.link, self._quality)
        return {name: getattr(self._quality, name) for name, _ in self.ffi.typeof(self._quality[0]).fields}
