"""zig as a C compiler for a target: one command for each of a tool chain's tools, as builds expect them."""

from __future__ import annotations

import shlex
from pathlib import Path

from cross.targets import GLIBC, Target
from cross.workshop import Workshop


def folder_name(name: str, sanitizer: str) -> str:
    """What is built with a SANITIZER ("": without) stands beside the rest."""
    return f"{name}-{sanitizer}" if sanitizer else name


def tool_chain(workshop: Workshop, target: Target, sanitizer: str = "") -> Path:
    """A folder with cc, ar and ranlib for the target. It brings its own C library's headers, and looks at none here.
    What a SANITIZER of the compiler finds ends the program, without a library that would say what it was."""
    folder = workshop.folder / "compilers" / folder_name(target.name, sanitizer)
    folder.mkdir(parents=True, exist_ok=True)
    zig = shlex.quote(str(workshop.zig()))
    # No path of this machine in what is compiled.
    maps = f"-ffile-prefix-map={workshop.folder}=. -Wno-unused-command-line-argument"
    if sanitizer:
        maps += f" -fsanitize-trap={sanitizer}"
    commands = {
        "cc": f'cc -target {target.triple}.{GLIBC} -mcpu={target.cpu} {maps} "$@"',
        "ar": 'ar "$@"',
        "ranlib": 'ranlib "$@"',
    }
    for name, command in commands.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\nexec {zig} {command}\n")
        path.chmod(0o755)
    return folder
