"""The control socket over real UNIX sockets: answers, bounds, strangers, dead and living predecessors."""

from __future__ import annotations

import io
import json
import os
import resource
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gsrt.log import Log
from gsrt.transports import control
from gsrt.transports.control import ControlError, ControlServer, Later, call, default_path, find_path

DEADLINE_SECONDS = 10.0


def echo(request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "fail":
        raise KeyError("no such session")
    if request["do"] == "unspeakable":
        return {"ok": True, "value": object()}
    if request["do"] == "refuse":
        return {"ok": False, "error": "not today"}
    return {"ok": True, **request, "padding": "x" * request.get("size", 0)}


class Loop:
    """A loop around one ControlServer, turned by the test: nothing happens on its own."""

    def __init__(
        self, path: Path, handle: Callable[[dict[str, Any]], dict[str, Any] | Later] = echo, **limits: Any
    ) -> None:
        self.now = 100.0
        self.selector = selectors.DefaultSelector()
        self.output = io.StringIO()
        log = Log(self.output, lambda: self.now)
        self.server = ControlServer(str(path), handle, log=log, clock=lambda: self.now, **limits)
        self.server.register(self.selector)
        self.path = str(path)
        self.clients: list[Client] = []

    def turn(self, timeout: float = 0.0) -> int:
        ready = self.selector.select(timeout)
        for key, mask in ready:
            key.data.on_event(key.fd, mask, self.now)
        return len(ready)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            self.turn(0.01)

    def client(self) -> Client:
        self.clients.append(Client(self))
        return self.clients[-1]

    def close(self) -> None:
        for client in self.clients:
            client.socket.close()
        self.server.close()
        assert len(self.selector.get_map()) == 0, "left behind in the selector"
        self.selector.close()


class Client:
    """A bare connection to the control socket."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(loop.path)
        self.socket.setblocking(False)
        self.received = b""
        self.closed = False

    def send(self, data: bytes) -> None:
        """Sends all of DATA, while the server reads."""
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                self.loop.turn()

    def ask(self, *requests: dict[str, Any]) -> None:
        self.send(b"".join(json.dumps(request).encode() + b"\n" for request in requests))

    def receive(self) -> None:
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        self.received += data
        self.closed = self.closed or not data

    def answers(self, count: int) -> list[dict[str, Any]]:
        """The next COUNT answers."""

        def there() -> bool:
            self.receive()
            return self.received.count(b"\n") >= count

        self.loop.until(there)
        *lines, self.received = self.received.split(b"\n", count)
        return [json.loads(line) for line in lines]

    def until_closed(self) -> None:
        def gone() -> bool:
            self.receive()
            return self.closed

        self.loop.until(gone)

    def is_open(self) -> bool:
        for _ in range(5):
            self.loop.turn()
            self.receive()
        return not self.closed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def make_loop(path: Path) -> Iterator[Callable[..., Loop]]:
    loops: list[Loop] = []

    def make(**limits: Any) -> Loop:
        loops.append(Loop(path, **limits))
        return loops[-1]

    yield make
    for loop in loops:
        loop.close()


@pytest.fixture
def running(path: Path) -> Iterator[Loop]:
    """A server whose loop turns in a thread, for the blocking `call`."""
    loop = Loop(path)
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            loop.turn(0.01)

    thread = threading.Thread(target=run)
    thread.start()
    yield loop
    stop.set()
    thread.join()
    loop.close()


def test_a_request_gets_its_answer(running: Loop) -> None:
    assert call(running.path, {"do": "status", "name": "é\udcff"}) == {
        "ok": True,
        "do": "status",
        "name": "é\udcff",
        "padding": "",
    }
    assert call(running.path, {"do": "refuse"}) == {"ok": False, "error": "not today"}
    assert running.server.counters["control_requests"] == 2


def test_an_answer_larger_than_any_socket_buffer_arrives_whole(running: Loop) -> None:
    assert len(call(running.path, {"do": "much", "size": 5_000_000})["padding"]) == 5_000_000


def test_only_the_owner_may_use_the_socket_and_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "new" / "control.sock"
    loop = Loop(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    loop.close()
    assert not path.exists()


def test_the_group_may_use_it_where_that_is_wanted(path: Path, make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(group=True)
    assert stat.S_IMODE(os.stat(loop.path).st_mode) == 0o660


def test_the_umask_is_as_it_was(path: Path) -> None:
    before = os.umask(0o027)
    try:
        Loop(path).close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_several_requests_in_one_write_are_answered_in_order(make_loop: Callable[..., Loop]) -> None:
    client = make_loop().client()
    client.ask(*({"do": "count", "n": n} for n in range(50)))
    assert [answer["n"] for answer in client.answers(50)] == list(range(50))


def test_a_request_may_come_byte_by_byte(make_loop: Callable[..., Loop]) -> None:
    client = make_loop().client()
    for byte in b'{"do": "slow"}\n':
        client.send(bytes([byte]))
        client.loop.turn()
    assert client.answers(1)[0]["do"] == "slow"


def test_what_was_asked_before_the_end_of_the_stream_is_still_answered(make_loop: Callable[..., Loop]) -> None:
    client = make_loop().client()
    client.ask({"do": "a", "size": 3_000_000}, {"do": "b"})
    client.socket.shutdown(socket.SHUT_WR)
    assert [answer["do"] for answer in client.answers(2)] == ["a", "b"]
    client.until_closed()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"status",
        b"[]",
        b"3",
        b"{}",
        b'{"do": 3}',
        b'{"do": null}',
        b"\xff\xfe",
        b"\0" * 20,
        b"[" * 60_000,
        b'{"do": ' * 8_000,
    ],
    ids=lambda line: repr(line[:8]),
)
def test_what_is_no_request_is_told_so_and_the_connection_goes_on(make_loop: Callable[..., Loop], line: bytes) -> None:
    client = make_loop().client()
    client.send(line + b"\n")
    (answer,) = client.answers(1)
    assert answer["ok"] is False
    assert '{"do": "status"}' in answer["error"]
    client.ask({"do": "next"})
    assert client.answers(1)[0]["do"] == "next"
    assert client.loop.server.counters["control_requests_bad"] == 1
    assert client.loop.output.getvalue() == 'warn control_requests_bad reason="no request"\n'


@pytest.mark.parametrize("do", ["fail", "unspeakable"])
def test_a_request_that_the_server_fails_at_ends_nothing(make_loop: Callable[..., Loop], do: str) -> None:
    client = make_loop().client()
    client.ask({"do": do})
    (answer,) = client.answers(1)
    assert answer["ok"] is False
    assert answer["error"].startswith("the server failed at this request: ")
    client.ask({"do": "next"})
    assert client.answers(1)[0]["do"] == "next"
    assert client.loop.server.counters["control_requests_failed"] == 1
    assert f"do={do}" in client.loop.output.getvalue()


@pytest.mark.parametrize("ending", [b"", b"\n"], ids=["no end", "a whole line"])
def test_a_request_that_is_too_long_is_refused_and_the_connection_closed(
    make_loop: Callable[..., Loop], ending: bytes
) -> None:
    client = make_loop(line_bytes_max=2000).client()
    client.send(b"x" * 2001 + ending)
    (answer,) = client.answers(1)
    assert answer == {"ok": False, "error": "a request is at most 2000 bytes long"}
    client.until_closed()
    assert client.loop.server.counters["control_requests_bad"] == 1


def test_a_request_of_just_the_largest_length_is_answered(make_loop: Callable[..., Loop]) -> None:
    client = make_loop(line_bytes_max=2000).client()
    request = json.dumps({"do": "long", "text": ""})
    client.send(json.dumps({"do": "long", "text": "x" * (2000 - len(request))}).encode() + b"\n")
    assert client.answers(1)[0]["do"] == "long"


def test_call_hears_why_a_request_was_too_long(running: Loop) -> None:
    answer = call(running.path, {"do": "long", "text": "x" * 10_000_000})
    assert answer == {"ok": False, "error": "a request is at most 65536 bytes long"}


def test_one_client_too_many_is_told_so_and_the_others_go_on(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(clients_max=2)
    first, second, third = loop.client(), loop.client(), loop.client()
    (answer,) = third.answers(1)
    assert answer["error"] == "too many control connections at once: try again in a moment"
    third.until_closed()
    for client in (first, second):
        client.ask({"do": "hello"})
        assert client.answers(1)[0]["ok"] is True
    assert loop.server.counters["control_clients_refused"] == 1
    first.socket.close()
    loop.until(lambda: len(loop.selector.get_map()) == 2)
    fourth = loop.client()
    fourth.ask({"do": "hello"})
    assert fourth.answers(1)[0]["ok"] is True


def test_a_client_that_does_nothing_is_closed_when_its_time_is_over(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(idle_seconds=30.0)
    assert loop.server.next_timer() is None
    client = loop.client()
    loop.turn(1.0)
    assert loop.server.next_timer() == 130.0
    loop.now = 110.0
    client.ask({"do": "hello"})
    client.answers(1)
    assert loop.server.next_timer() == 140.0
    loop.now = 139.9
    loop.server.expire(loop.now)
    assert client.is_open()
    loop.now = 140.0
    loop.server.expire(loop.now)
    client.until_closed()
    assert loop.server.counters["control_clients_idle"] == 1
    assert loop.server.next_timer() is None


def test_a_client_that_does_not_read_waits_with_one_answer_and_is_closed_in_the_end(
    make_loop: Callable[..., Loop],
) -> None:
    loop = make_loop(line_bytes_max=65536)
    client = loop.client()
    client.ask(*({"do": "much", "size": 1_000_000} for _ in range(20)))
    while loop.turn(0.01):
        pass
    assert loop.server.counters["control_requests"] == 1  # the others wait until this one is taken
    loop.now += 30.0
    loop.server.expire(loop.now)
    client.until_closed()
    assert loop.server.next_timer() is None


def test_a_client_that_goes_away_in_the_middle_is_forgotten(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop()
    client = loop.client()
    client.ask({"do": "much", "size": 5_000_000})
    loop.until(lambda: loop.server.counters["control_requests"] == 1)
    client.socket.close()
    loop.until(lambda: len(loop.selector.get_map()) == 1)
    other = loop.client()
    other.ask({"do": "hello"})
    assert other.answers(1)[0]["ok"] is True


def test_without_free_file_descriptors_new_clients_wait_and_the_loop_does_not_spin(
    make_loop: Callable[..., Loop],
) -> None:
    loop = make_loop()
    client = loop.client()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        loop.turn(1.0)
        assert loop.turn() == 0
        assert loop.server.counters["control_accepts_failed"] == 1
        resume = loop.server.next_timer()
        assert resume == loop.now + control.ACCEPT_PAUSE_SECONDS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    loop.server.expire(resume - 0.01)
    assert loop.turn() == 0
    loop.server.expire(resume)
    client.ask({"do": "hello"})
    assert client.answers(1)[0]["ok"] is True


def test_close_while_new_clients_wait_leaves_nothing_behind(path: Path) -> None:
    loop = Loop(path)
    loop.client()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        loop.turn(1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    loop.close()


def test_the_socket_file_of_a_dead_server_is_replaced(path: Path, make_loop: Callable[..., Loop]) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.listen()
    dead.close()
    assert path.is_socket()
    client = make_loop().client()
    client.ask({"do": "hello"})
    assert client.answers(1)[0]["ok"] is True


def test_the_socket_of_a_live_server_is_left_alone(path: Path, make_loop: Callable[..., Loop]) -> None:
    client = make_loop().client()
    with pytest.raises(ControlError, match=r"a server already listens at .*control\.sock: end it, or"):
        ControlServer(str(path), echo)
    client.ask({"do": "hello"})
    assert client.answers(1)[0]["ok"] is True


def test_a_live_server_whose_backlog_is_full_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        callers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(3)]
        assert any(caller.connect_ex(str(path)) for caller in callers)
        with pytest.raises(ControlError, match="a server already listens at"):
            ControlServer(str(path), echo)
        assert path.is_socket()
        for caller in callers:
            caller.close()


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ControlError, match="is no socket and in the way"):
        ControlServer(str(path), echo)
    assert path.read_text() == "precious"


def test_a_link_in_place_of_the_socket_is_not_followed(tmp_path: Path, path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ControlError, match="is no socket and in the way"):
        ControlServer(str(path), echo)
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ControlError, match=r"control socket .*/file/control\.sock cannot be made: File exists"):
        ControlServer(str(tmp_path / "file" / "control.sock"), echo)


def test_a_path_longer_than_a_socket_can_have_is_refused_by_both_ends(tmp_path: Path) -> None:
    path = str(tmp_path / ("x" * 107))
    for attempt in (lambda: ControlServer(path, echo), lambda: call(path, {"do": "status"})):
        with pytest.raises(ControlError, match="at most 107 bytes"):
            attempt()


def test_close_does_not_remove_the_socket_of_a_successor(path: Path) -> None:
    loop = Loop(path)
    path.unlink()
    successor = Loop(path)
    loop.close()
    assert path.is_socket()
    successor.close()
    assert not path.exists()


def test_call_says_how_to_start_a_server_where_there_is_none(path: Path) -> None:
    with pytest.raises(ControlError, match=r"no gsrt server listens at .*control\.sock: start one \(gsrt serve "):
        call(str(path), {"do": "status"})
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    with pytest.raises(ControlError, match="no gsrt server listens at"):
        call(str(path), {"do": "status"})


def test_call_gives_up_on_a_server_that_does_not_answer(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(ControlError, match=r"did not answer within 0\.05 seconds"):
            call(str(path), {"do": "status"}, timeout=0.05)


def test_call_gives_up_on_a_server_that_never_comes_to_an_end(path: Path) -> None:
    """A byte now and then does not start the time anew."""
    stop = threading.Event()

    def trickle(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while not stop.wait(0.01):
                try:
                    connection.send(b" ")
                except OSError:
                    return

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=trickle, args=(listener,))
        thread.start()
        try:
            with pytest.raises(ControlError, match="did not answer within"):
                call(str(path), {"do": "status"}, timeout=0.2)
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n", b"[]\n", b'{"ok": tru', b"\xff\n"])
def test_call_says_so_when_something_else_answers(path: Path, answer: bytes) -> None:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(ControlError, match="does not answer as a gsrt server does"):
            call(str(path), {"do": "status"})
        thread.join()


def test_call_names_the_file_that_is_no_socket(path: Path) -> None:
    path.touch()
    with pytest.raises(ControlError):
        call(str(path), {"do": "status"})


class Deferring:
    """A handler whose answers come when the test says so: {"do": "later"} waits, all else is answered at once."""

    def __init__(self) -> None:
        self.waiting: list[Later] = []
        self.handled: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any]) -> dict[str, Any] | Later:
        self.handled.append(request)
        if request["do"] == "later":
            self.waiting.append(Later())
            return self.waiting[-1]
        if request["do"] == "settled":
            later = Later()
            later.answer({"ok": True, "do": "settled"})
            return later
        return echo(request)


class TestLater:
    @pytest.fixture
    def handler(self) -> Deferring:
        return Deferring()

    @pytest.fixture
    def loop(self, make_loop: Callable[..., Loop], handler: Deferring) -> Loop:
        return make_loop(handle=handler, idle_seconds=30.0, line_bytes_max=2000)

    def test_the_answer_comes_when_it_is_there(self, loop: Loop, handler: Deferring) -> None:
        client = loop.client()
        client.ask({"do": "later"})
        loop.until(lambda: len(handler.waiting) == 1)
        assert client.is_open()
        assert client.received == b""
        assert handler.waiting[0].wanted
        handler.waiting[0].answer({"ok": True, "value": 5})
        assert not handler.waiting[0].wanted
        assert client.answers(1) == [{"ok": True, "value": 5}]
        client.ask({"do": "next"})
        assert client.answers(1)[0]["do"] == "next"

    def test_one_that_is_there_at_once_is_like_any_other(self, loop: Loop) -> None:
        client = loop.client()
        client.ask({"do": "settled"}, {"do": "next"})
        assert [answer["do"] for answer in client.answers(2)] == ["settled", "next"]

    def test_what_is_asked_meanwhile_waits_for_its_turn_and_others_do_not(self, loop: Loop, handler: Deferring) -> None:
        client, other = loop.client(), loop.client()
        client.ask({"do": "later"}, {"do": "second"}, {"do": "later"}, {"do": "fourth"})
        loop.until(lambda: len(handler.waiting) == 1)
        other.ask({"do": "elsewhere"})
        assert other.answers(1)[0]["do"] == "elsewhere"
        assert [request["do"] for request in handler.handled] == ["later", "elsewhere"]
        handler.waiting[0].answer({"ok": True, "do": "first"})
        loop.until(lambda: len(handler.waiting) == 2)
        assert [answer["do"] for answer in client.answers(2)] == ["first", "second"]
        handler.waiting[1].answer({"ok": True, "do": "third"})
        assert [answer["do"] for answer in client.answers(2)] == ["third", "fourth"]

    def test_only_the_first_answer_counts(self, loop: Loop, handler: Deferring) -> None:
        client = loop.client()
        client.ask({"do": "later"})
        loop.until(lambda: len(handler.waiting) == 1)
        handler.waiting[0].answer({"ok": True, "value": 1})
        handler.waiting[0].answer({"ok": True, "value": 2})
        client.ask({"do": "next"})
        first, second = client.answers(2)
        assert (first["value"], second["do"]) == (1, "next")

    def test_a_large_answer_arrives_whole(self, loop: Loop, handler: Deferring) -> None:
        client = loop.client()
        client.ask({"do": "later"}, {"do": "next"})
        loop.until(lambda: len(handler.waiting) == 1)
        handler.waiting[0].answer({"ok": True, "padding": "x" * 5_000_000})
        first, second = client.answers(2)
        assert (len(first["padding"]), second["do"]) == (5_000_000, "next")

    def test_one_that_cannot_be_written_is_a_failure_that_ends_nothing(self, loop: Loop, handler: Deferring) -> None:
        client = loop.client()
        client.ask({"do": "later"}, {"do": "next"})
        loop.until(lambda: len(handler.waiting) == 1)
        handler.waiting[0].answer({"ok": True, "value": object()})
        first, second = client.answers(2)
        assert first["error"].startswith("the server failed at this request: TypeError")
        assert second["do"] == "next"
        assert loop.server.counters["control_requests_failed"] == 1
        assert "do=later" in loop.output.getvalue()

    def test_waiting_for_an_answer_is_not_doing_nothing(self, loop: Loop, handler: Deferring) -> None:
        client = loop.client()
        client.ask({"do": "later"})
        loop.until(lambda: len(handler.waiting) == 1)
        assert loop.server.next_timer() is None
        loop.now += 1000.0
        loop.server.expire(loop.now)
        assert client.is_open()
        handler.waiting[0].answer({"ok": True})
        assert loop.server.next_timer() == loop.now + 30.0  # from now on it is
        client.answers(1)
        loop.now += 30.0
        loop.server.expire(loop.now)
        client.until_closed()

    def test_an_answer_to_one_who_has_gone_is_ignored(self, loop: Loop, handler: Deferring) -> None:
        client = loop.client()
        client.ask({"do": "later"})
        loop.until(lambda: len(handler.waiting) == 1)
        client.socket.close()
        loop.until(lambda: not handler.waiting[0].wanted)
        assert len(loop.selector.get_map()) == 1
        handler.waiting[0].answer({"ok": True})

    def test_one_who_goes_unnoticed_is_forgotten_with_the_answer(self, loop: Loop, handler: Deferring) -> None:
        client = loop.client()
        client.ask({"do": "later"})
        loop.until(lambda: len(handler.waiting) == 1)
        client.socket.close()
        handler.waiting[0].answer({"ok": True})  # before the loop has looked
        loop.until(lambda: len(loop.selector.get_map()) == 1)

    def test_one_who_is_done_asking_still_gets_the_answer_and_the_loop_does_not_spin(
        self, loop: Loop, handler: Deferring
    ) -> None:
        client = loop.client()
        client.ask({"do": "later"}, {"do": "second"})
        client.socket.shutdown(socket.SHUT_WR)
        loop.until(lambda: len(handler.waiting) == 1)
        loop.until(lambda: loop.turn() == 0)
        assert loop.turn() == 0
        assert handler.waiting[0].wanted
        handler.waiting[0].answer({"ok": True, "do": "first"})
        assert [answer["do"] for answer in client.answers(2)] == ["first", "second"]
        client.until_closed()

    def test_one_who_asks_on_and_on_is_not_read_beyond_the_bound(self, loop: Loop, handler: Deferring) -> None:
        client = loop.client()
        client.ask({"do": "later"})
        loop.until(lambda: len(handler.waiting) == 1)
        line = json.dumps({"do": "more"}).encode() + b"\n"
        count = 0
        client.socket.setblocking(True)
        client.socket.settimeout(0.05)
        try:
            while count < 1_000_000:
                client.socket.sendall(line)
                count += 1
                loop.turn()
        except TimeoutError:
            pass
        assert count < 1_000_000
        assert loop.turn() == 0  # and it does not keep the loop busy
        assert len(handler.handled) == 1

    def test_close_forgets_the_answers_to_come(self, path: Path, handler: Deferring) -> None:
        loop = Loop(path, handle=handler)
        clients = [loop.client(), loop.client()]
        for client in clients:
            client.ask({"do": "later"})
        clients[1].socket.shutdown(socket.SHUT_WR)
        loop.until(lambda: len(handler.waiting) == 2)
        loop.until(lambda: loop.turn() == 0)
        loop.close()
        for later in handler.waiting:
            assert not later.wanted
            later.answer({"ok": True})

    def test_call_waits_for_it(self, path: Path, handler: Deferring) -> None:
        loop = Loop(path, handle=handler)
        answers: list[dict[str, Any]] = []
        caller = threading.Thread(target=lambda: answers.append(call(str(path), {"do": "later"})))
        caller.start()
        try:
            loop.until(lambda: len(handler.waiting) == 1)
            handler.waiting[0].answer({"ok": True, "value": 7})
            loop.until(lambda: not caller.is_alive())
        finally:
            caller.join(DEADLINE_SECONDS)
            loop.close()
        assert answers == [{"ok": True, "value": 7}]


class TestDefaultPath:
    @pytest.fixture(autouse=True)
    def bare(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    def test_is_where_systemd_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/gsrt:/run/other")
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
        assert default_path() == "/run/gsrt/control.sock"

    def test_is_in_the_users_own_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert default_path() == f"{tmp_path}/gsrt/control.sock"
        Loop(Path(default_path())).close()
        assert default_path() == f"{tmp_path}/gsrt/control.sock"  # the directory is there now, and right

    def test_is_in_tmp_when_there_is_no_such_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
        assert default_path() == f"/tmp/gsrt-{os.getuid()}/control.sock"

    def test_refuses_a_directory_others_can_reach_into(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        (tmp_path / "gsrt").mkdir(mode=0o755)
        with pytest.raises(ControlError, match="has to be a directory of yours with mode 0700"):
            default_path()

    def test_refuses_a_link_to_a_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        (tmp_path / "mine").mkdir(mode=0o700)
        (tmp_path / "gsrt").symlink_to(tmp_path / "mine")
        with pytest.raises(ControlError, match="has to be a directory of yours"):
            default_path()

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
    def test_refuses_a_directory_of_somebody_else(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        (tmp_path / "gsrt").mkdir(mode=0o700)
        os.chown(tmp_path / "gsrt", 12345, -1)
        with pytest.raises(ControlError, match="has to be a directory of yours"):
            default_path()


class TestFindPath:
    @pytest.fixture(autouse=True)
    def service(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """Where the service's socket is; the user's own directory is another."""
        monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
        (tmp_path / "user").mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "user"))
        path = tmp_path / "run" / "control.sock"
        monkeypatch.setattr(control, "SERVICE_PATH", str(path))
        return path

    def test_without_a_service_it_is_the_users_own(self) -> None:
        assert find_path() == default_path()

    def test_the_service_is_found_where_this_user_runs_none(self, service: Path) -> None:
        Path(default_path()).parent.mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX) as dead:  # of a server that was killed
            dead.bind(default_path())
        loop = Loop(service)
        assert find_path() == str(service)
        loop.close()

    def test_a_server_of_this_user_goes_before_the_service(self, service: Path) -> None:
        own, other = Loop(Path(default_path())), Loop(service)
        assert find_path() == default_path()
        own.close()
        other.close()

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
    def test_who_may_not_use_it_is_told_who_may(self, service: Path, tmp_path: Path) -> None:
        loop = Loop(service)
        os.seteuid(12345)
        try:
            with pytest.raises(ControlError, match=r"run this as root.*control_group"):
                call(str(service), {"do": "status"})
        finally:
            os.seteuid(0)
        loop.close()
