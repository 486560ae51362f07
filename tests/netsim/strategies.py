"""Any conditions, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gsrt.netsim.conditions import Conditions

shares = st.one_of(st.just(0.0), st.floats(0.0, 1.0, allow_subnormal=False))
seconds = st.one_of(st.just(0.0), st.floats(1e-6, 60.0))


@st.composite
def conditions(draw: st.DrawFn, /, **fixed: Any) -> Conditions:
    """Conditions with these values, and any others."""
    values: dict[str, Any] = {
        "loss": draw(shares),
        "delay": draw(seconds),
        "jitter": draw(seconds),
        "jitter_reorders": draw(st.booleans()),
        "reorder": draw(shares),
        "reorder_delay": draw(seconds),
        "duplicate": draw(shares),
        "corrupt": draw(shares),
        "rate": draw(st.one_of(st.none(), st.floats(125.0, 1e9))),
        "queue_bytes": draw(st.integers(1, 64_000_000)),
        "blackouts": draw(st.lists(st.tuples(seconds, seconds), max_size=3)),
        **fixed,
    }
    if draw(st.booleans()) and values["loss"] < 0.99:
        values.setdefault("loss_burst", draw(st.floats(max(1.0, values["loss"] / (1 - values["loss"])), 1000.0)))
    if draw(st.booleans()) and "blackout_every" not in fixed:
        every = draw(st.floats(0.001, 60.0))
        values.update(blackout_every=every, blackout_length=draw(st.floats(1e-6, every)))
    return Conditions(**values)
