"""A script at work in one session: what the session tells it and it may do there, until its file has changed.

Not loaded before the first script.
"""

from __future__ import annotations

import os

from gsrt._guest import milliseconds
from gsrt.scripts.journal import BURST_SECONDS, LineBudget
from gsrt.session import KICKED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gsrt.scripts.compiler import Compiled
    from gsrt.scripts.guest import Guest
    from gsrt.scripts.host import Scripts
    from gsrt.scripts.quality import Figures
    from gsrt.scripts.reload import Nowhere
    from gsrt.scripts.tape import Tape
    from gsrt.session import Session
    from gsrt.timers import Timer


class Attached:
    """A script's place in a session: the guest that is at work there, and its surroundings (see gsrt.scripts.guest)."""

    def __init__(self, scripts: Scripts, session: Session, path: str, seed: int, restored: bool = False) -> None:
        self.session = session
        self.path = path
        self.guest: Guest | None = None  # None: switched off
        self.state = "off"  # or "running"
        self.digest: str | None = None  # of the version that is or was at work; None: none has been
        self.reloads = 0
        self._leaving: set[int] = set()  # peers that are about to be kicked
        self._scripts = scripts
        self._seed = seed
        self._restored = restored  # it was there before the server's restart
        self._trial: Timer | None = None
        self._tape: Tape | None = None
        profile = scripts.profile
        self._lines = LineBudget(
            profile.script_log_lines_per_second,
            profile.script_log_lines_per_second * BURST_SECONDS,
            scripts.clock(),
        )

    # Life

    def begin(self, compiled: Compiled, now: float, record: str | None) -> None:
        """Raises ScriptError, or OSError when the recording cannot be made."""
        guest = self._make(compiled, self)
        guest.load(now, self._here(), restored=self._restored)
        if record is not None:
            from gsrt.scripts.tape import Tape

            try:
                self._tape = Tape(self._scripts, self.session, self._seed, record)
            except OSError:
                guest.close()
                raise
        self._take_over(guest)

    def _make(self, compiled: Compiled, surroundings: Attached | Nowhere) -> Guest:
        from gsrt.resume import script_tag
        from gsrt.scripts.guest import Guest

        session = self.session
        return Guest(
            self._scripts.needed_sandbox(),
            compiled,
            surroundings,
            session_id=session.session_id,
            players={each.peer_id: each.player_id for each in session.players},
            seed=self._seed,
            began=session.began,
            tag=script_tag(session.session_id, compiled.digest, self.path),
        )

    def _here(self) -> list[int]:
        return [each.peer_id for each in self.session.players if each.announced]

    def _take_over(self, guest: Guest) -> None:
        self.guest = guest
        self.digest = guest.compiled.digest
        self.state = "running"
        guest.handlers.recorder = None if self._tape is None else self._tape.recorder.packet
        self.session.room.interceptor = guest.handlers

    def ended(self) -> None:
        """The session is over."""
        self._stop_trial()
        if self.guest is not None:
            self.guest.close()
            self.guest = None
        self.session.room.interceptor = None
        if self._tape is not None:
            self._tape.close()
        self._scripts.detach(self)

    def added(self, peer_id: int, player_id: str) -> None:
        """One more player is expected."""
        if self.guest is not None:
            self.guest.added(peer_id, player_id)

    def removed(self, peer_id: int) -> None:
        """A player who has left is not expected any more."""
        if self.guest is not None:
            self.guest.removed(peer_id)

    def connected(self, peer_id: int, now: float) -> None:
        """A player is ready, and the others have been told."""
        if self._tape is not None:
            self._tape.recorder.connect(milliseconds(now - self.session.began), peer_id)
        if self.guest is not None:
            self.guest.connected(peer_id, now)

    def disconnected(self, peer_id: int, now: float) -> None:
        """A player has left, and the others have been told."""
        if self._tape is not None:
            self._tape.recorder.disconnect(milliseconds(now - self.session.began), peer_id)
        if self.guest is not None:
            self.guest.disconnected(peer_id, now)

    @property
    def held_bytes(self) -> int:
        """What the script holds, about; 0: it is off."""
        return 0 if self.guest is None else self.guest.handlers.account.bytes_now

    def figures(self) -> dict[str, Any]:
        """For the status."""
        found: dict[str, Any] = {"path": self.path, "state": self.state, "reloads": self.reloads}
        guest = self.guest
        if guest is not None:
            handlers = guest.handlers
            found |= {
                "strikes": guest.strikes,
                "failures": guest.failures,
                "calls": handlers.calls,
                "sent": handlers.sent,
                "milliseconds": handlers.seconds * 1000,
                "longestMs": handlers.longest * 1000,
                "gasMost": handlers.account.gas_most,
                "heldBytes": handlers.account.held_bytes,
            }
        return found

    # The surroundings of its guest

    def deliver(self, frame: bytes, peers: tuple[int, ...] | None, reliable: bool) -> int:
        return self.session.room.deliver(frame, peers, reliable)

    def later(self, when: float, callback: Callable[[float], None]) -> Timer:
        def run(now: float) -> None:
            callback(now)
            self._scripts.count_memory(self, now)

        return self._scripts.timers.set(when, run)

    def cancel(self, timer: Timer | None) -> None:
        self._scripts.timers.cancel(timer)

    def quality(self, peer_id: int, at: int) -> Figures | None:
        figures = self._known_of(peer_id)
        if self._tape is not None:
            self._tape.recorder.quality(at, peer_id, figures)
        return figures

    def _known_of(self, peer_id: int) -> Figures | None:
        from gsrt.scripts.quality import figures_of

        for player in self.session.players:
            if player.peer_id == peer_id:
                link = player.member.link
                return None if link is None else figures_of(link.quality())
        return None

    def kick(self, peer_id: int, reason: str) -> None:
        """Not at once: the callback that asks for it is looking at who is here."""
        if peer_id not in self._leaving:
            self._leaving.add(peer_id)
            self._scripts.timers.set(self._scripts.clock(), lambda now: self._kick(peer_id, reason, now))

    def _kick(self, peer_id: int, reason: str, now: float) -> None:
        self._leaving.discard(peer_id)
        for player in self.session.players:
            if player.peer_id == peer_id and player.state != KICKED and not self.session.ended:
                self._scripts.log.info(
                    "kicked by the script", session=self.session.session_id, player=player.player_id, reason=reason
                )
                player.kick(now)

    def log(self, level: str, text: str, now: float) -> None:
        suppressed = self._lines.take(now)
        if suppressed is not None:
            name = os.path.basename(self.path)
            self._scripts.journal.add(self.session.session_id, name, level, text, suppressed=suppressed)

    def request(
        self, name: str, player_id: str | None, fields: dict[str, object], done: Callable[[dict[str, object]], None]
    ) -> None:
        desk = self._scripts.desk
        if desk is None:
            from gsrt.scripts.errands import absent

            done(absent())
        else:  # what is done in nobody's name keeps an order of the session's own
            desk.submit(name, fields, done, player_id=player_id, line=player_id or ("session", self.session.session_id))

    def switched_off(self, reason: str) -> None:
        """Strikes have ended it: the session goes on as a plain relay."""
        from gsrt._core import Packet

        self.guest = None
        self.state = "off"
        self.session.room.interceptor = None
        self._scripts.tidy_up()
        self._scripts.log.error(
            "script switched off",
            session=self.session.session_id,
            script=self.path,
            reason=reason,
            todo="mend it: the changed file is taken up by itself; until then the session is a plain relay",
        )
        op_code = self._scripts.profile.script_off_op_code
        if op_code:
            self.deliver(Packet(op_code, data={1: f"script switched off: {reason}"[:200]}).frame(), None, True)

    # Another version

    def try_out(self, compiled: Compiled) -> None:
        """Begins a trial of a changed script; it takes over when it passes."""
        from gsrt.scripts.guest import ScriptError
        from gsrt.scripts.reload import Trial

        self._stop_trial()
        if self.guest is None:
            self._exchange(compiled, self._scripts.clock())
            return
        trial = Trial(self._make, compiled, self.guest, self._known_of)

        def step(now: float) -> None:
            self._trial = None
            if self.guest is None:  # switched off meanwhile
                self._exchange(compiled, now)
                return
            try:
                passed = trial.step(now)
            except ScriptError as error:
                self.not_taken(str(error))
                return
            if passed:
                self._exchange(compiled, now)
            else:
                self._trial = self._scripts.timers.set(now, step)

        self._trial = self._scripts.timers.set(self._scripts.clock(), step)

    def _exchange(self, compiled: Compiled, now: float) -> None:
        from gsrt.scripts.guest import ScriptError
        from gsrt.scripts.reload import state_of

        old = self.guest
        new = self._make(compiled, self)
        state, left_out = ({}, []) if old is None else state_of(old, new.handlers.players)
        try:
            begins = self._restored and self.digest is None
            new.load(now, self._here(), None if old is None else state, restored=begins)
        except ScriptError as error:
            self.not_taken(str(error))
            return
        if old is not None:
            old.close()
        self._take_over(new)
        self.reloads += 1
        self._scripts.log.info(
            "script taken up again",
            session=self.session.session_id,
            script=self.path,
            not_handed_over=",".join(left_out) or None,
        )

    def not_taken(self, reason: str) -> None:
        """The changed file is no good; what runs goes on."""
        for line in reason.splitlines():
            self._scripts.log.error(
                "changed script not taken", session=self.session.session_id, script=self.path, reason=line
            )

    def _stop_trial(self) -> None:
        self._scripts.timers.cancel(self._trial)
        self._trial = None
