"""A session's recording on its way to the disk: the loop does not wait for it.

Loaded with the first recording.
"""

from __future__ import annotations

from gsrt._guest import milliseconds
from gsrt.scripts.recording import Recorder
from gsrt.worker import WorkerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.scripts.host import Scripts
    from gsrt.session import Session
    from gsrt.timers import Timer

WRITE_SECONDS = 1.0  # how long lines wait for the disk
RECORDING_BYTES_MAX = 64 << 20


class Tape:
    """The recording of one session's packets: lines are gathered, and written to disk by the worker."""

    def __init__(self, scripts: Scripts, session: Session, seed: int, path: str) -> None:
        """`seed`: of the script's random numbers. Raises OSError."""
        self._scripts = scripts
        self._session = session
        self._file = open(path, "w", encoding="ascii")  # noqa: SIM115  # it stays open as long as the session
        self._lines: list[str] = []
        self._timer: Timer | None = None
        self._writing = False
        self._closing = False
        self.recorder = Recorder(
            self,
            session_id=session.session_id,
            seed=seed,
            players={each.peer_id: each.player_id for each in session.players},
            bytes_max=RECORDING_BYTES_MAX,
        )

    def write(self, text: str) -> int:
        """A line, for later."""
        self._lines.append(text)
        self._hand_over_later()
        return len(text)

    def _hand_over_later(self) -> None:
        if self._timer is None and self._lines and not self._writing and not self._closing:
            self._timer = self._scripts.timers.set(self._scripts.clock() + WRITE_SECONDS, self._hand_over)

    def flush(self) -> None:
        """Not here: it could keep the loop waiting."""

    def close(self) -> None:
        self.recorder.close(milliseconds(self._scripts.clock() - self._session.began))
        self._scripts.timers.cancel(self._timer)
        self._closing = True
        if not self._writing:
            # The last second's lines; the worker may not be there any more when the server ends.
            try:
                self._write("".join(self._lines), True)
            except OSError as error:
                self._trouble(error)

    def _hand_over(self, now: float) -> None:
        self._timer = None
        text, last = "".join(self._lines), self._closing
        self._lines.clear()
        try:
            self._scripts.worker.submit(lambda: self._write(text, last), self._written)
        except WorkerError as error:
            self._trouble(error)
        else:
            self._writing = True

    def _write(self, text: str, last: bool) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        finally:
            if last:
                self._file.close()

    def _written(self, nothing: None, error: BaseException | None) -> None:
        self._writing = False
        if error is not None:
            self._trouble(error)
        if self._closing and not self._file.closed:
            self._hand_over(0.0)
        self._hand_over_later()

    def _trouble(self, error: BaseException) -> None:
        self._scripts.log.limited("error", "recording", "recording not written", reason=str(error))
