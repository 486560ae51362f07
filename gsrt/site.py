"""The files of a game's www/, for browsers: read from the disk as they are asked for, sent as fast as they are taken.

A file goes out in pieces, one in a turn of the loop, each when the one before has left; what the kernel does not have
in memory is read by the worker. Loaded with the first request, where a game has www/.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from gsrt.protocol import files, http
from gsrt.transports.streams import Borrowed, address_of
from gsrt.worker import WorkerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gsrt._relay import Stream
    from gsrt.log import Log
    from gsrt.profile import Profile
    from gsrt.protocol.http import RequestHead
    from gsrt.timers import Timer, Timers
    from gsrt.worker import Worker

INDEX = b"index.html"

# Of one turn of the loop: what all downloads get together, and what one gets at least and at most. With TLS it is one
# record: a board without instructions for AES takes a millisecond for it.
TURN_BYTES = 131_072
PIECE_BYTES_MIN = 4096
PIECE_BYTES_MAX = 65_536
TLS_PIECE_BYTES_MAX = 16_384

READS_AT_ONCE = 2  # at the worker, which has more to do than this
AHEAD_BYTES = 1 << 19  # what the kernel is asked to read ahead meanwhile
UNSENT_BYTES = 131_072  # what the kernel keeps for a slow reader (TCP_NOTSENT_LOWAT); it would be megabytes
RETRY = ("Retry-After", "5")  # seconds, told to who is one too many
TOO_MANY = "too many files are being fetched: try again in a moment\n"

_ALWAYS = (("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"))
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


class IsFolder(Exception):
    """What is asked for as a file is a folder."""


class Outside(Exception):
    """A path that leads out of the folder, or to a dot file."""


def open_inside(folder: str, parts: tuple[bytes, ...]) -> tuple[int, os.stat_result]:
    """Opens the regular file of these PARTS (see protocol.files.parts_of; the last empty: its folder's index.html)
    below FOLDER: its descriptor and what the kernel says about it. Symbolic links may lead anywhere within FOLDER.

    Raises IsFolder, Outside, or OSError: FileNotFoundError for all that is no regular file."""
    root = os.path.realpath(os.fsencode(folder))
    real = os.path.realpath(os.path.join(root, *parts[:-1], parts[-1] or INDEX))
    if not real.startswith(root + b"/"):
        raise Outside
    # No link is left in it. Should one be put there now, the descriptors below do not follow it.
    *folders, name = real[len(root) + 1 :].split(b"/")
    if name.startswith(b".") or any(each.startswith(b".") for each in folders):
        raise Outside
    place = os.open(root, _FOLDER)
    try:
        for each in folders:
            inner = os.open(each, _FOLDER, dir_fd=place)
            os.close(place)
            place = inner
        _check_regular(os.stat(name, dir_fd=place, follow_symlinks=False))  # to open a device may do something already
        descriptor = os.open(name, _FILE, dir_fd=place)
    finally:
        os.close(place)
    try:
        status = os.fstat(descriptor)
        _check_regular(status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsFolder
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, "no regular file")


class Download:
    """A file on its way to one client; what `stream.owner` is meanwhile. It owns the DESCRIPTOR and sends the bytes
    from BEGIN to END."""

    __slots__ = ("_site", "address", "at", "deadline", "descriptor", "end", "is_over", "is_read", "stream")

    def __init__(self, site: Site, stream: Stream, descriptor: int, begin: int, end: int) -> None:
        self._site = site
        self.stream = stream
        self.address = address_of(stream.peer_name)
        self.descriptor = descriptor
        self.at = begin
        self.end = end
        self.deadline = 0.0
        self.is_read = False  # by the worker; the descriptor is not to be closed under it
        self.is_over = False

    def lost(self, reason: str, orderly: bool, now: float) -> None:
        """The stream is closed already."""
        self.is_over = True
        self._site.forget(self)

    def drained(self, now: float) -> None:
        """All that was written to the stream has gone out."""
        self._site.drained(self, now)

    def abort(self) -> None:
        """Closes the connection in the middle, by which the client sees that something is missing."""
        self.is_over = True
        self.stream.owner = None
        self.stream.close(orderly=False)
        self._site.forget(self)

    def finish(self, now: float) -> None:
        """All has gone out."""
        self.is_over = True
        self.stream.owner = None
        self.stream.finish()
        self._site.forget(self)
        self._site.idle(self.stream, now)

    def go_on(self, now: float) -> None:
        """All before has gone out: the next piece."""
        if self.at >= self.end:
            self.finish(now)
            return
        size = min(self.end - self.at, self._site.piece(self.stream))
        piece = bytearray(size)
        try:
            got = os.preadv(self.descriptor, (piece,), self.at, os.RWF_NOWAIT)
        except OSError:  # not in memory, or a file system that cannot tell
            self._site.read(self, size)
        else:
            self.put(bytes(piece[:got]), now)

    def put(self, piece: bytes, now: float) -> None:
        """A PIECE was read; an empty one: the file is shorter than it was."""
        if not piece:
            self._site.log.limited("warn", "www_shorter", "a file became shorter while it was sent", to=self.address)
            self.abort()
            return
        self.at += len(piece)
        self.stream.write(piece)
        self.stream.await_drained()


class Site:
    """Answers requests for the files of a folder. `idle(stream, now)` is told of streams whose answer has gone out, and
    `busy(stream)` of those where that takes its time."""

    def __init__(
        self,
        profile: Profile,
        *,
        clock: Callable[[], float],
        timers: Timers,
        worker: Worker,
        counters: dict[str, int],
        busy: Callable[[Stream], None],
        idle: Callable[[Stream, float], None],
        log: Log,
    ) -> None:
        self.log = log
        self.idle = idle
        self._busy = busy
        self._profile = profile
        self._clock = clock
        self._timers = timers
        self._worker = worker
        self._counters = counters
        self._downloads: dict[Download, None] = {}  # who has been waiting for longest first
        self._by_address: dict[str, int] = {}
        self._unread: dict[Download, int] = {}  # sizes of the pieces that the worker is still to be asked for
        self._reads = 0
        self._look: Timer | None = None

    def __len__(self) -> int:
        """Files on their way."""
        return len(self._downloads)

    def downloads(self) -> list[Download]:
        """Files on their way, whose reader has been slow for longest first."""
        return list(self._downloads)

    # Answers

    def answer(self, stream: Stream, head: RequestHead, folder: str, now: float) -> bool:
        """Answers a GET or HEAD from FOLDER; False: it is for the first page, and there is none."""
        path = files.path_of(head.target)
        parts = files.parts_of(path)
        try:
            if parts is None:
                raise Outside
            descriptor, status = open_inside(folder, parts)
        except IsFolder:
            if parts is not None and parts[-1]:
                _, mark, query = head.target.partition("?")
                self._say(stream, head, 301, "it is a folder\n", (("Location", f"{path}/{mark}{query}"),))
            else:
                self._say(stream, head, 404, "there is no such file\n")
        except Outside:
            self._refuse(stream, head, 404, "there is no such file\n", "no path of a file in www/")
        except OSError as error:
            if error.errno not in _ABSENT:
                code = 403 if isinstance(error, PermissionError) else 503
                self._refuse(stream, head, code, "the file cannot be read\n", f"cannot be read: {error.strerror}")
            elif path == "/":
                return False
            else:
                self._say(stream, head, 404, "there is no such file\n")
        else:
            self._answer_with(stream, head, parts[-1] or INDEX, descriptor, status, now)
        return True

    def _answer_with(
        self, stream: Stream, head: RequestHead, name: bytes, descriptor: int, status: os.stat_result, now: float
    ) -> None:
        """Answers with a file, whose DESCRIPTOR is this method's to close or to give away."""
        size = status.st_size
        etag = f'"{status.st_mtime_ns:x}-{size:x}-{status.st_ino:x}"'
        modified = files.http_date(status.st_mtime)
        version = (("ETag", etag), ("Last-Modified", modified))
        try:
            if files.has_it_already(head.headers, etag, modified):
                self._end(stream, http.response_head(304, (*_ALWAYS, *version)))
                return
            part = files.wanted_range(head.headers, size, etag, modified) if head.method == "GET" else None
            begin, end = part or (0, size)
            fields = [("Content-Type", files.content_type(name)), ("Content-Length", str(end - begin))]
            if part is not None:
                fields.append(("Content-Range", f"bytes {begin}-{end - 1}/{size}"))
            fields += (("Accept-Ranges", "bytes"), *_ALWAYS, *version)
            answer = http.response_head(200 if part is None else 206, fields)
            if head.method == "HEAD" or begin == end:
                self._end(stream, answer)
                return
            download = Download(self, stream, descriptor, begin, end)
            if self._has_room(download.address):
                descriptor = -1
                self._begin(download, answer, now)
            else:
                self._counters["www_too_many"] += 1
                self._refuse(stream, head, 503, TOO_MANY, "too many are on their way", (RETRY,))
        except files.Unsatisfiable:
            length = ("Content-Range", f"bytes */{size}")
            self._say(stream, head, 416, "the file is not that long\n", (length, *version))
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _end(self, stream: Stream, answer: bytes) -> None:
        stream.write(answer)
        stream.finish()

    def _say(
        self, stream: Stream, head: RequestHead, code: int, text: str, fields: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._end(stream, http.response(code, text.encode(), headers=(*_ALWAYS, *fields), method=head.method))

    def _refuse(
        self,
        stream: Stream,
        head: RequestHead,
        code: int,
        text: str,
        reason: str,
        fields: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.log.limited(
            "warn", "www", "file refused", address=stream.peer_name, path=files.path_of(head.target), reason=reason
        )
        self._say(stream, head, code, text, fields)

    # Downloads

    def _has_room(self, address: str) -> bool:
        return (
            len(self._downloads) < self._profile.www_downloads_max
            and self._by_address.get(address, 0) < self._profile.www_downloads_per_address_max
        )

    def _begin(self, download: Download, answer: bytes, now: float) -> None:
        stream = download.stream
        stream.owner = download
        self._busy(stream)
        self._by_address[download.address] = self._by_address.get(download.address, 0) + 1
        self._counters["www_downloads"] += 1
        self._note_progress(download, now)
        if download.end - download.at > PIECE_BYTES_MAX:
            _keep_little_unsent(stream.fd)
        stream.start_answer()
        stream.write(answer)
        download.go_on(now)
        self._watch()

    def drained(self, download: Download, now: float) -> None:
        """All that was written to its stream has gone out."""
        self._note_progress(download, now)
        download.go_on(now)

    def piece(self, stream: Stream) -> int:
        """How much of its file a stream may have in this turn."""
        most = PIECE_BYTES_MAX if stream.layer is None else TLS_PIECE_BYTES_MAX
        return max(PIECE_BYTES_MIN, min(most, TURN_BYTES // len(self._downloads)))

    def forget(self, download: Download) -> None:
        """It is over."""
        if download in self._downloads:
            del self._downloads[download]
            left = self._by_address.pop(download.address) - 1
            if left:
                self._by_address[download.address] = left
            self._unread.pop(download, None)
        if not download.is_read and download.descriptor >= 0:
            os.close(download.descriptor)
            download.descriptor = -1

    def _note_progress(self, download: Download, now: float) -> None:
        self._downloads.pop(download, None)
        self._downloads[download] = None
        download.deadline = now + self._profile.www_stall_seconds

    def _watch(self) -> None:
        """Has the one that has been waiting for longest looked at when its time is up."""
        if self._look is None and self._downloads:
            self._look = self._timers.set(next(iter(self._downloads)).deadline, self._end_slow)

    def _end_slow(self, now: float) -> None:
        self._look = None
        while self._downloads:
            download = next(iter(self._downloads))
            if download.deadline > now:
                break
            if download.is_read or download in self._unread:
                self._note_progress(download, now)  # it is us who are slow
                continue
            self._counters["www_slow"] += 1
            self.log.limited(
                "warn",
                "www_slow",
                "download ended: it is not taken",
                address=download.stream.peer_name,
                www_stall_seconds=self._profile.www_stall_seconds,
            )
            download.abort()
        self._watch()

    # Reading what the kernel has not in memory

    def read(self, download: Download, size: int) -> None:
        """Has the worker read the next SIZE bytes, when it is that one's turn."""
        self._unread[download] = size
        self._read_more()

    def _read_more(self) -> None:
        while self._unread and self._reads < READS_AT_ONCE:
            download = next(iter(self._unread))
            self._have_read(download, self._unread.pop(download))

    def _have_read(self, download: Download, size: int) -> None:
        descriptor, at = download.descriptor, download.at

        def work() -> bytes:
            os.posix_fadvise(descriptor, at, AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
            return os.pread(descriptor, size, at)

        def done(piece: bytes | None, error: BaseException | None) -> None:
            self._reads -= 1
            download.is_read = False
            if download.is_over:
                self.forget(download)
            elif piece is None:
                self._cannot_read(download, error)
            else:
                now = self._clock()
                self._note_progress(download, now)
                download.put(piece, now)
            self._read_more()

        try:
            self._worker.submit(work, done)
        except WorkerError as error:
            self._cannot_read(download, error)
            return
        self._reads += 1
        download.is_read = True

    def _cannot_read(self, download: Download, error: BaseException | None) -> None:
        self.log.limited("error", "www_read", "a file of www/ cannot be read", reason=str(error))
        download.abort()


def _keep_little_unsent(descriptor: int) -> None:
    """The kernel would keep megabytes for a slow reader, and wake us only when a third of them has gone."""
    try:
        with Borrowed(descriptor) as ours:
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    except OSError:  # the other side has reset it
        pass
