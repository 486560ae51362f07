"""Python SDK: `Session` joins one session on a server, as the official SDKs do; `discover` finds servers."""

from __future__ import annotations

from gsrt._core import Data, Packet
from gsrt.client.discovery import Found, discover
from gsrt.client.session import Session
from gsrt.protocol.rt import Intent

__all__ = ["Data", "Found", "Intent", "Packet", "Session", "discover"]
