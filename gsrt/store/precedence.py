"""The loop goes first, where there is one processor, and one interpreter, for it and the store's thread.

Left alone, the kernel gives a processor away for 4 ms at a time in the midst of a turn, and a thread that has got the
interpreter then keeps taking it again. A low priority for that thread is no way out: any other program holds the loop
up for as long as the thread, which has the interpreter, waits for the processor. So the thread itself stands back
between two operations while the loop is in a turn, and goes on as soon as the turn ends; or, where turns follow each
other without end, after a while.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue

STAND_BACK_SECONDS = 0.005  # the longest that an operation waits for the loop


class Precedence:
    """What the loop calls never waits. Each side writes a field before it reads the other's; what a missed moment costs
    is a wait of `seconds`."""

    __slots__ = ("_in_turn", "_seconds", "_turn_ended", "is_waited_for")

    def __init__(self, seconds: float = STAND_BACK_SECONDS) -> None:
        self._seconds = seconds
        self._in_turn = False
        self.is_waited_for = False  # the end of the turn is, by the thread
        self._turn_ended: SimpleQueue[None] = SimpleQueue()

    def turn_begins(self) -> None:
        """The loop has something to do."""
        self._in_turn = True

    def turn_ends(self) -> None:
        """It has done it."""
        self._in_turn = False
        if self.is_waited_for:
            self.is_waited_for = False
            self._turn_ended.put(None)

    def give_way(self) -> None:
        """On the store's thread, before an operation: waits until the loop is between two turns, but not for long."""
        if not self._in_turn:
            return
        self.is_waited_for = True
        try:
            self._turn_ended.get(timeout=self._seconds)
        except Empty:
            self.is_waited_for = False
