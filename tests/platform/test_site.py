"""The files of www/, over real sockets: what a browser gets, and what nobody gets."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt._relay import Stream
from gsrt.game.model import Game
from gsrt.protocol.files import parts_of
from gsrt.reception import Reception
from gsrt.site import PIECE_BYTES_MAX, TURN_BYTES, IsFolder, Outside, open_inside
from tests.platform.client import DEADLINE
from tests.platform.conftest import Servers
from tests.platform.server import API_KEY, SECRET, PlatformServer

PAGE = b"<!doctype html><script src=game.js></script>"
SCRIPT = b"console.log(1)\n"
NOBODYS = b"nobody may see this"

Fetch = Callable[..., "Answer"]


class Answer:
    """What came back: `status`, `headers` (lower-case names), `body`."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), raw[:100]
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    def __getitem__(self, name: str) -> str:
        return self.headers[name]


@pytest.fixture
def www(tmp_path: Path) -> Path:
    """A folder of pages, with things around it that are nobody's business."""
    folder = tmp_path / "game" / "www"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "empty folder").mkdir()
    (folder / "index.html").write_bytes(PAGE)
    (folder / "game.js").write_bytes(SCRIPT)
    (folder / "sub" / "index.html").write_bytes(b"sub")
    (folder / "sub" / "deep" / "\u00e4 b.txt").write_bytes(b"umlaut")
    (folder / "nothing").write_bytes(b"")
    (folder / ".secret").write_bytes(NOBODYS)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(NOBODYS)
    (folder.parent / "game.toml").write_bytes(NOBODYS)
    (folder.parent / "www2").mkdir()
    (folder.parent / "www2" / "a.txt").write_bytes(NOBODYS)
    (folder / "inner").symlink_to("sub/deep", target_is_directory=True)
    (folder / "same.js").symlink_to("game.js")
    (folder / "out.toml").symlink_to("../game.toml")
    (folder / "neighbour").symlink_to("../www2", target_is_directory=True)
    (folder / "up").symlink_to("..", target_is_directory=True)
    (folder / "shown").symlink_to(".secret")
    (folder / "round").symlink_to("round")
    (folder / "gone").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    return folder


@pytest.fixture
def site(servers: Servers, www: Path) -> Callable[..., PlatformServer]:
    def make(**how: object) -> PlatformServer:
        return servers(game=Game(api_key=API_KEY, secret=SECRET, www=str(www)), **how)

    return make


@contextmanager
def asking(
    server: PlatformServer, target: str, *lines: str, method: str = "GET", tls: bool = False
) -> Iterator[socket.socket]:
    """A connection on which a request was sent."""
    connection = socket.create_connection((server.host, server.port), DEADLINE)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = context.wrap_socket(connection)
    with connection:
        head = "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "Host: box", *lines))
        connection.sendall(head.encode() + b"\r\n")
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server has closed its side; less than all where it broke off."""
    pieces = []
    try:
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def fetch(server: PlatformServer, target: str, *lines: str, method: str = "GET", tls: bool = False) -> Answer:
    with asking(server, target, *lines, method=method, tls=tls) as connection:
        return Answer(rest_of(connection))


# What a browser gets


def test_the_page_and_what_it_loads(site: Callable[..., PlatformServer]) -> None:
    server = site()
    page = fetch(server, "/")
    assert (page.status, page.body) == (200, PAGE)
    assert page["content-type"] == "text/html; charset=utf-8"
    assert page["content-length"] == str(len(PAGE))
    assert (page["cache-control"], page["x-content-type-options"]) == ("no-cache", "nosniff")
    assert page["connection"] == "close"
    script = fetch(server, "/game.js?v=2")
    assert (script.status, script.body, script["content-type"]) == (200, SCRIPT, "text/javascript; charset=utf-8")
    with server.client() as client:  # on the same port
        client.register("alice")
    assert server.log_text() == ""


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/index.html", PAGE),
        ("http://box/", PAGE),
        ("/sub/", b"sub"),
        ("/sub/index.html", b"sub"),
        ("/sub/deep/%C3%A4%20b.txt", b"umlaut"),
        ("/inner/%C3%A4%20b.txt", b"umlaut"),
        ("/same.js", SCRIPT),
        ("/nothing", b""),
    ],
)
def test_files(site: Callable[..., PlatformServer], target: str, body: bytes) -> None:
    answer = fetch(site(), target)
    assert (answer.status, answer.body, answer["content-length"]) == (200, body, str(len(body)))


def test_https(site: Callable[..., PlatformServer], certificate: tuple[str, str], www: Path) -> None:
    large = os.urandom(1_000_003)
    (www / "large.bin").write_bytes(large)
    server = site(certificate=certificate)
    assert fetch(server, "/", tls=True).body == PAGE
    assert fetch(server, "/large.bin", tls=True).body == large
    assert fetch(server, "/large.bin", "Range: bytes=500000-", tls=True).body == large[500_000:]


@pytest.mark.parametrize("target", ["/game.js", "/nothing", "/no.js", "/sub", "/../x"])
def test_head_is_get_without_a_body(site: Callable[..., PlatformServer], target: str) -> None:
    server = site()
    got, head = fetch(server, target), fetch(server, target, method="HEAD")
    assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")


@pytest.mark.parametrize(
    ("target", "location"),
    [("/sub", "/sub/"), ("/sub?a=b", "/sub/?a=b"), ("/empty%20folder", "/empty%20folder/"), ("/inner", "/inner/")],
)
def test_a_folder_without_its_slash(site: Callable[..., PlatformServer], target: str, location: str) -> None:
    answer = fetch(site(), target)
    assert (answer.status, answer["location"], answer["cache-control"]) == (301, location, "no-cache")


def test_what_the_browser_has_already(site: Callable[..., PlatformServer], www: Path) -> None:
    server = site()
    first = fetch(server, "/game.js")
    for line in (f"If-None-Match: {first['etag']}", f"If-Modified-Since: {first['last-modified']}"):
        again = fetch(server, "/game.js", line)
        assert (again.status, again.body, again["etag"]) == (304, b"", first["etag"])
        assert "content-length" not in again.headers
    (www / "game.js").write_bytes(b"console.log(2)\n")  # as long as the old one
    os.utime(www / "game.js", ns=(0, 10**18))
    changed = fetch(server, "/game.js", f"If-None-Match: {first['etag']}")
    assert (changed.status, changed.body) == (200, b"console.log(2)\n")
    assert changed["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"


def test_parts(site: Callable[..., PlatformServer]) -> None:
    server = site()
    part = fetch(server, "/game.js", "Range: bytes=2-5")
    assert (part.status, part.body, part["content-range"]) == (206, SCRIPT[2:6], f"bytes 2-5/{len(SCRIPT)}")
    assert part["content-length"] == "4"
    beyond = fetch(server, "/game.js", "Range: bytes=99-")
    assert (beyond.status, beyond["content-range"]) == (416, f"bytes */{len(SCRIPT)}")
    whole = fetch(server, "/game.js", "Range: bytes=0-1,3-4")
    assert (whole.status, whole.body, whole["accept-ranges"]) == (200, SCRIPT, "bytes")
    assert fetch(server, "/game.js", "Range: bytes=2-5", method="HEAD").status == 200


def test_a_client_that_says_at_once_that_it_is_done(site: Callable[..., PlatformServer], www: Path) -> None:
    large = os.urandom(3_000_000)
    (www / "large.bin").write_bytes(large)
    with asking(site(), "/large.bin") as connection:
        connection.shutdown(socket.SHUT_WR)
        assert Answer(rest_of(connection)).body == large


def test_what_is_sent_behind_a_request_is_not_looked_at(site: Callable[..., PlatformServer], www: Path) -> None:
    (www / "large.bin").write_bytes(bytes(1_000_000))
    server = site()
    with asking(server, "/large.bin") as connection:
        connection.sendall(b"GET /game.js HTTP/1.1\r\n\r\n" * 100)
        assert len(Answer(rest_of(connection)).body) == 1_000_000
    assert server.reception.counters["http_requests"] == 1


def test_a_file_is_read_when_it_is_asked_for(site: Callable[..., PlatformServer], www: Path) -> None:
    server = site()
    assert fetch(server, "/new.txt").status == 404
    (www / "new.txt").write_bytes(b"new")
    assert fetch(server, "/new.txt").body == b"new"
    (www / "new.txt").unlink()
    assert fetch(server, "/new.txt").status == 404


def test_without_a_first_page_there_is_the_status(site: Callable[..., PlatformServer], www: Path) -> None:
    (www / "index.html").unlink()
    server = site()
    answer = fetch(server, "/")
    assert answer.status == 200
    assert re.fullmatch(rb"gsrt \S+: players 0, sessions 0\n", answer.body)
    assert fetch(server, "/index.html").status == 404


def test_the_folder_comes_and_goes(servers: Servers, www: Path) -> None:
    server = servers(game=Game(api_key=API_KEY, secret=SECRET))
    assert fetch(server, "/").body.startswith(b"gsrt ")
    assert fetch(server, "/game.js").status == 404
    server.run(lambda: setattr(server.desk, "game", Game(api_key=API_KEY, secret=SECRET, www=str(www))))
    assert fetch(server, "/").body == PAGE
    server.run(lambda: setattr(server.desk.game, "www", str(www / "nowhere")))
    assert fetch(server, "/game.js").status == 404
    assert fetch(server, "/").body.startswith(b"gsrt ")


def test_what_means_something_else(site: Callable[..., PlatformServer], www: Path) -> None:
    (www / "healthz").write_bytes(NOBODYS)
    (www / "metrics").write_bytes(NOBODYS)
    (www / "ws").mkdir()
    (www / "ws" / "a").write_bytes(NOBODYS)
    server = site()
    assert fetch(server, "/healthz").body == b"ok\n"
    assert fetch(server, "http://example.org/healthz?x").body == b"ok\n"
    assert NOBODYS not in (fetch(server, "/metrics").body, fetch(server, "http://example.org/metrics").body)
    assert fetch(server, "/ws/a").status == 404
    assert fetch(server, "/game.js", method="POST").status == 405


# What nobody gets


@pytest.mark.parametrize(
    "target",
    [
        "/../game.toml",
        "/%2e%2e/game.toml",
        "/..%2fgame.toml",
        "/sub/../../game.toml",
        "/..\\game.toml",
        "/%2e%2e%5cgame.toml",
        "//game.js",
        "/sub//index.html",
        "/./game.js",
        "/.secret",
        "/%2esecret",
        "/.git/config",
        "/shown",
        "/game.js%00.html",
        "/out.toml",
        "/neighbour/a.txt",
        "/up/game.toml",
        "/round",
        "/gone",
        "/pipe",
        "/device",
        "/game.js/",
        "/game.js/x",
        "/empty%20folder/",
        "/a/" * 2000,
        "/" + "x" * 4000,
        "*",
        "http://box",
    ],
)
def test_nobody_gets(site: Callable[..., PlatformServer], target: str) -> None:
    answer = fetch(site(), target)
    assert (answer.status, answer["content-type"]) == (404, "text/plain; charset=utf-8")
    assert NOBODYS not in answer.body


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [(errno.EACCES, 403, "Permission denied"), (errno.EMFILE, 503, "Too many open files")],
)
def test_a_file_that_cannot_be_read(
    site: Callable[..., PlatformServer], monkeypatch: pytest.MonkeyPatch, number: int, status: int, reason: str
) -> None:
    opened = os.open

    def refuse(path: object, *how: Any, **where: Any) -> int:
        if path == b"game.js":
            raise OSError(number, os.strerror(number))
        return opened(path, *how, **where)  # type: ignore[arg-type]

    server = site()
    monkeypatch.setattr(os, "open", refuse)
    assert fetch(server, "/game.js").status == status
    assert f"cannot be read: {reason}" in server.log_text()
    assert fetch(server, "/").status == 200


def test_refusals_are_one_line(site: Callable[..., PlatformServer]) -> None:
    server = site()
    for _ in range(20):
        fetch(server, "/../game.toml")
    assert server.log_text().count("file refused") == 1
    assert "path=/../game.toml" in server.log_text()


WORDS = (
    "www sub deep index.html game.js a.txt up inner out.toml neighbour shown etc passwd game.toml .secret .git config "
    ".. . %2e%2e %2E. ..%2f %2f %00 %5c \\"
)
NAMES = st.sampled_from(WORDS.split(" "))


@given(st.lists(NAMES, max_size=8) | st.lists(st.text(max_size=5).map(ascii), max_size=4))
def test_no_path_leads_outside(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = _forbidden_garden(tmp_path_factory)
    parts = parts_of("/" + "/".join(names))
    if parts is None:
        return
    try:
        descriptor, status = open_inside(str(folder), parts)
    except (IsFolder, Outside, OSError):
        return
    try:
        real = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        assert real.is_relative_to(folder.resolve())
        assert not any(part.startswith(".") for part in real.relative_to(folder.resolve()).parts)
        assert os.read(descriptor, 100) == b"fine"
        assert status.st_size == 4
    finally:
        os.close(descriptor)


def _forbidden_garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose files hold "fine", with links that lead everywhere."""
    folder = tmp_path_factory.getbasetemp() / "garden" / "www"
    if folder.exists():
        return folder
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    for name in ("index.html", "game.js", "sub/index.html", "sub/deep/a.txt"):
        (folder / name).write_bytes(b"fine")
    for name in (".secret", ".git/config", "../game.toml", "../a.txt"):
        (folder / name).write_bytes(b"not fine")
    links = {
        "up": "..",
        "inner": "sub",
        "out.toml": "../game.toml",
        "neighbour": "/",
        "shown": ".secret",
        "etc": "/etc",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (folder / "sub" / "up").symlink_to("../..")
    (folder / "sub" / "www").symlink_to("..")
    return folder


def test_a_link_put_there_meanwhile_is_not_followed(www: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.path.realpath

    def late(path: bytes) -> bytes:
        found = real(path)
        if found.endswith(b"deep/a.txt"):
            (www / "sub").rename(www / "was sub")
            (www / "sub").symlink_to("../www2", target_is_directory=True)
        return found

    (www.parent / "www2" / "deep").mkdir()
    for folder in (www / "sub", www.parent / "www2"):
        (folder / "deep" / "a.txt").write_bytes(NOBODYS)
    monkeypatch.setattr(os.path, "realpath", late)
    with pytest.raises(NotADirectoryError):
        open_inside(str(www), (b"sub", b"deep", b"a.txt"))


# Large files and slow readers


def descriptors_of(folder: Path) -> int:
    """How many files below FOLDER this process has open."""
    found = 0
    for each in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{each}").startswith(str(folder))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "from the disk"])
def test_a_large_file(
    site: Callable[..., PlatformServer],
    certificate: tuple[str, str],
    www: Path,
    monkeypatch: pytest.MonkeyPatch,
    tls: bool,
    in_memory: bool,
) -> None:
    large = os.urandom(20 * PIECE_BYTES_MAX + 17)
    (www / "large.bin").write_bytes(large)
    if not in_memory:

        def not_there(*_: object) -> int:
            raise BlockingIOError

        monkeypatch.setattr(os, "preadv", not_there)
    server = site(certificate=certificate)
    answer = fetch(server, "/large.bin", tls=tls)
    assert (answer.status, answer["content-type"], answer.body == large) == (200, "application/octet-stream", True)
    server.until(lambda: not server.relay.streams)
    assert descriptors_of(www) == 0


def stalled(server: PlatformServer, target: str = "/large.bin") -> socket.socket:
    """A client that asks and does not read, with small buffers."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(DEADLINE)
    connection.connect((server.host, server.port))
    connection.sendall(f"GET {target} HTTP/1.1\r\n\r\n".encode())
    return connection


def downloads(server: PlatformServer) -> int:
    site = server.reception._site
    return 0 if site is None else len(site)


@pytest.mark.parametrize("tls", [False, True])
def test_who_does_not_read_waits_in_little_memory_and_not_for_ever(
    site: Callable[..., PlatformServer], certificate: tuple[str, str], www: Path, tls: bool
) -> None:
    with open(www / "large.bin", "wb") as file:
        file.truncate(200_000_000)
    server = site(certificate=certificate, www_stall_seconds=30.0, login_seconds=10.0)
    with asking(server, "/large.bin", tls=True) if tls else stalled(server) as connection:
        server.until(lambda: downloads(server) == 1)
        for _ in range(20):
            server.run(lambda: None)
        assert server.run(lambda: max(each.backlog for each in server.relay.streams.values())) <= 2 * PIECE_BYTES_MAX
        server.advance(29.0)
        assert downloads(server) == 1
        assert fetch(server, "/game.js").body == SCRIPT  # others are served meanwhile
        server.advance(31.0)
        server.until(lambda: downloads(server) == 0)
        assert len(rest_of(connection)) < 10_000_000
    assert "download ended: it is not taken" in server.log_text()
    assert server.connections.counts()["www_slow"] == 1
    server.until(lambda: not server.relay.streams)
    assert descriptors_of(www) == 0


def test_who_reads_slowly_gets_all_of_it(site: Callable[..., PlatformServer], www: Path) -> None:
    large = os.urandom(3_000_000)
    (www / "large.bin").write_bytes(large)
    server = site(www_stall_seconds=30.0, login_seconds=10.0)
    with stalled(server) as connection:
        got = b""
        while len(got) < len(large):
            got += connection.recv(1 << 18)
            if len(got) < 2_000_000:
                server.advance(1.0)
        got += rest_of(connection)
    assert Answer(got).body == large


def test_so_many_at_once_and_no_more(site: Callable[..., PlatformServer], www: Path) -> None:
    (www / "large.bin").write_bytes(bytes(5_000_000))
    server = site(www_downloads_max=2, www_downloads_per_address_max=2)
    with stalled(server) as first, stalled(server):
        server.until(lambda: downloads(server) == 2)
        refused = fetch(server, "/large.bin")
        assert (refused.status, refused["retry-after"]) == (503, "5")
        assert fetch(server, "/large.bin", method="HEAD").status == 200
        assert fetch(server, "/nothing").status == 200
        first.close()
        server.until(lambda: downloads(server) == 1)
        assert fetch(server, "/game.js").status == 200
    assert server.connections.counts()["www_too_many"] == 1
    assert "too many are on their way" in server.log_text()


def test_so_many_for_one_address(site: Callable[..., PlatformServer], www: Path) -> None:
    (www / "large.bin").write_bytes(bytes(5_000_000))
    server = site(host="0.0.0.0", www_downloads_max=3, www_downloads_per_address_max=1)
    with stalled(server):
        server.until(lambda: downloads(server) == 1)
        assert fetch(server, "/game.js").status == 503
        with socket.create_connection((server.host, server.port), DEADLINE, source_address=("127.0.0.9", 0)) as other:
            other.sendall(b"GET /game.js HTTP/1.1\r\n\r\n")
            assert Answer(rest_of(other)).body == SCRIPT


def test_one_that_is_on_its_way_is_not_pending(site: Callable[..., PlatformServer], www: Path) -> None:
    (www / "large.bin").write_bytes(bytes(5_000_000))
    server = site(login_seconds=10.0)
    with stalled(server) as connection:
        server.until(lambda: downloads(server) == 1 and server.reception.pending == 0)
        server.advance(11.0)
        assert len(Answer(rest_of(connection)).body) == 5_000_000
        server.until(lambda: downloads(server) == 0)
        assert server.run(lambda: (server.reception.pending, len(server.relay.streams))) == (1, 1)
        server.advance(11.0)  # its client does not close
        server.until(lambda: not server.relay.streams)


def test_a_client_that_goes_in_the_middle(site: Callable[..., PlatformServer], www: Path) -> None:
    (www / "large.bin").write_bytes(bytes(5_000_000))
    server = site()
    for _ in range(3):
        with stalled(server) as connection:
            connection.recv(1000)
    server.until(lambda: not server.relay.streams)
    assert (downloads(server), descriptors_of(www)) == (0, 0)


def test_a_client_that_goes_while_the_disk_is_read(
    site: Callable[..., PlatformServer], www: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (www / "large.bin").write_bytes(bytes(5_000_000))
    go_on = threading.Event()
    read = os.pread

    def not_there(*_: object) -> int:
        raise BlockingIOError

    def slow(descriptor: int, size: int, at: int) -> bytes:
        assert go_on.wait(DEADLINE)
        return read(descriptor, size, at)

    monkeypatch.setattr(os, "preadv", not_there)
    monkeypatch.setattr(os, "pread", slow)
    server = site(www_stall_seconds=30.0)
    with stalled(server) as connection, stalled(server) as second, stalled(server) as third:
        server.until(lambda: downloads(server) == 3 and server.worker.waiting == 2)
        server.advance(31.0)  # a slow disk is not theirs to answer for
        assert downloads(server) == 3
        for each in (connection, third):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            each.close()
        server.until(lambda: downloads(server) == 1)
        assert descriptors_of(www) == 2
        go_on.set()
        assert len(Answer(rest_of(second)).body) == 5_000_000
    server.until(lambda: not server.relay.streams)
    assert descriptors_of(www) == 0


def test_a_file_that_becomes_shorter(site: Callable[..., PlatformServer], www: Path) -> None:
    (www / "large.bin").write_bytes(bytes(20_000_000))
    server = site()
    with stalled(server) as connection:
        server.until(lambda: downloads(server) == 1)
        os.truncate(www / "large.bin", 100)
        answer = Answer(rest_of(connection))
    assert int(answer["content-length"]) > len(answer.body)  # by which a browser knows
    assert "a file became shorter" in server.log_text()
    server.until(lambda: not downloads(server))
    assert descriptors_of(www) == 0


def test_a_disk_that_fails(site: Callable[..., PlatformServer], www: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fails)
    monkeypatch.setattr(os, "pread", fails)
    server = site()
    answer = fetch(server, "/game.js")
    assert (answer.status, answer.body) == (200, b"")
    assert "Input/output error" in server.log_text()
    server.until(lambda: not downloads(server))
    assert descriptors_of(www) == 0


def test_a_turn_carries_a_piece_of_each(site: Callable[..., PlatformServer], www: Path) -> None:
    """However fast its reader is, for players come first."""
    with open(www / "large.bin", "wb") as file:
        file.truncate(5_000_000)
    server = site()
    turns: dict[float, list[tuple[object, int]]] = {}

    def drained(stream: Stream, now: float) -> None:
        Reception.drained(server.reception, stream, now)
        turns.setdefault(now, []).append((stream, stream.backlog))

    server.reception.drained = drained  # type: ignore[method-assign]
    with ExitStack() as stack:
        connections = [stack.enter_context(asking(server, "/large.bin")) for _ in range(8)]
        server.until(lambda: downloads(server) == 8)
        threads = [threading.Thread(target=rest_of, args=(each,)) for each in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        server.until(lambda: not downloads(server))
    for pieces in turns.values():
        assert len({id(stream) for stream, _ in pieces}) == len(pieces)
        assert sum(size for _, size in pieces) <= TURN_BYTES
    assert max(len(pieces) for pieces in turns.values()) > 1


def test_nothing_of_it_is_loaded_before_it_is_asked_for() -> None:
    late = ("gsrt.site", "gsrt.protocol.files", "gsrt.protocol.http")
    program = f"import sys, gsrt.server, gsrt.platform; sys.exit(any(each in sys.modules for each in {late}))"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0
