"""Players who mind their own game while a test misbehaves beside them."""

from __future__ import annotations

from tests.doubles.base import Double
from tests.doubles.driver import Driver
from tests.doubles.streaming import StreamingDouble
from tests.doubles.writers import Intent
from tests.sessions.match import Match, fast_leg_complete
from tests.support.server import ServerProcess

KINDS = ("cpp", "js-wss", "cs-plain")


class Bystanders:
    """A session of three that must not notice anything. `undisturbed()` plays a round and looks at everything."""

    def __init__(self, server: ServerProcess, driver: Driver) -> None:
        self.match = Match(server, driver, len(KINDS))
        self.doubles: list[Double] = self.match.all_ready(KINDS)
        self._told = [self._events(double) for double in self.doubles]
        self._round = 100

    @staticmethod
    def _events(double: Double) -> list[tuple[str, int]]:
        return [(event.kind, event.peer_id) for event in double.events if event.kind != "data"]

    def undisturbed(self) -> None:
        """Everyone hears everyone, by stream and by UDP; nobody came, left, lost a connection or objected."""
        self._round += 2
        reliable, unreliable = self._round, self._round + 1
        for double in self.doubles:
            double.send(reliable, payload=b"r")
            double.send(unreliable, Intent.UNRELIABLE, payload=b"u")
        self.match.driver.run_until(
            lambda: all(
                len(double.of_op_code(op_code)) == len(self.doubles) - 1
                for double in self.doubles
                for op_code in (reliable, unreliable)
            ),
            "the bystanders' round",
        )
        for double in self.doubles:
            assert {event.sender for event in double.of_op_code(reliable)} == {1, 2, 3} - {double.peer_id}
            assert fast_leg_complete(double)
            if isinstance(double, StreamingDouble):
                assert {event.leg for event in double.of_op_code(unreliable)} == {"datagram"}
        assert [self._events(double) for double in self.doubles] == self._told
        self.match.no_violations()
