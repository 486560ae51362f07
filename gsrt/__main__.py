"""`python -m gsrt`: the same as the `gsrt` command."""

from __future__ import annotations

import sys

from gsrt.cli import main

if __name__ == "__main__":
    sys.exit(main())
