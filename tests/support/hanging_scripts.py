"""`python -m tests.support.hanging_scripts serve ...`: a server whose sandbox has a hole: its scripts may call
`hang()`, which never comes back to Python and which nothing but the watchdog can end."""

from __future__ import annotations

import sys

from gsrt.cli import main
from gsrt.scripts import sandbox


class HoledSandbox(sandbox.Sandbox):
    """One name more for scripts."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self.builtins["hang"] = lambda: sum(range(10**13))


if __name__ == "__main__":
    sandbox.Sandbox = HoledSandbox  # type: ignore[misc]
    sys.exit(main())
