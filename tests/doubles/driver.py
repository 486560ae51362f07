"""One thread, one selector, many clients: the loop the doubles live in.

A participant is anything with `start(driver)`, `next_timer()` and `handle_timer(now)`; its sockets are registered as
`Watched` objects. Time is the monotonic clock, read here only and handed down.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from typing import Protocol


class Watched(Protocol):
    """A socket the driver waits for."""

    def fileno(self) -> int:
        """The descriptor."""

    def on_readable(self, now: float) -> None:
        """Bytes, an end or an error are there."""

    def on_writable(self, now: float) -> None:
        """What was held back may go."""


class Participant(Protocol):
    """A client, link or server that lives in the loop."""

    def start(self, driver: Driver) -> None:
        """Open sockets."""

    def next_timer(self) -> float | None:
        """When handle_timer wants to be called, or None."""

    def handle_timer(self, now: float) -> None:
        """The time has come."""

    def describe(self) -> str:
        """One line for a failing test."""

    def dispose(self) -> None:
        """Close every socket without ceremony."""


class Driver:
    """Runs participants until a condition holds. Use as a context manager: leaving it disposes of all."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._participants: list[Participant] = []
        self.now = time.monotonic()

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        for participant in self._participants:
            participant.dispose()
        self._selector.close()

    def add(self, participant: Participant) -> None:
        """Take a participant in and start it."""
        self._participants.append(participant)
        participant.start(self)

    def watch(self, watched: Watched, write: bool = False) -> None:
        """Wait for reading, and for writing if asked."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        try:
            self._selector.modify(watched.fileno(), events, watched)
        except KeyError:
            self._selector.register(watched.fileno(), events, watched)

    def forget(self, watched: Watched) -> None:
        """Stop waiting for a socket that is about to be closed (or is to be left unread)."""
        try:
            self._selector.unregister(watched.fileno())
        except (KeyError, ValueError):
            pass

    def step(self, longest: float) -> None:
        """Wait once, at most `longest` seconds, and do what has become due."""
        self.now = time.monotonic()
        timers = [timer for one in self._participants if (timer := one.next_timer()) is not None]
        if timers:
            longest = min(longest, max(0.0, min(timers) - self.now))
        for key, mask in self._selector.select(longest):
            self.now = time.monotonic()
            if mask & selectors.EVENT_WRITE:
                key.data.on_writable(self.now)
            if mask & selectors.EVENT_READ and key.data.fileno() >= 0:
                key.data.on_readable(self.now)
        self.now = time.monotonic()
        for one in self._participants:
            timer = one.next_timer()
            if timer is not None and timer <= self.now:
                one.handle_timer(self.now)

    def run_until(
        self, condition: Callable[[], bool], what: str, deadline: float = 15.0, longest_wait: float = 0.05
    ) -> None:
        """Step until the condition holds; AssertionError with everybody's state after `deadline` seconds.

        A condition that itself does something each time wants a `longest_wait` of 0.
        """
        end = time.monotonic() + deadline
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {deadline} s: {what}\n{self.describe()}")
            self.step(min(left, longest_wait))

    def run_for(self, seconds: float) -> None:
        """Step for a while: for tests of what must stay away where nothing can mark the end of the wait."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.step(left)

    def describe(self) -> str:
        """A line for each participant."""
        return "\n".join(one.describe() for one in self._participants)
