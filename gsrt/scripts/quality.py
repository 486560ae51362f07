"""What scripts are told of the way to a player: what a gsrt link estimates (docs/LINK.md, section 5)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Round trip, jitter and least round trip in ms, loss from 0 to 1, bandwidth in bytes a second.
    Figures = tuple[float, float, float, float, int]


def figures_of(estimates: dict[str, float]) -> Figures | None:
    """The figures of a link's ESTIMATES (see Link.quality); None: no round trip has been measured yet.

    Rounded to what can be told apart at all, so that a line of a recording is short, and says exactly what was told."""
    if estimates["rtt"] <= 0:
        return None
    return (
        round(estimates["rtt"] * 1000, 2),
        round(estimates["jitter"] * 1000, 2),
        round(min(estimates["min_rtt"], estimates["rtt"]) * 1000, 2),  # without the other side's delay, as the mean is
        round(estimates["loss"], 4),
        int(estimates["bandwidth"]),
    )


class Quality:
    """What is known of the way to a player who has come in by the gsrt link, at the moment of asking: `player.quality`.

    It does not change afterwards."""

    __slots__ = ("_figures",)

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def __repr__(self) -> str:
        return f"<quality {self.rtt_ms} ms, {self.loss:.1%} lost>"

    @property
    def rtt_ms(self) -> float:
        """The round trip in milliseconds, smoothed: there, and back."""
        return self._figures[0]

    @property
    def jitter_ms(self) -> float:
        """How much a round trip differs from the one before, in milliseconds, smoothed."""
        return self._figures[1]

    @property
    def min_rtt_ms(self) -> float:
        """The shortest round trip on this way, in milliseconds."""
        return self._figures[2]

    @property
    def loss(self) -> float:
        """Which part of the datagrams to the player is lost lately: 0 for none, 1 for all."""
        return self._figures[3]

    @property
    def bandwidth(self) -> int:
        """Bytes a second that were seen to get through to the player lately. There may be room for more: nobody has
        sent it."""
        return self._figures[4]
