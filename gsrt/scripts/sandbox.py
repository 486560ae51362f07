"""What all scripts of a server share: the meter that bounds them, the names they find, the log they write to."""

from __future__ import annotations

from gsrt._core import Data as CoreData
from gsrt._guard import ScriptType, builtins, guards
from gsrt._guest import Data, Packet, QuotaError, Turn
from gsrt._meter import Meter
from gsrt.scripts.api import PacketBuilder
from gsrt.scripts.event_api import Event
from gsrt.scripts.quality import Quality
from gsrt.scripts.request_api import Request, Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gsrt.profile import Profile
    from gsrt.scripts.journal import Journal


class Sandbox:
    """Made with the first script. `clock` gives seconds for the time of a turn (None: the monotonic clock)."""

    def __init__(self, profile: Profile, journal: Journal, clock: Callable[[], float] | None = None) -> None:
        self.profile = profile
        self.journal = journal
        self.meter = Meter(profile.script_gas, profile.script_cpu_ms, profile.script_memory_bytes)
        self.meter.script_type = ScriptType
        self.meter.host_types = frozenset((Data, CoreData, Packet, PacketBuilder, Quality, Request, Response, Event))
        self.turn = Turn(profile.script_turn_ms, profile.script_turn_all_ms, clock)
        # One dictionary for all scripts: they can neither name it nor change what is in it.
        self.builtins: dict[str, object] = {
            **builtins(self.meter),
            **guards(self.meter),
            "QuotaError": QuotaError,
        }
