"""`gsrt top`: rates from two looks, pictures for any terminal, and the real thing in a terminal by a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsrt.cli.top import keys_in
from gsrt.cli.top_figures import Figures, Look
from gsrt.cli.top_screen import COLUMNS, Piece, View, draw, fit, flow, paint, short, wide
from gsrt.client import Intent, Session
from tests.cli.conftest import Run, ServerDouble
from tests.cli.screen import DEADLINE, OnScreen, Screen
from tests.support.server import PROJECT, ServerProcess

# Figures


def status(**changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "version": "0.1.0",
        "pid": 4711,
        "host": "0.0.0.0",
        "port": 8784,
        "profile": "pi-4",
        "uptimeSeconds": 90061.0,
        "sessions": 0,
        "players": {"expected": 1, "joining": 0, "ready": 2, "absent": 0, "gone": 0, "kicked": 0},
        "connections": 3,
        "links": 1,
        "scripts": {"running": 0, "off": 0, "strikes": 0, "failures": 0},
        "counters": {"packets_in": 0, "bytes_in": 0, "dropped_stale": 0},
        "perSession": [],
        "inside": None,
        "loop": {"ticks": 5, "worstTickMs": 12.5, "worstTickLatelyMs": 0.25, "tickMs": 0.0},
    }
    return usual | changes


GOVERNOR = {
    "level": "refusing",
    "causes": {"temperature": "refusing"},
    "reasons": ["the box is too hot: 84 \N{DEGREE SIGN}C"],
    "memoryBytes": 15 << 20,
    "memoryBytesMax": 64 << 20,
    "cpuPercent": 7.5,
    "temperatureCelsius": 84.5,
}
PLATFORM = {
    "game": "duel",
    "playersOnline": 20,
    "matches": {"running": 5, "tickets": 3},
    "store": {"store_waiting": 1, "store_commit_worst_ms": 3.5},
}


def session_look(at: float, sessions: Mapping[str, Mapping[str, int]], **changes: Any) -> Look:
    """A look at sessions (id -> counters), each with two players, one of them connected."""
    lines = [
        {
            "sessionId": name,
            "ageSeconds": 62.0,
            "players": 2,
            "connected": 1,
            "roundTripMs": 41.5,
            "counters": counters,
            "script": None,
            "strikes": 0,
        }
        for name, counters in sessions.items()
    ]
    return Look(at, status(perSession=lines, sessions=len(lines), **changes))


def inside(session_id: str, **more: Any) -> dict[str, Any]:
    """All about a session of these."""
    return {
        "sessionId": session_id,
        "counters": {},
        "links": {"tom": {"rtt": 0.0415, "jitter": 0.002, "loss": 0.05}},
        "players": [
            {"playerId": "tom", "peerId": 1, "state": "ready", "leg": "link", "roundTripMs": 41.5},
            {"playerId": "pia", "peerId": 2, "state": "expected", "leg": None},
        ],
        **more,
    }


def test_rates_are_differences_over_time() -> None:
    before = session_look(10.0, {"a": {"packets_in": 5}}, counters={"packets_in": 100, "dropped_rate": 4})
    now = session_look(
        12.0, {"a": {"packets_in": 25}, "b": {"packets_in": 8}}, counters={"packets_in": 150, "dropped_rate": 10}
    )
    figures = Figures(before, now)
    assert (figures.seconds, figures.rates.of("packets_in"), figures.rates.of("packets_out")) == (2.0, 25.0, 0.0)
    assert (figures.rates.dropped, figures.rates.drops) == (3.0, {"rate": 3.0})
    assert [each.rates.of("packets_in") for each in figures.sessions] == [10.0, 4.0]
    (a, _) = figures.sessions
    assert (a.connected, a.round_trip_ms, a.age_seconds) == (1, 41.5, 62.0)


@pytest.mark.parametrize("change", [{"pid": 4712}, {"uptimeSeconds": 3.0}], ids=["another process", "started again"])
def test_another_run_of_the_server_has_no_rates_yet(change: dict[str, Any]) -> None:
    before = session_look(10.0, {"a": {"packets_in": 5}}, counters={"packets_in": 100})
    figures = Figures(before, session_look(11.0, {"a": {"packets_in": 6}}, counters={"packets_in": 7}, **change))
    assert (figures.rates.of("packets_in"), figures.rates.dropped, figures.rates.drops) == (None, None, {})
    assert figures.sessions[0].rates.of("packets_in") is None
    assert json.loads(json.dumps(figures.to_json()))["perSecond"] == {"packets_in": None}


def test_the_process_is_asked_where_the_server_does_not_tell() -> None:
    figures = Figures(Look(1.0, status(), 5.0, 1 << 20), Look(3.0, status(), 5.5, 2 << 20))
    assert (figures.cpu_percent, figures.memory_bytes) == (25.0, 2 << 20)
    figures = Figures(None, Look(3.0, status(governor=GOVERNOR)))
    assert (figures.cpu_percent, figures.memory_bytes) == (7.5, 15 << 20)


# Pictures


def picture(
    figures: Figures | None, width: int = 100, height: int | None = 24, view: View | None = None, trouble: str = ""
) -> list[str]:
    lines = draw(figures, view or View(), width, height, trouble)
    return [paint(line, styled=False, coloured=False) for line in lines]


def many(count: int, **changes: Any) -> Figures:
    """Sessions s00, s01, ..., each busier than the one before."""
    names = [f"s{number:02}" for number in range(count)]
    before = session_look(0.0, {name: {"packets_in": 0} for name in names}, **changes)
    now = session_look(
        1.0, {name: {"packets_in": number, "dropped_stale": 1} for number, name in enumerate(names)}, **changes
    )
    return Figures(before, now)


def test_a_picture() -> None:
    lines = picture(
        many(2, governor=GOVERNOR, platform=PLATFORM, scripts={"running": 1, "off": 1, "strikes": 3, "failures": 0})
    )
    assert [line.rstrip() for line in lines[:12]] == [
        "gsrt 0.1.0  at 0.0.0.0:8784  profile pi-4  up 1 d 1 h  process 4711",
        "box refusing  memory 15.0 MiB of 64.0 MiB  cpu 7.5 %  heat 84.5 \N{DEGREE SIGN}C  loop's worst 0.25 ms"
        "  ever 12 ms",
        "the box is too hot: 84 \N{DEGREE SIGN}C",
        "in 0 packets/s, 0B/s  out 0 packets/s, 0B/s  dropped 0/s",
        "players 2 ready, 1 expected  sessions 2  links 1  connections 3",
        "scripts 1 running  off 1  strikes 3  failures 0",
        "game duel  online 20  looking 3  matches 5  store 1 job, worst 3.5 ms",
        "",
        "session*             age     here     in/s    out/s    inB/s   outB/s   drop/s   rtt ms      script",
        "s00                1 min      1/2        0        0        0        0        1       42           -",
        "s01                1 min      1/2        1        0        0        0        1       42           -",
        "",
    ]
    assert len(lines) == 24
    assert lines[-1].startswith("q quit")


def test_drops_are_named() -> None:
    before = Look(0.0, status(counters={"dropped_stale": 1, "dropped_no_target": 0, "dropped_rate": 7}))
    now = Look(1.0, status(counters={"dropped_stale": 3, "dropped_no_target": 1500, "dropped_rate": 7}))
    assert "dropped 1.5k/s: no target 1.5k, stale 2" in "\n".join(picture(Figures(before, now)))


def test_forty_columns_show_what_matters_most() -> None:
    lines = picture(many(1), 40)
    assert lines[-1] == "q quit  arrows  Enter  Esc"
    (title,) = [line for line in lines if line.startswith("session")]
    assert title.split() == ["session*", "here", "in/s", "out/s"]
    whole = "0123456789abcdef"
    for width in (60, 80, 120):
        lines = picture(Figures(None, session_look(0.0, {whole: {}})), width)
        assert any(line.startswith(whole) for line in lines)


def test_sorting_and_choosing() -> None:
    figures, view = many(3), View()

    def order() -> list[str]:
        return [line.split()[0] for line in picture(figures, view=view) if line.startswith("s0")]

    assert order() == ["s00", "s01", "s02"]
    view.press("r", figures.sessions)
    assert order() == ["s02", "s01", "s00"]
    view.press("r", figures.sessions)
    for _ in range(3):
        view.press("right", figures.sessions)
    assert COLUMNS[view.sorted_by].title == "in/s"
    assert order() == ["s02", "s01", "s00"]
    for _ in range(4):
        view.press("left", figures.sessions)
    assert COLUMNS[view.sorted_by].title == "script"
    for _ in range(9):
        view.press("down", figures.sessions)
    assert view.session_id == "s02"
    view.press("up", figures.sessions)
    assert view.session_id == "s01"
    view.press("enter", figures.sessions)
    assert "session s01  age 1 min 2 s  here 1 of 2" in picture(figures, view=view)
    view.press("back", figures.sessions)
    assert order() == ["s00", "s01", "s02"]


def test_the_cursor_stays_in_sight_and_on_its_session() -> None:
    figures, view = many(60), View()
    for presses in (35, 50):
        for _ in range(presses):
            view.press("down", figures.sessions)
        shown = [line for line in draw(figures, view, 100, 24) if any(each.style == "7" for each in line)]
        assert [line[0].text.split()[0] for line in shown] == [view.session_id]
    assert view.session_id == "s59"
    for _ in range(30):
        view.press("up", figures.sessions)
    others = many(20)  # the chosen one is no more: the cursor is at the first
    (line,) = [line for line in draw(others, view, 100, 24) if any(each.style == "7" for each in line)]
    assert line[0].text.startswith("s00 ")


def test_inside_a_session() -> None:
    view = View()
    view.inside = True
    script = {"path": "/g/t.py", "state": "off", "strikes": 3, "longestMs": 2.5}
    sessions = {"a": {"packets_in": 1234, "dropped_stale": 5, "bytes_in": 0}, "b": {}}
    look = session_look(1.0, sessions, inside=inside("a", script=script))
    text = "\n".join(picture(Figures(None, look), view=view))
    assert "peer  player  " in text
    assert "\n   1  tom       ready     link      42       2       5\n" in text
    assert "\n   2  pia       expected  -          -       -       -\n" in text
    assert "\nscript /g/t.py  state off  strikes 3  longestMs 2.5\n" in text
    assert "\nin all\npackets_in 1.2k  dropped_stale 5" in text
    assert "tom" not in "\n".join(picture(Figures(None, session_look(1.0, sessions, inside=inside("b"))), view=view))
    for _ in range(100):
        view.press("down", ())
    lines = picture(Figures(None, look), 100, 16, view)
    assert lines[-2].startswith("packets_in 1.2k")


def test_before_the_first_answer_there_is_the_reason() -> None:
    lines = picture(None, 40, 8, trouble="no server: " + "start one " * 20)
    assert lines[0].startswith("no server: start one")
    assert len(lines) == 8


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@settings(max_examples=60)
@given(names, names, names, st.integers(1, 130), st.integers(1, 40), st.booleans())
def test_no_text_and_no_size_breaks_a_picture(
    player: str, path: str, game: str, width: int, height: int, is_inside: bool
) -> None:
    """Fed to a terminal that lets nothing wrap, scroll or escape."""
    script = {"path": path, "state": "running", "strikes": 1}
    told = inside("a", script=script)
    told["players"][0]["playerId"] = player
    more = {"platform": {**PLATFORM, "game": game}, "governor": GOVERNOR, "inside": told}
    look = session_look(1.0, {"a": {"packets_in": 5}, "b": {}}, **more)
    view = View()
    view.inside = is_inside
    screen = Screen(max(width, 20), height)
    lines = draw(Figures(None, look), view, width, height, trouble=f"trouble with {game!r}")
    assert len(lines) == height
    screen.feed("\r\n".join(paint(line, styled=True, coloured=True) for line in lines).encode())


@given(names, st.integers(0, 40))
def test_what_fits_is_no_wider(text: str, width: int) -> None:
    assert wide(fit(text, width)) <= width
    assert wide(fit(text, width, fill=True)) == width
    assert wide(fit(text, width, fill=True, right=True)) == width


@given(st.lists(st.tuples(st.just("label"), names.map(Piece)), max_size=9), st.integers(60, 100))
def test_what_flows_loses_nothing(items: list[tuple[str, Piece]], width: int) -> None:
    lines = flow(items, width)
    assert [each.text for line in lines for each in line].count("label ") == len(items)
    for line in lines:
        assert wide("".join(each.text for each in line)) <= max(width, 70)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((None, "-"), (0, "0"), (0.004, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.999, "1"), (1, "1"), (3.44, "3.4")),
        *((9.96, "10"), (812.4, "812"), (999.4, "999"), (999.6, "1k"), (1234, "1.2k"), (34_000_000, "34M")),
        (1e30, "much"),
    ],
)
def test_short_numbers(number: float | None, text: str) -> None:
    assert short(number) == text


def test_colours_are_left_out_and_other_styles_stay() -> None:
    line = [Piece("a", "31"), Piece("b", "1"), Piece("c")]
    assert paint(line, styled=True, coloured=True) == "\x1b[31ma\x1b[0m\x1b[1mb\x1b[0mc"
    assert paint(line, styled=True, coloured=False) == "a\x1b[1mb\x1b[0mc"
    assert paint(line, styled=False, coloured=False) == "abc"


def test_keys() -> None:
    assert keys_in(b"\x1b[A\x1bOBx\x1b[C\x1b[Dq\r\x7f") == ["up", "down", "right", "left", "quit", "enter", "back"]
    assert keys_in(b"\x1b") == ["back"]
    assert keys_in(bytes(range(0x80, 0x100))) == []


# In pipes


def answered(server: ServerDouble, look: Look) -> None:
    server.answers["overview"] = {"ok": True, **look.overview}


def test_one_picture_for_a_pipe(gsrt: Run, server: ServerDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    answered(server, session_look(0.0, {f"s{number:02}": {} for number in range(60)}, pid=os.getpid()))
    out = gsrt("top", "--once", "--seconds", "0.2").out
    assert "\x1b" not in out
    assert sum(line.startswith("s") and line[1:3].isdigit() for line in out.splitlines()) == 60
    assert len(server.requests) == 2  # for there are no rates in one look


def test_lines_for_programs(gsrt: Run, server: ServerDouble) -> None:
    look = session_look(0.0, {"a": {"packets_in": 5}})
    answered(server, look)
    (line,) = gsrt("top", "--json", "--once", "--seconds", "0.2").out.splitlines()
    found = json.loads(line)
    assert found.items() >= {**look.overview, "perSession": found["perSession"]}.items()
    assert found["perSecond"] == {"packets_in": 0.0, "bytes_in": 0.0, "dropped_stale": 0.0}
    (session,) = found["perSession"]
    assert (session["sessionId"], session["perSecond"], session["roundTripMs"]) == ("a", {"packets_in": 0.0}, 41.5)


def test_a_server_of_another_version(gsrt: Run, server: ServerDouble) -> None:
    server.answers["overview"] = {"ok": True, "version": "0.0.9", "pid": 4711}
    outcome = gsrt("top", "--once")
    assert (outcome.status, "the server is gsrt 0.0.9" in outcome.err) == (1, True)


def test_without_a_terminal_or_a_server(gsrt: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    outcome = gsrt("top")
    assert (outcome.status, "--once" in outcome.err) == (2, True)
    outcome = gsrt("top", "--once", "--control", str(tmp_path / "none.sock"))
    assert (outcome.status, "no gsrt server" in outcome.err) == (1, True)
    for seconds in ("0", "0.1", "-1", "x", "nan", "99999"):
        assert gsrt("top", "--seconds", seconds).status == 2


# In a terminal


def top(
    server: ServerProcess, width: int = 100, height: int = 30, *, shell: str | None = None, **environment: str
) -> OnScreen:
    usual = {**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    usual.pop("NO_COLOR", None)
    words = ["-m", "gsrt", "top", "--control", server.control_path, "--seconds", "0.2"]
    words = [sys.executable, *(() if shell is None else ("-c", shell)), *words]
    return OnScreen(words, width, height, directory=PROJECT, environment=usual | environment)


@pytest.fixture(scope="module")
def real(certificate: tuple[str, str]) -> Iterator[ServerProcess]:
    with ServerProcess(certificate=certificate) as server:
        yield server


def test_play_is_shown_and_a_session_looked_into(real: ServerProcess) -> None:
    players = ["tom", "p\x1b[2Jia", "\N{HIRAGANA LETTER A}" * 30]
    made = real.control({"do": "session.create", "players": players})
    session = Session(real.host, real.port, made["players"][0]["accessToken"])
    session.start_background()
    try:
        with top(real) as program:

            def shows_traffic(screen: Screen) -> bool:
                if session.ready:
                    for _ in range(20):
                        session.send(7, Intent.UNRELIABLE, payload=b"x" * 100)
                rows = [line.split() for line in screen.lines if line.startswith(made["sessionId"])]
                return bool(rows) and rows[0][3] == "1/3" and rows[0][4] not in ("0", "-")

            screen = program.until(shows_traffic)
            assert screen.is_alternate and not screen.cursor_shown
            assert f"at 127.0.0.1:{real.port}" in screen.lines[0]
            program.type("\r")
            program.until(lambda screen: "p\\x1b[2Jia" in screen.text and "   1  tom" in screen.text)
            assert {"1", "0"} < screen.styles
            program.type("\x1b")
            program.until(lambda screen: "session*" in screen.text)
            program.type("q")
            assert program.end() == 0
            assert not screen.is_alternate and screen.cursor_shown
    finally:
        session.stop()
        real.control({"do": "session.end", "sessionId": made["sessionId"]})


def test_narrow_and_resized_without_colour(real: ServerProcess) -> None:
    with top(real, 40, 14, NO_COLOR="1") as program:
        screen = program.until(lambda screen: screen.lines[-1].startswith("q quit"))
        for width, height in ((100, 40), (20, 5), (70, 3), (120, 10)):
            program.resize(width, height)
            program.until(lambda screen: screen.lines[-1].startswith("q quit") and screen.lines[0].startswith("gsrt"))
        assert not screen.styles & {"31", "32", "33"}
        program.type("\x04")
        assert program.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_whatever_ends_it_the_terminal_is_as_before(real: ServerProcess, number: signal.Signals) -> None:
    with top(real) as program:
        before = program.modes
        screen = program.until(lambda screen: screen.is_alternate and "players" in screen.text)
        assert program.modes != before
        os.kill(program.pid, number)
        assert program.end() == 128 + number
        assert not screen.is_alternate and screen.cursor_shown
        assert program.modes == before


# What a shell does with a program of its own (glibc's manual, "Implementing a Shell"): it has the terminal while it
# runs, and again when a line is typed after it has been stopped.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
while os.WIFSTOPPED(status := os.waitpid(pid, os.WUNTRACED)[1]):
    os.tcsetpgrp(0, os.getpid())
    print("stopped", flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, pid)
    os.kill(pid, signal.SIGCONT)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_gives_it_back(real: ServerProcess) -> None:
    with top(real, shell=SHELL) as program:
        screen = program.until(lambda screen: screen.is_alternate and "players" in screen.text)
        program.type("\x1a")
        program.until(lambda screen: "stopped" in screen.text)
        assert not screen.is_alternate and screen.cursor_shown
        program.type("fg\n")
        program.until(lambda screen: screen.is_alternate and not screen.cursor_shown)
        program.until(lambda screen: "fg" not in screen.text and "players" in screen.text)
        program.type("q")
        assert program.end() == 0
        assert not screen.is_alternate


def test_nothing_stops_where_there_is_no_shell(real: ServerProcess) -> None:
    with top(real) as program:
        program.until(lambda screen: screen.is_alternate and "players" in screen.text)
        program.type("\x1a")
        program.until(lambda screen: screen.entered == 2 and "players" in screen.text)
        program.type("q")
        assert program.end() == 0


def test_the_server_goes_away_and_comes_back(certificate: tuple[str, str]) -> None:
    with ServerProcess(certificate=certificate) as server, top(server) as program:
        program.until(lambda screen: "players none" in screen.text)
        first = server.process.pid
        assert server.terminate() == 0
        program.until(lambda screen: "no new figures: no gsrt server listens" in screen.text)
        server.start()
        program.until(
            lambda screen: "no new figures" not in screen.text and f"process {server.process.pid}" in screen.text
        )
        assert server.process.pid != first
        program.type("q")
        assert program.end() == 0


def test_lines_until_the_reader_goes(real: ServerProcess) -> None:
    """Lines come until who reads them has had enough."""
    with subprocess.Popen(
        [sys.executable, "-m", "gsrt", "top", "--json", "--seconds", "0.2", "--control", real.control_path],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        pids = [json.loads(program.stdout.readline())["pid"] for _ in range(2)]
        assert pids == [real.process.pid] * 2
        program.stdout.close()
        assert program.wait(DEADLINE) == 1
