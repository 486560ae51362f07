"""Python SDK: `Session` joins one session on a server, as the official SDKs do."""

from __future__ import annotations

from gsrt._core import Data, Packet
from gsrt.client.session import Session
from gsrt.protocol.rt import Intent

__all__ = ["Data", "Intent", "Packet", "Session"]
