"""The promise of each profile: however much is asked of a server, it never takes more memory than that.

A real server is loaded as far as it lets itself be: all sessions with all players, scripts that keep what they can,
players who never read while the others of their sessions send as much as they may, links whose other end has fallen
silent, strangers of every kind, new sessions until they are refused; besides, where a game is served, players who sign
in and play it, and browsers. Those who just play must not notice.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.box.load import Crowd, Peer
from tests.box.memory import MEBIBYTE, peak
from tests.box.siege import BY_LINK, HOARD, SESSIONS, Siege, hoarder, limits, told_of
from tests.platform.client import PlatformClient
from tests.platform.killing import API_KEY, PRICE, SECRET, SIGNUP, write_game
from tests.support.server import ServerProcess

HOARDERS = 40  # sessions whose scripts together would take far more than there is
GAMERS = 16
SMALL_BOARDS = ("pi-zero-w", "pi-zero-2-w")
PAGE_BYTES = 3 * MEBIBYTE  # of a file of www/
DEADLINE = 20.0

# Profiles in which the largest that all may take fits into the promise, and one in which it is far beyond: there the
# server has to take back what it gave to those who do not read.
CASES = {
    **{name: limits(name) for name in SMALL_BOARDS},
    "overcommitted": limits("generic", memory_bytes_max=64 * MEBIBYTE),
}


@pytest.mark.parametrize("case", CASES)
def test_the_promise_is_kept(case: str, tmp_path: Path, certificate: tuple[str, str]) -> None:
    profile = CASES[case]
    script = hoarder(tmp_path, texts=40, characters=1000, passes_on=True)
    server = ServerProcess(overrides=profile, certificate=certificate)
    with server, Crowd() as crowd, closing(Siege(server, crowd, script, int(profile["packet_bytes_max"]))) as siege:
        good: list[Peer] = siege.good
        crowd.play(0.3, 0.1)
        siege.hoard()
        siege.besiege()
        crowd.play(0.3, 0.1)
        siege.stop_reading()
        siege.flood_until_cut()
        why = siege.fill_with_sessions()
        crowd.play(0.3, 0.1)
        crowd.until(lambda: not siege.missing(), "all packets among those who read")
        status = server.status()
        most = peak(server)
        print(f"{case}: at most {most / MEBIBYTE:.1f} MiB, taken back: {status['governor']['takenBack']}")
        assert most <= profile["memory_bytes_max"]
        assert not any(peer.lost for peer in good)
        assert [told_of(player) for player in siege.linked] == [[]] * BY_LINK
        assert status["scripts"]["off"] == 0
        if case == "overcommitted":
            assert "of memory" in why and "end a session" in why
            assert status["governor"]["takenBack"]["readers_cut"] > 0
        else:
            assert f"{SESSIONS} sessions are open" in why


def test_the_promise_is_kept_when_all_scripts_take_what_they_can_at_once(tmp_path: Path) -> None:
    """Scripts are switched off, the largest first; their sessions go on as plain relays."""
    script = hoarder(tmp_path, texts=6, characters=900_000, passes_on=False)
    promise = 96 * MEBIBYTE
    server = ServerProcess(overrides=limits("generic", memory_bytes_max=promise))
    server.allowed_errors = ("script",)
    with server, Crowd() as crowd:
        for _ in range(HOARDERS):
            crowd.join(server.create(2, script=str(script)), range(2))
            crowd.until(lambda: all(peer.ready for peer in crowd.peers), "everyone is in")
        for peer in crowd.peers[::2]:
            peer.send(HOARD, b"more")
        crowd.play(0.5, 0.1)
        crowd.until(
            lambda: all(list(peer.beats.values()) == [list(range(1, crowd.beat + 1))] for peer in crowd.peers),
            "everyone hears the other one",
        )
        status = server.status()
        print(f"scripts: at most {peak(server) / MEBIBYTE:.1f} MiB, {status['scripts']}")
        assert peak(server) <= promise
        assert 0 < status["governor"]["takenBack"]["scripts_off"] < HOARDERS
        assert not any(peer.lost for peer in crowd.peers)


class Gamer(threading.Thread):
    """Somebody who registers, buys and scores, and signs in again and again, until told to stop."""

    def __init__(self, server: ServerProcess, number: int) -> None:
        super().__init__(daemon=True)
        self.name = f"gamer{number}"
        self.points = 0  # acknowledged
        self.hats = 0
        self.failure: BaseException | None = None
        self.over = threading.Event()
        self._server = server

    def run(self) -> None:
        try:
            with self._client() as client:
                client.register(self.name)
                while not self.over.is_set():
                    self._play(client)
        except BaseException as error:
            self.failure = error

    def _play(self, client: PlatformClient) -> None:
        if (self.hats + 1) * PRICE <= SIGNUP:
            client.ask("BuyVirtualGoodsRequest", shortCode="hat", quantity=1, currencyShortCode="gold")
            self.hats += 1
        for points in range(1, 4):
            client.ask("LogEventRequest", eventKey="score", points=points)
            self.points += points
        client.ask("LeaderboardDataRequest", leaderboardShortCode="total", entryCount=GAMERS)
        with self._client() as again:
            again.ask("AuthenticationRequest", userName=self.name, password="password-1")

    def _client(self) -> PlatformClient:
        return PlatformClient(self._server.host, self._server.port, API_KEY, SECRET, device_id=self.name)


@contextmanager
def gamers(server: ServerProcess) -> Iterator[list[Gamer]]:
    """They play meanwhile; none of them has failed by the end."""
    found = [Gamer(server, number) for number in range(GAMERS)]
    for each in found:
        each.start()
    try:
        yield found
    finally:
        for each in found:
            each.over.set()
        for each in found:
            each.join(DEADLINE)
    assert [each.failure for each in found] == [None] * GAMERS
    assert not any(each.is_alive() for each in found)


def ask_for_page(server: ServerProcess) -> socket.socket:
    browser = socket.create_connection((server.host, server.port), timeout=DEADLINE)
    browser.sendall(b"GET /page.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return browser


def download(server: ServerProcess) -> bytes:
    """The whole file, as a browser gets it."""
    with ask_for_page(server) as browser:
        answer = bytearray()
        while piece := browser.recv(1 << 16):
            answer += piece
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body


def scores(server: ServerProcess) -> dict[str, int]:
    """The leaderboard, as a player sees it."""
    with PlatformClient(server.host, server.port, API_KEY, SECRET) as client:
        client.ask("AuthenticationRequest", userName="gamer0", password="password-1")
        answer = client.ask("LeaderboardDataRequest", leaderboardShortCode="total", entryCount=50)
    return {entry["userName"]: entry["points"] for entry in answer["data"]}


@pytest.mark.parametrize("name", SMALL_BOARDS)
def test_the_promise_is_kept_with_a_game(name: str, tmp_path: Path, certificate: tuple[str, str]) -> None:
    """As above, while others play a game: passwords are hashed, the store writes, browsers get a file, and some of them
    do not take it."""
    profile = limits(name)
    script = hoarder(tmp_path, texts=70, characters=1000, passes_on=True)
    game = write_game(tmp_path / "game")
    page = bytes(range(256)) * (PAGE_BYTES // 256)
    (game / "www").mkdir()
    (game / "www" / "page.bin").write_bytes(page)
    server = ServerProcess(overrides=profile, certificate=certificate, arguments=(str(game),))
    with server, Crowd() as crowd, closing(Siege(server, crowd, script, int(profile["packet_bytes_max"]))) as siege:
        with gamers(server) as playing:
            crowd.play(0.3, 0.1)
            siege.hoard()
            siege.besiege()
            crowd.strangers += [ask_for_page(server) for _ in range(int(profile["www_downloads_max"]) - 1)]
            crowd.play(0.3, 0.1)
            siege.stop_reading()
            siege.flood_until_cut()
            why = siege.fill_with_sessions()
            assert download(server) == page
            crowd.until(lambda: all(each.points >= 6 or each.failure for each in playing), "the gamers do not get on")
            crowd.until(lambda: not siege.missing(), "all packets among those who read")
        status = server.status()
        most = peak(server)
        counts = status["platform"]["counters"]
        print(f"{name} with a game: at most {most / MEBIBYTE:.1f} MiB, {counts}, {status['governor']['takenBack']}")
        assert most <= profile["memory_bytes_max"]
        assert scores(server) == {each.name: each.points for each in playing}
        assert not any(peer.lost for peer in siege.good)
        assert [told_of(player) for player in siege.linked] == [[]] * BY_LINK
        assert status["scripts"]["off"] == 0
        assert f"{SESSIONS} sessions are open" in why
