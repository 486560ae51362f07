"""`gsrt top`: the server at work, in a terminal, once a second."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from gsrt.cli import CommandError
from gsrt.cli.arguments import add_control
from gsrt.cli.top_figures import Figures, Look, look
from gsrt.cli.top_screen import View, draw, paint, wide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType

SECONDS_MIN = 0.2
SECONDS_MAX = 3600.0
ANSWER_SECONDS = 2.0  # within which the server has to answer; keys wait meanwhile
KEY_BYTES = 64  # read at once
WIDTH, HEIGHT = 80, 24  # where the terminal does not say

# Alternate screen and no cursor, and back (xterm's private modes 1049 and 25).
ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
LEAVE = "\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"

KEYS = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1bOC": "right",
    b"\x1bOD": "left",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "back",
    b"\x08": "back",
    b"\x1b": "back",
    b"r": "r",
    b"q": "quit",
    b"Q": "quit",
    b"\x03": "quit",
    b"\x04": "quit",
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=_seconds, default=1.0, metavar="S", help="between two looks (default: %(default)s)"
    )
    parser.add_argument("--once", action="store_true", help="print one picture and end, for pipes")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line and look, for programs")
    add_control(parser)


def run(arguments: Namespace) -> int:
    if arguments.json or arguments.once:
        _print(arguments)
        return 0
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise CommandError("top needs a terminal; for pipes there are --once and --json", status=2)
    with Terminal(sys.stdin.fileno(), sys.stdout.fileno(), coloured=not os.environ.get("NO_COLOR")) as terminal:
        _watch(terminal, Watch(arguments.control, arguments.seconds))
    return 0


def _print(arguments: Namespace) -> None:
    """Frames without a terminal's tricks: each is of the time between two looks."""
    before = look(arguments.control, ANSWER_SECONDS)
    while True:
        time.sleep(arguments.seconds)
        now = look(arguments.control, ANSWER_SECONDS)
        figures, before = Figures(before, now), now
        if arguments.json:
            print(json.dumps({"time": time.time(), **figures.to_json()}), flush=True)
        else:
            width = os.get_terminal_size(1).columns if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or WIDTH)
            for line in draw(figures, View(), width, None):
                print(paint(line, styled=False, coloured=False))
        if arguments.once:
            return


class Watch:
    """The looks at one server: `figures` are those of the last two, `trouble` says why there is no newer one."""

    def __init__(self, control: str | None, seconds: float) -> None:
        self.figures: Figures | None = None
        self.trouble = ""
        self._control = control
        self._seconds = seconds
        self._before: Look | None = None
        self._last: Look | None = None
        self._next_at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next look is due."""
        return max(self._next_at - now, 0.0)

    def look(self, now: float, inside: str | None) -> None:
        """Looks, and into that session; before its time, the rates begin where they did. The server may be away; it is
        asked again the next time."""
        is_due = now >= self._next_at
        if is_due:
            self._next_at = now + self._seconds
        try:
            newest = look(self._control, ANSWER_SECONDS, inside)
        except CommandError as error:
            self.trouble = f"no new figures: {error}; looking again"
            return
        self.trouble = ""
        if is_due:
            self._before = self._last
        self.figures, self._last = Figures(self._before, newest), newest


def _watch(terminal: Terminal, watch: Watch) -> None:
    """Until somebody quits."""
    view = View()
    inside: str | None = None
    while True:
        now = time.monotonic()
        sessions = watch.figures.sessions if watch.figures is not None else ()
        wanted = view.wants(sessions)
        if watch.wait(now) == 0 or (wanted is not None and wanted != inside):
            watch.look(now, wanted)
        inside = wanted
        terminal.show(view, watch)
        for key in terminal.wait(watch.wait(time.monotonic())):
            if key == "quit":
                return
            view.press(key, sessions)


class Terminal:
    """The terminal while top has it: its own screen, keys as they are pressed. All is as before at the end, and while
    top is stopped (Ctrl-Z)."""

    def __init__(self, keys: int, screen: int, *, coloured: bool) -> None:
        self._keys = keys
        self._screen = screen
        self._coloured = coloured

    def __enter__(self) -> Terminal:
        import termios

        from gsrt.waking import woken_by_signals

        self._before = termios.tcgetattr(self._keys)
        self._signals, self._writer = woken_by_signals()
        for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
            signal.signal(number, _nothing)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        self._signals.close()
        self._writer.close()
        try:
            self._give_back()
        except OSError:  # it is gone
            pass

    def show(self, view: View, watch: Watch) -> None:
        try:
            width, height = os.get_terminal_size(self._screen)
        except OSError:
            width, height = 0, 0
        width, height = width or WIDTH, height or HEIGHT
        painted = []
        for line in draw(watch.figures, view, width, height, watch.trouble):
            text = paint(line, styled=True, coloured=self._coloured)
            painted.append(text + CLEAR_LINE if sum(wide(each.text) for each in line) < width else text)
        self._write(HOME + "\r\n".join(painted) + CLEAR_REST)

    def wait(self, seconds: float) -> list[str]:
        """The keys that are pressed within that time, or until the terminal is another size."""
        wakers: list[int] = [self._keys, self._signals.fileno()]
        ready, _, _ = select.select(wakers, [], [], seconds)
        if wakers[1] in ready:
            came = self._signals.recv(KEY_BYTES)
            if signal.SIGTSTP in came:
                self._stop()
            if signal.SIGCONT in came:  # whoever had the terminal meanwhile has left it as it likes
                self._take()
        if self._keys not in ready:
            return []
        try:
            typed = os.read(self._keys, KEY_BYTES)
        except OSError:
            typed = b""
        return keys_in(typed) if typed else ["quit"]  # the terminal is gone

    def _take(self) -> None:
        import termios
        import tty

        tty.setcbreak(self._keys, termios.TCSADRAIN)  # what was typed meanwhile is not to be lost
        self._write(ENTER)

    def _give_back(self) -> None:
        import termios

        self._write(LEAVE)
        termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)

    def _stop(self) -> None:
        """Ctrl-Z: the shell has the terminal, until it lets us go on. Where there is no shell nothing stops."""
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _nothing)
        self._take()

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding or "utf-8", "replace")
        while data:
            data = data[os.write(self._screen, data) :]


def keys_in(typed: bytes) -> list[str]:
    """The keys that these bytes are; others are passed over."""
    keys = []
    while typed:
        for code in sorted(KEYS, key=len, reverse=True):
            if typed.startswith(code):
                keys.append(KEYS[code])
                typed = typed[len(code) :]
                break
        else:
            typed = typed[1:]
    return keys


def _nothing(number: int, frame: FrameType | None) -> None:
    """The signal wakes who waits."""


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise ArgumentTypeError(f"{text!r} is no time; expected seconds from {SECONDS_MIN:g} to {SECONDS_MAX:g}")
    return seconds
