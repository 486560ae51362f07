"""The modules whose objects scripts hold, and those which such objects are made with."""

from __future__ import annotations

from gsrt import _guest
from gsrt.scripts import api, arguments, capabilities, event_api, log_api, random_api, request_api

OFFERED = (_guest, api, arguments, capabilities, event_api, log_api, random_api, request_api)
OFFERED_NAMES = frozenset(module.__name__ for module in OFFERED)
