"""A server that a service manager starts again: with what it left there, players notice nothing, or come back. Where
the manager keeps nothing, the server becomes the next one by itself."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.driver import Driver
from tests.sessions.match import Match
from tests.sessions.player import linked_players
from tests.support.manager import Manager
from tests.support.server import ServerProcess, until

SOUND = ("gsrt-datagrams", "gsrt-image", "gsrt-listener", "gsrt-note")  # what a running server has left
CRASHED = "error restarted: the server did not answer "


@pytest.fixture
def manager() -> Iterator[Manager]:
    with tempfile.TemporaryDirectory(prefix="gsrt-") as folder:  # a short path: it is a socket's
        manager = Manager(Path(folder))
        yield manager
        manager.close()


@pytest.fixture
def server(manager: Manager) -> Iterator[ServerProcess]:
    with ServerProcess(manager=manager, overrides={"grace_seconds": 20}) as server:
        yield server


@pytest.fixture
def forgetful() -> Iterator[Manager]:
    """A manager whose unit has no FileDescriptorStoreMax=."""
    with tempfile.TemporaryDirectory(prefix="gsrt-") as folder:
        manager = Manager(Path(folder), keeps=0)
        yield manager
        manager.close()


def start_again(server: ServerProcess, *, by: signal.Signals) -> int:
    """Ends the server by a signal and starts the next: the exit status of the first."""
    server.process.send_signal(by)
    status = server.wait()
    server.start()
    return status


def test_what_the_next_needs_is_left_from_the_start(server: ServerProcess, manager: Manager) -> None:
    until(lambda: sorted(manager.names()) == list(SOUND), server)
    until(lambda: any("READY" in each for each in manager.told), server)


def test_clients_notice_nothing_of_a_hand_over(server: ServerProcess, manager: Manager, driver: Driver) -> None:
    match = Match(server, driver, 3)
    doubles = match.all_ready(("cpp-plain", "cs-plain", "js-ws"))

    for _ in range(2):
        assert start_again(server, by=signal.SIGUSR2) == 0
        match.barrier()

    for double in doubles:
        assert (double.told("player disconnect"), double.logins) == ([], 1), double.describe()
    until(lambda: sorted(manager.names()) == list(SOUND), server)  # what was taken is not kept


def test_a_link_notices_nothing_of_a_hand_over(server: ServerProcess) -> None:
    with linked_players(server.create(2), server) as players:
        server.process.send_signal(signal.SIGUSR2)
        assert server.wait() == 0
        for player in players:
            player.send(5, 1)  # while nobody serves
        server.start()
        for player in players:
            player.expect(5, {1: 1}, sender=3 - player.session.peer_id)
            assert player.told.empty()


def test_whoever_connects_meanwhile_waits(server: ServerProcess, driver: Driver) -> None:
    match = Match(server, driver, 1)
    server.process.send_signal(signal.SIGUSR2)
    assert server.wait() == 0

    late = match.client("cs-plain", 1)
    server.start()

    match.until_ready([late])


def test_after_a_crash_players_come_back_with_their_tokens(server: ServerProcess, driver: Driver) -> None:
    server.allowed_errors = (CRASHED,)
    match = Match(server, driver, 2)
    doubles = match.all_ready(("cs-plain", "cs-plain"))

    assert start_again(server, by=signal.SIGKILL) == -signal.SIGKILL

    driver.run_until(lambda: all(each.logins == 2 and each.ready for each in doubles), "the return")
    match.barrier()
    assert any(line.startswith(CRASHED) for line in server.log_path.read_text().splitlines())


def test_a_stop_says_goodbye(server: ServerProcess, manager: Manager, driver: Driver) -> None:
    match = Match(server, driver, 1)
    double = match.ready("cs-plain", 1)

    assert start_again(server, by=signal.SIGTERM) == 0

    driver.run_until(lambda: not double.ready, "the goodbye")
    assert server.session_ids() == []


def test_what_is_no_image_is_told_and_the_server_starts(manager: Manager) -> None:
    with tempfile.TemporaryFile() as file, socket.socket() as other:
        manager.kept += [("gsrt-image", os.dup(file.fileno())), ("gsrt-stream", os.dup(other.fileno()))]
        with ServerProcess(manager=manager) as server:
            assert server.session_ids() == []
            until(lambda: "gsrt-stream" not in manager.names(), server)


def test_what_another_version_has_handed_over_costs_the_connections_only(
    server: ServerProcess, manager: Manager, driver: Driver
) -> None:
    server.allowed_errors = ("error players have to come back by themselves",)
    match = Match(server, driver, 2)
    doubles = match.all_ready(("cs-plain", "cs-plain"))
    server.process.send_signal(signal.SIGUSR2)
    assert server.wait() == 0
    (live,) = [descriptor for name, descriptor in manager.kept if name == "gsrt-live"]
    os.pwrite(live, b"gsrtliv2", 0)

    server.start()
    driver.run_until(lambda: all(each.logins == 2 and each.ready for each in doubles), "the return")

    assert server.session_ids() == [match.table.session_id]


def test_who_finds_no_place_in_the_store_comes_back_unnoticed(
    server: ServerProcess, manager: Manager, driver: Driver
) -> None:
    match = Match(server, driver, 3)
    doubles = match.all_ready(("cs-plain", "cs-plain", "cs-plain"))
    server.process.send_signal(signal.SIGUSR2)
    assert server.wait() == 0
    name, last = manager.kept.pop()
    assert name == "gsrt-stream"  # all of them, in a bundle
    os.close(last)

    server.start()
    driver.run_until(lambda: sum(each.logins for each in doubles) == 6, "the return of all")
    match.until_ready(doubles)

    assert [each.told("player disconnect") for each in doubles] == [[], [], []]
    assert server.control({"do": "status"})["handOver"]["playersToComeBack"] == 3


@pytest.mark.parametrize("told", ["signal", "control"])
def test_where_nothing_is_kept_the_same_process_goes_on(
    told: str,
    forgetful: Manager,
    driver: Driver,
    certificate: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with ServerProcess(manager=forgetful, certificate=certificate, overrides={"grace_seconds": 20}) as server:
        assert "systemd keeps nothing for this service" in server.log()
        match = Match(server, driver, 2)
        doubles = match.all_ready(("cs-plain", "js-ws"))
        with linked_players(server.create(2), server) as players:
            for times in (1, 2):
                if told == "signal":
                    server.process.send_signal(signal.SIGUSR2)
                else:
                    answer = server.control({"do": "restart"})
                    assert (answer["pid"], answer["managed"]) == (server.process.pid, False)
                until(lambda times=times: count_of(forgetful, "READY STATUS") == 1 + times, server)  # type: ignore[misc]
                match.barrier()
                players[0].send(5, times)
                players[1].expect(5, {1: times}, sender=players[0].session.peer_id)

            assert server.process.poll() is None
            assert [player.told.empty() for player in players] == [True, True]
        for double in doubles:
            assert (double.told("player disconnect"), double.logins) == ([], 1), double.describe()
        fed = count_of(forgetful, "WATCHDOG")
        until(lambda: count_of(forgetful, "WATCHDOG") > fed, server)
        assert count_of(forgetful, "MONOTONIC_USEC RELOADING") == 2
        changing = list(forgetful.told).index("MONOTONIC_USEC RELOADING")
        assert forgetful.told[changing + 1] == "WATCHDOG"  # as late as can be: the next one needs time to start
        assert count_of(forgetful, "STATUS STOPPING") == 0  # systemd would make an end of it
        assert forgetful.told.count("FDNAME FDPOLL FDSTORE") == 0
        server.stop()
        assert count_of(forgetful, "STATUS STOPPING") == 1


def count_of(manager: Manager, names: str) -> int:
    """How many messages had these lines and no others."""
    return list(manager.told).count(names)
