"""A changed script takes over from the one at work: what is handed over, and the trial before.

The new one is first run beside the old: its top level, `on_reload`, then the session's last packets, one in a turn of
the loop. What it sends meanwhile goes nowhere. Only when nothing failed, it is begun once more, for good.
"""

from __future__ import annotations

from gsrt._guest import Data, copy_of
from gsrt.scripts.api import Player
from gsrt.scripts.guest import Guest, ScriptError
from gsrt.scripts.quality import Quality

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.quality import Figures

NODES_MAX = 20_000  # values handed over, each in a container counted: some 10 ms of a small box
DEPTH_MAX = 50
SCALARS = (type(None), bool, int, float, str, bytes, Quality)


class _NotPlain(Exception):
    """A value that is not handed over."""


def state_of(guest: Guest, players: dict[int, Player]) -> tuple[dict[str, Any], list[str]]:
    """Copies of the script's top-level variables that are plain values, by name; and the names of those left out.

    Plain are None, numbers, strings, bytes, lists, tuples, dicts and sets of these, Data, Quality, and players, which
    become those of `players`. Functions and classes are no state; objects of its own classes belong to the old code."""
    state: dict[str, Any] = {}
    left_out: list[str] = []
    copier = _Copier(players)
    for name, value in guest.globals.items():
        if name in ("session", "print") or name.startswith("_") or type(value) is type(state_of):
            continue
        try:
            state[name] = copier.copy(value, 0)
        except _NotPlain:
            if not isinstance(value, type):
                left_out.append(name)
    return state, left_out


class _Copier:
    def __init__(self, players: dict[int, Player]) -> None:
        self._players = players
        self._out: dict[tuple[int, str], Player] = {}
        self._left = NODES_MAX

    def copy(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > DEPTH_MAX:
            raise _NotPlain
        kind = type(value)
        if kind in SCALARS:
            return value
        if kind is list or kind is tuple or kind is set:
            if len(value) > self._left:
                raise _NotPlain
            return kind([self.copy(each, depth + 1) for each in value])
        if kind is dict:
            if len(value) > self._left:
                raise _NotPlain
            return {self.copy(key, depth + 1): self.copy(each, depth + 1) for key, each in value.items()}
        if kind is Player:
            return self._player(value)
        if kind is Data:
            return copy_of(value)
        raise _NotPlain

    def _player(self, old: Player) -> Player:
        """The same player to the other script. The match may go on without it."""
        found = self._players.get(old.peer_id)
        if found is not None and found.player_id == old.player_id:
            return found
        if not self._players:
            raise _NotPlain
        kin = next(iter(self._players.values()))
        return self._out.setdefault(
            (old.peer_id, old.player_id), Player(kin._capabilities, old.peer_id, old.player_id, is_out=True)
        )


class Nowhere:
    """The surroundings of a script on trial: nothing that it does reaches anyone. `quality(peer_id)`: what is known of
    the way to a player."""

    def __init__(self, quality: Callable[[int], Figures | None] = lambda peer_id: None) -> None:
        self.trouble = ""
        self._quality = quality

    def deliver(self, frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> None:
        """Nobody gets it."""

    def later(self, when: float, callback: Callable[[float], None]) -> None:
        """Never."""

    def cancel(self, timer: Any) -> None:
        """There are none."""

    def quality(self, peer_id: int, at: int) -> Figures | None:
        """As the session has it; no recording hears of it."""
        return self._quality(peer_id)

    def kick(self, peer_id: int, reason: str) -> None:
        """Nobody goes."""

    def log(self, level: str, text: str, now: float) -> None:
        """Keeps the first error."""
        if level == "error" and not self.trouble:
            self.trouble = text

    def request(
        self, name: str, player_id: str | None, fields: dict[str, object], done: Callable[[dict[str, object]], None]
    ) -> None:
        """Nobody answers."""

    def switched_off(self, reason: str) -> None:
        """It would have been."""


class Trial:
    """A new version of one session's script, tried step by step: `step(now)` until it gives True (it has passed);
    ScriptError: it has not."""

    def __init__(
        self,
        make: Callable[[Compiled, Nowhere], Guest],
        compiled: Compiled,
        old: Guest,
        quality: Callable[[int], Figures | None],
    ) -> None:
        self._surroundings = Nowhere(quality)
        self._guest = make(compiled, self._surroundings)
        self._old = old
        self._packets: list[tuple[int, bytes, bool]] | None = None

    def step(self, now: float) -> bool:
        """Does the next of the trial's steps."""
        guest = self._guest
        if self._packets is None:
            state, _ = state_of(self._old, guest.handlers.players)
            guest.load(now, self._old.here_now, state)
            self._packets = self._old.handlers.last_packets()
        elif self._packets:
            sender, body, reliable = self._packets.pop(0)
            guest.handlers.feed(now, sender, body, reliable)
        if guest.failures or guest.strikes:
            raise ScriptError(f"on the session's last packets: {self._surroundings.trouble}")
        if not self._packets:
            guest.close()
            return True
        return False
