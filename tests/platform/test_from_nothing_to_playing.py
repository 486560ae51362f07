"""Players who have nothing but an address, a key and a secret come to play in one scripted session: a real server,
plain WebSocket clients that speak JSON, and clients of the session."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gsrt._core import Packet
from gsrt.client import Session
from tests.platform.client import DEADLINE, Message, PlatformClient
from tests.support.server import ServerProcess

API_KEY, SECRET = "k3y", "s3cret"
NAME, SCORE, RANK, RESTORED = 10, 20, 21, 30  # opCodes of the game below

GAME = {
    "game.toml": f"""
        name = "Arena"
        api_key = "{API_KEY}"
        secret = "{SECRET}"
        """,
    "matches/arena.toml": """
        min_players = 3
        max_players = 3
        realtime_script = "arena.py"

        [[threshold]]
        period = 60
        type = "RELATIVE"
        min = -10
        max = 10
        """,
    "leaderboards.toml": """
        [[leaderboard]]
        short_code = "best"
        event = "won"
        attribute = "points"
        """,
    "events/won.py": """
        ATTRIBUTES = {"points": "number"}

        def on_event(event):
            event.reply("thanks", event["points"])
        """,
    "scripts/arena.py": """
        names = {}
        restored = []

        def on_restore():
            restored.append(True)

        def on_player_connect(player):
            request = session.new_request().create_account_details_request()

            def share(response):
                names[player.peer_id] = response["displayName"]
                for peer_id, name in names.items():
                    session.send(10, {1: peer_id, 2: name}, reliable=True)

            request.set_player_id(player.player_id).send(share)
            if restored:
                session.send(30, {1: player.peer_id}, reliable=True)

        @session.on_packet(20)
        def score(packet):
            sender = packet.get_sender()
            request = session.new_request().create_submit_score_request().set_player_id(sender.player_id)

            def written(response):
                if response.has_errors():
                    print(response.get_errors())
                session.send(21, {1: sender.peer_id, 2: response["rank"]}, reliable=True)

            request.set_leaderboard_short_code("best").set_score(packet.data.get_number(1)).send(written)
            return False
        """,
}


def write_game(folder: Path) -> Path:
    """The folder of the game."""
    for name, text in GAME.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip())
    return folder


class Player:
    """Somebody with a device: the platform's client and, when there is a match, the session's."""

    def __init__(self, port: int, name: str, host: str = "127.0.0.1") -> None:
        self.name = name
        self.client = PlatformClient(host, port, API_KEY, SECRET, device_id=f"device-of-{name}").connect()
        self.player_id = self.client.sign_in_device(displayName=name)
        self.found: Message = {}
        self.session: Session | None = None
        self.packets: list[Packet] = []
        self.told: list[bool] = []  # whether it is ready, whenever that changes

    def seek(self, skill: float) -> None:
        self.client.ask("MatchmakingRequest", matchShortCode="arena", skill=skill, participantData={"of": self.name})

    def join(self) -> None:
        """Begins to enter the match's session, at the address that the message names."""
        self.found = self.client.wait_message("MatchFoundMessage")
        self.enter()

    def enter(self) -> None:
        self.packets.clear()
        self.session = Session(
            self.found["host"],
            int(self.found["port"]),
            self.found["accessToken"],
            on_ready=self.told.append,
            on_data=self.packets.append,
        )
        self.session.start()

    def leave(self) -> None:
        if self.session is not None:
            self.session.stop()
            self.session = None

    def heard(self, op_code: int) -> list[tuple[Any, Any]]:
        """Slots 1 and 2 of the packets with that opCode."""
        datas = [each.data for each in self.packets if each.op_code == op_code]
        return [(each.get_long(1), each.get_string(2) or each.get_long(2)) for each in datas if each is not None]


class Company:
    """Everybody's devices, which are put away in the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def player(self, port: int, name: str, host: str = "127.0.0.1") -> Player:
        player = Player(port, name, host)
        self._stack.callback(player.client.close)
        self._stack.callback(player.leave)
        return player

    def players(self, port: int, *names: str) -> list[Player]:
        return [self.player(port, name) for name in names]

    def device(self, port: int, host: str = "127.0.0.1", **how: Any) -> PlatformClient:
        """Another device, connected."""
        client = PlatformClient(host, port, API_KEY, SECRET, **how)
        self._stack.callback(client.close)
        return client.connect()

    def close(self) -> None:
        self._stack.close()


def until(players: Sequence[Player], condition: Callable[[], object], what: str) -> None:
    """Lets the players' sessions run until that holds."""
    end = time.monotonic() + DEADLINE
    while True:
        for each in players:
            if each.session is not None:
                each.session.update()
        if condition():
            return
        assert time.monotonic() < end, f"never: {what}; {[(each.name, each.packets) for each in players]}"
        time.sleep(0.002)  # between two looks


def all_ready(players: Sequence[Player]) -> None:
    def ready() -> bool:
        sessions = [each.session for each in players]
        return all(each is not None and each.ready and len(each.active_peers) == len(players) for each in sessions)

    until(players, ready, "all are ready")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_game(tmp_path / "arena")


@pytest.fixture
def company() -> Iterator[Company]:
    made = Company()
    yield made
    made.close()


@pytest.fixture
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(arguments=(str(folder), "--host", "0.0.0.0")) as process:
        yield process


def test_three_players_from_nothing_to_playing(server: ServerProcess, company: Company) -> None:
    players = company.players(server.port, "Ann", "Ben", "Cleo")
    ann, ben, cleo = players
    for skill, player in enumerate(players):
        player.seek(skill)
    for player in players:
        player.join()
    assert len({each.found["matchId"] for each in players}) == 1
    assert len({each.found["accessToken"] for each in players}) == 3
    assert [
        (each["id"], each["displayName"], each["peerId"], each["participantData"])
        for each in cleo.found["participants"]
    ] == [(each.player_id, each.name, number, {"of": each.name}) for number, each in enumerate(players, 1)]
    all_ready(players)

    names = {(number, each.name) for number, each in enumerate(players, 1)}
    until(players, lambda: all(names <= set(each.heard(NAME)) for each in players), "all know all names")

    for player, points in ((ann, 30), (ben, 50), (cleo, 40)):
        assert player.session is not None
        player.session.send(SCORE, data={1: points}, peers=[0])
    until(players, lambda: all(len(each.heard(RANK)) == 3 for each in players), "all scores are written")
    board = ben.client.ask("LeaderboardDataRequest", leaderboardShortCode="best", entryCount=5)
    assert [(each["rank"], each["userName"], each["points"]) for each in board["data"]] == [
        (1, "Ben", 50),
        (2, "Cleo", 40),
        (3, "Ann", 30),
    ]

    details = ann.client.ask("MatchDetailsRequest", matchId=ann.found["matchId"], realtimeEnabled=True)
    assert (details["accessToken"], details["host"], details["peerId"]) == (
        ann.found["accessToken"],
        ann.found["host"],
        1,
    )
    assert [each["id"] for each in details["opponents"]] == [ben.player_id, cleo.player_id]
    assert server.session_ids() == [ann.found["matchId"]]


def test_the_host_is_the_address_that_each_device_has_reached(server: ServerProcess, company: Company) -> None:
    ann = company.player(server.port, "Ann", "127.0.0.1")
    ben = company.player(server.port, "Ben", "127.0.0.2")
    cleo = company.player(server.port, "Cleo", "127.0.0.3")
    again = company.device(server.port, "127.0.0.9", device_id="device-of-Ann")
    assert again.sign_in_device() == ann.player_id
    for player in (ann, ben, cleo):
        player.seek(1)
    found = [each.wait_message("MatchFoundMessage") for each in (ann.client, ben.client, cleo.client, again)]
    assert [each["host"] for each in found] == ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9"]
    assert found[0]["accessToken"] == found[3]["accessToken"]
    details = again.ask("MatchDetailsRequest", matchId=found[3]["matchId"])
    assert details["host"] == "127.0.0.9"


@pytest.mark.parametrize("killed", [False, True])
def test_a_match_outlives_the_server(folder: Path, company: Company, killed: bool) -> None:
    with ServerProcess(arguments=(str(folder),)) as server:
        *players, dora = company.players(server.port, "Ann", "Ben", "Cleo", "Dora")
        for player in players:
            player.seek(1)
        for player in players:
            player.join()
        all_ready(players)
        dora.seek(1)
        for player in players:
            player.leave()
            player.client.close()
        dora.client.close()
        if killed:
            server.process.kill()
            server.process.wait()
    with ServerProcess(arguments=(str(folder),), port=server.port) as server:
        for player in players:
            player.enter()
        all_ready(players)
        for player in players:  # what the script keeps from the others is kept from them at once
            assert player.session is not None
            player.session.send(SCORE, data={1: 5})
        until(players, lambda: all(len(each.heard(RANK)) == 3 for each in players), "the script writes scores")
        assert not any(each.heard(SCORE) for each in players)
        until(players, lambda: all(each.heard(RESTORED) for each in players[2:]), "the script knows")
        back = company.device(server.port, auth_token=players[0].client.auth_token)
        assert back.handshake["userId"] == players[0].player_id
        details = back.ask("MatchDetailsRequest", matchId=players[0].found["matchId"])
        assert details["accessToken"] == players[0].found["accessToken"]
        late = company.device(server.port, auth_token=dora.client.auth_token)
        late.ask("MatchmakingRequest", matchShortCode="arena", action="cancel")
        for player in players:
            player.leave()


def test_a_match_goes_on_through_a_hand_over(server: ServerProcess, company: Company) -> None:
    players = company.players(server.port, "Ann", "Ben", "Cleo")
    for player in players:
        player.seek(1)
    for player in players:
        player.join()
    all_ready(players)

    server.process.send_signal(signal.SIGUSR2)
    until(players, lambda: server.log().count("info listening ") == 2, "the hand-over")
    for player in players:
        assert player.session is not None
        player.session.send(SCORE, data={1: 5})

    until(players, lambda: all(len(each.heard(RANK)) == 3 for each in players), "the new script writes scores")
    until(players, lambda: any(each.heard(RESTORED) for each in players), "the new script knows that it is new")
    assert [each.told for each in players] == [[True]] * 3
    back = company.device(server.port, auth_token=players[0].client.auth_token)
    details = back.ask("MatchDetailsRequest", matchId=players[0].found["matchId"])
    assert details["accessToken"] == players[0].found["accessToken"]
    for player in players:
        player.leave()


def test_who_was_offline_is_told_at_the_next_sign_in(server: ServerProcess, company: Company) -> None:
    ann, ben, cleo = company.players(server.port, "Ann", "Ben", "Cleo")
    ann.seek(1)
    ann.client.close()
    ben.seek(1)
    cleo.seek(1)
    cleo.client.wait_message("MatchFoundMessage")
    back = company.device(server.port, device_id="device-of-Ann")
    assert back.sign_in_device() == ann.player_id
    assert back.wait_message("MatchFoundMessage")["host"] == "127.0.0.1"
