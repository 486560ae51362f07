"""While one session's script runs every bomb of the attack corpus, another session's players miss nothing.

How late their packets are is measured by `python -m benchmarks script.bystanders`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bombs import Heartbeats, explode_all
from tests.support.server import ControlRefused, ServerProcess

SECONDS_MAX = 38.0  # bombs that have not had their turn by then are left out; every kind has had some


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    server = ServerProcess(overrides={"script_log_lines_per_second": 10})
    server.allowed_errors = ("error script ", "error script.off ", "script")
    with server:
        yield server


def test_every_bomb_in_turn(server: ServerProcess, tmp_path: Path) -> None:
    table = server.create(2)
    pid = server.control({"do": "status"})["pid"]
    address = (server.host, server.port)
    with Heartbeats(address, pid, [seat.token for seat in table.seats]) as heartbeats:
        heartbeats.report()
        outcomes, left_out = explode_all(server.control, ControlRefused, address, tmp_path, SECONDS_MAX)
        found = heartbeats.report()
        counters = server.counters(table)
    print(f"{outcomes}, left out {left_out}; beside the bombs {found}")
    assert sum(outcomes.values()) > 100
    assert outcomes["off"] > 5
    assert outcomes["running"] > 5
    assert found["losses"] == 0
    assert found["missing"] == {key: [] for key in found["missing"]}
    assert min(found["sent"].values()) > 500
    assert server.control({"do": "status"})["pid"] == pid
    assert server.session_ids() == [table.session_id]
    assert {name: value for name, value in counters.items() if name.startswith(("dropped", "streams_paused"))} == {}
