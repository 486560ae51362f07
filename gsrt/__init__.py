"""A lean, self-hosted real-time game server that GameSparks Real-Time clients connect to unmodified."""

from __future__ import annotations

__version__ = "0.1.0"

DEFAULT_PORT = 8784  # TCP and UDP, where neither the host nor the game says another
