"""`gsrt join` as a process, its input and output in pipes."""

from __future__ import annotations

import os
import sys

from tests.support.program import Program
from tests.support.server import PROJECT


class Terminal(Program):
    """A running `gsrt join`: lines go in, lines come out."""

    def __init__(self, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"}
        super().__init__([sys.executable, "-m", "gsrt", "join", *arguments], PROJECT, environment)
