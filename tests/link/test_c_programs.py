"""Programs in C that use the link: the example, what the README shows, and mutated datagrams."""

from __future__ import annotations

import os
import re
import selectors
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from gsrt._core import Data, Packet
from gsrt._link import KIND_ORDERED, KIND_SEQUENCED
from tests.link import c_client
from tests.link.c_world import TOKEN, Server
from tests.support.program import Program
from tests.support.server import ServerProcess


class Serving:
    """A Server on a UDP socket of the loopback interface, in a thread, for as long as the block lasts."""

    def __init__(self) -> None:
        self.server = Server()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.01)
        self.port: int = self._socket.getsockname()[1]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Serving:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        """Answers each message with one of its own, and ends the connection after the message "end"."""
        address: Any = None
        echoed = 0
        while not self._ending.is_set():
            now = time.monotonic()
            try:
                datagram, address = self._socket.recvfrom(2048)
                self.server.receive_datagram(datagram, now)
            except TimeoutError:
                pass
            if self.server.next_timer() <= now:
                self.server.handle_timer(now)
            for kind, stream, packet in self.server.messages[echoed:]:
                echo = Packet.decode(packet)
                echo.sender = 3
                self.server.send(echo.encode(), kind, stream if stream == 0 else 16 * 3 + stream, now)
            echoed = len(self.server.messages)
            for datagram in self.server.datagrams_to_send(now):
                if address is not None:
                    self._socket.sendto(datagram, address)


def test_the_example_joins(tmp_path: Path) -> None:
    subprocess.run(["make", "-s", "-C", str(c_client.SOURCES), f"BUILD={tmp_path}"], check=True)
    with Serving() as serving:
        command = [str(tmp_path / "gsrt_example"), "127.0.0.1", str(serving.port), TOKEN]
        result = subprocess.run(command, input="hello\nwörld\n", capture_output=True, text=True, timeout=20, check=True)
        lines = result.stdout.splitlines()
        assert lines[0] == "in, as peer 2" and lines[1].startswith("peers: ")
        assert lines[-1] == "closed: left"
        texts = [Packet.decode(packet).data for _, _, packet in serving.server.messages]
        assert texts == [Data({1: "hello"}), Data({1: "wörld"})]
        refused = [*command[:-1], "another token"]
        assert "refused: the token" in subprocess.run(refused, capture_output=True, text=True, timeout=20).stdout


ENGINE = """
#define _POSIX_C_SOURCE 200112L
#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int udp;

double engine_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void engine_send(const uint8_t *datagram, size_t size) { send(udp, datagram, size, 0); }

size_t engine_receive(uint8_t *datagram, size_t capacity)
{
    const ssize_t size = recv(udp, datagram, capacity, MSG_DONTWAIT);
    return size < 0 ? 0 : (size_t)size;
}

void engine_new_socket(void) {}

int main(int argc, char **argv)
{
    struct sockaddr_in server = {0};
    const struct timespec frame = {0, 16000000};
    (void)argc;
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    connect(udp, (struct sockaddr *)&server, sizeof server);
    if (!net_begin(argv[2])) {
        return 1;
    }
    for (int frames = 0; frames < 60 && net_frame(); frames++) {
        nanosleep(&frame, NULL);
    }
    net_leave();
    return 0;
}
"""


def test_what_the_readme_shows_runs(tmp_path: Path) -> None:
    """Its code is a game's: here is the engine."""
    (shown,) = re.findall(r"^```c\n(.*?)^```", (c_client.SOURCES / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    before, _, after = ENGINE.partition("#include <arpa/inet.h>")
    source = tmp_path / "game.c"
    source.write_text(before + shown + "#include <arpa/inet.h>" + after)
    program = tmp_path / "game"
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-DGSRT_LINK_SODIUM", f"-I{c_client.SOURCES}"]
    sources = [str(source), str(c_client.SOURCES / "gsrt_link.c")]
    subprocess.run([*command, *sources, "-lsodium", "-o", str(program)], check=True)
    with Serving() as serving:
        result = subprocess.run(
            [str(program), str(serving.port), TOKEN], capture_output=True, text=True, timeout=20, check=True
        )
        kinds = sorted((kind, stream) for kind, stream, _ in serving.server.messages)
        assert kinds == [(KIND_SEQUENCED, 1), (KIND_ORDERED, 0)]
    assert sorted(result.stdout.splitlines()) == ["in, as peer 2 of 3", "peer 3 is at 1.5 -2", "peer 3 says hello"]


def test_mutated_datagrams(tmp_path: Path) -> None:
    """GSRT_FUZZ_DATAGRAMS says how many; 10 million take some minutes."""
    count = os.environ.get("GSRT_FUZZ_DATAGRAMS", "100000")
    subprocess.run(["make", "-s", "-C", str(c_client.SOURCES), f"BUILD={tmp_path}", str(tmp_path / "fuzz")], check=True)
    result = subprocess.run([str(tmp_path / "fuzz"), "1", count], capture_output=True, text=True, timeout=3600)
    assert result.returncode == 0, result.stderr[-4000:]
    assert int(result.stdout.split()[0]) >= int(count)


def test_examples_play_on_a_server(tmp_path: Path) -> None:
    """Two of them, `gsrt serve` in between; one is put out in the end."""
    subprocess.run(["make", "-s", "-C", str(c_client.SOURCES), f"BUILD={tmp_path}"], check=True)
    programs: list[Program] = []
    with ServerProcess() as server:
        table = server.create(2)
        try:
            for seat in table.seats:
                words = [str(tmp_path / "gsrt_example"), table.host, str(table.port), seat.token]
                programs.append(Program(words, tmp_path, dict(os.environ)))
                programs[-1].expect(f"in, as peer {seat.peer_id}")
            one, other = programs
            one.until(lambda line: line == "peer 2 has come")
            one.type("hello")
            other.until(lambda line: line == "1> hello")
            other.type("grüß dich")
            one.until(lambda line: line == "2> grüß dich")
            server.kick(table, table.seats[1])
            other.until(lambda line: line.startswith("closed: "))
            one.until(lambda line: line == "peer 2 has gone")
            one.end_input()
            one.until(lambda line: line == "closed: left")
            assert [program.status() for program in programs] == [0, 0]
        finally:
            for program in programs:
                program.end()


class AddressTranslator:
    """What a home router does, on the loopback interface: each address of a client gets a socket towards the server.
    In a thread, for as long as the block lasts."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._inside = self._bound()
        self.port: int = self._inside.getsockname()[1]
        self._outside: dict[Any, socket.socket] = {}
        self._ignored: set[Any] = set()
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @staticmethod
    def _bound() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        made.bind(("127.0.0.1", 0))
        return made

    def __enter__(self) -> AddressTranslator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        for end in (self._inside, *self._outside.values()):
            end.close()

    def rebind(self) -> None:
        """Each client's datagrams come from another port from now on; what is sent to the old one gets nowhere."""
        with self._lock:
            for address, old in self._outside.items():
                self._outside[address] = self._bound()
                old.close()

    def forget(self) -> None:
        """Nothing passes any more for the clients' addresses that there are."""
        with self._lock:
            self._ignored.update(self._outside)

    def clients(self) -> int:
        """Addresses of clients, those that are forgotten too."""
        with self._lock:
            return len(self._outside)

    def _run(self) -> None:
        while not self._ending.is_set():
            with selectors.DefaultSelector() as selector, self._lock:
                selector.register(self._inside, selectors.EVENT_READ)
                for end in self._outside.values():
                    selector.register(end, selectors.EVENT_READ)
                selector.select(0.002)
                self._pass_on()

    def _pass_on(self) -> None:
        for datagram, address in self._taken(self._inside):
            if address not in self._outside:
                self._outside[address] = self._bound()
            if address not in self._ignored:
                self._outside[address].sendto(datagram, self._server)
        for address, end in self._outside.items():
            for datagram, _ in self._taken(end):
                if address not in self._ignored:
                    self._inside.sendto(datagram, address)

    @staticmethod
    def _taken(end: socket.socket) -> list[tuple[bytes, Any]]:
        made: list[tuple[bytes, Any]] = []
        while True:
            try:
                made.append(end.recvfrom(2048))
            except BlockingIOError:
                return made
            except ConnectionRefusedError:
                continue


def test_an_example_roams_on_a_server(tmp_path: Path) -> None:
    """First the router gives it another port, which it cannot see. Then nothing passes any more, and it takes another
    socket. It stays in all the while, and nothing is lost."""
    subprocess.run(["make", "-s", "-C", str(c_client.SOURCES), f"BUILD={tmp_path}"], check=True)
    programs: list[Program] = []
    with ServerProcess() as server, AddressTranslator(server.port) as router:
        table = server.create(2)
        try:
            for seat, port in zip(table.seats, (router.port, table.port), strict=True):
                words = [str(tmp_path / "gsrt_example"), table.host, str(port), seat.token]
                programs.append(Program(words, tmp_path, dict(os.environ)))
                programs[-1].expect(f"in, as peer {seat.peer_id}")
            roaming, other = programs
            roaming.until(lambda line: line == "peer 2 has come")

            def talk(word: str) -> None:
                roaming.type(f"{word}, there")
                other.until(lambda line: line == f"1> {word}, there")
                other.type(f"{word}, back")
                roaming.until(lambda line: line == f"2> {word}, back")

            talk("at home")
            for move in range(3):
                router.rebind()
                talk(f"port {move}")
            for move in range(2):
                before = router.clients()
                router.forget()
                talk(f"socket {move}")
                assert router.clients() > before
            assert server.counters()["link_moved"] >= 5
            assert server.counters()["link_logins"] == 2
            roaming.end_input()
            roaming.until(lambda line: line == "closed: left")
            other.until(lambda line: line == "peer 1 has gone")
            assert [line for line in other.said if "has" in line] == ["peer 1 has gone"]
        finally:
            for program in programs:
                program.end()
