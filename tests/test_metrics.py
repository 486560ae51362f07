"""/metrics: what Prometheus reads, who gets it, and what it costs."""

from __future__ import annotations

import http.client
import io
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

import gsrt.session
from gsrt import metrics
from gsrt.client import Intent, Packet, Session
from gsrt.governor import Governor
from gsrt.log import Log
from tests.discovery.lan import Lan
from tests.relay.rig import DEADLINE, profile
from tests.support.network import why_not
from tests.support.server import PROJECT, ServerProcess

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 4711,
    "profile": "generic",
    "uptimeSeconds": 12.5,
    "sessions": 3,
    "sessionsEmpty": 1,
    "peersConnected": 4,
    "players": {"expected": 1, "joining": 1, "ready": 3, "absent": 2, "gone": 0, "kicked": 0},
    "connections": 4,
    "links": 2,
    "scripts": {"running": 2, "off": 1, "strikes": 4, "failures": 5},
    "counters": {"packets_in": 7, "bytes_out": 70, "dropped_stale": 3, "dropped_rate": 0, "logins": 5},
    "loop": {"ticks": 100, "worstTickMs": 2.5, "tickMs": 5.0},
}
PLATFORM: dict[str, Any] = {
    "game": 'du"el',
    "playersOnline": 6,
    "connections": 7,
    "counters": {"requests": 13, "platform_connections": 9},
    "matches": {"running": 1, "tickets": 4, "matches_found": 11},
    "store": {"store_writes": 5, "store_waiting": 2, "store_commit_worst_ms": 12.5, "store_written_bytes": 4096},
    "events": {
        "won": {"state": "running", "strikes": 1},
        "lost": {"state": "off", "strikes": 3},
        "draw": {"state": "new"},
    },
}


def families(text: str) -> dict[str, Metric]:
    """Metrics by name. Each is there once, has a help text and a type, and fits OpenMetrics as well."""
    found: list[Metric] = list(parse(text))
    named = {each.name: each for each in found}
    assert len(named) == len(found)
    for each in found:
        assert each.documentation and each.type in ("gauge", "counter")
        assert text.count(f"# HELP {each.name}") >= 1
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(set(names)) == len(names)
    assert [line.split()[2] for line in text.splitlines() if line.startswith("# HELP ")] == names
    # OpenMetrics calls a counter's family by its name without _total; its parser looks for clashes, and at units.
    lines = [line.replace("_total ", " ", 1) if line.startswith("# ") else line for line in text.splitlines()]
    strict: list[Metric] = list(parse_openmetrics("\n".join([*lines, "# EOF"]) + "\n"))  # type: ignore[no-untyped-call]
    assert len(strict) == len(found)
    return named


def values(text: str) -> dict[str, float]:
    """Samples by name and labels, as `name{label="value"}`."""
    found = {}
    for each in families(text).values():
        for sample in each.samples:
            inner = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{inner}}}" if inner else sample.name] = sample.value
    return found


# The text


def test_what_the_status_says_in_base_units() -> None:
    found = values(metrics.render(STATUS))
    assert found["gsrt_build_info{version=0.1.0,profile=generic}"] == 1
    assert (found["gsrt_sessions{state=played}"], found["gsrt_sessions{state=empty}"]) == (2, 1)
    assert {state: found[f"gsrt_players{{state={state}}}"] for state in STATUS["players"]} == STATUS["players"]
    assert (found["gsrt_scripts{state=running}"], found["gsrt_scripts{state=off}"]) == (2, 1)
    assert (found["gsrt_script_strikes"], found["gsrt_links"], found["gsrt_uptime_seconds"]) == (4, 2, 12.5)
    assert (found["gsrt_loop_worst_tick_seconds"], found["gsrt_loop_ticks_total"]) == (0.0025, 100)
    assert (found["gsrt_received_packets_total"], found["gsrt_sent_bytes_total"], found["gsrt_logins_total"]) == (
        7,
        70,
        5,
    )
    assert (found["gsrt_dropped_packets_total{reason=stale}"], found["gsrt_dropped_packets_total{reason=rate}"]) == (
        3,
        0,
    )
    assert not any(name.startswith(("gsrt_governor", "gsrt_store", "gsrt_box")) for name in found)


def test_counters_are_counters_and_the_rest_are_gauges() -> None:
    for name, each in families(metrics.render({**STATUS, "platform": PLATFORM})).items():
        assert (each.type == "counter") == all(sample.name.endswith("_total") for sample in each.samples), name


def test_a_game() -> None:
    found = values(metrics.render({**STATUS, "platform": PLATFORM}))
    assert (found["gsrt_players_online"], found["gsrt_tickets"], found["gsrt_matches_found_total"]) == (6, 4, 11)
    assert (found["gsrt_store_waiting_operations"], found["gsrt_store_commit_worst_seconds"]) == (2, 0.0125)
    assert (found["gsrt_store_written_bytes_total"], found["gsrt_requests_total"]) == (4096, 13)
    assert (found["gsrt_platform_connections_open"], found["gsrt_platform_connections_total"]) == (7, 9)
    states = {state: found[f"gsrt_event_scripts{{state={state}}}"] for state in metrics.EVENT_STATES}
    assert states == {"new": 1, "loading": 0, "running": 1, "off": 1, "broken": 0, "gone": 0}
    assert found["gsrt_event_script_strikes"] == 4


def new_governor() -> Governor:
    return Governor(profile(), Log(io.StringIO(), lambda: 0.0))


def test_the_governor() -> None:
    calm = new_governor().figures()
    found = values(metrics.render({**STATUS, "governor": calm}))
    assert found["gsrt_governor_level"] == 0
    assert [found[f"gsrt_governor_cause{{cause={each.replace(' ', '_')}}}"] for each in metrics.CAUSES] == [0] * 8
    assert "gsrt_box_temperature_celsius" not in found  # it is not known
    hot = {
        **calm,
        "level": "refusing",
        "causes": {"temperature": "refusing"},
        "temperatureCelsius": 84.5,
        "loopLagMs": 3,
    }
    found = values(metrics.render({**STATUS, "governor": hot}))
    assert (found["gsrt_governor_level"], found["gsrt_governor_cause{cause=temperature}"]) == (2, 1)
    assert (found["gsrt_governor_cause{cause=memory}"], found["gsrt_box_temperature_celsius"]) == (0, 84.5)
    assert (found["gsrt_loop_lag_seconds"], found["gsrt_governor_hold_ups_total"]) == (0.003, 0)


def test_all_states_and_causes_are_known() -> None:
    """What is a label's value here is what there is elsewhere."""
    states = {getattr(gsrt.session, each.upper()) for each in metrics.PLAYER_STATES}
    assert states == set(metrics.PLAYER_STATES) == STATUS["players"].keys()
    assert set(new_governor()._all) == set(metrics.CAUSES)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_labels_hold_any_text(text: str) -> None:
    (found,) = parse(metrics.family("x", "gauge", text, ((metrics.labels(a=text), 1),)))
    assert found.samples[0].labels == {"a": text}


def test_of_the_process() -> None:
    began = metrics._process_began()
    assert began is not None
    found = values(metrics.render_process(began))
    assert found["process_start_time_seconds"] == began
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert found["process_cpu_seconds_total"] > 0
    assert 3 <= found["process_open_fds"] <= found["process_max_fds"]


# Who gets it, and how often


class Counted:
    """A server's totals, counted."""

    def __init__(self, who: str) -> None:
        self.asked = 0
        self.metrics = metrics.Metrics(who, self._totals)

    def _totals(self) -> dict[str, Any]:
        self.asked += 1
        return STATUS

    def status(self, address: str, now: float = 0.0) -> int:
        return int(self.metrics.answer(address, "GET", now).split()[1])


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_this_machine_gets_it(address: str) -> None:
    assert [Counted(who).status(address) for who in ("off", "local", "all")] == [404, 200, 200]


@pytest.mark.parametrize("address", ["192.0.2.1", "128.0.0.1", "::ffff:10.0.0.1", "fe80::1", "::", "12.7.0.0", ""])
def test_others_get_it_where_it_is_for_all(address: str) -> None:
    assert [Counted(who).status(address) for who in ("off", "local", "all")] == [404, 403, 200]


@pytest.mark.parametrize("who", ["off", "local"])
def test_a_refusal_says_what_to_set(who: str) -> None:
    assert b"--metrics all" in Counted(who).metrics.answer("192.0.2.1", "GET", 0.0)


def test_a_storm_of_scrapes_is_one_look_a_second() -> None:
    counted = Counted("local")
    for turn in range(3000):
        assert counted.status("127.0.0.1", turn / 1000) == 200
    assert counted.asked == 3
    assert counted.status("192.0.2.1", 100.0) == 403
    assert counted.asked == 3


# From a server


@pytest.fixture(scope="module")
def server(certificate: tuple[str, str]) -> Iterator[ServerProcess]:
    with ServerProcess(certificate=certificate) as server:
        yield server


def ask(server: ServerProcess, method: str = "GET", target: str = "/metrics", *, tls: bool = False) -> Any:
    """The answer, its `body` read."""
    context = ssl._create_unverified_context()
    connection: http.client.HTTPConnection = (
        http.client.HTTPSConnection(server.host, server.port, timeout=DEADLINE, context=context)
        if tls
        else http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE)
    )
    try:
        connection.request(method, target)
        answer: Any = connection.getresponse()
        answer.body = answer.read()
        return answer
    finally:
        connection.close()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "target", ["/metrics", "/metrics?name[]=x", "http://example.org/metrics", "HTTPS://x:1/metrics"]
)
def test_a_scrape(server: ServerProcess, target: str, tls: bool) -> None:
    answer = ask(server, target=target, tls=tls)
    assert (answer.status, answer.headers["Content-Type"]) == (200, CONTENT_TYPE)
    found = values(answer.body.decode())
    assert found["gsrt_connections_accepted_total"] >= 1
    assert found["process_resident_memory_bytes"] > 1 << 20


def test_head_and_other_methods(server: ServerProcess) -> None:
    head = ask(server, "HEAD")
    assert (head.status, head.headers["Content-Type"], head.body) == (200, CONTENT_TYPE, b"")
    assert int(head.headers["Content-Length"]) > 1000
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        refused = ask(server, method)
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_a_scrape_leaves_the_loops_latest_figure_to_others(server: ServerProcess) -> None:
    server.control({"do": "status"})
    assert ask(server).status == 200
    assert server.control({"do": "status"})["loop"]["worstTickLatelyMs"] > 0


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_over_a_network_it_is_refused_with_what_to_do(certificate: tuple[str, str]) -> None:
    server = ServerProcess(certificate=certificate, port=8784, overrides={"beacon_seconds": 0})
    server.command[server.command.index("--host") + 1] = "0.0.0.0"
    with Lan("10.78.0.1", "10.78.0.2") as (box, other), ExitStack() as stack:
        with box.entered():
            stack.enter_context(server)
        for host, address, status in ((box, "127.0.0.1", 200), (box, "10.78.0.1", 403), (other, "10.78.0.1", 403)):
            with host.entered():
                connection = http.client.HTTPConnection(address, 8784, timeout=DEADLINE)
                connection.request("GET", "/metrics")
            answer = connection.getresponse()
            assert (answer.status, b"--metrics all" in answer.read()) == (status, status == 403)
            connection.close()


def test_players_play_on_under_a_storm_of_scrapes() -> None:
    """Packets of two players, each answered before the next is sent, with scrapes between them."""
    with ServerProcess() as server:
        first, second = server.create(2).seats
        heard: list[int] = []

        def answer(packet: Packet) -> None:
            blue.send(packet.op_code, Intent.RELIABLE, payload=b"back", peers=[first.peer_id])

        red = Session(server.host, server.port, first.token, on_data=lambda packet: heard.append(packet.op_code))
        blue = Session(server.host, server.port, second.token, on_data=answer)
        for session in (red, blue):
            session.start_background()
        try:
            scrapes, end = 0, time.monotonic() + 3 * DEADLINE
            for number in range(1, 21):
                while not (red.ready and blue.ready):
                    assert ask(server).status == 200 and time.monotonic() < end
                red.send(number, Intent.RELIABLE, payload=b"there", peers=[second.peer_id])
                while len(heard) < number:
                    assert ask(server).status == 200 and time.monotonic() < end
                    scrapes += 1
            assert heard == list(range(1, 21))
            assert scrapes > 0
            counters = server.counters()
            assert counters["http_requests"] >= scrapes
            assert not counters["peers_cut"] and not counters["closed_lost"]
        finally:
            for session in (red, blue):
                session.stop()


def test_cardinality_is_the_same_with_many_sessions() -> None:
    with ServerProcess() as server:
        few = set(values(ask(server).body.decode()))
        for _ in range(64):
            server.create(8)
        status = server.control({"do": "status"})
        assert (status["sessions"], status["sessionsEmpty"], status["players"]["expected"]) == (64, 64, 512)
        assert set(values(metrics.render(status) + metrics.render_process(1.0))) == few


def test_nothing_of_it_is_loaded_before_the_first_scrape() -> None:
    script = "import sys, gsrt.server; sys.exit('gsrt.metrics' in sys.modules or 'gsrt.beacon' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=PROJECT, timeout=60).returncode == 0
