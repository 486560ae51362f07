"""What somebody would try who has broken into a server: `python -m tests.device.hostile ROOT` contains itself as one
does, with ROOT/readable to read and ROOT/writable to write, tries everything below, and prints what came of it.

{"outcomes": {part: why}, "refused": {thread: {attack: errno's name, or "done"}}, "normal": {what: "done" or error}}.
The threads are the first one, one that was there before, and one that is started afterwards. Arguments of calls are
such that nothing happens to this machine even where one is not refused.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

from gsrt.device.containment import contain, interpreter_files

ROOT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("/nonexistent")
ALLOW_EXEC = "--allow-exec" in sys.argv
OUTSIDE, READABLE, WRITABLE = ROOT / "outside", ROOT / "readable", ROOT / "writable"

AT_EMPTY_PATH = 0x1000
MFD_NOEXEC_SEAL = 8
X32 = 0x40000000
LATER_CALLS = (463, 470, 999)  # numbers that were given away after the filter was written, or never
PTRACE_ATTACH = 16
CLONE_NEWUSER = 0x10000000
CLONE_THREAD = 0x10000
FAMILIES_ALLOWED = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}
FAMILIES = 46
SOCK_PACKET = 10
FAMILY_TIPC = 30

c = ctypes.CDLL(None, use_errno=True)
c.mmap.restype = ctypes.c_void_p
Attack = Callable[[], object]


def call(number: int, *arguments: int | bytes | None) -> int:
    """The system call, whatever Python thinks of it; raises OSError."""
    words = [each if isinstance(each, bytes) or each is None else ctypes.c_long(each) for each in arguments]
    returned: int = c.syscall(ctypes.c_long(number), *words)
    if returned < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return returned


def numbers() -> dict[str, int]:
    """System calls of this machine by name, as its headers have them."""
    text = subprocess.run(
        ["gcc", "-E", "-dM", "-x", "c", "-"],
        input="#include <sys/syscall.h>",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    defined = dict(line.split()[1:3] for line in text.splitlines() if len(line.split()) == 3)
    found = {}
    for name, value in defined.items():
        if name.startswith("SYS_") and (number := defined.get(value, value)).isdecimal():
            found[name.removeprefix("SYS_")] = int(number)
    return found


def forked() -> None:
    if os.fork() == 0:
        os._exit(0)


def as_child(number: int, *arguments: int) -> None:
    """A call that makes a process, if it is let."""
    if call(number, *arguments) == 0:
        os._exit(0)


def open_one(path: str | Path, flags: int) -> None:
    os.close(os.open(path, flags, 0o600))


def on_files(outside_folder: int) -> dict[str, Attack]:
    """OUTSIDE_FOLDER was opened before."""
    secret = OUTSIDE / "secret"
    return {
        "read a file": lambda: open_one(secret, os.O_RDONLY),
        "read by way of a link": lambda: open_one(READABLE / "link", os.O_RDONLY),
        "read from an open folder": lambda: os.close(os.open("secret", os.O_RDONLY, dir_fd=outside_folder)),
        "list a folder": lambda: os.listdir(OUTSIDE),
        "write to a file": lambda: open_one(secret, os.O_WRONLY),
        "append to a file": lambda: open_one(secret, os.O_WRONLY | os.O_APPEND),
        "empty a file": lambda: open_one(secret, os.O_WRONLY | os.O_TRUNC),
        "make a file": lambda: open_one(OUTSIDE / "new", os.O_WRONLY | os.O_CREAT),
        "make a file without a name": lambda: open_one(OUTSIDE, os.O_WRONLY | os.O_TMPFILE),
        "make one in an open folder": lambda: os.close(os.open("n", os.O_WRONLY | os.O_CREAT, dir_fd=outside_folder)),
        "make a folder": lambda: os.mkdir(OUTSIDE / "folder-of-mine"),
        "remove a file": lambda: os.unlink(secret),
        "remove a folder": lambda: os.rmdir(OUTSIDE / "folder"),
        "move a file out": lambda: os.rename(WRITABLE / "mine", OUTSIDE / "mine"),
        "move a file in": lambda: os.rename(secret, WRITABLE / "secret"),
        "link a file in": lambda: os.link(secret, WRITABLE / "link"),
        "make a symbolic link": lambda: os.symlink("/etc/passwd", WRITABLE / "symbolic"),
        "make a fifo": lambda: os.mkfifo(WRITABLE / "fifo"),
        "write where it may read": lambda: open_one(READABLE / "file", os.O_WRONLY),
        "remove where it may read": lambda: os.unlink(READABLE / "file"),
        "write to the interpreter's library": lambda: open_one(os.__file__, os.O_RDWR),
        "read the passwords": lambda: open_one("/etc/shadow", os.O_RDONLY),
        "open the memory": lambda: open_one("/dev/mem", os.O_RDONLY),
        "open a terminal": lambda: open_one("/dev/ptmx", os.O_RDWR),
        "set something of the kernel": lambda: open_one("/proc/sys/kernel/core_pattern", os.O_WRONLY),
        "read another's environment": lambda: open_one(f"/proc/{os.getppid()}/environ", os.O_RDONLY),
        "read another's memory": lambda: open_one(f"/proc/{os.getppid()}/mem", os.O_RDONLY),
    }


def on_the_network(port: int) -> dict[str, Attack]:
    """On PORT somebody listens."""

    def connect() -> None:
        with socket.socket() as out:
            out.connect(("127.0.0.1", port))

    def listen() -> None:
        with socket.socket() as mine:
            mine.bind(("127.0.0.1", 0))

    return {"connect by TCP": connect, "listen by TCP": listen}


def on_calls() -> dict[str, Attack]:
    """What seccomp refuses by itself."""

    def family(number: int) -> Attack:
        return lambda: socket.socket(number, socket.SOCK_DGRAM).close()

    def kind(number: int) -> Attack:
        return lambda: socket.socket(socket.AF_INET, number).close()

    attacks: dict[str, Attack] = {
        "change the mode outside": lambda: os.chmod(OUTSIDE / "secret", 0o777),
        "change the mode inside": lambda: os.chmod(WRITABLE / "mine", 0o777),
        "change the owner": lambda: os.chown(OUTSIDE / "secret", os.getuid(), os.getgid()),
        "change the times": lambda: os.utime(OUTSIDE / "secret", (1, 1)),
        "give an attribute": lambda: os.setxattr(OUTSIDE / "secret", "user.mine", b"1"),
        "fork": forked,
        "start a program": lambda: subprocess.run(["/bin/true"], check=True),
        "start this interpreter": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        "spawn a program": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "put into the terminal": lambda: ioctl(TERMINAL, termios.TIOCSTI, b"x"),
        "a call of the other kind": lambda: call(X32 + 39),
        "a pair of another family": lambda: socket.socketpair(FAMILY_TIPC, socket.SOCK_STREAM),
        **{f"family {each}": family(each) for each in range(FAMILIES) if each not in FAMILIES_ALLOWED},
        **{f"internet socket of kind {each}": kind(each) for each in (socket.SOCK_RAW, 4, SOCK_PACKET)},
        **{f"call {each}": lambda each=each: call(each, -1, -1, -1, -1, -1, -1) for each in LATER_CALLS},  # type: ignore[misc]
    }
    if os.uname().machine != "x86_64":
        del attacks["a call of the other kind"]
    return attacks


def on_named_calls(calls: dict[str, int], forbidden: list[str]) -> dict[str, Attack]:
    """Every call of the list, what the arguments of others decide, and what would be the end of this program."""
    attacks: dict[str, Attack] = {
        name: lambda name=name: call(calls[name], -1, -1, -1, -1, -1, -1)  # type: ignore[misc]
        for name in forbidden
        if name in calls
    }
    attacks |= {
        "attach to the parent": lambda: call(calls["ptrace"], PTRACE_ATTACH, os.getppid(), 0, 0),
        "clone a process": lambda: as_child(calls["clone"], int(signal.SIGCHLD), 0, 0, 0, 0),
        "clone with a namespace": lambda: as_child(calls["clone"], CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0),
        "clone a thread with a namespace": lambda: as_child(calls["clone"], CLONE_NEWUSER | CLONE_THREAD, 0, 0, 0, 0),
        "clone3": lambda: call(calls["clone3"], -1, 88),
        "become a shell": lambda: os.execv("/bin/sh", ["sh", "-c", "echo done"]),
        "become an open file": lambda: os.execve(OPEN_SHELL, ["sh", "-c", "echo done"], {}),
        "execveat": lambda: call(calls["execveat"], OPEN_SHELL, b"", None, None, AT_EMPTY_PATH),
    }
    if "fork" in calls:
        attacks |= {"the call fork": lambda: as_child(calls["fork"]), "the call vfork": lambda: call(calls["vfork"], 0)}
    return attacks


def on_memory() -> dict[str, Attack]:
    """Code that came as data."""

    def mapped(protection: int) -> int:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        found: int = c.mmap(None, ctypes.c_size_t(4096), protection, private, -1, ctypes.c_long(0))
        if found == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return found

    def protected() -> None:
        place = mapped(mmap.PROT_READ | mmap.PROT_WRITE)
        if c.mprotect(ctypes.c_void_p(place), ctypes.c_size_t(4096), mmap.PROT_READ | mmap.PROT_EXEC) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return {
        "map code to write": lambda: mapped(mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
        "make data code": protected,
    }


def on_others() -> dict[str, Attack]:
    return {"signal the parent": lambda: os.kill(os.getppid(), 0)}


def database() -> None:
    """As the server's store has it, with a copy beside it."""
    connection = sqlite3.connect(WRITABLE / "game.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS some (thing)")
    connection.execute("INSERT INTO some VALUES (1)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = sqlite3.connect(WRITABLE / "copy.part")
    connection.backup(copy)
    copy.close()
    connection.close()
    os.replace(WRITABLE / "copy.part", WRITABLE / "copy")
    os.unlink(WRITABLE / "copy")


def descriptors() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, (WRITABLE / "sent").open("w") as file:
        socket.send_fds(ours, [b"x"], [file.fileno()])
        _, [received], _, _ = socket.recv_fds(theirs, 1, 1)
        os.write(received, b"y")
        os.close(received)
    os.unlink(WRITABLE / "sent")


def folders() -> None:
    (WRITABLE / "inner").mkdir()
    (WRITABLE / "inner" / "file").write_text("x")
    os.rename(WRITABLE / "inner" / "file", WRITABLE / "moved")
    os.truncate(WRITABLE / "moved", 0)
    os.unlink(WRITABLE / "moved")
    (WRITABLE / "inner").rmdir()


def unix_socket() -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as out:
        listener.bind(str(WRITABLE / "socket"))
        listener.listen()
        out.connect(str(WRITABLE / "socket"))
    os.unlink(WRITABLE / "socket")


def datagrams() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        one.bind(("127.0.0.1", 0))
        other.connect(one.getsockname())
        other.send(b"x")
        one.recv(1)


def thread() -> None:
    started = threading.Thread(target=lambda: None)
    started.start()
    started.join()


def tls() -> None:
    import ssl

    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def memory_file() -> None:
    descriptor = os.memfd_create("mine", MFD_NOEXEC_SEAL)
    os.write(descriptor, b"x")
    os.ftruncate(descriptor, 0)
    os.close(descriptor)


def own_figures() -> None:
    for name in ("statm", "status", f"task/{threading.get_native_id()}/io"):
        (Path("/proc/self") / name).read_bytes()
    Path("/proc/meminfo").read_bytes()


NORMAL: dict[str, Attack] = {
    "read where it may": lambda: (READABLE / "file").read_bytes(),
    "list where it may": lambda: os.listdir(READABLE),
    "read where it may write": lambda: (WRITABLE / "mine").read_bytes(),
    "folders": folders,
    "database": database,
    "descriptors": descriptors,
    "UNIX socket": unix_socket,
    "datagrams": datagrams,
    "thread": thread,
    "TLS": tls,
    "memory file": memory_file,
    "own figures": own_figures,
    "chance": lambda: os.urandom(8),
    "nothing": lambda: open_one(os.devnull, os.O_RDWR),
    "signal itself": lambda: os.kill(os.getpid(), 0),
}


def tried(attacks: dict[str, Attack]) -> dict[str, str]:
    found = {}
    for name, attack in attacks.items():
        try:
            attack()
        except OSError as error:
            found[name] = errno.errorcode.get(error.errno or 0, str(error))
        except Exception as error:  # such as sqlite3's
            found[name] = repr(error)
        else:
            found[name] = "done"
    return found


def main() -> None:
    from gsrt.device._linux_build import FORBIDDEN

    calls = numbers()
    listener = socket.create_server(("127.0.0.1", 0))
    outside_folder = os.open(OUTSIDE, os.O_RDONLY | os.O_DIRECTORY)
    forbidden = [name for names in FORBIDDEN.values() for name in names.split()]
    groups: dict[str, dict[str, Attack]] = {
        "network": on_the_network(listener.getsockname()[1]),
        "calls": on_calls(),
        "memory": on_memory(),
        "others": on_others(),
        "files": on_files(outside_folder),  # the last, for what is not refused leaves a mess
    }
    contained, refused = threading.Event(), {}

    def attack(name: str) -> None:
        contained.wait()
        refused[name] = {group: tried(attacks) for group, attacks in groups.items()}

    before = threading.Thread(target=attack, args=("before",))
    before.start()
    outcomes = contain([str(READABLE)], [str(WRITABLE)], interpreter_files(), allow_exec=ALLOW_EXEC)
    if all(each.done for each in outcomes if each.part == "seccomp"):
        groups["calls"] |= on_named_calls(calls, forbidden)
    normal = tried(NORMAL)
    contained.set()
    before.join()
    attack("first")
    after = threading.Thread(target=attack, args=("after",))
    after.start()
    after.join()
    print(
        json.dumps(
            {
                "outcomes": {each.part: each.why if each.done else None for each in outcomes},
                "refused": refused,
                "normal": normal,
            }
        ),
        flush=True,
    )
    if "--become" in sys.argv:  # the one program that may be executed
        os.execv(sys.executable, [sys.executable, "-c", sys.argv[-1]])


if __name__ == "__main__":
    OPEN_SHELL = os.open("/bin/sh", os.O_RDONLY)
    TERMINAL, _slave = os.openpty()
    main()
