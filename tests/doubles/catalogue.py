"""Every kind of client and leg by a short name, for tests that want them all."""

from __future__ import annotations

from tests.doubles.base import Double
from tests.doubles.cplusplus import CppDouble, CppXboxDouble
from tests.doubles.csharp import CSharpDouble, CSharpWebSocketDouble
from tests.doubles.javascript import JavaScriptDouble
from tests.support.link import LossyLink

STREAMING = ("cpp", "cs", "cpp-plain", "cs-plain", "cs-without-udp", "cs-plain-without-udp")
MESSAGING = ("cs-wss", "js-wss", "xbox-wss", "cs-ws", "js-ws", "xbox-ws")
KINDS = STREAMING + MESSAGING


def make(
    kind: str,
    name: str,
    host: str,
    port: int,
    token: str,
    *,
    pace: float = 0.1,
    seed: int = 1,
    link: LossyLink | None = None,
) -> Double:
    """A double of KINDS, not yet started.

    "cpp" and "cs": TLS and UDP; "-plain": TCP without TLS, and UDP; "-without-udp": every datagram is lost;
    "-wss" and "-ws": WebSocket with and without TLS.
    """
    sdk, _, leg = kind.partition("-")
    if kind in MESSAGING:
        socket_class = {"cs": CSharpWebSocketDouble, "js": JavaScriptDouble, "xbox": CppXboxDouble}[sdk]
        return socket_class(name, host, port, token, secure=leg == "wss", pace=pace, seed=seed)
    if kind not in STREAMING:
        raise ValueError(f"no such kind of client: {kind}")
    streaming_class = {"cpp": CppDouble, "cs": CSharpDouble}[sdk]
    if leg.endswith("without-udp"):
        link = LossyLink(seed, loss=1.0)
    return streaming_class(name, host, port, token, secure=not leg.startswith("plain"), pace=pace, seed=seed, link=link)
